"""A performance without a clock: what was heard and a desk go in, the moment of each frame comes out.

The same ear, desk and mapping as on stage, in steps of their own: sixty a second, and one at each hit, beat and
message. So what a moment is does not depend on how many frames a second there are, nor on how long anything takes.
"""

import math
import sys
from collections.abc import Iterator
from fractions import Fraction

from vjserver.dsp.options import EarOptions
from vjserver.rendering.renderer import Moment
from vjserver.show.desk import Desk
from vjserver.show.mapping import MapperMemory, moved
from vjserver.stages.offline.hearing import EarMode, Hearing
from vjserver.stages.offline.listening import hear_song
from vjserver.types.audio import Float32

NS = 1_000_000_000
TICKS = 60
HIGHEST_RATE_HZ = 384_000  # a length is a whole number of samples of such a rate or less


def frames_of(seconds: float | Fraction, rate: Fraction) -> int:
    """Return how many frames a film has that lasts so long: the last one may reach beyond the end."""
    return math.ceil(Fraction(seconds).limit_denominator(HIGHEST_RATE_HZ) * rate)


def time_of(number: int, rate: Fraction) -> int:
    """Return the time of a frame, in ns: ``number / rate`` seconds, never later."""
    return number * NS * rate.denominator // rate.numerator


def moments(
    desk: Desk, hearing: Hearing, rate: Fraction, size: tuple[int, int], frames: int | None = None
) -> Iterator[Moment]:
    """Yield the moment of each frame, from the first on, while a desk plays to a song that was heard.

    ``rate`` is frames a second; ``frames`` how many, None for as many as the song lasts.
    """
    performance = Performance(desk, hearing)
    for number in range(frames if frames is not None else frames_of(hearing.seconds, rate)):
        yield performance.moment(number, time_of(number, rate), rate, size)


class Performance:
    """A desk that plays to a song; ask for moments in order."""

    def __init__(self, desk: Desk, hearing: Hearing, watched_ns: frozenset[int] = frozenset()) -> None:
        self.desk, self.hearing, self._watched_ns = desk, hearing, watched_ns
        self.left = desk.state, MapperMemory()
        """The state and the mapping as they were before the last of the times that are watched."""
        self.memory = MapperMemory()
        self.refused: dict[str, None] = {}
        """What a take, cue or trigger asked for and cannot be done, in words, each once."""
        self.now_ns = -1
        self._tick = 0
        self._beat = 0
        desk.rows_a_tick = sys.maxsize  # nobody's hands wait

    def moment(self, number: int, t_ns: int, rate: Fraction, size: tuple[int, int]) -> Moment:
        """Return the moment of frame ``number`` at ``t_ns``."""
        while (step_ns := self._next()) <= t_ns:
            self._step(step_ns)
        return Moment(
            self.desk.state, self.hearing.features(t_ns), t_ns, float(1 / rate) if number else 0.0, number, size,
            "film", self.memory, (t_ns - self.now_ns) * 1e-9,
        )  # fmt: skip

    def _next(self) -> int:
        """Return when something happens next."""
        while self._tick * NS // TICKS <= self.now_ns:
            self._tick += 1
        times = [self._tick * NS // TICKS]
        beats = self.hearing.grids.since_ns
        if self.hearing.knows_beats:
            while self._beat < len(beats) and beats[self._beat] <= self.now_ns:
                self._beat += 1
            times += beats[self._beat : self._beat + 1]
        due_ns = self.desk.due_ns
        if due_ns is not None and due_ns > self.now_ns:
            times.append(due_ns)
        first_ns = min(times)
        for t_ns, _ in self.hearing.events(self.now_ns, first_ns - 1):
            return t_ns
        return first_ns

    def _step(self, t_ns: int) -> None:
        desk, features = self.desk, self.hearing.features(t_ns)
        desk.grid = features.grid
        if t_ns in self._watched_ns:
            self.left = desk.state, self.memory
        for at_ns, event in self.hearing.events(self.now_ns, t_ns):
            desk.hear(at_ns, event)
        desk.tick(t_ns, features.grid, 0)
        since_s = (t_ns - self.now_ns) * 1e-9 if self.now_ns >= 0 else 0.0
        desk.performed.clear()  # nobody writes a take of it
        self.refused |= dict.fromkeys(desk.refused)
        desk.refused.clear()
        self.memory = moved(desk.state, features, t_ns, since_s, self.memory, desk.registry)
        self.now_ns = t_ns


def heard(sound: Float32, rate_hz: int, ear: EarOptions | None = None, mode: EarMode = "live") -> Hearing:
    """Return what the ear makes of a sound that lies in memory, float32 ``(samples, channels)`` or ``(samples,)``."""
    row = sound if sound.ndim == 2 else sound[:, None]
    return hear_song((row[i : i + rate_hz] for i in range(0, len(row), rate_hz)), rate_hz, ear, mode)
