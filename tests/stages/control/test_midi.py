"""MIDI over real ports: JACK's dummy driver, with virtual ports of rtmidi as the controllers."""

import asyncio
import os
import shutil
import subprocess
import time
import uuid

import pytest
from known import SHIPPED, enter

from vjserver.controls.midi import MidiOptions
from vjserver.runtime.clock import NS, LiveClock
from vjserver.runtime.queue import QueueReader
from vjserver.runtime.store import Channels
from vjserver.show.bank import Bank
from vjserver.show.preset import Preset
from vjserver.show.state import ShowState
from vjserver.stages.control.control import Control
from vjserver.stages.control.midi import MidiRoom
from vjserver.stages.control.options import ControlOptions
from vjserver.stages.control.pipes import Pipes
from vjserver.stages.control.user_library import UserLibrary
from vjserver.types.events import Command, Degraded
from vjserver.types.features import BeatGrid

BANK = Bank([("a", Preset(name="A")), ("b", Preset(name="B")), ("c", Preset(name="C"))])
FIRST = enter(ShowState(), 0, BANK.presets[0][1])


class Box:
    """A controller made of virtual ports: it sends, and keeps what is sent to it."""

    def __init__(self, name):
        import rtmidi

        self._got = []
        self.out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name=name)
        self.out.open_virtual_port("out")
        self.inward = rtmidi.MidiIn(rtmidi.API_UNIX_JACK, name=name)
        self.inward.ignore_types(sysex=False, timing=False)
        self.inward.open_virtual_port("out")  # one name, as a controller's two ports have

    @property
    def got(self):
        """What has come so far. It is read, for a callback of Python's may still run when its port is deleted."""
        while (event := self.inward.get_message()) is not None:
            self._got.append(event[0])
        return self._got

    def send(self, *data):
        self.out.send_message(data)

    def pull(self):
        for port in (self.out, self.inward):
            port.close_port()
            port.delete()


@pytest.fixture(scope="module")
def jack():
    pytest.importorskip("rtmidi", reason="python-rtmidi is not installed: pip install 'vjserver[midi]'")
    if shutil.which("jackd") is None:
        pytest.skip("jackd is not installed (make test installs jackd2 on Debian and Ubuntu)")
    name = f"vjt{os.getpid()}"
    before = os.environ.get("JACK_DEFAULT_SERVER")
    os.environ["JACK_DEFAULT_SERVER"], os.environ["JACK_NO_START_SERVER"] = name, "1"
    command = ["jackd", "-n", name, "--no-realtime", "-d", "dummy", "-p", "512"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait = ["jack_wait", "-s", name, "-w", "-t", "10"]
        if shutil.which("jack_wait"):
            subprocess.run(wait, check=True, stdout=subprocess.DEVNULL, timeout=15)
        time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait(10)
        del os.environ["JACK_DEFAULT_SERVER"]
        if before is not None:
            os.environ["JACK_DEFAULT_SERVER"] = before


@pytest.fixture
def control(tmp_path, monkeypatch):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    channels = Channels(f"vjt-{uuid.uuid4().hex[:6]}")
    segments = channels.create()
    pipes = Pipes.of(channels)
    options = ControlOptions(SHIPPED, BANK, FIRST, UserLibrary(lambda: BANK, SHIPPED))
    made = Control(options, LiveClock(), pipes, None, lambda _: None)
    made.told = QueueReader(channels.events("control"))
    yield made
    for segment in segments:
        segment.close()
    channels.remove()


def play(control, script, grid=None, **options):
    """Run the MIDI room while ``script`` (a coroutine of the room) runs."""
    room = MidiRoom(control, LiveClock(), MidiOptions(**options), lambda: grid or BeatGrid())

    async def main():
        ended = []
        task = asyncio.create_task(room.run(lambda: bool(ended)))
        try:
            async with asyncio.timeout(30):
                await script(room)
        finally:
            ended.append(1)
            await task

    asyncio.run(main())


async def until(what, seconds=6.0):
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.01)


