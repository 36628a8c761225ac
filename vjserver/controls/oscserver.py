"""The OSC server: datagrams and streams from anybody go in, checked messages go to who handles them, answers go back.

Who is heard, and how much of it a second, is decided here; what a packet means in ``controls/osc.py``.
"""

import asyncio
import contextlib
import heapq
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import count

from vjserver.controls.osc import OscError, OscMessage, Sender, decode, is_within
from vjserver.controls.osctcp import OscStream
from vjserver.runtime.osc import NTP_EPOCH_S

LONGEST_WAIT_S = 2.0
# A sender has a clock that is ahead of ours if its packets, looked at so often, are all stamped as far ahead.
_LEAD_S, _LEAD_SPREAD_S, _LEAD_PACKETS, _LEAD_EVERY_S = 0.3, 0.15, 3, 0.2
MOST_STREAMS, MOST_STREAMS_OF_A_HOST = 32, 8
_BATCH = 512  # messages, after which others have their turn
TURN_S = 0.01
_BUFFER = 4 << 20
_RCVBUFFORCE = getattr(socket, "SO_RCVBUFFORCE", 33) if hasattr(socket, "AF_UNIX") else socket.SO_RCVBUF
_MOST_SOURCES = 1024
_MOST_WAITING = 4096
_TICK_S = time.get_clock_info("monotonic").resolution  # as exactly as the loop's timers come


@dataclass(slots=True)
class _Source:
    """What one machine has sent within the present second."""

    allowed: bool
    second: int = 0
    count: int = 0
    leads_s: deque[float] = field(default_factory=lambda: deque(maxlen=_LEAD_PACKETS))
    """How far ahead of our clock its packets were stamped of late."""
    looked_s: float = 0.0
    ahead_s: float = 0.0
    """How far ahead its clock is, as far as is known."""


