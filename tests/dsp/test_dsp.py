import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.dsp.gain import AdaptiveGain, rms_db
from vjserver.dsp.options import GainOptions, OnsetOptions
from vjserver.dsp.pitch import OnsetDetector, PitchTracker
from vjserver.dsp.spectrum import BAND_EDGES_HZ, N_BANDS, Spectrum, band_weights, log_centres_hz
from vjserver.easing.smoothing import follow, smoothing
from vjserver.sources.click import ClickOptions, click_track

RATE, HOP = 48000, 256


def sine(hz, seconds=1.0, level=0.5):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def hops(samples):
    return samples[: len(samples) // HOP * HOP].reshape(-1, HOP)


def test_levels_are_in_dbfs():
    assert rms_db(sine(1000, level=1.0)) == pytest.approx(-3.01, abs=0.05)
    assert rms_db(np.zeros(HOP, np.float32)) == -120.0


def test_every_band_has_weight_and_sums_to_one():
    weights = band_weights(1024, RATE)
    assert weights.shape == (N_BANDS, 513)
    assert np.allclose(weights.sum(axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("band", range(6))
def test_a_tone_is_loudest_in_its_band(band):
    hz = np.sqrt(BAND_EDGES_HZ[band] * BAND_EDGES_HZ[band + 1])
    spectrum = Spectrum(RATE, HOP)
    rows = np.array([spectrum(h).copy() for h in hops(sine(hz))])
    # below 150 Hz a bin is as wide as a band: the neighbour may hear it too, but no louder
    assert np.median(rows[20:, band]) >= np.median(rows[20:, :6], axis=0).max() - (3.0 if band < 2 else 0.0)


def test_a_tone_is_loudest_in_its_log_band():
    for i in (8, 16, 24):
        spectrum = Spectrum(RATE, HOP)
        rows = np.array([spectrum(h).copy() for h in hops(sine(float(log_centres_hz()[i])))])
        assert abs(int(np.median(rows[20:, 6:], axis=0).argmax()) - i) <= 1


def test_hop_must_divide_window():
    with pytest.raises(ValueError, match="hop must divide window: got 300 for 1024"):
        Spectrum(RATE, 300, 1024)


@given(st.lists(st.floats(-120, 0), min_size=50, max_size=200))
@settings(max_examples=30, deadline=None)
def test_gain_stays_in_range(levels):
    gain = AdaptiveGain(2, HOP / RATE, GainOptions())
    for level in levels:
        value = gain(np.array([-120.0, level], np.float32))
        assert 0.0 <= value[1] <= 1.0
        assert value[0] == 0.0


@pytest.mark.parametrize("quieter_db", [0.0, -30.0])
def test_gain_uses_the_whole_range_for_loud_and_quiet_signals(quieter_db):
    gain = AdaptiveGain(1, HOP / RATE, GainOptions(attack_s=0.0, release_s=0.0))
    rng = np.random.default_rng(0)
    values = [float(gain(np.array([level + quieter_db], np.float32))[0]) for level in rng.uniform(-34, -6, 8000)]
    low, high = np.percentile(values[4000:], (5, 95))
    assert high - low > 0.6


def test_smoothing_does_not_depend_on_the_step():
    coarse = follow(0.0, 1.0, 0.1, 0.3, 0.3)
    fine = 0.0
    for _ in range(10):
        fine = follow(fine, 1.0, 0.01, 0.3, 0.3)
    assert fine == pytest.approx(coarse, rel=1e-6)
    assert smoothing(0.01, 0.0) == 1.0
    assert follow(1.0, 0.0, 0.01, 0.0, 10.0) > 0.99


def test_onsets_are_found_at_the_clicks():
    detector = OnsetDetector(RATE, HOP, OnsetOptions())
    track = click_track(ClickOptions(bpm=120), 10.0)[:, 0]
    found = []
    for i, hop in enumerate(hops(track)):
        onset = detector(hop)
        if onset is not None:
            found.append(((i + 1) * HOP - onset.ago_samples) / RATE)
    assert len(found) == pytest.approx(20, abs=2)
    assert np.median([abs(t - round(t * 2) / 2) for t in found]) < 0.02


def test_pitch_of_a_tone():
    tracker = PitchTracker(RATE, HOP)
    values = [tracker(hop) for hop in hops(sine(440.0))]
    assert values[-1] == pytest.approx(440.0, rel=0.01)
    assert PitchTracker(RATE, HOP)(np.zeros(HOP, np.float32)) == 0.0
