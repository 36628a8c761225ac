"""Resampling: sound at any rate goes in, sound at 40 to 50 kHz comes out, which is what the ear was trained at.

Rates in that range pass untouched. Others are changed by a ratio of small numbers with a windowed-sinc filter: a
telephone's 8 kHz become 48 and a studio's 192 become 48. The ratio is exact, so time stays exact.
"""

from fractions import Fraction

import numpy as np

from vjserver.types.audio import Float32

LOWEST_HZ, HIGHEST_HZ = 40_000, 50_000
_LOBES = 8


def ratio_for(rate_hz: int) -> Fraction:
    """Return the simplest ratio that brings a rate into the range; 1 where it is there already.

    Raises ValueError for a rate below 4 or above 400 kHz.
    """
    if not 4_000 <= rate_hz <= 400_000:
        raise ValueError(f"the sample rate must lie in 4000..400000 Hz: got {rate_hz}")
    fits = [
        Fraction(up, down)
        for down in range(1, 11)
        for up in range(1, 13)
        if LOWEST_HZ <= rate_hz * up / down <= HIGHEST_HZ
    ]
    return min(fits, key=lambda f: (f.numerator * f.denominator, f))


class Resampler:
    """Changes the rate of a mono stream by ``ratio``; its output is ``late`` samples (of its own rate) behind."""

    def __init__(self, ratio: Fraction) -> None:
        self._up, self._down = ratio.numerator, ratio.denominator
        half = _LOBES * max(self._up, self._down)
        t = np.arange(-half, half + 1) / max(self._up, self._down)
        self._taps = (np.sinc(t) * np.hanning(len(t) + 2)[1:-1]).astype(np.float32)
        self._taps *= np.float32(self._up / self._taps.sum())
        self._rest = np.zeros(len(self._taps) - 1, np.float32)
        self._phase = 0
        self.late = half / self._down if self._up != self._down else 0.0

    def __call__(self, samples: Float32) -> Float32:
        """Return the samples that are ready, mono float32."""
        if self._up == self._down:
            return samples
        stuffed = np.zeros(len(samples) * self._up, np.float32)
        stuffed[:: self._up] = samples
        whole = np.concatenate((self._rest, stuffed))
        self._rest = whole[len(stuffed) :]
        filtered = np.convolve(whole, self._taps, "valid")
        out = filtered[self._phase :: self._down]
        self._phase = (self._phase - len(filtered)) % self._down
        return out
