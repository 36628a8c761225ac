"""Gain: levels in dB go in, 0..1 that really uses 0..1 comes out, whatever the microphone.

Every band learns its own range: the top follows peaks at once and sinks slowly, the bottom follows troughs and
rises slowly. Below the noise gate a band is 0. What comes out is smoothed with an attack and a release in seconds:
``a = 1 - exp(-dt / tau)``, so the feel does not change with the hop.
"""

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from vjserver.types.audio import Float32
from vjserver.walk.smoothing import smoothing

_NONE, _FULL = np.float32(0.0), np.float32(1.0)
_RISE, _DROP = np.float32(0.5), np.float32(0.2)  # shares of a new top or bottom that are taken at once


def rms_db(samples: Float32) -> float:
    """Return the level of a hop in dBFS, -120 for digital silence."""
    power = float(np.dot(samples, samples)) / len(samples)
    return 10.0 * math.log10(power) if power > 1e-12 else -120.0


class GainOptions(BaseModel):
    """How levels become 0..1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gate_db: float = Field(-70.0, ge=-120.0, le=0.0, description="levels below this are silence, dBFS")
    min_range_db: float = Field(18.0, gt=0.0, le=90.0, description="the narrowest range that is stretched to 0..1")
    max_range_db: float = Field(48.0, gt=0.0, le=120.0, description="the widest range that is kept")
    fall_s: float = Field(8.0, gt=0.0, description="how slowly the learnt top sinks, time constant in seconds")
    attack_s: float = Field(0.005, ge=0.0, description="smoothing of rising values, seconds")
    release_s: float = Field(0.18, ge=0.0, description="smoothing of falling values, seconds")


class AdaptiveGain:
    """Learns the range of ``count`` bands and maps dB to 0..1, one hop of ``dt_s`` seconds at a time."""

    def __init__(self, count: int, dt_s: float, options: GainOptions) -> None:
        self._gate = np.float32(options.gate_db)
        self._narrowest, self._widest = np.float32(options.min_range_db), np.float32(options.max_range_db)
        # The range is learnt every other hop: spectra overlap by three quarters.
        self._turn = False
        self._sink = np.float32(smoothing(2 * dt_s, options.fall_s))
        self._lift = np.float32(smoothing(2 * dt_s, options.fall_s / 2))
        self._attack = np.float32(smoothing(dt_s, options.attack_s))
        self._release = np.float32(smoothing(dt_s, options.release_s))
        self._top = np.full(count, options.gate_db + options.min_range_db, np.float32)
        self._bottom = np.full(count, options.gate_db, np.float32)
        self._value = np.zeros(count, np.float32)

    def __call__(self, level_db: Float32) -> Float32:
        """Return the smoothed bands 0..1, float32 ``(count,)``, for levels in dBFS of the same shape."""
        open_ = level_db > self._gate
        self._turn ^= True
        if self._turn:
            self._learn(level_db, open_)
        target = level_db - self._bottom
        target /= self._top - self._bottom
        # minimum and maximum cost a third of what clip does on arrays as small as these
        np.maximum(target, _NONE, out=target)
        np.minimum(target, _FULL, out=target)
        target *= open_
        target -= self._value
        target *= np.where(target > 0.0, self._attack, self._release)
        self._value = self._value + target
        return self._value

    def _learn(self, level_db: Float32, open_: NDArray[np.bool_]) -> None:
        """Move the range; behind a closed gate it rests, so a break does not turn the noise up."""
        top, bottom = self._top, self._bottom
        step = level_db - top
        step *= np.where(step > 0.0, _RISE, self._sink)
        step *= open_
        top += step
        step = level_db - bottom
        step *= np.where(step < 0.0, _DROP, self._lift)
        step *= open_
        bottom += step
        np.maximum(bottom, top - self._widest, out=bottom)
        np.minimum(bottom, top - self._narrowest, out=bottom)
