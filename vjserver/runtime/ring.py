"""Frame ring: pictures in shared memory, newest first, never torn. One writer, any number of readers.

Layout (little-endian), also for readers in other programs:

    page 0         magic "VJR1", u32 slots, u64 slot_size, u64 generation, u32 pid, u32 0, u64 count (frames written)
    slot i         at 4096 + i * slot_size: u64 sequence (odd while written), 56 bytes of nothing,
                   the 128-byte frame header, then the pixels (RGBA8, top row first)

The newest frame is in slot ``(count - 1) % slots``. Read the sequence, copy, read it again: the same even number
means a whole picture. ``generation`` changes when a writer begins anew.
"""

import os
import struct
import time

import numpy as np
import psutil

from vjserver.runtime import shared
from vjserver.types.errors import OutputError
from vjserver.types.frames import HEADER_SIZE, Frame, FrameInfo, HeaderError

MAGIC = b"VJR1"
SLOTS = 3
PAGE = 4096
LOOK_AGAIN_NS = 1_000_000_000
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

    A ring that a dead process left behind is taken over; one of a living process raises OutputError with its pid.
    """

    def __init__(self, name: str, max_bytes: int) -> None:
        self.name = name
        try:
            self._segment = shared.create(name, ring_size(max_bytes))
        except FileExistsError:
            _reclaim(name)
            self._segment = shared.create(name, ring_size(max_bytes))
        self._slot_size = _slot_size(max_bytes)
        _CONTROL.pack_into(self._segment.data, 0, MAGIC, SLOTS, self._slot_size, time.time_ns(), os.getpid(), 0, 0)

    def put(self, frame: Frame) -> None:
        """Write a frame. Raises OutputError if it is larger than the ring's slots."""
        pixels, buf = frame.pixels, self._segment.data
        if pixels.nbytes > self._slot_size - _PIXELS_AT:
            raise OutputError(
                f"the ring {self.name!r} holds frames of up to {self._slot_size - _PIXELS_AT} bytes: "
                f"got {frame.info.width}x{frame.info.height} ({pixels.nbytes} bytes)"
            )
        count = self._segment.words[_COUNT_WORD]
        at = PAGE + count % SLOTS * self._slot_size
        sequence = self._segment.words[at // 8]
        self._segment.words[at // 8] = sequence + 1
        buf[at + _HEADER_AT : at + _PIXELS_AT] = frame.info.pack()
        target = np.frombuffer(buf, np.uint8, pixels.nbytes, at + _PIXELS_AT)
        np.copyto(target, pixels.reshape(-1))
        self._segment.words[at // 8] = sequence + 2
        self._segment.words[_COUNT_WORD] = count + 1

    def close(self) -> None:
        """Remove the ring."""
        shared.remove(self._segment)


class RingReader:
    """Finds the ring ``name``, now or later, and again when its writer was restarted."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._segment: shared.Segment | None = None
        self._look_again_ns = 0
        self._seen = (0, 0)  # generation and count of the newest frame returned
        self.drops = 0

    def get(self) -> Frame | None:
        """Return the newest frame if there is one since the last call, else None; the pixels are a copy."""
        if not self._found():
            return None
        assert self._segment is not None
        buf = self._segment.data
        for _ in range(4):
            magic, slots, slot_size, generation, _pid, _, _ = _CONTROL.unpack_from(buf)
            count = self._segment.words[_COUNT_WORD]
            if magic != MAGIC or not count or (generation, count) == self._seen:
                return None
            at = PAGE + (count - 1) % slots * slot_size
            before = self._segment.words[at // 8]
            frame = None if before & 1 else _copied(buf, at, slot_size)
            if frame is not None and self._segment.words[at // 8] == before:
                if self._seen[0] == generation:
                    self.drops += max(0, count - self._seen[1] - 1)
                self._seen = (generation, count)
                self._look_again_ns = time.monotonic_ns() + LOOK_AGAIN_NS
                return frame
        return None

    def _found(self) -> bool:
        """Tell whether there is a ring.

        One that brought nothing for a second is looked up again: a restarted writer makes it anew under the same name.
        """
        now_ns = time.monotonic_ns()
        if self._segment is not None and now_ns < self._look_again_ns:
            return True
        self._look_again_ns = now_ns + LOOK_AGAIN_NS
        self.close()
        return self._attach()

    def _attach(self) -> bool:
        try:
            segment = shared.attach(self._name)
        except FileNotFoundError:
            return False
        if segment.size < PAGE or bytes(segment.data[:4]) != MAGIC:
            segment.close()
            return False
        self._segment = segment
        return True

    def close(self) -> None:
        """Let go."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None


def _copied(buf: memoryview, at: int, slot_size: int) -> Frame | None:
    """Return a copy of the frame in the slot at ``at``, or None if its header makes no sense (it is being written)."""
    try:
        info = FrameInfo.unpack(buf[at + _HEADER_AT : at + _PIXELS_AT])
    except HeaderError:
        return None
    if info.data_size > slot_size - _PIXELS_AT:
        return None
    pixels = np.frombuffer(buf, np.uint8, info.data_size, at + _PIXELS_AT).copy()
    return Frame(pixels.reshape(info.height, info.width, 4), info)


def _reclaim(name: str) -> None:
    """Remove the ring of a dead process. Raises OutputError if its process lives."""
    pid = ring_owner(name)
    if pid and psutil.pid_exists(pid):
        raise OutputError(f"shared memory {name!r} belongs to process {pid}, which is running; stop it or rename ours")
    shared.remove_by_name(name)


def ring_owner(name: str) -> int:
    """Return the pid that the ring ``name`` names as its writer, 0 if there is no such ring."""
    try:
        segment = shared.attach(name)
    except FileNotFoundError:
        return 0
    try:
        if segment.size < PAGE:
            return 0
        magic, _, _, _, pid, _, _ = _CONTROL.unpack_from(segment.data)
        return int(pid) if magic == MAGIC else 0
    finally:
        segment.close()
