"""Bar pointer: how surely each frame is a beat goes in; the likeliest tempo and phase come out, frame by frame.

A hidden Markov model whose hidden state is a pointer that walks through the beat (tempo x phase), after N. Whiteley,
A. T. Cemgil and S. Godsill, "Bayesian modelling of temporal structure in musical audio" (ISMIR 2006), on the efficient
state space of F. Krebs, S. Boeck and G. Widmer (ISMIR 2015): one state a frame, and the tempo changes only on the beat.
Only the forward pass is run, so nothing is known late. A little of the probability leaks back to the prior at each
frame, so that a DJ's cut is followed.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vjserver.dsp.options import FASTEST_BPM, SLOWEST_BPM, TempoPrior


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where the beat is: ``since`` frames ago a beat fell, and one follows every ``period`` frames.

    ``sharpness`` is the concentration of the phase, 0..1; ``share`` the probability that lies on this tempo, 0..1.
    """

    since: float
    period: float
    sharpness: float
    share: float


class BarPointer:
    """The forward filter at ``frame_rate_hz`` frames a second."""

    def __init__(self, frame_rate_hz: float, prior: TempoPrior) -> None:
        self._rate = frame_rate_hz
        fastest, slowest = 60.0 * frame_rate_hz / FASTEST_BPM, 60.0 * frame_rate_hz / SLOWEST_BPM
        self._periods = np.arange(math.ceil(fastest), math.floor(slowest) + 1)
        ends = np.cumsum(self._periods)
        self._first, self._last = ends - self._periods, ends - 1
        frames = np.concatenate([np.arange(p) for p in self._periods])
        lengths = np.repeat(self._periods, self._periods)
        away = np.minimum(frames, lengths - frames)
        self._on = np.interp(away, (0, 1, 2, 3), (1.0, 0.55, 0.12, 0.0)).astype(np.float32)
        turn = 2.0 * np.pi * frames / lengths
        self._cos, self._sin = np.cos(turn).astype(np.float32), np.sin(turn).astype(np.float32)
        ratio = self._periods[None, :] / self._periods[:, None]
        jump = np.exp(-TEMPO_STIFFNESS * np.abs(ratio - 1.0))
        self._jump = (jump / jump.sum(axis=1, keepdims=True)).astype(np.float32)
        self._p, self._next = np.zeros(len(frames), np.float32), np.zeros(len(frames), np.float32)
        self._work = np.zeros(len(frames), np.float32)
        self.expected = 0.0
        self.crossing = MILD
        """From which probability on a frame speaks for a beat; below, it speaks against one."""
        self.set_prior(prior)
        self.reset()

    def set_prior(self, prior: TempoPrior) -> None:
        """Expect other tempi from now on."""
        bpm = 60.0 * self._rate / self._periods
        octaves = np.log2(bpm / prior.hint_bpm) / prior.hint_octaves
        likely = np.exp(-0.5 * octaves**2)
        inside = (bpm >= prior.min_bpm * 0.985) & (bpm <= prior.max_bpm * 1.015)
        likely *= inside
        likely /= likely.sum()
        # Each tempo has one state a frame: the prior of a tempo is shared among them.
        self._prior = np.repeat(likely / self._periods, self._periods).astype(np.float32)
        self._allowed = None if inside.all() else np.repeat(inside, self._periods).astype(np.float32)

    def reset(self) -> None:
        """Forget everything but the prior."""
        self._p[:] = self._prior

    def skip(self, frames: int) -> None:
        """Let time pass unheard: the pointer walks on."""
        for _ in range(frames):
            self._walk()

    def remind(self, since: float, period: float, share: float) -> None:
        """Put ``share`` of the belief on a beat that fell ``since`` frames ago and follows every ``period``."""
        at = int(np.argmin(np.abs(self._periods - period)))
        length = int(self._periods[at])
        places = (round(since) + np.array((-1, 0, 1))) % length
        self._p *= np.float32(1.0 - share)
        self._p[self._first[at] + places] += np.float32(share) * _BUMP

    def __call__(self, beat: float) -> Pointer:
        """Take the probability ``beat`` (0..1) that this frame is one; return where the pointer is."""
        self._walk()
        self.expected = float(self._p @ self._on)  # how surely a beat was due in this frame
        beat = min(max(beat, 0.005), 0.98)
        p, work = self._p, self._work
        off = (1.0 - beat) * self.crossing / (1.0 - self.crossing)
        np.multiply(self._on, np.float32(beat - off), out=work)
        work += np.float32(off)
        p *= work
        p *= np.float32((1.0 - LEAK) / max(float(p.sum()), 1e-30))
        np.multiply(self._prior, np.float32(LEAK), out=work)
        p += work
        if self._allowed is not None:
            p *= self._allowed
        return self._read()

    def _walk(self) -> None:
        p, after = self._p, self._next
        after[1:] = p[:-1]
        after[self._first] = p[self._last] @ self._jump
        self._p, self._next = after, p

    def _read(self) -> Pointer:
        p = self._p
        tempi = np.add.reduceat(p, self._first)
        # The tempo and its neighbours within some percent are one candidate.
        at = int(np.argmax(np.convolve(tempi, _NEAR, "same")))
        period = int(self._periods[at])
        near = max(1, round(period * 0.06))
        low, high = max(0, at - near), min(len(tempi), at + near + 1)
        share = float(tempi[low:high].sum())
        mean = float(tempi[low:high] @ self._periods[low:high]) / share
        cut = slice(int(self._first[low]), int(self._last[high - 1]) + 1)
        x, y = float(p[cut] @ self._cos[cut]), float(p[cut] @ self._sin[cut])
        phase = math.atan2(y, x) / (2.0 * math.pi) % 1.0
        return Pointer(phase * mean, mean, math.hypot(x, y) / share, share / float(tempi.sum()))


_BUMP: NDArray[np.float32] = np.array([0.25, 0.5, 0.25], np.float32)
_NEAR: NDArray[np.float32] = np.array([0.6, 1.0, 0.6], np.float32)
TEMPO_STIFFNESS = 90.0
MILD, STRICT = 0.11, 0.5
LEAK = 1e-4
