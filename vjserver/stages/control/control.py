"""Control: messages from every hand go in; the one state of the show comes out. Never in the way of ear or picture.

OSC, the panel, OSCQuery, MIDI and the preset's own triggers all end at the desk (``show/desk.py``): one address, one
check, one state. What the desk cannot do by itself (the tempo is the ear's, files are the shelf's) is done here.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, cast

from vjserver.controls.link import STEP_S, LinkMode, LinkSession
from vjserver.controls.osc import OscMessage, Sender
from vjserver.controls.oscserver import OscServer
from vjserver.dsp.pulses import PulseFollower
from vjserver.outputs.osc import OscTargetOptions
from vjserver.runtime import log
from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.osc import message
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.soundring import SoundReader
from vjserver.runtime.stats import StatsReader, StatsWriter
from vjserver.runtime.store import WORKERS, Channels, FeaturesReader, MemoryWriter, StateWriter, left_behind
from vjserver.show.cues import CueList
from vjserver.show.desk import OF_CUE, Desk, DeskMemory
from vjserver.show.history import STEPS, HistoryMemory
from vjserver.show.outputs import RECORD, row_of
from vjserver.show.pattern import is_pattern, matching
from vjserver.show.preset import Bank
from vjserver.show.registry import Registry, is_number
from vjserver.show.state import LOOK, TEMPO, ShowState, change_look, look_of
from vjserver.show.take import Take
from vjserver.stages.control.boarding import BoardRoom
from vjserver.stages.control.osc_publisher import LEASE_NS, LOOPBACK, OscPublisher, Subscriber, output_rows
from vjserver.stages.control.speaking import LISTEN_FAULTS, SpeakingMemory, SpeechRoom
from vjserver.stages.control.surfaces import Surfaces
from vjserver.stages.control.takes import TakeMemory, TakeWriter
from vjserver.stages.control.takesound import TakeSound
from vjserver.stages.control.user_library import UserLibrary
from vjserver.types.errors import ConfigError, DeviceError, UnknownNameError
from vjserver.types.events import TAKE_BACK, Argument, Command, Degraded, Drum, Onset, Section, Speech
from vjserver.types.features import silent_features
from vjserver.types.text import visible

POLL_S = 0.004
TELL_NS = NS // 60
MAX_FAULTS = 20
MONITORED = 200
NOTED = 50
FAULTS_KEPT = 64
MOST_TO_A_STRANGER = 64  # bytes: about what asking costs
MOST_WHY = 400  # signs: what is wrong may come with a long text
CALM_NS, CALM_KEPT = 10 * NS, 5
RECORD_PATIENCE_NS = 6 * NS
"""So long may a recording that is wanted not run: an encoder begins, a file is ended, a process is replaced."""
# What of the state makes a process do what it does, and may be why it falls.
CAUSES = {"deliver": ("outputs", "deliver"), "generate": LOOK, "ear": ("sync",), "listen": ("speech",)}


class Learner(Protocol):
    """What MIDI learn needs of the MIDI room."""

    def learn(self, address: str) -> None:
        """Tie the next control that moves to ``address``; ``""`` ends the wish. Raises ConfigError."""

    def forget(self, address: str) -> None:
        """Take back what was learnt for ``address``. Raises ConfigError."""


@dataclass(frozen=True, slots=True)
class Pipes:
    """The ends that control holds of the pipes between processes."""

    state: StateWriter
    features: FeaturesReader
    events: QueueWriter
    others: Sequence[QueueReader]
    stats: StatsWriter
    boards: Mapping[str, StatsReader]
    channels: Channels
    memory: MemoryWriter
    history: MemoryWriter

    @classmethod
    def of(cls, channels: Channels, others: Sequence[str] = ()) -> "Pipes":
        """Return the ends of ``channels``; the events of ``others`` are heard."""
        return cls(
            StateWriter(channels.state),
            FeaturesReader(channels, silent_features(0)),
            QueueWriter(channels.events("control")),
            [QueueReader(channels.events(name)) for name in others],
            StatsWriter(channels.stats("control")),
            {name: StatsReader(channels.stats(name)) for name in WORKERS},
            channels,
            MemoryWriter(channels.memory("control")),
            MemoryWriter(channels.memory("history")),
        )


@dataclass(frozen=True, slots=True)
class ControlMemory:
    """What control leaves to the process that comes after it, besides state and history.

    ``take`` is the name and begin of the take that is recorded, ``plays`` the name of the one that is played and where
    the desk is in it.
    """

    desk: DeskMemory
    subscribers: tuple[Subscriber, ...]
    take: TakeMemory | None
    plays: tuple[str, int, int, int, int | None] | None
    faults: dict[str, str]
    speaking: SpeakingMemory = field(default_factory=SpeakingMemory)


SOUND_ENDS_S = 1.0
"""So long the end of the server waits for a take's sound; what is missing then is made good when it is rendered."""


