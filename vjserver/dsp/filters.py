"""Biquad filters: a corner frequency goes in, an aubio filter comes out.

Formulae: R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients", with Q = 1/sqrt(2)
(Butterworth) unless said otherwise.
"""

import math
from typing import Literal

import aubio
import numpy as np

from vjserver.types.audio import Float32

Shape = Literal["lowpass", "highpass", "bandpass"]
Coefficients = tuple[float, float, float, float, float]


def biquad(shape: Shape, rate_hz: float, cutoff_hz: float, q: float = math.sqrt(0.5)) -> Coefficients:
    """Return ``b0, b1, b2, a1, a2`` (a0 = 1) of a second-order filter; ``cutoff_hz`` is below ``rate_hz / 2``."""
    if not 0.0 < cutoff_hz < rate_hz / 2:
        raise ValueError(f"cutoff must lie between 0 and {rate_hz / 2} Hz: got {cutoff_hz}")
    w = 2.0 * math.pi * cutoff_hz / rate_hz
    alpha, cos_w = math.sin(w) / (2.0 * q), math.cos(w)
    b = {
        "lowpass": ((1 - cos_w) / 2, 1 - cos_w, (1 - cos_w) / 2),
        "highpass": ((1 + cos_w) / 2, -(1 + cos_w), (1 + cos_w) / 2),
        "bandpass": (alpha, 0.0, -alpha),
    }[shape]
    a0 = 1.0 + alpha
    return (b[0] / a0, b[1] / a0, b[2] / a0, -2.0 * cos_w / a0, (1.0 - alpha) / a0)


class Cascade:
    """Biquads in series over hops of mono float32 samples ``(hop,)``; state is kept between hops."""

    def __init__(self, *sections: Coefficients) -> None:
        self._filters = []
        for section in sections:
            one = aubio.digital_filter(3)
            one.set_biquad(*section)
            self._filters.append(one)

    def __call__(self, samples: Float32) -> Float32:
        """Return the filtered hop, float32 ``(hop,)``."""
        for one in self._filters:
            samples = one(samples)
        return samples


def rms_db(samples: Float32) -> float:
    """Return the level of a hop in dBFS, -120 for digital silence."""
    power = float(np.dot(samples, samples)) / len(samples)
    return 10.0 * math.log10(power) if power > 1e-12 else -120.0
