"""Queue: events in order, bounded, overflow counted. One writer process, each reader with its own place.

A ring of fixed records in shared memory. The writer never waits; a reader that falls more than the ring behind is
told how many events it lost.
"""

import struct
import zlib
from dataclasses import fields, replace
from typing import Any

import msgspec

from vjserver.runtime import shared
from vjserver.types.events import EVENT_TYPES, Degraded, Event

RECORDS = 512
RECORD_SIZE = 512
_RECORD = struct.Struct("<QII")  # number (from 1; 0 while written), length, crc32
_COUNT = struct.Struct("<Q")
_PAGE = 64
MAX_EVENT = RECORD_SIZE - _RECORD.size
SEGMENT_SIZE = _PAGE + RECORDS * RECORD_SIZE

_index = {kind: i for i, kind in enumerate(EVENT_TYPES)}
_decoders: list[Any] = [msgspec.msgpack.Decoder(kind) for kind in EVENT_TYPES]
_encode = msgspec.msgpack.Encoder().encode
assert all(fields(kind)[0].name == "t_ns" for kind in EVENT_TYPES)


def encode(event: Event) -> bytes:
    """Return an event as at most ``MAX_EVENT`` bytes; the reason of a Degraded is cut to fit. Raises ValueError."""
    if isinstance(event, Degraded):
        event = replace(event, what=event.what[:60], why=event.why[:240])
    data = bytes((_index[type(event)],)) + _encode(event)
    if len(data) > MAX_EVENT:
        raise ValueError(f"an event has at most {MAX_EVENT} bytes: got {len(data)}")
    return data


def decode(data: bytes) -> Event:
    """Return the event of :func:`encode`."""
    event: Event = _decoders[data[0]].decode(data[1:])
    return event


class QueueWriter:
    """The one writer of a queue whose segment has ``SEGMENT_SIZE`` bytes."""

    def __init__(self, name: str) -> None:
        self._segment = shared.attach(name)
        self._count = _COUNT.unpack_from(self._segment.buf)[0]

    def put(self, event: Event) -> None:
        """Append an event; never waits."""
        data = encode(event)
        buf, at = self._segment.buf, _PAGE + self._count % RECORDS * RECORD_SIZE
        self._count += 1
        _COUNT.pack_into(buf, at, 0)
        buf[at + _RECORD.size : at + _RECORD.size + len(data)] = data
        _RECORD.pack_into(buf, at, self._count, len(data), zlib.crc32(data))
        _COUNT.pack_into(buf, 0, self._count)

    def close(self) -> None:
        """Let go."""
        shared.close(self._segment)


class QueueReader:
    """Reads from now on; ``lost`` counts events that were overwritten before they were read."""

    def __init__(self, name: str) -> None:
        self._segment = shared.attach(name)
        self._next = _COUNT.unpack_from(self._segment.buf)[0]
        self.lost = 0

    def get(self) -> list[Event]:
        """Return the events since the last call, oldest first."""
        buf, events = self._segment.buf, []
        count = _COUNT.unpack_from(buf)[0]
        if count - self._next > RECORDS:
            self.lost += count - self._next - RECORDS
            self._next = count - RECORDS
        while self._next < count:
            at = _PAGE + self._next % RECORDS * RECORD_SIZE
            number, length, crc = _RECORD.unpack_from(buf, at)
            data = bytes(buf[at + _RECORD.size : at + _RECORD.size + min(length, MAX_EVENT)])
            self._next += 1
            if number == self._next and zlib.crc32(data) == crc:
                events.append(decode(data))
            else:
                self.lost += 1
        return events

    def close(self) -> None:
        """Let go."""
        shared.close(self._segment)