@dataclass(frozen=True, slots=True)
class OscLimits:
    """Whom OSC is taken from, and how much of it a second from each."""

    allow: tuple[str, ...] = ()
    most_per_s: int = 50_000
    trusted: tuple[str, ...] = LOOPBACK
    """Whose sender addresses are believed, so that they may be sent more than they sent."""


class Control:
    """The control process's state and loops.

    ``before`` is the state that a fallen predecessor left, if any, ``fresh`` the one in which the show begins.
    ``check_output`` raises ConfigError for an output's configuration that makes no sense or is not allowed.
    ``registry`` is what there is to be played; ``sound`` opens what the ear hears, for takes.
    """

    def __init__(
        self,
        registry: Registry,
        bank: Bank,
        clock: Clock,
        pipes: Pipes,
        before: ShowState | None,
        fresh: ShowState,
        check_output: Callable[[Mapping[str, Any]], None],
        targets: Sequence[OscTargetOptions],
        library: UserLibrary,
        cues: CueList | None = None,
        limits: OscLimits | None = None,
        sound: Callable[[], SoundReader] | None = None,
        wake: str = "",
        leaves: str = "",
        subtitles: bool = True,
        sound_kept: bool = False,
    ) -> None:
        self._clock, self.pipes, self._library, self.registry = clock, pipes, library, registry
        self._check_output = check_output
        seed = clock.now_ns() & 0xFFFF
        self.desk = Desk(bank, before or fresh, cues or CueList(), seed=seed, registry=registry)
        self.faults: dict[str, str] = {}
        self.monitor: deque[tuple[int, str, str, tuple[object, ...]]] = deque(maxlen=MONITORED)
        self.monitored = 0
        self.notes: deque[tuple[int, str, str, str]] = deque(maxlen=NOTED)
        """What was announced, newest last: number, kind (error, ok or message), what, why."""
        self._noted = 0
        self.messages = self.refused = 0
        self.learner: Learner | None = None
        self.boards: BoardRoom | None = None
        """Where cards are kept; None where there is no page that shows the picture."""
        self.server = OscServer(
            self.receive_osc, self.refuse, self.settle, *((limits.allow, limits.most_per_s) if limits else ())
        )
        self.surfaces = Surfaces()
        self.publisher = OscPublisher(
            targets, self.server, self.surfaces, self.desk, limits.trusted if limits else LOOPBACK
        )
        self._osc_beat = PulseFollower(1)
        self._left = self.desk.memory
        self._untold: deque[str] = deque(maxlen=8)
        self._take = TakeWriter(library, TakeSound(sound, self._untold.append) if sound is not None else None)
        self.speech = SpeechRoom(
            self.desk, self.receive, self.publisher.tell, partial(self._note, "ok"), wake, leaves,
            clock.now_ns() // 1_000_000, lambda: self._take.subtitles if subtitles else None, sound_kept,
        )  # fmt: skip
        self._plays = ""
        self._published = self.desk.state
        self._calm: deque[ShowState] = deque(maxlen=CALM_KEPT)
        self._fell_ns = -CALM_NS
        self._next_calm_ns = self._next_history_ns = 0
        self._broken: set[str] = set()
        self._recording_ns: int | None = None
        if before is not None:
            self._resume()
        pipes.state.put(self.desk.state)
        self._published = self.desk.state
        self._values_of: tuple[int, int] = (-1, 0)
        self._values: dict[str, Argument] = {}
        self._last_refusal_ns = -NS
        self._next_tell_ns = self._next_status_ns = 0
        self._hand: Sender | None = None
        """Whose message is being taken, or was last, where it came over OSC."""
        self._faults: dict[Sender, str | ConfigError] = {}
        self._lost = 0
        self._turned_away: dict[str, int] = {}
        self._idle_of: object = None
        self._asked = ("", 0)
        self._reloading: asyncio.Task[None] | None = None
        self._reload_again = False
        self._wrong_clocks: set[str] = set()

    @property
    def state(self) -> ShowState:
        """The state of the show."""
        return self.desk.state

    # -- what comes in -------------------------------------------------------------------------------------

    def receive_osc(self, osc: OscMessage, sender: Sender) -> int:
        """Take a message from the network: a question is answered to its sender, anything else is received.

        Returns how many addresses it reached.
        """
        self.desk.reached = 1
        try:
            self._receive_osc(osc, sender)
        except Exception as error:  # noqa: BLE001 - a fault of ours, not of the message's: the next one is taken
            log.write_fault("control", "a message could not be taken", error)
            self.refuse(f"{osc.address}: {type(error).__name__}: {error}")
        return self.desk.reached

    def _receive_osc(self, osc: OscMessage, sender: Sender) -> None:
        address, args = osc.address, osc.args
        if address != "/vj/ping":
            self._hand = sender
            self._faults.pop(sender, None)
        self.surfaces.renew(sender, self._clock.now_ns() + LEASE_NS)
        own = self._for_sender.get(address)
        if own is not None:
            self._monitor("osc", address, args)
            try:
                own(self, self.registry.accept(address, args)[1], sender)
                self.messages += 1
            except ConfigError as error:
                self.refuse(error)
        elif args == ("?",) or (address[-1] == "?" and self._is_known(address[:-1])):
            self._answer(address if args else address[:-1], sender)
        else:
            self.receive(address, args, "osc", sender)

    def receive(self, address: str, args: Sequence[object], origin: str = "", key: object = None) -> None:
        """Take a message: check it, apply it. A wrong one is told and changes nothing. :meth:`settle` publishes.

        ``origin`` names the kind of hand, ``key`` the surface that sent it, if it is one that is told.
        """
        now_ns = self._clock.now_ns()
        if origin != "osc":
            self._hand = None
        self._monitor(origin, address, args)
        try:
            if address == "/vj/output/add":
                label, text = self.registry.accept(address, args)[1]
                self._check_output(row_of(str(label), str(text)).config)
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
            self._tell_message(f"{address}: {bent}, the nearest that is allowed")

    def settle(self) -> None:
        """Publish what has changed, and do what the desk left to be done."""
        desk = self.desk
        if desk.state is not self._published:
            before, self._published = self._published, desk.state
            if desk.memory != self._left:  # what waited and is done must not be done again by a successor
                self._remember()
            self.pipes.state.put(desk.state)
            if (desk.state.preset, desk.bank) != self._idle_of:
                self._tell_idle()
            if desk.state.sync != before.sync:
                self._change_sync(before)
            if desk.state.speech.on != before.speech.on:
                self._forget_listen("speech was switched")
                self.speech.switched(desk.state.speech.on, self._clock.now_ns())
            if desk.state.take != before.take:
                self._turn_take(desk.state.take, before)
            if desk.state.record != before.record:
                self._recording_ns = self._clock.now_ns() if desk.state.record else None
        if desk.commands:
            commands, desk.commands = desk.commands, []
            for command in commands:
                self._do(command)
        if desk.performed:
            performed, desk.performed = desk.performed, []
            if self.boards is not None:
                for row in performed:
                    self.boards.hear(row.address, row.args)
            self._with_take(lambda: self._take.write(performed))
        if desk.refused:
            refused, desk.refused = desk.refused, []
            for why in refused:
                self.refuse(why)

    def refuse(self, fault: str | ConfigError) -> None:
        """Count a message that makes no sense; tell why."""
        self.refused += 1
        if self._hand is not None:
            while len(self._faults) >= FAULTS_KEPT:
                self._faults.pop(next(iter(self._faults)))
            self._faults[self._hand] = fault  # put into words only where somebody asks: that takes milliseconds
        self._tell_message(fault)

    def _tell_message(self, fault: str | ConfigError) -> None:
        """Tell what was wrong with a message, at most twice a second."""
        now_ns = self._clock.now_ns()
        if now_ns - self._last_refusal_ns > NS // 2:
            self._last_refusal_ns, why = now_ns, visible(str(fault)[:MOST_WHY])
            self.pipes.events.put(Degraded(now_ns, "message", why))
            self.publisher.tell("/vj/status/error", "message", why)
            self._note("message", "message", why)

    def tell_learnt(self, control: str, address: str) -> None:
        """Tell what MIDI learnt."""
        self.publisher.tell("/vj/status/learnt", control, address)
        self._note("ok", "midi", f"{control} plays {address}")

    def _note(self, kind: str, what: str, why: str) -> None:
        self._noted += 1
        self.notes.append((self._noted, kind, visible(what), visible(why)))

    def _monitor(self, origin: str, address: str, args: Sequence[object]) -> None:
        self.monitored += 1
        shown = tuple(a if is_number(a) else visible(str(a)[:200]) for a in args[:8])
        self.monitor.append((self.monitored, origin, visible(address[:200]), shown))

    # -- what only an OSC client can ask ---------------------------------------------------------------------

    def _answer(self, address: str, sender: Sender) -> None:
        """Send the value of an address, or of all that a pattern means."""
        try:
            star = is_pattern(address) and address not in self.registry.entries
            wanted = matching(address, self.registry.told) if star else (address,)
        except ConfigError as error:
            self.refuse(error)
            return
        rows = [(one, self.desk.read(one)) for one in wanted]
        found = [message(one, value) for one, value in rows if value is not None]
        if not found and self.registry.absent(address):
            self.refuse(f"{address[:80]}: generator {self.registry.absent(address)!r} is not installed")
            return
        if not found:
            self.refuse(UnknownNameError(f"nothing to read at {address[:80]!r}", address[:80], self.registry.told))
            return
        if sum(map(len, found)) > MOST_TO_A_STRANGER and not self.publisher.may_hear_much(sender):
            self.refuse(f"{address[:80]}: a long answer goes to who subscribed, or whom [osc] allow names")
            return
        self.messages += 1
        for packet in found:
            self.server.send(packet, sender)

    def _is_known(self, address: str) -> bool:
        """Tell whether an address is one, or would be if its generator were installed."""
        return address in self.registry.everything or bool(self.registry.absent(address))

    def _pong(self, args: tuple[Argument, ...], sender: Sender) -> None:
        """Answer a ping; who sent something wrong before it is told what was wrong with it."""
        fault = visible(str(self._faults.pop(sender, ""))[:MOST_WHY])
        told = (fault,) if fault and self.publisher.may_hear_much(sender) else ()
        self.server.send(message("/vj/pong", *(args[:1] or (told and ("",))), *told), sender)

    def _list_outputs(self, _args: tuple[Argument, ...], sender: Sender) -> None:
        if not self.publisher.may_hear_much(sender):
            raise ConfigError("/vj/output/list: a long answer goes to who subscribed, or whom [osc] allow names")
        for row in output_rows(self.state.outputs, self.pipes.boards["deliver"].fresh(self._clock.now_ns())):
            self.server.send(message("/vj/status/output", *row), sender)

    def _subscribe(self, args: tuple[Argument, ...], sender: Sender) -> None:
        self.publisher.subscribe(args, sender, self._clock.now_ns())

    def _unsubscribe(self, _args: tuple[Argument, ...], sender: Sender) -> None:
        self.surfaces.leave(sender)

    def _renew(self, args: tuple[Argument, ...], sender: Sender) -> None:
        if args and self.publisher.prove(int(args[0]), sender, self._clock.now_ns()):
            return
        if not self.surfaces.renew(sender, self._clock.now_ns() + LEASE_NS):
            raise ConfigError("/vj/renew: not subscribed, or longer than 10 s ago; send /vj/subscribe")

    def _beat(self, args: tuple[Argument, ...], _sender: Sender | None = None) -> None:
        """Take a beat that an OSC client keeps."""
        if self.state.sync.source != "osc":
            raise ConfigError("/vj/tempo/beat is heard where /vj/tempo/source is osc")
        grid = self._osc_beat.pulse(self._clock.now_ns())
        if args:
            self._osc_beat.set_position(int(args[0]))
        if grid is not None:
            beat_ns, bpm, position = grid
            self.follow_grid((beat_ns, bpm, int(args[0]) if args else position))

    _for_sender: Mapping[str, Callable[["Control", tuple[Argument, ...], Sender], None]] = {
        "/vj/ping": _pong,
        "/vj/output/list": _list_outputs,
        "/vj/subscribe": _subscribe,
        "/vj/unsubscribe": _unsubscribe,
        "/vj/renew": _renew,
        "/vj/tempo/beat": _beat,
    }

    # -- what the desk leaves to be done -------------------------------------------------------------------

    def _do(self, command: Command) -> None:
        handler = self._handlers.get(command.address)
        if handler is not None:
            try:
                handler(self, command.args)
            except ConfigError as error:
                self.refuse(error)
            except Exception as error:  # noqa: BLE001 - a disk, a library: the show goes on without that deed
                log.write_fault("control", f"{command.address} could not be done", error)
                self.refuse(f"{command.address}: {type(error).__name__}: {error}")
        elif command.address.startswith(TEMPO):
            self.pipes.events.put(command)

    def _save(self, args: tuple[Argument, ...]) -> None:
        path = self._library.save_preset(self.desk.look, str(args[0]) if args else "", self.desk.bank)
        self.announce("presets", f"saved as {path.name}", recovered=True)
        self._reload_soon()

    def _keep_snapshots(self, _args: tuple[Argument, ...]) -> None:
        self._library.save_snapshots(self.desk.snapshots)

    def _learn(self, args: tuple[Argument, ...]) -> None:
        if self.learner is None:
            raise ConfigError("/vj/midi/learn: MIDI is unavailable")
        self.learner.learn(str(args[0]) if args else "")

    def _need_boards(self) -> BoardRoom:
        if self.boards is None:
            raise ConfigError("boards need the web page: [web] on = true")
        return self.boards

    def _forget(self, args: tuple[Argument, ...]) -> None:
        if self.learner is None:
            raise ConfigError("/vj/midi/forget: MIDI is unavailable")
        self.learner.forget(str(args[0]))

    def _play_take(self, args: tuple[Argument, ...]) -> None:
        name, cued, stopped = str(args[0]) if args else "", OF_CUE in args[1:], self.desk.stopped
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._begin_take(*self._library.take(name), cued)
        else:  # a long one takes seconds to read, and the hands do not wait
            self._asked = name, stopped
            self._reading = loop.create_task(self._read_take(name, stopped, cued))

    async def _read_take(self, name: str, stopped: int, cued: bool) -> None:
        try:
            found, take = await asyncio.to_thread(self._library.take, name)
            if (name, stopped) == self._asked and stopped == self.desk.stopped:  # nobody stopped it meanwhile
                self._begin_take(found, take, cued)
        except ConfigError as error:
            self.refuse(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours: the show goes on without the take
            log.write_fault("control", f"take {name} could not be played", error)
            self.refuse(f"take {name}: {type(error).__name__}: {error}")

    def _begin_take(self, name: str, take: Take, cued: bool) -> None:
        self._plays = name
        if take.idle:
            self.announce("take", f"{name}: {take.idle}", recovered=True)
        self.desk.play(take, self._clock.now_ns(), cued)
        self.settle()

    _handlers: Mapping[str, Callable[["Control", tuple[Argument, ...]], None]] = {
        "/vj/preset/save": _save,
        "/vj/snapshot/store": _keep_snapshots,
        "/vj/midi/learn": _learn,
        "/vj/midi/forget": _forget,
        "/vj/take/play": _play_take,
        "/vj/tempo/beat": _beat,
        "/vj/speech/push": lambda self, args: self.speech.push(args, self._clock.now_ns()),
        "/vj/speech/drop": lambda self, args: self.speech.drop(args),
        "/vj/board/star": lambda self, _args: self._need_boards().star(),
        "/vj/board/new": lambda self, args: self._need_boards().new(str(args[0]) if args else ""),
    }

    def _reload_soon(self) -> None:
        """Read all presets anew beside the loop, once for as many wishes as come meanwhile."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.reload()
            return
        if self._reloading is not None and not self._reloading.done():
            self._reload_again = True
        else:
            self._reloading = loop.create_task(self.reload_beside())

    async def reload_beside(self) -> None:
        """Read all presets anew, on a thread: there may be thousands."""
        self._reload_again = True
        while self._reload_again:
            self._reload_again = False
            try:
                bank = await asyncio.to_thread(self._library.load)
            except ConfigError as error:
                self.announce("presets", f"{error}; the ones that were there stay")
            else:
                self._rebank(bank)

    def reload(self) -> None:
        """Read all presets anew; where one is broken, say so and keep those that are there."""
        try:
            bank = self._library.load()
        except ConfigError as error:
            self.announce("presets", f"{error}; the ones that were there stay")
            return
        self._rebank(bank)

    def _rebank(self, bank: Bank) -> None:
        bank = bank.repaired(self.desk.bank)
        self.tell_broken(bank)
        if bank != self.desk.bank:  # what we saved ourselves is noticed as an edited file too
            self.desk.rebank(bank, self._clock.now_ns())
            self.settle()

    def tell_broken(self, bank: Bank) -> None:
        """Name the presets that are broken, or tell that none is any more."""
        if bank.faults:
            there = {(name, slug) for name, (slug, _) in zip(bank.banks, bank.presets, strict=True)}
            kept = [slug for name, slug in bank.faults if (name, slug) in there]
            stays = f"; as it was before: {', '.join(kept)}" if kept else "; left out"
            self.announce("presets", "; ".join(fault.splitlines()[0] for fault in bank.faults.values()) + stays)
        elif "presets" in self.faults:
            self.announce("presets", "all of them can be read again", recovered=True)

    def _tell_idle(self) -> None:
        """Say once what of the preset that plays lies idle, because a generator is not installed."""
        place, bank = self._idle_of = self.state.preset, self.desk.bank
        idle = bank.presets[place][1].idle(self.registry) if place < len(bank.presets) else ()
        if idle:
            self.announce("preset", "; ".join(idle))
        elif "preset" in self.faults:
            self.announce("preset", "all that it names is here", recovered=True)

    def tell_absent(self) -> None:
        """Say what a generator brought that makes no sense, and what cues would do with one that is not here."""
        self._tell_idle()
        for fault in self.registry.faults:
            kind, _, why = fault.partition(": ")
            self.announce(f"generator {kind}", why)
        messages = [handler.do for cue in self.desk.cues.cues for handler in cue.do]
        absent = list(filter(None, map(self.registry.absent, messages)))
        takes = [cue.take for cue in self.desk.cues.cues if cue.take]
        missing = sorted(set(takes) - set(self._library.takes())) if takes else []
        if missing:
            self.announce("cue takes", f"there is no take {', '.join(map(repr, missing))} yet, which a cue is to play")
            self.faults.pop("cue takes")  # it may be recorded tonight
        if absent:
            kinds = sorted(set(absent))
            rows = [f"{kind} is not installed: {absent.count(kind)} messages lie idle" for kind in kinds]
            self.announce("cues", "; ".join(rows))

    def load_snapshots(self) -> None:
        """Take up the snapshots of other nights."""
        try:
            self.desk.snapshots = self._library.load_snapshots()
        except ConfigError as error:
            self.announce("snapshots", str(error))

    def _turn_take(self, on: bool, before: ShowState) -> None:
        self._take.end(self._clock.now_ns())
        if on:
            self._with_take(
                lambda: self.announce(
                    "take", f"recorded as {self._take.begin(before, self.state.t_ns, self.desk.seed)}", recovered=True
                )
            )

    def _with_take(self, handler: Callable[[], None]) -> None:
        """Do something with the take that is recorded; where that fails it is over, and the state says so."""
        try:
            handler()
        except ConfigError as error:
            self.announce("take", str(error))
            self.receive("/vj/take/record", (0,))

    # -- what outlives a fall ------------------------------------------------------------------------------

    def _resume(self) -> None:
        """Take up what a predecessor left besides the state: what waits, the history, subscribers, takes."""
        now_ns, channels = self._clock.now_ns(), self.pipes.channels
        memory = left_behind(channels.memory("control"), ControlMemory)
        history = left_behind(channels.memory("history"), HistoryMemory)
        if history is not None:
            self.desk.history.resume(history)
        if memory is None:
            self.desk.state = replace(self.state, take=False)
            return
        self.desk.resume(memory.desk)
        self.speech.resume(memory.speaking)
        self.faults.update(memory.faults)
        self.publisher.resume(memory.subscribers, now_ns)
        for what, handler in (("played", self._play_on), ("recorded", self._record_on)):
            try:
                handler(memory)
            except ConfigError as error:
                self.announce("take", f"not {what} on: {error}")
        if self._take.memory is None:
            self.desk.state = replace(self.state, take=False)
        self._recording_ns = now_ns if self.state.record else None

    def _play_on(self, memory: ControlMemory) -> None:
        if memory.plays is not None:
            self._plays, began_ns, place, beats, first_beat = memory.plays
            self.desk.play_on(self._library.take(self._plays)[1], began_ns, place, beats, first_beat)

    def _record_on(self, memory: ControlMemory) -> None:
        if memory.take is not None and self.state.take:
            self._take.resume(memory.take)

    def _remember(self) -> None:
        """Leave to a successor what it has to know."""
        self._left, playing = self.desk.memory, self.desk.playing
        plays = (self._plays, *playing) if playing is not None else None
        rows = self.publisher.subscribers()
        faults, speaking = dict(self.faults), self.speech.memory
        self.pipes.memory.put(ControlMemory(self._left, rows, self._take.memory, plays, faults, speaking))

    def _remember_all(self, now_ns: int) -> None:
        """Leave the history too, which is long, once a second."""
        self._remember()
        if now_ns >= self._next_history_ns:
            self._next_history_ns = now_ns + NS
            many = STEPS
            while not self.pipes.history.put(self.desk.history.memory(many)) and many > 1:
                many //= 2

    def _note_calm(self, now_ns: int) -> None:
        """Keep the state as it was while no process fell, and pictures came: one that hangs has not fallen yet."""
        if now_ns >= self._next_calm_ns:
            self._next_calm_ns = now_ns + 2 * NS
            pictures = self.pipes.boards["generate"]
            if now_ns - self._fell_ns > CALM_NS and (pictures.fresh(now_ns) or not pictures.get()):
                self._calm.append(self.state)

    def _take_back(self, name: str) -> None:
        """Another process falls again and again: what it does comes from the state, which goes back to a calm one."""
        if not self._calm:
            return
        calm, now = self._calm[0], self.state
        fields = CAUSES.get(name, ())
        changed = {field: getattr(calm, field) for field in fields if getattr(calm, field) != getattr(now, field)}
        if not changed:
            self.announce("state", f"{name} falls again and again, and nothing was changed of late that could be why")
            return
        if name == "generate":
            self.desk.state = replace(change_look(now, now.t_ns, look_of(calm), 0.0, self.registry), glide=None)
        else:
            self.desk.state = replace(now, **changed)
        self.desk.state = replace(self.state, t_ns=self._clock.now_ns(), revision=now.revision + 1)
        self.settle()
        what = f"preset {calm.preset_name!r} as it was" if name == "generate" else ", ".join(changed)
        self.announce("state", f"{name} fell again and again: what was changed last is taken back ({what})")

    # -- is what the state says true? ----------------------------------------------------------------------

    def _check_recording(self, now_ns: int) -> None:
        """Where the recording that the state speaks of does not run, say so there too."""
        if self._recording_ns is None:
            return
        row = self.pipes.boards["deliver"].get().get("outputs", {}).get(RECORD, {})
        if row.get("alive"):
            self._recording_ns = now_ns
        elif now_ns - self._recording_ns > RECORD_PATIENCE_NS:
            self._recording_ns = None
            self.announce("record", "nothing is recorded: the recording could not go on")
            self.receive("/vj/record", (0,))
            self.settle()

    # -- who keeps the beat --------------------------------------------------------------------------------

    def follow_grid(self, grid: tuple[Argument, ...]) -> None:
        """Tell the ear the grid that somebody else keeps: a beat's time, the tempo, its place; nothing: none any more.

        ``auto`` gives the clock back to the ear.
        """
        now_ns = self._clock.now_ns()
        self.pipes.events.put(Command(now_ns, "/vj/tempo/grid" if grid else "/vj/tempo/auto", grid))

    def _change_sync(self, before: ShowState) -> None:
        source = self.state.sync.source
        if source != before.sync.source:
            self._osc_beat = PulseFollower(1, self.desk.grid.beats_per_bar)
            if source == "tap":
                self.pipes.events.put(Command(self._clock.now_ns(), "/vj/tempo/lock", (True,)))
            else:
                self.follow_grid(())

    async def run_link(self, stopped: Callable[[], bool]) -> None:
        """Sit in the Ableton Link session while it is wanted; what cannot be is announced once, and the ear goes on."""
        session = LinkSession(self._clock, lambda: self.pipes.features.get().grid, self.follow_grid)
        before: LinkMode = "off"
        try:
            while not stopped():
                mode = cast(LinkMode, self.state.sync.link)
                if mode != before:
                    before = mode
                    if mode == "off":
                        session.leave()
                    else:
                        await self._join_link(session)
                session.step(mode)
                await asyncio.sleep(STEP_S)
        finally:
            session.leave()

    async def _join_link(self, session: LinkSession) -> None:
        try:
            await session.join()
        except DeviceError as error:
            self.announce("link", str(error))
        else:
            if "link" in self.faults:
                self.announce("link", "joined", recovered=True)

    # -- the loop ------------------------------------------------------------------------------------------

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Follow the other rooms' events, and the beat, until ``stopped``."""
        while not stopped():
            self.step()
            await asyncio.sleep(POLL_S)

    def close(self) -> None:
        """End what is recorded, and close every socket."""
        self._take.end(self._clock.now_ns())
        self._take.wait(SOUND_ENDS_S)
        if self.boards is not None:
            self.boards.close()
        self.server.close()
        self.publisher.close()

    def step(self) -> None:
        """Do what is due now, each part for itself: one that fails is announced and the others go on."""
        now_ns = self._clock.now_ns()
        self._guarded("events", self._hear_others)
        self._guarded("desk", lambda: self.desk.tick(now_ns, self.pipes.features.get().grid, self._ahead_ns()))
        self._guarded("speech", lambda: self.speech.tick(now_ns))
        if self.boards is not None:
            self._guarded("board", partial(self.boards.look, now_ns))
        self._guarded("state", self.settle)
        if now_ns >= self._next_tell_ns:
            self._next_tell_ns = now_ns + TELL_NS
            self._guarded("feedback", lambda: self.surfaces.tell(self.values(now_ns), now_ns))
            self._guarded("memory", lambda: self._remember_all(now_ns))
        if now_ns >= self._next_status_ns:
            self._next_status_ns = now_ns + NS // 2
            self._guarded("status", lambda: self._tell_status(now_ns))
            self._guarded("take", lambda: self._with_take(lambda: self._take.flush(now_ns)))
            while self._untold:
                self.announce("take sound", self._untold.popleft())
            self._guarded("recording", lambda: self._check_recording(now_ns))
            self._note_calm(now_ns)

    def _guarded(self, name: str, handler: Callable[[], None]) -> None:
        try:
            handler()
        except Exception as error:  # noqa: BLE001 - whatever it is: the hands must stay on the show
            if name not in self._broken:
                self._broken.add(name)
                log.write_fault("control", f"{name} failed", error)
                self.announce(f"control {name}", f"{type(error).__name__}: {error}")
        else:
            if name in self._broken:
                self._broken.discard(name)
                self.announce(f"control {name}", "works again", recovered=True)

    def _hear_others(self) -> None:
        for reader in self.pipes.others:
            for event in reader.get():
                self._hear(event)

    def _ahead_ns(self) -> int:
        """Return how long before a beat a change has to be made to be on the wall with it, and one round of ours."""
        made_ms = float(self.pipes.boards["generate"].get().get("lookahead_ms", 0.0))
        return round(made_ms * 1e6) + round(POLL_S * NS)

    def values(self, now_ns: int) -> Mapping[str, Argument]:
        """Return what surfaces show; it is worked out once for a state, and anew while a morph is on its way."""
        state = self.state
        key = (state.revision, now_ns if state.glide is not None else 0)
        if key != self._values_of or not self._values:
            self._values_of, self._values = key, self.desk.values(now_ns)
        return self._values

    def announce(self, what: str, why: str, recovered: bool = False) -> None:
        """Tell the terminal, the panel and the listeners what works less well than it should, or works again."""
        event = Degraded(self._clock.now_ns(), what, why, recovered)
        self.pipes.events.put(event)
        self._hear(event)

    def _hear(self, event: object) -> None:
        if isinstance(event, Degraded):
            self.faults.pop(event.what, None)
            if event.what.startswith("process ") and event.what != "process display":
                self._fell_ns = event.t_ns
            if event.what == "process listen":
                self._forget_listen("another process listens")
            if not event.recovered:
                self.faults[event.what] = event.why
                while len(self.faults) > MAX_FAULTS:
                    self.faults.pop(next(iter(self.faults)))
            kind = "ok" if event.recovered else "error"
            self.publisher.tell(f"/vj/status/{kind}", event.what, event.why)
            self._note(kind, event.what, event.why)
        elif isinstance(event, Speech):
            self.speech.hear(event, self._clock.now_ns())
        elif isinstance(event, (Drum, Onset, Section)):
            self.desk.hear(self._clock.now_ns(), event)
        elif isinstance(event, Command) and event.address == TAKE_BACK:
            self._take_back(str(event.args[0]))

    def _forget_listen(self, why: str) -> None:
        """What ailed the process that listens went with it."""
        for what in LISTEN_FAULTS & self.faults.keys():
            self.announce(what, why, recovered=True)

    def _tell_lost(self) -> None:
        lost = sum(reader.lost for reader in self.pipes.others)
        if lost > self._lost:
            self.announce("events", f"{lost - self._lost} lost: this process was stopped for too long")
        elif "events" in self.faults:
            self.announce("events", "none lost any more", recovered=True)
        self._lost = lost

    def _tell_flood(self) -> None:
        """Announce a flood, and who is turned away."""
        for what, count, words in (
            (
                "osc flood",
                self.server.flooded,
                "messages were left out: more came from one machine than [osc] most_per_s",
            ),
            ("osc stranger", self.server.denied, "packets were not taken: they came from who is not in [osc] allow"),
        ):
            new = count - self._turned_away.get(what, 0)
            self._turned_away[what] = count
            if new:
                self.announce(what, f"{new} {words}")
            elif what in self.faults:
                self.announce(what, "over", recovered=True)
        while self.server.wrong_clocks:
            host, ahead_s = self.server.wrong_clocks.popitem()
            if host not in self._wrong_clocks and len(self._wrong_clocks) < MAX_FAULTS:
                self._wrong_clocks.add(host)
                why = f"the clock of {host} is {ahead_s:.1f} s ahead of ours; its messages are taken at once"
                self.announce("osc clock", why)

    def _tell_status(self, now_ns: int) -> None:
        self._tell_lost()
        self._tell_flood()
        self.publisher.status(self.pipes.boards, now_ns)
        self.speech.status(self.pipes.boards["listen"].fresh(now_ns))
        self.pipes.stats.put(
            {
                "t_ns": now_ns,
                "preset": self.state.preset_name,
                "prompt": self.state.heaviest[:200],
                "osc_received": self.server.received,
                "messages": self.messages,
                "refused": self.refused + self.server.refused,
                "turned_away": self.server.flooded + self.server.denied,
            }
        )
