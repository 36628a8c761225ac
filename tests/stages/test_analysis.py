from dataclasses import replace

import numpy as np
import pytest

from vjserver.runtime.clock import NS
from vjserver.sources.click import ClickOptions, click_track
from vjserver.sources.song import BPM, demo_song
from vjserver.stages.analysis import Analysis, EarOptions
from vjserver.stages.listening import obey
from vjserver.types.audio import AudioBlock
from vjserver.types.events import Beat, Command, Drum, Onset, Silence, Tempo
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
    assert {type(e) for e in events} == {Beat, Drum, Onset, Silence, Tempo}
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


@pytest.mark.parametrize("spoil", ["nan", "clipped", "offset", "one side"])
def test_bad_sound_does_not_spoil_the_ear(spoil):
    track = np.repeat(click_track(ClickOptions(bpm=120), 16.0), 2, axis=1)
    if spoil == "nan":
        track[RATE * 3 : RATE * 3 + 500] = np.nan
        track[RATE * 5] = np.inf
    elif spoil == "clipped":
        track = track * 20
    elif spoil == "offset":
        track = track + 0.3
    else:
        track[:, 1] = 0.0
    analysis, events = listen(track)
    assert np.median([b.bpm for b in beats(events)[-8:]]) == pytest.approx(120, rel=0.02)
    assert np.isfinite(analysis.features.scalars).all()
    assert np.isfinite(analysis.features.spectrum).all()


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
        assert span > 0.3, name


def test_one_channel_can_be_chosen():
    track = np.zeros((RATE * 2, 2), np.float32)
    track[:, 1] = click_track(ClickOptions(), 2.0)[:, 0]
    assert listen(track, options=EarOptions(channel=0))[1] == []
    assert listen(track, options=EarOptions(channel=1))[1] != []


def test_commands_move_the_clock():
    analysis = Analysis(RATE, EarOptions())
    obey(analysis, Command(NS, "/vj/tempo/bpm", (120.0,)))
    assert analysis.clock.grid.bpm == pytest.approx(120)
    obey(analysis, Command(NS, "/vj/tempo/double", ()))
    obey(analysis, Command(NS, "/vj/tempo/flip", ()))
    obey(analysis, Command(NS, "/vj/tempo/nudge", (5.0,)))
    obey(analysis, Command(NS, "/vj/tempo/lock", (True,)))
    obey(analysis, Command(NS, "/vj/param/zoom", (1.0,)))
    assert analysis.clock.grid.bpm == pytest.approx(240)
    obey(analysis, Command(2 * NS, "/vj/tempo/resync", ()))
    assert analysis.clock.grid.bar_phase(2 * NS) == 0.0
    obey(analysis, Command(2 * NS, "/vj/tempo/half", ()))
    obey(analysis, Command(NS, "/vj/tempo/auto", ()))
    for i in range(4):
        obey(analysis, Command(3 * NS + i * NS // 2, "/vj/tempo/tap", ()))
    assert analysis.clock.grid.bpm == pytest.approx(120)
    obey(None, Command(NS, "/vj/tempo/tap", ()))


def test_advance_tells_beats_between_blocks():
    analysis = Analysis(RATE, EarOptions())
    obey(analysis, Command(NS, "/vj/tempo/bpm", (60.0,)))
    told = [b.t_ns for t in range(100, 400) for b in analysis.advance(t * NS // 100)]
    assert told == [NS, 2 * NS, 3 * NS]


def test_features_carry_the_grid():
    analysis, _ = listen(click_track(ClickOptions(bpm=120), 8.0))
    assert analysis.features.grid.running
    assert replace(analysis.features).value("bpm", 0) == pytest.approx(120, rel=0.02)
