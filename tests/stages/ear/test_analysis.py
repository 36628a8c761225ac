from dataclasses import replace

import numpy as np
import pytest

from vjserver.dsp.options import EarOptions
from vjserver.runtime.clock import NS
from vjserver.sources.click import ClickOptions, click_track
from vjserver.sources.song import BPM, demo_song
from vjserver.stages.ear.analysis import Analysis
from vjserver.stages.ear.ear_loop import handle
from vjserver.types.audio import AudioBlock
from vjserver.types.events import Beat, Command, Drum, Onset, Section, Silence, Tempo
from vjserver.types.features import BAND_NAMES

RATE = 48000


def listen(samples, rate=RATE, block=256, options=None, start_ns=0):
    """Play samples (frames, channels) to an analysis; return it and its events."""
    analysis, events = Analysis(rate, options or EarOptions()), []
    for i in range(0, len(samples), block):
        part = samples[i : i + block].astype(np.float32)
        events += analysis.hear(AudioBlock(part, rate, start_ns + (i + len(part)) * NS // rate))
    return analysis, events


def beats(events):
    return [e for e in events if isinstance(e, Beat)]


@pytest.fixture(scope="module")
def song_events():
    return listen(demo_song())


def test_the_songs_beats_are_found_on_time(song_events):
    _, events = song_events
    found = beats(events)
    truth = 60 / BPM
    errors = [((b.t_ns / NS) / truth + 0.5) % 1 - 0.5 for b in found]
    assert len(found) > 175
    assert np.median(np.abs(errors)) * truth < 0.010
    assert np.percentile(np.abs(errors), 95) * truth < 0.030
    assert np.median([b.bpm for b in found]) == pytest.approx(BPM, rel=0.01)


def test_the_beat_goes_on_through_the_break(song_events):
    _, events = song_events
    in_break = [b for b in beats(events) if 47 < b.t_ns / NS < 61]
    assert len(in_break) == pytest.approx(14 * BPM / 60, abs=2)


def test_everything_a_preset_may_map_moves(song_events):
    _, events = song_events
    assert {type(e) for e in events} == {Beat, Drum, Onset, Section, Silence, Tempo}
    drums = [e.name for e in events if isinstance(e, Drum)]
    assert all(drums.count(name) > 30 for name in ("kick", "snare", "hat"))


def test_events_come_in_order_and_know_their_cause(song_events):
    _, events = song_events
    heard = [e.heard_ns for e in events]
    assert heard == sorted(heard)
    assert all(e.t_ns <= e.heard_ns for e in events)


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
@pytest.mark.parametrize("block", [64, 441, 4096])
def test_any_rate_and_block_size_gives_the_tempo(rate, block):
    track = click_track(ClickOptions(bpm=110, rate_hz=rate), 14.0)
    _, events = listen(np.repeat(track, 2, axis=1), rate, block)
    found = beats(events)
    assert np.median([b.bpm for b in found[-8:]]) == pytest.approx(110, rel=0.02)
    errors = [((b.t_ns / NS) * 110 / 60 + 0.5) % 1 - 0.5 for b in found[-12:]]
    assert np.median(np.abs(errors)) * 60 / 110 < 0.025


def test_blocks_of_any_size_give_the_same_events():
    track = click_track(ClickOptions(), 6.0)
    _, small = listen(track, block=100)
    _, large = listen(track, block=4800)
    assert [type(e) for e in small] == [type(e) for e in large]


def off_grid_s(events, after_s, shift_s=0.0):
    """Return how far the beats after ``after_s`` lie from the song's, seconds."""
    times = np.array([b.t_ns / NS - shift_s for b in beats(events)])
    period = 60 / BPM
    times = times[times > after_s]
    return np.abs((times + period / 2) % period - period / 2), len(times)


@pytest.mark.parametrize("spoil", ["nan", "clipped", "offset", "one side", "hum", "quiet", "hiss"])
def test_bad_sound_does_not_spoil_the_ear(spoil):
    song = demo_song()[: RATE * 24].copy()
    if spoil == "nan":
        song[RATE * 3 : RATE * 3 + 500] = np.nan
        song[RATE * 5] = np.inf
        song[RATE * 12 : RATE * 12 + 9000] = -np.inf
    elif spoil == "clipped":
        song = song * 30
    elif spoil == "offset":
        song = song + 0.3
    elif spoil == "one side":
        song[:, 1] = 0.0
    elif spoil == "hum":
        song = song + 0.25 * np.sin(2 * np.pi * 40 * np.arange(len(song)) / RATE)[:, None]
    elif spoil == "quiet":
        song = song * 0.01
    else:
        song = song + np.random.default_rng(0).normal(0, 0.02, song.shape)
    analysis, events = listen(song)
    off, count = off_grid_s(events, 8.0)
    assert count >= 32
    assert np.percentile(off, 90) < 0.03
    assert np.isfinite(analysis.features.scalars).all()
    assert np.isfinite(analysis.features.spectrum).all()
    assert np.isfinite(analysis.features.chroma).all()


def test_a_telephone_is_enough_for_the_beat():
    song = demo_song()[: RATE * 24].mean(axis=1)
    near = np.convolve(song, np.ones(6) / 6, "same")[::6, None]  # 8 kHz
    _, events = listen(near, rate=8000, block=160)
    off, count = off_grid_s(events, 8.0)
    assert count >= 30
    assert np.median(off) < 0.02


@pytest.mark.parametrize("lost_ms", [20, 100, 500])
def test_the_beat_keeps_its_phase_through_dropouts(lost_ms):
    song, analysis, events = demo_song()[: RATE * 24], Analysis(RATE, EarOptions()), []
    gap, at = RATE * lost_ms // 1000, 0
    while at + 256 <= len(song):
        if at > RATE * 8 and (at // 256) % 375 < gap // 256:  # every two seconds
            at += 256
            continue
        events += analysis.hear(AudioBlock(song[at : at + 256], RATE, (at + 256) * NS // RATE))
        at += 256
    off, count = off_grid_s(events, 8.0)
    assert count == pytest.approx(16 * BPM / 60, abs=2)
    assert np.percentile(off, 90) < 0.03


def test_the_beat_goes_on_through_a_change_of_the_sample_rate():
    song = demo_song()[: RATE * 24]
    first, events = listen(song[: RATE * 12])
    second = Analysis(44100, EarOptions())
    second.clock = first.clock  # as the live ear does when a device comes back otherwise
    later = song[RATE * 12 :]
    t = np.arange(int(len(later) * 44100 / RATE)) * RATE / 44100
    later = np.stack([np.interp(t, np.arange(len(later)), side) for side in later.T], axis=1).astype(np.float32)
    for i in range(0, len(later) - 256, 256):
        events += second.hear(AudioBlock(later[i : i + 256], 44100, 12 * NS + (i + 256) * NS // 44100))
    off, count = off_grid_s(events, 8.0)
    assert count == pytest.approx(16 * BPM / 60, abs=2)
    assert off.max() < 0.03


@pytest.mark.parametrize("kind", ["pink", "white", "drone"])
def test_no_beat_is_heard_where_none_is(kind):
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, RATE * 30)
    if kind == "pink":
        spectrum = np.fft.rfft(noise) / np.sqrt(np.maximum(np.arange(RATE * 15 + 1), 20))
        noise = np.fft.irfft(spectrum)
        noise *= 0.1 / noise.std()
    elif kind == "drone":
        noise = sum(0.1 * np.sin(2 * np.pi * hz * np.arange(RATE * 30) / RATE) for hz in (110, 165, 221))
    assert len(beats(listen(noise[:, None])[1])) <= 1


def test_a_break_and_its_drop_are_heard(song_events):
    _, events = song_events
    form = [(e.name, e.t_ns / NS) for e in events if isinstance(e, Section)]
    assert [name for name, _ in form] == ["break", "drop"]
    bar_s = 240 / BPM
    assert 0.0 < form[0][1] - 24 * bar_s < 3.0
    assert abs(form[1][1] - 32 * bar_s) < 1.2


def test_the_harmony_shows(song_events):
    analysis, _ = song_events
    assert analysis.features.chroma.max() > 0.3
    assert analysis.features.value("chroma/a", 0) == analysis.features.chroma[9]


@pytest.mark.parametrize("level", [0.0, 1e-5])
def test_silence_says_nothing(level):
    noise = np.random.default_rng(0).normal(0, level, (RATE * 10, 1)) if level else np.zeros((RATE * 10, 1))
    analysis, events = listen(noise)
    assert events == []
    assert analysis.features.value("silence", 0) == 1.0


def test_silence_is_announced_and_ends():
    track = click_track(ClickOptions(bpm=120), 4.0)
    _, events = listen(np.concatenate([track, np.zeros((RATE * 3, 1), np.float32), track]))
    assert [e.on for e in events if isinstance(e, Silence)] == [False, True, False]


def test_bands_use_their_range_on_music():
    analysis = Analysis(RATE, EarOptions())
    rows = []
    song = demo_song()[: RATE * 30]
    for i in range(0, len(song), 512):
        analysis.hear(AudioBlock(song[i : i + 512], RATE, (i + 512) * NS // RATE))
        rows.append(analysis.features.bands.copy())
    low, high = np.percentile(np.array(rows)[len(rows) // 3 :], (5, 95), axis=0)
    for name, span in zip(BAND_NAMES, high - low, strict=True):
        assert span > 0.6, name


def test_one_channel_can_be_chosen():
    track = np.zeros((RATE * 2, 2), np.float32)
    track[:, 1] = click_track(ClickOptions(), 2.0)[:, 0]
    assert listen(track, options=EarOptions(channel=0))[1] == []
    assert listen(track, options=EarOptions(channel=1))[1] != []


def test_commands_move_the_clock():
    analysis = Analysis(RATE, EarOptions())
    handle(analysis, Command(NS, "/vj/tempo/bpm", (120.0,)))
    assert analysis.clock.grid.bpm == pytest.approx(120)
    handle(analysis, Command(NS, "/vj/tempo/double", ()))
    handle(analysis, Command(NS, "/vj/tempo/flip", ()))
    handle(analysis, Command(NS, "/vj/tempo/nudge", (5.0,)))
    handle(analysis, Command(NS, "/vj/tempo/lock", (True,)))
    handle(analysis, Command(NS, "/vj/param/zoom", (1.0,)))
    assert analysis.clock.grid.bpm == pytest.approx(240)
    handle(analysis, Command(2 * NS, "/vj/tempo/resync", ()))
    assert analysis.clock.grid.bar_phase(2 * NS) == 0.0
    handle(analysis, Command(2 * NS, "/vj/tempo/half", ()))
    handle(analysis, Command(NS, "/vj/tempo/auto", ()))
    for i in range(4):
        handle(analysis, Command(3 * NS + i * NS // 2, "/vj/tempo/tap", ()))
    assert analysis.clock.grid.bpm == pytest.approx(120)
    handle(None, Command(NS, "/vj/tempo/tap", ()))


def test_advance_tells_beats_between_blocks():
    analysis = Analysis(RATE, EarOptions())
    handle(analysis, Command(NS, "/vj/tempo/bpm", (60.0,)))
    told = [b.t_ns for t in range(100, 400) for b in analysis.advance(t * NS // 100)]
    assert told == [NS, 2 * NS, 3 * NS]


def test_features_carry_the_grid():
    analysis, _ = listen(click_track(ClickOptions(bpm=120), 8.0))
    assert analysis.features.grid.running
    assert replace(analysis.features).value("bpm", 0) == pytest.approx(120, rel=0.02)


# -- silence, offsets, sides, channels --------------------------------------------------------------------------------


def heard(samples, rate_hz=48000, **options):
    """Let an ear hear samples; return it."""
    analysis = Analysis(rate_hz, EarOptions(**options))
    for at in range(0, len(samples), 480):
        block = samples[at : at + 480]
        analysis.hear(AudioBlock(block, rate_hz, (at + len(block)) * 1_000_000_000 // rate_hz))
    return analysis


def noise(seconds, db, seed=0):
    return (np.random.default_rng(seed).normal(0, 10 ** (db / 20), (round(seconds * 48000), 1))).astype(np.float32)


def music(seconds):
    return np.repeat(click_track(ClickOptions(bpm=120), seconds), 1, axis=1)


@pytest.mark.parametrize("what", ["offset", "hiss", "hum"])
def test_what_never_stops_is_silence(what):
    t = np.arange(48000 * 10)[:, None] / 48000
    rest = {"offset": np.full((480000, 1), 0.001), "hiss": noise(10.0, -66.0),
            "hum": 10 ** (-63 / 20) * np.sin(2 * np.pi * 50 * t)}[what].astype(np.float32)  # fmt: skip
    analysis = heard(rest)
    f = analysis.features
    assert f.value("silence", 0) == 1.0
    assert f.value("level", 0) < 0.05, "a floor is not lifted to full scale"
    assert max(f.bands) < 0.1


def test_silence_comes_after_the_music_although_hiss_goes_on():
    analysis = heard(np.concatenate([music(15.0) + noise(15.0, -66.0), noise(6.0, -66.0, 1)]))
    assert analysis.features.value("silence", 0) == 1.0
    analysis = heard(np.concatenate([music(15.0) + 0.001, np.full((48000 * 40, 1), 0.001, np.float32)]))
    assert analysis.features.value("silence", 0) == 1.0
    assert analysis.features.value("level", 0) < 0.05


def test_quiet_music_is_no_silence_and_neither_is_a_loud_drone():
    assert heard(music(20.0) * 0.01).features.value("silence", 0) == 0.0
    drone = 0.02 * np.sin(2 * np.pi * 110 * np.arange(48000 * 25)[:, None] / 48000)
    assert heard(drone.astype(np.float32)).features.value("silence", 0) == 0.0


def test_sides_that_cancel_each_other_are_heard_on_one_side_and_told():
    row = music(10.0)
    against = np.concatenate([row, -row], axis=1)
    analysis = heard(against)
    assert analysis.features.grid.bpm == pytest.approx(120, rel=0.03)
    assert "cancel each other" in analysis.remark
    plain = heard(np.concatenate([row, row], axis=1))
    assert plain.remark == ""
    wide = np.concatenate([row, np.roll(row, 700, axis=0)], axis=1)
    assert heard(wide).remark == ""


@pytest.mark.parametrize(("channel", "db"), [(None, -12.04), (0, -120.0), (3, 0.0), ((2, 3), -6.02), ((0, 1), -120.0)])
def test_channels_and_pairs_of_them_can_be_chosen(channel, db):
    samples = np.zeros((4800, 4), np.float32)
    samples[:, 3] = np.sign(np.sin(2 * np.pi * 1000 * np.arange(4800) / 48000 + 0.1))
    analysis = heard(samples, channel=channel)
    assert analysis.features.value("level_db", 0) == pytest.approx(db, abs=0.5)
    assert analysis.remark == ""


def test_a_channel_that_the_sound_does_not_have_is_told_and_all_are_heard():
    analysis = heard(np.repeat(music(2.0), 2, axis=1), channel=4)
    assert "channel 4 is asked for, and the sound has fewer" in analysis.remark
    assert analysis.features.value("peak", 0) > 0.01


def test_the_inputs_peak_and_clipping_are_told_as_they_come():
    t = np.arange(48000)[:, None] / 48000
    sine = np.sin(2 * np.pi * 440 * t).astype(np.float32)
    f = heard(0.25 * sine).features
    assert (f.value("peak", 0), f.value("clip", 0)) == (pytest.approx(0.25, abs=0.02), 0.0)
    f = heard(3.0 * sine).features
    assert (f.value("peak", 0), f.value("clip", 0)) == (pytest.approx(1.0, abs=0.02), 1.0)
