"""OSC over TCP: a stream of bytes goes in, packets come out, and back, in the framing that the other side speaks.

Two are in use: each packet behind its length (OSC 1.0, "a stream-based protocol"), and SLIP with END at both ends (OSC
1.1; RFC 1055, J. Romkey, 1988). Who speaks first shows which by its first byte. Anything else, such as a browser's
request, is no OSC and is hung up on.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator

from vjserver.controls.osc import MAX_PACKET, Sender
from vjserver.types.errors import VJError

END, ESC, ESC_END, ESC_ESC = b"\xc0", b"\xdb", b"\xdc", b"\xdd"
MOST_UNREAD = 1 << 20
"""Bytes that wait for a listener who does not read; beyond, it is left out until it has read."""
BATCH = 64
"""Packets, after which others have their turn."""
LENGTH, SLIP = "length", "slip"


def keep_alive(connection: socket.socket | None) -> None:
    """Have the system look whether the other side is still there: a tablet that lost its network holds no place."""
    if connection is None:
        return
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Framing:
    """Takes a stream apart and puts packets together. ``kind`` is empty until the first byte has told."""

    def __init__(self) -> None:
        self.kind = ""
        self._rest = b""

    def packets(self, data: bytes) -> Iterator[bytes]:
        """Yield the packets that are whole now. Raises VJError for what is no OSC."""
        self._rest += data
        if not self.kind and self._rest:
            self.kind = {0xC0: SLIP, 0x2F: SLIP, 0x23: SLIP, 0x00: LENGTH}.get(self._rest[0], "")
            if not self.kind:
                raise VJError("not OSC: a packet begins with its length, or with SLIP's END")
        yield from self._slip() if self.kind == SLIP else self._length()
        if len(self._rest) > 2 * MAX_PACKET + 4:
            raise VJError(f"an OSC packet has at most {MAX_PACKET} bytes")

    def _slip(self) -> Iterator[bytes]:
        *whole, self._rest = self._rest.split(END)
        for part in whole:
            if part:
                yield part.replace(ESC + ESC_END, END).replace(ESC + ESC_ESC, ESC)

    def _length(self) -> Iterator[bytes]:
        data, at = self._rest, 0
        while len(data) - at >= 4:
            size = struct.unpack_from(">I", data, at)[0]
            if not 0 < size <= MAX_PACKET:
                raise VJError(f"an OSC packet has 1..{MAX_PACKET} bytes: got {size}")
            if len(data) - at < 4 + size:
                break
            at += 4 + size
            yield data[at - size : at]
        self._rest = data[at:]

    def framed(self, packet: bytes) -> bytes:
        """Return a packet as the other side expects it."""
        if self.kind == LENGTH:
            return struct.pack(">I", len(packet)) + packet
        return END + packet.replace(ESC, ESC + ESC_ESC).replace(END, ESC + ESC_END) + END


class OscStream(asyncio.Protocol):
    """One connection. ``take`` gets each packet; ``settle`` ends each batch; ``welcome`` says who may come in."""

    def __init__(
        self,
        take: Callable[[bytes, Sender], object],
        settle: Callable[[], None],
        refuse: Callable[[str], None],
        welcome: Callable[[Sender, "OscStream"], bool],
        leave: Callable[[Sender], None],
    ) -> None:
        self._take, self._settle, self._refuse, self._welcome, self._leave = take, settle, refuse, welcome, leave
        self._framing = Framing()
        self._waiting: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._sender: Sender = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection in, or not."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        keep_alive(transport.get_extra_info("socket"))
        peer = transport.get_extra_info("peername")
        self._sender = (str(peer[0]), int(peer[1]))
        if not self._welcome(self._sender, self):
            transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """Let it go."""
        self._transport = None
        self._leave(self._sender)

    def data_received(self, data: bytes) -> None:
        """Take what came, as many packets at a time as let others have their turn; nothing more is read meanwhile."""
        try:
            self._waiting += self._framing.packets(data)
        except VJError as error:
            self._refuse(str(error))
            self.close()
        self._take_some()

    def _take_some(self) -> None:
        for packet in self._waiting[:BATCH]:
            self._take(packet, self._sender)
        del self._waiting[:BATCH]
        self._settle()
        if self._transport is None:
            return
        if self._waiting:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._take_some)
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    def send(self, packet: bytes) -> None:
        """Send a packet; who does not read what it is sent is left out until it has."""
        if self._transport is not None and self._transport.get_write_buffer_size() < MOST_UNREAD:
            self._transport.write(self._framing.framed(packet))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()
