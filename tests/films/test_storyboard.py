"""Storyboards: what a file says, where its scenes fall on a song, and what film and stage make of it."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from test_render import SMALL, pictures

from vjserver.app.preset_bank import load_bank
from vjserver.app.show import Show, first_state
from vjserver.cli import main
from vjserver.dsp.hindsight import Beats
from vjserver.films import segment
from vjserver.films.compiled import compiled
from vjserver.films.places import Places
from vjserver.films.storyboard import Storyboard, read_storyboard
from vjserver.runtime.installed import installed
from vjserver.show.desk import Desk
from vjserver.show.looks import enter
from vjserver.show.presettext import parse_toml
from vjserver.show.registry import Registry
from vjserver.stages.offline.hearing import COLUMNS, NS, Happened, Hearing
from vjserver.stages.offline.listening import grids_of
from vjserver.stages.offline.performance import Performance, time_of
from vjserver.types.errors import ConfigError

REGISTRY: Registry = installed()
BANK = load_bank()


def beat_song(seconds=60.0, bpm=120.0, drops=(33.0,)):
    """A song of even beats from 0 on, bars of four, one drop."""
    count = int(seconds * bpm / 60)
    beats = Beats([i * 60.0 / bpm for i in range(count)], [i % 4 for i in range(count)], [4] * count, [1.0] * count)
    happened = Happened(
        np.array([round(d * NS) for d in drops], np.int64),
        np.full(len(drops), 6, np.uint8),
        np.ones(len(drops), np.float32),
    )
    return Hearing(seconds, np.zeros((int(seconds * 100), COLUMNS), np.float16), happened, grids_of(beats))


SONG = beat_song()


def board_of(text, song=SONG, path=Path("board.toml")):
    read = parse_toml(Storyboard, text, "board.toml", REGISTRY, columns=True)
    state = enter(first_state(Show()), *BANK.find(1), REGISTRY)
    return compiled(read, path, Places(song), BANK, REGISTRY, state)


def state_at(board, seconds, song=SONG, rate=30):
    from fractions import Fraction

    performance = Performance(Desk(BANK, board.state, seed=1, registry=REGISTRY), song)
    performance.desk.play(board.take, 0)
    moment = performance.moment(0, round(seconds * NS), Fraction(rate), (64, 64))
    return moment.state, performance


def test_scenes_stand_where_they_say():
    board = board_of("""
[[scenes]]
lasts = "4 bars"
[[scenes]]
name = "then"
lasts = 3.5
[[scenes]]
lasts = "6 beats"
[[scenes]]
lasts = "1:00"
at = "bar 9.3"
""")
    assert [one.begin_s for one in board.scenes] == pytest.approx([0.0, 8.0, 11.5, 17.0])
    assert [one.end_s for one in board.scenes] == pytest.approx([8.0, 11.5, 17.0, 60.0])
    assert board.scenes[1].title == "then"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "scenes"),
        ("[[scenes]]\nat = 'bar 9'\n[[scenes]]\nat = 'bar 3'", "scene 2: it begins at 0:04.0, and the scene before it"),
        ("[[scenes]]\nlasts = '8 bars'\n[[scenes]]\nat = '0:10'", "lasts until 0:16.0: they overlap"),
        ("[[scenes]]\n[[scenes]]", "scene 2: when does it begin?"),
        ("[[scenes]]\nat = 'bar 99'", "the song has no bar 99"),
        ("[[scenes]]\nat = '2:00'", "beyond the end of the song"),
        ("[[scenes]]\nat = 'teatime'", "no such place: 'teatime'"),
        ("[[scenes]]\nlasts = 'long'", "board.toml:2:9: scenes.0.lasts: a length is 12.5 (seconds), 8 bars"),
        ("[[scenes]]\npreset = 'nosuch'", "scene 1: unknown preset 'nosuch'"),
        ("[[scenes]]\ngenerator = 'patern'", "unknown generator 'patern'; nearest: pattern"),
        ("[[scenes]]\npreset = 1\ngenerator = 'pattern'", "a preset or a generator"),
        ("[[scenes]]\ninput = 'nosuch.png'", "no such picture or film"),
        ("[[scenes]]\nprompt = ['x']", "unknown key; nearest: prompts"),
        ("[[scenes]]\n[scenes.camera]\nzoom = '1 +'", "board.toml:3:8: scenes.0.camera.zoom"),
        ("[[scenes]]\n[scenes.camera]\nzoom = 'open(1)'", "no function 'open'"),
        ("[[scenes]]\n[scenes.camera]\nzom = 1", "unknown address '/vj/param/zom'; nearest: /vj/param/zoom"),
        ("[[scenes]]\n[scenes.camera]\nzoom = [[2, 1.0], [1, 0.0]]", "one after another in time"),
        ("[[scenes]]\n[scenes.camera]\nzoom = 1e300", "a number, an expression, or keys"),
        ("[cast.'']\nlook = 'x'\n[[scenes]]\nprompts = ['a']", "cast"),
        ("[[scenes]]\n[scenes.raw]\nzoom = 9", "raw.zoom is in -1..1 octaves/s: got 9"),
        ("[[scenes]]\nseed = -1", "scenes.0.seed"),
        ("[[scenes]]\n[scenes.transition]\nkind = 'wipe'", "scenes.0.transition.kind"),
        ("[[scenes]]\nprompts = ['" + "x" * 2001 + "']", "scenes.0.prompts.0.text"),
        ("style = '" + "y" * 1500 + "'\n[[scenes]]\nprompts = ['" + "x" * 600 + "']", "2000 at most"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(text, said):
    with pytest.raises(ConfigError) as fault:
        board_of(text)
    assert said in str(fault.value)


def test_a_transition_on_the_drop_begins_there_or_says_that_there_is_none():
    board = board_of("""
