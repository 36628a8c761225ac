"""The whole job of speech, with the real weights: somebody speaks, and the wall shows it on the next bar."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import soundfile
from conftest import free_port, need_speech, running, wait_for

from vjserver.app.preset_bank import load_bank
from vjserver.app.show import first_state, load_show
from vjserver.controls.osc import decode
from vjserver.runtime.installed import installed
from vjserver.runtime.osc import message
from vjserver.show.looks import enter
from vjserver.types.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "examples/speech/show.toml"


@pytest.fixture
def stage(pulse, tmp_path):
    """A show that listens, its OSC, and somebody to speak into the microphone."""
    need_speech()
    one = Stage(pulse, tmp_path)
    line = [sys.executable, "-m", "vjserver", "run", str(one.show)]
    with one.ear, running(line, env={**pulse.env, "VJSERVER_DATA": str(tmp_path / "data")}):
        wait_for(lambda: one.status().get("speech", {}).get("ready"), 180)
        wait_for(lambda: one.status()["bpm"] > 0, 90)
        yield one


class Stage:
    def __init__(self, pulse, tmp_path):
        self.pulse, self.home = pulse, tmp_path
        self.hand_port, self.web = free_port(socket.SOCK_DGRAM), free_port()
        self.ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.ear.bind(("127.0.0.1", 0))
        self.ear.settimeout(0.1)
        self.heard = []
        self.show = tmp_path / "show.toml"
        self.show.write_text(
            f'preset = "Lava"\noutputs = []\n[source]\nkind = "click"\nbpm = 120\n[video]\nwidth = 320\nheight = 180\n'
            f'[speech]\non = true\nlanguage = "en"\n[osc]\nport = {self.hand_port}\n'
            f'targets = [{{port = {self.ear.getsockname()[1]}, kind = "text"}}]\n[web]\nport = {self.web}\n'
            f'[midi]\non = false\n[record]\nfolder = "{tmp_path}"\n'
        )

    def status(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web}/status.json", timeout=2) as answer:
                return json.loads(answer.read())
        except OSError:
            return {}

    def picture(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web}/frame.jpg", timeout=2) as answer:
            return cv2.imdecode(np.frombuffer(answer.read(), np.uint8), cv2.IMREAD_COLOR).reshape(-1, 3).mean(axis=0)

    def send(self, address, *args):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hand:
            hand.sendto(message(address, *args), ("127.0.0.1", self.hand_port))

    def speak(self, text):
        path = self.home / "said.wav"
        subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(path)], check=True)
        sound, rate = soundfile.read(path, dtype="float32")
        self.pulse.play(np.pad(sound, (3200, 16000))[:, None], rate).wait()

    def until(self, found, seconds=120.0):
        """Take in what OSC brings until ``found`` returns something."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            result = found()
            if result:
                return result
            try:
                self.heard += decode(self.ear.recv(65536))
            except TimeoutError:
                continue
        raise AssertionError(f"it did not come: {[(m.address, m.args) for m in self.heard][-12:]}")

    def events(self, kind):
        return [m.args for m in self.heard if m.address == "/vj/speech/event" and m.args[1] == kind]


def test_the_example_is_a_show_and_what_it_plays_is_sound():
    show = load_show(EXAMPLE)
    assert show.speech.on
    bank = load_bank(show.presets, installed())
    place, preset = bank.find(show.preset)
    assert (preset.name, preset.generator) == ("Spoken", "pattern")
    models = load_bank(EXAMPLE.parent / "models", installed())
    styles = {one.name: one.spoken for _, one in models.presets}
    assert styles["Spoken diffusion"].startswith("{phrase}, etching")
    state = enter(first_state(show), place, preset, installed())
    assert (state.speech.on, state.speech.hold_s, state.spoken) == (True, 45.0, "{phrase}")


def test_a_show_says_what_it_does_not_take(tmp_path):
    for line, why in (
        ('language = "english"', "auto, or a code such as en"),
        ('recogniser = "parrot"', "unknown recogniser 'parrot'"),
        ('recogniser = {kind = "whisper", beam = 3}', "unknown key 'beam'"),
        ('policy = "shout"', "replace"),
        ("hold_s = -1", "hold_s"),
    ):
        path = tmp_path / "show.toml"
        path.write_text(f"[speech]\n{line}\n")
        with pytest.raises(ConfigError, match=why):
            load_show(path)


def test_somebody_speaks_and_the_wall_shows_it_with_the_bar(stage):
    before = stage.picture()
    stage.send("/vj/take/record", 1)
    stage.speak("A blue ocean under a full moon")
    final = stage.until(lambda: stage.events("final"))[0]
    assert final[2].lower().rstrip(".") == final[3] == "a blue ocean under a full moon"
    assert final[4] == "en"
    prompt = stage.until(lambda: [m.args[0] for m in stage.heard if m.address == "/vj/prompt/1/text"])
    assert prompt == ["a blue ocean under a full moon"]
    stage.until(lambda: stage.picture()[0] - before[0] > 25)  # BGR: much more blue than lava has
    # what a stage command does, with its second word
    stage.speak("computer, blackout")
    stage.until(lambda: len(stage.events("final")) > 1)
    assert stage.picture().max() > 20
    stage.speak("computer, confirm")
    stage.until(lambda: stage.picture().max() < 5)
    stage.send("/vj/take/record", 0)
    srt = wait_for(lambda: next(iter((stage.home / "data").rglob("*.srt")), None), 10)
    assert "A blue ocean under a full moon." in srt.read_text()
    assert "omputer" not in srt.read_text()


def test_who_listens_falls_alone_and_comes_back(stage):
    """And is small, and goes when nobody wants it."""
    pid = listener(stage)
    stage.speak("a red house")
    assert psutil.Process(pid).memory_info().rss < 400 * 2**20
    os.kill(pid, signal.SIGKILL)
    stage.until(
        lambda: [m for m in stage.heard if m.address == "/vj/status/error" and m.args[0] == "process listen"], 10
    )
    wait_for(lambda: listener(stage) not in (0, pid), 90)
    wait_for(lambda: stage.status()["speech"]["ready"], 180)
    assert stage.status()["bpm"] > 0
    stage.speak("a small boat on the water")
    stage.until(lambda: [e for e in stage.events("final") if "boat" in e[2]])
    stage.send("/vj/speech/on", 0)
    wait_for(lambda: not listener(stage), 10)
    assert stage.status()["speech"]["microphone"] == "closed"
    assert "process listen" not in stage.status()["troubles"]


def listener(stage):
    """Return the process that listens, 0 where there is none."""
    for process in psutil.process_iter(["environ"]):
        try:
            own = (process.environ() or {}).get("VJSERVER_DATA") == str(stage.home / "data")
            if own and any("ctranslate2" in part.path for part in process.memory_maps()):
                return process.pid
        except (psutil.Error, OSError):
            continue
    return 0
