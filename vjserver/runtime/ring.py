"""Frame ring: pictures in shared memory, newest first, never torn. One writer, any number of readers.

Layout (little-endian), also for readers in other programs:

    page 0         magic "VJR1", u32 slots, u64 slot_size, u64 generation, u32 pid, u32 wake port, u64 count (frames)
    slot i         at 4096 + i * slot_size: u64 sequence (odd while written), 56 bytes of nothing,
                   the 128-byte frame header, then the pixels (RGBA8, top row first)

The newest frame is in slot ``(count - 1) % slots``. Read the sequence, copy, read it again: the same even number means
a whole picture. That relies on the order in which an x86 processor stores; elsewhere the header's flag ``FLAG_CRC`` is
set, and the picture is whole if its CRC-32 agrees.

``generation`` changes when a writer begins anew. A magic of "GONE" says that the ring is no longer written under this
mapping: look its name up again. A reader that would rather be woken than look sends the datagram "VJRW" to the wake
port on 127.0.0.1 every half second; it gets one byte back for each frame.
"""

import contextlib
import os
import platform
import socket
import struct
import time
import zlib
from dataclasses import replace

import numpy as np
import psutil

from vjserver.runtime import shared
from vjserver.types.errors import OutputError
from vjserver.types.frames import FLAG_CRC, HEADER_SIZE, Frame, FrameInfo, HeaderError, Pixels

MAGIC = b"VJR1"
GONE = b"GONE"
SLOTS = 3
MAX_SLOTS = 64
PAGE = 4096
QUIET_S = 0.4
"""A ring that brought nothing for so long is looked up again: its writer may have made it anew."""
STORES_IN_ORDER = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")

_CONTROL = struct.Struct("<4sIQQIIQ")
_COUNT_WORD = (_CONTROL.size - 8) // 8
_HEADER_AT = 64
_PIXELS_AT = _HEADER_AT + HEADER_SIZE


def ring_size(max_bytes: int) -> int:
    """Return the size of a ring's segment for frames of up to ``max_bytes`` bytes of pixels."""
    return PAGE + SLOTS * _slot_size(max_bytes)


def _slot_size(max_bytes: int) -> int:
    return (_PIXELS_AT + max_bytes + PAGE - 1) // PAGE * PAGE