[[scenes]]
[[scenes]]
at = "0:30"
[scenes.transition]
on = "drop"
[[scenes]]
at = "0:55"
[scenes.transition]
on = "drop"
""")
    assert [one.begin_s for one in board.scenes] == pytest.approx([0.0, 33.0, 55.0])
    assert board.notes == ("scene 3: no drop within 16 s of 0:55.0: it begins there",)


def test_cast_and_style_are_carried_through_the_prompts(tmp_path):
    (tmp_path / "mara.png").write_bytes(b"")
    board = board_of(
        """
style = "woodcut"
[cast.Mara]
look = "an old fisherwoman"
picture = "mara.png"
[cast.Ma]
look = "never meant"
[[scenes]]
generator = "diffusion"
prompts = ["Mara rows. Mara waits"]
[[scenes]]
at = "bar 5"
prompts = ["Maras boat", {text = "the sea", weight = 0.4}]
""",
        path=tmp_path / "board.toml",
    )
    first, second = (one.look for one in board.scenes)
    assert first.texts[0] == "Mara (an old fisherwoman) rows. Mara waits, woodcut"
    assert first.input == "mara"
    assert board.inputs == {"mara": tmp_path / "mara.png"}
    assert second.texts[:2] == ("Maras boat, woodcut", "the sea, woodcut")
    assert second.weights[:2] == (1.0, 0.4)
    assert second.input == ""


def test_a_morph_glides_a_cut_jumps_and_a_crossfade_begins_anew():
    board = board_of("""
[[scenes]]
[scenes.params]
detail = 0.0
[[scenes]]
at = "0:10"
[scenes.params]
detail = 1.0
[scenes.transition]
kind = "morph"
beats = 4
[[scenes]]
at = "0:20"
[scenes.transition]
kind = "crossfade"
seconds = 3
[[scenes]]
at = "0:30"
""")
    assert [(r.t_ns / NS, r.until_ns / NS) for r in board.resets] == [(20.0, 23.0), (30.0, 30.0)]
    from vjserver.show.looks import at

    values = [at(state_at(board, t)[0], round(t * NS)).params["detail"] for t in (9.9, 11.0, 12.1)]
    assert values == pytest.approx([0.0, 0.5, 1.0], abs=1e-3)


@pytest.mark.parametrize("rate", [24, 60])
def test_a_camera_is_where_it_is_whatever_the_rate(rate):
    from fractions import Fraction

    board = board_of("""
