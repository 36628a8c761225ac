"""OSC in: datagrams from anybody go in, checked messages come out, or one clear error.

The network is not trusted. The decoder has no recursion and no regular expression, reads nothing twice and bounds
everything: packet, arguments, elements, depth. It accepts what TouchDesigner sends: bundles with a timetag around
every message, and messages without a type-tag string (their arguments are then read as floats).

Format: OSC 1.0, M. Wright, 2002 (opensoundcontrol.stanford.edu).
"""

import asyncio
import contextlib
import heapq
import math
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import count

from vjserver.runtime.osc import NTP_EPOCH_S
from vjserver.types.errors import VJError

MAX_PACKET = 8192
MAX_ARGUMENTS = 64
MAX_ELEMENTS = 256
MAX_DEPTH = 4
LONGEST_WAIT_S = 2.0
_BATCH = 512  # messages, after which others have their turn
_BUFFER = 4 << 20
_RCVBUFFORCE = getattr(socket, "SO_RCVBUFFORCE", 33) if hasattr(socket, "AF_UNIX") else socket.SO_RCVBUF
_MOST_SOURCES = 1024
_MOST_WAITING = 4096
_TICK_S = time.get_clock_info("monotonic").resolution  # as exactly as the loop's timers come

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


def decode(packet: bytes) -> list[OscMessage]:
    """Return the messages of a packet in order. Raises OscError, and nothing else, for anything that is not sound."""
    if len(packet) > MAX_PACKET:
        raise OscError(f"an OSC packet has at most {MAX_PACKET} bytes: got {len(packet)}")
    messages: list[OscMessage] = []
    elements = 0
    # (start, end, depth, timetag) of what is still to be read; the next one last
    waiting = [(0, len(packet), 0, 1)]
    while waiting:
        start, end, depth, timetag = waiting.pop()
        if packet[start : start + 8] != b"#bundle\0":
            messages.append(_message(packet, start, end, timetag))
            continue
        if depth >= MAX_DEPTH:
            raise OscError(f"OSC bundles nest at most {MAX_DEPTH} deep")
        inner = []
        at = start + 16
        if at > end:
            raise OscError("an OSC bundle without its timetag")
        timetag = struct.unpack_from(">Q", packet, start + 8)[0]
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
            inner.append((at, at + size, depth + 1, timetag))
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


@dataclass(slots=True)
class _Source:
    """What one machine has sent within the present second."""

    allowed: bool
    second: int = 0
    count: int = 0


class OscServer:
    """Listens on UDP; ``handle`` gets each message with its sender, ``refuse`` each error, ``settle`` ends each batch.

    Datagrams are read as many as there are before anything else happens, so a burst is one batch. A bundle whose time
    lies ahead waits for it, up to :data:`LONGEST_WAIT_S`, and is then one batch; one of the past is taken at once.
    Machines that are not in ``allow`` are not heard, and of each at most ``most_per_s`` messages a second.
    """

    def __init__(
        self,
        handle: Callable[[OscMessage, Sender], None],
        refuse: Callable[[str], None],
        settle: Callable[[], None] = lambda: None,
        allow: Sequence[str] = (),
        most_per_s: int = 50_000,
    ) -> None:
        self._handle, self._refuse, self._settle = handle, refuse, settle
        self._networks = [ip_network(text, strict=False) for text in allow]
        self._most_per_s = most_per_s
        self._sources: dict[str, _Source] = {}
        self._sockets: list[socket.socket] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[float, int, OscMessage, Sender]] = []  # a heap: when, since 1970, and in which order
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self.received = 0
        self.refused = 0
        self.denied = 0
        self.flooded = 0
        self.too_far = 0

    def open(self, host: str, port: int) -> None:
        """Listen, in the running loop, also here if it does so elsewhere. Raises OSError where the port is taken."""
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        listener = socket.socket(family, socket.SOCK_DGRAM)
        try:
            listener.setblocking(False)
            for option in (socket.SO_RCVBUF, _RCVBUFFORCE):  # room for a burst; the system may grant less
                with contextlib.suppress(OSError):
                    listener.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
        self._sockets.append(listener)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listener.fileno(), self._drain, listener)

    def _drain(self, listener: socket.socket) -> None:
        """Read what has come, but let the others have their turn after a batch."""
        left = _BATCH
        while left > 0:
            try:
                data, sender = listener.recvfrom(65536)
            except BlockingIOError:
                break
            except OSError:  # Windows tells here that an answer of ours found nobody
                left -= 1
                continue
            left -= self.take(data, sender)
        self._settle()

    def take(self, data: bytes, sender: Sender) -> int:
        """Decode a datagram and hand its messages on; return how many it had, 1 where it made no sense."""
        source = self._sources.get(sender[0]) or self._new_source(sender[0])
        if not source.allowed:
            self.denied += 1
            return 1
        self.received += 1
        try:
            messages = decode(data)
        except OscError as error:
            messages = []
            self.refused += 1
            self._refuse(str(error))
        second = int(time.monotonic())
        if second != source.second:
            source.second, source.count = second, 0
        number = len(messages) or 1
        source.count += number
        if source.count > self._most_per_s:
            self.flooded += number
            return 1
        for message in messages:
            if message.timetag == 1:
                self._handle(message, sender)
            else:
                self._schedule(message, sender)
        return number

    def _new_source(self, host: str) -> _Source:
        if len(self._sources) >= _MOST_SOURCES:
            self._sources.clear()
        return self._sources.setdefault(host, _Source(not self._networks or is_within(host, self._networks)))

    def _schedule(self, message: OscMessage, sender: Sender) -> None:
        at_s = message.timetag / 2**32 - NTP_EPOCH_S
        wait_s = at_s - time.time()
        if wait_s <= 0.0 or message.timetag == 0:
            self._handle(message, sender)
        elif wait_s > LONGEST_WAIT_S or len(self._waiting) >= _MOST_WAITING or self._loop is None:
            self.too_far += 1
            self._refuse(
                f"{message.address}: a timetag {wait_s:.1f} s ahead; up to {LONGEST_WAIT_S:g} s are waited for"
            )
        else:
            heapq.heappush(self._waiting, (at_s, next(self._order), message, sender))
            if self._waiting[0][2] is message:
                self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting and self._loop is not None:
            self._timer = self._loop.call_later(max(0.0, self._waiting[0][0] - time.time()), self._take_due)

    def _take_due(self) -> None:
        """Hand on those whose time has come."""
        now_s = time.time() + _TICK_S
        for _ in range(_BATCH):
            if not self._waiting or self._waiting[0][0] > now_s:
                break
            _, _, message, sender = heapq.heappop(self._waiting)
            self._handle(message, sender)
        self._settle()
        self._set_timer()

    def send(self, packet: bytes, to: Sender) -> None:
        """Answer; what nobody hears is lost."""
        for listener in self._sockets:
            with contextlib.suppress(OSError):  # not every interface reaches everybody
                listener.sendto(packet, to)
                return

    def close(self) -> None:
        """Stop listening."""
        for listener in self._sockets:
            if self._loop is not None:
                self._loop.remove_reader(listener.fileno())
            listener.close()
        self._sockets.clear()
        self._waiting.clear()
        self._set_timer()
