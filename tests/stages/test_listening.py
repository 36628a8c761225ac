"""The ear's live loop against a real audio device, and against one that fails."""

import socket
import uuid

import numpy as np
import pytest
from conftest import free_port, running, wait_for

from vjserver.controls.osc import decode
from vjserver.outputs.osc import OscTarget, OscTargetOptions
from vjserver.runtime.clock import NS, ManualClock
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.slot import SlotReader, SlotWriter
from vjserver.runtime.soundring import SoundWriter
from vjserver.runtime.stats import StatsReader, StatsWriter
from vjserver.runtime.store import Channels, unpack_features
from vjserver.sources.click import ClickOptions, ClickSource
from vjserver.stages.analysis import EarOptions
from vjserver.stages.listening import Ear
from vjserver.types.errors import DeviceError
from vjserver.types.events import Beat, Command, Degraded


@pytest.fixture
def channels():
    made = Channels(f"vjt-{uuid.uuid4().hex[:6]}")
    made.create()
    yield made
    made.remove()


class Flaky(ClickSource):
    """A click that can be pulled out."""

    def __init__(self, clock):
        super().__init__(ClickOptions(bpm=120), clock)
        self.plugged, self.opened = True, 0

    def open(self):
        self.opened += 1
        if not self.plugged:
            raise DeviceError("no such device")
        super().open()

    def read(self, until_ns):
        if not self.plugged:
            raise DeviceError("the device has gone")
        return super().read(until_ns)


def ear_of(source, clock, channels, listeners=()):
    return Ear(
        source, EarOptions(), clock, listeners, SlotWriter(channels.features), QueueWriter(channels.events("ear")),
        StatsWriter(channels.stats("ear")), [QueueReader(channels.events("control"))],
        SoundWriter(channels.sound),
    )  # fmt: skip


def run_until(ear, clock, seconds):
    while clock.now_ns() < seconds * NS:
        ear.step()


def test_a_click_becomes_features_events_and_stats(channels):
    clock = ManualClock()
    events, features = QueueReader(channels.events("ear")), SlotReader(channels.features)
    ear = ear_of(Flaky(clock), clock, channels)
    beats = []
    for second in range(1, 15):
        run_until(ear, clock, second)
        beats += [e for e in events.get() if isinstance(e, Beat)]
    newest = unpack_features(features.get())
    assert newest.grid.bpm == pytest.approx(120, rel=0.02)
    assert abs(newest.t_ns - clock.now_ns()) < NS // 50
    assert len(beats) > 20
    assert all(b.heard_ns - b.t_ns < 7_000_000 for b in beats[8:]), "once locked, beats must not wait"
    stats = StatsReader(channels.stats("ear")).get()
    assert stats["beats"] == pytest.approx(len(beats), abs=1)
    assert events.lost == 0


def test_a_pulled_device_is_announced_tried_again_and_the_beat_goes_on(channels):
    clock = ManualClock()
    source = Flaky(clock)
    events = QueueReader(channels.events("ear"))
    ear = ear_of(source, clock, channels)
    run_until(ear, clock, 10)
    events.get()
    source.plugged = False
    run_until(ear, clock, 14)
    told = events.get()
    troubles = [e for e in told if isinstance(e, Degraded)]
    assert [t.why for t in troubles][:3] == [
        "the device has gone; trying again in 0.5 s",
        "no such device; trying again in 1 s",
        "no such device; trying again in 2 s",
    ]
    assert len([e for e in told if isinstance(e, Beat)]) == pytest.approx(8, abs=1)
    source.plugged = True
    run_until(ear, clock, 20)
    assert [e.mended for e in events.get() if isinstance(e, Degraded)][-1]


def test_hands_work_without_any_sound(channels):
    clock = ManualClock()
    source = Flaky(clock)
    source.plugged = False
    commands = QueueWriter(channels.events("control"))
    events = QueueReader(channels.events("ear"))
    ear = ear_of(source, clock, channels)
    run_until(ear, clock, 1)
    commands.put(Command(clock.now_ns(), "/vj/tempo/bpm", (120.0,)))
    run_until(ear, clock, 5)
    assert len([e for e in events.get() if isinstance(e, Beat)]) == pytest.approx(8, abs=1)


def test_features_of_a_lost_source_are_silent_and_fresh(channels):
    clock = ManualClock()
    source = Flaky(clock)
    ear = ear_of(source, clock, channels)
    run_until(ear, clock, 4)
    source.plugged = False
    run_until(ear, clock, 5)
    newest = unpack_features(SlotReader(channels.features).get())
    assert newest.value("silence", 0) == 1.0
    assert clock.now_ns() - newest.t_ns < NS // 50


