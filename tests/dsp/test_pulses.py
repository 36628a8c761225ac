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
    follower = PulseFollower(24)
    follower.start(per_bar)
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


@pytest.mark.parametrize("pulses_while_stopped", [0, 7, 40])
def test_a_song_goes_on_where_it_was_stopped(pulses_while_stopped):
    follower = PulseFollower(24)
    follower.start(4)
    beats(follower, 120.0, 24 * 6, 24)  # two beats into the second bar
    follower.stop()
    kept = beats(follower, 120.0, pulses_while_stopped, 24, start_ns=10**12 + 3 * NS)
    assert [position for _, (_, _, position) in kept] == [2, 3][: len(kept)]  # who goes on pulsing is followed
    follower.resume()
    rows = beats(follower, 120.0, 24 * 4 + 1, 24, start_ns=10**12 + 60 * NS)
    assert [(i, position) for i, (_, _, position) in rows] == [(24, 3), (48, 0), (72, 1), (96, 2)]


@pytest.mark.parametrize(
    ("sixteenth", "wanted"), [(0, [(24, 1), (48, 2)]), (6, [(12, 2), (36, 3)]), (12, [(24, 0), (48, 1)])]
)
def test_a_song_goes_on_where_it_was_put(sixteenth, wanted):
    follower = PulseFollower(24)
    follower.start(4)
    beats(follower, 120.0, 30, 24)
    follower.stop()
    follower.locate(sixteenth)
    follower.resume()
    rows = beats(follower, 120.0, 49, 24, start_ns=10**12 + 60 * NS)
    assert [(i, position) for i, (_, _, position) in rows] == wanted


def test_to_go_on_without_a_stop_changes_nothing():
    follower = PulseFollower(24)
    follower.start(4)
    beats(follower, 120.0, 24 * 5, 24)
    follower.resume()
    rows = beats(follower, 120.0, 25, 24, start_ns=10**12 + 60 * NS)
    assert [(i, position) for i, (_, _, position) in rows] == [(24, 2)]


def test_pulses_that_no_music_has_are_no_beat():
    assert beats(PulseFollower(24), 900.0, 200, 24) == []
    assert beats(PulseFollower(1), 5.0, 20, 1) == []
