"""Spectrum: hops of sound go in, band levels in dB come out.

One filterbank holds the six named bands (flat, each the mean power between its edges) and the 32 log bands
(triangles half overlapping, never narrower than a bin).
"""

from itertools import pairwise

import aubio
import numpy as np

from vjserver.dsp.filterbank import FilterBank
from vjserver.types.audio import Float32
from vjserver.types.features import BAND_NAMES, N_SPECTRUM

BAND_EDGES_HZ = (20.0, 60.0, 150.0, 500.0, 2000.0, 6000.0, 16000.0)
LOG_RANGE_HZ = (40.0, 16000.0)
N_BANDS = len(BAND_NAMES) + N_SPECTRUM


def log_centres_hz(count: int = N_SPECTRUM) -> Float32:
    """Return the centres of the log bands, Hz, float32 ``(count,)``."""
    return np.geomspace(*LOG_RANGE_HZ, count).astype(np.float32)


def band_weights(window: int, rate_hz: int) -> Float32:
    """Return the filterbank, float32 ``(N_BANDS, window // 2 + 1)``; every row sums to one."""
    bins_hz = np.arange(window // 2 + 1) * rate_hz / window
    width_hz = rate_hz / window
    rows = []
    for low, high in pairwise(BAND_EDGES_HZ):
        overlap = np.minimum(bins_hz + width_hz / 2, high) - np.maximum(bins_hz - width_hz / 2, low)
        rows.append(np.clip(overlap, 0.0, None))
    centres = log_centres_hz()
    ratio = centres[1] / centres[0]
    for centre in centres:
        half = max(centre * (ratio - 1.0), width_hz)
        rows.append(np.clip(1.0 - np.abs(bins_hz - centre) / half, 0.0, None))
    weights = np.array(rows)
    totals = weights.sum(axis=1, keepdims=True)
    normal: Float32 = np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0).astype(np.float32)
    return normal


class Spectrum:
    """Short-time spectrum of mono hops: a Hann window of ``window`` samples every ``hop``."""

    def __init__(self, rate_hz: int, hop: int, window: int = 1024) -> None:
        if window % hop:
            raise ValueError(f"hop must divide window: got {hop} for {window}")
        self._pvoc = aubio.pvoc(window, hop)
        self._bank = FilterBank(band_weights(window, rate_hz))
        # A full-scale sine reads 0 dB: a Hann window halves its amplitude and splits it over +-f.
        self._scale = np.float32((4.0 / window) ** 2)

    def __call__(self, samples: Float32) -> Float32:
        """Return mean power a bin of each band in dB re full scale, float32 ``(N_BANDS,)``, not below -120."""
        power = self._bank(self._pvoc(samples))
        decibels: Float32 = np.float32(10.0) * np.log10(power * self._scale + np.float32(1e-12))
        return decibels
