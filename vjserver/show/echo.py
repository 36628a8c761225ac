"""Feedback: the values of all addresses go in, and for each listener those that it does not know yet come out.

A listener is not told what it has just sent: a fader under a finger must not be pulled. While it goes on sending, and
150 ms after, its address is left alone; then it hears the value if another one was accepted than it sent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vjserver.types.events import Argument

HOLD_NS = 150_000_000


@dataclass(slots=True)
class Recipient:
    """One that is told: ``wants`` says of an address whether; what it ``knows``; what it ``sent``, and when."""

    wants: Callable[[str, Argument], bool] = lambda _address, _value: True
    knows: dict[str, Argument] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)

    def hear(self, address: str, value: Argument, now_ns: int) -> None:
        """Note that it sent a value itself."""
        self.knows[address] = value
        self.sent[address] = now_ns

    def news(self, values: Mapping[str, Argument], now_ns: int) -> list[tuple[str, Argument]]:
        """Return what it is to be told now, and take it for told."""
        told = []
        for address, value in values.items():
            if address in self.knows and same(self.knows[address], value):
                continue
            if address in self.sent:
                if now_ns - self.sent[address] < HOLD_NS:
                    continue
                del self.sent[address]
            self.knows[address] = value
            if self.wants(address, value):
                told.append((address, value))
        return told


def same(a: Argument, b: Argument) -> bool:
    """Tell whether two values are the same to who reads them: numbers to the precision of an OSC float."""
    if isinstance(a, str) or isinstance(b, str):
        return type(a) is type(b) and a == b
    return abs(a - b) <= 1e-6 * max(1.0, abs(a))
