"""Control: messages from every hand go in; the one state of the show comes out. Never in the way of ear or picture.

OSC, the panel, OSCQuery, MIDI and the preset's own triggers all end at the desk (``show/desk.py``): one address, one
check, one state. What the desk cannot do by itself (the tempo is the ear's, files are the shelf's) is done here.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from typing import Any, BinaryIO, Protocol, cast

from vjserver.controls.link import STEP_S, LinkMode, LinkSession
from vjserver.controls.osc import OscMessage, OscServer, Sender
from vjserver.dsp.pulses import PulseFollower
from vjserver.outputs.osc import OscTargetOptions, StatusSender
from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.osc import bundle, message
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.stats import StatsReader, StatsWriter
from vjserver.runtime.store import FeaturesReader, StateWriter
from vjserver.show.addresses import REGISTRY
from vjserver.show.changes import TOLD
from vjserver.show.cues import CueList
from vjserver.show.desk import Desk
from vjserver.show.outputs import row_of
from vjserver.show.pattern import is_pattern, matching
from vjserver.show.preset import Bank
from vjserver.show.registry import accept, clean
from vjserver.show.state import TEMPO, ShowState, enter
from vjserver.show.take import Played, head, line
from vjserver.stages.feedback import Feedback, News
from vjserver.stages.shelf import Shelf
from vjserver.types.errors import ConfigError, DeviceError, UnknownNameError
from vjserver.types.events import Argument, Command, Degraded, Drum, Onset, Section
from vjserver.types.features import BAND_NAMES, Features

POLL_S = 0.004
TELL_NS = NS // 60
LEASE_NS = 10 * NS
MAX_TROUBLES = 20
MONITORED = 200
NOTED = 50
MOST_WHY = 400  # signs: what is wrong may come with a long text
TELL_AGAIN_NS = 5 * NS
BUNDLE_BYTES = 1200  # below what any network takes in one piece


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


@dataclass(frozen=True, slots=True)
class OscLimits:
    """Whom OSC is taken from, and how much of it a second from each."""

    allow: tuple[str, ...] = ()
    most_per_s: int = 50_000


class Control:
    """The control process's state and loops.

    ``before`` is the state that a fallen predecessor left, if any, ``fresh`` the one in which the show begins.
    ``check_output`` raises ConfigError for an output's configuration that makes no sense or is not allowed.
    """

    def __init__(
        self,
        bank: Bank,
        first: Argument,
        clock: Clock,
        pipes: Pipes,
        before: ShowState | None,
        fresh: ShowState,
        check_output: Callable[[Mapping[str, Any]], None],
        targets: Sequence[OscTargetOptions],
        shelf: Shelf,
        cues: CueList | None = None,
        limits: OscLimits | None = None,
    ) -> None:
        self._clock, self._pipes, self._shelf = clock, pipes, shelf
        self._check_output = check_output
        place, preset = bank.find(first) if before is None else (0, None)
        state = enter(fresh, place, preset) if preset is not None else cast(ShowState, before)
        self.desk = Desk(bank, state, cues or CueList(), seed=clock.now_ns() & 0xFFFF)
        self.troubles: dict[str, str] = {}
        self.monitor: deque[tuple[int, str, str, tuple[object, ...]]] = deque(maxlen=MONITORED)
        self.monitored = 0
        self.notes: deque[tuple[int, str, str, str]] = deque(maxlen=NOTED)
        """What was announced, newest last: number, kind (error, ok or message), what, why."""
        self._noted = 0
        self.messages = self.refused = 0
        self.learner: Learner | None = None
        self.server = OscServer(
            self.receive_osc, self.refuse, self.settle, *((limits.allow, limits.most_per_s) if limits else ())
        )
        self._status = StatusSender(targets)
        self.feedback = Feedback()
        self._near: dict[str, list[OscTargetOptions]] = {}  # targets by host: who sends from there may be one of them
        self._subscribers: dict[Sender, tuple[str, Sender]] = {}
        self._join_targets(targets)
        self._osc_beat = PulseFollower(1)
        self._take: tuple[BinaryIO, int] | None = None
        self._published = state
        pipes.state.put(state)
        self._values_of: tuple[int, int] = (-1, 0)
        self._values: dict[str, Argument] = {}
        self._last_refusal_ns = -NS
        self._told: dict[str, tuple[float | int | str, ...]] = {}
        self._tell_again_ns = self._next_tell_ns = self._next_status_ns = 0
        self._lost = 0
        self._turned_away: dict[str, int] = {}

    @property
    def state(self) -> ShowState:
        """The state of the show."""
        return self.desk.state

    # -- what comes in -------------------------------------------------------------------------------------

    def receive_osc(self, osc: OscMessage, sender: Sender) -> None:
        """Take a message from the network: a question is answered to its sender, anything else is received."""
        address, args = osc.address, osc.args
        self.feedback.renew(sender, self._clock.now_ns() + LEASE_NS)
        own = self._for_sender.get(address)
        if own is not None:
            self._monitor("osc", address, args)
            try:
                own(self, accept(address, args), sender)
                self.messages += 1
            except ConfigError as error:
                self.refuse(error)
        elif args == ("?",) or (address[-1] == "?" and address[:-1] in REGISTRY):
            self._answer(address if args else address[:-1], sender)
        else:
            self.receive(address, args, "osc", sender)

    def receive(self, address: str, args: Sequence[object], by: str = "", key: object = None) -> None:
        """Take a message: check it, apply it. A wrong one is told and changes nothing. :meth:`settle` publishes.

        ``by`` names the kind of hand, ``key`` the surface that sent it, if it is one that is told.
        """
        now_ns = self._clock.now_ns()
        self._monitor(by, address, args)
        try:
            if address == "/vj/output/add":
                label, text = accept(address, args)
                self._check_output(row_of(str(label), str(text)).config)
            bent = self.desk.receive(now_ns, address, args, by)
        except ConfigError as error:
            self.refuse(error)
            return
        self.messages += 1
        if address in _TOLD and len(args) == 1 and isinstance(args[0], (int, float, str)):
            self.feedback.heard(key, address, args[0], now_ns)
            for near in self._near.get(key[0], ()) if isinstance(key, tuple) else ():
                self.feedback.heard(near, address, args[0], now_ns)
        if bent:
            self._tell_message(f"{address}: {bent}, the nearest that is allowed")

    def settle(self) -> None:
        """Publish what has changed, and do what the desk left to be done."""
        desk = self.desk
        if desk.state is not self._published:
            before, self._published = self._published, desk.state
            self._pipes.state.put(desk.state)
            if desk.state.sync != before.sync:
                self._change_sync(before)
            if desk.state.take != before.take:
                self._turn_take(desk.state.take, before)
        if desk.commands:
            commands, desk.commands = desk.commands, []
            for command in commands:
                self._do(command)
        if desk.performed:
            self._write_take()
        if desk.refused:
            refused, desk.refused = desk.refused, []
            for why in refused:
                self.refuse(why)

    def refuse(self, fault: str | ConfigError) -> None:
        """Count a message that makes no sense; tell why."""
        self.refused += 1
        self._tell_message(fault)

    def _tell_message(self, fault: str | ConfigError) -> None:
        """Tell what was wrong with a message, at most twice a second."""
        now_ns = self._clock.now_ns()
        if now_ns - self._last_refusal_ns > NS // 2:
            self._last_refusal_ns, why = now_ns, clean(str(fault)[:MOST_WHY])
            self._pipes.events.put(Degraded(now_ns, "message", why))
            self._tell("/vj/status/error", "message", why)
            self._note("message", "message", why)

    def tell_learnt(self, control: str, address: str) -> None:
        """Tell what MIDI learnt."""
        self._tell("/vj/status/learnt", control, address)
        self._note("ok", "midi", f"{control} plays {address}")

    def _note(self, kind: str, what: str, why: str) -> None:
        self._noted += 1
        self.notes.append((self._noted, kind, what, why))

    def _monitor(self, by: str, address: str, args: Sequence[object]) -> None:
        self.monitored += 1
        shown = tuple(a if isinstance(a, (int, float)) and isfinite(a) else str(a)[:200] for a in args[:8])
        self.monitor.append((self.monitored, by, address[:200], shown))

    # -- what only an OSC client can ask ---------------------------------------------------------------------

    def _answer(self, address: str, sender: Sender) -> None:
        """Send the value of an address, or of all that a pattern means."""
        try:
            wanted = matching(address, TOLD) if is_pattern(address) and address not in REGISTRY else (address,)
        except ConfigError as error:
            self.refuse(error)
            return
        rows = [(one, self.desk.read(one)) for one in wanted]
        found = [message(one, _plain(value)) for one, value in rows if value is not None]
        if not found:
            self.refuse(UnknownNameError(f"nothing to read at {address[:80]!r}", address[:80], TOLD))
            return
        self.messages += 1
        for packet in found:
            self.server.send(packet, sender)

    def _pong(self, args: tuple[Argument, ...], sender: Sender) -> None:
        self.server.send(message("/vj/pong", *[_plain(arg) for arg in args[:1]]), sender)

    def _list_outputs(self, _args: tuple[Argument, ...], sender: Sender) -> None:
        for row in self._output_rows(self._pipes.boards["deliver"].get()):
            self.server.send(message("/vj/status/output", *row), sender)

    def _subscribe(self, args: tuple[Argument, ...], sender: Sender) -> None:
        port = next((int(arg) for arg in args if not isinstance(arg, str)), sender[1])
        kind = next((str(arg) for arg in args if isinstance(arg, str)), "all")
        if kind not in ("all", "numbers", "text"):
            raise ConfigError(f"/vj/subscribe takes all, numbers or text: got {kind[:40]!r}")
        if not 1 <= port <= 65535:
            raise ConfigError(f"/vj/subscribe takes a port in 1..65535: got {port}")
        to = (sender[0], port)
        send = partial(self._send_news, lambda packet: self.server.send(packet, to))
        self.feedback.join(sender, send, partial(_is_kind, kind), self._clock.now_ns() + LEASE_NS)
        self._subscribers[sender] = kind, to

    def _unsubscribe(self, _args: tuple[Argument, ...], sender: Sender) -> None:
        self.feedback.leave(sender)

    def _renew(self, _args: tuple[Argument, ...], sender: Sender) -> None:
        if not self.feedback.renew(sender, self._clock.now_ns() + LEASE_NS):
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
        deed = self._deeds.get(command.address)
        if deed is not None:
            try:
                deed(self, command.args)
            except ConfigError as error:
                self.refuse(error)
        elif command.address.startswith(TEMPO):
            self._pipes.events.put(command)

    def _save(self, args: tuple[Argument, ...]) -> None:
        path = self._shelf.save_preset(self.desk.look, str(args[0]) if args else "", self.desk.bank)
        self.announce("presets", f"saved as {path.name}", mended=True)
        self.reload()

    def _keep_snapshots(self, _args: tuple[Argument, ...]) -> None:
        self._shelf.save_snapshots(self.desk.snapshots)

    def _learn(self, args: tuple[Argument, ...]) -> None:
        if self.learner is None:
            raise ConfigError("/vj/midi/learn: MIDI is unavailable")
        self.learner.learn(str(args[0]) if args else "")

    def _forget(self, args: tuple[Argument, ...]) -> None:
        if self.learner is None:
            raise ConfigError("/vj/midi/forget: MIDI is unavailable")
        self.learner.forget(str(args[0]))

    def _play_take(self, args: tuple[Argument, ...]) -> None:
        take = self._shelf.take(str(args[0]) if args else "")
        self.desk.play(take, self._clock.now_ns())
        self.settle()

    _deeds: Mapping[str, Callable[["Control", tuple[Argument, ...]], None]] = {
        "/vj/preset/save": _save,
        "/vj/snapshot/store": _keep_snapshots,
        "/vj/midi/learn": _learn,
        "/vj/midi/forget": _forget,
        "/vj/take/play": _play_take,
        "/vj/tempo/beat": _beat,
    }

    def reload(self) -> None:
        """Read all presets anew; where one is broken, say so and keep those that are there."""
        try:
            bank = self._shelf.load()
        except ConfigError as error:
            self.announce("presets", f"{error}; the ones that were there stay")
            return
        self.desk.rebank(bank, self._clock.now_ns())
        self.settle()
        if "presets" in self.troubles:
            self.announce("presets", "all of them can be read again", mended=True)

    def load_snapshots(self) -> None:
        """Take up the snapshots of other nights."""
        try:
            self.desk.snapshots = self._shelf.load_snapshots()
        except ConfigError as error:
            self.announce("snapshots", str(error))

    def _turn_take(self, on: bool, before: ShowState) -> None:
        if self._take is not None:
            file, began_ns = self._take
            end = Played(self._clock.now_ns(), "/vj/take/stop", ())
            with contextlib.suppress(OSError), file:
                file.write(line(end, began_ns))
            self._take = None
        if on:
            try:
                path, file = self._shelf.new_take(time.strftime("%Y-%m-%d-%H%M%S"))
                file.write(head(replace(before, t_ns=self.state.t_ns)))
            except (ConfigError, OSError) as error:
                self.announce("take", f"not recorded: {error}")
                self.receive("/vj/take/record", (0,))
                return
            self._take = file, self.state.t_ns
            self.announce("take", f"recorded as {path.name}", mended=True)

    def _write_take(self) -> None:
        """Write what was played into the take that is recorded, but for what records and plays takes itself."""
        performed, self.desk.performed = self.desk.performed, []
        if self._take is None:
            return
        file, began_ns = self._take
        try:
            for row in performed:
                if not row.address.startswith("/vj/take/"):
                    file.write(line(row, began_ns))
        except OSError as error:
            self.announce("take", f"broken off: {error.strerror}")
            self.receive("/vj/take/record", (0,))

    # -- who keeps the beat --------------------------------------------------------------------------------

    def follow_grid(self, grid: tuple[Argument, ...]) -> None:
        """Tell the ear the grid that somebody else keeps: a beat's time, the tempo, its place; nothing: none any more.

        ``auto`` gives the clock back to the ear.
        """
        now_ns = self._clock.now_ns()
        self._pipes.events.put(Command(now_ns, "/vj/tempo/grid" if grid else "/vj/tempo/auto", grid))

    def _change_sync(self, before: ShowState) -> None:
        source = self.state.sync.source
        if source != before.sync.source:
            self._osc_beat = PulseFollower(1, self.desk.grid.beats_per_bar)
            if source == "tap":
                self._pipes.events.put(Command(self._clock.now_ns(), "/vj/tempo/lock", (True,)))
            else:
                self.follow_grid(())

    async def run_link(self, stopped: Callable[[], bool]) -> None:
        """Sit in the Ableton Link session while it is wanted; what cannot be is announced once, and the ear goes on."""
        session = LinkSession(self._clock, lambda: self._pipes.features.get().grid, self.follow_grid)
        before: LinkMode = "off"
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
        session.leave()

    async def _join_link(self, session: LinkSession) -> None:
        try:
            await session.join()
        except DeviceError as error:
            self.announce("link", str(error))
        else:
            if "link" in self.troubles:
                self.announce("link", "joined", mended=True)

    # -- the loop ------------------------------------------------------------------------------------------

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Follow the other rooms' events, and the beat, until ``stopped``."""
        while not stopped():
            self.step()
            await asyncio.sleep(POLL_S)
        if self._take is not None:
            self._turn_take(False, self.state)
        self.server.close()
        self._status.close()

    def step(self) -> None:
        """Do what is due now."""
        now_ns = self._clock.now_ns()
        for reader in self._pipes.others:
            for event in reader.get():
                self._hear(event)
        grid = self._pipes.features.get().grid
        self.desk.tick(now_ns, grid, self._ahead_ns())
        self.settle()
        if now_ns >= self._next_tell_ns:
            self._next_tell_ns = now_ns + TELL_NS
            self.feedback.tell(self.values(now_ns), now_ns)
        if now_ns >= self._next_status_ns:
            self._next_status_ns = now_ns + NS // 2
            self._tell_status(now_ns)

    def _ahead_ns(self) -> int:
        """Return how long before a beat a change has to be made to be on the wall with it, and one round of ours."""
        made_ms = float(self._pipes.boards["generate"].get().get("lookahead_ms", 0.0))
        return round(made_ms * 1e6) + round(POLL_S * NS)

    def values(self, now_ns: int) -> Mapping[str, Argument]:
        """Return what surfaces show; it is worked out once for a state, and anew while a morph is on its way."""
        state = self.state
        key = (state.revision, now_ns if state.glide is not None else 0)
        if key != self._values_of or not self._values:
            self._values_of, self._values = key, self.desk.values(now_ns)
        return self._values

    def announce(self, what: str, why: str, mended: bool = False) -> None:
        """Tell the terminal, the panel and the listeners what works less well than it should, or works again."""
        event = Degraded(self._clock.now_ns(), what, why, mended)
        self._pipes.events.put(event)
        self._hear(event)

    def _hear(self, event: object) -> None:
        if isinstance(event, Degraded):
            self.troubles.pop(event.what, None)
            if not event.mended:
                self.troubles[event.what] = event.why
                while len(self.troubles) > MAX_TROUBLES:
                    self.troubles.pop(next(iter(self.troubles)))
            kind = "ok" if event.mended else "error"
            self._tell(f"/vj/status/{kind}", event.what, event.why)
            self._note(kind, event.what, event.why)
        elif isinstance(event, (Drum, Onset, Section)):
            self.desk.hear(self._clock.now_ns(), event)

    # -- what goes out -------------------------------------------------------------------------------------

    def _join_targets(self, targets: Sequence[OscTargetOptions]) -> None:
        """Let the show file's targets hear what changes; what is there at the start they may ask for."""
        for target in targets:
            send = partial(self._send_news, partial(self._status.send_to, target))
            self.feedback.join(target, send, partial(_is_kind, target.kind))
            self.feedback.surfaces[target].listener.knows.update(self.desk.values(self._clock.now_ns()))
            self._near.setdefault(target.host, []).append(target)

    @staticmethod
    def _send_news(send: Callable[[bytes], None], news: News) -> None:
        """Send news as bundles."""
        packets: list[bytes] = []
        for address, value in news:
            packets.append(message(address, _plain(value)))
            if sum(map(len, packets)) > BUNDLE_BYTES:
                send(bundle(packets))
                packets = []
        if packets:
            send(bundle(packets))

    def _tell(self, address: str, *args: float | int | str) -> None:
        """Tell slow news to the targets and to every OSC client that subscribed."""
        self._status.tell(address, *args)
        needed = "text" if any(isinstance(arg, str) for arg in args) else "numbers"
        for sender, (kind, to) in list(self._subscribers.items()):
            if sender not in self.feedback.surfaces:
                del self._subscribers[sender]
            elif kind in (needed, "all"):
                self.server.send(message(address, *args), to)

    def _tell_once(self, address: str, *args: float | int | str) -> None:
        """Tell what has changed since it was last told."""
        if self._told.get(address) != args:
            self._told[address] = args
            self._tell(address, *args)

    def _tell_lost(self) -> None:
        lost = sum(reader.lost for reader in self._pipes.others)
        if lost > self._lost:
            self.announce("events", f"{lost - self._lost} lost: this process was stopped for too long")
        elif "events" in self.troubles:
            self.announce("events", "none lost any more", mended=True)
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
            elif what in self.troubles:
                self.announce(what, "over", mended=True)

    def _tell_status(self, now_ns: int) -> None:
        self._tell_lost()
        self._tell_flood()
        if now_ns >= self._tell_again_ns:  # for who began to listen only now
            self._tell_again_ns = now_ns + TELL_AGAIN_NS
            self._told.clear()
        self._tell_once("/vj/status/preset", self.state.preset_name)
        self._tell_once("/vj/status/prompt", self.state.heaviest)
        self._tell_once("/vj/status/cue", *self.cue_names())
        for text, beats in self.desk.waits(now_ns):
            self._tell("/vj/status/pending", text, beats)
        ear, generate, deliver = (self._pipes.boards[name].get() for name in ("ear", "generate", "deliver"))
        for name, board in (
            ("audio_to_osc", ear),
            ("audio_to_frame", generate),
            ("source_to_frame", generate),
            ("frame_to_output", deliver),
        ):
            latency = board.get(name)
            if latency:
                self._tell(f"/vj/status/latency/{name}", latency["p50"], latency["p95"])
        figures = generate.get("figures", {})
        if "jumpiness_mean" in figures:
            self._tell("/vj/status/jumpiness", figures["jumpiness_mean"], figures["jumpiness_max"])
        self._tell_once("/vj/status/generator", _maker(generate))
        self._tell_delivery(deliver)
        self._tell("/vj/status/fps", float(generate.get("fps", 0.0)), float(deliver.get("new_fps", 0.0)))
        self._pipes.stats.put(
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

    def cue_names(self) -> tuple[str, str]:
        """Return the ids of the cue that was called last, and of the next one; empty where there is none."""
        cue = self.state.cue
        with contextlib.suppress(ConfigError):
            return cue, self.desk.cues.step(cue, 1).id
        return cue, ""

    def _tell_delivery(self, deliver: dict[str, Any]) -> None:
        """Tell how steadily pictures leave, what is on the wall, and how each output does."""
        pacing = deliver.get("pacing")
        if pacing:
            self._tell("/vj/status/pacing", pacing["p50"], pacing["p99"])
            self._tell("/vj/status/late", int(deliver["late"]), int(deliver["missed"]))
        if deliver.get("rung"):
            self._tell_once("/vj/status/picture", deliver["rung"])
        for row in self._output_rows(deliver):
            self._tell("/vj/status/output", *row)

    def _output_rows(self, deliver: dict[str, Any]) -> list[tuple[float | int | str, ...]]:
        """Return the arguments of ``/vj/status/output`` for each output."""
        rows: list[tuple[float | int | str, ...]] = []
        boards = deliver.get("outputs", {})
        for output in self.state.outputs:
            board = boards.get(output.label, {"alive": False, "fps": 0.0, "drops": 0, "figures": {}})
            figures = board["figures"]
            tally = "program" if figures.get("program") else "preview" if figures.get("preview") else ""
            state = "sends" if board["alive"] else "off"
            receivers = int(figures.get("connections", -1))
            rows.append((output.label, state, float(board["fps"]), int(board["drops"]), receivers, tally, str(output)))
        return rows

    # -- for the panel -------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return what the panel shows besides values: sound, beat and health, as plain JSON values."""
        now_ns = self._clock.now_ns()
        f: Features = self._pipes.features.get()
        ear, generate, deliver = (self._pipes.boards[name].get() for name in ("ear", "generate", "deliver"))
        return {
            "beat": f.grid.count_at(now_ns) if f.grid.running else 0,
            "phase": round(f.grid.beat_phase(now_ns), 3),
            "position": int(f.grid.bar_phase(now_ns) * f.grid.beats_per_bar),
            "beats_per_bar": f.grid.beats_per_bar,
            "bpm": round(f.grid.bpm, 1),
            "confidence": round(f.grid.confidence, 2),
            "level": round(f.value("level", now_ns), 3),
            "silence": f.value("silence", now_ns) > 0.5,
            "drums": [round(f.value(name, now_ns), 2) for name in ("kick", "snare", "hat")],
            "bands": dict(zip(BAND_NAMES, [round(float(b), 3) for b in f.bands], strict=True)),
            "spectrum": [round(float(b), 2) for b in f.spectrum],
            "preset_name": self.state.preset_name,
            "macro_names": list(self.state.macro_names),
            "pending": self.desk.waits(now_ns),
            "cue": self.cue_names(),
            "morph": round(self.state.glide.share(now_ns), 3) if self.state.glide is not None else None,
            "take": "plays" if self.desk.plays else "records" if self.state.take else "",
            "snapshots": sorted(self.desk.snapshots),
            "latency_ms": {
                "audio_to_osc": ear.get("audio_to_osc", {}),
                "audio_to_frame": generate.get("audio_to_frame", {}),
                "frame_to_output": deliver.get("frame_to_output", {}),
            },
            "fps": {"generated": generate.get("fps", 0.0), "delivered": deliver.get("new_fps", 0.0)},
            "outputs": deliver.get("outputs", {}),
            "picture": deliver.get("rung", ""),
            "generator": _maker(generate),
            "figures": generate.get("figures", {}),
            "troubles": self.troubles,
        }


def _plain(value: Argument) -> float | int | str:
    """Return a value as OSC sends it: switches are 0 or 1."""
    return int(value) if isinstance(value, bool) else value


def _is_kind(kind: str, address: str, value: Argument) -> bool:
    """Tell whether a listener of that kind (all, numbers, text) is told a value."""
    return address in _TOLD and (kind == "all" or (kind == "text") == isinstance(value, str))


_TOLD = frozenset(TOLD)


def _maker(board: dict[str, Any]) -> str:
    """Return who makes the picture, in words."""
    figures = board.get("figures", {})
    if "steps" not in figures:
        return str(board.get("generator", ""))
    how = f"{figures['width']}x{figures['height']}, steps {figures['steps']}, decks {figures['decks']}"
    return f"{board['generator']}: {how}"


async def until_stopped(stopped: Callable[[], bool], server: Any) -> None:
    """Ask a uvicorn server to end once ``stopped``."""
    while not stopped():
        await asyncio.sleep(0.05)
    server.should_exit = True
    with contextlib.suppress(AttributeError):
        server.force_exit = True
