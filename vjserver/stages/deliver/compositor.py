"""Composing: the newest frame, the state and the time go in; the picture of that moment comes out.

The levels, when frames stop: the last one is held for two seconds; then the safe loop plays; then, where the show says
so, black. Generated pictures come back at once, on the next bar, or when the operator says so.
"""

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from vjserver.runtime.clock import NS
from vjserver.runtime.picture import covering
from vjserver.show.state import ShowState
from vjserver.stages.deliver.interpolation import Between
from vjserver.stages.deliver.safe_loop import SafeLoop
from vjserver.types.features import BeatGrid, Features
from vjserver.types.frames import Frame, FrameInfo, Pixels

START_NS = 60 * NS
"""A first frame may take that long (kernels are compiled once) before it counts as missing."""
LONGEST_BAR_NS = 5 * NS
"""A bar that takes longer is not waited for."""
OPENS_NS = 1_500_000_000
SLACK_NS = 250_000_000
"""A pause that is no trouble yet; after it the safe loop gets ready."""


def splash(width: int, height: int) -> Pixels:
    """Return the picture before the first picture: a dim glow, so that a sleeping wall shows it is alive."""
    y, x = np.mgrid[-1.0 : 1.0 : height * 1j, -width / height : width / height : width * 1j]
    glow = np.exp(-2.2 * (x * x + y * y))
    pixels = np.empty((height, width, 4), np.uint8)
    pixels[..., :3] = glow[..., None] * np.array([70.0, 30.0, 110.0]) + np.array([6.0, 4.0, 14.0])
    pixels[..., 3] = 255
    return pixels


def black_like(pixels: Pixels) -> Pixels:
    """Return opaque black of the same size."""
    black = np.zeros_like(pixels)
    black[..., 3] = 255
    return black


def faded(pixels: Pixels, fade: float) -> Pixels:
    """Return pixels dimmed by ``fade`` (1 is full, 0 black); alpha stays."""
    if fade >= 1.0:
        return pixels
    ramp = np.round(np.arange(256) * max(fade, 0.0)).astype(np.uint8)
    table = np.stack((ramp, ramp, ramp, np.arange(256, dtype=np.uint8)), axis=1)[None]
    return np.asarray(cv2.LUT(pixels, table), np.uint8)


def stamped(frame: Frame, grid: BeatGrid, now_ns: int) -> Frame:
    """Return the frame with the beat of ``now_ns`` in its header."""
    info = replace(
        frame.info,
        bpm=grid.bpm,
        beat_phase=grid.beat_phase(now_ns),
        bar_phase=grid.bar_phase(now_ns),
        beat_index=max(0, grid.count_at(now_ns)),
    )
    return replace(frame, info=info)


@dataclass(frozen=True, slots=True)
class Memory:
    """Where a composer stands, for the one that comes after it: the level, and whether a picture is held still."""

    level: str = "start"
    start_ns: int = 0
    fell_ns: int = 0
    fresh_ns: int | None = None
    returns: int = 0
    wanted: bool = False
    frozen: bool = False


