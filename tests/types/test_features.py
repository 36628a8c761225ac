import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjserver.types.features import FEATURE_NAMES, BeatGrid, silent_features

NS = 1_000_000_000


@given(st.floats(0.2, 2.0), st.integers(0, 10**6), st.integers(0, 10**12))
def test_phase_runs_from_beat_to_beat(period_s, count, t_ns):
    grid = BeatGrid(t_ns, count, period_s, 0, 4, 1.0, True)
    assert grid.beat_phase(t_ns) == 0.0
    assert grid.beat_phase(t_ns + round(0.25 * period_s * NS)) == pytest.approx(0.25, abs=1e-6)
    assert grid.bar_phase(t_ns + round(2 * period_s * NS)) == pytest.approx(0.5, abs=1e-6)
    assert grid.count_at(t_ns + round(3.5 * period_s * NS)) == count + 3
    assert grid.count_at(t_ns - round(0.5 * period_s * NS)) == count - 1


def test_a_clock_that_stands_has_no_phase():
    grid = BeatGrid(5, 3, 0.5)
    assert (grid.bpm, grid.beat_phase(99), grid.bar_phase(99)) == (0.0, 0.0, 0.0)


def test_every_feature_can_be_read_by_name():
    features = silent_features(1)
    for name in FEATURE_NAMES:
        assert np.isfinite(features.value(name, 2))
    assert features.value("silence", 1) == 1.0
    with pytest.raises(KeyError):
        features.value("loudness", 1)
