"""MIDI ports as drivers really give them, on a stand-in for python-rtmidi: no names, one name twice, held ports."""

import asyncio
import sys
import types
import uuid

import pytest
from conftest import wait_for
from known import SHIPPED, enter

from vjserver.controls.midi import MidiOptions, MidiPorts, named
from vjserver.runtime.clock import NS, ManualClock
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

BANK = Bank([("a", Preset(name="A")), ("b", Preset(name="B"))])
FIRST = enter(ShowState(), 0, BANK.presets[0][1])


@pytest.fixture
def driver(monkeypatch):
    """A driver: ``ins`` and ``outs`` are its ports, ``held`` those that another program has, ``sent`` what came."""
    module = types.ModuleType("rtmidi")
    module.ins, module.outs, module.held, module.queues, module.opened = [], [], set(), {}, []
    module.RtMidiError = type("RtMidiError", (Exception,), {})
    module.get_compiled_api = lambda: [1]

    class Port:
        def __init__(self, _api, name=""):
            self.place = None

        def get_ports(self):
            return list(self.ports())

        def open_port(self, place):
            assert self.place is None, "opened once"
            if place in module.held:
                raise module.RtMidiError("error creating Windows MM MIDI input port.")
            self.place = place
            module.opened.append((type(self).__name__, place))

        def close_port(self):
            self.place = None

        def delete(self):
            assert self.place is None, "closed before"

    class MidiIn(Port):
        ports = staticmethod(lambda: module.ins)

        def ignore_types(self, **_):
            pass

        def get_message(self):
            queue = module.queues.get(self.place, [])
            return queue.pop(0) if queue else None

    class MidiOut(Port):
        ports = staticmethod(lambda: module.outs)

        def send_message(self, _data):
            pass

    module.MidiIn, module.MidiOut = MidiIn, MidiOut
    monkeypatch.setitem(sys.modules, "rtmidi", module)
    return module


@pytest.fixture
def room(driver, tmp_path, monkeypatch):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    channels = Channels(f"vjt-{uuid.uuid4().hex[:6]}")
    segments = channels.create()
    clock = ManualClock(NS)
    options = ControlOptions(SHIPPED, BANK, FIRST, UserLibrary(lambda: BANK, SHIPPED))
    control = Control(options, clock, Pipes.of(channels), None, lambda _: None)
    made = MidiRoom(control, clock, MidiOptions(), BeatGrid)
    made._ports = MidiPorts()
    control.told = QueueReader(channels.events("control"))
    yield made
    control.close()
    for segment in segments:
        segment.close()
    channels.remove()


def faults(room):
    return [(e.why, e.recovered) for e in room.control.told.get() if isinstance(e, Degraded)]


def test_every_port_has_a_name_of_its_own():
    assert named(["a", None, "b", "", "a", "a"]) == ["a", "MIDI port 2", "b", "MIDI port 4", "a #2", "a #3"]


def test_a_port_without_a_name_is_opened_like_any_other(driver, room):
    driver.ins = ["nanoKONTROL2 0", None]
    room._look()
    assert set(room._controllers) == {"nanoKONTROL2 0", "MIDI port 2"}


def test_two_controllers_of_one_name_both_play(driver, room):
    driver.ins = ["Launchpad", "Launchpad"]
    room._look()
    assert [place for kind, place in driver.opened if kind == "MidiIn"] == [0, 1]
    driver.queues = {0: [([0xC0, 0], 0.0)], 1: [([0xC0, 1], 0.0)]}
    room._read()
    assert room.control.state.preset_name == "B"
    assert room.control.messages == 2


def test_a_port_that_is_only_named_after_us_is_opened_and_our_own_are_not(driver, room):
    driver.ins = [
        "vjserver 0",
        "TD to vjserver 1",
        "vjserver:RtMidi Output 130:0",
        "vjserver-01:RtMidi Input",
        "Midi Through:Midi Through Port-0",
    ]
    room._look()
    assert set(room._controllers) == {"vjserver 0", "TD to vjserver 1"}


