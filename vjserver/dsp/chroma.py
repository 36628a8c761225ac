"""Chroma: hops of sound go in; which of the twelve pitch classes sound, and how much the harmony moves, come out.

A long spectrum (8192 samples, five a second or more) is folded into pitch classes. Tonal change is the distance that
the tonal centroid travels (C. Harte, M. Sandler and M. Gasser, "Detecting harmonic change in musical audio", 2006):
it knows no key, and a change of bass note under the same chord counts little.
"""

from collections import deque

import aubio
import numpy as np

from vjserver.easing.smoothing import smoothing
from vjserver.types.audio import Float32

WINDOW, HOP = 8192, 2048
LOW_HZ, HIGH_HZ = 100.0, 2100.0
_SMOOTH_S, _SLOW_S, _RECENT_S = 0.4, 1.6, 0.25
_GATE = 1e-7
NS = 1_000_000_000
_KEPT = 160  # spectra, seven seconds: four of the slowest beats
_BEATS, _LEAST = 16.0, 0.05  # over so many beats a change is measured; less is none


def pitch_classes(window: int, rate_hz: int) -> Float32:
    """Return what each bin gives to each pitch class (C is 0), float32 ``(12, window // 2 + 1)``."""
    hz = np.arange(window // 2 + 1) * rate_hz / window
    inside = (hz >= LOW_HZ) & (hz <= HIGH_HZ)
    pitch = 69.0 + 12.0 * np.log2(np.maximum(hz, 1.0) / 440.0)
    away = (pitch[None, :] - np.arange(12)[:, None] + 6.0) % 12.0 - 6.0
    weights: Float32 = (np.exp(-0.5 * (away / 0.35) ** 2) * inside).astype(np.float32)
    return weights


def tonal_centroid(chroma: Float32) -> Float32:
    """Return where a chroma ``(12,)`` lies on the circles of fifths, minor and major thirds, float32 ``(6,)``."""
    total = float(chroma.sum())
    return np.asarray(_CIRCLES @ chroma / total if total > 0 else np.zeros(6), np.float32)


_STEPS = np.arange(12)
_CIRCLES = np.concatenate([
    radius * np.array([np.sin(_STEPS * turn), np.cos(_STEPS * turn)])
    for radius, turn in ((1.0, 7 * np.pi / 6), (1.0, 3 * np.pi / 2), (0.5, 2 * np.pi / 3))
]).astype(np.float32)  # fmt: skip


class Chroma:
    """Pitch classes of a signal at ``rate_hz``; collects hops of any length."""

    def __init__(self, rate_hz: int) -> None:
        self._fft = aubio.fft(WINDOW)
        self._window = np.hanning(WINDOW).astype(np.float32)
        self._fold = pitch_classes(WINDOW, rate_hz)
        self._cut = slice(int(LOW_HZ * WINDOW / rate_hz), int(HIGH_HZ * WINDOW / rate_hz) + 2)
        self._fold = np.ascontiguousarray(self._fold[:, self._cut])
        self._buffer, self._filled = np.zeros(WINDOW, np.float32), 0
        step_s = HOP / rate_hz
        self._quick, self._smooth, self._slow = (smoothing(step_s, s) for s in (_RECENT_S, _SMOOTH_S, _SLOW_S))
        self._now, self._past = np.zeros(12, np.float32), np.zeros(12, np.float32)
        self.steps = 0
        self.heard = np.zeros(12, np.float32)
        """The pitch classes of the newest of ``steps`` spectra that were no silence, of length 1."""
        self.chroma = np.zeros(12, np.float32)
        self.change = 0.0

    def __call__(self, samples: Float32) -> None:
        """Take a hop, mono float32; refresh :attr:`chroma` (float32 ``(12,)``, 0..1) and :attr:`change` (0..1)."""
        count = len(samples)
        self._buffer[:-count] = self._buffer[count:]
        self._buffer[-count:] = samples
        self._filled += count
        if self._filled < HOP:
            return
        self._filled -= HOP
        magnitude = self._fft(self._buffer * self._window).norm[self._cut] * np.float32(2.0 / WINDOW)
        heard = self._fold @ (magnitude * magnitude)
        total = float(heard.sum())
        if total < _GATE:
            self.chroma *= np.float32(1.0 - self._smooth)
            self.change *= 1.0 - self._quick
            return
        heard = self.heard = np.sqrt(heard / total)
        self._now += self._quick * (heard - self._now)
        self._past += self._slow * (heard - self._past)
        shaped = heard / heard.max()
        self.chroma = self.chroma + np.float32(self._smooth) * (shaped * shaped - self.chroma)
        self.steps += 1
        if self.steps * HOP > 2 * WINDOW:  # before, everything is a change
            moved = float(np.linalg.norm(tonal_centroid(self._now) - tonal_centroid(self._past)))
            self.change = min(1.0, moved / 0.45)


class HarmonicRhythm:
    """How much the harmony of a signal at ``rate_hz`` changes at a moment: chords change on the one, as a rule."""

    SPAN_BEATS = 2

    def __init__(self, rate_hz: int) -> None:
        self._heard: deque[tuple[int, Float32]] = deque(maxlen=_KEPT)
        self._usual = 0.25
        self._lag_ns = round(0.6 * WINDOW / rate_hz * NS)
        """So long after a change the spectrum shows more of what is new than of what was."""

    def hear(self, t_ns: int, heard: Float32) -> None:
        """Take the pitch classes of the spectrum that ended at ``t_ns``."""
        self._heard.append((t_ns, heard))

    def ripe_ns(self, t_ns: int, period_s: float) -> int:
        """Return when there is enough to tell of a beat at ``t_ns``."""
        return t_ns + round(self.SPAN_BEATS * period_s * NS) + self._lag_ns

    def change(self, t_ns: int, period_s: float) -> float:
        """Return how much the two beats from ``t_ns`` on differ from the two before, 0..3, where 1 is usual."""
        span_ns, since_ns = round(self.SPAN_BEATS * period_s * NS), t_ns + self._lag_ns
        after = [heard for at, heard in self._heard if since_ns < at <= since_ns + span_ns]
        before = [heard for at, heard in self._heard if since_ns - span_ns < at <= t_ns]
        if not after or not before:
            return 1.0
        change = float(np.linalg.norm(np.mean(after, axis=0) - np.mean(before, axis=0)))
        self._usual += (change - self._usual) / _BEATS
        return min(change / max(self._usual, _LEAST), 3.0)
