import itertools

import numpy as np
import pytest

from vjserver.dsp.chroma import Chroma
from vjserver.dsp.frontend import (
    FAST_BANDS,
    FAST_SIZE,
    HOP,
    SLOW_BANDS,
    SLOW_EVERY,
    SLOW_SIZE,
    FrontEnd,
    leaning_window,
    warped_bands,
)  # fmt: skip
from vjserver.dsp.network import Network
from vjserver.dsp.resample import Resampler, ratio_for
from vjserver.dsp.section import Heard, SectionTracker

RATE = 44100


def see(samples, rate=RATE):
    front, fast, slow = FrontEnd(rate), [], []
    for i in range(0, len(samples) - HOP + 1, HOP):
        if front(samples[i : i + HOP].astype(np.float32)):
            slow.append(front.slow.copy())
        fast.append(front.fast.copy())
    return np.array(fast), np.array(slow)


def tone(hz, seconds=1.0, level=0.5, rate=RATE):
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_shapes_and_rates_of_the_views():
    fast, slow = see(np.random.default_rng(0).normal(0, 0.1, RATE))
    assert fast.shape == (RATE // HOP, FAST_SIZE)
    assert slow.shape == (RATE // (HOP * SLOW_EVERY), SLOW_SIZE)
    assert 0.0 <= fast.min() <= fast.max() <= 1.2


@pytest.mark.parametrize(("count", "knee", "window"), [(FAST_BANDS, 500.0, 512), (SLOW_BANDS, 200.0, 2048)])
@pytest.mark.parametrize("rate", [40000, 48000])
def test_every_band_hears_something_and_sums_to_one(count, knee, window, rate):
    weights = warped_bands(count, knee, window, rate)
    assert np.allclose(weights.sum(axis=1), 1.0, atol=1e-5)
    assert (np.diff(np.argmax(weights, axis=1)) >= 0).all()


def test_the_window_leans_on_the_newest_samples():
    window = leaning_window(512, 96)
    assert np.argmax(window) == pytest.approx(512 - 96, abs=1)
    assert window.min() >= 0.0


def test_a_quiet_master_looks_like_a_loud_one():
    music = np.random.default_rng(1).normal(0, 0.2, RATE) * (1 + np.sin(np.arange(RATE) / 3000))
    loud, quiet = see(music)[1], see(music * 0.03)[1]
    assert np.abs(loud[5:] - quiet[5:]).max() < 0.02


def test_silence_and_dither_look_like_nothing():
    assert not see(np.zeros(RATE // 2))[0].any()
    assert see(np.random.default_rng(0).normal(0, 3e-5, RATE // 2))[0].max() < 0.25


def test_an_attack_shows_within_two_hops():
    sound = np.zeros(RATE, np.float32)
    at = 20000
    sound[at:] = tone(3000, level=0.5)[: RATE - at]
    fast, _ = see(sound)
    rises = fast[:, FAST_BANDS:].sum(axis=1)
    assert np.argmax(rises > 0.3) - at // HOP <= 2


def test_a_network_does_its_sums():
    rng = np.random.default_rng(0)
    sizes = {"dense.weight": (5, 7), "dense.bias": (5,), "out.weight": (2, 6), "out.bias": (2,)}
    for i, width in enumerate((5, 6)):
        sizes |= {f"gru.weight_ih_l{i}": (18, width), f"gru.weight_hh_l{i}": (18, 6)}
        sizes |= {f"gru.bias_ih_l{i}": (18,), f"gru.bias_hh_l{i}": (18,)}
    w = {name: rng.normal(0, 0.7, size).astype(np.float32) for name, size in sizes.items()}
    network, state = Network(w), [np.zeros(6), np.zeros(6)]
    for _ in range(20):
        x = rng.normal(size=7).astype(np.float32)
        y = np.maximum(w["dense.weight"] @ x + w["dense.bias"], 0)
        for i in range(2):  # written out as in PyTorch's manual
            a = w[f"gru.weight_ih_l{i}"] @ y + w[f"gru.bias_ih_l{i}"]
            b = w[f"gru.weight_hh_l{i}"] @ state[i] + w[f"gru.bias_hh_l{i}"]
            r, z = (1 / (1 + np.exp(-(a[s] + b[s]))) for s in (slice(0, 6), slice(6, 12)))
            state[i] = (1 - z) * np.tanh(a[12:] + r * b[12:]) + z * state[i]
            y = state[i]
        wanted = 1 / (1 + np.exp(-(w["out.weight"] @ y + w["out.bias"])))
        assert network(x) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 192000])
def test_any_rate_comes_into_the_range_with_its_time_and_tone_kept(rate):
    ratio = ratio_for(rate)
    inner = float(rate * ratio)
    assert 40000 <= inner <= 50000
    sound, resampler = tone(440, 1.0, rate=rate), Resampler(ratio)
    cut = [0, 13, 700, 701, 3000, len(sound)]
    out = np.concatenate([resampler(sound[a:b]) for a, b in itertools.pairwise(cut)])
    assert len(out) == pytest.approx(inner, abs=2)
    t = (np.arange(len(out)) - resampler.late) / inner
    inside = slice(2000, len(out) - 100)
    assert out[inside] == pytest.approx(0.5 * np.sin(2 * np.pi * 440 * t[inside]), abs=0.02)


def test_an_impossible_rate_is_refused():
    with pytest.raises(ValueError, match=r"4000\.\.400000 Hz: got 0"):
        ratio_for(0)


def test_a_chord_shows_its_pitch_classes_and_a_new_one_is_a_change():
    chroma = Chroma(RATE)

    def play(notes, seconds):
        sound = sum(tone(440 * 2 ** ((n - 69) / 12), seconds, 0.1) for n in notes)
        peak = 0.0
        for i in range(0, len(sound) - 256, 256):
            chroma(sound[i : i + 256])
            peak = max(peak, chroma.change)
        return peak

    play((57, 60, 64), 4.0)
    assert set(np.argsort(chroma.chroma)[-3:]) == {9, 0, 4}
    assert play((57, 60, 64), 2.0) < 0.2
    assert play((53, 56, 61), 1.0) > 0.4
    assert chroma.chroma.max() <= 1.0


def test_silence_has_no_pitch():
    chroma = Chroma(RATE)
    for _ in range(300):
        chroma(np.zeros(256, np.float32))
    assert not chroma.chroma.any()
    assert chroma.change == 0.0


def form(plan, step_s=0.0116):
    """Play (seconds, low dB, kicks) and return what was told, when."""
    tracker, told, now = SectionTracker(step_s), [], 0.0
    for seconds, low_db, kicks in plan:
        for i in range(round(seconds / step_s)):
            now += step_s
            kick = kicks and i % 43 == 0
            heard = Heard(low_db, -20.0, 0.4, kick, kick)
            if (name := tracker(heard, low_db < -80)) is not None:
                told.append((name, now))
    return told


def test_a_break_and_its_drop_are_told():
    told = form([(20, -18, True), (12, -40, False), (10, -18, True)])
    assert [name for name, _ in told] == ["break", "drop"]
    assert 20 < told[0][1] < 23
    assert told[1][1] == pytest.approx(32, abs=0.3)


def test_a_fill_is_no_break_and_its_end_no_drop():
    assert form([(20, -18, True), (1.0, -40, False), (10, -18, True)]) == []


def test_music_without_drums_has_no_drops():
    assert [name for name, _ in form([(60, -18, False)])] == []