def test_a_controller_plays_and_is_lit_and_comes_back_after_it_was_pulled(jack, control):
    async def script(room):
        box = Box("nanoKONTROL2")
        await until(lambda: room._controllers)
        await until(lambda: [0xB0, 32, 127] in box.got)  # preset 1 is lit
        box.send(0xB0, 33, 127)
        await until(lambda: control.state.preset_name == "B")
        await until(lambda: [0xB0, 33, 127] in box.got and [0xB0, 32, 0] in box.got)
        control.receive("/vj/master/freeze", (1,))
        await until(lambda: [0xB0, 42, 127] in box.got)
        box.pull()
        await until(lambda: not room._controllers)
        again = Box("nanoKONTROL2")
        await until(lambda: [0xB0, 33, 127] in again.got)
        again.send(0xB0, 32, 127)
        await until(lambda: control.state.preset_name == "A")
        again.pull()

    play(control, script)
    told = [(e.why, e.recovered) for e in control.told.get() if isinstance(e, Degraded)]
    assert any("is gone; it is taken up again" in why for why, recovered in told if not recovered)
    assert sum("Korg nanoKONTROL2" in why for why, recovered in told if recovered) == 2


def test_no_message_of_a_fast_hand_is_lost(jack, control):
    heard = []
    receive = control.receive
    control.receive = lambda address, args, origin="", key=None: (
        heard.append(args),
        receive(address, args, origin, key),
    )

    async def script(room):
        box = Box("MIDI Mix")
        await until(lambda: room._controllers)
        control.receive("/vj/master/fade", (0.0,))
        heard.clear()
        for i in range(300):
            box.send(0xB0, 62, i % 128)
            await asyncio.sleep(0.002)
        await until(lambda: len(heard) == 300)
        box.pull()

    play(control, script)
    assert [round(args[0] * 127) for args in heard] == [i % 128 for i in range(300)]


def test_a_control_is_learnt_saved_and_forgotten(jack, control, tmp_path):
    async def script(room):
        box = Box("Strange Box")
        await until(lambda: room._controllers)
        control.receive("/vj/midi/learn", ("/vj/param/zoom",))
        control.settle()
        box.send(0xB0, 99, 0)
        await until(lambda: room.learnt.rows.get("Strange Box:out"))
        control.receive("/vj/param/zoom", (0.0,))
        for value in range(0, 128, 8):
            box.send(0xB0, 99, value)
        await until(lambda: control.state.params["zoom"] > 0.9)
        control.receive("/vj/midi/learn", ("/vj/parm/zoom",))
        control.settle()
        assert control.refused == 1
        box.pull()

    play(control, script)
    assert 'to = "/vj/param/zoom"' in (tmp_path / "controllers" / "learnt-strange-box-out.toml").read_text()

    async def next_night(room):
        box = Box("Strange Box")
        await until(lambda: room._controllers)
        control.receive("/vj/param/zoom", (1.0,))
        box.send(0xB0, 99, 127)
        box.send(0xB0, 99, 64)
        await until(lambda: 0.4 < control.state.params["zoom"] < 0.6)
        control.receive("/vj/midi/forget", ("/vj/param/zoom",))
        control.settle()
        box.send(0xB0, 99, 0)
        await asyncio.sleep(0.2)
        assert control.state.params["zoom"] > 0.4
        box.pull()

    play(control, next_night)


def test_leds_go_out_at_the_end_and_where_a_control_lost_its_address(jack, control):
    box = None

    async def script(room):
        nonlocal box
        box = Box("nanoKONTROL2")
        await until(lambda: [0xB0, 32, 127] in box.got)
        control.receive("/vj/midi/learn", ("/vj/master/freeze",))
        control.settle()
        box.send(0x90, 70, 127)
        await until(lambda: [0x90, 70, 0] in box.got)  # learnt, and off
        control.receive("/vj/master/freeze", (1,))
        await until(lambda: [0x90, 70, 127] in box.got)
        control.receive("/vj/midi/forget", ("/vj/master/freeze",))
        control.settle()
        await until(lambda: box.got.count([0x90, 70, 0]) == 2)

    play(control, script)
    time.sleep(0.2)
    assert [row for row in box.got if row[:2] == [0xB0, 32]][-1] == [0xB0, 32, 0]
    box.pull()


def test_a_controller_is_put_into_its_mode_and_back(jack, control):
    box = None

    async def script(room):
        nonlocal box
        box = Box("Launchpad Mini MK3")
        await until(lambda: [0xF0, 0x00, 0x20, 0x29, 0x02, 0x0D, 0x0E, 0x01, 0xF7] in box.got)
        await until(lambda: [0x90, 81, 21] in box.got)  # the preset that plays
        assert [row[1:] for row in box.got if row[:2] in ([0x90, 82], [0x90, 83])] == [[82, 1], [83, 1]]
        assert [row[2] for row in box.got if row[:2] == [0x90, 84]] == [0]  # there is no fourth preset

    play(control, script)
    time.sleep(0.2)
    assert box.got[-1] == [0xF0, 0x00, 0x20, 0x29, 0x02, 0x0D, 0x0E, 0x00, 0xF7]
    assert [0x90, 81, 0] in box.got
    box.pull()


