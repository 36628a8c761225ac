"""Films as they are made: `vjserver render` with the real generators, in this process and in others."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from fractions import Fraction
from functools import partial
from hashlib import sha256
from types import SimpleNamespace

import av
import cv2
import numpy as np
import psutil
import pytest
from conftest import wait_for

from vjserver.app.film_order import played_by
from vjserver.app.preset_bank import load_bank
from vjserver.app.show import Show, first_state
from vjserver.films import segment, sheet
from vjserver.films.render import OMP_WAIT, waiting_quietly
from vjserver.runtime.installed import installed
from vjserver.show.looks import enter
from vjserver.show.state import look_of
from vjserver.show.take import Played, Take, head, line
from vjserver.sources.song import demo_song
from vjserver.stages.offline.performance import time_of
from vjserver.types.errors import GeneratorError, OutputError

BANK, REGISTRY = load_bank(), installed()
SMALL = ("--size", "96x64", "--fps", "20")


def pictures(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgba") for frame in container.decode(video=0)]


def digest_of(frames):
    told = sha256()
    for frame in frames:
        told.update(sha256(np.ascontiguousarray(frame).data).digest())
    return told.hexdigest()


def test_the_digest_is_that_of_the_pictures_digests_in_order(song, tmp_path, vj):
    code, said, _ = vj("render", song, "-o", tmp_path / "f.mkv", "--codec", "ffv1", *SMALL, "--to", "7", "--json")
    assert code == 0
    frames = pictures(tmp_path / "f.mkv")  # lossless: what was digested
    assert len(frames) == said["frames"] == 140
    assert said["fps"] == "20/1"
    assert said["seconds"] == 7.0
    assert 13 <= said["beats"] <= 15
    assert said["made"] == said["segments"] == 1
    assert said["sha256"] == digest_of(frames)


@pytest.mark.parametrize(("fps", "rate"), [("29.97", "30000/1001"), ("23.976", "24000/1001"), ("59.94", "60000/1001")])
def test_a_rate_of_television_is_exact_and_the_last_frame_reaches_over_the_end(song, tmp_path, vj, fps, rate):
    out = tmp_path / "f.mp4"
    code, said, _ = vj("render", song, "-o", out, "--size", "32x32", "--fps", fps, "--to", "2", "--json", "--draft")
    assert code == 0
    assert said["fps"] == rate
    assert said["frames"] == -(-2 * Fraction(rate) // 1)
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        times = [frame.pts * stream.time_base for frame in container.decode(stream)]
    assert times == [i / Fraction(rate) for i in range(said["frames"])]


def test_the_same_command_makes_nothing_again_and_a_change_makes_what_it_changes(song, tmp_path, vj):
    out = tmp_path / "f.mp4"
    first = vj("render", song, "-o", out, *SMALL, "--json")[1]
    assert first["segments"] == first["made"] >= 2
    again = vj("render", song, "-o", out, *SMALL, "--json")[1]
    assert again["made"] == 0
    assert again["sha256"] == first["sha256"]
    other = vj("render", song, "-o", out, *SMALL, "--json", "--preset", "mandala")[1]
    assert other["made"] == other["segments"]
    assert other["sha256"] != first["sha256"]
    left = {path.name.split(".")[0] for path in (tmp_path / "f.mp4.parts").iterdir()}
    assert len(left) == other["segments"], "what was of another film is gone"


def test_a_damaged_or_missing_segment_alone_is_made_again(song, tmp_path, vj):
    out = tmp_path / "f.mp4"
    first = vj("render", song, "-o", out, *SMALL, "--json")[1]
    film = sorted((tmp_path / "f.mp4.parts").glob("*.mp4"))[0]
    film.unlink()
    again = vj("render", song, "-o", out, *SMALL, "--json")[1]
    assert again["made"] == 1
    assert again["sha256"] == first["sha256"]
    digests = sorted((tmp_path / "f.mp4.parts").glob("*.sha256"))[-1]
    digests.write_bytes(digests.read_bytes()[:-32])
    assert vj("render", song, "-o", out, *SMALL, "--json")[1]["sha256"] == first["sha256"]


@pytest.mark.parametrize("spoil", ["digests", "swapped", "flipped", "cut"])
def test_what_somebody_did_to_a_segment_is_seen_and_made_again(song, tmp_path, vj, spoil):
    out = tmp_path / "f.mp4"
    first = vj("render", song, "-o", out, *SMALL, "--json")[1]
    before = pictures(out)
    films, digests = (sorted((tmp_path / "f.mp4.parts").glob(f"*.{kind}")) for kind in ("mp4", "sha256"))
    if spoil == "digests":
        digests[0].write_bytes(os.urandom(digests[0].stat().st_size))
    elif spoil == "swapped":
        a, b = films[0].read_bytes(), films[1].read_bytes()
        films[0].write_bytes(b)
        films[1].write_bytes(a)
    else:
        data = bytearray(films[0].read_bytes())
        middle = len(data) // 2
        data[middle : middle + 40] = bytes(40)
        films[0].write_bytes(data if spoil == "flipped" else data[:middle])
    again = vj("render", song, "-o", out, *SMALL, "--json")[1]
    assert again["made"] == (2 if spoil == "swapped" else 1)
    assert again["sha256"] == first["sha256"]
    assert all(np.array_equal(a, b) for a, b in zip(before, pictures(out), strict=True))


def test_two_renders_of_one_film_do_not_disturb_each_other(song, tmp_path, vj):
    out = tmp_path / "f.mp4"
    command = [sys.executable, "-m", "vjserver", "render", song, "-o", out, "--size", "640x360", "--fps", "30"]
    with subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: (tmp_path / "f.mp4.parts" / "rendered-by").exists(), 60)
        code, _, heard = vj("render", song, "-o", out, "--size", "640x360", "--fps", "30")
        assert code == 1
        assert f"another render (process {process.pid}) makes this film" in heard
        assert process.poll() is None
        process.terminate()
        assert process.wait(60) == 143
    assert not list((tmp_path / "f.mp4.parts").glob("*.part*")), "a film that is ended leaves nothing half-written"
    (tmp_path / "f.mp4.parts" / "rendered-by").write_text("999999999")
    assert vj("render", song, "-o", out, *SMALL, "--to", "1", "--json")[1]["frames"] == 20


def test_stretches_that_are_led_in_are_what_one_pass_is(song, tmp_path, vj, monkeypatch):
    args = ("--codec", "ffv1", *SMALL, "--preset", "outrun", "--json")
    monkeypatch.setattr("vjserver.films.planning.SEGMENT_S", 1.5)
    monkeypatch.setattr("vjserver.films.planning._lead_in_s", lambda film, chain: 1.5)
    vj("render", song, "-o", tmp_path / "one.mkv", *args)
    monkeypatch.setattr("vjserver.films.planning.STRETCH_S", 3.0)
    said = vj("render", song, "-o", tmp_path / "many.mkv", *args)
    assert "3 of them can be begun at once" in said[2]
    one, many = (np.stack(pictures(tmp_path / name)).astype(int) for name in ("one.mkv", "many.mkv"))
    assert np.abs(one - many).max() <= 1


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_makes_the_same_film(song, tmp_path, vj, monkeypatch, workers):
    monkeypatch.setattr("vjserver.films.planning.STRETCH_S", 3.0)
    monkeypatch.setattr("vjserver.films.planning.SEGMENT_S", 1.5)
    one = vj("render", song, "-o", tmp_path / "one.mp4", *SMALL, "--json")[1]
    many = vj("render", song, "-o", tmp_path / "many.mp4", *SMALL, "--json", "--workers", workers)[1]
    assert many["made"] == one["made"] > 3
    assert many["sha256"] == one["sha256"]
    frames = [pictures(tmp_path / name) for name in ("one.mp4", "many.mp4")]
    assert all(np.array_equal(a, b) for a, b in zip(*frames, strict=True))


def test_a_worker_that_dies_is_replaced_and_the_film_is_the_same(song, tmp_path, vj, monkeypatch):
    monkeypatch.setattr("vjserver.films.planning.STRETCH_S", 3.0)
    monkeypatch.setattr("vjserver.films.planning.SEGMENT_S", 1.5)
    one = vj("render", song, "-o", tmp_path / "one.mp4", *SMALL, "--json")[1]
    before = set(children())
    killed = []

    def kill():
        pids = wait_for(lambda: set(children()) - before, 60)
        wait_for(lambda: list((tmp_path / "two.mp4.parts").glob("*.part*")), 60)
        os.kill(victim := min(pids), signal.SIGKILL)
        killed.append(victim)

    thread = threading.Thread(target=kill)
    thread.start()
    code, two, said = vj("render", song, "-o", tmp_path / "two.mp4", *SMALL, "--json", "--workers", 2)
    thread.join()
    assert killed
    assert code == 0
    assert two["sha256"] == one["sha256"]
    assert "its frames are made again" in said


def children():
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            found += [child.pid] if "spawn_main" in " ".join(child.cmdline()) else []
    return found


def test_a_film_that_was_killed_goes_on_and_loses_at_most_one_segment(song, tmp_path, vj):
    whole = vj("render", song, "-o", tmp_path / "whole.mp4", "--size", "160x96", "--fps", "24", "--json")[1]
    command = [sys.executable, "-m", "vjserver", "render", song, "-o", tmp_path / "cut.mp4"]
    command += ["--size", "160x96", "--fps", "24", "--json"]
    parts = tmp_path / "cut.mp4.parts"
    drawn = random.Random(1)
    for made in range(2):
        process = subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL)
        wait_for(partial(is_further, parts, made, process), 120)
        time.sleep(drawn.uniform(0.0, 0.2))
        process.kill()
        process.wait()
        assert not (tmp_path / "cut.mp4").exists(), "nothing half-written looks whole"
    kept = len(list(parts.glob("*.sha256")))
    last = json.loads(subprocess.run(list(map(str, command)), capture_output=True, text=True).stdout.splitlines()[-1])
    assert last["sha256"] == whole["sha256"]
    assert last["made"] >= last["segments"] - kept
    assert last["made"] <= last["segments"] - kept + 1


def is_further(parts, made, process):
    return len(list(parts.glob("*.mp4"))) > made or process.poll() is not None


def test_what_is_resumed_by_a_checkpoint_is_what_goes_on(song, tmp_path, vj, monkeypatch):
    """Trails hang on all pictures before: with states and without, a film that was broken off is the same."""
    monkeypatch.setattr("vjserver.films.planning.SEGMENT_S", 1.5)
    args = (*SMALL, "--preset", "neon-tunnel", "--json")
    whole = vj("render", song, "-o", tmp_path / "w.mp4", *args)[1]

    class EnoughError(GeneratorError):
        pass

    for kept in (True, False):
        out = tmp_path / f"cut{kept}.mp4"
        drawn = [0]
        original = segment.Sides.draw

        def draw(self, moment, performance, drawn=drawn, original=original):
            drawn[0] += 1
            if drawn[0] == 118:
                raise EnoughError("enough")
            return original(self, moment, performance)

        with monkeypatch.context() as patch:
            patch.setattr(segment.Sides, "draw", draw)
            assert vj("render", song, "-o", out, *args)[0] == 1
        states = list((tmp_path / f"{out.name}.parts").glob("*.state"))
        assert len(states) == 1
        if not kept:
            states[0].unlink()
        said = vj("render", song, "-o", out, *args)[1]
        assert said["sha256"] == whole["sha256"]
        assert said["made"] == said["segments"] - 2, "what was drawn whole is kept, though it was still being written"


@pytest.mark.parametrize("between", ["hold", "crossfade", "flow"])
def test_every_third_frame_is_drawn_and_those_between_are_made_of_it(song, tmp_path, vj, between):
    out = tmp_path / "f.mkv"
    args = ("render", song, "-o", out, "--codec", "ffv1", *SMALL, "--to", "3", "--json")
    whole = vj(*args)[1]
    full = pictures(out)
    said = vj(*args, "--every", 3, "--between", between)[1]
    frames = pictures(out)
    assert said["frames"] == whole["frames"]
    same = [i for i in range(len(frames)) if np.array_equal(frames[i], frames[i - i % 3])]
    if between == "hold":
        assert same == list(range(len(frames)))
    else:
        middle = np.abs(frames[31].astype(int) - (2 * frames[30].astype(int) + frames[33]) / 3).mean()
        assert middle < (1.5 if between == "crossfade" else 30.0)
        assert not np.array_equal(frames[31], frames[30])
    assert len(full) == len(frames)


def test_a_draft_is_small_and_has_the_same_cuts(song, tmp_path, vj):
    args = ("--size", "1280x720", "--fps", "30", "--to", "2", "--json")
    whole = vj("render", song, "-o", tmp_path / "f.mp4", *args)[1]
    draft = vj("render", song, "-o", tmp_path / "d.mp4", *args, "--draft")[1]
    assert draft["frames"] == whole["frames"]
    frames = pictures(tmp_path / "d.mp4")
    assert frames[0].shape == (216, 384, 4)
    assert np.abs(frames[3].astype(int) - frames[4]).mean() < 1.0
    assert np.abs(frames[6].astype(int) - frames[5]).mean() > 1.0
    report = json.loads((tmp_path / "d.mp4.json").read_text())
    assert report["every"] == 3


def test_report_and_contact_sheet_lie_beside_the_film(song, tmp_path, vj):
    vj("render", song, "-o", tmp_path / "f.mp4", *SMALL, "--preset", "mandala", "--seed", "5")
    report = json.loads((tmp_path / "f.mp4.json").read_text())
    assert report["scenes"][0]["preset"] == "Mandala"
    assert report["scenes"][0]["seed"] == 5
    assert len(report["presets"]["Mandala"]) == 64
    assert report["codec"]["colour"].startswith("BT.709")
    assert report["song"]["sha256"] == sha256(song.read_bytes()).hexdigest()
    assert report["versions"]["av"]
    assert len(report["ear"]["beats"]) == report["beats"]
    sheet = cv2.imread(str(tmp_path / "f.mp4.sheet.png"))
    assert sheet.shape[1] > 1000
    assert sheet.std() > 15


def test_a_part_of_the_song_is_that_part_of_the_film(song, tmp_path, vj, monkeypatch):
    monkeypatch.setattr("vjserver.films.planning._lead_in_s", lambda film, chain: 1.5)
    args = ("--codec", "ffv1", *SMALL, "--preset", "outrun", "--json")
    vj("render", song, "-o", tmp_path / "w.mkv", *args, "--to", "8")
    said = vj("render", song, "-o", tmp_path / "p.mkv", *args, "--from", "6", "--to", "8")[1]
    whole, part = pictures(tmp_path / "w.mkv"), pictures(tmp_path / "p.mkv")
    assert said["frames"] == len(part) == 40
    apart = np.abs(np.stack(whole[120:]).astype(int) - np.stack(part)).max()
    assert apart <= 1, "moved to 4.5 s without drawing, and led in from there"


def test_pictures_in_a_folder_replace_ours_and_no_others(song, tmp_path, vj):
    out = tmp_path / "frames"
    args = ("render", song, "-o", out, "--size", "32x32", "--fps", "10", "--json")
    assert vj(*args, "--to", "2")[0] == 0
    assert len(list(out.glob("*.png"))) == 20
    assert vj(*args, "--to", "1")[0] == 0
    assert sorted(p.name for p in out.iterdir()) == [*[f"{i:06d}.png" for i in range(10)], "sound.wav"]
    (out / "20240612.png").write_bytes(b"")
    code, _, heard = vj(*args, "--to", "1")
    assert code == 1
    assert "holds other files (20240612.png)" in heard
    assert (out / "20240612.png").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--size", "95x64"), "the nearest is 96x64"),
        (("--size", "big"), "--size must be WIDTHxHEIGHT"),
        (("--fps", "0"), "--fps must be in 1..240"),
        (("--codec", "h265"), "unknown codec 'h265'"),
        (("--codec", "prores"), "prores goes into .mov files"),
        (("--preset", "nosuch"), "unknown preset 'nosuch'"),
        (("--from", "9", "--to", "3"), "the end must come after the beginning"),
        (("--from", "bar 900"), "the song has no bar 900"),
        (("--stem", "piano=x.wav"), "a role is drums, bass, vocals, other"),
        (("--stem", "drums=nosuch.wav"), "no such sound file"),
        (("--workers", "0"), "--workers must be in 1..256"),
        (("--beats", "nosuch.csv"), "cannot be read"),
        (("--ray", "127.0.0.1:1"), "Ray"),
        (("--storyboard", "nosuch.toml"), "cannot be read"),
        (("--take", "nosuch.jsonl"), "cannot be read"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(song, tmp_path, vj, args, said):
    code, _, heard = vj("render", song, "-o", tmp_path / "f.mp4", "--to", "1", *args)
    assert code == 1
    assert said in heard
    assert "Traceback" not in heard
    assert not (tmp_path / "f.mp4").exists()
    assert not (tmp_path / "f.mp4.json").exists()


def test_a_song_that_is_none_is_told(tmp_path, vj):
    (tmp_path / "a.mp3").write_text("no music")
    for name, said in (("a.mp3", "not a sound file"), ("b.wav", "no such sound file")):
        code, _, heard = vj("render", tmp_path / name, "-o", tmp_path / "f.mp4")
        assert code == 1
        assert said in heard


@pytest.mark.parametrize(("seconds", "rate", "noise"), [(1.0, 8000, 0.0), (0.4, 44100, 0.0), (3.0, 22050, 0.3)])
def test_silence_noise_and_a_moment_become_films_too(tmp_path, vj, seconds, rate, noise):
    import soundfile

    sound = np.random.default_rng(1).normal(0.0, noise + 1e-9, round(seconds * rate))
    soundfile.write(tmp_path / "s.wav", np.clip(sound, -1, 1), rate)
    code, said, heard = vj("render", tmp_path / "s.wav", "-o", tmp_path / "f.mp4", *SMALL, "--json")
    assert code == 0
    assert said["frames"] == -(-Fraction(seconds).limit_denominator(1000) * 20 // 1)
    assert said["beats"] == 0
    assert "no beat was heard" in heard


def test_a_full_disk_ends_it_and_the_same_command_goes_on(song, tmp_path, vj, monkeypatch):
    out = tmp_path / "f.mp4"
    whole = vj("render", song, "-o", tmp_path / "w.mp4", *SMALL, "--json")[1]
    real = segment.writer
    opened = []

    def writer(*args):
        opened.append(args)
        if len(opened) == 2:
            raise OutputError(f"{out.parent} cannot be written: No space left on device")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(segment, "writer", writer)
        code, _, heard = vj("render", song, "-o", out, *SMALL)
        assert code == 1
        assert "No space left on device" in heard
        assert not out.exists()
        assert not list((tmp_path / "f.mp4.parts").glob("*.part*"))
    again = vj("render", song, "-o", out, *SMALL, "--json")[1]
    assert again["made"] == whole["segments"] - 1
    assert again["sha256"] == whole["sha256"]


def test_too_little_room_is_told_before_anything_is_drawn(song, tmp_path, vj, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    code, _, heard = vj("render", song, "-o", tmp_path / "f.mp4", *SMALL)
    assert code == 1
    assert "there is no room for the film" in heard


def test_beats_by_hand_overrule_the_ear(song, tmp_path, vj):
    labels = "".join(f"{t:.3f}\t{t:.3f}\t{1 + i % 3}\n" for i, t in enumerate(np.arange(0.25, 6.0, 0.75)))
    (tmp_path / "beats.txt").write_text(labels)
    said = vj(
        "render", song, "-o", tmp_path / "f.mp4", *SMALL, "--to", "6", "--beats", tmp_path / "beats.txt", "--json"
    )[1]
    assert said["beats"] == 8
    report = json.loads((tmp_path / "f.mp4.json").read_text())
    assert report["ear"]["beats"] == pytest.approx([0.25 + 0.75 * i for i in range(8)])


def test_a_stem_moves_what_names_it(song, tmp_path, vj):
    import soundfile

    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "stem.toml").write_text(
        'name = "Stem"\n[params]\nfeedback = 0.0\n[[mappings]]\nfrom = "drums/level"\nto = "/vj/param/flash"\n'
    )
    (tmp_path / "show.toml").write_text('presets = "presets"\nvideo = {width = 96, height = 64}\n')
    soundfile.write(tmp_path / "loud.wav", np.sin(np.arange(48000 * 3) * 0.1), 48000)
    soundfile.write(tmp_path / "still.wav", np.zeros(48000 * 3), 48000)
    light = {}
    for name in ("loud", "still"):
        args = ("--show", tmp_path / "show.toml", "--preset", "stem", "--to", "2", "--codec", "ffv1")
        assert (
            vj("render", song, "-o", tmp_path / f"{name}.mkv", *args, "--stem", f"drums={tmp_path / name}.wav")[0] == 0
        )
        light[name] = np.mean(pictures(tmp_path / f"{name}.mkv")[30][..., :3])
    assert light["loud"] > light["still"] + 40


def test_a_sound_that_holds_no_numbers_is_silent_there(tmp_path, vj):
    import soundfile

    sound = np.sin(np.arange(44100) * 0.05).astype(np.float32)
    sound[1000:1100], sound[2000] = np.nan, 1e30
    soundfile.write(tmp_path / "s.wav", sound, 44100, subtype="FLOAT")
    code, said, heard = vj("render", tmp_path / "s.wav", "-o", tmp_path / "f.mp4", *SMALL, "--json")
    assert code == 0, heard
    assert said["frames"] == 20


def test_scenes_near_each_other_are_no_gap_between_chapters(song, tmp_path, vj):
    (tmp_path / "b.toml").write_text("[[scenes]]\n[[scenes]]\nat = 1\n[[scenes]]\nat = 1.009\n")
    code, _, heard = vj(
        "render", song, "-o", tmp_path / "f.mp4", "--storyboard", tmp_path / "b.toml", *SMALL, "--to", "3"
    )
    assert code == 0, heard
    with av.open(str(tmp_path / "f.mp4")) as container:
        assert len(container.chapters()) == 2


@pytest.mark.parametrize("rate", [Fraction(24), Fraction(30000, 1001), Fraction(60000, 1001), Fraction(60)])
def test_at_the_end_of_an_hour_a_frame_is_where_it_belongs(rate):
    for number in (round(3600 * rate), round(3600 * rate) - 1, round(10800 * rate)):
        assert abs(Fraction(time_of(number, rate), 10**9) - number / rate) < Fraction(1, 10**9)


def recorded(path, seconds=6.0):
    """A take: three presets, a hand on a knob, and its sound."""
    import soundfile

    state = enter(first_state(Show()), *BANK.find("neon-tunnel"), REGISTRY)
    rows = [
        Played(1_000_000_000, "/vj/param/zoom", (0.8,)),
        Played(2_000_000_000, "/vj/preset/go", ("mandala",)),
        Played(3_000_000_000, "/vj/morph/seconds", (1.0,)),
        Played(3_000_000_001, "/vj/preset/go", ("lava",)),
        Played(4_500_000_000, "/vj/master/freeze", (1,)),
        Played(5_000_000_000, "/vj/master/fade", (0.5,)),
        Played(5_500_000_000, "/vj/master/blackout", (1,)),
    ]
    path.write_bytes(head(state, 3) + b"".join(line(row, 0) for row in rows))
    soundfile.write(path.with_suffix(".flac"), demo_song()[20 * 48000 :][: round(seconds * 48000)], 48000)
    return path


def test_a_night_is_rendered_again_with_its_own_sound(tmp_path, vj):
    take = recorded(tmp_path / "night.jsonl")
    out = tmp_path / "f.mkv"
    code, said, heard = vj("render", "--take", take, "-o", out, "--codec", "ffv1", *SMALL, "--json")
    assert code == 0, heard
    assert said["frames"] == 120
    report = json.loads((tmp_path / "f.mkv.json").read_text())
    played = [(row["frame"], row["preset"]) for row in report["scenes"]]
    assert (40, "Mandala") in played
    assert "Lava" in {name for _, name in played}
    assert report["ear"]["mode"] == "live"
    frames = np.stack(pictures(out)).astype(int)[..., :3]
    steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    assert int(np.argmax(steps[30:60])) + 31 == 40, "the preset changes on its frame"
    assert np.abs(frames[92] - frames[98]).max() == 0, "frozen"
    assert 0.4 < frames[104].mean() / frames[98].mean() < 0.6, "faded to a half"
    assert frames[110:].max() == 0, "and black"
    args = ("--codec", "ffv1", "--size", "192x128", "--fps", "40", "--json")
    assert vj("render", "--take", take, "-o", tmp_path / "g.mkv", *args)[1]["frames"] == 240
    (tmp_path / "night.flac").unlink()
    code, _, heard = vj("render", "--take", take, "-o", out, *SMALL)
    assert code == 1
    assert "has no sound beside it" in heard


def test_a_night_may_be_drawn_by_another_generator():
    bank, registry = load_bank(), installed()
    state = enter(first_state(Show()), *bank.find("neon-tunnel"), registry)
    rows = (Played(5, "/vj/generator", ("pattern",)), Played(6, "/vj/seed", (9,)),
            Played(7, "/vj/snapshot/recall", (1,), look_of(state)))  # fmt: skip
    _, other = bank.find("coral-cathedral")
    take, presets = played_by(Take(state, rows), bank, other)
    assert take.state.generator == "diffusion"
    assert [row.address for row in take.rows] == ["/vj/seed", "/vj/snapshot/recall"]
    assert take.rows[1].look.model == other.model
    assert {preset.generator for _, preset in presets.presets} == {"diffusion"}
    assert take.state.params == state.params


def test_what_a_take_asked_for_and_cannot_be_is_said(tmp_path, vj):
    take = recorded(tmp_path / "night.jsonl")
    with take.open("ab") as file:
        file.write(line(Played(5_600_000_000, "/vj/preset/go", ("long gone",)), 0))
    code, _, heard = vj("render", "--take", take, "-o", tmp_path / "f.mp4", *SMALL)
    assert code == 0, heard
    assert "not played: unknown preset 'long gone'" in heard


def test_a_name_that_is_no_text_is_drawn_with_a_mark(tmp_path):
    sheet.draw(tmp_path / "s.png", "odd \udcff name $x$", [sheet.Cell(None, "head \udcff", "text")])
    assert cv2.imread(str(tmp_path / "s.png")) is not None


@pytest.mark.parametrize("own", [None, "ACTIVE"])
def test_threads_of_workers_sleep_while_they_wait(monkeypatch, own):
    """What somebody set stays; nothing stays behind in this process."""
    monkeypatch.delenv(OMP_WAIT, raising=False)
    if own:
        monkeypatch.setenv(OMP_WAIT, own)
    with waiting_quietly():
        code = f"import os; print(os.environ.get({OMP_WAIT!r}))"
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == (own or "PASSIVE")
    assert os.environ.get(OMP_WAIT) == own
