"""The test band: its sets share nothing, its truth is in its sound, and the ear hears it."""

import itertools
import shutil

import numpy as np
import pytest

from bench.ear_bench import run_ours, score_beats
from bench.music import effects
from bench.music.band import SETS, Take, no_music, take, tracks
from bench.music.compose import HELD_BACK_KITS, HELD_BACK_PROGRAMS, STYLES, compose
from bench.music.render import RATE_HZ, DrumMachine, analogue, render
from bench.music.score import Plan, write

needs_synth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or shutil.which("espeak-ng") is None,
    reason="fluidsynth, its sound font or espeak-ng is not installed",
)


def plans(which):
    return [p for t in tracks(which) for p in (t.plan, t.then) if p is not None]


def drum_bars(plan):
    every = (plan.kick or ("",), plan.snare or ("",), plan.hat or ("",))
    return {bar for bar in itertools.product(*every) if any(bar)}


def test_there_are_enough_tracks_of_every_kind():
    assert len(tracks("dev")) + len(tracks("test")) >= 30
    wanted = {"house", "techno", "dnb", "jungle", "hiphop", "trap", "dubstep", "garage", "breaks", "reggaeton", "disco",
              "funk", "rock", "punk", "waltz", "sixeight", "ballad", "trance"}  # fmt: skip
    for which in ("dev", "test"):
        assert wanted <= {p.style for p in plans(which)}


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations(SETS, 2)))
def test_no_pattern_tempo_or_sound_is_shared(a, b):
    first, second = plans(a), plans(b)
    assert not {bar for p in first for bar in drum_bars(p)} & {bar for p in second for bar in drum_bars(p)}
    assert min(abs(p.bpm - q.bpm) for p in first for q in second) > 0.02
    assert not {p.sounds.kit for p in first} & {p.sounds.kit for p in second}

    def programs(plan):
        s = plan.sounds
        return {s.bass, s.chords, s.lead, s.pad}

    assert not set().union(*map(programs, first)) & set().union(*map(programs, second))


def test_training_songs_use_no_held_back_sound():
    for seed in range(200):
        sounds = compose(np.random.default_rng(seed)).sounds
        assert sounds.kit not in HELD_BACK_KITS
        assert not {sounds.bass, sounds.chords, sounds.lead, sounds.pad} & HELD_BACK_PROGRAMS


@pytest.mark.parametrize("style", STYLES)
def test_every_style_can_be_written(style):
    for seed in range(5):
        plan = compose(np.random.default_rng(seed), style)
        score = write(plan, seed)
        assert (np.diff(score.beats) > 0.2).all()
        assert set(score.downbeats) <= set(score.beats)
        assert all(0 <= n.pitch < 128 and 0 < n.velocity < 128 for part in score.parts.values() for n in part)


def test_a_plan_says_what_is_played():
    plan = Plan("x", "house", 120.0, ("x...x...x...x...",), ("....x.......X...",), ("..o...o...o...o.",),
                bass=("0--.4...",), sections=((2, "ksh"), (1, "b"), (1, "ksh")), swing=0.5)  # fmt: skip
    score = write(plan)
    assert score.beats == pytest.approx(0.25 + np.arange(16) * 0.5)
    assert score.hits("kick") == pytest.approx(np.r_[score.beats[:8], score.beats[12:]])
    assert score.hits("snare")[:2] == pytest.approx([0.75, 1.75])
    assert score.hits("hat")[0] == pytest.approx(0.5)
    assert score.drumless == ((pytest.approx(4.25), pytest.approx(6.25)),)
    assert score.drops == pytest.approx([])  # two seconds without a kick are no break
    assert [n.length_s for n in score.parts["bass"]] == pytest.approx([0.9 * 0.375, 0.9 * 0.125])


def test_a_drop_is_where_the_kick_comes_back():
    sections = ((2, "ksh"), (2, "p"), (1, "rp"), (2, "ksh"), (4, "p"))
    score = write(Plan("x", "house", 120.0, ("x...x...x...x...",), sections=sections))
    assert score.drops == pytest.approx([score.beats[20]])


