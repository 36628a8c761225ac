"""Before the show: two servers, small memory, few files, what others left. Each is told in one sentence that helps."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from conftest import free_port, wait_for

from vjserver.app import preflight
from vjserver.app.preflight import check_alone, check_room, needed_bytes, remarks, server_of
from vjserver.app.show import filled, load_show, shifted
from vjserver.ports import find
from vjserver.runtime import shared
from vjserver.runtime.store import sweep
from vjserver.types.errors import ConfigError

Usage = namedtuple("Usage", "total used free")
LINUX = pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="this system does not list shared memory")


def write(tmp_path, **changes):
    osc, stream = free_port(socket.SOCK_DGRAM), f"p{free_port()}"
    path = tmp_path / f"{osc}.toml"
    path.write_text(
        f'name = "{stream}"\noutputs = [{{kind = "sharedmem", stream = "{changes.get("stream", stream)}"}}]\n'
        f'[source]\nkind = "click"\n[video]\nwidth = 320\nheight = 180\nstandby = false\n'
        f"[osc]\nport = {osc}\ntargets = []\n[web]\nport = {free_port()}\n[midi]\non = false\n"
    )
    return path, osc, stream


@contextmanager
def runs(path, *args):
    """Run a server until it answers OSC."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vjserver", "run", str(path), *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def answers(port):
    line = [sys.executable, "-m", "vjserver", "osc", "send", "/vj/ping", "--port", str(port)]
    return subprocess.run(line, capture_output=True).returncode == 0


def test_a_second_server_names_the_first_and_what_it_holds_and_runs_beside_it_with_a_port_base(tmp_path):
    path, osc, stream = write(tmp_path)
    with runs(path) as first:
        wait_for(lambda: answers(osc), 30)
        wait_for(lambda: shared_ring(stream), 30)
        second = subprocess.run([sys.executable, "-m", "vjserver", "run", str(path)], capture_output=True, text=True)
        assert second.returncode == 1
        for said in (f"process {first.pid}", f"port {osc} (OSC)", "(the panel)", f"shared memory '{stream}'"):
            assert said in second.stderr
        assert "Traceback" not in second.stderr
        advice = re.search(r"--port-base (\d+)", second.stderr)
        assert advice
        base = int(advice[1])
        with runs(path, "--port-base", str(base)):
            wait_for(lambda: answers(base), 30)
            assert answers(osc), "the first plays on"
        same, other, _ = write(tmp_path, stream=stream)
        with pytest.raises(ConfigError, match=f"shared memory '{stream}'") as told:
            check_alone(load_show(same))
        assert f"port {other}" not in str(told.value), "only what is held is named"
    check_alone(load_show(path))


def test_of_two_servers_that_start_at_once_one_runs(tmp_path):
    path, osc, _ = write(tmp_path)
    line = [sys.executable, "-m", "vjserver", "run", str(path), "--seconds", "6"]
    both = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1], said
    assert sum(f"port {osc} (OSC)" in text and "--port-base" in text for text in said) == 1
    assert not any("Traceback" in text for text in said)


def shared_ring(stream):
    try:
        shared.attach(f"vjserver-{stream}").close()
    except (FileNotFoundError, ValueError):
        return False
    return True


def test_what_a_foreign_program_holds_refuses_nothing(tmp_path):
    path, osc, _ = write(tmp_path)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", osc))
        check_alone(load_show(path))
    assert server_of(os.getpid()) == 0


def test_a_moved_show_shares_no_port_and_no_name_with_the_first(tmp_path):
    path = tmp_path / "show.toml"
    path.write_text(
        'outputs = [{kind = "sharedmem"}, {kind = "sharedmem", stream = "the-wall-of-the-club"}, {kind = "ndi"}, '
        '{kind = "ndi", name = "Wall"}, {kind = "zmq"}, {kind = "zmq", address = "tcp://127.0.0.1:7000"}, '
        '{kind = "touchshm", name = "wall"}]\n'
    )
    first = load_show(path)
    second = shifted(first, first.osc.port + 100)
    assert first.name != second.name
    rows = list(zip(*([filled(show, door) for door in show.outputs] for show in (first, second)), strict=True))
    for before, after in rows:
        assert before != after
        find("outputs", after["kind"]).Options.model_validate({k: v for k, v in after.items() if k != "kind"})
    assert len({str(after) for _, after in rows}) == len(rows)
    assert {t.port for t in first.osc.targets}.isdisjoint(t.port for t in second.osc.targets)
    assert first.web.port != second.web.port


@pytest.mark.parametrize("base", [80, 70000])
def test_a_port_base_that_makes_no_sense_is_told(tmp_path, base):
    with pytest.raises(ConfigError, match="--port-base must be in"):
        shifted(load_show(write(tmp_path)[0]), base)


def test_no_port_of_a_show_is_moved_out_of_what_there_is(tmp_path):
    """The web port of a show lies above its OSC port: both have to fit."""
    path = tmp_path / "show.toml"
    path.write_text('outputs = [{kind = "zmq", address = "tcp://127.0.0.1:60000"}]\n[osc]\nport = 9010\n')
    show = load_show(path)
    with pytest.raises(ConfigError, match=r"must be in \d+\.\.14545 for this show"):
        shifted(show, 14546)
    assert shifted(show, 14545).outputs[0]["address"] == "tcp://127.0.0.1:65535"


@LINUX
def test_too_little_shared_memory_is_told_with_what_would_do(tmp_path, monkeypatch):
    show = load_show(write(tmp_path)[0])
    needed = needed_bytes(show, 320, 180)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, needed))
    check_room(show)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, needed - 1))
    with pytest.raises(ConfigError, match=r"320x180 needs \d+ MiB of shared memory .* has \d+ free; make it larger"):
        check_room(show)
    large = show.model_copy(update={"video": show.video.model_copy(update={"width": 3840, "height": 2160})})
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, needed_bytes(show, 1280, 720)))
    with pytest.raises(ConfigError, match="or --size 1280x720"):
        check_room(large)


def test_what_a_show_takes_is_no_less_than_what_it_is_said_to(tmp_path):
    path, osc, _ = write(tmp_path)
    folder = Path("/dev/shm")
    if not folder.is_dir():
        pytest.skip("this system does not list shared memory")
    before = shutil.disk_usage(folder).used
    with runs(path):
        wait_for(lambda: answers(osc), 30)
        taken = shutil.disk_usage(folder).used - before
    assert taken < needed_bytes(load_show(path), 320, 180) * 1.2 + 2**20


def test_few_files_and_a_folder_that_cannot_be_written_are_remarks(tmp_path, monkeypatch):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path / "data"))
    assert remarks() == []
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(preflight, "LEAST_FILES", 10**9)
    assert [what for what, _ in remarks()] == ["your folder", "open files"]


@LINUX
def test_what_killed_servers_left_is_swept_and_what_runs_stays():
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [shared.create(f"vjs-{dead.pid}-{name}", 64) for name in ("state", "control")]
    left += [shared.create(f"vjserver-vjs-{dead.pid}-frames", 64)]
    ours = shared.create(f"vjs-{os.getpid()}-state", 64)
    foreign = shared.create(f"vjs-mine-{dead.pid}", 64)
    try:
        assert not psutil.pid_exists(dead.pid)
        sweep()
        for segment, stays in [*((s, False) for s in left), (ours, True), (foreign, True)]:
            assert Path("/dev/shm", segment.name.lstrip("/")).exists() == stays
    finally:
        for segment in (*left, ours, foreign):
            shared.remove(segment)
