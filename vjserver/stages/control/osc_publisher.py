"""Telling: what goes out over OSC. The desk's values and the boards of all rooms go in, messages go out.

Values as they change and status twice a second, to the targets of the show file and to every client that subscribed:
texts to who takes texts, numbers to who takes numbers (TouchDesigner's OSC In CHOP takes numbers only).
"""

import contextlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network

from vjserver.controls.osc import Sender, is_within
from vjserver.controls.oscserver import OscServer
from vjserver.outputs.osc import OscTargetOptions, StatusSender
from vjserver.runtime.clock import NS
from vjserver.runtime.osc import bundle, message
from vjserver.runtime.status import DeliverStatus, GenerateStatus, OutputStatus
from vjserver.runtime.store import Statuses
from vjserver.show.addresses import MAX_SEED
from vjserver.show.desk import Desk
from vjserver.show.outputs import OutputRow
from vjserver.show.readout import cue_names, values, waits
from vjserver.stages.control.surfaces import News, Surfaces
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument

LEASE_NS = 10 * NS
PROVEN_NS = 3600 * NS
MOST_OF_A_HOST, MOST_ASKED = 16, 256
LOOPBACK = ("127.0.0.0/8", "::1")
"""Machines whose address nobody can forge."""
TELL_AGAIN_NS = 5 * NS
BUNDLE_BYTES = 1200  # below what any network takes in one piece
Row = tuple[float | int | str, ...]


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A client that subscribed: whence it asked, what it wants to hear, at which port, and until when."""

    host: str
    port: int
    kind: str
    to_port: int
    until_ns: int


class OscPublisher:
    """All who listen by OSC, and what they know."""

    def __init__(
        self,
        targets: Sequence[OscTargetOptions],
        server: OscServer,
        surfaces: Surfaces,
        desk: Desk,
        trusted: Sequence[str] = LOOPBACK,
    ) -> None:
        self._trusted = [ip_network(text, strict=False) for text in trusted]
        self._asked: dict[int, tuple[tuple[Argument, ...], Sender, Sender]] = {}
        self._proven: dict[Sender, int] = {}
        self._server, self._surfaces, self._desk = server, surfaces, desk
        self._values = frozenset(desk.registry.told)
        self._status = StatusSender(targets)
        self._near: dict[str, list[OscTargetOptions]] = {}
        self._subscribers: dict[Sender, tuple[str, Sender]] = {}
        self._told: dict[str, Row] = {}
        self._tell_again_ns = 0
        for target in targets:  # they hear what changes; what is there at the start they may ask for
            send = partial(self._send_news, partial(self._status.send_to, target))
            surfaces.join(target, send, partial(self._is_kind, target.kind))
            surfaces.known[target].recipient.knows.update(values(desk, 0))
            self._near.setdefault(target.host, []).append(target)

    def _trusts(self, host: str) -> bool:
        return is_within(host, self._trusted)

    def close(self) -> None:
        """Close the sockets."""
        self._status.close()

    # -- who listens ---------------------------------------------------------------------------------------

    def subscribe(self, args: tuple[Argument, ...], sender: Sender, now_ns: int) -> None:
        """Take a client in, with a port and a kind in any order. Raises ConfigError."""
        ports = [int(arg) for arg in args if not isinstance(arg, str) or arg.isdecimal()]
        port = ports[0] if ports else sender[1]
        kind = next((arg for arg in args if isinstance(arg, str) and not arg.isdecimal()), "all")
        if kind not in ("all", "numbers", "text"):
            raise ConfigError(f"/vj/subscribe takes all, numbers or text: got {kind[:40]!r}")
        if not 1 <= port <= 65535:
            raise ConfigError(f"/vj/subscribe takes a port in 1..65535: got {port}")
        to = (sender[0], port)
        self._subscribers = {one: row for one, row in self._subscribers.items() if one in self._surfaces.known}
        if sum(one[0] == sender[0] for one in self._subscribers if one != sender) >= MOST_OF_A_HOST:
            raise ConfigError(f"/vj/subscribe: {MOST_OF_A_HOST} of {sender[0]} are told already, and no more can be")
        if not (self._trusts(sender[0]) or self._server.has_stream(sender) or self._proven.get(to, 0) > now_ns):
            self._ask_back(args, sender, to)
            return
        send = partial(self._send_news, lambda packet: self._server.send(packet, to))
        self._surfaces.join(sender, send, partial(self._is_kind, kind), now_ns + LEASE_NS)
        self._subscribers[sender] = kind, to

    def _ask_back(self, args: tuple[Argument, ...], sender: Sender, to: Sender) -> None:
        """Ask whether it was really they who subscribed: a sender's address can be forged, and much would be sent."""
        while len(self._asked) >= MOST_ASKED:
            self._asked.pop(next(iter(self._asked)))
        code = secrets.randbelow(MAX_SEED)
        self._asked[code] = args, sender, to
        self._server.send(message("/vj/subscribed", code), to)

    def prove(self, code: int, sender: Sender, now_ns: int) -> bool:
        """Take a subscription up whose number came back from the machine that asked; tell whether it was one."""
        args, asked, to = self._asked.get(code, ((), ("", 0), ("", 0)))
        if asked[0] != sender[0]:
            return False
        del self._asked[code]
        while len(self._proven) >= MOST_ASKED:
            self._proven.pop(next(iter(self._proven)))
        self._proven[to] = now_ns + PROVEN_NS
        self.subscribe(args, asked, now_ns)
        return True

    def may_hear_much(self, sender: Sender) -> bool:
        """Tell whether an answer may be longer than what was asked: nobody else can have forged the sender."""
        told = sender in self._surfaces.known  # it proved who it is when it subscribed
        return told or self._trusts(sender[0]) or self._server.has_stream(sender)

    def subscribers(self) -> tuple[Subscriber, ...]:
        """Return who subscribed and has not left, to be told by a successor too."""
        rows = []
        for sender, (kind, to) in self._subscribers.items():
            surface = self._surfaces.known.get(sender)
            if surface is not None and surface.until_ns is not None:
                rows.append(Subscriber(sender[0], sender[1], kind, to[1], surface.until_ns))
        return tuple(rows)

    def resume(self, rows: Sequence[Subscriber], now_ns: int) -> None:
        """Tell those who had subscribed at a predecessor: everything once, since nobody knows what they know."""
        for row in rows:
            to: Sender = (row.host, row.to_port)
            self._proven[to] = now_ns + PROVEN_NS  # whoever was told had proved who it is
            if row.until_ns > now_ns:
                with contextlib.suppress(ConfigError):
                    self.subscribe((row.kind, row.to_port), (row.host, row.port), now_ns)

    def heard(self, key: object, address: str, args: Sequence[object], now_ns: int) -> None:
        """Note what a surface sent: it, and the targets on its machine, are left in peace while its hand moves.

        A knob that has an address from before is left in peace under both; by the other name it is told what it sent.
        """
        if address not in self._values or len(args) != 1 or not isinstance(args[0], (int, float, str)):
            return
        nearby = self._near.get(key[0], ()) if isinstance(key, tuple) else ()
        for surface in (key, *nearby):
            self._surfaces.heard(surface, address, args[0], now_ns)
            for one in self._desk.registry.names(address):
                self._surfaces.hold(surface, one, now_ns)

    def _is_kind(self, kind: str, address: str, value: Argument) -> bool:
        """Tell whether a listener of that kind (all, numbers, text) is told a value."""
        return address in self._values and (kind == "all" or (kind == "text") == isinstance(value, str))

    @staticmethod
    def _send_news(send: Callable[[bytes], None], news: News) -> None:
        """Send news as bundles."""
        packets: list[bytes] = []
        for address, value in news:
            packets.append(message(address, value))
            if sum(map(len, packets)) > BUNDLE_BYTES:
                send(bundle(packets))
                packets = []
        if packets:
            send(bundle(packets))

    # -- what they are told --------------------------------------------------------------------------------

    def tell(self, address: str, *args: float | int | str) -> None:
        """Tell slow news to the targets and to every client that subscribed."""
        self._status.tell(address, *args)
        needed = "text" if any(isinstance(arg, str) for arg in args) else "numbers"
        for sender, (kind, to) in list(self._subscribers.items()):
            if sender not in self._surfaces.known:
                del self._subscribers[sender]
            elif kind in (needed, "all"):
                self._server.send(message(address, *args), to)

    def _tell_once(self, address: str, *args: float | int | str) -> None:
        """Tell what has changed since it was last told."""
        if self._told.get(address) != args:
            self._told[address] = args
            self.tell(address, *args)

    def status(self, told: Statuses, now_ns: int) -> None:
        """Tell how everything is; names again every five seconds, for who began to listen only now."""
        if now_ns >= self._tell_again_ns:
            self._tell_again_ns = now_ns + TELL_AGAIN_NS
            self._told.clear()
        state = self._desk.state
        self._tell_once("/vj/status/preset", state.preset_name)
        self._tell_once("/vj/status/prompt", state.heaviest)
        self._tell_once("/vj/status/cue", *cue_names(self._desk))
        for text, beats in waits(self._desk, now_ns):
            self.tell("/vj/status/pending", text, beats)
        ear, generate, deliver = told.ear.fresh(now_ns), told.generate.fresh(now_ns), told.deliver.fresh(now_ns)
        for name, latency in (
            ("audio_to_osc", ear.audio_to_osc),
            ("audio_to_frame", generate.audio_to_frame),
            ("source_to_frame", generate.source_to_frame),
            ("frame_to_output", deliver.frame_to_output),
        ):
            if latency is not None:
                self.tell(f"/vj/status/latency/{name}", latency.p50, latency.p95)
        figures = generate.figures
        if "jumpiness_mean" in figures:
            self.tell("/vj/status/jumpiness", figures["jumpiness_mean"], figures["jumpiness_max"])
        self._tell_once("/vj/status/generator", maker(generate))
        self._tell_delivery(deliver)
        self.tell("/vj/status/fps", generate.fps, deliver.new_fps)

    def _tell_delivery(self, deliver: DeliverStatus) -> None:
        """Tell how steadily pictures leave, what is on the wall, and how each output does."""
        if deliver.pacing is not None:
            self.tell("/vj/status/pacing", deliver.pacing.p50, deliver.pacing.p99)
            self.tell("/vj/status/late", deliver.late, deliver.missed)
        if deliver.level:
            self._tell_once("/vj/status/picture", deliver.level)
        for row in output_rows(self._desk.state.outputs, deliver):
            self.tell("/vj/status/output", *row)


def output_rows(outputs: Sequence[OutputRow], deliver: DeliverStatus) -> list[Row]:
    """Return the arguments of ``/vj/status/output`` for each output."""
    rows: list[Row] = []
    for output in outputs:
        told = deliver.outputs.get(output.label, OutputStatus())
        figures = told.figures
        tally = "program" if figures.get("program") else "preview" if figures.get("preview") else ""
        state = "sends" if told.alive else "off"
        receivers = int(figures.get("connections", -1))
        rows.append((output.label, state, told.fps, told.drops, receivers, tally, str(output)))
    return rows


def maker(told: GenerateStatus) -> str:
    """Return who makes the picture, in words."""
    figures = told.figures
    if "steps" not in figures:
        return told.generator
    how = f"{figures['width']}x{figures['height']}, steps {figures['steps']}, decks {figures['decks']}"
    return f"{told.generator}: {how}"
