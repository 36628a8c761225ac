"""Slot: the newest value wins, drops are counted. One writer process, any number of readers.

A slot is a small piece of shared memory: word 0 counts the values that were written, and two halves take turns. A value
is written into the half that is not read, and then the count goes on: a writer that is killed at it leaves the value
before untouched. Each half has its length and CRC-32, so a torn read is seen on any processor.
"""

import zlib

from vjserver.runtime import shared

_HEAD = 8
_HALF_HEAD = 8


class SlotWriter:
    """The one writer of a slot that :func:`shared.create` made."""

    def __init__(self, name: str) -> None:
        self._segment = shared.attach(name)
        self._count = int(self._segment.words[0])
        self.capacity = _half(self._segment.size) - _HALF_HEAD

    def put(self, value: bytes) -> None:
        """Replace the value. Raises ValueError if it does not fit."""
        if len(value) > self.capacity:
            raise ValueError(f"a value of this slot has at most {self.capacity} bytes: got {len(value)}")
        self._count += 1
        at = _HEAD + self._count % 2 * _half(self._segment.size)
        start = at + _HALF_HEAD
        self._segment.data[start : start + len(value)] = value
        self._segment.words[at // 8] = len(value) << 32 | zlib.crc32(value)
        self._segment.words[0] = self._count

    def close(self) -> None:
        """Let go."""
        self._segment.close()


class SlotReader:
    """A reader with its own place: ``drops`` counts the values that it never saw."""

    def __init__(self, name: str) -> None:
        self._segment = shared.attach(name)
        self._seen = 0
        self.drops = 0

    def get(self) -> bytes | None:
        """Return the newest value if there is one since the last call, else None."""
        for _ in range(20):
            count = self._segment.words[0]
            if count in (self._seen, 0):
                return None
            at = _HEAD + count % 2 * _half(self._segment.size)
            head = self._segment.words[at // 8]
            length, crc = head >> 32, head & 0xFFFFFFFF
            if length > _half(self._segment.size) - _HALF_HEAD:
                continue
            value = bytes(self._segment.data[at + _HALF_HEAD : at + _HALF_HEAD + length])
            if zlib.crc32(value) == crc:
                if self._seen:
                    self.drops += count - self._seen - 1
                self._seen = count
                return value
        return None  # a writer that is much faster than we are: the next call will see

    def close(self) -> None:
        """Let go."""
        self._segment.close()


def _half(size: int) -> int:
    """Return the size of one half of a segment of ``size`` bytes, whole words."""
    return (size - _HEAD) // 16 * 8


def size_of(capacity: int) -> int:
    """Return the size of a segment for values of up to ``capacity`` bytes."""
    return _HEAD + 2 * (_HALF_HEAD + (capacity + 7) // 8 * 8)
