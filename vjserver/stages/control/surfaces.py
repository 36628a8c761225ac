"""Feedback to every surface: the desk's values go in, each surface is told what it does not know yet.

A surface is whoever shows values: an OSC client, a panel in a browser, a MIDI controller. It joins with what it wants
and a way to tell it; an OSC client stays as long as it renews.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vjserver.show.echo import Recipient
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument

News = Sequence[tuple[str, Argument]]
MOST = 64


@dataclass(slots=True)
class Surface:
    """One surface: ``tell`` is given its news; it leaves at ``until_ns``, if that is set."""

    tell: Callable[[News], None]
    recipient: Recipient
    until_ns: int | None = None


@dataclass(slots=True)
class Surfaces:
    """All surfaces, by a key of their own."""

    known: dict[object, Surface] = field(default_factory=dict)

    def join(
        self,
        key: object,
        tell: Callable[[News], None],
        wants: Callable[[str, Argument], bool] = lambda _address, _value: True,
        until_ns: int | None = None,
    ) -> None:
        """Take a surface in; it is told everything it wants with the next news. Raises ConfigError where it is full."""
        if key not in self.known and len(self.known) >= MOST:
            raise ConfigError(f"{MOST} surfaces are told already, and no more can be")
        recipient = Recipient(wants)
        before = self.known.get(key)
        if before is not None:  # it asks anew, perhaps in the middle of a movement
            recipient.sent = before.recipient.sent
            recipient.knows = {a: before.recipient.knows[a] for a in recipient.sent if a in before.recipient.knows}
        self.known[key] = Surface(tell, recipient, until_ns)

    def leave(self, key: object) -> None:
        """Let a surface go; one that is not there is no fault."""
        self.known.pop(key, None)

    def renew(self, key: object, until_ns: int) -> bool:
        """Let an OSC client stay until then; tell whether it is known."""
        surface = self.known.get(key)
        if surface is None:
            return False
        surface.until_ns = until_ns
        return True

    def heard(self, key: object, address: str, value: Argument, now_ns: int) -> None:
        """Note that a surface sent a value itself: it is left in peace while its hand moves."""
        surface = self.known.get(key)
        if surface is not None:
            surface.recipient.hear(address, value, now_ns)

    def hold(self, key: object, address: str, now_ns: int) -> None:
        """Leave a surface in peace at an address for a while: its hand moves the same by another name."""
        surface = self.known.get(key)
        if surface is not None:
            surface.recipient.sent[address] = now_ns

    def tell(self, values: Mapping[str, Argument], now_ns: int) -> None:
        """Tell every surface its news; those whose time is over leave."""
        for key, surface in list(self.known.items()):
            if surface.until_ns is not None and now_ns > surface.until_ns:
                del self.known[key]
                continue
            news = surface.recipient.news(values, now_ns)
            if news:
                surface.tell(news)
