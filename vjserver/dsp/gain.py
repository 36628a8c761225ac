"""Gain: levels in dB go in, 0..1 that really uses 0..1 comes out, whatever the microphone.

Levels are smoothed first, with an attack and a release in seconds (``a = 1 - exp(-dt / tau)``, so the feel does not
change with the hop), and each band then learns the range of what it shows: the top follows peaks at once and sinks
slowly, the bottom follows troughs soon and rises slowly: what never stops is its floor, be it noise or a drone. While
the whole is below the gate, everything falls to 0 and nothing is learnt, so a break does not turn the noise up.
"""

import math
from collections import deque

import numpy as np

from vjserver.dsp.options import GainOptions
from vjserver.easing.smoothing import smoothing
from vjserver.types.audio import Float32

_NONE, _FULL = np.float32(0.0), np.float32(1.0)
_RISE, _DROP = np.float32(0.5), np.float32(0.25)  # shares of a new top or bottom that are taken at once
_LOWEST_DB = np.float32(-110.0)


def rms_db(samples: Float32) -> float:
    """Return the level of a hop in dBFS, -120 for digital silence."""
    power = float(np.dot(samples, samples)) / len(samples)
    return 10.0 * math.log10(power) if power > 1e-12 else -120.0


class NoiseFloor:
    """Learns what never stops: hiss, hum, a room. Levels go in, hop by hop; the gate above it comes out.

    The floor is the least level, smoothed, of the last :data:`FLOOR_S` seconds (R. Martin, "Noise power spectral
    density estimation based on optimal smoothing and minimum statistics", 2001). Nothing above
    :data:`LOUDEST_FLOOR_DB` is taken for noise: music may go on for long without a pause.
    """

    def __init__(self, dt_s: float, gate_db: float) -> None:
        self._gate_db, self._smooth = gate_db, smoothing(dt_s, 0.05)
        self._per = max(1, round(FLOOR_S / _FLOOR_PARTS / dt_s))
        self._steady = max(1, round(0.1 / dt_s))
        self._least: deque[float] = deque(maxlen=_FLOOR_PARTS)
        self._power = 0.0
        self._count = 0

    def __call__(self, level_db: float) -> float:
        """Take the level of a hop, dBFS; return the level below which there is nothing but noise."""
        self._power += max(self._smooth, 1.0 / (self._count + 1)) * (10.0 ** (level_db / 10.0) - self._power)
        smooth_db = 10.0 * math.log10(self._power)
        self._count += 1
        if self._count < self._steady:  # a hop says nothing of a hum whose wave is longer
            return max(self._gate_db, smooth_db + ABOVE_FLOOR_DB) if smooth_db <= LOUDEST_FLOOR_DB else self._gate_db
        if (self._count - self._steady) % self._per == 0:
            self._least.append(smooth_db)
        self._least[-1] = min(self._least[-1], smooth_db)
        floor = min(self._least)
        return max(self._gate_db, floor + ABOVE_FLOOR_DB) if floor <= LOUDEST_FLOOR_DB else self._gate_db


FLOOR_S, _FLOOR_PARTS = 20.0, 10
ABOVE_FLOOR_DB = 6.0
LOUDEST_FLOOR_DB = -50.0


class AdaptiveGain:
    """Learns the range of ``count`` levels and maps dB to 0..1, one hop of ``dt_s`` seconds at a time.

    The last level is that of the whole signal: the gate looks at it.
    """

    def __init__(self, count: int, dt_s: float, options: GainOptions) -> None:
        self.gate = options.gate_db
        """A whole level below this is silence, dBFS; it may be moved."""
        self._narrowest, self._widest = np.float32(options.min_range_db), np.float32(options.max_range_db)
        # The range is learnt every other hop: spectra overlap by three quarters.
        self._turn = False
        self._sink = np.float32(smoothing(2 * dt_s, options.fall_s))
        self._attack = np.float32(smoothing(dt_s, options.attack_s))
        self._release = np.float32(smoothing(dt_s, options.release_s))
        self._level = np.full(count, _LOWEST_DB, np.float32)
        self._top = np.full(count, options.gate_db + options.min_range_db, np.float32)
        self._bottom = np.full(count, options.gate_db, np.float32)
        self._heard = False

    def __call__(self, level_db: Float32) -> Float32:
        """Return 0..1 for levels in dBFS, both float32 ``(count,)``."""
        open_ = bool(level_db[-1] > self.gate)
        level = self._level
        # minimum and maximum cost a third of what clip does on arrays as small as these
        step = np.maximum(level_db, _LOWEST_DB) if open_ else np.full_like(level, _LOWEST_DB)
        step -= level
        step *= np.where(step > 0.0, self._attack, self._release)
        level += step
        self._turn ^= True
        if open_ and self._turn:
            if not self._heard:  # the first sound sets the range; what follows only moves it
                self._heard = True
                self._top[:] = np.maximum(level_db, _LOWEST_DB)
                self._bottom[:] = self._top - np.float32(15.0)
            self._learn(level)
        value = level - self._bottom
        value /= self._top - self._bottom
        np.maximum(value, _NONE, out=value)
        np.minimum(value, _FULL, out=value)
        return value

    def _learn(self, level: Float32) -> None:
        top, bottom = self._top, self._bottom
        step = level - top
        step *= np.where(step > 0.0, _RISE, self._sink)
        top += step
        step = level - bottom
        step *= np.where(step < 0.0, _DROP, self._sink)
        bottom += step
        np.maximum(top, _LOWEST_DB + self._narrowest, out=top)  # what is not there at all stays at 0
        np.maximum(bottom, np.maximum(top - self._widest, _LOWEST_DB), out=bottom)
        np.minimum(bottom, top - self._narrowest, out=bottom)
