"""Hindsight: songs as the networks would tell of them, and the beats and bars that explain them."""

import numpy as np
import pytest

from vjserver.dsp.beatpath import OVERLAP_S, WINDOW_S
from vjserver.dsp.hindsight import Frames, find_beats
from vjserver.dsp.network import BEAT_DELAY_FRAMES
from vjserver.dsp.options import TempoPrior

RATE = 44100 / 512
NS = 1_000_000_000


def every(bpm, seconds, first_s=0.3):
    return np.arange(first_s, seconds, 60 / bpm)


def told(beats, ones, seconds, seed=0, noise=0.05, jitter_s=0.0, tones=None):
    """Return what good networks would say of a song: a peak a beat, some frames late, and noise."""
    rng = np.random.default_rng(seed)
    t = (np.arange(round(seconds * RATE)) + 1) / RATE

    def row(times, height):
        sure = rng.uniform(0, noise, len(t))
        for one in times:
            away = np.abs((t - one - rng.normal(0, jitter_s)) * RATE - BEAT_DELAY_FRAMES)
            sure = np.maximum(sure, np.clip(1.0 - away / 1.7, 0.0, None) * height)
        return sure

    frames = Frames()
    for at, beat, one in zip(t, row(beats, 0.8), row(ones, 0.7), strict=True):
        frames.add(round(at * NS), float(beat), float(one))
    for at, tone in tones or ():
        frames.hear(round(at * NS), tone)
    return frames


def found(beats, ones, seconds, **how):
    return find_beats(told(beats, ones, seconds, **how), TempoPrior())


def off_s(one, other):
    """Return how far each of ``one`` is from the nearest of ``other``."""
    return np.abs(np.asarray(one)[:, None] - np.asarray(other)[None]).min(axis=1)


def fits(heard, beats, within_s=0.012):
    """Tell whether there is every beat, and no other."""
    return (
        len(heard.times_s) == len(beats)
        and max(off_s(heard.times_s, beats).max(), off_s(beats, heard.times_s).max()) < within_s
    )


@pytest.mark.parametrize("bpm", [60, 90, 124, 174])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_beat_is_found_and_no_other(bpm, seed):
    beats = every(bpm, 40)
    heard = found(beats, beats[::4], 40, seed=seed, jitter_s=0.003, noise=0.1)
    assert fits(heard, beats)
    assert min(heard.confidence) > 0.9


@pytest.mark.parametrize("metre", [3, 4])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_bars_begin_where_the_network_hears_downbeats(metre, first):
    beats = every(124, 30)
    heard = found(beats, beats[first::metre], 30)
    assert set(heard.per_bar) == {metre}
    assert list(heard.positions) == [(i - first) % metre for i in range(len(beats))]


def test_a_glide_of_tempo_is_followed():
    beats, t = [], 0.2
    while t < 60:
        beats.append(t)
        t += 60 / (120 + 10 * t / 60)
    assert fits(found(beats, beats[::4], 60), beats)


def test_a_break_is_bridged_with_even_beats():
    beats = every(124, 60)
    drummed = beats[(beats < 25) | (beats > 33)]
    heard = found(drummed, drummed[::4], 60)
    assert fits(heard, beats, 0.02)
    gaps = np.diff(heard.times_s) * 124 / 60
    assert gaps.min() > 0.97
    assert gaps.max() < 1.03


@pytest.mark.parametrize("bpm", [118, 124, 128])
def test_beats_begin_at_the_song_s_start_and_reach_its_end_in_its_tempo(bpm):
    beats = every(bpm, 60)
    drummed = beats[(beats > 6) & (beats < 50)]
    heard = np.array(found(drummed, beats[::4], 60).times_s)
    period = 60 / bpm
    assert 0.0 <= heard[0] < period
    assert 60 - period < heard[-1] <= 60
    gaps = np.diff(heard) / period
    assert gaps.min() > 0.98
    assert gaps.max() < 1.02


@pytest.mark.parametrize("bpm", [100, 118, 124, 128, 140])
def test_beats_go_on_for_a_quarter_of_a_minute_where_no_drum_plays_any_more(bpm):
    beats = every(bpm, 60)
    heard = np.array(found(beats[beats < 45], beats[beats < 45][::4], 60).times_s)
    assert off_s(heard[heard > 45], np.append(beats, beats[-1] + 60 / bpm)).max() < 0.06


