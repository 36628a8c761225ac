"""Sound out of files that libsndfile does not read: m4a (AAC, ALAC), opus, and the sound of video files. Needs PyAV.

What is damaged in the middle is left out, and the rest is played.
"""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vjserver.runtime.pyav import opened
from vjserver.types.audio import Float32
from vjserver.types.errors import DeviceError

MOST_DAMAGED = 2000
"""Packets in a row that could not be decoded: then there is no more sound in it."""


class AvStream:
    """A file read forwards. Raises DeviceError for one without sound, or that PyAV does not know either."""

    def __init__(self, path: Path) -> None:
        try:
            import av
        except ImportError as error:
            raise DeviceError(f"{path} needs PyAV ({error}): pip install 'vjserver[record]'") from None
        self._av, self._path = av, path
        try:
            self._container: Any = opened(av, path)
        except (av.FFmpegError, OSError) as error:
            raise DeviceError(f"{path} is not a sound file that can be read: {error}") from None
        if not self._container.streams.audio:
            self._container.close()
            raise DeviceError(f"{path} holds no sound")
        stream = self._container.streams.audio[0]
        self.samplerate = int(stream.rate)
        self.damaged = 0
        """Packets that were left out because they could not be decoded."""
        self._frames = self._decoded(stream)
        self._ready: deque[Float32] = deque()

    def _decoded(self, stream: Any) -> Iterator[Float32]:
        """Yield the sound, float32 ``(n, channels)``; a packet that is damaged is left out."""
        resampler = self._av.AudioResampler("flt", None, self.samplerate)
        in_a_row = 0
        packets = self._container.demux(stream)
        while in_a_row < MOST_DAMAGED:
            try:
                packet = next(packets)
                frames = packet.decode()
            except StopIteration:
                return
            except (self._av.FFmpegError, ValueError):
                self.damaged += 1
                in_a_row += 1
                continue
            in_a_row = 0
            for frame in frames:
                for one in resampler.resample(frame):
                    yield one.to_ndarray().reshape(-1, len(one.layout.channels)).astype(np.float32, copy=False)

    def skip(self, frames: int) -> None:
        """Leave out the next ``frames`` samples."""
        while frames > 0:
            gone = len(self.read(min(frames, 1 << 16)))
            if not gone:
                return
            frames -= gone

    def read(self, frames: int, **_: object) -> Float32:
        """Return the next samples, float32 ``(n, channels)``, ``frames`` of them but at the end."""
        had = sum(map(len, self._ready))
        while had < frames:
            block = next(self._frames, None)
            if block is None:
                break
            if self._ready and block.shape[1] != self._ready[-1].shape[1]:
                block = np.repeat(block.mean(axis=1, keepdims=True), self._ready[-1].shape[1], axis=1)
            self._ready.append(block)
            had += len(block)
        if not self._ready:
            return np.zeros((0, 1), np.float32)
        row = np.concatenate(list(self._ready))
        self._ready.clear()
        if len(row) > frames:
            self._ready.append(row[frames:])
        return row[:frames]

    def close(self) -> None:
        """Close the file."""
        self._container.close()
