"""A stranger's generator, found by a path, with nothing installed: everything knows its knobs; without it the show

plays on.
"""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import free_port, running, wait_for
from websockets.sync.client import connect

from vjserver.controls.osc import decode
from vjserver.runtime.osc import message

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugin"
PRESET = """
name = "Smiling"
generator = "faces"
model = "ada"
[params]
zoom = 0.6
[params.faces]
smile = 0.9
[raw.faces]
mood = 2
[[mappings]]
from = "energy"
to = "/vj/param/faces/smile"
range = [0.0, 0.3]
[[triggers]]
on = "drop"
do = "/vj/param/faces/mood/raw"
args = [1]
"""


def vj(*args, here=True, cwd=None):
    env = {**os.environ, "PYTHONPATH": str(EXAMPLE) if here else ""}
    return subprocess.run(
        [sys.executable, "-m", "vjserver", *map(str, args)],
        capture_output=True,
        text=True,
        env=env,
        cwd=cwd,
        timeout=120,
    )


class House:
    """A running server, asked over OSC and HTTP."""

    def __init__(self, osc, web, log):
        self.osc, self.web, self.log = osc, web, log
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.settimeout(0.5)

    def close(self):
        self._sock.close()

    def send(self, address, *args):
        self._sock.sendto(message(address, *args), ("127.0.0.1", self.osc))

    def asked(self, address):
        """Return the value of an address, or what is wrong with it."""
        self.send(f"{address}?")
        self.send("/vj/ping", "end")
        found = None
        while True:
            try:
                for one in decode(self._sock.recv(65536)):
                    if one.address == "/vj/pong":
                        return one.args[1] if len(one.args) > 1 else found
                    if one.address == address:
                        found = one.args[0]
            except TimeoutError:
                return found

    def tree(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web}{path}", timeout=5) as answer:
            return json.loads(answer.read())

    def status(self):
        return self.tree("/status.json")


@contextmanager
def server(tmp_path, here=True, preset="smiling"):
    folder = tmp_path / "mine"
    folder.mkdir(exist_ok=True)
    (folder / "smiling.toml").write_text(PRESET)
    osc, web, show = free_port(socket.SOCK_DGRAM), free_port(), tmp_path / "show.toml"
    show.write_text(
        f'preset = "{preset}"\npresets = "mine"\noutputs = [{{kind = "null"}}]\n[source]\nkind = "click"\n'
        f"[video]\nwidth = 320\nheight = 180\nstandby = false\n[osc]\nport = {osc}\ntargets = []\n[web]\nport = {web}\n"
        f'[[cues]]\nid = "wild"\ndo = [{{do = "/vj/param/faces/mood", args = [1.0]}}]\n'
    )
    log = tmp_path / "log"
    env = {**os.environ, "PYTHONPATH": str(EXAMPLE) if here else "", "VJSERVER_DATA": str(tmp_path / "data")}
    command = [sys.executable, "-m", "vjserver", "run", str(show)]
    with log.open("w") as out, running(command, stdout=out, stderr=subprocess.STDOUT, env=env) as process:
        house = House(osc, web, log)
        wait_for(lambda: house.asked("/vj/param/zoom") is not None, 60)
        yield house
        house.close()
        process.terminate()
        assert process.wait(10) == 0, log.read_text()


