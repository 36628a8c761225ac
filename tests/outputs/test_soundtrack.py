"""The soundtrack: whatever comes, in whatever order and however late, one stretch without gap or overlap goes out."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.outputs.soundtrack import APART_S, Soundtrack

RATE = 48000


def ramp(first, count):
    """Samples that say where they belong: sample n is n / 1e6."""
    row = (np.arange(first, first + count) / 1e6).astype(np.float32)
    return np.stack((row, row), axis=1)


def test_sound_in_its_place_is_not_touched():
    track = Soundtrack(RATE)
    for i in range(50):
        given_, out = ramp(i * 800, 800), track(ramp(i * 800, 800), i * 800.0)
        assert np.array_equal(given_, out)
    assert (track.told, track.late_s, track.silence_s) == (40000, 0.0, 0.0)


def test_a_gap_becomes_silence_and_what_comes_too_late_is_left_out_and_counted():
    track = Soundtrack(RATE)
    track(ramp(0, 4800), 0.0)
    assert len(track.silent_until(24000)) == 19200
    out = track(ramp(4800, 9600), 4800.0)  # all of it belongs before 24000
    assert len(out) == 0
    assert track.late_s == 0.2
    out = track(ramp(14400, 19200), 14400.0)  # one half does
    assert np.array_equal(out, ramp(24000, 9600))
    out = track(ramp(48000, 100), 48000.0)
    assert not out[:-100].any()
    assert np.array_equal(out[-100:], ramp(48000, 100))
    assert track.told == 48100


def test_a_fast_or_slow_clock_is_followed_without_a_jump():
    for skew in (1.0005, 0.9995):
        track = Soundtrack(RATE)  # sixty seconds in blocks of 10 ms, whose places drift by 30 ms in all
        written = [track(ramp(i * 480, 480), i * 480 * skew) for i in range(6000)]
        row = np.concatenate(written)[:, 0].astype(np.float64) * 1e6
        assert abs(track.told - 6000 * 480 * skew) < 0.002 * RATE
        steps = np.diff(row)
        assert steps.min() > -0.6, "no sample is heard twice"
        assert steps.max() < 2.6, "none is left out"


events = st.lists(
    st.tuples(
        st.integers(1, 4000),  # samples in the block
        st.sampled_from([0, 0, 0, 1, 30, 200, 3000, 40000, -30, -200, -3000, -40000]),  # how far its time has jumped
        st.booleans(),  # whether the writer ran out of patience before
    ),
    max_size=40,
)


@given(events)
@settings(max_examples=200, deadline=None)
def test_times_only_rise_and_every_sample_lies_near_its_place(rows):
    track, place, off, written = Soundtrack(RATE), 0, 0, 0
    for count, jump, impatient in rows:
        off += jump
        if impatient:
            written += len(track.silent_until(place + off - 500))
        begins = float(place + off)
        told = track.told
        out = track(ramp(place, count), begins)
        place += count
        assert track.told == told + len(out)
        written += len(out)
        if len(out) and out[-1].any():
            heard_at = out[-1, 0] * 1e6 + off  # where the last sample that was written belongs
            assert abs(heard_at - (track.told - 1)) <= APART_S * RATE + 2
    assert track.told == written
