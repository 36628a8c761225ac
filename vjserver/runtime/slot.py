"""Slot: the newest value wins, drops are counted. One writer process, any number of readers.

A slot is a small piece of shared memory under a sequence lock: the count is odd while a value is written. The
value carries a CRC, so a torn read is seen on any processor.
"""

import struct
import zlib

from vjserver.runtime import shared

_HEAD = struct.Struct("<QII")  # sequence, length, crc32


class SlotWriter:
    """The one writer of a slot that :func:`shared.create` made."""

    def __init__(self, name: str) -> None:
        self._segment = shared.attach(name)
        sequence = _HEAD.unpack_from(self._segment.buf)[0]
        self._sequence = sequence + (sequence & 1)  # a writer killed half-way left it odd
        self.capacity = self._segment.size - _HEAD.size

    def put(self, value: bytes) -> None:
        """Replace the value. Raises ValueError if it does not fit."""
        if len(value) > self.capacity:
            raise ValueError(f"a value of this slot has at most {self.capacity} bytes: got {len(value)}")
        buf = self._segment.buf
        struct.pack_into("<Q", buf, 0, self._sequence + 1)
        buf[_HEAD.size : _HEAD.size + len(value)] = value
        self._sequence += 2
        _HEAD.pack_into(buf, 0, self._sequence, len(value), zlib.crc32(value))

    def close(self) -> None:
        """Let go."""
        shared.close(self._segment)


class SlotReader:
    """A reader with its own place: ``drops`` counts the values that it never saw."""

    def __init__(self, name: str) -> None:
        self._segment = shared.attach(name)
        self._seen = 0
        self.drops = 0

    def get(self) -> bytes | None:
        """Return the newest value if there is one since the last call, else None."""
        buf = self._segment.buf
        for _ in range(20):
            sequence, length, crc = _HEAD.unpack_from(buf)
            if sequence == self._seen or sequence == 0:
                return None
            if sequence & 1 or length > len(buf) - _HEAD.size:
                continue
            value = bytes(buf[_HEAD.size : _HEAD.size + length])
            if _HEAD.unpack_from(buf)[0] == sequence and zlib.crc32(value) == crc:
                if self._seen:
                    self.drops += (sequence - self._seen) // 2 - 1
                self._seen = sequence
                return value
        return None  # the writer is at it (or died at it): the next call will see

    def close(self) -> None:
        """Let go."""
        shared.close(self._segment)


def size_of(capacity: int) -> int:
    """Return the size of a segment for values of up to ``capacity`` bytes."""
    return _HEAD.size + capacity