def test_a_held_port_is_told_once_and_taken_when_it_is_free(driver, room):
    driver.ins, driver.held = ["Pads 0"], {0}
    for _ in range(20):
        room._look()
        room.clock.sleep_until(room.clock.now_ns() + NS)
    told = faults(room)
    assert len(told) == 1
    assert "another program may hold it" in told[0][0]
    driver.held = set()
    room.clock.sleep_until(room.clock.now_ns() + 4 * NS)
    room._look()
    assert [recovered for _, recovered in faults(room)] == [True]
    assert "Pads 0" in room._controllers


def test_a_driver_that_raises_takes_nothing_with_it(driver, room, monkeypatch):
    driver.ins = ["Pads 0"]
    room._look()
    monkeypatch.setattr(driver.MidiIn, "get_ports", lambda _self: 1 / 0)
    room._look()
    assert room._controllers == {}


def clock(driver, room, ports, beats, bpm=120.0):
    """Send MIDI clock on some ports at once; return the tempi that were told to the ear."""
    for _ in range(round(24 * beats)):
        for place in ports:
            driver.queues.setdefault(place, []).append(([0xF8], 0.0))
        room._read()
        room.clock.sleep_until(room.clock.now_ns() + round(60 / bpm / 24 * NS))
    commands = [e for e in room.control.told.get() if isinstance(e, Command) and e.address == "/vj/tempo/grid"]
    return [command.args[1] for command in commands if command.args]


def test_a_clock_on_two_ports_is_heard_from_one(driver, room):
    driver.ins = ["Box 0", "Box 1"]
    room._look()
    room.control.receive("/vj/tempo/source", ("midi",))
    room.control.settle()
    grids = clock(driver, room, (0, 1), 8)
    assert grids
    assert grids[-1] == pytest.approx(120.0, rel=0.01)


def test_another_clock_is_followed_once_the_first_has_stopped_or_another_was_chosen(driver, room):
    driver.ins = ["Box 0", "Desk 1"]
    room._look()
    room.control.receive("/vj/tempo/source", ("midi",))
    room.control.settle()
    assert clock(driver, room, (0,), 8)[-1] == pytest.approx(120.0, rel=0.01)
    room.clock.sleep_until(room.clock.now_ns() + 2 * NS)
    assert clock(driver, room, (1,), 8, bpm=90.0)[-1] == pytest.approx(90.0, rel=0.01)
    room.control.receive("/vj/midi/clock/from", ("box",))
    room.control.settle()
    assert clock(driver, room, (0, 1), 8, bpm=100.0)[-1] == pytest.approx(100.0, rel=0.01)
    assert room._clock_port == "Box 0"


def test_the_room_runs_and_ends_on_such_a_driver(driver, room):
    driver.ins = [None, "", "x", "x"]
    rounds = iter(range(200))
    asyncio.run(room.run(lambda: next(rounds, None) is None))
    assert wait_for(lambda: room._controllers == {})


def test_one_broken_map_costs_only_itself_and_is_named(driver, room, tmp_path):
    (tmp_path / "controllers").mkdir()
    (tmp_path / "controllers" / "aaa.toml").write_bytes(b"\xff\xfe not toml")
    driver.ins = ["nanoKONTROL2 0", "Other 1"]
    room._look()
    assert set(room._controllers) == set(driver.ins)
    assert "nano" in room._controllers["nanoKONTROL2 0"].surface.map.name.lower()
    told = [why for why, _ in faults(room) if "aaa.toml" in why]
    assert len(told) == 1, "once"


def test_a_parameter_number_is_learnt_and_a_lone_fader_99_too(driver, room):
    driver.ins = ["Box 0"]
    room._look()
    room.learn("/vj/param/zoom")
    driver.queues = {0: [([0xB0, 99, 2], 0.0), ([0xB0, 98, 5], 0.0), ([0xB0, 6, 64], 0.0), ([0xB0, 38, 0], 0.0)]}
    room._read()
    assert [c.nrpn for c in room.learnt.rows["Box"]] == [2 << 7 | 5]
    room.learn("/vj/param/warp")
    driver.queues = {0: [([0xB1, 99, 2], 0.0)]}
    room._read()
    room._learn_late()
    assert len(room.learnt.rows["Box"]) == 1
    room.clock.sleep_until(room.clock.now_ns() + NS // 5)
    room._learn_late()
    assert room.learnt.rows["Box"][-1].cc == 99
