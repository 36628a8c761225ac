"""Sound ring: what the ear hears goes in, and whoever records takes it out. One writer, any number of readers.

A piece of shared memory: five words (sequence, odd while they change; frames written; time of the last of them; rate
and channels; generation), then interleaved float32 samples, round and round.
"""

import time

import numpy as np

from vjserver.runtime import shared
from vjserver.types.audio import AudioBlock

_HEAD = 64
SAMPLES = 1 << 19
"""Of all channels together: more than five seconds of stereo at 48 kHz."""
SEGMENT_SIZE = _HEAD + 4 * SAMPLES


class SoundWriter:
    """The one writer of a ring whose segment has ``SEGMENT_SIZE`` bytes."""

    def __init__(self, name: str) -> None:
        self._segment = shared.attach(name)
        self._ring = np.frombuffer(self._segment.data, np.float32, SAMPLES, _HEAD)
        self._form = (0, 0)
        self._frames = 0
        self._sequence = (int(self._segment.words[0]) + 1) // 2 * 2  # one that was killed half-way left it odd

    def put(self, block: AudioBlock) -> None:
        """Append a block; one of another rate or channel count begins the ring anew."""
        samples = block.samples.reshape(len(block.samples), -1)
        channels = samples.shape[1]
        room = SAMPLES // channels
        words = self._segment.words
        begins = self._form != (block.rate_hz, channels)
        if begins:
            self._form, self._frames = (block.rate_hz, channels), 0
        ring = self._ring[: room * channels].reshape(room, channels)
        samples = samples[-room:]
        at = self._frames % room
        first = min(len(samples), room - at)
        ring[at : at + first] = samples[:first]
        ring[: len(samples) - first] = samples[first:]
        self._frames += len(samples)
        words[0] = self._sequence + 1
        words[1], words[2] = self._frames, block.t_ns
        if begins:
            words[3], words[4] = block.rate_hz << 32 | channels, time.time_ns()
        self._sequence += 2
        words[0] = self._sequence

    def close(self) -> None:
        """Let go."""
        del self._ring
        self._segment.close()


class SoundReader:
    """Reads from now on. ``lost`` counts the frames that were overwritten before they were read.

    Raises FileNotFoundError where there is no such ring.
    """

    def __init__(self, name: str) -> None:
        self._segment = shared.attach(name)
        self._ring = np.frombuffer(self._segment.data, np.float32, SAMPLES, _HEAD)
        self._next, self._generation = 0, -1
        self.lost = 0

    def get(self) -> AudioBlock | None:
        """Return the sound since the last call as one block, or None."""
        head = self._head()
        if head is None:
            return None
        frames, t_ns, rate_hz, channels, generation = head
        if generation != self._generation:
            first = self._generation < 0
            self._generation, self._next = generation, frames if first else 0
        room = SAMPLES // channels
        if frames - self._next > room // 2:  # what is older may be overwritten while we copy
            self.lost += frames - self._next - room // 2
            self._next = frames - room // 2
        count = frames - self._next
        if count <= 0:
            return None
        ring = self._ring[: room * channels].reshape(room, channels)
        samples = ring[np.arange(self._next, frames) % room]
        self._next = frames
        return AudioBlock(samples, rate_hz, t_ns)

    def _head(self) -> tuple[int, int, int, int, int] | None:
        words = self._segment.words
        for _ in range(20):
            before = words[0]
            frames, t_ns, form, generation = (int(word) for word in words[1:5])
            if not before & 1 and words[0] == before:
                rate_hz, channels = form >> 32, form & 0xFFFFFFFF
                return (frames, t_ns, rate_hz, channels, generation) if rate_hz and 0 < channels <= 64 else None
        return None

    def close(self) -> None:
        """Let go."""
        del self._ring
        self._segment.close()