@dataclass(slots=True)
class Compositor:
    """Chooses and grades the picture of each tick. Pure but for what it remembers.

    ``level`` is where the picture comes from: start, live, hold, safe or black. ``black_after_s`` is how long the safe
    loop may play, None for as long as it takes.
    """

    width: int
    height: int
    start_ns: int
    safe: SafeLoop
    opening: SafeLoop | None = None
    """What moves on the wall before the first picture; its end is a crossfade."""
    hold_s: float = 2.0
    black_after_s: float | None = None
    level: str = "start"
    between: Between = field(default_factory=Between)
    _last: Frame | None = None
    _last_ns: int = 0
    _frozen: Frame | None = None
    _held: Frame | None = None
    _fell_ns: int = 0
    _fresh_ns: int | None = None
    """When frames came again while the safe loop played."""
    _bar_phase: float = 0.0
    _returns: int = 0
    _wanted: bool = False
    """Whether the operator wanted the safe loop."""
    _first: Frame | None = None
    _live_ns: int | None = None
    """When the first picture came."""

    def __post_init__(self) -> None:
        if self.opening is not None:
            self.opening.prepare()

    @property
    def degraded(self) -> bool:
        """Whether something else than a generated picture is shown."""
        return self.level in ("safe", "black")

    @property
    def memory(self) -> Memory:
        """What a successor has to know besides the pictures."""
        return Memory(
            self.level,
            self.start_ns,
            self._fell_ns,
            self._fresh_ns,
            self._returns,
            self._wanted,
            self._frozen is not None,
        )

    @property
    def frozen(self) -> Frame | None:
        """The picture that is held still, if one is."""
        return self._frozen

    def resume(self, memory: Memory, last: Frame | None, frozen: Frame | None) -> None:
        """Go on where another left off; ``last`` is the newest picture there is, ``frozen`` the one it held still."""
        if self.opening is not None and (last is not None or memory.level != "start"):
            self.opening.close()
            self.opening = None
        self.level, self.start_ns, self._fell_ns = memory.level, memory.start_ns, memory.fell_ns
        self._fresh_ns, self._returns, self._wanted = memory.fresh_ns, memory.returns, memory.wanted
        if last is not None:
            self._last, self._last_ns = last, last.info.t_generated_ns
            self.between.take(last, self._last_ns)
        self._frozen = frozen if memory.frozen else None
        if self.degraded:
            self._held = self._last or self._splash()
            self.safe.prepare()

    def __call__(self, newest: Frame | None, state: ShowState, features: Features, now_ns: int) -> Frame:
        """Return the picture at ``now_ns``; ``newest`` is a frame that came since the last tick, if any."""
        self.between.mode = state.deliver.between
        if newest is not None:
            self._last, self._last_ns = newest, now_ns
            self.between.take(newest, now_ns)
        self._climb(newest is not None, state, features.grid, now_ns)
        shown = self._shown(state, now_ns)
        if state.blackout:
            shown = replace(shown, pixels=black_like(shown.pixels))
        else:
            shown = replace(shown, pixels=faded(shown.pixels, state.fade))
        return stamped(shown, features.grid, now_ns)

    # -- the levels ----------------------------------------------------------------------------------------

    def _climb(self, came: bool, state: ShowState, grid: BeatGrid, now_ns: int) -> None:
        """Move up or down the levels; the operator's wish for the safe loop outranks it."""
        if state.safe:
            if not self.degraded:
                self._fall(state, now_ns)
            self._wanted, self._fresh_ns = True, None
            return
        stale_ns = now_ns - (self._last_ns if self._last is not None else self.start_ns)
        patience_ns = round(self.hold_s * NS) if self._last is not None else START_NS
        if not self.degraded:
            if stale_ns > patience_ns:
                self._fall(state, now_ns)
            elif self._last is not None:
                if came and self.level == "hold":
                    self.safe.rest()
                self.level = "live" if stale_ns <= SLACK_NS else "hold"
                if stale_ns > patience_ns // 2:
                    self.safe.prepare()
            return
        if came and self._fresh_ns is None:
            self._fresh_ns, self._bar_phase = now_ns, grid.bar_phase(now_ns)
        elif stale_ns > patience_ns:
            self._fresh_ns = None
        if self._fresh_ns is not None and self._may_return(state, grid, now_ns):
            self.level, self._wanted = "live", False
            self.safe.rest()
        elif self.black_after_s is not None and now_ns - self._fell_ns > self.black_after_s * NS:
            self.level = "black"

    def _fall(self, state: ShowState, now_ns: int) -> None:
        self.level, self._fell_ns, self._fresh_ns = "safe", now_ns, None
        self._held = self._last or self._splash()
        self._returns = state.deliver.returns
        self.safe.prepare()

    def _may_return(self, state: ShowState, grid: BeatGrid, now_ns: int) -> bool:
        assert self._fresh_ns is not None
        if self._wanted or state.deliver.returns != self._returns or state.deliver.back == "now":
            return True
        if state.deliver.back == "operator":
            return False
        before, self._bar_phase = self._bar_phase, grid.bar_phase(now_ns)
        begun = self._bar_phase < before - 0.4  # less is the ear that moved the beat a little
        return begun or not grid.running or now_ns - self._fresh_ns > LONGEST_BAR_NS

    # -- the picture ---------------------------------------------------------------------------------------

    def _shown(self, state: ShowState, now_ns: int) -> Frame:
        if state.freeze and self._last is not None:
            self._frozen = self._frozen or self._last
            return self._frozen
        self._frozen = None
        if self.degraded:
            return self._safe(now_ns)
        shown = self.between.at(now_ns)
        if self.opening is None:
            return shown if shown is not None else self._splash()
        return self._opened(shown, self.opening, now_ns)

    def _opened(self, shown: Frame | None, opening: SafeLoop, now_ns: int) -> Frame:
        """Return the opening before the first picture, and its crossfade into it."""
        still = self._splash()
        if shown is not None and self._live_ns is None:
            self._live_ns = now_ns
        share = 0.0 if self._live_ns is None else (now_ns - self._live_ns) / OPENS_NS
        if shown is not None and share >= 1.0:
            opening.close()
            self.opening = None
            return shown
        moving = opening.at(now_ns, (now_ns - self.start_ns) / NS, still.pixels)
        if shown is None:
            return replace(still, pixels=moving)
        height, width = shown.pixels.shape[:2]
        before = covering(moving, width, height)
        mixed = cv2.addWeighted(before, 1.0 - share, shown.pixels, share, 0.0)
        return replace(shown, pixels=np.asarray(mixed, np.uint8))

    def _safe(self, now_ns: int) -> Frame:
        held = self._held
        assert held is not None
        if self.level == "black":
            return replace(held, pixels=black_like(held.pixels))
        return replace(held, pixels=self.safe.at(now_ns, (now_ns - self._fell_ns) / NS, held.pixels))

    def _splash(self) -> Frame:
        if self._first is None:
            self._first = Frame(splash(self.width, self.height), FrameInfo(self.width, self.height))
        return self._first
