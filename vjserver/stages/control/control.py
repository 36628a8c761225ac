"""Control: messages from every hand go in; the one state of the show comes out. Never in the way of ear or picture.

OSC, the panel, OSCQuery, MIDI and the preset's own triggers all end at the desk (``show/desk.py``): one address, one
check, one state. What the desk cannot do by itself (the tempo is the ear's, files are the user's library) is done by
the parts of this room, one module each.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from vjserver.controls.osc import OscMessage, Sender
from vjserver.controls.oscserver import OscServer
from vjserver.runtime import log
from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.soundring import SoundReader
from vjserver.show.desk import Desk
from vjserver.show.outputs import row_of
from vjserver.show.readout import values
from vjserver.show.registry import Accepted, is_number
from vjserver.show.state import TEMPO, ShowState
from vjserver.stages.control.announcer import Announcer, Guard
from vjserver.stages.control.boarding import BoardRoom
from vjserver.stages.control.calm import CalmStates
from vjserver.stages.control.options import ControlOptions
from vjserver.stages.control.osc_publisher import LEASE_NS, OscPublisher
from vjserver.stages.control.osc_queries import OscQueries
from vjserver.stages.control.pipes import Pipes
from vjserver.stages.control.preset_room import PresetRoom
from vjserver.stages.control.speaking import LISTEN_FAULTS, SpeechRoom
from vjserver.stages.control.status import Status
from vjserver.stages.control.successor import Successor
from vjserver.stages.control.surfaces import Surfaces
from vjserver.stages.control.sync import TempoSync
from vjserver.stages.control.take_room import TakeRoom
from vjserver.stages.control.takes import TakeWriter
from vjserver.stages.control.takesound import TakeSound
from vjserver.types.errors import ConfigError
from vjserver.types.events import TAKE_BACK, Argument, Command, Degraded, Drum, Onset, Section, Speech
from vjserver.types.text import visible

POLL_S = 0.004
TELL_NS = NS // 60
MONITORED = 200
SOUND_ENDS_S = 1.0
"""So long the end of the server waits for a take's sound; what is missing then is made good when it is rendered."""


class Learner(Protocol):
    """What MIDI learn needs of the MIDI room."""

    def learn(self, address: str) -> None:
        """Tie the next control that moves to ``address``; ``""`` ends the wish. Raises ConfigError."""

    def forget(self, address: str) -> None:
        """Take back what was learnt for ``address``. Raises ConfigError."""