@pytest.mark.parametrize(("noise", "seed"), [(0.0, 0), (0.05, 1), (0.15, 2), (0.2, 3)])
def test_what_sounds_like_no_beat_has_none(noise, seed):
    heard = found([], [], 30, noise=noise, seed=seed)
    assert (len(heard.times_s), len(heard.positions), len(heard.per_bar), len(heard.confidence)) == (0, 0, 0, 0)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.3, 1.0, 2.0])
def test_a_moment_of_sound_is_no_trouble(seconds):
    beats = every(124, seconds)
    heard = found(beats, beats, seconds)
    assert len(heard.times_s) == len(heard.positions) == len(heard.per_bar) == len(heard.confidence)


def test_a_level_that_never_changes_has_no_beats_out_of_order():
    frames = Frames()
    for i in range(2000):
        frames.add(round((i + 1) / RATE * NS), 0.9, 0.9)
    assert (np.diff(find_beats(frames, TempoPrior()).times_s) > 0).all()


@pytest.mark.parametrize("bpm", [124, 90])
def test_a_long_song_has_no_seams(bpm):
    seconds = 600
    beats = every(bpm, seconds)
    heard = found(beats, beats[::4], seconds, jitter_s=0.004, noise=0.1)
    assert fits(heard, beats)
    gaps = np.diff(heard.times_s) * bpm / 60
    assert gaps.min() > 0.92
    assert gaps.max() < 1.08
    assert list(heard.positions) == [i % 4 for i in range(len(beats))]


def test_a_part_of_a_long_song_has_the_beats_of_the_whole():
    beats = every(131, 200)
    whole = np.array(found(beats, beats[::4], 200).times_s)
    begin = 2 * (WINDOW_S - OVERLAP_S) - 10
    part = beats[(beats >= begin) & (beats < begin + 40)] - begin
    heard = np.array(found(part, part[::4], 40, seed=5).times_s) + begin
    inside = whole[(whole >= heard[0] - 0.1) & (whole <= heard[-1] + 0.1)]
    assert len(inside) == len(heard)
    assert np.abs(inside - heard).max() < 0.01


@pytest.mark.parametrize(("bpm", "by"), [(124, 0.35), (124, 0.5), (100, 0.3), (128, 0.25)])
def test_a_cut_moves_the_beats_at_once(bpm, by):
    before = every(bpm, 30)
    beats = np.concatenate((before, every(bpm, 60, before[-1] + (1 + by) * 60 / bpm)))
    heard = np.array(found(beats, beats[::4], 60).times_s)
    assert off_s(heard[np.abs(heard - before[-1]) > 2.5], beats).max() < 0.012
    assert (np.diff(heard) > 0.7 * 60 / bpm).all()


def test_a_mix_may_change_its_tempo():
    first = every(100, 120)
    beats = np.concatenate((first, every(140, 240, first[-1] + 60 / 120)))
    heard = np.array(found(beats, beats[::4], 240).times_s)
    calm = (heard < 110) | (heard > 130)
    assert off_s(heard[calm], beats).max() < 0.012
    assert off_s(beats, heard).max() < 0.25
    assert abs(len(heard) - len(beats)) <= 3


def chords(beats, first, seconds):
    rows = []
    for at in np.arange(1, round(20 * seconds)) / 20:
        chord = (np.searchsorted(beats, at - 0.15, "right") - 1 - first) // 4
        tone = np.full(12, 0.05, np.float32)
        tone[[5 * chord % 12, (5 * chord + 4) % 12, (5 * chord + 7) % 12]] = 1.0
        rows.append((at, tone))
    return rows


@pytest.mark.parametrize("first", [0, 2])
def test_the_chord_says_which_of_two_downbeats_is_the_one(first):
    beats = every(124, 40)
    heard = found(beats, beats[::2], 40, tones=chords(beats, first, 40))
    assert set(heard.per_bar) == {4}
    assert list(heard.positions) == [(i - first) % 4 for i in range(len(beats))]


@pytest.mark.parametrize("first", [0, 1, 2, 3])
def test_the_chord_says_the_one_where_no_downbeat_is_heard(first):
    beats = every(124, 40)
    heard = found(beats, [], 40, tones=chords(beats, first, 40))
    assert list(heard.positions) == [(i - first) % 4 for i in range(len(beats))]


def test_who_expects_half_the_tempo_gets_it():
    beats = every(172, 40)
    heard = find_beats(told(beats, beats[::4], 40), TempoPrior(min_bpm=70, max_bpm=120, hint_bpm=86))
    assert np.median(np.diff(heard.times_s)) == pytest.approx(60 / 86, rel=0.01)
    assert off_s(heard.times_s, np.append(beats, beats[-1] + 60 / 172)).max() < 0.012
