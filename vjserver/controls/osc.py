"""OSC in: datagrams from anybody go in, checked messages come out, or one clear error.

The network is not trusted. The decoder has no recursion and no regular expression, reads nothing twice and bounds
everything: packet, arguments, elements, depth. It accepts what TouchDesigner sends: bundles with a timetag around
every message, and messages without a type-tag string (their arguments are then read as floats). One element of a bundle
that makes no sense does not cost the others.

Format: OSC 1.0, M. Wright, 2002 (opensoundcontrol.stanford.edu).
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

from vjserver.types.errors import VJError

MAX_PACKET = 32768
MAX_ARGUMENTS = 64
MAX_ELEMENTS = 1024
MAX_DEPTH = 4

Value = float | int | str | bool
Sender = tuple[str, int] | tuple[str, int, int, int]


class OscError(VJError):
    """A datagram that is not OSC, or more of it than anybody needs."""


@dataclass(frozen=True, slots=True)
class OscMessage:
    """A message: its address and arguments, and the timetag of its bundle (NTP, 32.32 bits; 1 is at once)."""

    address: str
    args: tuple[Value, ...]
    timetag: int = 1


def decode(packet: bytes, faults: list[str] | None = None) -> list[OscMessage]:
    """Return the messages of a packet in order. Raises OscError, and nothing else, where none of it makes sense.

    What is wrong with single elements of a bundle is added to ``faults``; the others are returned.
    """
    faults = [] if faults is None else faults
    if len(packet) > MAX_PACKET:
        raise OscError(f"an OSC packet has at most {MAX_PACKET} bytes: got {len(packet)}")
    messages: list[OscMessage] = []
    elements = 0
    # (start, end, depth, timetag) of what is still to be read; the next one last
    waiting = [(0, len(packet), 0, 1)]
    while waiting:
        start, end, depth, timetag = waiting.pop()
        try:
            if packet[start : start + 8] != b"#bundle\0":
                messages.append(_message(packet, start, end, timetag))
                continue
            if depth >= MAX_DEPTH:
                raise OscError(f"OSC bundles nest at most {MAX_DEPTH} deep")
            if start + 16 > end:
                raise OscError("an OSC bundle without its timetag")
        except OscError as error:
            if not depth:
                raise
            faults.append(str(error))
            continue
        inner = []
        at = start + 16
        timetag = struct.unpack_from(">Q", packet, start + 8)[0]
        while at < end:
            size = struct.unpack_from(">i", packet, at)[0] if at + 4 <= end else -1
            at += 4
            if size < 4 or size % 4 or at + size > end:
                faults.append(f"an OSC bundle element of {size} bytes where {max(0, end - at)} are left")
                break  # what follows cannot be found
            elements += 1
            if elements > MAX_ELEMENTS:
                faults.append(f"an OSC packet has at most {MAX_ELEMENTS} elements: the rest is left out")
                break
            inner.append((at, at + size, depth + 1, timetag))
            at += size
        waiting.extend(reversed(inner))
    if faults and not messages:
        raise OscError(faults[0])
    return messages


def _text(packet: bytes, start: int, end: int) -> tuple[str, int]:
    """Return a padded string and the place behind it."""
    stop = packet.find(b"\0", start, end)
    if stop < 0:
        raise OscError("an OSC string without its end")
    behind = stop + 4 - (stop - start) % 4
    if behind > end:
        raise OscError("an OSC string without its padding")
    data = packet[start:stop]
    try:
        return data.decode("utf-8"), behind
    except UnicodeDecodeError:  # older programs send their system's own signs
        return data.decode("cp1252", "replace"), behind


def _message(packet: bytes, start: int, end: int, timetag: int) -> OscMessage:
    if start >= end or packet[start] != 0x2F:
        raise OscError("an OSC address begins with '/'")
    address, at = _text(packet, start, end)
    if at >= end:
        return OscMessage(address, (), timetag)
    if packet[at] != 0x2C:
        return OscMessage(address, _untyped(packet, at, end), timetag)
    tags, at = _text(packet, at, end)
    if len(tags) - 1 > MAX_ARGUMENTS:
        raise OscError(f"an OSC message has at most {MAX_ARGUMENTS} arguments: got {len(tags) - 1}")
    args: list[Value] = []
    for tag in tags[1:]:
        if tag in _NUMBERS:
            form = _NUMBERS[tag]
            if at + form.size > end:
                raise OscError(f"{address}: an argument of type {tag!r} is cut off")
            value = form.unpack_from(packet, at)[0]
            if not math.isfinite(value):
                raise OscError(f"{address}: {value} is not a number")
            args.append(value)
            at += form.size
        elif tag in "sS":
            text, at = _text(packet, at, end)
            args.append(text)
        elif tag in "TFI":
            args.append(tag != "F")
        elif tag == "b":
            if at + 4 > end:
                raise OscError(f"{address}: a blob is cut off")
            size = struct.unpack_from(">i", packet, at)[0]
            at += 4 + (size + 3) // 4 * 4
            if size < 0 or at > end:
                raise OscError(f"{address}: a blob of {size} bytes")
        elif tag not in "N[]":
            raise OscError(f"{address}: unknown argument type {tag[:1]!r}")
    return OscMessage(address, tuple(args), timetag)


def _untyped(packet: bytes, start: int, end: int) -> tuple[Value, ...]:
    count = (end - start) // 4
    if (end - start) % 4 or count > MAX_ARGUMENTS:
        raise OscError("OSC arguments without type tags must be floats")
    values = struct.unpack_from(f">{count}f", packet, start)
    if not all(math.isfinite(v) for v in values):
        raise OscError("OSC arguments without type tags must be finite floats")
    return values


_NUMBERS = {
    "f": struct.Struct(">f"),
    "i": struct.Struct(">i"),
    "h": struct.Struct(">q"),
    "d": struct.Struct(">d"),
    "t": struct.Struct(">Q"),
    "c": struct.Struct(">i"),
    "r": struct.Struct(">I"),
}


def is_within(host: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Tell whether an address lies in one of some networks; what is no address does not."""
    try:
        return any(ip_address(host) in network for network in networks)
    except ValueError:
        return False
