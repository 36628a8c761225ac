"""Slot: the newest value wins, drops are counted. One writer process, any number of readers.

A slot is a small piece of shared memory under a sequence lock: word 0 is odd while a value is written, word 1 holds
its length and CRC-32, so a torn read is seen on any processor.
"""

import zlib

from vjserver.runtime import shared

_HEAD = 16


class SlotWriter:
    """The one writer of a slot that :func:`shared.create` made."""

    def __init__(self, name: str) -> None:
        self._segment = shared.attach(name)
        self._sequence = self._segment.words[0] + (self._segment.words[0] & 1)  # a writer killed half-way left it odd
        self.capacity = self._segment.size - _HEAD

    def put(self, value: bytes) -> None:
        """Replace the value. Raises ValueError if it does not fit."""
        if len(value) > self.capacity:
            raise ValueError(f"a value of this slot has at most {self.capacity} bytes: got {len(value)}")
        self._segment.words[0] = self._sequence + 1
        self._segment.data[_HEAD : _HEAD + len(value)] = value
        self._segment.words[1] = len(value) << 32 | zlib.crc32(value)
        self._sequence += 2
        self._segment.words[0] = self._sequence

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
            sequence, head = self._segment.words[0], self._segment.words[1]
            if sequence in (self._seen, 0):
                return None
            length, crc = head >> 32, head & 0xFFFFFFFF
            if sequence & 1 or length > self._segment.size - _HEAD:
                continue
            value = bytes(self._segment.data[_HEAD : _HEAD + length])
            if self._segment.words[0] == sequence and zlib.crc32(value) == crc:
                if self._seen:
                    self.drops += (sequence - self._seen) // 2 - 1
                self._seen = sequence
                return value
        return None  # the writer is at it (or died at it): the next call will see

    def close(self) -> None:
        """Let go."""
        self._segment.close()


def size_of(capacity: int) -> int:
    """Return the size of a segment for values of up to ``capacity`` bytes."""
    return _HEAD + capacity
