"""Loops: clips that go on where they began."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from test_render import pictures

from vjserver.app.preset_bank import load_bank
from vjserver.app.show import Show, first_state
from vjserver.films.codecs import CODECS
from vjserver.films.loop import LoopFilm, apart, closed, in_turn, pulse, turn_of
from vjserver.films.segment import Sides
from vjserver.runtime.installed import installed
from vjserver.show.looks import enter
from vjserver.show.state import MappingRow
from vjserver.stages.offline.performance import time_of
from vjserver.types.errors import ConfigError

RATE = Fraction(30)


def test_whole_frames_win_and_the_tempo_is_theirs():
    turn = turn_of(8, 124.0, RATE)
    assert (turn.frames, turn.beats) == (464, 32)
    assert turn.bpm == pytest.approx(124.138, abs=5e-4)
    assert turn_of(8, 120.0, RATE).bpm == 120.0
    assert turn_of(1, 174.0, Fraction(30000, 1001)).frames == 41


@pytest.mark.parametrize(
    ("bars", "bpm", "rate"), [(0, 120, 30), (257, 120, 30), (8, 5, 30), (8, 500, 30), (1, 399, 12)]
)
def test_a_loop_that_cannot_be_is_told(bars, bpm, rate):
    with pytest.raises(ConfigError):
        turn_of(bars, float(bpm), Fraction(rate))


def test_the_beat_is_the_same_in_every_turn():
    turn = turn_of(2, 124.0, RATE)
    heard = pulse(turn, 4)
    for number in range(turn.frames):
        a, b, c = (heard.features(time_of(number + k * turn.frames, RATE)) for k in (0, 1, 2))
        for x, y in ((a, b), (b, c)):
            assert np.array_equal(x.scalars, y.scalars)
            assert np.array_equal(x.bands, y.bands)
            assert np.array_equal(x.spectrum, y.spectrum)
            assert np.array_equal(x.chroma, y.chroma)
    beats = [g.t_ns for g in heard.beats[: turn.beats]]
    lit = [heard.features(time_of(round(i * turn.frames / turn.beats), RATE)).value("kick", 0) for i in range(0, 8, 4)]
    assert lit == pytest.approx([1.0, 1.0], abs=1e-3), "a kick is on its frame"
    assert beats[4] == pytest.approx(58 / 30 * 1e9, abs=2000)


def film_of(preset, bars=2, size=(96, 64)):
    registry, bank = installed(), load_bank()
    turn = turn_of(bars, 124.0, RATE)
    place, found = bank.find(preset)
    state = enter(first_state(Show()), place, found, registry)
    return LoopFilm(Path(), RATE, size, 0, turn.frames, CODECS["png"], registry, bank, state, turn=turn)


def still_film():
    """A look that remembers nothing: no motion of its own, no trails, no triggers."""
    film = film_of("neon-tunnel")
    still = {"speed": 0.0, "zoom": 0.5, "rotate": 0.5, "pan_x": 0.5, "pan_y": 0.5, "feedback": 0.0, "bloom": 0.0}
    rows = (MappingRow("kick", "/vj/param/brightness", 0.0, 0.3, "linear", "add", 0.0, 0.0),)
    state = replace(film.state, params={**film.state.params, **still}, preset=10**6, mappings=rows)
    return replace(film, state=state)


def test_of_a_look_that_remembers_nothing_each_turn_is_the_same():
    film = still_film()
    assert film.turn is not None
    sides = Sides(film, lambda *_: None)
    performance = film.performance()
    count = film.turn.frames
    frames = [sides.draw(film.moment(performance, n, 1), performance) for n in range(3 * count)]
    sides.close()
    worst = max(int(np.abs(frames[n + count].astype(int) - frames[n + 2 * count]).max()) for n in range(count))
    assert worst <= 1, "but for what still settles, a level at most"
    assert apart(frames[count], frames[count + 10]) > 0.3, "and it moves with the beat"


@pytest.mark.parametrize("preset", ["neon-tunnel", "honeycomb", "mandala"])
def test_over_the_seam_no_more_changes_than_at_the_other_bars(tmp_path, vj, preset):
    code, rows, heard = vj(
        "loop", preset, "--bars", 4, "--bpm", 124, "--size", "96x64", "--codec", "ffv1", "-o", tmp_path, "--json"
    )  # fmt: skip
    assert code == 0, heard
    row = rows[0]
    assert row["file"] == f"{preset}_124.138bpm_4bars_16beats.mkv"
    assert json.loads((tmp_path / f"{row['file']}.json").read_text()) == row
    frames = np.stack(pictures(tmp_path / row["file"])).astype(int)
    assert len(frames) == row["frames"] == 232
    steps = np.abs(frames - np.roll(frames, 1, axis=0)).mean(axis=(1, 2, 3))
    assert steps[0] == pytest.approx(row["seam"]["step"], abs=0.01)
    assert row["seam"]["largest_at_bars"] == pytest.approx(steps[[58, 116, 174]].max(), abs=0.01)
    assert row["seam"]["step"] <= 1.02 * row["seam"]["largest_at_bars"]
    assert not list(tmp_path.glob(".*")), "nothing is left beside it"


def test_triggers_that_come_once_in_a_turn_are_left_out():
    bank = load_bank()
    _, preset = bank.find("neon-tunnel")
    assert {one.every for one in preset.triggers} == {4, 16}
    assert in_turn(preset, turn_of(4, 124.0, RATE)).triggers == ()
    assert {one.every for one in in_turn(preset, turn_of(8, 124.0, RATE)).triggers} == {4}


def test_a_clip_of_one_file_and_a_bank_in_one_go(tmp_path, vj):
    code, rows, _ = vj(
        "loop", "lava", "--bars", 1, "--bpm", 124, "--size", "64x48", "-o", tmp_path / "clip.mp4", "--json"
    )
    assert code == 0
    assert rows[0]["file"] == "clip_124.138bpm_1bars_4beats.mp4"
    assert rows[0]["codec"]["name"] == "h264"
    code, _, heard = vj("loop", "lava", "sonar", "-o", tmp_path / "x.mp4")
    assert code == 1
    assert "2 loops go into a folder" in heard
    code, _, heard = vj("loop", "nosuch", "-o", tmp_path)
    assert code == 1
    assert "unknown preset" in heard
    (tmp_path / "presets").mkdir()
    for name in ("a", "b"):
        (tmp_path / "presets" / f"{name}.toml").write_text(f'name = "{name}"\n')
    (tmp_path / "show.toml").write_text('presets = "presets"\n')
    args = ("--bars", 1, "--bpm", 120, "--size", "64x48", "--codec", "prores4444", "--show", tmp_path / "show.toml")
    code, rows, _ = vj("loop", "bank:presets", *args, "-o", tmp_path / "pack", "--json")
    assert code == 0
    assert [row["preset"] for row in rows] == ["a", "b"]
    assert rows[0]["codec"]["alpha"] == "straight"
    assert len(list((tmp_path / "pack").glob("*.mov"))) == 2


def test_what_walks_through_noise_goes_round_once_in_a_turn():
    registry, turn = installed(), turn_of(4, 124.0, RATE)
    bank = load_bank()
    state = enter(first_state(Show()), *bank.find(1), registry)
    walk, beats = (registry.parameters[f"gan/{name}"] for name in ("walk", "walk_beats"))
    for before, after in (("seeds", "loop"), ("loop", "loop"), ("still", "still")):
        params = {**state.params, "gan/walk": walk.norm(walk.choices.index(before)), "gan/walk_beats": beats.norm(3)}
        now = closed(replace(state, params=params), turn, registry).params
        assert walk.choices[round(walk.raw(now["gan/walk"]))] == after
        assert beats.raw(now["gan/walk_beats"]) == (3 if before == "still" else turn.beats)
        assert now.keys() == params.keys()
