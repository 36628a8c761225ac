"""Delivery: frames and the master controls go in, a picture goes out at every tick of a fixed clock. It never stops.

When frames stop coming, the last one is held; after two seconds the safe loop takes over: the last good picture,
mirrored and slowly turning, so that a wall never goes black unless somebody asks for black.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from vjserver.ports import Output
from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.queue import QueueWriter
from vjserver.runtime.ring import RingReader
from vjserver.runtime.stats import Latencies, Rate, StatsWriter
from vjserver.runtime.store import FeaturesReader, StateReader
from vjserver.show.state import ShowState
from vjserver.types.errors import OutputError
from vjserver.types.events import Degraded
from vjserver.types.features import Features
from vjserver.types.frames import Frame, FrameInfo, Pixels

HOLD_NS = 2 * NS
START_NS = 60 * NS  # a first frame may take that long (kernels are compiled once) before it counts as missing
RETRY_S = (0.5, 1.0, 2.0, 5.0)


def splash(width: int, height: int) -> Pixels:
    """Return the picture before the first picture: a dim glow, so that a sleeping wall shows it is alive."""
    y, x = np.mgrid[-1.0 : 1.0 : height * 1j, -width / height : width / height : width * 1j]
    glow = np.exp(-2.2 * (x * x + y * y))
    pixels = np.empty((height, width, 4), np.uint8)
    pixels[..., :3] = glow[..., None] * np.array([70.0, 30.0, 110.0]) + np.array([6.0, 4.0, 14.0])
    pixels[..., 3] = 255
    return pixels


def safe_picture(still: Pixels, seconds: float) -> Pixels:
    """Return a picture for the safe loop: ``still`` mirrored at its edges, drifting; it starts as ``still`` itself."""
    height, width = still.shape[:2]
    ease = min(1.0, seconds / 4.0)
    zoom = 1.0 + 0.12 * ease * (1.0 - np.cos(seconds * 0.35))
    turn = 6.0 * ease * np.sin(seconds * 0.23)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(turn), float(zoom))
    matrix[0, 2] += 0.05 * width * ease * np.sin(seconds * 0.17)
    warped = cv2.warpAffine(still, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(warped, np.uint8)


def faded(pixels: Pixels, fade: float) -> Pixels:
    """Return pixels dimmed by ``fade`` (1 is full, 0 black); alpha stays."""
    if fade >= 1.0:
        return pixels
    ramp = np.round(np.arange(256) * max(fade, 0.0)).astype(np.uint8)
    table = np.stack((ramp, ramp, ramp, np.arange(256, dtype=np.uint8)), axis=1)[None]
    return np.asarray(cv2.LUT(pixels, table), np.uint8)


@dataclass(slots=True)
class Composer:
    """Chooses and grades the picture of each tick. Pure but for what it remembers."""

    width: int
    height: int
    start_ns: int
    degraded: bool = False
    frozen: Frame | None = None
    last: Frame | None = None
    last_ns: int = 0

    def __call__(self, newest: Frame | None, state: ShowState, features: Features, now_ns: int) -> Frame:
        """Return the picture at ``now_ns``; ``newest`` is a frame that came since the last tick, if any."""
        if newest is not None:
            self.last, self.last_ns = newest, now_ns
        shown = self._shown(state, now_ns)
        if state.blackout:
            black = np.zeros_like(shown.pixels)
            black[..., 3] = 255
            shown = replace(shown, pixels=black)
        else:
            shown = replace(shown, pixels=faded(shown.pixels, state.fade))
        grid = features.grid
        info = replace(
            shown.info,
            bpm=grid.bpm,
            beat_phase=grid.beat_phase(now_ns),
            bar_phase=grid.bar_phase(now_ns),
            beat_index=max(0, grid.count_at(now_ns)),
        )
        return replace(shown, info=info)

    def _shown(self, state: ShowState, now_ns: int) -> Frame:
        if state.freeze and self.last is not None:
            self.frozen = self.frozen or self.last
            return self.frozen
        self.frozen = None
        if self.last is None:
            self.degraded = now_ns - self.start_ns > START_NS
            return Frame(splash(self.width, self.height), FrameInfo(self.width, self.height))
        stale_ns = now_ns - self.last_ns
        self.degraded = stale_ns > HOLD_NS
        if not self.degraded:
            return self.last
        return replace(self.last, pixels=safe_picture(self.last.pixels, (stale_ns - HOLD_NS) / NS))


class OutputThread:
    """One output on a thread of its own, behind a mailbox that holds one frame: a slow receiver delays nobody."""

    def __init__(
        self,
        kind: str,
        output: Output,
        clock: Clock,
        stream_id: int,
        announce: Callable[[str, str, bool], None],
    ) -> None:
        self.kind = kind
        self.sent, self.drops = 0, 0
        self.latency, self.rate = Latencies(), Rate()
        self.alive = False
        self._output, self._clock, self._stream_id, self._announce = output, clock, stream_id, announce
        self._mail: Frame | None = None
        self._last_id = 0
        self._ready = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"output-{kind}", daemon=True)
        self._thread.start()

    def offer(self, frame: Frame) -> None:
        """Leave a frame; one that was not yet taken is replaced and counted."""
        with self._ready:
            if self._mail is not None and self.alive:
                self.drops += 1
            self._mail = frame
            self._ready.notify()

    def close(self) -> None:
        """Stop the thread and close the output."""
        with self._ready:
            self._stopping = True
            self._ready.notify()
        self._thread.join(1.0)

    def _run(self) -> None:
        tries = 0
        while not self._stopping:
            try:
                self._output.open()
                if tries:
                    self._announce(f"output {self.kind}", "sends again", True)
                self.alive, tries = True, 0
                self._send_all()
            except OutputError as error:
                self._rest(tries, str(error))
                tries += 1
            except Exception as error:  # noqa: BLE001 - a stranger's door may raise anything; it must not end in silence
                self._rest(tries, f"{type(error).__name__}: {error}")
                tries += 1
            finally:
                self._output.close()

    def _rest(self, tries: int, why: str) -> None:
        """Announce a failure, once, and wait before the next try."""
        self.alive = False
        if tries == 0:
            self._announce(f"output {self.kind}", why, False)
        with self._ready:
            self._ready.wait_for(lambda: self._stopping, RETRY_S[min(tries, len(RETRY_S) - 1)])

    def _send_all(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._mail is not None or self._stopping)
                frame, self._mail = self._mail, None
            if self._stopping or frame is None:
                return
            now_ns = self._clock.now_ns()
            info = replace(
                frame.info, t_sent_ns=now_ns, t_unix_ns=self._clock.wall_ns(), stream_id=self._stream_id,
                data_size=frame.pixels.nbytes,
            )  # fmt: skip
            self._output.send(replace(frame, info=info))
            done_ns = self._clock.now_ns()
            self.sent += 1
            self.rate.tick(done_ns)
            if info.t_generated_ns and info.frame_id != self._last_id:  # a frame that is shown again is not late
                self._last_id = info.frame_id
                self.latency.add(info.t_generated_ns, done_ns)


class Delivery:
    """The deliver process's loop."""

    def __init__(
        self,
        outputs: Sequence[OutputThread],
        size: tuple[int, int],
        fps: float,
        clock: Clock,
        features: FeaturesReader,
        state: StateReader,
        ring: RingReader,
        events: QueueWriter,
        stats: StatsWriter,
    ) -> None:
        self._outputs, self._clock = outputs, clock
        self._period_ns = round(NS / fps)
        self._features, self._state, self._ring, self._events, self._stats = (
            features,
            state,
            ring,
            events,
            stats,
        )
        self._compose = Composer(*size, clock.now_ns())
        self._was_degraded = False
        self._new_rate, self._pacing = Rate(), Latencies()
        self._ticks, self._late = 0, 0
        self._next_stats_ns = 0

    def run(self, stopped: Callable[[], bool]) -> None:
        """Deliver until ``stopped``; a late tick moves the following ones, so none are sent in a burst."""
        slot_ns = self._clock.now_ns()
        try:
            while not stopped():
                self._clock.sleep_until(slot_ns)
                now_ns = self._clock.now_ns()
                self._pacing.add(slot_ns, now_ns)
                self._late += now_ns - slot_ns > self._period_ns // 2
                self.step(now_ns)
                slot_ns = max(slot_ns + self._period_ns, self._clock.now_ns() - self._period_ns)
        finally:
            for output in self._outputs:
                output.close()
            self._ring.close()

    def step(self, now_ns: int) -> None:
        """Send the picture of this tick to every output."""
        state, features = self._state.get(), self._features.get()
        newest = self._ring.get()
        if newest is not None:
            self._new_rate.tick(now_ns)
        frame = self._compose(newest, state, features, now_ns)
        frame.pixels.flags.writeable = False
        for output in self._outputs:
            output.offer(frame)
        self._ticks += 1
        self._watch(now_ns)
        self._show_stats(now_ns)

    def _watch(self, now_ns: int) -> None:
        if self._compose.degraded != self._was_degraded:
            self._was_degraded = self._compose.degraded
            why = "no new frame for 2 s: the safe loop plays" if self._was_degraded else "new frames again"
            self._events.put(Degraded(now_ns, "picture", why, not self._was_degraded))

    def _show_stats(self, now_ns: int) -> None:
        if now_ns < self._next_stats_ns:
            return
        self._next_stats_ns = now_ns + NS // 2
        rows = {
            output.kind: {
                "alive": output.alive,
                "sent": output.sent,
                "drops": output.drops,
                "fps": output.rate.per_second(now_ns),
                "latency": output.latency.summary(),
            }
            for output in self._outputs
        }
        best = next((row["latency"] for row in rows.values() if row["latency"]), {})
        self._stats.put(
            {
                "t_ns": now_ns,
                "ticks": self._ticks,
                "late": self._late,
                "pacing": self._pacing.summary(),
                "new_fps": self._new_rate.per_second(now_ns),
                "frame_to_output": best,
                "outputs": rows,
                "drops": sum(output.drops for output in self._outputs),
                "safe": self._was_degraded,
            }
        )
