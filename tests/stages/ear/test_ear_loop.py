"""The ear's live loop against a real audio device, and against one that fails."""

import re
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import free_port, running, wait_for

from vjserver.controls.osc import decode
from vjserver.dsp.options import EarOptions
from vjserver.outputs.osc import OscTarget, OscTargetOptions
from vjserver.runtime.clock import NS, ManualClock
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.slot import SlotReader
from vjserver.runtime.status import EarStatus, StatusReader
from vjserver.runtime.store import Channels, left_behind, unpack_features
from vjserver.show.addresses import GENRES
from vjserver.show.state import Sound
from vjserver.sources.click import ClickOptions, ClickSource
from vjserver.stages.ear.analysis import Analysis
from vjserver.stages.ear.ear_loop import Ear, EarMemory, EarPipes, handle
from vjserver.types.errors import ConfigError, DeviceError
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


def ear_of(source, clock, channels, listeners=(), before=None, opener=None, wanted=Sound):
    make = source if callable(source) else lambda _sound: source
    return Ear(
        make, wanted, EarOptions(), clock, listeners, EarPipes.of(channels), before, opener
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
    stats = StatusReader(channels.status("ear"), EarStatus).get()
    assert stats.beats == pytest.approx(len(beats), abs=1)
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
    faults = [e for e in told if isinstance(e, Degraded)]
    assert [t.why for t in faults][:3] == [
        "the device has gone; trying again in 0.5 s",
        "no such device; trying again in 1 s",
        "no such device; trying again in 2 s",
    ]
    assert len([e for e in told if isinstance(e, Beat)]) == pytest.approx(8, abs=1)
    source.plugged = True
    run_until(ear, clock, 20)
    assert [e.recovered for e in events.get() if isinstance(e, Degraded)][-1]


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
    told = [(e.why, e.recovered) for e in events.get() if isinstance(e, Degraded)]
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


def says(log, pattern, seconds=40.0):
    """Wait until a log says something; fail with all that it says."""
    deadline = time.monotonic() + seconds
    while not re.search(pattern, log.read_text()):
        if time.monotonic() > deadline:
            pytest.fail(f"{pattern!r} not said within {seconds} s:\n{log.read_text()}")
        time.sleep(0.02)


def test_a_real_device_that_vanishes_is_taken_up_again(pulse, tmp_path):
    """The audio server is killed in the middle of the show and comes back.

    Whether that is noticed by the silence, or by a library that hangs and takes the ear with it, is the system's way.
    """
    import subprocess
    import sys

    show, told = tmp_path / "show.toml", free_port(socket.SOCK_DGRAM)
    show.write_text(
        f'outputs = [{{kind = "null"}}]\n[source]\nkind = "device"\nname = "default"\n'
        f"[video]\nwidth = 320\nheight = 180\n"
        f"[osc]\nport = {free_port(socket.SOCK_DGRAM)}\ntargets = [{{port = {told}}}]\n"
        f"[web]\non = false\n[midi]\non = false\n"
    )
    log = tmp_path / "log"
    command = [sys.executable, "-m", "vjserver", "run", str(show)]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        log.open("w") as out,
        running(command, env=pulse.env, stdout=out, stderr=subprocess.STDOUT) as run,
    ):
        sock.bind(("127.0.0.1", told))
        sock.settimeout(0.2)
        wait_for(lambda: arrives(sock), 40)  # the ear tells nothing before it hears
        assert "degraded" not in log.read_text()
        pulse.stop()
        gone = "audio input 'default' (has gone|cannot be opened)|no audio input|the source does not open"
        says(log, f"degraded sound: ({gone})")
        pulse.start()
        says(log, "recovered sound: the source is back")
        run.terminate()
        assert run.wait(10) == 0


class Told:
    """A listener that writes down which beats it was told, as the OSC target does."""

    sent = failed = 0

    def __init__(self):
        self.counts, self._told = [], 0

    def tell(self, event, now_ns):
        pass

    def tick(self, features, grid, now_ns):
        newest = grid.count_at(now_ns) if grid.running else 0
        if newest > self._told:
            self._told = newest
            self.counts.append(newest)

    def next_beat_ns(self, grid):
        return grid.t_ns + round((self._told + 1 - grid.count) * grid.period_s * NS) if grid.running else None

    def resume(self, grid, t_ns):
        self._told = grid.count_at(t_ns)


@pytest.mark.parametrize("genre", GENRES)
def test_every_genre_is_one_that_the_ear_can_expect(genre):
    analysis = Analysis(48000, EarOptions())
    handle(analysis, Command(0, "/vj/tempo/genre", (genre,)))
    assert analysis.expects == GENRES[genre]


def test_a_command_that_meets_a_fault_of_ours_is_told_and_the_beat_goes_on(channels, monkeypatch, tmp_path):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    clock, commands = ManualClock(), QueueWriter(channels.events("control"))
    events, ear = QueueReader(channels.events("ear")), ear_of(Flaky(clock), clock, channels)
    run_until(ear, clock, 1)
    commands.put(Command(clock.now_ns(), "/vj/tempo/bpm", ("fast",)))
    commands.put(Command(clock.now_ns(), "/vj/tempo/bpm", (93.0,)))
    run_until(ear, clock, 3)
    told = [e.why for e in events.get() if isinstance(e, Degraded)]
    assert told == ["/vj/tempo/bpm: ValueError: could not convert string to float: 'fast'"]
    assert ear._analysis.clock.grid.bpm == pytest.approx(93.0)