class RingWriter:
    """Makes the ring ``name`` and writes frames of up to ``max_bytes`` into it.

    A ring that a dead process left behind is taken over, in place where it is large enough, so that its readers go on
    without looking it up again; one of a living process raises OutputError with its pid. ``checked`` adds a CRC.
    """

    def __init__(self, name: str, max_bytes: int, checked: bool = not STORES_IN_ORDER) -> None:
        self.name, self._checked, self._closed = name, checked, False
        try:
            self._segment = shared.create(name, ring_size(max_bytes))
        except FileExistsError:
            self._segment = _taken_over(name, max_bytes)
        slot_size = _CONTROL.unpack_from(self._segment.data)[2] or _slot_size(max_bytes)
        self.room = slot_size - _PIXELS_AT
        self._slot_size = slot_size
        self._wake = _Notifier()
        words = self._segment.words
        words[_COUNT_WORD] = 0
        head = _CONTROL.pack(MAGIC, SLOTS, slot_size, time.time_ns(), os.getpid(), self._wake.port, 0)
        for i, (word,) in enumerate(struct.iter_unpack("<Q", head)):
            words[i] = word  # whole words: a reader that is there already sees the old or the new, nothing between

    def put(self, frame: Frame) -> None:
        """Write a frame. Raises OutputError if it is larger than the ring's slots."""
        pixels, words = frame.pixels, self._segment.words
        if pixels.nbytes > self.room:
            raise OutputError(
                f"the ring {self.name!r} holds frames of up to {self.room} bytes: "
                f"got {frame.info.width}x{frame.info.height} ({pixels.nbytes} bytes)"
            )
        info = frame.info
        if self._checked:
            info = replace(info, flags=info.flags | FLAG_CRC, crc32=zlib.crc32(np.ascontiguousarray(pixels).data))
        count = words[_COUNT_WORD]
        at = PAGE + count % SLOTS * self._slot_size
        sequence = words[at // 8] | 1  # a writer that was killed half-way left it odd
        words[at // 8] = sequence
        self._segment.data[at + _HEADER_AT : at + _PIXELS_AT] = info.pack()
        target = np.frombuffer(self._segment.data, np.uint8, pixels.nbytes, at + _PIXELS_AT)
        np.copyto(target.reshape(pixels.shape), pixels)
        words[at // 8] = sequence + 1
        words[_COUNT_WORD] = count + 1
        self._wake.all()

    def close(self) -> None:
        """Remove the ring, and tell its readers; may be called twice."""
        if not self._closed:
            self._closed = True
            self._wake.close()
            self._segment.data[:4] = GONE
            shared.remove(self._segment)

    def leave(self) -> None:
        """Let go of the ring and leave it there, as a fall would: a successor reads it, or takes it over."""
        if not self._closed:
            self._closed = True
            self._wake.close()
            self._segment.close()


class RingReader:
    """Finds the ring ``name``, now or later, and again when its writer was restarted."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._segment: shared.Segment | None = None
        self._look_again_s = 0.0
        self._seen = (0, 0)  # generation and count of the newest frame returned
        self._notified: _Notified | None = None
        self.drops = 0
        """Frames that were written but never returned."""
        self.torn = 0
        """Times that a frame was overwritten while it was copied, and taken again."""

    def get(self) -> Frame | None:
        """Return the newest frame if there is one since the last call, else None; the pixels are a copy."""
        for _ in range(4):
            if not self._found():
                return None
            assert self._segment is not None
            buf, words = self._segment.data, self._segment.words
            magic, slots, slot_size, generation, _pid, _port, count = _CONTROL.unpack_from(buf)
            if magic == GONE:
                self._look_again_s = 0.0
                continue
            if magic != MAGIC or not count or (generation, count) == self._seen or not 0 < slots <= MAX_SLOTS:
                return None
            at = PAGE + (count - 1) % slots * slot_size
            if at % 8 or at + slot_size > self._segment.size or slot_size < _PIXELS_AT:
                return None
            before = words[at // 8]
            frame = None if before & 1 else _copied(buf, at, slot_size)
            if frame is not None and words[at // 8] == before and _is_whole(frame):
                if self._seen[0] == generation:
                    self.drops += max(0, count - self._seen[1] - 1)
                self._seen = (generation, count)
                self._look_again_s = time.monotonic() + QUIET_S
                return frame
            self.torn += 1
        return None

    def wait(self, timeout_s: float) -> Frame | None:
        """Return the newest frame as soon as there is one, or None after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while True:
            frame = self.get()
            left_s = deadline - time.monotonic()
            if frame is not None or left_s <= 0.0:
                return frame
            if self._segment is None:
                time.sleep(min(left_s, 0.02))
                continue
            if self._notified is None:
                self._notified = _Notified()
            self._notified.wait(_CONTROL.unpack_from(self._segment.data)[5], min(left_s, 0.02))

    def _found(self) -> bool:
        """Tell whether there is a ring; one that brought nothing for a while is looked up again."""
        now_s = time.monotonic()
        if self._segment is not None and now_s < self._look_again_s:
            return True
        self._look_again_s = now_s + QUIET_S
        self._detach()
        return self._attach()

    def _attach(self) -> bool:
        try:
            segment = shared.attach(self._name)
        except (FileNotFoundError, ValueError):  # ValueError: made, but not yet given its size
            return False
        if segment.size < PAGE or bytes(segment.data[:4]) != MAGIC:
            segment.close()
            return False
        self._segment = segment
        return True

    def _detach(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def close(self) -> None:
        """Let go."""
        self._detach()
        if self._notified is not None:
            self._notified.close()
            self._notified = None


def _copied(buf: memoryview, at: int, slot_size: int) -> Frame | None:
    """Return a copy of the frame in the slot at ``at``, or None if its header makes no sense (it is being written)."""
    try:
        info = FrameInfo.unpack(buf[at + _HEADER_AT : at + _PIXELS_AT])
    except HeaderError:
        return None
    if info.data_size > slot_size - _PIXELS_AT or info.data_size != info.width * info.height * 4:
        return None
    pixels: Pixels = np.frombuffer(buf, np.uint8, info.data_size, at + _PIXELS_AT).copy()
    return Frame(pixels.reshape(info.height, info.width, 4), info)


def _is_whole(frame: Frame) -> bool:
    return not frame.info.flags & FLAG_CRC or zlib.crc32(frame.pixels.data) == frame.info.crc32


def _taken_over(name: str, max_bytes: int) -> shared.Segment:
    """Return the segment of a dead process's ring, or one made anew. Raises OutputError if its process lives."""
    pid = ring_owner(name)
    if pid:
        raise OutputError(f"shared memory {name!r} belongs to process {pid}, which is running; stop it or rename ours")
    with contextlib.suppress(FileNotFoundError):
        old = shared.attach(name)
        if old.size >= PAGE:
            magic, slots, slot_size, *_ = _CONTROL.unpack_from(old.data)
            fits = _slot_size(max_bytes) <= slot_size and PAGE + slots * slot_size <= old.size
            if magic == MAGIC and slots == SLOTS and slot_size % PAGE == 0 and fits:
                return old
            old.data[:4] = GONE
        shared.remove(old)
    for _ in range(20):  # on Windows the name stays taken until its readers have seen that it is gone
        with contextlib.suppress(FileExistsError):
            return shared.create(name, ring_size(max_bytes))
        time.sleep(0.05)
    raise OutputError(f"shared memory {name!r} is held by another program; rename ours")


def ring_owner(name: str) -> int:
    """Return the pid of the living process that writes the ring ``name``, 0 if there is none."""
    try:
        segment = shared.attach(name)
    except (FileNotFoundError, ValueError):
        return 0
    try:
        if segment.size < PAGE:
            return 0
        magic, _, _, generation, pid, _, _ = _CONTROL.unpack_from(segment.data)
        return int(pid) if magic == MAGIC and _lives(pid, generation) else 0
    finally:
        segment.close()


def _lives(pid: int, since_ns: int) -> bool:
    """Tell whether the process ``pid`` lives and is no later one that was given the same number."""
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= since_ns * 1e-9 + 2.0)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


HELLO = b"VJRW"
HELLO_EVERY_S = 0.5
LEASE_S = 2.0
MAX_LISTENERS = 32


class _Notifier:
    """The writer's end of the bell: a datagram for each reader that asked for it lately. Never waits, never fails."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[str, int], float] = {}
        self.port = 0
        self._socket: socket.socket | None = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind(("127.0.0.1", 0))
            self._socket.setblocking(False)
            self.port = self._socket.getsockname()[1]
        except OSError:
            self.close()  # readers look by themselves

    def all(self) -> None:
        """Wake everybody who listens."""
        if self._socket is None:
            return
        for _ in range(MAX_LISTENERS):
            try:
                data, sender = self._socket.recvfrom(16)
            except BlockingIOError:
                break
            except OSError:
                continue  # Windows says here that a listener is gone
            if data == HELLO and (sender in self._listeners or len(self._listeners) < MAX_LISTENERS):
                self._listeners[sender] = time.monotonic() + LEASE_S
        if not self._listeners:
            return
        now_s = time.monotonic()
        for listener, until_s in list(self._listeners.items()):
            if until_s < now_s:
                del self._listeners[listener]
                continue
            with contextlib.suppress(OSError):
                self._socket.sendto(b"\1", listener)

    def close(self) -> None:
        """Let go of the port."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Notified:
    """A reader's end of the bell."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._again_s, self._port = 0.0, 0

    def wait(self, port: int, timeout_s: float) -> None:
        """Return when the writer at ``port`` has a frame, or after ``timeout_s``; what rang before is forgotten."""
        now_s = time.monotonic()
        with contextlib.suppress(OSError):  # nobody at that port, or nothing within the time
            if port and (port != self._port or now_s >= self._again_s):
                self._port, self._again_s = port, now_s + HELLO_EVERY_S
                self._socket.sendto(HELLO, ("127.0.0.1", port))
            self._socket.settimeout(timeout_s)
            self._socket.recv(16)
            self._socket.setblocking(False)
            while self._socket.recv(16):
                pass

    def close(self) -> None:
        """Let go of the port."""
        self._socket.close()
