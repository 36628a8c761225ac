"""The command line as a user would type it, and what happens when things are wrong."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import soundfile
from conftest import free_port, wait_for

from vjserver import __version__
from vjserver.runtime.store import pids_of
from vjserver.sources.click import ClickOptions, click_track
from vjserver.sources.song import BPM, write_song


def vj(*args, timeout=60, **options):
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "vjserver", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
        **options,
    )


def show_file(tmp_path, **changes):
    """Write a small, quick show; return its path and ports."""
    ports = {"osc": free_port(socket.SOCK_DGRAM), "web": free_port(), "zmq": free_port()} | changes.pop("ports", {})
    outputs = changes.pop("outputs", '[{kind = "null"}]')
    source = changes.pop("source", 'kind = "click"')
    path = tmp_path / "show.toml"
    path.write_text(
        f"outputs = {outputs}\n[source]\n{source}\n[video]\nwidth = 320\nheight = 180\n"
        f"[osc]\nport = {ports['osc']}\ntargets = []\n[web]\nport = {ports['web']}\n"
    )
    return path, ports


def shared_names():
    folder = Path("/dev/shm")
    return {p.name for p in folder.iterdir() if p.name.startswith("vj")} if folder.is_dir() else set()


def test_version_and_help():
    assert vj("--version").stdout.strip() == f"vjserver {__version__}"
    assert "doctor" in vj("--help").stdout
    assert vj("fly").returncode == 2


def test_presets_are_listed_shown_checked_and_drawn(tmp_path):
    assert len(vj("presets", "list").stdout.splitlines()) >= 12
    assert "presets have no faults" in vj("presets", "check").stdout
    assert "/vj/param/" in vj("presets", "show", "outrun").stdout
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "Bad"\n[params]\nzom = 1\n')
    result = vj("presets", "check", bad)
    assert result.returncode == 1
    assert "bad.toml:3: params.zom: unknown address '/vj/param/zom'; nearest: /vj/param/zoom" in result.stdout
    result = vj("presets", "show", "nothing")
    assert result.returncode == 1
    assert "unknown preset 'nothing'" in result.stderr


def test_the_schema_of_presets_is_printed():
    schema = json.loads(vj("presets", "schema").stdout)
    assert {"name", "prompts", "params", "mappings", "macros"} <= set(schema["properties"])


def test_an_unknown_network_is_one_clear_line():
    result = vj("run", "--lan", "nosuch0")
    assert result.returncode == 1
    assert result.stderr.startswith("vjserver: no network interface 'nosuch0'; there are: ")
    assert "(127.0.0.1)" in result.stderr


def test_a_broken_cue_list_is_told_with_its_line(tmp_path):
    path, _ = show_file(tmp_path)
    path.write_text(path.read_text() + '[[cues]]\nid = "a"\n[[cues]]\nid = "b"\ndo = [{do = "/vj/sed", args = [1]}]\n')
    result = vj("run", path)
    assert result.returncode == 1
    assert "show.toml:16: cues.1.do.0.do: unknown address '/vj/sed'; nearest: /vj/seed" in result.stderr


def test_edited_presets_are_taken_up_while_the_show_runs(tmp_path):
    folder = tmp_path / "looks"
    folder.mkdir()
    mine = folder / "mine.toml"
    mine.write_text('name = "Mine"\n[params]\nzoom = 0.2\n')
    path, ports = show_file(tmp_path)
    path.write_text(f'presets = "{folder}"\npreset = "mine"\n' + path.read_text())
    env = {**os.environ, "VJSERVER_DATA": str(tmp_path / "data")}
    with subprocess.Popen([sys.executable, "-m", "vjserver", "run", str(path)], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as process:  # fmt: skip
        wait_for(lambda: ask(ports, "/vj/param/zoom?").stdout.strip() == "/vj/param/zoom 0.2", 30)
        mine.write_text('name = "Mine"\n[params]\nzoom = 0.8\n')
        wait_for(lambda: ask(ports, "/vj/param/zoom?").stdout.strip() == "/vj/param/zoom 0.8", 10)
        mine.write_text('name = "Mine"\n[params]\nzooom = 0.3\n')
        time.sleep(1.0)
        assert ask(ports, "/vj/param/zoom?").stdout.strip() == "/vj/param/zoom 0.8"
        ask(ports, "/vj/preset/save", "A new one")
        wait_for(lambda: (tmp_path / "data" / "presets" / "a-new-one.toml").exists(), 5)
        process.terminate()
        out = process.stdout.read()
    assert re.search(r"degraded presets: mine.toml:3: params.zooom: unknown address '/vj/param/zooom'; nearest", out)


def test_the_ear_speaks_json(tmp_path):
    path = tmp_path / "click.wav"
    soundfile.write(path, click_track(ClickOptions(bpm=130), 15.0), 48000)
    rows = [json.loads(line) for line in vj("ear", path, "--json").stdout.splitlines()]
    beats = [row for row in rows if row.get("beat")]
    assert {row["event"] for row in beats} == {"beat", "downbeat"}
    assert all(row["event"] == ("beat" if row["position"] else "downbeat") for row in beats)
    assert {"beat", "downbeat", "onset", "tempo"} <= {row["event"] for row in rows}
    assert np.median([row["bpm"] for row in beats[-8:]]) == pytest.approx(130, rel=0.02)
    assert all(row["sent_s"] >= row["t_s"] - 1e-6 for row in rows if row["event"] not in ("beat", "downbeat"))
    assert all(abs(row["sent_s"] - row["t_s"]) < 0.006 for row in beats[8:]), "beats are sent on their time"
    sent = [row["sent_s"] for row in rows]
    assert all(b >= a - 0.006 for a, b in pairwise(sent))


@pytest.mark.parametrize("kind", ["png", "svg", "html"])
def test_the_ear_is_drawn(tmp_path, kind):
    sound, picture = tmp_path / "click <1>.wav", tmp_path / f"ear.{kind}"
    soundfile.write(sound, click_track(ClickOptions(), 8.0), 48000)
    result = vj("ear", sound, "--plot", picture)
    assert result.returncode == 0, result.stderr
    if kind == "png":
        pixels = cv2.imread(str(picture))
        assert min(pixels.shape[:2]) > 500
        assert pixels.std() > 5
    else:
        text = picture.read_text(encoding="utf-8")
        assert "<svg" in text
        assert "<1>" not in text


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["a.wav", "--plot", "out.gif"], "--plot writes .png, .svg, .pdf, .html: got 'out.gif'"),
        (["a.wav", "--plot", "nowhere/out.png"], "there is no folder"),
        (["a.wav", "--device", "x"], "a sound FILE or --device NAME, one of them"),
        ([], "a sound FILE or --device NAME, one of them"),
    ],
)
def test_what_the_ear_cannot_draw_is_one_clear_line(args, says):
    result = vj("ear", *args)
    assert result.returncode == 1
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_ear_listens_to_a_device(pulse, tmp_path):
    player = pulse.play(np.repeat(click_track(ClickOptions(bpm=120), 30.0), 2, axis=1))
    picture = tmp_path / "now.png"
    result = vj("ear", "--device", "default", "--seconds", "9", "--json", "--plot", picture, env=pulse.env)
    player.kill()
    player.wait()
    assert result.returncode == 0, result.stderr
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    told = [r for r in rows if r["event"] in ("beat", "downbeat")]
    assert told[-1]["bpm"] == pytest.approx(120, rel=0.02)
    assert 0 < rows[0]["t_s"] < rows[-1]["sent_s"] < 9.5
    assert picture.stat().st_size > 10_000


def test_the_ear_hears_the_demos_song(tmp_path):
    path = tmp_path / "song.flac"
    write_song(path)
    rows = [json.loads(line) for line in vj("ear", path, "--json").stdout.splitlines()]
    beats = [row["sent_s"] for row in rows if row["event"] in ("beat", "downbeat")]
    truth = np.arange(round(beats[0] * BPM / 60) + 4, int(90 * BPM / 60)) * 60 / BPM
    hits = sum(np.abs(np.array(beats) - t).min() < 0.035 for t in truth)
    assert hits / len(truth) > 0.9


@pytest.mark.parametrize("content", [None, b"", b"garbage" * 100])
def test_a_bad_sound_file_is_one_clear_line(tmp_path, content):
    path = tmp_path / "bad.mp3"
    if content is not None:
        path.write_bytes(content)
    result = vj("ear", path)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]  # the mp3 decoder has a word of its own before
    assert last.startswith("vjserver: ")
    assert "bad.mp3" in last
    assert "Traceback" not in result.stderr


def test_a_bad_show_is_one_clear_line(tmp_path):
    path = tmp_path / "show.toml"
    path.write_text("[video]\nwidht = 3\n")
    result = vj("run", path)
    assert result.returncode == 1
    assert result.stderr.strip() == (
        f"vjserver: {path}:2: video.widht: unknown key; nearest: width, height; "
        "allowed: width, height, fps, output_fps, standby, lookahead_ms"
    )
    assert "unknown preset" in vj("run", "--source", "click", "--preset", "zzz").stderr
    assert "WIDTHxHEIGHT" in vj("run", "--source", "click", "--size", "big").stderr


def test_the_doctor_tells_what_is_missing_and_how_to_get_it():
    result = vj("doctor", "--json")
    checks = {row["name"]: row for row in json.loads(result.stdout)}
    assert {"python", "beat detection", "audio input", "NDI", "shared memory", "port 9010"} <= set(checks)
    assert all(row["works"] or row["remedy"] for row in checks.values())
    assert result.returncode == (1 if any(r["needed"] and not r["works"] for r in checks.values()) else 0)
    assert "speech" in {row["name"] for row in json.loads(result.stdout)}
    assert "ok" in vj("doctor").stdout


def test_no_audio_device_is_announced_and_the_picture_goes_on(tmp_path):
    path, _ = show_file(tmp_path, source='kind = "device"\nname = "no such device"')
    result = vj("run", path, "--seconds", 12, "--json", env={**os.environ, "PULSE_SERVER": "unix:/nowhere"})
    assert result.returncode == 0
    assert "degraded sound: no audio input" in result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["frames"] > 30, result.stderr
    assert "sound" in summary["troubles"]


def test_ports_in_use_and_outputs_that_fail_are_announced_and_the_rest_runs(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.create_server(("127.0.0.1", 0)) as tcp, \
            socket.create_server(("127.0.0.1", 0)) as web:  # fmt: skip
        udp.bind(("127.0.0.1", 0))
        ports = {"osc": udp.getsockname()[1], "web": web.getsockname()[1]}
        address = f"tcp://127.0.0.1:{tcp.getsockname()[1]}"
        outputs = f'[{{kind = "null"}}, {{kind = "zmq", address = "{address}"}}]'
        path, _ = show_file(tmp_path, ports=ports, outputs=outputs)
        result = vj("run", path, "--seconds", 12, "--json")
    assert result.returncode == 0, result.stderr
    assert f"port {ports['osc']} on 127.0.0.1 cannot be used" in result.stderr
    assert f"port {ports['web']} on 127.0.0.1 cannot be used: Address already in use" in result.stderr
    assert result.stderr.count(f"(held by {psutil.Process().name()}, process {os.getpid()})") == 2
    assert f"ZeroMQ cannot bind {address}" in result.stderr
    assert "Traceback" not in result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["frames"] > 30, result.stderr
    assert summary["outputs"]["null"] > 60


@pytest.fixture
def running(tmp_path):
    """A server that runs: its process and ports."""
    path, ports = show_file(tmp_path, outputs=f'[{{kind = "null"}}, {{kind = "sharedmem", stream = "t{os.getpid()}"}}]')
    process = subprocess.Popen(
        [sys.executable, "-m", "vjserver", "run", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: vj("osc", "send", "/vj/ping", "--port", ports["osc"]).returncode == 0, 30)
    yield process, ports
    process.terminate()
    process.stdout.close()
    process.wait()


def ask(ports, *args):
    return vj("osc", "send", *args, "--port", ports["osc"])


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_within_two_seconds(running, sign):
    process, _ = running
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 4
    before = shared_names()
    assert any(str(process.pid) in name for name in before)
    began = time.monotonic()
    process.send_signal(sign)
    assert process.wait(3) == 0
    assert time.monotonic() - began < 2.0
    assert not [
        c
        for c in children
        if c.is_running() and c.status() != psutil.STATUS_ZOMBIE and "vjserver" in " ".join(c.cmdline())
    ]
    left = shared_names()
    assert not [name for name in left if str(process.pid) in name or name == f"vjserver-t{os.getpid()}"]


def test_a_killed_parent_takes_its_children_along(running):
    process, _ = running
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    wait_for(lambda: not [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE], 6)
    assert not [name for name in shared_names() if str(process.pid) in name]


@pytest.mark.parametrize("worker", ["ear", "generate", "deliver", "control"])
def test_a_killed_worker_is_restarted_and_announced(running, worker):
    process, ports = running
    assert ask(ports, "/vj/seed", "77").returncode == 0
    wait_for(lambda: "77" in ask(ports, "/vj/seed", "?").stdout, 5)
    victim = wait_for(lambda: pids_of(process.pid).get(worker), 10)
    os.kill(victim, signal.SIGKILL)
    log = ""
    deadline = time.monotonic() + 15
    while f"recovered process {worker}" not in log and time.monotonic() < deadline:
        log += process.stdout.readline()
    assert f"degraded process {worker}: ended with code -9" in log
    assert re.search(f"recovered process {worker}: (restarted after fall 1|its understudy has taken over)", log)
    wait_for(lambda: pids_of(process.pid).get(worker) not in (None, victim), 10)
    wait_for(lambda: ask(ports, "/vj/ping").returncode == 0, 10)
    assert ask(ports, "/vj/seed?").stdout.strip() == "/vj/seed 77", "what the performer set must survive"


def test_osc_changes_the_show_and_queries_read_it(running):
    _, ports = running
    assert ask(ports, "/vj/ping", "5").stdout.strip() == "/vj/pong 5"
    for address, value, read in (
        ("/vj/prompt/3/text", "golden mandala", "'golden mandala'"), ("/vj/prompt/3/weight", "0.5", "0.5"),
        ("/vj/param/zoom", "0.75", "0.75"), ("/vj/master/fade", "0.25", "0.25"), ("/vj/master/blackout", "1", "1"),
        ("/vj/seed", "123", "123"),
    ):  # fmt: skip
        ask(ports, address, value)
        assert ask(ports, f"{address}?").stdout.strip() == f"{address} {read}"
    ask(ports, "/vj/param/zoom/inc", "-0.5")
    assert ask(ports, "/vj/param/zoom", "?").stdout.strip() == "/vj/param/zoom 0.25"
    ask(ports, "/vj/preset/go", "outrun")
    assert "retro" in ask(ports, "/vj/prompt/1/text?").stdout
    assert ask(ports, "/vj/master/fade?").stdout.strip() == "/vj/master/fade 0.25"
    ask(ports, "/vj/prompt/[5-7]/weight", "0.125")
    answers = ask(ports, "/vj/prompt/*/weight", "?").stdout.splitlines()
    assert len(answers) == 8
    assert "/vj/prompt/6/weight 0.125" in answers
    result = ask(ports, "/vj/param/zom", "1")
    assert result.returncode == 1
    assert "nearest: /vj/param/zoom" in result.stderr


def test_garbage_over_the_network_is_counted_and_told_never_fatal(running):
    process, ports = running
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for packet in (
            b"",
            b"garbage",
            b"#bundle\0" + b"\0" * 8 + b"\xff\xff\xff\xfc",
            b"/vj/x\0\0\0,f\0\0\x7f\xc0\0\0",
        ):
            sock.sendto(packet, ("127.0.0.1", ports["osc"]))
    assert ask(ports, "/vj/ping").returncode == 0
    line = ""
    deadline = time.monotonic() + 5
    while "degraded message" not in line and time.monotonic() < deadline:
        line = process.stdout.readline()
    assert re.search("degraded message: (an OSC|arguments|OSC)", line)


def test_a_foreign_osc_program_plays_us(running):
    import shutil

    if shutil.which("oscsend") is None:
        pytest.skip("oscsend is not installed (make test installs liblo-tools on Debian and Ubuntu)")
    _, ports = running
    for args in (
        ("/vj/prompt/2/text", "s", "ocean waves"),
        ("/vj/prompt/2/weight", "f", "0.5"),
        ("/vj/master/freeze", "T"),
    ):
        subprocess.run(["oscsend", "127.0.0.1", str(ports["osc"]), *args], check=True)
    wait_for(lambda: "ocean waves" in ask(ports, "/vj/prompt/2/text?").stdout, 5)
    assert ask(ports, "/vj/master/freeze?").stdout.strip() == "/vj/master/freeze 1"


def test_a_foreign_osc_program_is_told_what_changes(running):
    import shutil

    if shutil.which("oscdump") is None:
        pytest.skip("oscdump is not installed (make test installs liblo-tools on Debian and Ubuntu)")
    _, ports = running
    port = free_port(socket.SOCK_DGRAM)
    with subprocess.Popen(["stdbuf", "-oL", "oscdump", str(port)], stdout=subprocess.PIPE, text=True) as dump:
        time.sleep(0.3)
        ask(ports, "/vj/subscribe", str(port))
        time.sleep(0.5)
        ask(ports, "/vj/param/zoom", "0.75")
        ask(ports, "/vj/prompt/2/text", "ocean waves")
        time.sleep(0.5)
        dump.terminate()
        told = dump.stdout.read()
    assert re.search(r"/vj/param/zoom f 0\.750000", told)
    assert re.search(r'/vj/prompt/2/text s "ocean waves"', told)
    assert len(set(re.findall(r"/vj/(?!status)\S+", told))) > 75, "everything is told at first"


def test_monitor_prints_what_arrives():
    port = free_port(socket.SOCK_DGRAM)
    with subprocess.Popen(
        [sys.executable, "-m", "vjserver", "osc", "monitor", "--port", str(port), "--seconds", "4"],
        stdout=subprocess.PIPE, text=True,
    ) as monitor:  # fmt: skip
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _ in range(30):
                sock.sendto(b"/vj/kick\0\0\0\0,f\0\0\x3f\0\0\0", ("127.0.0.1", port))
                sock.sendto(b"rubbish", ("127.0.0.1", port))
                time.sleep(0.1)
        out = monitor.communicate()[0]
    assert "/vj/kick 0.5" in out
    assert "not OSC" in out
