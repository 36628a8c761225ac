"""OSC over TCP: a stream of bytes goes in, packets come out, and back, in the framing that the other side speaks.

Two are in use: each packet behind its length (OSC 1.0, "a stream-based protocol"), and SLIP with END at both ends (OSC
1.1; RFC 1055, J. Romkey, 1988). Who speaks first shows which by its first byte. Anything else, such as a browser's
request, is no OSC and is hung up on.
"""

import asyncio
import struct
from collections.abc import Callable, Iterator

from vjserver.controls.osc import MAX_PACKET, Sender
from vjserver.types.errors import VJError

END, ESC, ESC_END, ESC_ESC = b"\xc0", b"\xdb", b"\xdc", b"\xdd"
MOST_UNREAD = 1 << 20
"""Bytes that wait for a listener who does not read; beyond, it is left out until it has read."""
LENGTH, SLIP = "length", "slip"


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
        while len(self._rest) >= 4:
            size = struct.unpack_from(">I", self._rest)[0]
            if size > MAX_PACKET:
                raise VJError(f"an OSC packet has at most {MAX_PACKET} bytes: got {size}")
            if len(self._rest) < 4 + size:
                return
            packet, self._rest = self._rest[4 : 4 + size], self._rest[4 + size :]
            if packet:
                yield packet

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
        self._transport: asyncio.Transport | None = None
        self._sender: Sender = ("", 0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection in, or not."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._sender = (str(peer[0]), int(peer[1]))
        if not self._welcome(self._sender, self):
            transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        """Let it go."""
        self._transport = None
        self._leave(self._sender)

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        try:
            for packet in self._framing.packets(data):
                self._take(packet, self._sender)
        except VJError as error:
            self._refuse(str(error))
            self.close()
        self._settle()

    def send(self, packet: bytes) -> None:
        """Send a packet; who does not read what it is sent is left out until it has."""
        if self._transport is not None and self._transport.get_write_buffer_size() < MOST_UNREAD:
            self._transport.write(self._framing.framed(packet))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()
