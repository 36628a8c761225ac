"""OSC queries: what only an OSC client can ask goes in, answers go back to who asked."""

from collections.abc import Callable, Mapping

from vjserver.controls.osc import Sender
from vjserver.controls.oscserver import OscServer
from vjserver.runtime.clock import Clock
from vjserver.runtime.osc import message
from vjserver.runtime.status import DeliverStatus, StatusReader
from vjserver.show.desk import Desk
from vjserver.show.pattern import is_pattern, matching
from vjserver.stages.control.announcer import MOST_WHY
from vjserver.stages.control.osc_publisher import LEASE_NS, OscPublisher, output_rows
from vjserver.stages.control.surfaces import Surfaces
from vjserver.types.errors import ConfigError, UnknownNameError
from vjserver.types.events import Argument
from vjserver.types.text import visible

FAULTS_KEPT = 64
MOST_TO_A_STRANGER = 64
"""Bytes: about what asking costs."""

Answer = Callable[[tuple[Argument, ...], Sender], None]


class OscQueries:
    """Answers clients. ``deliver`` is what the deliverer tells, which knows how outputs are."""

    def __init__(
        self,
        desk: Desk,
        server: OscServer,
        publisher: OscPublisher,
        surfaces: Surfaces,
        deliver: StatusReader[DeliverStatus],
        clock: Clock,
    ) -> None:
        self._desk, self._server, self._publisher, self._surfaces = desk, server, publisher, surfaces
        self._deliver, self._clock = deliver, clock
        self._faults: dict[Sender, str | ConfigError] = {}
        self._answers: Mapping[str, Answer] = {
            "/vj/ping": self._pong,
            "/vj/output/list": self._list_outputs,
            "/vj/subscribe": self._subscribe,
            "/vj/unsubscribe": self._unsubscribe,
            "/vj/renew": self._renew,
        }

    def forget_fault(self, sender: Sender) -> None:
        """A client sends something new: what was wrong before is no answer to its next ping."""
        self._faults.pop(sender, None)

    def keep_fault(self, sender: Sender, fault: str | ConfigError) -> None:
        """Keep what was wrong with a client's message, for its next ping."""
        while len(self._faults) >= FAULTS_KEPT:
            self._faults.pop(next(iter(self._faults)))
        self._faults[sender] = fault  # put into words only where somebody asks: that takes milliseconds

    def is_command(self, address: str) -> bool:
        """Tell whether an address is answered here, and nowhere else."""
        return address in self._answers

    def question(self, address: str, args: tuple[Argument, ...]) -> str:
        """Return the address whose value is asked for, ``""`` where nothing is asked."""
        if args == ("?",):
            return address
        asked = address[:-1]
        known = address[-1] == "?" and (asked in self._desk.registry.everything or self._desk.registry.absent(asked))
        return asked if known else ""

    def command(self, address: str, args: tuple[Argument, ...], sender: Sender) -> None:
        """Do what a client asks for itself. Raises ConfigError."""
        self._answers[address](self._desk.registry.accept(address, args).args, sender)

    def answer(self, address: str, sender: Sender) -> None:
        """Send the value of an address, or of all that a pattern means. Raises ConfigError."""
        registry = self._desk.registry
        star = is_pattern(address) and address not in registry.entries
        wanted = matching(address, registry.told) if star else (address,)
        rows = [(one, self._desk.read(one)) for one in wanted]
        found = [message(one, value) for one, value in rows if value is not None]
        if not found and registry.absent(address):
            raise ConfigError(f"{address[:80]}: generator {registry.absent(address)!r} is not installed")
        if not found:
            raise UnknownNameError(f"nothing to read at {address[:80]!r}", address[:80], registry.told)
        if sum(map(len, found)) > MOST_TO_A_STRANGER and not self._publisher.may_hear_much(sender):
            raise ConfigError(f"{address[:80]}: a long answer goes to who subscribed, or whom [osc] allow names")
        for packet in found:
            self._server.send(packet, sender)

    def _pong(self, args: tuple[Argument, ...], sender: Sender) -> None:
        """Answer a ping; who sent something wrong before it is told what was wrong with it."""
        fault = visible(str(self._faults.pop(sender, ""))[:MOST_WHY])
        told = (fault,) if fault and self._publisher.may_hear_much(sender) else ()
        self._server.send(message("/vj/pong", *(args[:1] or (told and ("",))), *told), sender)

    def _list_outputs(self, _args: tuple[Argument, ...], sender: Sender) -> None:
        if not self._publisher.may_hear_much(sender):
            raise ConfigError("/vj/output/list: a long answer goes to who subscribed, or whom [osc] allow names")
        for row in output_rows(self._desk.state.outputs, self._deliver.fresh(self._clock.now_ns())):
            self._server.send(message("/vj/status/output", *row), sender)

    def _subscribe(self, args: tuple[Argument, ...], sender: Sender) -> None:
        self._publisher.subscribe(args, sender, self._clock.now_ns())

    def _unsubscribe(self, _args: tuple[Argument, ...], sender: Sender) -> None:
        self._surfaces.leave(sender)

    def _renew(self, args: tuple[Argument, ...], sender: Sender) -> None:
        if args and self._publisher.prove(int(args[0]), sender, self._clock.now_ns()):
            return
        if not self._surfaces.renew(sender, self._clock.now_ns() + LEASE_NS):
            raise ConfigError("/vj/renew: not subscribed, or longer than 10 s ago; send /vj/subscribe")