def test_the_beat_and_what_the_hand_set_outlive_a_fall(channels):
    """The first ear falls without a word; the second goes on with its count, its tempo and its genre."""
    clock, commands = ManualClock(), QueueWriter(channels.events("control"))
    first = Told()
    ear = ear_of(Flaky(clock), clock, channels, [first])
    run_until(ear, clock, 4)
    commands.put(Command(clock.now_ns(), "/vj/tempo/genre", ("dnb",)))
    commands.put(Command(clock.now_ns(), "/vj/tempo/bpm", (93.0,)))
    run_until(ear, clock, 9)
    before = left_behind(channels.memory("ear"), EarMemory)
    clock.sleep_until(clock.now_ns() + NS // 5)  # nobody was there for so long
    second = Told()
    heir = ear_of(Flaky(clock), clock, channels, [second], before)
    run_until(heir, clock, 16)
    grid = unpack_features(SlotReader(channels.features).get()).grid
    assert grid.bpm == pytest.approx(93.0)
    assert heir._analysis.clock.by_hand
    assert heir._analysis.expects == (158.0, 185.0)
    assert first.counts + second.counts == list(range(first.counts[0], second.counts[-1] + 1)), "none twice, none lost"
    assert StatusReader(channels.status("ear"), EarStatus).get().beats >= len(first.counts) + len(second.counts) - 2


def test_what_the_hand_expects_outlives_a_lost_device(channels):
    clock, commands, source = ManualClock(), QueueWriter(channels.events("control")), Flaky(ManualClock())
    source = Flaky(clock)
    ear = ear_of(source, clock, channels)
    run_until(ear, clock, 1)
    commands.put(Command(clock.now_ns(), "/vj/tempo/range", (158.0, 185.0)))
    run_until(ear, clock, 2)
    source.plugged = False
    run_until(ear, clock, 3)
    source.plugged = True
    run_until(ear, clock, 6)
    assert ear._analysis.expects == (158.0, 185.0)


def test_the_beat_goes_on_while_a_device_takes_long_to_open(channels):
    """A sound server may take seconds: the loop does not wait for it."""
    clock, commands = ManualClock(), QueueWriter(channels.events("control"))
    released = threading.Event()

    class Slow(Flaky):
        def open(self):
            released.wait(20)
            super().open()

    with ThreadPoolExecutor(1) as opener:
        told = Told()
        ear = ear_of(Slow(clock), clock, channels, [told], opener=opener)
        ear._analysis = Analysis(48000, EarOptions())
        run_until(ear, clock, 0.1)
        commands.put(Command(clock.now_ns(), "/vj/tempo/bpm", (120.0,)))
        run_until(ear, clock, 4)
        assert len(told.counts) == pytest.approx(8, abs=1)
        released.set()
        wait_for(lambda: (ear.step(), ear._open)[1])


def test_a_source_that_never_opens_is_told_once_and_hands_keep_the_beat(channels):
    clock, commands = ManualClock(), QueueWriter(channels.events("control"))
    events, released = QueueReader(channels.events("ear")), threading.Event()

    class Stuck(Flaky):
        def open(self):
            released.wait(20)
            super().open()

    with ThreadPoolExecutor(1) as opener:
        told = Told()
        ear = ear_of(Stuck(clock), clock, channels, [told], opener=opener)
        run_until(ear, clock, 7)
        assert not [e for e in events.get() if isinstance(e, Degraded)]
        run_until(ear, clock, 12)
        assert [e.why.split(";")[0] for e in events.get() if isinstance(e, Degraded)] == ["the source does not open"]
        commands.put(Command(clock.now_ns(), "/vj/tempo/bpm", (120.0,)))
        run_until(ear, clock, 30)
        assert len(told.counts) == pytest.approx(36, abs=1)
        released.set()
        wait_for(lambda: (ear.step(), ear._open)[1])
        assert [(e.why, e.recovered) for e in events.get() if isinstance(e, Degraded)] == [("the source is back", True)]


def test_another_device_is_heard_when_the_state_says_so_and_the_beat_goes_on(channels):
    clock, made = ManualClock(), []

    def make(sound):
        if sound.device == "nonsense":
            raise ConfigError("no such thing")
        made.append((sound.device, Flaky(clock)))
        return made[-1][1]

    wanted = [Sound()]
    events = QueueReader(channels.events("ear"))
    ear = ear_of(make, clock, channels, wanted=lambda: wanted[0])
    run_until(ear, clock, 8)
    before = ear._analysis.clock.grid.count
    wanted[0] = Sound("Scarlett", "3+4")
    run_until(ear, clock, 10)
    assert [name for name, _ in made] == ["", "Scarlett"]
    assert made[1][1].opened == 1
    assert ear._options.channel == (2, 3)
    assert ear._analysis.clock.grid.count > before
    wanted[0] = Sound("nonsense")
    run_until(ear, clock, 11)
    assert "no such thing; what was heard before is heard on" in [
        e.why for e in events.get() if isinstance(e, Degraded)
    ]
    assert ear._open
