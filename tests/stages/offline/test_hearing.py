"""Hearing: the demo's song, asked for any moment of it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjserver.dsp.hindsight import Beats
from vjserver.dsp.options import EarOptions
from vjserver.sources.song import BPM, RATE_HZ, demo_song
from vjserver.stages.ear.analysis import Analysis
from vjserver.stages.offline.hearing import COLUMNS, KINDS, NS, STEP_NS, STEPS, Grids, Happened, Hearing
from vjserver.stages.offline.listening import (
    LATE_NS,
    Listener,
    grids_of,
    hear_song,
    song_energy,
    whole_song,
    without_false_drops,
)
from vjserver.types.audio import AudioBlock
from vjserver.types.events import Drum, Onset, Section
from vjserver.types.features import READERS, SCALARS, BeatGrid, silent_features

SECONDS = 30
SHORT = 6 * RATE_HZ + 1234
BEAT_S = 60 / BPM


def blocks(sound, size=RATE_HZ):
    return (sound[i : i + size] for i in range(0, len(sound), size))


@pytest.fixture(scope="module")
def sound():
    return demo_song()[: SECONDS * RATE_HZ]


@pytest.fixture(scope="module")
def song(sound):
    return hear_song(blocks(sound), RATE_HZ)


@pytest.fixture(scope="module")
def short(sound):
    return hear_song(blocks(sound[-SHORT:]), RATE_HZ)


@pytest.fixture(scope="module")
def live(sound):
    return hear_song(blocks(sound[-SHORT:], 7919), RATE_HZ, mode="live")


def same_happened(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("t_ns", "kind", "strength"))


# -- with hindsight --------------------------------------------------------------------------------------------


def test_every_beat_of_the_song_is_known_from_the_first_on(song):
    times = np.array([grid.t_ns for grid in song.beats]) / NS
    assert song.seconds == SECONDS
    assert len(times) == len(np.arange(0, SECONDS, BEAT_S))
    assert np.abs(times - np.arange(len(times)) * BEAT_S).max() < 0.010
    assert [grid.count for grid in song.beats] == list(range(len(times)))


def test_bars_are_those_of_the_song(song):
    assert [grid.bar_position for grid in song.beats] == [i % 4 for i in range(len(song.beats))]
    assert {grid.beats_per_bar for grid in song.beats} == {4}


@pytest.mark.parametrize("t_s", [0.0, 0.3, 9.999, 10.0, 17.77, 29.9])
def test_beats_and_phases_of_any_time_are_those_of_the_song(song, t_s):
    t_ns = round(t_s * NS)
    features = song.features(t_ns)
    grid = features.grid
    assert grid.count + grid.beats_since(t_ns) == pytest.approx(t_s / BEAT_S, abs=0.03)
    off = features.value("bar_phase", t_ns) - t_s / BEAT_S / 4 % 1.0
    assert abs((off + 0.5) % 1.0 - 0.5) < 0.01
    assert features.value("bpm", t_ns) == pytest.approx(BPM, rel=0.02)


def test_beats_go_on_without_a_step_from_grid_to_grid(song):
    for grid in song.beats[1:]:
        before = song.features(grid.t_ns - 1).grid
        assert before.count + before.beats_since(grid.t_ns) == pytest.approx(grid.count, abs=1e-6)


def test_what_happened_is_in_order_and_each_thing_is_told_once(song):
    rows = list(song.events(-1, SECONDS * NS))
    times = [t_ns for t_ns, _ in rows]
    assert len(rows) == len(song.happened.t_ns) > 20
    assert times == sorted(times)
    assert all(event.t_ns == t_ns and isinstance(event, Drum | Onset | Section) for t_ns, event in rows)
    steps = [event for i in range(60 * SECONDS) for event in song.events(i * NS // 60 - (not i), (i + 1) * NS // 60)]
    assert steps == rows


def test_a_time_belongs_to_what_ends_with_it(song):
    t_ns = int(song.happened.t_ns[10])
    assert [event for at, event in song.events(t_ns - 1, t_ns) if at == t_ns]
    assert not [at for at, _ in song.events(t_ns, t_ns + 1) if at == t_ns]


def test_hits_stand_near_where_they_sound(song):
    kicks = song.happened.t_ns[song.happened.kind == KINDS.index("kick")] / NS
    off = (kicks + BEAT_S / 2) % BEAT_S - BEAT_S / 2
    assert len(kicks) > 10
    assert np.median(np.abs(off)) < 0.012


def test_a_kick_glows_from_its_very_time_on(song):
    kicks = [int(t) for t, kind in zip(song.happened.t_ns, song.happened.kind, strict=True) if KINDS[kind] == "kick"]
    for before, t_ns in zip([None, *kicks], kicks, strict=False):
        assert song.features(t_ns).value("kick", t_ns) == 1.0
        early = 0.0 if before is None else np.exp(-(t_ns - 1 - before) / NS / song.envelope_s)
        assert song.features(t_ns - 1).value("kick", t_ns - 1) == pytest.approx(early, abs=1e-3)
        assert song.features(t_ns + 60_000_000).value("kick", 0) == pytest.approx(np.exp(-0.5), abs=0.01)


@given(t_ns=st.integers(-2 * NS, (SECONDS + 3) * NS))
def test_every_feature_of_any_time_is_a_number(song, t_ns):
    features = song.features(t_ns)
    assert all(np.isfinite(reader(features, t_ns)) for reader in READERS.values())
    assert features.t_ns == t_ns


@pytest.mark.parametrize("t_ns", [-NS, -1, SECONDS * NS, (SECONDS + 60) * NS])
def test_before_the_song_and_after_it_there_is_silence(song, t_ns):
    features, silence = song.features(t_ns), silent_features(t_ns)
    glows = [list(SCALARS).index(name) for name in ("kick", "snare", "hat", "onset", "drop")]
    rest = [i for i in range(len(SCALARS)) if i not in glows]
    assert np.array_equal(features.scalars[rest], silence.scalars[rest])
    for name in ("bands", "spectrum", "chroma"):
        assert not getattr(features, name).any()


def test_to_ask_changes_nothing(song):
    table = song.table.copy()
    for t_ns in (-1, 0, NS, SECONDS * NS + 1):
        song.features(t_ns).scalars[:] = 7.0
        song.features(t_ns).bands[:] = 7.0
    assert np.array_equal(table, song.table)


def test_parts_cover_the_song(song):
    assert (song.parts[0].begin_s, song.parts[-1].end_s) == (0.0, SECONDS)
    assert all(a.end_s == b.begin_s for a, b in zip(song.parts, song.parts[1:], strict=False))
    bars = np.array([part.begin_s for part in song.parts]) / BEAT_S / 4
    assert np.abs(bars - np.round(bars)).max() < 0.01


def test_energy_is_that_of_the_whole_song(song):
    energy = song.table[:, list(SCALARS).index("energy")].astype(float)
    assert 0.0 <= energy.min() <= energy.max() <= 1.0
    assert energy[: 4 * STEPS].mean() < energy[-4 * STEPS :].mean() - 0.3


def test_the_energy_of_silence_and_of_an_unchanging_sound_is_a_share():
    assert not song_energy(np.full(3000, -120.0)).any()
    for level_db in (-50.0, -3.0):
        energy = song_energy(np.full(3000, level_db))
        assert np.isfinite(energy).all()
        assert 0.0 <= energy.min() <= energy.max() <= 1.0
    assert len(song_energy(np.zeros(0))) == 0


# -- what comes in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [101, 7919, SHORT])
def test_the_size_of_blocks_makes_no_difference(sound, short, size):
    other = hear_song(blocks(sound[-SHORT:], size), RATE_HZ)
    assert np.array_equal(other.table, short.table)
    assert same_happened(other.happened, short.happened)
    assert (other.grids, other.parts, other.seconds) == (short.grids, short.parts, short.seconds)


def test_a_song_is_heard_to_its_last_sample(short):
    assert short.seconds == SHORT / RATE_HZ
    assert len(short.table) == -(-SHORT * STEPS // RATE_HZ)


@pytest.mark.parametrize("rate_hz", [44100, 22050, 96000])
def test_other_rates_have_their_beats_at_the_same_seconds(sound, rate_hz):
    at = np.arange(round(12 * rate_hz)) * RATE_HZ / rate_hz
    mono = np.interp(at, np.arange(len(sound) // 2), sound[len(sound) // 2 :, 0]).astype(np.float32)
    heard = hear_song(blocks(mono[:, None], 5000), rate_hz)
    times = np.array([grid.t_ns for grid in heard.beats]) / NS + SECONDS / 2
    assert heard.seconds == pytest.approx(12.0)
    assert len(heard.table) == 1200
    assert np.abs(times / BEAT_S - np.round(times / BEAT_S)).max() * BEAT_S < 0.02


@pytest.mark.parametrize("count", [0, 1, 100, 479, 480, 481, 20_000])
@pytest.mark.parametrize("mode", ["hindsight", "live"])
def test_a_moment_of_sound_is_no_trouble(count, mode, tmp_path):
    heard = hear_song([np.full((count, 2), 0.1, np.float32)], RATE_HZ, mode=mode, folder=tmp_path)
    assert heard.seconds == count / RATE_HZ
    assert len(heard.table) == -(-count // 480)
    assert not heard.beats
    assert np.isfinite(heard.features(0).scalars).all()
    assert np.array_equal(Hearing.load(tmp_path).table, heard.table)


@pytest.mark.parametrize("level", [0.0, 0.2])
def test_silence_and_noise_have_no_beats(level):
    noise = (level * np.random.default_rng(0).normal(size=(12 * RATE_HZ, 1))).astype(np.float32)
    heard = hear_song(blocks(noise), RATE_HZ)
    assert heard.beats == ()
    assert not heard.features(5 * NS).grid.running


# -- as on stage -----------------------------------------------------------------------------------------------


def test_a_live_ear_shows_what_the_stage_would_have_shown(sound, live):
    analysis, told, rest = Analysis(RATE_HZ, EarOptions()), [], sound[-SHORT:]
    step = RATE_HZ // STEPS
    for i in range(SHORT // step):
        t_ns = (i + 1) * STEP_NS
        told += analysis.hear(AudioBlock(rest[i * step : (i + 1) * step], RATE_HZ, t_ns))
        analysis.advance(t_ns)
        now, then = analysis.features, live.features(t_ns)
        for name in ("scalars", "bands", "spectrum", "chroma"):
            assert np.array_equal(getattr(now, name).astype(np.float16), getattr(then, name).astype(np.float16))
        assert then.grid == analysis.clock.grid
    hits = [event for event in told if isinstance(event, Drum | Onset | Section)]
    ours = [event for _, event in live.events(-1, SHORT // step * STEP_NS)]
    assert sorted((e.t_ns, type(e).__name__) for e in ours) == sorted((e.t_ns, type(e).__name__) for e in hits)


def test_a_live_ear_knows_nothing_of_what_is_still_to_come(live):
    assert live.features(STEP_NS - 1).value("silence", 0) == 1.0
    assert live.beats == ()
    assert live.parts == ()


def test_hits_stand_earlier_with_hindsight_by_what_the_ear_is_late(live, short):
    kick = KINDS.index("kick")
    late = live.happened.t_ns[live.happened.kind == kick]
    assert len(late)
    assert np.array_equal(np.maximum(late - LATE_NS["kick"], 0), short.happened.t_ns[short.happened.kind == kick])


# -- hands, stems and files ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hands():
    return Beats([0.5, 1.1, 1.7, 2.5, 3.1], [1, 2, 0, 1, 2], [3] * 5, [1.0] * 5)


@pytest.mark.parametrize("mode", ["hindsight", "live"])
def test_hands_overrule_the_ear(sound, hands, mode):
    heard = hear_song(blocks(sound[-SHORT:]), RATE_HZ, mode=mode, beats=hands)
    grids = heard.grids.grids
    assert [grid.t_ns / NS for grid in grids] == pytest.approx(hands.times_s)
    assert [grid.bar_position for grid in grids] == list(hands.positions)
    assert heard.features(2 * NS).grid == grids[2]
    assert heard.features(2 * NS).grid.period_s == pytest.approx(0.8)
    assert heard.features(9 * NS).grid.period_s == pytest.approx(0.6)


def test_beats_by_hand_are_known_whichever_ear_listens(sound, hands):
    assert len(hear_song(blocks(sound[-SHORT:]), RATE_HZ, mode="live", beats=hands).beats) == 5


def test_hands_move_no_hit_of_a_live_ear(sound, live, hands):
    assert same_happened(hear_song(blocks(sound[-SHORT:]), RATE_HZ, mode="live", beats=hands).happened, live.happened)


def test_before_the_first_beat_its_grid_holds():
    grids = grids_of(Beats([2.0, 2.5], [0, 1], [4, 4], [1.0, 1.0]))
    assert grids.at(0).count_at(0) == -4
    assert (grids_of(Beats()).at(0), Grids((), ()).at(5)) == (BeatGrid(), BeatGrid())
    assert grids_of(Beats([2.0], [0], [4], [1.0])).at(NS).period_s == 0.5


def test_a_drop_is_put_on_the_downbeat_that_it_belongs_to_and_things_stay_in_order():
    listener = Listener(RATE_HZ, EarOptions(), "hindsight", lambda _row: None)
    rows = [(0.005, "kick"), (3.9, "drop"), (4.005, "kick"), (9.0, "drop"), (13.1, "break")]
    listener._events = [(round(t_s * NS), KINDS.index(name), 1.0) for t_s, name in rows]
    beats = Beats([0.0, 2.0, 4.0, 6.0], [0, 0, 0, 1], [1, 1, 2, 2], [1.0] * 4)
    happened, *_ = listener.end(beats)
    assert happened.t_ns.tolist() == [0, 3_994_300_000, 4_000_000_000, 9_000_000_000, 13_100_000_000]
    assert [KINDS[kind] for kind in happened.kind] == ["kick", "kick", "drop", "drop", "break"]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ("2 break 6 drop 7.5 break 8.2 groove 8.3 kick", "2 break 8.2 drop 8.3 kick"),
        ("2 break 6 drop 6.1 kick 7.5 break 8 drop 8.5 kick 9 kick", "2 break 6.1 kick 8 drop 8.5 kick 9 kick"),
        ("2 break 6 drop 7 break 8 groove 8.5 break 9 groove 9.1 kick 9.5 kick", "2 break 9 drop 9.1 kick 9.5 kick"),
        ("2 break 6 drop 6.5 kick 7 kick 7.5 break 9 groove", None),
        ("2 break 6 drop 10.5 break 12 groove", None),
        ("2 break 6 drop 7.5 break", "2 break"),
        ("6 drop", None),
        ("", None),
    ],
    ids=["groove", "drop", "twice", "kicks", "long", "end", "alone", "nothing"],
)
def test_a_drop_after_which_the_break_goes_on_was_none(rows, wanted):
    def happened(text):
        words = text.split()
        times = np.array([round(float(t) * NS) for t in words[::2]], np.int64)
        return Happened(times, np.array([KINDS.index(n) for n in words[1::2]], np.uint8), np.ones(len(times), "f4"))

    assert same_happened(without_false_drops(happened(rows)), happened(rows if wanted is None else wanted))


def test_the_table_tells_of_breaks_what_the_events_tell(song):
    rows = [(2.0, "break"), (3.005, "kick"), (6.0, "drop"), (8.0, "break"), (9.5, "groove"), (20.0, "break")]
    times = np.array([round(t_s * NS) for t_s, _ in rows], np.int64)
    happened = Happened(times, np.array([KINDS.index(n) for _, n in rows], np.uint8), np.ones(len(rows), np.float32))
    table = np.array(song.table)
    whole_song(replace(song, happened=happened), table)
    inside = table[:, [*SCALARS].index("break")]
    edges = np.flatnonzero(np.diff(inside, prepend=0.0)) * STEP_NS / NS
    assert edges.tolist() == [2.0, 6.0, 8.0, 9.5, 20.0]
    assert set(inside.tolist()) == {0.0, 1.0}


def test_single_tracks_have_their_own_names(song, short):
    whole = replace(song, stems={"drums": short})
    kick = int(short.happened.t_ns[list(short.happened.kind).index(KINDS.index("kick"))])
    features = whole.features(kick)
    assert features.value("drums/kick", kick) == 1.0
    assert features.value("drums/bass", kick) == short.features(kick).value("bass", kick)
    assert features.value("vocals/level", kick) == features.value("level", kick)
    assert features.grid == song.features(kick).grid


@pytest.mark.parametrize("mode", ["hindsight", "live"])
def test_a_hearing_is_the_same_in_a_folder_and_comes_back_as_it_was(sound, short, live, tmp_path, mode):
    plain = live if mode == "live" else short
    kept = hear_song(blocks(sound[-SHORT:]), RATE_HZ, mode=mode, folder=tmp_path)
    for heard in (kept, Hearing.load(tmp_path)):
        assert np.array_equal(heard.table, plain.table)
        assert same_happened(heard.happened, plain.happened)
        for name in ("seconds", "grids", "parts", "mode", "envelope_s", "drop_s", "beats"):
            assert getattr(heard, name) == getattr(plain, name)
        for t_ns in (0, 1, NS, 3_141_592_653, 7 * NS):
            a, b = heard.features(t_ns), plain.features(t_ns)
            assert all(a.value(name, t_ns) == b.value(name, t_ns) for name in READERS)


def test_what_was_saved_otherwise_is_not_taken_for_a_hearing(tmp_path):
    happened = Happened(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.float32))
    Hearing(0.0, np.zeros((0, COLUMNS), np.float16), happened, Grids((), ())).save(tmp_path)
    about = tmp_path / "about.json"
    about.write_text(about.read_text().replace('"version": ', '"version": 9'))
    with pytest.raises(ValueError, match="of version 9"):
        Hearing.load(tmp_path)