def test_swing_delays_every_second_step():
    even = write(Plan("x", "hiphop", 90.0, hat=("xxxx" * 4,), sections=((1, "h"),)))
    late = write(Plan("x", "hiphop", 90.0, hat=("xxxx" * 4,), sections=((1, "h"),), swing=0.62))
    moved = (late.hits("hat") - even.hits("hat")) * 90 / 60 * 4
    assert moved[::2] == pytest.approx(0.0, abs=1e-9)
    assert moved[1::2] == pytest.approx(0.24)


def test_a_ramp_arrives_at_its_tempo():
    score = write(Plan("x", "house", 100.0, sections=((8, "p"),), tempo=((0, 100.0), (8, 140.0))))
    bpm = 60 / np.diff(score.beats)
    assert bpm[0] == pytest.approx(100, abs=1)
    assert bpm[-1] == pytest.approx(140, abs=2.5)
    assert (np.diff(bpm) > 0).all()


def test_the_drum_machine_strikes_on_time():
    score = write(Plan("x", "house", 120.0, kick=("x...x...x...x...",), sections=((2, "k"),)))
    for seed in range(4):
        rng = np.random.default_rng(seed)
        sound = DrumMachine(analogue(rng), rng)(score.parts["drums"], round(score.seconds * RATE_HZ))
        for t in score.hits("kick"):
            at = round(t * RATE_HZ)
            early, hit = np.abs(sound[at - 400 : at - 1]).max(), np.abs(sound[at : at + 400]).max()
            assert hit > 3 * early


def test_ghosts_are_the_hits_that_are_soft():
    plan = Plan("x", "house", 120.0, kick=("x...x...x...x...",), snare=("g.g.X...........",), sections=((1, "ks"),))
    score = write(plan)
    assert score.ghosts == pytest.approx([score.beats[0] + 0.25])  # the first ghost falls with a kick


def test_noise_is_added_at_the_wanted_ratio():
    rng = np.random.default_rng(0)
    sound, noise = rng.normal(0, 0.1, 40000).astype(np.float32), rng.normal(0, 1, 1000).astype(np.float32)
    added = effects.at_snr(sound, noise, 6.0) - sound
    assert 10 * np.log10(np.mean(sound**2) / np.mean(added**2)) == pytest.approx(6.0, abs=0.01)


def test_scores_tell_right_from_wrong():
    truth = np.arange(0, 40, 0.5)
    assert score_beats(truth, truth + 0.01)["F"] == 1.0
    assert score_beats(truth, truth + 0.25)["F"] == 0.0
    assert score_beats(truth, truth[::2])["CMLt"] == 0.0
    assert score_beats(truth, truth[::2])["AMLt"] > 0.9
    assert score_beats(truth, np.zeros(0))["lock_s"] == 99.0
    assert score_beats(truth, truth[truth >= 2.0])["lock_s"] == pytest.approx(2.0)


@needs_synth
def test_a_track_is_the_same_every_time_and_its_truth_is_in_its_sound():
    plan = Plan("x", "house", 120.0, ("x...x...x...x...",), sections=((2, "k"),))
    score = write(plan, 1)
    sound = render(score, ("drums",))
    assert (sound == render(write(plan, 1), ("drums",))).all()
    for t in score.hits("kick"):
        at = round(t * RATE_HZ)
        assert np.abs(sound[at : at + 600]).max() > 0.05  # within 14 ms
        assert np.abs(sound[at - 600 : at - 64]).max() < 0.05


@needs_synth
@pytest.mark.parametrize("name", ["house", "trap", "hiphop-swing", "waltz", "house-mic6"])
def test_the_ear_follows_music_it_was_not_trained_on(name):
    track = next(t for t in tracks("dev") if t.name == name)
    result = run_ours(take(track, "dev"))
    assert result["F"] > 0.85
    assert abs(np.median(result["off_s"])) < 0.008
    assert result["lock_s"] < 5.0
    drums = result["drums"]
    assert drums["found"] > 0.8 * drums["true"]
    assert drums["found"] > 0.75 * drums["told"]
    assert np.median(drums["late_s"]) < 0.012
    assert min(result["bands"]) > 0.5


@needs_synth
def test_the_ear_says_nothing_where_nothing_beats():
    none = np.zeros(0)
    for name, sound in no_music("dev"):
        result = run_ours(Take(name, "none", sound[: 30 * RATE_HZ], *[none] * 7, (), none))
        assert result["beats"] <= 2, name
