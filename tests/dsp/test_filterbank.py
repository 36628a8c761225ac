"""The filterbank: what a product with all of its weights gives."""

import aubio
import numpy as np
import pytest

from vjserver.dsp.filterbank import FilterBank
from vjserver.dsp.frontend import warped_bands
from vjserver.dsp.spectrum import band_weights


@pytest.mark.parametrize(
    "weights",
    [band_weights(1024, 48000), warped_bands(40, 200.0, 2048, 44100), warped_bands(24, 500.0, 512, 48000)],
    ids=["spectrum", "slow", "fast"],
)
def test_a_band_is_the_weighted_power_of_its_bins(weights):
    window = 2 * (weights.shape[1] - 1)
    fft, bank, rng = aubio.fft(window), FilterBank(weights), np.random.default_rng(1)
    for _ in range(3):
        spectrum = fft(rng.standard_normal(window).astype(np.float32))
        wanted = weights.astype(np.float64) @ spectrum.norm.astype(np.float64) ** 2
        np.testing.assert_allclose(bank(spectrum), wanted, rtol=1e-5)


def test_a_band_without_bins_is_silent():
    weights = np.zeros((9, 33), np.float32)
    weights[4, 3] = 1.0
    spectrum = aubio.fft(64)(np.ones(64, np.float32) * np.sin(np.arange(64) * 0.3).astype(np.float32))
    assert np.flatnonzero(FilterBank(weights)(spectrum)).tolist() == [4]
    assert FilterBank(np.zeros((9, 33), np.float32))(spectrum).tolist() == [0.0] * 9