class OscServer:
    """Listens; ``handle`` gets each message with its sender, ``refuse`` each error, ``settle`` ends each batch.

    ``handle`` returns how many addresses a message reached, which counts as so many messages. Datagrams are read as
    many as there are before anything else happens, so a burst is one batch, up to :data:`TURN_S` of work. A bundle
    whose time lies ahead waits for it, up to :data:`LONGEST_WAIT_S`, and is then one batch; one of the past is taken at
    once. Of a sender whose packets are always as far ahead the clock is wrong: they are taken as if it were right.
    Machines that are not in ``allow`` are not heard, and of each at most ``most_per_s`` messages a second.
    """

    def __init__(
        self,
        handle: Callable[[OscMessage, Sender], int],
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
        self._servers: list[asyncio.Server] = []
        self._streams: dict[Sender, OscStream] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[float, int, OscMessage, Sender]] = []  # a heap: when, since 1970, and in which order
        self._order = count()
        self._due: dict[Sender, deque[OscMessage]] = {}
        """What came and is not taken yet, by who sent it: nobody waits for a flood of another."""
        self._backlog = 0
        self._turn: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.received = 0
        self.refused = 0
        self.denied = 0
        self.flooded = 0
        self.too_far = 0
        self.wrong_clocks: dict[str, float] = {}
        """Machines whose clocks are ahead, and by how many seconds, until somebody has told of them."""

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

    async def open_tcp(self, host: str, port: int) -> None:
        """Listen on TCP too. Raises OSError where the port is taken."""
        loop = asyncio.get_running_loop()

        def stream() -> OscStream:
            return OscStream(self.take, self._work, self.refuse, self._welcome, self._leave)

        self._servers.append(await loop.create_server(stream, host, port, reuse_address=sys.platform != "win32"))

    def _welcome(self, sender: Sender, stream: OscStream) -> bool:
        """Take a connection in, unless its machine is not heard or there are too many."""
        of_host = sum(one[0] == sender[0] for one in self._streams)
        if not self._source(sender[0]).allowed:
            self.denied += 1
            return False
        if len(self._streams) >= MOST_STREAMS or of_host >= MOST_STREAMS_OF_A_HOST:
            self.refuse(f"OSC over TCP: {len(self._streams)} connections are open ({of_host} of {sender[0]}), no more")
            return False
        self._streams[sender] = stream
        return True

    def _leave(self, sender: Sender) -> None:
        self._streams.pop(sender, None)

    def has_stream(self, sender: Sender) -> bool:
        """Tell whether a sender came over TCP: it is who it says."""
        return sender in self._streams

    def refuse(self, why: str) -> None:
        """Count and tell what makes no sense."""
        self.refused += 1
        self._refuse(why)

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
        self._work()

    def take(self, data: bytes, sender: Sender) -> int:
        """Decode a datagram and hand its messages on; return how many it had, 1 where it made no sense."""
        source = self._source(sender[0])
        if not source.allowed:
            self.denied += 1
            return 1
        self.received += 1
        faults: list[str] = []
        try:
            messages = decode(data, faults)
        except OscError as error:
            messages, faults = [], [str(error)]
        for fault in faults[:1]:
            more = f" ({len(faults)} like it in one bundle)" if len(faults) > 1 else ""
            self.refuse(f"{fault}{more}")
        number = len(messages) or 1
        if self._is_flood(source, number):
            self.flooded += number
            return 1
        if messages and messages[0].timetag > 1:
            self._learn_lead(source, messages[0].timetag, sender)
        for message in messages:
            if message.timetag <= 1:
                self._line_up(message, sender)
            else:
                self._schedule(message, sender, source)
        return number

    def _is_flood(self, source: _Source, more: int) -> bool:
        """Count messages, or the addresses that a pattern reached; tell whether it is too much of one machine."""
        second = int(time.monotonic())
        if second != source.second:
            source.second, source.count = second, 0
        source.count += more
        return source.count > self._most_per_s

    # -- turns ---------------------------------------------------------------------------------------------

    def _line_up(self, message: OscMessage, sender: Sender) -> None:
        if self._loop is None:
            self._handle(message, sender)
        elif self._backlog >= self._most_per_s:
            self.flooded += 1
        else:
            self._due.setdefault(sender, deque()).append(message)
            self._backlog += 1

    def _work(self) -> None:
        """Take what is due, one message of each sender after another, for one turn; go on in the next."""
        if self._turn is not None:  # one turn at a time, whoever asks for it
            self._turn.cancel()
            self._turn = None
        until_s = time.monotonic() + TURN_S
        while self._due and time.monotonic() <= until_s:
            sender = next(iter(self._due))
            line = self._due.pop(sender)
            reached = self._handle(line.popleft(), sender)
            self._backlog -= 1
            if reached and reached > 1 and self._is_flood(self._source(sender[0]), reached - 1):
                self.flooded += len(line)
                self._backlog -= len(line)
                line.clear()
            if line:
                self._due[sender] = line  # behind the others
        self._settle()
        if self._due and self._loop is not None:
            self._turn = self._loop.call_soon(self._work)

    def _source(self, host: str) -> _Source:
        found = self._sources.get(host)
        if found is not None:
            return found
        if len(self._sources) >= _MOST_SOURCES:
            self._sources.clear()
        return self._sources.setdefault(host, _Source(not self._networks or is_within(host, self._networks)))

    def _learn_lead(self, source: _Source, timetag: int, sender: Sender) -> None:
        """Learn how far a sender's clock is ahead: a lead that is always the same is none."""
        now_s = time.time()
        if now_s - source.looked_s < _LEAD_EVERY_S:  # one burst says nothing
            return
        source.looked_s = now_s
        source.leads_s.append(timetag / 2**32 - NTP_EPOCH_S - now_s)
        least, most = min(source.leads_s), max(source.leads_s)
        known = source.ahead_s
        if least < _LEAD_S:
            source.ahead_s = 0.0
        elif len(source.leads_s) == _LEAD_PACKETS and most - least < _LEAD_SPREAD_S:
            source.ahead_s = least
        if source.ahead_s and not known:
            self.wrong_clocks[sender[0]] = source.ahead_s
            self._bring_forward(sender)

    def _bring_forward(self, sender: Sender) -> None:
        """Take what a sender whose clock is wrong has sent already, in order."""
        due = sorted(row for row in self._waiting if row[3][0] == sender[0])
        self._waiting = [row for row in self._waiting if row[3][0] != sender[0]]
        heapq.heapify(self._waiting)
        for _, _, message, whence in due:
            self._line_up(message, whence)
        self._set_timer()

    def _schedule(self, message: OscMessage, sender: Sender, source: _Source) -> None:
        at_s = message.timetag / 2**32 - NTP_EPOCH_S - source.ahead_s
        wait_s = at_s - time.time()
        if wait_s <= 0.0:
            self._line_up(message, sender)
        elif wait_s > LONGEST_WAIT_S or len(self._waiting) >= _MOST_WAITING or self._loop is None:
            self.too_far += 1  # a press that is lost is worse than one that comes too soon
            if len(self.wrong_clocks) < MOST_STREAMS:
                self.wrong_clocks.setdefault(sender[0], wait_s)
            self._line_up(message, sender)
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
            self._line_up(message, sender)
        self._work()
        self._set_timer()

    def send(self, packet: bytes, to: Sender) -> None:
        """Answer; what nobody hears is lost."""
        stream = self._streams.get(to)
        if stream is not None:
            stream.send(packet)
            return
        for listener in self._sockets:
            with contextlib.suppress(OSError):  # not every interface reaches everybody
                listener.sendto(packet, to)
                return

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.close()
        for stream in list(self._streams.values()):
            stream.close()
        self._servers.clear()
        for listener in self._sockets:
            if self._loop is not None:
                self._loop.remove_reader(listener.fileno())
            listener.close()
        self._sockets.clear()
        self._waiting.clear()
        self._due.clear()
        self._backlog = 0
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._set_timer()
