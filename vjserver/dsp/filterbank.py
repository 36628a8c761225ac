"""Filterbank: a spectrum goes in, the power of each band comes out."""

from typing import Any

import numpy as np

from vjserver.types.audio import Float32

ROWS = 8


class FilterBank:
    """Bands over the bins of a spectrum; ``weights`` are float32 ``(bands, bins)``, mostly zeros.

    Neighbours are multiplied together, over the bins that they cover: a product of all is mostly of zeros, and so large
    that a BLAS spreads it over threads, which costs more than it saves.
    """

    def __init__(self, weights: Float32) -> None:
        self._bands = len(weights)
        self._blocks: list[tuple[slice, slice, Float32]] = []
        for first in range(0, len(weights), ROWS):
            rows = slice(first, first + ROWS)
            bins = np.flatnonzero(weights[rows].any(axis=0))
            if len(bins):
                covered = slice(int(bins[0]), int(bins[-1]) + 1)
                self._blocks.append((rows, covered, np.ascontiguousarray(weights[rows, covered])))

    def __call__(self, spectrum: Any) -> Float32:
        """Return the power of each band, float32 ``(bands,)``, of an aubio spectrum."""
        norm = spectrum.norm
        power, bands = norm * norm, np.zeros(self._bands, np.float32)
        for rows, covered, weights in self._blocks:
            np.dot(weights, power[covered], out=bands[rows])
        return bands
