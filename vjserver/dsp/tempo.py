"""Tempo: the slow front end goes in, reports of where the beat is come out; bars too.

Two recurrent networks say how surely each frame is a beat, a bar pointer makes tempo and phase of it, and a logistic
model says how far that may be trusted; it was fitted on songs and on what is no music, so noise is not believed.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from vjserver.dsp.barpointer import MILD, STRICT, BarPointer, Pointer
from vjserver.dsp.beatclock import BeatReport
from vjserver.dsp.network import BEAT_DELAY_FRAMES, Committee
from vjserver.dsp.options import TempoPrior
from vjserver.types.audio import Float32
from vjserver.types.features import BeatGrid

NS = 1_000_000_000
# sharpness, share, salience, constant: fitted by bench/training/trust.py
TRUST = (2.09, 1.69, 11.02, -6.3)
_SALIENCE_S, _ALTERNATING = 3.0, 8
SLIP = 0.004  # how likely a bar is begun anew between two beats
OTHER = 0.65  # the network says too seldom that a beat is no downbeat
HARMONY = 2.0  # log-odds of a downbeat where the harmony changes by once more than usual
MEMORY_BEATS, BARS = 32.0, 8
EVIDENCE = {2: 0.1, 3: 0.05, 4: 0.0}
"""How much better (log-likelihood a beat) bars of so many beats must explain what was heard, to be believed."""


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

    def listen(self, slow: Float32) -> None:
        """Take what the front end sees; tell how surely it is a beat and a downbeat, and follow nothing."""
        said = self._network(slow)
        self.activation, self.downbeat = float(said[0]), float(said[1])

    def __call__(self, slow: Float32, t_ns: int) -> BeatReport:
        """Take what the front end sees of the frame that ended at ``t_ns``; return where the beat is."""
        self.listen(slow)
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
    """Tells bars: how surely each beat is a downbeat goes in, and how much the harmony changes there.

    A forward filter for each bar of 2, 3 and 4 beats. The network often takes the third beat for the first, whose drums
    are the same; the chord tells them apart.
    Bars are of four until another length has explained the beats better, by :data:`EVIDENCE`, for eight bars on end: a
    kick on every beat sounds like bars of two to whom has heard only a few of them.
    """

    METRES = (2, 3, 4)

    def __init__(self) -> None:
        self._places = {metre: np.full(metre, 1.0 / metre) for metre in self.METRES}
        self._explained = dict.fromkeys(self.METRES, 0.0)
        self._metre, self._better, self._since = 4, 4, 0
        self.bar = Bar(0, 4, 0.0)

    def forget(self) -> None:
        """Begin anew: the beat has moved. What is known of the bar's length stays."""
        for metre, p in self._places.items():
            self._places[metre] = 0.7 / metre + 0.3 * p
        self._since = 0

    def __call__(self, downbeat: float, change: float = 1.0) -> Bar:
        """Take the probability that this beat is a downbeat; return where in its bar it most likely is.

        ``change`` is how much the harmony changes on it, 0..3, where 1 is usual.
        """
        downbeat = min(max(downbeat, 0.02), 0.95)
        odds = downbeat / (1.0 - downbeat) * math.exp(HARMONY * (change - 1.0))
        downbeat = min(max(odds / (1.0 + odds), 0.02), 0.95)
        for metre, p in self._places.items():
            p = (1.0 - SLIP) * np.roll(p, 1) + SLIP / metre
            p[0] *= downbeat
            p[1:] *= (1.0 - downbeat) * OTHER
            likely = float(p.sum())
            self._places[metre] = p / likely
            self._explained[metre] += (math.log(likely) - self._explained[metre]) / MEMORY_BEATS
        self._choose()
        p = self._places[self._metre]
        best = int(np.argmax(p))
        self.bar = Bar(best, self._metre, float(p[best]))
        return self.bar

    def _choose(self) -> None:
        """Change the bar's length where another has been better for long enough."""
        explained = self._explained
        better = max(self.METRES, key=lambda metre: explained[metre])
        if explained[better] < explained[self._metre] + EVIDENCE[better]:
            better = self._metre
        self._since = self._since + 1 if better == self._better else 0
        self._better = better
        if better != self._metre and self._since >= BARS * self._metre:
            self._metre = better