class Control:
    """The control process's state and loops.

    ``before`` is the state that a fallen predecessor left, if any. ``check_output`` raises ConfigError for an output's
    configuration that makes no sense or is not allowed. ``sound`` opens what the ear hears, for takes.
    """

    def __init__(
        self,
        options: ControlOptions,
        clock: Clock,
        pipes: Pipes,
        before: ShowState | None,
        check_output: Callable[[Mapping[str, Any]], None],
        sound: Callable[[], SoundReader] | None = None,
    ) -> None:
        self._clock, self.pipes, self.registry = clock, pipes, options.registry
        seed = clock.now_ns() & 0xFFFF
        self.desk = Desk(
            options.bank, before or options.first, options.cues, seed=seed, registry=options.registry,
            permit=partial(_permit, check_output),
        )  # fmt: skip
        self.monitor: deque[tuple[int, str, str, tuple[object, ...]]] = deque(maxlen=MONITORED)
        self.monitored = 0
        self.messages = self.refused = 0
        self.learner: Learner | None = None
        self.boards: BoardRoom | None = None
        """Where cards are kept; None where there is no page that shows the picture."""
        limits = options.limits
        self.server = OscServer(self.receive_osc, self.refuse, self.settle, limits.allow, limits.most_per_s)
        self.surfaces = Surfaces()
        self.publisher = OscPublisher(options.targets, self.server, self.surfaces, self.desk, limits.trusted)
        self.announcer = Announcer(clock, pipes.events.put, self.publisher.tell)
        self._queries = OscQueries(self.desk, self.server, self.publisher, self.surfaces, pipes.told.deliver, clock)
        self.sync = TempoSync(clock, self.desk, pipes.events.put, lambda: pipes.features.get().grid, self.announcer)
        self.presets = PresetRoom(self.desk, options.library, clock, self.announcer, self.settle)
        self._untold: deque[str] = deque(maxlen=8)
        writer = TakeWriter(options.library, TakeSound(sound, self._untold.append) if sound is not None else None)
        self._takes = TakeRoom(
            self.desk, options.library, writer, clock, self.announcer,
            partial(self.receive, "/vj/take/record", (0,)), self.refuse, self.settle,
        )  # fmt: skip
        self.speech = SpeechRoom(
            self.desk, self.receive, self.publisher.tell, partial(self.announcer.note, "ok"), options.speech,
            clock.now_ns() // 1_000_000, lambda: writer.subtitles if options.subtitles else None,
        )  # fmt: skip
        self._status = Status(pipes, self.desk, self.server, self.publisher, self.announcer, self._stop_recording)
        self._calm = CalmStates(options.registry, pipes.told.generate)
        self._handlers = self._handled()
        self._guard = Guard(self.announcer)
        self._published = self.desk.state
        self._successor = Successor(
            pipes, clock, self.desk, self.speech, self.publisher, self._takes, self._status, self.announcer
        )
        if before is not None:
            self._successor.resume()
        pipes.state.put(self.desk.state)
        self._published = self.desk.state
        self._values_of: tuple[int, int] = (-1, 0)
        self._values: dict[str, Argument] = {}
        self._next_tell_ns = self._next_status_ns = 0
        self._sender: Sender | None = None
        """Whose message is being taken, or was last, where it came over OSC."""

    @property
    def state(self) -> ShowState:
        """The state of the show."""
        return self.desk.state

    @property
    def faults(self) -> Mapping[str, str]:
        """What is degraded now, and why."""
        return self.announcer.faults

    def announce(self, what: str, why: str, recovered: bool = False) -> None:
        """Tell the terminal, the panel and the listeners what works less well than it should, or works again."""
        self.announcer.announce(what, why, recovered)

    # -- what comes in -------------------------------------------------------------------------------------

    def receive_osc(self, osc: OscMessage, sender: Sender) -> int:
        """Take a message from the network: a question is answered to its sender, anything else is received.

        Returns how many addresses it reached.
        """
        self.desk.reached = 1
        try:
            self._receive_osc(osc, sender)
        except ConfigError as error:
            self.refuse(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours, not of the message's: the next one is taken
            log.write_fault("control", "a message could not be taken", error)
            self.refuse(f"{osc.address}: {type(error).__name__}: {error}")
        return self.desk.reached

    def _receive_osc(self, osc: OscMessage, sender: Sender) -> None:
        address, args = osc.address, osc.args
        if address != "/vj/ping":
            self._sender = sender
            self._queries.forget_fault(sender)
        self.surfaces.renew(sender, self._clock.now_ns() + LEASE_NS)
        if self._queries.is_command(address):
            self._monitor("osc", address, args)
            self._queries.command(address, args, sender)
        elif address == "/vj/tempo/beat":  # at once: it is the beat
            self._monitor("osc", address, args)
            self.sync.beat(self.registry.accept(address, args).args)
        elif asked := self._queries.question(address, args):
            self._queries.answer(asked, sender)
        else:
            self.receive(address, args, "osc", sender)
            return
        self.messages += 1

    def receive(self, address: str, args: Sequence[object], origin: str = "", key: object = None) -> None:
        """Take a message: check it, apply it. A wrong one is told and changes nothing. :meth:`settle` publishes.

        ``origin`` names the kind of hand, ``key`` the surface that sent it, if it is one that is told.
        """
        now_ns = self._clock.now_ns()
        if origin != "osc":
            self._sender = None
        self._monitor(origin, address, args)
        try:
            bent = self.desk.receive(now_ns, address, args, origin)
        except ConfigError as error:
            self.refuse(error)
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours, not of the message's: the next one is taken
            log.write_fault("control", f"{address} could not be taken", error)
            self.refuse(f"{address}: {type(error).__name__}: {error}")
            return
        self.messages += 1
        self.publisher.heard(key, address, args, now_ns)
        if bent:
            self.announcer.message(f"{address}: {bent}, the nearest that is allowed")

    def refuse(self, fault: str | ConfigError) -> None:
        """Count a message that makes no sense; tell why."""
        self.refused += 1
        if self._sender is not None:
            self._queries.keep_fault(self._sender, fault)
        self.announcer.message(fault)

    def _monitor(self, origin: str, address: str, args: Sequence[object]) -> None:
        self.monitored += 1
        shown = tuple(a if is_number(a) else visible(str(a)[:200]) for a in args[:8])
        self.monitor.append((self.monitored, origin, visible(address[:200]), shown))

    def tell_learnt(self, control: str, address: str) -> None:
        """Tell what MIDI learnt."""
        self.publisher.tell("/vj/status/learnt", control, address)
        self.announcer.note("ok", "midi", f"{control} plays {address}")

    # -- what follows from it ------------------------------------------------------------------------------

    def settle(self) -> None:
        """Publish what has changed, and do what the desk left to be done."""
        desk = self.desk
        if desk.state is not self._published:
            before, self._published = self._published, desk.state
            self._successor.forget_what_is_done()
            self.pipes.state.put(desk.state)
            self._follow(before)
        if desk.commands:
            commands, desk.commands = desk.commands, []
            for command in commands:
                self._do(command)
        if desk.performed:
            performed, desk.performed = desk.performed, []
            if self.boards is not None:
                for row in performed:
                    self.boards.hear(row.address, row.args)
            self._takes.write(performed)
        if desk.refused:
            refused, desk.refused = desk.refused, []
            for why in refused:
                self.refuse(why)

    def _follow(self, before: ShowState) -> None:
        """Do what another state than ``before`` asks of this process."""
        state, now_ns = self.desk.state, self._clock.now_ns()
        self.presets.tell_idle()
        if state.sync != before.sync:
            self.sync.change(before)
        if state.speech.on != before.speech.on:
            self._forget_listen("speech was switched")
            self.speech.switched(state.speech.on, now_ns)
        if state.take != before.take:
            self._takes.turn(state.take, before)
        if state.record != before.record:
            self._status.record(state.record, now_ns)

    def _do(self, command: Command) -> None:
        """Do what the desk cannot do by itself."""
        handler = self._handlers.get(command.address)
        if handler is not None:
            try:
                handler(command.args)
            except ConfigError as error:
                self.refuse(error)
            except Exception as error:  # noqa: BLE001 - a disk, a library: the show goes on without it
                log.write_fault("control", f"{command.address} could not be done", error)
                self.refuse(f"{command.address}: {type(error).__name__}: {error}")
        elif command.address.startswith(TEMPO):
            self.pipes.events.put(command)

    def _handled(self) -> Mapping[str, Callable[[tuple[Argument, ...]], None]]:
        """Return who does what the desk cannot do."""
        return {
            "/vj/preset/save": self.presets.save,
            "/vj/snapshot/store": self.presets.keep_snapshots,
            "/vj/midi/learn": lambda args: self._need_learner("learn").learn(str(args[0]) if args else ""),
            "/vj/midi/forget": lambda args: self._need_learner("forget").forget(str(args[0])),
            "/vj/take/play": self._takes.play,
            "/vj/tempo/beat": self.sync.beat,
            "/vj/speech/push": lambda args: self.speech.push(args, self._clock.now_ns()),
            "/vj/speech/drop": self.speech.drop,
            "/vj/board/star": lambda _args: self._need_boards().star(),
            "/vj/board/new": lambda args: self._need_boards().new(str(args[0]) if args else ""),
        }

    def _need_learner(self, what: str) -> Learner:
        if self.learner is None:
            raise ConfigError(f"/vj/midi/{what}: MIDI is unavailable")
        return self.learner

    def _need_boards(self) -> BoardRoom:
        if self.boards is None:
            raise ConfigError("boards need the web page: [web] on = true")
        return self.boards

    def _stop_recording(self) -> None:
        self.receive("/vj/record", (0,))
        self.settle()

    def _take_back(self, process: str) -> None:
        """Another process falls again and again: what it does comes from the state, which goes back to a calm one."""
        found = self._calm.taken_back(process, self.state, self._clock.now_ns())
        if found is None:
            return
        state, what = found
        if not what:
            why = f"{process} falls again and again, and nothing was changed of late that could be why"
            self.announce("state", why)
            return
        self.desk.state = state
        self.settle()
        self.announce("state", f"{process} fell again and again: what was changed last is taken back ({what})")

    # -- the loop ------------------------------------------------------------------------------------------

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Follow the other rooms' events, and the beat, until ``stopped``."""
        while not stopped():
            self.step()
            await asyncio.sleep(POLL_S)

    def close(self) -> None:
        """End what is recorded, and close every socket."""
        self._takes.close(SOUND_ENDS_S)
        if self.boards is not None:
            self.boards.close()
        self.server.close()
        self.publisher.close()

    def step(self) -> None:
        """Do what is due now, each part for itself: one that fails is announced and the others go on."""
        now_ns = self._clock.now_ns()
        self._guard("events", self._hear_others)
        self._guard("desk", lambda: self.desk.tick(now_ns, self.pipes.features.get().grid, self._ahead_ns()))
        self._guard("speech", lambda: self.speech.tick(now_ns))
        if self.boards is not None:
            self._guard("board", partial(self.boards.look, now_ns))
        self._guard("state", self.settle)
        if now_ns >= self._next_tell_ns:
            self._next_tell_ns = now_ns + TELL_NS
            self._guard("feedback", lambda: self.surfaces.tell(self.values(now_ns), now_ns))
            self._guard("memory", partial(self._successor.remember, now_ns))
        if now_ns >= self._next_status_ns:
            self._next_status_ns = now_ns + NS // 2
            self._guard("status", lambda: self._look(now_ns))
            self._guard("take", lambda: self._takes.flush(now_ns))
            while self._untold:
                self.announce("take sound", self._untold.popleft())
            self._guard("recording", lambda: self._status.check_recording(now_ns))
            self._calm.note(self.state, now_ns)

    def _look(self, now_ns: int) -> None:
        self._status.look(now_ns, self.messages, self.refused)
        self.speech.status(self.pipes.told.listen.fresh(now_ns))

    def _ahead_ns(self) -> int:
        """Return how long before a beat a change has to be made to be on the wall with it, and one round of ours."""
        return round(self.pipes.told.generate.get().lookahead_ms * 1e6) + round(POLL_S * NS)

    def values(self, now_ns: int) -> Mapping[str, Argument]:
        """Return what surfaces show; it is worked out once for a state, and anew while a morph is on its way."""
        state = self.state
        key = (state.revision, now_ns if state.glide is not None else 0)
        if key != self._values_of or not self._values:
            self._values_of, self._values = key, values(self.desk, now_ns)
        return self._values

    # -- what the other processes tell ---------------------------------------------------------------------

    def _hear_others(self) -> None:
        for reader in self.pipes.others:
            for event in reader.get():
                self._hear(event)

    def _hear(self, event: object) -> None:
        if isinstance(event, Degraded):
            if event.what.startswith("process ") and event.what != "process display":
                self._calm.fell(event.t_ns)
            if event.what == "process listen":
                self._forget_listen("another process listens")
            self.announcer.hear(event)
        elif isinstance(event, Speech):
            self.speech.hear(event, self._clock.now_ns())
        elif isinstance(event, (Drum, Onset, Section)):
            self.desk.hear(self._clock.now_ns(), event)
        elif isinstance(event, Command) and event.address == TAKE_BACK:
            self._take_back(str(event.args[0]))

    def _forget_listen(self, why: str) -> None:
        """What ailed the process that listens went with it."""
        for what in LISTEN_FAULTS & self.faults.keys():
            self.announcer.recover(what, why)


def _permit(check_output: Callable[[Mapping[str, Any]], None], message: Accepted) -> None:
    """Let no hand open an output that makes no sense or is not allowed. Raises ConfigError."""
    if message.address == "/vj/output/add":
        label, text = message.args
        check_output(row_of(str(label), str(text)).config)