[[scenes]]
[scenes.camera]
zoom = "0.2 * sin(t) + 0.1 * beat / 100"
shift_x = [[0, 0.0], [2, 0.5], [4, -0.5]]
rotate = 0.25
""")
    performance = Performance(Desk(BANK, board.state, seed=1, registry=REGISTRY), SONG)
    performance.desk.play(board.take, 0)
    from vjserver.show.mapping import mapped

    for number in range(5 * rate):
        t_ns = time_of(number, Fraction(rate))
        m = performance.moment(number, t_ns, Fraction(rate), (64, 64))
        request, _, _ = mapped(m.state, m.features, t_ns, m.since_s, m.size, m.mapper, REGISTRY)
        t = t_ns / NS
        assert request.params["zoom"] == pytest.approx(0.2 * np.sin(t) + 0.1 * 2 * t / 100, abs=1e-6)
        assert request.params["shift_x"] == pytest.approx(np.interp(t, [0, 2, 4], [0, 0.5, -0.5]), abs=1e-6)
        assert request.params["rotate"] == pytest.approx(0.25)


def test_a_camera_of_thousands_of_keys_is_followed():
    keys = [[i / 20, round(0.4 * np.sin(i * 0.7), 4)] for i in range(1000)]
    board = board_of(f"[[scenes]]\n[scenes.camera]\nshift_y = {json.dumps(keys)}")
    for t in (0.0, 4.47, 17.3, 31.21, 49.9):
        state, performance = state_at(board, t)
        from fractions import Fraction

        from vjserver.show.mapping import mapped

        m = performance.moment(0, round(t * NS), Fraction(30), (64, 64))
        request, _, _ = mapped(state, m.features, round(t * NS), m.since_s, m.size, m.mapper, REGISTRY)
        wanted = np.interp(t, [k[0] for k in keys], [k[1] for k in keys])
        assert request.params["shift_y"] == pytest.approx(wanted, abs=2e-4)


def write(path, text):
    path.write_text(text)
    return path


TWO = """
title = "Two"
[[scenes]]
preset = "neon-tunnel"
name = "One"
[[scenes]]
at = "bar 3"
preset = "mandala"
name = "Two"
titles = [{text = "Here & now", lasts = 2}]
"""


def test_a_film_of_two_scenes_cuts_on_the_frame_and_shows_its_title(song, tmp_path, vj):
    board = write(tmp_path / "b.toml", TWO)
    args = ("--storyboard", board, "--codec", "ffv1", "--size", "160x96", "--fps", "20", "--json")
    code, said, heard = vj("render", song, "-o", tmp_path / "f.mkv", *args)
    assert code == 0, heard
    report = json.loads((tmp_path / "f.mkv.json").read_text())
    assert [row["preset"] for row in report["scenes"]] == ["Neon Tunnel", "Mandala"]
    cut = report["scenes"][1]["frame"]
    bars = [t for i, t in enumerate(report["ear"]["beats"])]
    assert cut == int(np.ceil(report["scenes"][1]["seconds"] * 20 - 1e-6))
    assert min(abs(report["scenes"][1]["seconds"] - t) for t in bars) < 0.05
    frames = np.stack(pictures(tmp_path / "f.mkv")).astype(int)[..., :3]
    steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert int(np.argmax(steps)) + 1 == cut
    plain = write(tmp_path / "p.toml", TWO.replace("titles = ", "# "))
    vj("render", song, "-o", tmp_path / "p.mkv", "--storyboard", plain, *args[2:])
    without = np.stack(pictures(tmp_path / "p.mkv")).astype(int)[..., :3]
    apart = np.abs(frames - without).mean(axis=(1, 2, 3))
    shown = np.flatnonzero(apart > 0.05)
    assert cut <= shown[0] <= cut + 2
    assert cut + 37 <= shown[-1] <= cut + 40
    assert said["segments"] >= 2


def test_redoing_a_scene_makes_its_segments_alone(song, tmp_path, vj):
    board = write(tmp_path / "b.toml", TWO)
    args = ("render", song, "-o", tmp_path / "f.mp4", "--storyboard", board, *SMALL, "--json")
    first = vj(*args)[1]
    write(board, TWO.replace('"mandala"', '"lava"'))
    second = vj(*args)[1]
    assert 0 < second["made"] < second["segments"]
    write(board, TWO.replace('"mandala"', '"lava"').replace("Here & now", "There"))
    third = vj(*args)[1]
    assert third["made"] == 1
    assert len({first["sha256"], second["sha256"], third["sha256"]}) == 3


FADING = """
[[scenes]]
preset = "outrun"
lasts = 3

