"""The MIDI room: controllers come and go; they are heard and lit, and the clock goes both ways.

A controller is played by the first map that fits its name: the user's, ours, then the generic one. What MIDI learn
tied lies in the user's folder, a file for each controller.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from vjserver.controls.midi import MidiOptions, MidiPorts
from vjserver.controls.midibytes import Kept
from vjserver.controls.midilearn import Learnt, learnt, learnt_text
from vjserver.controls.midimap import MAPS, MidiMap, Surface, load_map
from vjserver.controls.midimap import Control as MidiControl
from vjserver.dsp.pulses import PulseFollower
from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.files import data_folder, slug_of, write_whole
from vjserver.show.readout import shows
from vjserver.stages.control.control import Control
from vjserver.types.errors import ConfigError, DeviceError
from vjserver.types.features import BeatGrid

GENERIC = "generic.toml"
LOOK_S = 1.0
LIGHT_S = 0.02
POLL_S = 0.002
LATEST_NS = NS // 20  # how much earlier than now a message may have come
CLOCK_S = 0.002
PERIOD_S = 0.05
AGAIN_S = 3.0
PERHAPS_NS = NS // 10
CLOCK_GONE_NS = NS
"""A clock that was silent for so long has stopped: another one may keep the beat."""
PER_BEAT = 24
SONG_POSITION, CLOCK, START, CONTINUE, STOP = 0xF2, 0xF8, 0xFA, 0xFB, 0xFC


@dataclass(slots=True)
class _Controller:
    """A controller that is plugged in."""

    name: str
    surface: Surface
    inward: Any
    outward: Any = None
    t_ns: int = 0
    """When its last message came."""


@dataclass(slots=True)
class MidiRoom:
    """All controllers. ``run`` ends when ``stopped``."""

    control: Control
    clock: Clock
    options: MidiOptions
    grid: Callable[[], BeatGrid]
    learnt: Learnt = field(default_factory=Learnt)
    _ports: MidiPorts | None = None
    _controllers: dict[str, _Controller] = field(default_factory=dict)
    _outs: dict[str, Any] = field(default_factory=dict)
    _wish: str = ""
    _pulses: PulseFollower = field(default_factory=lambda: PulseFollower(PER_BEAT))
    _clocking: int | None = None
    _failed: dict[str, float] = field(default_factory=dict)
    """Ports that could not be opened, and when they are tried again."""
    _broken: dict[Path, str] = field(default_factory=dict)
    _kept: Kept = field(default_factory=Kept)
    _perhaps: tuple[int, _Controller, MidiControl] | None = None
    """What is learnt if nothing follows by then: a fader, or the beginning of a parameter number."""
    _clock_port: str = ""
    _clock_ns: int = 0

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Open MIDI, and play until ``stopped``; where there is none, say so once and leave."""
        try:
            self._ports = MidiPorts()
        except DeviceError as error:
            self.control.announce("midi", str(error))
            self.control.announcer.faults.pop("midi", None)  # not having any is no trouble
            return
        self.control.learner = self
        loop = asyncio.get_running_loop()
        clock = asyncio.create_task(self._send_clock(stopped))
        next_look_s = next_light_s = 0.0
        try:
            while not stopped():
                if loop.time() >= next_look_s:
                    next_look_s = loop.time() + LOOK_S
                    self._look()
                self._read()
                self._learn_late()
                if loop.time() >= next_light_s:
                    next_light_s = loop.time() + LIGHT_S
                    self._light()
                await asyncio.sleep(POLL_S if self._controllers else LIGHT_S)
        finally:
            clock.cancel()
            if self._clocking is not None:
                self._broadcast(STOP)
            for controller in self._controllers.values():
                self._put_out(controller)
                for row in controller.surface.map.leave:
                    self._send(controller.outward, bytes.fromhex(row))
            await asyncio.sleep(PERIOD_S)  # JACK sends what it was given in its next period
            for name in list(self._controllers):
                self._drop(name)

    # -- controllers ---------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Open what was plugged in, let go of what was pulled."""
        assert self._ports is not None
        inward, outward = self._ports.names()
        wanted = [
            n for n in inward if not self.options.ports or any(p.lower() in n.lower() for p in self.options.ports)
        ]
        self._failed = {name: again_s for name, again_s in self._failed.items() if name in wanted}
        for name in [name for name in self._controllers if name not in wanted]:
            self._drop(name)
            self.control.announce("midi", f"{name} is gone; it is taken up again when it is back")
        for name in [name for name in self._outs if name not in outward]:
            self._ports.close(self._outs.pop(name))
        for name in outward:
            if name not in self._outs and self.state_clock:
                self._open_out(name)
        now_s = self.clock.now_ns() / NS
        for name in wanted:
            if name not in self._controllers and self._failed.get(name, 0.0) <= now_s:
                self._open(name, outward)

    @property
    def state_clock(self) -> bool:
        """Whether MIDI clock is sent."""
        return self.control.state.sync.midi_clock

    def _open(self, name: str, outward: Sequence[str]) -> None:
        assert self._ports is not None
        try:
            midi_map = self._map_of(name)
            self.learnt.rows.setdefault(_plain(name), self._load_learnt(name))
            surface = self._surface(midi_map, name)
            port = self._ports.open_in(name)
        except (ConfigError, DeviceError) as error:
            if name not in self._failed:
                self.control.announce("midi", str(error))
            self._failed[name] = self.clock.now_ns() / NS + AGAIN_S
            return
        self._failed.pop(name, None)
        controller = self._controllers[name] = _Controller(name, surface, port)
        taken = [c.outward for c in self._controllers.values()]
        free = [out for out in outward if self._outs.get(out) not in taken or out not in self._outs]
        pair = next((out for out in free if _plain(out) == _plain(name)), None)
        pair = pair or next((out for out in free if midi_map.fits(out)), None)
        if pair is not None:
            controller.outward = self._open_out(pair)
            for row in midi_map.setup:
                self._send(controller.outward, bytes.fromhex(row))
        idle = midi_map.idle(self.control.registry)
        self.control.announce("midi", f"{name}: {midi_map.name}{f'; {idle}' if idle else ''}", recovered=True)

    def _surface(self, midi_map: MidiMap, name: str) -> Surface:
        desk = self.control.desk
        return Surface(midi_map, desk.registry, desk.read, partial(shows, desk), self.learnt.rows.get(_plain(name), ()))

    def _open_out(self, name: str) -> Any:
        assert self._ports is not None
        if name not in self._outs:
            try:
                self._outs[name] = self._ports.open_out(name)
            except DeviceError as error:
                self.control.announce("midi", str(error))
                return None
        return self._outs[name]

    def _drop(self, name: str) -> None:
        assert self._ports is not None
        controller = self._controllers.pop(name)
        self._ports.close(controller.inward)

    def _map_of(self, name: str) -> MidiMap:
        """Return the first map that fits; a broken one is left out, and named with file, line and what is allowed."""
        folders = [Path(self.options.maps)] if self.options.maps else []
        for folder in (*folders, data_folder() / "controllers", MAPS):
            for path in sorted(folder.glob("*.toml")):
                if path.name == GENERIC or path.name.startswith("learnt-"):
                    continue
                try:
                    midi_map = load_map(path, self.control.registry)
                except ConfigError as error:
                    self._tell_broken(path, str(error))
                    continue
                if midi_map.fits(name):
                    return midi_map
        return load_map(MAPS / GENERIC, self.control.registry)

    def _tell_broken(self, path: Path, why: str) -> None:
        if self._broken.get(path) != why:
            self._broken[path] = why
            self.control.announce("midi map", f"{why}; it is left out")

    def _read(self) -> None:
        """Take what has come, each message at the time at which it came."""
        assert self._ports is not None
        for controller in self._controllers.values():
            for data, after_s in self._ports.read(controller.inward):
                now_ns = self.clock.now_ns()
                t_ns = controller.t_ns + round(after_s * NS)
                controller.t_ns = t_ns if now_ns - LATEST_NS < t_ns < now_ns else now_ns
                self._hear(controller, data, controller.t_ns)

    def _hear(self, controller: _Controller, data: list[int], t_ns: int) -> None:
        """Take a message that came at ``t_ns``."""
        if data[0] >= SONG_POSITION:
            if self._keeps_time(controller.name, data[0], t_ns):
                self._hear_clock(data, t_ns)
            return
        if self._wish and self._learn_from(controller, data):
            return
        for address, args in controller.surface.hear(data):
            self.control.receive(address, args, "midi")
        self.control.settle()

    def _light(self) -> None:
        for controller in self._controllers.values():
            for row in controller.surface.lights():
                self._send(controller.outward, row)

    def _put_out(self, controller: _Controller) -> None:
        for row in controller.surface.dark():
            self._send(controller.outward, row)

    def _send(self, port: Any, data: bytes) -> None:
        if self._ports is not None and port is not None:
            self._ports.send(port, data)

    # -- learning ------------------------------------------------------------------------------------------

    def learn(self, address: str) -> None:
        """Tie the next control that moves to ``address``; ``""`` ends the wish. Raises ConfigError."""
        if address:
            self.control.registry.lookup(address)
        self._wish, self._kept = self.control.registry.canonical(address), Kept()

    def forget(self, address: str) -> None:
        """Take back what was learnt for ``address``. Raises ConfigError where that is nothing."""
        if not self.learnt.forget(self.control.registry.canonical(address)):
            known = ", ".join(sorted({c.to for rows in self.learnt.rows.values() for c in rows})) or "nothing"
            raise ConfigError(f"/vj/midi/forget: nothing was learnt for {address[:60]!r}; learnt: {known}")
        self._relearn()

    def _learn_from(self, controller: _Controller, data: Sequence[int]) -> bool:
        control = learnt(data, self._wish, self._kept, self.control.registry)
        self._perhaps = None
        if control is None:
            ordinary = learnt(data, self._wish, Kept(numbers=False), self.control.registry)
            if ordinary is not None:
                self._perhaps = self.clock.now_ns() + PERHAPS_NS, controller, ordinary
            return False
        self._tie(controller, control)
        return True

    def _learn_late(self) -> None:
        """Learn a control that might have been the beginning of a parameter number, and was not."""
        if self._perhaps is not None and self._wish and self.clock.now_ns() >= self._perhaps[0]:
            _, controller, control = self._perhaps
            self._perhaps = None
            self._tie(controller, control)

    def _tie(self, controller: _Controller, control: MidiControl) -> None:
        address, self._wish = self._wish, ""
        self.learnt.add(_plain(controller.name), control)
        number = "" if control.pitch else f" {getattr(control, control.kind)}"
        which = f"{_plain(controller.name)}: {control.kind}{number}, channel {control.channel}"
        self.control.tell_learnt(which, address)
        self._relearn()

    def _relearn(self) -> None:
        """Put what was learnt to work, and on the disk."""
        for controller in self._controllers.values():
            self._put_out(controller)  # a control may have lost what it played
            controller.surface = self._surface(controller.surface.map, controller.name)
        for port, rows in self.learnt.rows.items():
            try:
                write_whole(_learnt_file(port), learnt_text(port, rows).encode())
            except OSError as error:
                self.control.announce("midi", f"what was learnt is not saved: {error.strerror}")

    def _load_learnt(self, name: str) -> list[Any]:
        """Return what was learnt, each address as it is called now."""
        path, registry = _learnt_file(_plain(name)), self.control.registry
        if not path.exists():
            return []
        return [c.model_copy(update={"to": registry.canonical(c.to)}) for c in load_map(path, registry).controls]

    # -- the clock -----------------------------------------------------------------------------------------

    def _keeps_time(self, name: str, status: int, t_ns: int) -> bool:
        """Tell whether a port's clock is the one that is followed: the first that plays, or the one that was chosen.

        A box may send its clock on two ports: heard together they would double the tempo.
        """
        chosen = self.control.state.sync.midi_from
        if chosen and chosen.lower() not in name.lower():
            return False
        if name != self._clock_port and status in (CLOCK, START, CONTINUE):
            wanted = self._clock_port in self._controllers and chosen.lower() in self._clock_port.lower()
            if wanted and t_ns - self._clock_ns < CLOCK_GONE_NS:
                return False
            self._clock_port = name
            self._pulses = PulseFollower(PER_BEAT)
            if self.control.state.sync.source == "midi":
                self.control.announce("midi clock", f"{_plain(name)} keeps the beat", recovered=True)
        if name == self._clock_port:
            self._clock_ns = t_ns
        return name == self._clock_port

    def _hear_clock(self, data: Sequence[int], t_ns: int) -> None:
        """Follow the MIDI clock, where it is wanted. Stopped, it keeps the beat as long as pulses come."""
        status = data[0]
        if self.control.state.sync.source != "midi":
            return
        if status == START:
            self._pulses.start(self.grid().beats_per_bar)
        elif status == STOP:
            self._pulses.stop()
        elif status == CONTINUE:
            self._pulses.resume()
        elif status == SONG_POSITION and len(data) == 3:
            self._pulses.locate(data[1] | data[2] << 7)
        elif status == CLOCK:
            grid = self._pulses.pulse(t_ns)
            if grid is not None:
                self.control.sync.follow_grid(grid)

    async def _send_clock(self, stopped: Callable[[], bool]) -> None:
        """Send 24 pulses a beat to every MIDI output, beginning with START on a downbeat, while it is wanted."""
        while not stopped():
            await asyncio.sleep(CLOCK_S)
            grid, now_ns = self.grid(), self.clock.now_ns()
            if not (self.state_clock and grid.running and self.control.state.sync.source != "midi"):
                if self._clocking is not None:
                    self._clocking = None
                    self._broadcast(STOP)
                continue
            pulse = int((grid.count + grid.beats_since(now_ns)) * PER_BEAT // 1)
            downbeat = (grid.count - grid.bar_position) % grid.beats_per_bar * PER_BEAT
            if self._clocking is None:
                if (pulse - downbeat) % (grid.beats_per_bar * PER_BEAT) == 0:
                    self._clocking = pulse - 1
                    self._broadcast(START)
                else:
                    continue
            if not 0 <= pulse - self._clocking <= 2 * PER_BEAT:  # the beat jumped: listeners get no burst
                self._clocking = pulse
            while self._clocking < pulse:
                self._clocking += 1
                self._broadcast(CLOCK)

    def _broadcast(self, status: int) -> None:
        for port in self._outs.values():
            self._send(port, bytes([status]))


def _plain(port: str) -> str:
    """Return a port's name without the numbers that change from plug to plug (ALSA: ``NAME:NAME MIDI 1 24:0``)."""
    head, _, tail = port.rpartition(" ")
    return head if head and tail.replace(":", "").isdigit() else port


def _learnt_file(port: str) -> Path:
    return data_folder() / "controllers" / f"learnt-{slug_of(port) or 'port'}.toml"
