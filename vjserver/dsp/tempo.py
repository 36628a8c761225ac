"""Tempo: the slow front end goes in, reports of where the beat is come out; bars too.

Two recurrent networks say how surely each frame is a beat, a bar pointer makes tempo and phase of it, and a logistic
model says how far that may be trusted; it was fitted on songs and on what is no music, so noise is not believed.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from vjserver.dsp.barpointer import MILD, STRICT, BarPointer, Pointer, TempoPrior
from vjserver.dsp.beatclock import BeatReport
from vjserver.dsp.network import BEAT_DELAY_FRAMES, Committee
from vjserver.types.audio import Float32
from vjserver.types.features import BeatGrid

NS = 1_000_000_000
# sharpness, share, salience, constant: fitted by bench/training/trust.py
TRUST = (1.54, 1.73, 10.55, -5.7)
_SALIENCE_S, _ALTERNATING = 3.0, 8


class BeatTracker:
    """Follows the beat at ``frame_rate_hz`` frames a second."""

    def __init__(self, frame_rate_hz: float, prior: TempoPrior) -> None:
        self.frame_rate_hz = frame_rate_hz
        self._network = Committee("beat-1", "beat-2")
        self._pointer = BarPointer(frame_rate_hz, prior)
        self._kept = math.exp(-1.0 / (_SALIENCE_S * frame_rate_hz))
        self._on = self._heard = 1e-3
        self.activation = self.downbeat = 0.0
        self.pointer = Pointer(0.0, frame_rate_hz / 2.0, 0.0, 0.0)
        self.salience = 0.0
        self._levels: deque[float] = deque(maxlen=_ALTERNATING)
        self._level, self._phase, self._period = 0.0, 0.0, 1.0

    def set_prior(self, prior: TempoPrior) -> None:
        """Expect other tempi from now on."""
        self._pointer.set_prior(prior)

    def skip(self, seconds: float) -> None:
        """Let time pass unheard (a dropout)."""
        self._pointer.skip(min(round(seconds * self.frame_rate_hz), round(8.0 * self.frame_rate_hz)))

    def remind(self, grid: BeatGrid, t_ns: int, share: float) -> None:
        """Keep the clock's own beat among what is thought possible, so that it is found again at once after a break."""
        period = grid.period_s * self.frame_rate_hz
        since = grid.beat_phase(t_ns - round(BEAT_DELAY_FRAMES / self.frame_rate_hz * NS)) * period
        self._pointer.remind(since, period, share)

    def __call__(self, slow: Float32, t_ns: int) -> BeatReport:
        """Take what the front end sees of the frame that ended at ``t_ns``; return where the beat is."""
        said = self._network(slow)
        self.activation, self.downbeat = float(said[0]), float(said[1])
        pointer = self.pointer = self._pointer(self.activation)
        # Salience: how sure the network was where the pointer expects beats, over some seconds.
        expected = self._pointer.expected
        self._on = self._on * self._kept + expected
        self._heard = self._heard * self._kept + expected * self.activation
        self.salience = self._heard / self._on
        self._pointer.crossing = self._crossing()
        since_s = (pointer.since + BEAT_DELAY_FRAMES) / self.frame_rate_hz
        return BeatReport(t_ns - round(since_s * NS), pointer.period / self.frame_rate_hz, self.trust())

    def _crossing(self) -> float:
        """Return from which probability on the pointer is to take a frame for a beat: half of what beats usually have.

        Where every other beat is much weaker, the pointer may go at twice the tempo: then the weak ones are none.
        """
        pointer = self.pointer
        phase = pointer.since / pointer.period
        if abs(pointer.period / self._period - 1.0) > 0.2:
            self._levels.clear()
        self._period = pointer.period
        self._level = max(self._level, self.activation)
        if self._phase < 0.5 <= phase:
            self._levels.append(self._level)
            self._level = 0.0
        self._phase = phase
        crossing = 0.5 * self.salience
        if len(self._levels) == _ALTERNATING:
            levels = list(self._levels)
            weak, strong = sorted((sum(levels[::2]), sum(levels[1::2])))
            if weak < 0.65 * strong:
                crossing = max(crossing, (weak + strong) / _ALTERNATING)
        return min(max(crossing, MILD), STRICT)

    def trust(self) -> float:
        """Return how surely the pointer is right, 0..1."""
        a, b, c, d = TRUST
        pointer = self.pointer
        return 1.0 / (1.0 + math.exp(-(a * pointer.sharpness + b * pointer.share + c * self.salience + d)))


@dataclass(frozen=True, slots=True)
class Bar:
    """The place of a beat in its bar (0 is the downbeat), the bar's length in beats, and how surely, 0..1."""

    position: int
    beats_per_bar: int
    trust: float


class BarTracker:
    """Tells bars: how surely each beat is a downbeat goes in. A forward filter over bars of 2, 3 and 4 beats."""

    METRES = (2, 3, 4)
    _SWITCH = 0.004

    def __init__(self) -> None:
        self._length = np.concatenate([np.full(m, m) for m in self.METRES])
        self._place = np.concatenate([np.arange(m) for m in self.METRES])
        firsts = np.cumsum((0, *self.METRES[:-1]))
        follows = [first + (place + 1) % m for first, m in zip(firsts, self.METRES, strict=True) for place in range(m)]
        self._walk = np.zeros((9, 9))
        self._walk[np.arange(9), follows] = 1.0 - self._SWITCH
        share = np.select([self._length == 2, self._length == 3], [0.08, 0.12], 0.8) / self._length
        self._prior = share / share.sum()
        self._walk += self._SWITCH * self._prior
        self._p = self._prior.copy()
        self.bar = Bar(0, 4, 0.0)

    def forget(self) -> None:
        """Begin anew: the beat has moved."""
        self._p = 0.7 * self._prior + 0.3 * self._p

    def __call__(self, downbeat: float) -> Bar:
        """Take the probability that this beat is a downbeat; return where in its bar it most likely is."""
        downbeat = min(max(downbeat, 0.02), 0.95)
        p = (self._p @ self._walk) * np.where(self._place == 0, downbeat, (1.0 - downbeat) * 0.65)
        self._p = p / p.sum()
        best = int(np.argmax(self._p))
        self.bar = Bar(int(self._place[best]), int(self._length[best]), float(self._p[best]))
        return self.bar