[[scenes]]
preset = "lava"
lasts = 4
transition = { kind = "crossfade", seconds = 1 }

[[scenes]]
preset = "neon-tunnel"
transition = { kind = "crossfade", seconds = 1 }
"""


def test_scenes_that_fade_in_are_made_by_themselves_and_are_what_one_pass_is(song, tmp_path, vj, monkeypatch):
    board = write(tmp_path / "b.toml", FADING)
    args = ("--storyboard", board, "--codec", "ffv1", *SMALL, "--json")
    _, many, said = vj("render", song, "-o", tmp_path / "many.mkv", *args)
    assert "3 of them can be begun at once" in said
    _, two, _ = vj("render", song, "-o", tmp_path / "two.mkv", *args, "--workers", 2)
    assert two["sha256"] == many["sha256"]
    drawn = [0]
    original = segment.Sides.draw

    def draw(self, moment, performance):
        drawn[0] += 1
        return original(self, moment, performance)

    monkeypatch.setattr(segment.Sides, "draw", draw)
    write(board, FADING.replace('"neon-tunnel"', '"mandala"'))
    _, redone, said = vj("render", song, "-o", tmp_path / "many.mkv", *args)
    assert 0 < redone["made"] < redone["segments"]
    assert drawn[0] <= 20 * (5 + 4), "of the first scenes only what leads in is drawn again"
    assert f"{redone['segments'] - redone['made']} of {redone['segments']} segments are there" in said
    write(board, FADING)
    monkeypatch.setattr("vjserver.films.planning._stuck", lambda asked, film: "it is so")
    _, one, said = vj("render", song, "-o", tmp_path / "one.mkv", *args)
    assert "not everywhere can the film be split: it is so" in said
    assert one["segments"] == many["segments"]
    one, many = (np.stack(pictures(tmp_path / name)).astype(int) for name in ("one.mkv", "two.mkv"))
    assert np.abs(one - many).max() <= 1


def test_what_starts_from_its_last_picture_keeps_a_film_whole(song, tmp_path, vj):
    """The scene that fades away cannot be moved to where the next one begins: both are made in one stretch."""
    text = FADING.replace('preset = "lava"', 'preset = "lava"\ninput = "feedback"')
    board = write(tmp_path / "b.toml", text)
    said = vj("render", song, "-o", tmp_path / "f.mp4", "--storyboard", board, *SMALL, "--json")[2]
    assert "2 of them can be begun at once" in said
    assert "pattern starts from its last picture" in said


@pytest.mark.parametrize("kind", ["crossfade", "morph"])
def test_redoing_the_first_of_two_that_fade_leaves_the_rest_of_the_second(song, tmp_path, vj, kind, monkeypatch):
    monkeypatch.setattr("vjserver.films.planning.SEGMENT_S", 1.5)
    text = TWO + f'[scenes.transition]\nkind = "{kind}"\nbeats = 2\n'
    board = write(tmp_path / "b.toml", text)
    args = ("render", song, "-o", tmp_path / "f.mp4", "--storyboard", board, *SMALL, "--json")
    first = vj(*args)[1]
    write(board, text.replace('"neon-tunnel"', '"lava"'))
    second = vj(*args)[1]
    if kind == "crossfade":
        assert second["made"] < first["segments"], "behind the fade nothing is left of the scene before"
    else:
        assert second["made"] == first["segments"], "what morphs carries on what was"


def test_a_crossfade_shows_both_and_ends_where_it_says(song, tmp_path, vj):
    text = TWO.replace("titles = ", "# ") + '[scenes.transition]\nkind = "crossfade"\nseconds = 2\n'
    ends = {}
    for name, body in (("fade", text), ("cut", TWO.replace("titles = ", "# "))):
        board = write(tmp_path / f"{name}.toml", body)
        args = ("--storyboard", board, "--codec", "ffv1", *SMALL)
        assert vj("render", song, "-o", tmp_path / f"{name}.mkv", *args)[0] == 0
        ends[name] = np.stack(pictures(tmp_path / f"{name}.mkv")).astype(int)
    report = json.loads((tmp_path / "cut.mkv.json").read_text())
    cut = report["scenes"][1]["frame"]
    apart = np.abs(ends["fade"] - ends["cut"]).mean(axis=(1, 2, 3))
    assert apart[:cut].max() == 0
    assert apart[cut] > 5, "still the scene before"
    assert apart[cut + 20] > 0.5
    assert apart[cut + 40 :].max() == 0, "the new scene is what it would be without a fade"


def test_a_board_tells_its_title_and_shows_each_scene_once(song, tmp_path, vj, monkeypatch):
    cells = []
    monkeypatch.setattr("vjserver.films.sheet.draw", lambda path, title, rows: cells.append((title, list(rows))))
    text = TWO + '[scenes.transition]\nkind = "morph"\nbeats = 4\n'
    vj("render", song, "-o", tmp_path / "f.mp4", "--storyboard", write(tmp_path / "b.toml", text), *SMALL)
    with av.open(str(tmp_path / "f.mp4")) as film:
        assert film.metadata["title"] == "Two"
    assert json.loads((tmp_path / "f.mp4.json").read_text())["title"] == "Two"
    title, rows = cells[0]
    assert title == "Two"
    assert [row.head.split("  ")[1] for row in rows] == ["One", "Two"]


@pytest.mark.parametrize(
    ("camera", "code", "said"),
    [
        ('zoom = "1 / (t - 3)"', 1, "divides by zero at t = 3.000"),
        ('zoom = "0.1 * drums_kick"', 0, "nobody gave them: --stem drums=FILE"),
        ('zoom = "0.1 * kick"', 0, "well formed"),
        ('zoom = "0.1 * t ^ 2"', 1, "a power is t ** 2"),
    ],
)
def test_check_tries_what_moves_a_camera_over_the_whole_song(song, tmp_path, vj, camera, code, said):
    board = write(tmp_path / "b.toml", f'[[scenes]]\npreset = "mandala"\ncamera = {{ {camera} }}\n')
    result = vj("storyboard", "check", board, "--audio", song)
    assert result[0] == code
    assert said in result[2]


def test_titles_that_cannot_be_seen_or_drawn_are_told(song, tmp_path, vj):
    text = TWO.replace('"Here & now", lasts = 2', '"Meer \u6d77 \U0001f30a", at = 60')
    said = vj("storyboard", "check", write(tmp_path / "b.toml", text), "--audio", song)[2]
    assert "the font of titles has no \u6d77 \U0001f30a: left out" in said
    assert "scene 2: its title 'Meer \u6d77 \U0001f30a' begins after the song's end" in said


def test_a_board_finds_the_presets_of_a_show(song, tmp_path, vj):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.toml").write_text('name = "Mine"\ngenerator = "pattern"\n')
    show = write(tmp_path / "show.toml", 'presets = "own"\n')
    board = write(tmp_path / "b.toml", '[[scenes]]\npreset = "mine"\n')
    code, _, said = vj("storyboard", "check", board, "--audio", song)
    assert (code, "a show's own presets come with --show FILE" in said) == (1, True)
    assert vj("storyboard", "check", board, "--audio", song, "--show", show)[0] == 0
    assert vj("storyboard", "sheet", board, "--audio", song, "--show", show, "-o", tmp_path / "s.png")[0] == 0
    assert vj("storyboard", "markers", board, "--audio", song, "--show", show, "-o", tmp_path / "m.txt")[0] == 0
    assert (tmp_path / "m.txt").read_text() == "0:00 Scene 1\n"


def test_a_storyboard_that_is_there_is_not_written_over(song, tmp_path, vj):
    story = write(tmp_path / "s.txt", "A ship burned. The moon rose.")
    args = ("storyboard", "from-story", story, "--audio", song, "-o", write(tmp_path / "b.toml", "mine"))
    code, _, said = vj(*args)
    assert (code, "give another -o, or --force" in said) == (1, True)
    assert (tmp_path / "b.toml").read_text() == "mine"
    assert vj(*args, "--force")[0] == 0
    assert "A ship burned" in (tmp_path / "b.toml").read_text()


def test_lines_that_are_never_sung_are_told(song, tmp_path, vj):
    lyrics = write(tmp_path / "s.lrc", "[00:02.00]Silver shore\n[00:50.00]After the end\n")
    args = ("storyboard", "from-lyrics", lyrics, "--audio", song, "-o", tmp_path / "b.toml", "--titles")
    code, _, said = vj(*args)
    assert (code, "such as: After the end" in said) == (0, True)
    assert 'text = "Silver shore"' in (tmp_path / "b.toml").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[scenes]\nprompts = ['x']\n", "each begins with [[scenes]], in two brackets"),
        ("[[scenes]]\ntitles = ['HELLO']\n", "titles.0: must be a table"),
        ("[[scenes]]\ntransition = 'crossfade'\n", "transition: must be a table"),
        ("[cast]\nMara = 'an old woman'\n[[scenes]]\n", "Mara: must be a table"),
        ("[[scenes]]\nseed = 'x'\n", "seed: must be a whole number"),
    ],
)
def test_faults_are_told_in_plain_words(tmp_path, vj, text, said):
    code, _, told = vj("storyboard", "check", write(tmp_path / "b.toml", text))
    assert code == 1
    assert said in told
    assert "instance of" not in told


def test_check_sheet_score_and_markers_are_commands(song, tmp_path, vj, capsys):
    board = write(tmp_path / "b.toml", TWO)
    assert vj("storyboard", "check", board, "--audio", song)[0] == 0
    assert vj("storyboard", "schema")[0] == 0
    import cv2

    assert vj("storyboard", "sheet", board, "--audio", song, "-o", tmp_path / "s.png")[0] == 0
    assert cv2.imread(str(tmp_path / "s.png")).std() > 10
    assert vj("storyboard", "sheet", board, "--audio", song, "-o", tmp_path / "s.pdf")[0] == 0
    assert (tmp_path / "s.pdf").read_bytes()[:4] == b"%PDF"
    assert vj("storyboard", "sheet", board, "--audio", song, "-o", tmp_path / "s.gif")[0] == 1
    for ending in ("csv", "edl", "xml", "txt"):
        assert vj("storyboard", "markers", board, "--audio", song, "-o", tmp_path / f"m.{ending}")[0] == 0
        assert "Two" in (tmp_path / f"m.{ending}").read_text()
    assert vj("storyboard", "markers", "--audio", song, "-o", tmp_path / "m.doc")[0] == 1


def test_a_score_is_played_by_a_cue_on_stage_and_by_a_film_alike(song, tmp_path, vj):
    board = write(tmp_path / "b.toml", TWO)
    assert vj("storyboard", "score", board, "--audio", song, "-o", tmp_path / "two.jsonl")[0] == 0
    from vjserver.show.take import parse

    take = parse((tmp_path / "two.jsonl").read_bytes().splitlines(keepends=True), "two.jsonl", REGISTRY)
    assert take.score
    desk = Desk(BANK, enter(first_state(Show()), *BANK.find(3), REGISTRY), registry=REGISTRY)
    desk.play(take, 5 * NS)
    seen = []
    for i in range(600):
        desk.tick(5 * NS + i * NS // 50, desk.grid, 0)
        if not seen or seen[-1] != desk.state.preset_name:
            seen.append(desk.state.preset_name)
    assert seen == ["Neon Tunnel", "Mandala"]
    board_film = vj("render", song, "-o", tmp_path / "b.mp4", "--storyboard", board, *SMALL, "--json")[1]
    take_film = vj("render", song, "-o", tmp_path / "t.mp4", "--take", tmp_path / "two.jsonl", *SMALL, "--json")[1]
    assert board_film["frames"] == take_film["frames"]


def test_an_expression_that_is_no_number_somewhere_ends_the_film_before_it_begins(song, tmp_path, vj):
    board = write(tmp_path / "b.toml", "[[scenes]]\n[scenes.camera]\nzoom = '1 / (floor(t) - 3)'\n")
    code, _, heard = vj("render", song, "-o", tmp_path / "f.mp4", "--storyboard", board, *SMALL)
    assert code == 1
    assert "divides by zero" in heard
    assert "3.0" in heard
    assert not list(tmp_path.glob("f.mp4*"))


def test_files_in_other_encodings_and_sizes_are_told(tmp_path):
    (tmp_path / "a.toml").write_bytes("name = 'é'".encode("latin-1"))
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        read_storyboard(tmp_path / "a.toml", REGISTRY)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_storyboard(tmp_path, REGISTRY)


def test_main_tells_what_a_storyboard_wants(tmp_path, capsys):
    (tmp_path / "b.toml").write_text("[[scenes]]\nseeds = 1")
    assert main(["storyboard", "check", str(tmp_path / "b.toml")]) == 1
    assert "b.toml:2" in capsys.readouterr().err


@pytest.mark.parametrize("every", [1, 3])
def test_a_film_that_begins_amid_a_crossfade_is_what_the_whole_is_there(song, tmp_path, vj, every, monkeypatch):
    monkeypatch.setattr("vjserver.films.planning.SEGMENT_S", 1.5)
    text = TWO.replace("titles = ", "# ") + '[scenes.transition]\nkind = "crossfade"\nseconds = 4\n'
    board = write(tmp_path / "b.toml", text.replace('"mandala"', '"outrun"'))
    args = ("--storyboard", board, "--codec", "ffv1", *SMALL, "--every", every, "--between", "hold")
    vj("render", song, "-o", tmp_path / "w.mkv", *args)
    vj("render", song, "-o", tmp_path / "p.mkv", *args, "--from", "6.9", "--to", "10")
    whole, part = pictures(tmp_path / "w.mkv"), pictures(tmp_path / "p.mkv")
    apart = np.abs(np.stack(whole[138:200]).astype(int) - np.stack(part)).mean(axis=(1, 2, 3))
    assert apart[:2].max() < 1.5
    assert apart[2:].max() < 1.0


def test_another_picture_to_start_from_makes_its_segments_again(song, tmp_path, vj, monkeypatch):
    """Which input a scene starts from, and what is in it, is of what its segments are made from."""
    from vjserver.app.film_order import Order, prepared
    from vjserver.films.planning import planned

    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")

    def digests(first, second):
        text = f"[[scenes]]\ngenerator = 'diffusion'\ninput = '{first}'\n[[scenes]]\nat = 'bar 3'\n"
        text += f"generator = 'diffusion'\ninput = '{second}'\n"
        order = Order(song, tmp_path / "f.mp4", storyboard=write(tmp_path / "b.toml", text), size="64x64", fps="10")
        plan = planned(prepared(order, lambda _: None).film, lambda *_: None)
        return [segment.digest for segment in plan.segments]

    one, other = digests("a.png", "b.png"), digests("b.png", "b.png")
    assert one[0] != other[0]
    (tmp_path / "b.png").write_bytes(b"other")
    assert digests("a.png", "b.png") != one


def test_a_long_camera_does_not_begin_the_scene_anew():
    """Beats are counted from the scene's beginning, however many keys another knob has."""
    from fractions import Fraction

    from vjserver.show.mapping import mapped

    keys = [[i / 50, 0.001 * (i % 2)] for i in range(600)]
    board = board_of(f"[[scenes]]\n[scenes.camera]\nzoom = 'beat / 100'\nrotate = {json.dumps(keys)}")
    for t in (1.0, 5.5, 11.0):
        state, performance = state_at(board, t)
        m = performance.moment(0, round(t * NS), Fraction(30), (64, 64))
        request, _, _ = mapped(state, m.features, round(t * NS), m.since_s, m.size, m.mapper, REGISTRY)
        assert request.params["zoom"] == pytest.approx(2 * t / 100, abs=1e-6)
        assert request.params["rotate"] == pytest.approx(np.interp(t, *zip(*keys, strict=True)), abs=1e-5)


def test_a_crossfade_is_no_longer_than_its_scene():
    board = board_of("""
[[scenes]]
[[scenes]]
at = 4
transition = {kind = "crossfade", seconds = 3}
[[scenes]]
at = 5
transition = {kind = "crossfade", seconds = 1}
""")
    assert [(r.t_ns / NS, r.until_ns / NS) for r in board.resets] == [(4.0, 5.0), (5.0, 6.0)]
    assert board.notes == ("scene 2: its crossfade is cut to 1.00 s, as long as the scene lasts",)


@pytest.mark.parametrize("verb", ["score", "sheet"])
def test_what_something_is_made_from_is_not_written_over(song, tmp_path, vj, verb):
    board = write(tmp_path / "b.toml", TWO)
    code, _, heard = vj("storyboard", verb, board, "--audio", song, "-o", board)
    assert code == 1
    assert "give another name behind -o" in heard
    assert board.read_text() == TWO
