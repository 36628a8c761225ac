"""``sources``, ``outputs``, ``frames watch`` and outputs that come and go, beside a running server."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest
from conftest import free_port, running, wait_for

from vjserver.inputs.zmq import ZmqInput, ZmqInputOptions
from vjserver.runtime.ring import RingReader

av = pytest.importorskip("av", reason="PyAV is not installed")
STREAM = f"f{os.getpid()}"
SHOW = """
outputs = [{{kind = "sharedmem", stream = "{stream}"}}, {{kind = "ndi", name = "{stream}", label = "wall"}}]
[source]
kind = "click"
[video]
width = 320
height = 180
[osc]
port = {port}
targets = []
[web]
port = {web}
[record]
folder = '{folder}'
"""


def vj(*args, timeout=60):
    run = subprocess.run(
        [sys.executable, "-m", "vjserver", *map(str, args)], capture_output=True, text=True, timeout=timeout
    )
    return run.stdout + run.stderr


def test_a_show_seen_from_the_terminal_and_its_outputs_by_address(tmp_path):
    port, address = free_port(socket.SOCK_DGRAM), f"tcp://127.0.0.1:{free_port()}"
    show, log = tmp_path / "show.toml", tmp_path / "log"
    show.write_text(SHOW.format(stream=STREAM, port=port, web=free_port(), folder=tmp_path / "films"))

    def say(*args):
        vj("osc", "send", "--port", port, *args)

    with log.open("w") as out, running([sys.executable, "-m", "vjserver", "run", str(show), "--json"],
                                       stdout=out, stderr=subprocess.STDOUT) as run:  # fmt: skip
        wait_for(lambda: "pictures/s" in log.read_text(), 60)
        wait_for(lambda: "wall         sends" in vj("outputs", "--port", port), 20)
        # who sends
        listed = [json.loads(line) for line in vj("sources", "--json").splitlines() if line.startswith("{")]
        ring = next(s for s in listed if s["name"] == f"vjserver-{STREAM}")
        assert ring["size"] == [320, 180]
        assert 50 < ring["fps"] < 70
        assert ring["how"] == f'{{kind = "sharedmem", stream = "{STREAM}"}}'
        assert any(s["kind"] == "ndi" and f"({STREAM})" in s["name"] and s["size"] == [320, 180] for s in listed)
        assert not any("-page" in s["name"] for s in listed), "the page's own ring is not for others"
        # what is sent
        said = vj("outputs", "--port", port)
        assert "sharedmem    sends" in said
        assert "wall         sends" in said
        assert f"ndi name={STREAM}" in said
        assert "record     works" in said
        # what arrives
        watched = vj("frames", "watch", "sharedmem", f"stream={STREAM}", "--seconds", "2.5")
        assert watched.count("320x180") == 2
        assert "torn 0" in watched
        assert "transport" in watched
        # opened, used and closed while the show runs
        say("/vj/output/add", "late", f"zmq address={address} size=160x90 fps=20")
        door = ZmqInput(ZmqInputOptions(address=address))
        door.open()
        got = wait_for(lambda: door.read(0.1), 20)
        assert got.pixels.shape == (90, 160, 4)
        count, until = 0, time.monotonic() + 2
        while time.monotonic() < until:
            count += door.read(0.1) is not None
        assert 10 <= count <= 46, "20 a second, not the 60 that are delivered; a busy machine brings fewer"
        assert "late         sends" in vj("outputs", "--port", port)
        say("/vj/output/remove", "late")
        wait_for(lambda: door.read(0.3) is None, 5)
        door.close()
        assert "late" not in vj("outputs", "--port", port)
        # what must not be
        say("/vj/output/add", "evil", "record folder=/tmp/evil")
        wait_for(lambda: "folder is set in the show file, not over the network" in log.read_text(), 5)
        time.sleep(0.6)
        say("/vj/output/add", "evil", "zmq address=ipc:///tmp/evil")
        wait_for(lambda: "a file is named in the show file, not over the network" in log.read_text(), 5)
        time.sleep(0.6)
        say("/vj/output/add", "typo", "nid name=x")
        wait_for(lambda: "unknown output 'nid'; nearest: ndi" in log.read_text(), 5)
        time.sleep(0.6)
        say("/vj/output/remove", "late")
        wait_for(lambda: "no output 'late'; there are: sharedmem, wall" in log.read_text(), 5)
        # a taken name is told and does not stop the rest
        say("/vj/output/add", "twin", f"sharedmem stream={STREAM}")
        wait_for(lambda: "degraded output twin: shared memory" in log.read_text(), 5)
        say("/vj/output/remove", "twin")
        wait_for(lambda: "recovered output twin" in log.read_text(), 5)
        # a recording with sound
        began_s = time.monotonic()
        say("/vj/record", 1)
        time.sleep(3.5)
        say("/vj/record", 0)
        lasted_s = time.monotonic() - began_s
        film = wait_for(lambda: list((tmp_path / "films").glob("*.mp4")), 5)[0]
        wait_for(lambda: "record" not in vj("outputs", "--port", port).split("kinds")[0], 5)
        run.terminate()
        assert run.wait(5) == 0
    with av.open(str(film)) as file:
        assert 2.0 < file.duration / 1e6 < lasted_s + 1.0, "on a busy machine a command takes a second and more"
        assert file.streams.audio[0].codec_context.sample_rate == 48000
        shown = [f.to_ndarray(format="gray").std() for f in file.decode(video=0)]
    assert len(shown) > 100
    assert max(shown) > 10, "a picture, not black"
    summary = json.loads(log.read_text().splitlines()[-1])
    assert summary["delivery"]["ticks"] > 300
    assert set(summary["pacing"]) == {"p50", "p95", "p99"}
    assert RingReader(f"vjserver-{STREAM}").get() is None


def test_where_nothing_runs_that_is_said(tmp_path):
    assert "no server answers at port" in vj("outputs", "--port", free_port(socket.SOCK_DGRAM))
    assert "nothing yet" in vj("frames", "watch", "sharedmem", "stream=nobody", "--seconds", "1.3")
    assert "frames can be watched by file, ndi" in vj("frames", "watch", "nid", "name=x")
    assert "unknown key 'nam'; nearest: name" in vj("frames", "watch", "ndi", "nam=x")
    assert "option=value expected" in vj("frames", "watch", "ndi", "vjserver")


def test_the_patch_is_written_where_it_is_wanted(tmp_path):
    said = vj("touchdesigner", tmp_path / "vj")
    path = tmp_path / "vj" / "build_patch.py"
    assert path.read_text().startswith('"""Builds a patch inside TouchDesigner')
    assert f"exec(open({path.as_posix()!r}).read())" in said
    (tmp_path / "file").write_text("")
    assert "cannot be written" in vj("touchdesigner", tmp_path / "file")
