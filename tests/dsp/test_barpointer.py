import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vjserver.dsp.barpointer import BarPointer
from vjserver.dsp.options import TempoPrior
from vjserver.dsp.tempo import BarTracker

RATE = 44100 / 512


def activations(bpm, seconds, first_s=0.0, floor=0.02, height=0.8):
    """Return what a good network would say: a peak a beat, shared between neighbouring frames."""
    frames = (np.arange(round(seconds * RATE)) + 1) / RATE
    period = 60.0 / bpm
    away = np.abs((frames - first_s + period / 2) % period - period / 2) * RATE
    return floor + (height - floor) * np.clip(1.0 - away / 1.5, 0.0, None)


def follow(pointer, sounds):
    return [pointer(float(x)) for x in sounds]


@given(st.floats(56, 200), st.floats(0, 0.3))
@settings(max_examples=25, deadline=None)
def test_tempo_and_phase_of_clear_beats_are_found(bpm, first_s):
    pointer = BarPointer(RATE, TempoPrior())
    seconds = 10.0
    last = follow(pointer, activations(bpm, seconds, first_s))[-1]
    assert 60 * RATE / last.period == pytest.approx(bpm, rel=0.025)
    end = round(seconds * RATE) / RATE
    truth = (end - first_s) % (60 / bpm) * RATE
    off = (last.since - truth + last.period / 2) % last.period - last.period / 2
    assert abs(off) < 1.6
    assert last.sharpness > 0.8


def test_it_locks_within_three_beats():
    read = follow(BarPointer(RATE, TempoPrior()), activations(124, 4.0))
    bpm = np.array([60 * RATE / r.period for r in read])
    assert np.abs(bpm[round(4 * 60 / 124 * RATE) :] - 124).max() < 4


@pytest.mark.parametrize("level", [0.0, 0.03, 0.3])
def test_an_unchanging_level_is_no_trouble(level):
    read = follow(BarPointer(RATE, TempoPrior()), np.full(6000, level))[-1]
    assert np.isfinite([read.period, read.since]).all()
    assert 0.0 <= read.sharpness <= 1.0
    assert 0.0 <= read.since <= read.period


def test_it_walks_on_through_a_gap():
    sounds = activations(120, 12.0)
    whole, gapped = BarPointer(RATE, TempoPrior()), BarPointer(RATE, TempoPrior())
    follow(whole, sounds[:900])
    follow(gapped, sounds[:500])
    gapped.skip(30)  # 350 ms unheard
    follow(gapped, sounds[530:900])
    a, b = whole(0.02), gapped(0.02)
    assert a.period == pytest.approx(b.period, rel=0.01)
    assert a.since == pytest.approx(b.since, abs=0.6)


def test_the_range_settles_the_octave():
    sounds = activations(140, 10.0)
    slow = follow(BarPointer(RATE, TempoPrior(min_bpm=60, max_bpm=100, hint_bpm=80)), sounds)[-1]
    assert 60 * RATE / slow.period == pytest.approx(70, rel=0.03)
    pointer = BarPointer(RATE, TempoPrior())
    follow(pointer, sounds)
    pointer.set_prior(TempoPrior(min_bpm=60, max_bpm=100, hint_bpm=80))
    later = follow(pointer, sounds)[-1]
    assert 60 * RATE / later.period == pytest.approx(70, rel=0.03)


def test_a_cut_is_followed():
    pointer = BarPointer(RATE, TempoPrior())
    follow(pointer, activations(124, 15.0))
    read = follow(pointer, activations(138, 4.0, first_s=0.2))
    assert 60 * RATE / read[-1].period == pytest.approx(138, rel=0.025)
    assert read[-1].sharpness > 0.7


def test_a_narrow_range_is_refused():
    with pytest.raises(ValidationError, match=r"at least 1.1 x min_bpm: got 100..105"):
        TempoPrior(min_bpm=100, max_bpm=105)


@pytest.mark.parametrize("beats", [2, 3, 4])
@pytest.mark.parametrize("place", [0, 1])
def test_bars_are_counted(beats, place):
    tracker = BarTracker()
    for i in range(beats * 24):
        bar = tracker(0.8 if i % beats == place else 0.05)
        assert bar.beats_per_bar == 4 or i >= 8 * 4, "another length needs eight bars of evidence"
    assert (bar.beats_per_bar, bar.position) == (beats, (beats * 24 - 1 - place) % beats)
    assert bar.trust > 0.8


def test_one_wrong_beat_does_not_turn_the_bar():
    tracker = BarTracker()
    for i in range(40):
        tracker(0.8 if i % 4 == 0 else 0.05)
    tracker(0.05)
    assert tracker(0.7).position == 1
