"""Callbacks of the Script TOP ``script_in``: the newest picture of a vjserver ring, the right way up.

Runs in TouchDesigner's Python: standard library and numpy only. The layout of the ring is in vjserver's
``runtime/ring.py``. A picture is whole when its slot's sequence is even, and the same after the copy as before.
"""

import platform
import struct
import time
import zlib
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

import numpy as np

CONTROL = struct.Struct("<4sIQQIIQ")
HEADER = struct.Struct("<4sHHIIQQQQQIIIIQBBBxfffIQQIII")
PAGE = 4096
PIXELS_AT = 64 + HEADER.size
MAX_SLOTS = 64
MAX_SIDE = 16384
FLAG_CRC = 1
RGBA = int.from_bytes(b"RGBA", "little")
QUIET_S = 0.4
STORES_IN_ORDER = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")


class Ring:
    """Reads one ring; finds it when it comes, and again when vjserver was restarted."""

    def __init__(self, stream):
        self.stream = stream
        self.memory = self.words = None
        self.seen = (0, 0)
        self.look_again_s = 0.0
        self.frame_id = self.age_ms = self.source_age_ms = 0
        self.drops = self.torn = 0

    def read(self):
        """Return the newest picture as uint8 (height, width, 4), bottom row first, or None if there is no other."""
        now_s = time.monotonic()
        if self.memory is None or now_s >= self.look_again_s:
            self.look_again_s = now_s + QUIET_S
            self.close()
            self.attach()
        if self.memory is None:
            return None
        for _ in range(4):
            magic, slots, slot_size, generation, _pid, _port, count = CONTROL.unpack_from(self.memory.buf)
            if magic == b"GONE":
                self.look_again_s = 0.0
                return None
            if magic != b"VJR1" or not count or (generation, count) == self.seen or not 0 < slots <= MAX_SLOTS:
                return None
            at = PAGE + (count - 1) % slots * slot_size
            if at % 8 or at + slot_size > self.memory.size or slot_size < PIXELS_AT:
                return None
            before = int(self.words[at // 8])
            picture = None if before & 1 else self.copied(at, slot_size)
            if picture is not None and int(self.words[at // 8]) == before:
                if self.seen[0] == generation:
                    self.drops += max(0, count - self.seen[1] - 1)
                self.seen = (generation, count)
                self.look_again_s = now_s + QUIET_S
                return picture
            self.torn += 1
        return None

    def copied(self, at, slot_size):
        """Return a flipped copy of the picture in the slot at ``at``, or None if its header makes no sense."""
        fields = HEADER.unpack_from(self.memory.buf, at + 64)
        magic, version, size, flags, _stream, frame_id, _captured, generated_ns = fields[:8]
        width, height, stride, fourcc, data_size = fields[10:15]
        crc, source_age_us = fields[-2:]
        sound = magic == b"VJF1" and version == 1 and size == HEADER.size and fourcc == RGBA
        if not sound or not 0 < width <= MAX_SIDE or not 0 < height <= MAX_SIDE:
            return None
        if stride != width * 4 or data_size != stride * height or data_size > slot_size - PIXELS_AT:
            return None
        picture = np.frombuffer(self.memory.buf, np.uint8, data_size, at + PIXELS_AT).reshape(height, width, 4)
        picture = np.ascontiguousarray(picture[::-1])  # TouchDesigner's pictures begin at the bottom
        if flags & FLAG_CRC and not STORES_IN_ORDER and zlib.crc32(np.ascontiguousarray(picture[::-1])) != crc:
            return None
        self.frame_id = frame_id
        self.age_ms = (time.perf_counter_ns() - generated_ns) * 1e-6
        self.source_age_ms = source_age_us * 1e-3
        return picture

    def attach(self):
        """Open the ring, if there is one."""
        # Python's resource tracker would start another TouchDesigner as its helper, and remove the ring at the end.
        register, resource_tracker.register = resource_tracker.register, lambda *_: None
        try:
            memory = SharedMemory("vjserver-" + self.stream)
        except (FileNotFoundError, ValueError, OSError):
            return
        finally:
            resource_tracker.register = register
        if memory.size < PAGE or bytes(memory.buf[:4]) != b"VJR1":
            memory.close()
            return
        self.memory = memory
        self.words = memory.buf[: memory.size // 8 * 8].cast("Q")

    def close(self):
        """Let go."""
        if self.memory is not None:
            self.words.release()
            self.memory.close()
            self.memory = self.words = None


STREAMS = {"deck_script_in": "Previewstream"}  # whose stream another parameter names than Stream
rings = {}


def ring_of(stream):
    """Return the reader of a stream."""
    if stream not in rings:
        rings[stream] = Ring(stream)
    return rings[stream]


def onSetupParameters(scriptOp):
    """There is nothing to set up."""


def onPulse(par):
    """There is nothing to pulse."""


def onCook(scriptOp):
    """Show the newest picture; the last one stays while there is none."""
    ring = ring_of(getattr(scriptOp.parent().par, STREAMS.get(scriptOp.name, "Stream")).eval())
    picture = ring.read()
    if picture is not None:
        scriptOp.copyNumpyArray(picture)
        scriptOp.store("frame_id", ring.frame_id)
        scriptOp.store("age_ms", ring.age_ms)
        scriptOp.store("source_age_ms", ring.source_age_ms)
