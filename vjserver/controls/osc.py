"""OSC in: datagrams from anybody go in, checked messages come out, or one clear error.

The network is not trusted. The decoder has no recursion and no regular expression, reads nothing twice and bounds
everything: packet, arguments, elements, depth. It accepts what TouchDesigner sends: bundles with a timetag around
every message, and messages without a type-tag string (their arguments are then read as floats).

Format: OSC 1.0, M. Wright, 2002 (opensoundcontrol.stanford.edu).
"""

import asyncio
import contextlib
import math
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from vjserver.types.errors import VJError

MAX_PACKET = 8192
MAX_ARGUMENTS = 64
MAX_ELEMENTS = 256
MAX_DEPTH = 4

Value = float | int | str | bool
Sender = tuple[str, int]


class OscError(VJError):
    """A datagram that is not OSC, or more of it than anybody needs."""


@dataclass(frozen=True, slots=True)
class OscMessage:
    """A message: its address and arguments."""

    address: str
    args: tuple[Value, ...]


def decode(packet: bytes) -> list[OscMessage]:
    """Return the messages of a packet in order. Raises OscError, and nothing else, for anything that is not sound."""
    if len(packet) > MAX_PACKET:
        raise OscError(f"an OSC packet has at most {MAX_PACKET} bytes: got {len(packet)}")
    messages: list[OscMessage] = []
    elements = 0
    # (start, end, depth) of what is still to be read; the next one last
    waiting = [(0, len(packet), 0)]
    while waiting:
        start, end, depth = waiting.pop()
        if packet[start : start + 8] != b"#bundle\0":
            messages.append(_message(packet, start, end))
            continue
        if depth >= MAX_DEPTH:
            raise OscError(f"OSC bundles nest at most {MAX_DEPTH} deep")
        inner = []
        at = start + 16
        if at > end:
            raise OscError("an OSC bundle without its timetag")
        while at < end:
            elements += 1
            if elements > MAX_ELEMENTS:
                raise OscError(f"an OSC packet has at most {MAX_ELEMENTS} elements")
            if at + 4 > end:
                raise OscError("an OSC bundle that ends in the middle of a size")
            size = struct.unpack_from(">i", packet, at)[0]
            at += 4
            if size < 4 or size % 4 or at + size > end:
                raise OscError(f"an OSC bundle element of {size} bytes where {end - at} are left")
            inner.append((at, at + size, depth + 1))
            at += size
        waiting.extend(reversed(inner))
    return messages


def _text(packet: bytes, start: int, end: int) -> tuple[str, int]:
    """Return a padded string and the place behind it."""
    stop = packet.find(b"\0", start, end)
    if stop < 0:
        raise OscError("an OSC string without its end")
    behind = stop + 4 - (stop - start) % 4
    if behind > end:
        raise OscError("an OSC string without its padding")
    try:
        return packet[start:stop].decode("utf-8"), behind
    except UnicodeDecodeError:
        raise OscError("an OSC string that is not UTF-8") from None


def _message(packet: bytes, start: int, end: int) -> OscMessage:
    if start >= end or packet[start] != 0x2F:
        raise OscError("an OSC address begins with '/'")
    address, at = _text(packet, start, end)
    if at >= end:
        return OscMessage(address, ())
    if packet[at] != 0x2C:
        return OscMessage(address, _untyped(packet, at, end))
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
        elif tag in "TF":
            args.append(tag == "T")
        elif tag == "b":
            if at + 4 > end:
                raise OscError(f"{address}: a blob is cut off")
            size = struct.unpack_from(">i", packet, at)[0]
            at += 4 + (size + 3) // 4 * 4
            if size < 0 or at > end:
                raise OscError(f"{address}: a blob of {size} bytes")
        elif tag not in "NI[]":
            raise OscError(f"{address}: unknown argument type {tag[:1]!r}")
    return OscMessage(address, tuple(args))


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


class OscServer(asyncio.DatagramProtocol):
    """Listens on UDP; ``handle`` gets each message with its sender, ``refuse`` each error."""

    def __init__(
        self,
        handle: Callable[[OscMessage, Sender], None],
        refuse: Callable[[str], None],
    ) -> None:
        self._handle, self._refuse = handle, refuse
        self._transport: asyncio.DatagramTransport | None = None
        self.received = 0
        self.refused = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport for answers."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        with contextlib.suppress(OSError):  # room for a burst; the system may grant less
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)

    def datagram_received(self, data: bytes, addr: Sender) -> None:
        """Decode and hand on."""
        self.received += 1
        try:
            messages = decode(data)
        except OscError as error:
            self.refused += 1
            self._refuse(str(error))
            return
        for message in messages:
            self._handle(message, addr)

    def error_received(self, _exc: Exception) -> None:
        """Ignore what the network says of our answers: nobody may be listening."""

    def send(self, packet: bytes, to: Sender) -> None:
        """Answer."""
        if self._transport is not None:
            self._transport.sendto(packet, to)

    def close(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()


async def listen(server: OscServer, host: str, port: int) -> None:
    """Bind ``server``. Raises OSError when the port is taken."""
    await asyncio.get_running_loop().create_datagram_endpoint(lambda: server, local_addr=(host, port))
