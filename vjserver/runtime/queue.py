"""Queue: events in order, bounded, overflow counted. One writer process, each reader with its own place.

A ring of fixed records in shared memory; a long event takes several that follow each other. The writer never waits; a
reader that falls more than the ring behind is told how many events it lost.
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
_BODY = RECORD_SIZE - _HEAD
_GOES_ON = 0xFFFFFFFF  # the length in a record that goes on with the event of the one before
MAX_TEXT = 8192
MAX_EVENT = MAX_TEXT + 256
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
        event = replace(event, what=_cut(visible(event.what), 60), why=_cut(visible(event.why), MAX_TEXT))
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
            count, heads = self._segment.words[0], [len(data) << 32 | zlib.crc32(data)]
            parts = [data[i : i + _BODY] for i in range(0, len(data), _BODY)]
            heads += [_GOES_ON << 32] * (len(parts) - 1)
            for i, (part, head) in enumerate(zip(parts, heads, strict=True)):
                at = _PAGE + (count + i) % RECORDS * RECORD_SIZE
                self._segment.words[at // 8] = 0
                self._segment.data[at + _HEAD : at + _HEAD + len(part)] = part
                self._segment.words[at // 8 + 1] = head
                self._segment.words[at // 8] = count + i + 1
            self._segment.words[0] = count + len(parts)

    def close(self) -> None:
        """Let go."""
        self._segment.close()


class QueueReader:
    """Reads from now on, or ``from_begin``; ``lost`` counts records that were overwritten before they were read.

    A long event is several.
    """

    def __init__(self, name: str, from_begin: bool = False) -> None:
        self._segment = shared.attach(name)
        count = self._segment.words[0]
        self._next = max(0, count - RECORDS) if from_begin else count
        self.lost = 0

    @property
    def place(self) -> int:
        """How many records were read or passed over; a successor goes on from there."""
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
            head = self._segment.words[(_PAGE + self._next % RECORDS * RECORD_SIZE) // 8 + 1]
            length, crc = head >> 32, head & 0xFFFFFFFF
            if length == _GOES_ON:  # the middle of one whose begin is gone
                self._next += 1
                continue
            length = min(length, MAX_EVENT)
            data = self._taken(length)
            if data is not None and zlib.crc32(data) == crc:
                events.append(decode(data))
                self._next += max(1, -(-length // _BODY))
            else:
                self.lost += 1
                self._next += 1
        return events

    def _taken(self, length: int) -> bytes | None:
        """Return the bytes of the next event, None where one of its records was written over."""
        parts = []
        for i in range(-(-length // _BODY)):
            at = _PAGE + (self._next + i) % RECORDS * RECORD_SIZE
            if self._segment.words[at // 8] != self._next + i + 1:
                return None
            parts.append(bytes(self._segment.data[at + _HEAD : at + _HEAD + min(_BODY, length - i * _BODY)]))
        return b"".join(parts)

    def close(self) -> None:
        """Let go."""
        self._segment.close()
