"""Feedback to every surface: the desk's values go in, each surface is told what it does not know yet.

A surface is whoever shows values: an OSC client, a panel in a browser, a MIDI controller. It joins with what it wants
and a way to tell it; an OSC client stays as long as it renews.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from vjserver.show.echo import Listener
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument

News = Sequence[tuple[str, Argument]]
MOST = 64


@dataclass(slots=True)
class Surface:
    """One surface: ``tell`` is given its news; it leaves at ``until_ns``, if that is set."""

    tell: Callable[[News], None]
    listener: Listener
    until_ns: int | None = None


@dataclass(slots=True)
class Feedback:
    """All surfaces, by a key of their own."""

    surfaces: dict[object, Surface] = field(default_factory=dict)

    def join(
        self,
        key: object,
        tell: Callable[[News], None],
        wants: Callable[[str, Argument], bool] = lambda _address, _value: True,
        until_ns: int | None = None,
    ) -> None:
        """Take a surface in; it is told everything it wants with the next news. Raises ConfigError where it is full."""
        if key not in self.surfaces and len(self.surfaces) >= MOST:
            raise ConfigError(f"{MOST} surfaces are told already, and no more can be")
        listener = Listener(wants)
        before = self.surfaces.get(key)
        if before is not None:  # it asks anew, perhaps in the middle of a movement
            listener.sent = before.listener.sent
            listener.knows = {a: before.listener.knows[a] for a in listener.sent if a in before.listener.knows}
        self.surfaces[key] = Surface(tell, listener, until_ns)

    def leave(self, key: object) -> None:
        """Let a surface go; one that is not there is no fault."""
        self.surfaces.pop(key, None)

    def renew(self, key: object, until_ns: int) -> bool:
        """Let an OSC client stay until then; tell whether it is known."""
        surface = self.surfaces.get(key)
        if surface is None:
            return False
        surface.until_ns = until_ns
        return True

    def heard(self, key: object, address: str, value: Argument, now_ns: int) -> None:
        """Note that a surface sent a value itself: it is left in peace while its hand moves."""
        surface = self.surfaces.get(key)
        if surface is not None:
            surface.listener.hear(address, value, now_ns)

    def hold(self, key: object, address: str, now_ns: int) -> None:
        """Leave a surface in peace at an address for a while: its hand moves the same by another name."""
        surface = self.surfaces.get(key)
        if surface is not None:
            surface.listener.sent[address] = now_ns

    def tell(self, values: Mapping[str, Argument], now_ns: int) -> None:
        """Tell every surface its news; those whose time is over leave."""
        for key, surface in list(self.surfaces.items()):
            if surface.until_ns is not None and now_ns > surface.until_ns:
                del self.surfaces[key]
                continue
            news = surface.listener.news(values, now_ns)
            if news:
                surface.tell(news)
