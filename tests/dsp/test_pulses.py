"""A beat from pulses: tempo and place, through jitter, stops and starts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjserver.dsp.pulses import NS, PulseFollower


def beats(follower, bpm, count, per_beat, jitter_ns=0.0, seed=0, start_ns=10**12):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        t_ns = start_ns + round(i * 60 * NS / bpm / per_beat + rng.normal(0.0, jitter_ns))
        found = follower.pulse(t_ns)
        if found is not None:
            rows.append((i, found))
    return rows


@given(st.floats(40, 240), st.integers(2, 4), st.integers(0, 1000))
def test_midi_clock_gives_tempo_beat_and_bar(bpm, per_bar, seed):
    follower = PulseFollower(24, per_bar)
    follower.start()
    rows = beats(follower, bpm, 24 * 20, 24, jitter_ns=3e5, seed=seed)
    for i, (beat_ns, found_bpm, position) in rows[4:]:
        assert found_bpm == pytest.approx(bpm, rel=0.01)
        assert beat_ns - 10**12 == pytest.approx(i * 60 * NS / bpm / 24, abs=1e6)
        assert position == i // 24 % per_bar


def test_beats_sent_one_by_one():
    rows = beats(PulseFollower(1), 128.0, 12, 1)
    assert len(rows) == 12 - 3
    assert rows[-1][1][1] == pytest.approx(128.0)


def test_a_stopped_clock_begins_anew():
    follower = PulseFollower(24)
    beats(follower, 100.0, 100, 24)
    late = beats(follower, 150.0, 100, 24, start_ns=10**12 + 60 * NS)
    assert late[-1][1][1] == pytest.approx(150.0, rel=0.01)


def test_pulses_that_no_music_has_are_no_beat():
    assert beats(PulseFollower(24), 900.0, 200, 24) == []
    assert beats(PulseFollower(1), 5.0, 20, 1) == []
