"""Queue: events in order, bounded, overflow counted. One writer process, each reader with its own place.

A ring of fixed records in shared memory. The writer never waits; a reader that falls more than the ring behind is
told how many events it lost.
"""

import threading
import zlib
from dataclasses import fields, replace
from typing import Any

import msgspec

from vjserver.runtime import shared
from vjserver.types.events import EVENT_TYPES, Degraded, Event
from vjserver.types.text import visible

RECORDS = 512
RECORD_SIZE = 512
_HEAD = 16  # two words: number (from 1; 0 while written), length and CRC-32
_PAGE = 64
MAX_EVENT = RECORD_SIZE - _HEAD
SEGMENT_SIZE = _PAGE + RECORDS * RECORD_SIZE

_index = {kind: i for i, kind in enumerate(EVENT_TYPES)}
_decoders: list[Any] = [msgspec.msgpack.Decoder(kind) for kind in EVENT_TYPES]
_encode = msgspec.msgpack.Encoder().encode
assert all(fields(kind)[0].name == "t_ns" for kind in EVENT_TYPES)


def encode(event: Event) -> bytes:
    """Return an event as at most ``MAX_EVENT`` bytes. Raises ValueError.

    The reason of a Degraded is cut to fit, and what could steer a terminal in it is made visible: it goes everywhere.
    """
    if isinstance(event, Degraded):
        event = replace(event, what=_cut(visible(event.what), 60), why=_cut(visible(event.why), 360))
    data = bytes((_index[type(event)],)) + _encode(event)
    if len(data) > MAX_EVENT:
        raise ValueError(f"an event has at most {MAX_EVENT} bytes: got {len(data)}")
    return data


def _cut(text: str, most: int) -> str:
    """Return as much of a text as takes at most ``most`` bytes."""
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")


def decode(data: bytes) -> Event:
    """Return the event of :func:`encode`."""
    event: Event = _decoders[data[0]].decode(data[1:])
    return event


class QueueWriter:
    """The one writer of a queue whose segment has ``SEGMENT_SIZE`` bytes."""

    def __init__(self, name: str) -> None:
        self._segment = shared.attach(name)
        self._lock = threading.Lock()

    def put(self, event: Event) -> None:
        """Append an event; never waits for a reader. Threads of the writing process may share it."""
        data = encode(event)
        with self._lock:
            count = self._segment.words[0]
            at = _PAGE + count % RECORDS * RECORD_SIZE
            self._segment.words[at // 8] = 0
            self._segment.data[at + _HEAD : at + _HEAD + len(data)] = data
            self._segment.words[at // 8 + 1] = len(data) << 32 | zlib.crc32(data)
            self._segment.words[at // 8] = count + 1
            self._segment.words[0] = count + 1

    def close(self) -> None:
        """Let go."""
        self._segment.close()


class QueueReader:
    """Reads from now on, or ``from_begin``; ``lost`` counts events that were overwritten before they were read."""

    def __init__(self, name: str, from_begin: bool = False) -> None:
        self._segment = shared.attach(name)
        count = self._segment.words[0]
        self._next = max(0, count - RECORDS) if from_begin else count
        self.lost = 0

    @property
    def place(self) -> int:
        """How many events were read or passed over; a successor goes on from there."""
        return self._next

    @place.setter
    def place(self, count: int) -> None:
        self._next = min(count, self._segment.words[0])

    def get(self) -> list[Event]:
        """Return the events since the last call, oldest first."""
        events = []
        count = self._segment.words[0]
        if count - self._next > RECORDS:
            self.lost += count - self._next - RECORDS
            self._next = count - RECORDS
        while self._next < count:
            at = _PAGE + self._next % RECORDS * RECORD_SIZE
            number, head = self._segment.words[at // 8], self._segment.words[at // 8 + 1]
            length, crc = min(head >> 32, MAX_EVENT), head & 0xFFFFFFFF
            data = bytes(self._segment.data[at + _HEAD : at + _HEAD + length])
            self._next += 1
            if number == self._next and zlib.crc32(data) == crc:
                events.append(decode(data))
            else:
                self.lost += 1
        return events

    def close(self) -> None:
        """Let go."""
        self._segment.close()