def test_lost_blocks_are_announced(channels):
    clock = ManualClock()
    source = Flaky(clock)
    events = QueueReader(channels.events("ear"))
    ear = ear_of(source, clock, channels)
    run_until(ear, clock, 1)
    source.drops += 7
    run_until(ear, clock, 2)
    told = [(e.why, e.mended) for e in events.get() if isinstance(e, Degraded)]
    assert told == [("7 lost: the ear was held up", False), ("none lost any more", True)]


def test_lookahead_sends_beats_before_they_fall(channels):
    clock = ManualClock()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.05)
        target = OscTarget(OscTargetOptions(port=sock.getsockname()[1], kind="numbers", rate_hz=1, lookahead_ms=80))
        ear = ear_of(Flaky(clock), clock, channels, [target])
        early = []
        while clock.now_ns() < 12 * NS:
            ear.step()
            sock.setblocking(False)
            try:
                while True:
                    early += [
                        -clock.now_ns() / NS % 0.5
                        for m in decode(sock.recv(65536))
                        if m.address == "/vj/beat" and clock.now_ns() > 8 * NS
                    ]
            except BlockingIOError:
                pass
        target.close()
    assert len(early) >= 6
    assert np.median(early) == pytest.approx(0.080, abs=0.015)


PLAYER_BPM = 125


def arrives(sock):
    try:
        return sock.recv(65536)
    except TimeoutError:
        return None


def test_a_real_device_hears_a_click_track(pulse, tmp_path):
    """Sound into a real audio server, through PortAudio, to OSC datagrams."""
    import json
    import subprocess
    import sys

    from vjserver.sources.click import click_track

    port = free_port(socket.SOCK_DGRAM)
    show = tmp_path / "show.toml"
    show.write_text(
        f'outputs = [{{kind = "null"}}]\n[source]\nkind = "device"\nname = "default"\n'
        f"[video]\nwidth = 320\nheight = 180\n"
        f"[osc]\nport = {free_port(socket.SOCK_DGRAM)}\ntargets = [{{port = {port}}}]\n[web]\non = false\n"
    )
    beats, names = [], set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        sock.settimeout(0.2)
        command = [sys.executable, "-m", "vjserver", "run", str(show), "--json", "--seconds", "16"]
        with running(command, env=pulse.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            wait_for(lambda: arrives(sock), 20)
            player = pulse.play(np.repeat(click_track(ClickOptions(bpm=PLAYER_BPM), 15.0), 2, axis=1))
            while run.poll() is None:
                try:
                    for m in decode(sock.recv(65536)):
                        names.add(m.address)
                        if m.address == "/vj/bpm":
                            beats.append(m.args[0])
                except TimeoutError:
                    pass
            out, err = run.communicate()
            player.kill()
            player.wait()
    assert run.returncode == 0, err
    assert beats[-1] == pytest.approx(PLAYER_BPM, rel=0.02)
    assert {"/vj/beat", "/vj/onset", "/vj/kick", "/vj/event", "/vj/bands", "/vj/spectrum"} <= names
    summary = json.loads(out.splitlines()[-1])
    assert summary["beats"] > 12
    assert summary["bpm"] == pytest.approx(PLAYER_BPM, rel=0.02)
    assert summary["frames"] > 100, err


def test_a_real_device_that_vanishes_is_taken_up_again(pulse, tmp_path):
    """The audio server is killed in the middle of the show and comes back."""
    import subprocess
    import sys

    show = tmp_path / "show.toml"
    show.write_text(
        f'outputs = [{{kind = "null"}}]\n[source]\nkind = "device"\nname = "default"\n'
        f"[video]\nwidth = 320\nheight = 180\n"
        f"[osc]\nport = {free_port(socket.SOCK_DGRAM)}\ntargets = []\n[web]\non = false\n[midi]\non = false\n"
    )
    log = tmp_path / "log"
    command = [sys.executable, "-m", "vjserver", "run", str(show)]
    with (
        log.open("w") as out,
        running(command, env=pulse.env, stdout=out, stderr=subprocess.STDOUT) as run,
    ):
        wait_for(lambda: "pictures/s" in log.read_text(), 30)
        assert "degraded" not in log.read_text()
        pulse.stop()
        wait_for(lambda: "degraded sound: audio input 'default' has gone" in log.read_text(), 10)
        pulse.start()
        wait_for(lambda: "mended sound: the source is back" in log.read_text(), 15)
        run.terminate()
        assert run.wait(3) == 0