def test_a_song_is_stopped_located_and_goes_on(jack, control):
    async def pulses(box, count):
        began = time.perf_counter()
        for i in range(count):
            while time.perf_counter() < began + i * 60 / 200 / 24:
                await asyncio.sleep(0.0005)
            box.send(0xF8)

    async def script(room):
        box = Box("Clock Box")
        await until(lambda: room._controllers)
        control.receive("/vj/tempo/source", ("midi",))
        control.settle()
        control.told.get()
        box.send(0xFA)
        await pulses(box, 24 + 1)
        box.send(0xFC)
        box.send(0xF2, 14, 0)  # the 14th sixteenth is in the middle of the last beat of the first bar
        box.send(0xFB)
        await pulses(box, 24 + 13)
        await asyncio.sleep(0.1)
        box.pull()

    play(control, script)
    grids = [e.args for e in control.told.get() if isinstance(e, Command) and e.args]
    assert [position for _, _, position in grids] == [1, 0, 1]


def test_midi_clock_keeps_the_beat_where_it_is_wanted(jack, control):
    async def script(room):
        box = Box("Clock Box")
        await until(lambda: room._controllers)
        box.send(0xF8)
        control.receive("/vj/tempo/source", ("midi",))
        control.settle()
        control.told.get()
        box.send(0xFA)
        began = time.perf_counter()
        for i in range(24 * 4):
            while time.perf_counter() < began + i * 60 / 150 / 24:
                await asyncio.sleep(0.0005)
            box.send(0xF8)
        await asyncio.sleep(0.1)
        box.pull()

    play(control, script)
    grids = [e.args for e in control.told.get() if isinstance(e, Command) and e.args]
    assert [position for _, _, position in grids] == [1, 2, 3]
    assert grids[-1][1] == pytest.approx(150.0, rel=0.03)


def test_midi_clock_is_sent_24_to_the_beat_from_a_downbeat(jack, control):
    grid = BeatGrid(LiveClock().now_ns() + NS, 8, 0.4, 0, 4, 1.0, True)

    async def script(room):
        box = Box("Drum Box")
        control.receive("/vj/midi/clock", (1,))
        await until(lambda: room._controllers)
        await until(lambda: [0xFA] in box.got)
        began = len(box.got)
        await asyncio.sleep(2.0)
        pulses = box.got[began:].count([0xF8])
        assert pulses == pytest.approx(2.0 / 0.4 * 24, abs=6)
        control.receive("/vj/midi/clock", (0,))
        await until(lambda: [0xFC] in box.got)
        box.pull()

    play(control, script, grid)


def test_where_there_is_no_midi_it_is_said_once(control, monkeypatch):
    monkeypatch.setenv("JACK_DEFAULT_SERVER", "nosuch")
    monkeypatch.setenv("JACK_NO_START_SERVER", "1")
    if os.path.exists("/dev/snd/seq"):
        pytest.skip("this machine has MIDI")

    async def script(_room):
        await asyncio.sleep(0.5)

    play(control, script)
    rows = [e.why for e in control.told.get() if isinstance(e, Degraded)]
    assert len(rows) == 1
    assert rows[0].startswith("MIDI unavailable: ")
    control.receive("/vj/midi/learn", ("/vj/param/zoom",))
    control.settle()
    assert control.refused == 1


def test_a_broken_map_of_the_users_is_told_and_others_play(jack, control, tmp_path):
    folder = tmp_path / "controllers"
    folder.mkdir()
    (folder / "mine.toml").write_text('name = "mine"\nmatch = ["Odd"]\n[[controls]]\nnote = 1\nto = "/vj/tempo/tapp"\n')

    async def script(room):
        box = Box("Odd Box")
        await until(lambda: room._controllers)  # by the generic map
        box.pull()
        await until(lambda: not room._controllers)
        (folder / "mine.toml").write_text('name = "mine"\nmatch = ["Odd"]\n')
        again = Box("Odd Box")
        await until(lambda: room._controllers)  # mended and put back
        again.pull()

    play(control, script)
    why = next(e.why for e in control.told.get() if isinstance(e, Degraded) and e.what == "midi map")
    assert why.startswith("mine.toml:5: controls.0.to: unknown address '/vj/tempo/tapp'; nearest: /vj/tempo/tap")