def test_a_strangers_knobs_are_on_every_surface_and_its_model_reaches_it(tmp_path):
    with server(tmp_path) as house:
        maker = wait_for(lambda: (m := house.status()["generator"]).startswith("faces") and m, 60)
        assert maker == "faces (ada)"
        assert wait_for(lambda: house.status()["figures"].get("smile"), 30) >= 0.8
        assert house.asked("/vj/param/faces/smile") == pytest.approx(0.9)
        assert house.asked("/vj/param/faces/mood/raw") == 2
        house.send("/vj/param/faces/smile/raw", -0.5)
        wait_for(lambda: house.asked("/vj/param/faces/smile") == pytest.approx(0.25))
        house.send("/vj/param/faces/smile/reset")
        wait_for(lambda: house.asked("/vj/param/faces/smile") == pytest.approx(0.9))
        house.send("/vj/param/faces/*", 0.5)
        wait_for(lambda: house.asked("/vj/param/faces/mood") == 0.5)
        node = house.tree("/vj/param/faces/mood/raw")
        assert (node["TYPE"], node["RANGE"]) == ("i", [{"MIN": 0, "MAX": 2}])
        with connect(f"ws://127.0.0.1:{house.web}/ws", max_size=None) as ws:
            hello = next(data["hello"] for _ in range(50) if "hello" in (data := json.loads(ws.recv(5))))
        rows = {row["address"]: row for row in hello["addresses"]}
        assert rows["/vj/param/faces/mood"]["labels"] == ["calm", "nervous", "wild"]
        assert rows["/vj/param/faces/smile"]["group"] == "face"
        assert "zoom" not in hello["generators"]["faces"], "the panel dims what it does not heed"
        house.send("/vj/midi/learn", "/vj/param/faces/smile")
        assert house.asked("/vj/param/faces/smile") == 0.5, "and no fault was told of learning it"
        house.send("/vj/preset/go", "mandala")
        wait_for(lambda: house.status()["generator"] == "pattern", 30)
        assert house.asked("/vj/param/faces/smile") == 0.5, "a preset of another generator leaves its knobs alone"
        house.send("/vj/cue/wild/go")
        wait_for(lambda: house.asked("/vj/param/faces/mood") == 1.0)
        house.send("/vj/preset/save", "kept")
        wait_for(lambda: "saved as kept.toml" in house.log.read_text())
    assert "Traceback" not in house.log.read_text()


def test_without_it_the_show_plays_on_and_says_what_lies_idle(tmp_path):
    with server(tmp_path, here=False) as house:
        wait_for(lambda: house.status()["generator"] == "pattern", 60)
        wait_for(lambda: "unknown generator 'faces'" in house.log.read_text(), 30)
        wait_for(lambda: "messages lie idle" in house.log.read_text(), 30)
        said = house.log.read_text()
        assert "faces is not installed: 2 knobs are kept as they are" in said
        assert "faces is not installed: 2 of its mappings, triggers or macros lie idle" in said
        assert "cues: faces is not installed: 1 messages lie idle" in said
        house.send("/vj/param/faces/smile", 0.5)
        assert "generator 'faces' is not installed" in str(house.asked("/vj/param/faces/smile"))
        house.send("/vj/cue/wild/go")
        house.send("/vj/param/zoom", 0.3)
        wait_for(lambda: house.asked("/vj/param/zoom") == pytest.approx(0.3))
        house.send("/vj/preset/save", "kept")
        wait_for(lambda: "saved as kept.toml" in house.log.read_text())
        house.send("/vj/preset/go", "mandala")
        wait_for(lambda: "all that it names is here" in house.log.read_text(), 20)
        wait_for(lambda: house.status()["fps"]["generated"] > 0, 20)
    kept = next((tmp_path / "data").rglob("kept.toml")).read_text()
    assert "[params.faces]\nsmile = 0.9" in kept
    assert "[raw.faces]\nmood = 2" in kept
    assert "Traceback" not in house.log.read_text()


def test_the_command_line_knows_it_too(tmp_path):
    reference = vj("osc", "reference").stdout
    assert "| `/vj/param/faces/smile` | float 0..1 | 0.65 |" in reference
    assert "faces" not in vj("osc", "reference", "--shipped").stdout
    path = tmp_path / "smiling.toml"
    path.write_text(PRESET)
    assert vj("presets", "check", path).stdout == f"{path}: no faults (Smiling)\n"
    lost = vj("presets", "check", path, here=False)
    assert lost.returncode == 0
    assert "faces is not installed: 2 knobs are kept as they are" in lost.stdout
    path.write_text(PRESET.replace("smile = 0.9", "smle = 0.9"))
    wrong = vj("presets", "check", path)
    assert wrong.returncode == 1
    assert (
        f"{path}:8: params.faces.smle: unknown address '/vj/param/faces/smle'; nearest: /vj/param/faces/smile"
        in wrong.stdout
    )
    assert vj("touchdesigner", tmp_path).returncode == 0
    patch = (tmp_path / "build_patch.py").read_text()
    assert "/vj/param/faces/smile" in patch.replace("'\n    '", "")
    assert "Facessmile" in patch.replace("'\n    '", "")
    doctor = vj("doctor").stdout
    assert "faces" in doctor


def test_a_picture_of_it_is_drawn_from_the_shell(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "smiling.toml").write_text(PRESET)
    done = vj("presets", "show", "smiling", "--folder", tmp_path / "p", "--png", tmp_path / "out.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.png").stat().st_size > 5000
