"""A song, exactly: a sound file goes in, samples come out from its first one on, in constant memory.

Sound files say in many ways, or not at all, where their sound begins: encoders put a delay before it (mp3 1,105
samples, AAC 1,024), and tags, edit lists or packets tell how much of that is to be left out. Here sample 0 is the first
of the song in every format, what is damaged is silence of the same length, and the length is known before anything is
decoded.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vjserver.runtime.pyav import opened
from vjserver.types.audio import Float32
from vjserver.types.errors import DeviceError

UNTOLD = {"mp3": 1105, "mp3float": 1105, "aac": 1024}
"""The delay of an encoder, in samples, where the file does not tell: LAME 576 and its decoder 529; AAC a frame."""
NEAR_S, NEAR_VORBIS_S, NEAREST_S = 0.03, 0.05, 0.0015
"""A block so near to where it is due is due there: containers round their times, Vorbis' jump by a short block."""
DAMAGED_MEMORY = 60
LOWEST_HZ, HIGHEST_HZ = 4000, 400_000
LOUDEST = 4.0
"""So many times full scale is the loudest that is taken; what is no number is silence."""
_RATES = (44100, 48000, 32000)
_KBITS = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)


def pyav() -> ModuleType:
    """Return PyAV. Raises DeviceError with the line that installs it."""
    try:
        import av
    except ImportError as error:
        raise DeviceError(f"films need PyAV ({error}): pip install 'vjserver[film]'") from None
    return av


@dataclass(frozen=True)
class Song:
    """A sound file: ``samples`` of ``rate_hz``, in ``channels``; sample 0 lies at ``origin_s`` on its own clock."""

    path: Path
    samples: int
    rate_hz: int
    channels: int
    origin_s: float
    codec: str
    damaged: bool

    @classmethod
    def open(cls, path: Path) -> "Song":
        """Look at a file, without decoding it. Raises DeviceError for one that is missing, or holds no sound."""
        av = pyav()
        if not path.is_file():
            raise DeviceError(f"no such sound file: {path}")
        try:
            with opened(av, path) as container:
                return cls(path, *_look(av, container))
        except (av.FFmpegError, OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise DeviceError(f"{path} is not a sound file that can be read: {why}") from None

    @property
    def seconds(self) -> Fraction:
        """Its length."""
        return Fraction(self.samples, self.rate_hz)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, by which what was heard in it is found again."""
        told = sha256()
        with self.path.open("rb") as file:
            while block := file.read(1 << 20):
                told.update(block)
        return told.hexdigest()

    def blocks(self, begin: int = 0, end: int | None = None) -> Iterator[Float32]:
        """Yield the samples from ``begin`` to ``end`` (all), float32 ``(n, channels)``, without gap or overlap."""
        end = self.samples if end is None else min(end, self.samples)
        at = 0
        for block in self._placed():
            part = block[max(0, begin - at) : max(0, end - at)]
            at += len(block)
            if len(part):
                yield part
            if at >= end:
                return
        while at < end:  # the file was shorter than it said
            size = min(self.rate_hz, end - at)
            missing = min(size, end - max(begin, at))
            at += size
            if missing > 0:
                yield np.zeros((missing, self.channels), np.float32)

    def _placed(self) -> Iterator[Float32]:
        """Yield everything from sample 0 on, each block where its time says."""
        av = pyav()
        try:
            container = opened(av, self.path)
        except (av.FFmpegError, OSError) as error:
            raise DeviceError(f"{self.path} can no longer be read: {error.strerror}") from None
        with container:
            stream = _sound_of(container)
            near_s = NEAR_VORBIS_S if self.codec == "vorbis" else min(NEAR_S, 1.5 * float(stream.time_base))
            near = round(max(NEAREST_S, near_s) * self.rate_hz)
            lost = _LostFrames(self.rate_hz) if container.format.name == "mp3" else None
            shift = position = 0
            for packet in _packets(av, container, stream):
                if lost is not None and packet.size and packet.pos is not None:
                    shift = lost(packet)
                try:
                    frames = packet.decode()
                except (av.FFmpegError, ValueError):
                    continue  # its place stays a gap
                for frame in frames:
                    if frame.pts is None and position and self.codec == "flac":
                        continue  # the wreckage of a damaged frame
                    at = position
                    if frame.pts is not None:
                        at = round((float(frame.pts * frame.time_base) - self.origin_s) * self.rate_hz) + shift
                    at = position if abs(at - position) <= near else at
                    block = _floats(frame, self.channels)[max(0, position - at) :]
                    while at > position:
                        size = min(self.rate_hz, at - position)
                        position += size
                        yield np.zeros((size, self.channels), np.float32)
                    position += len(block)
                    if len(block):
                        yield block


def _sound_of(container: Any) -> Any:
    if not container.streams.audio:
        raise ValueError("it holds no sound")
    return container.streams.audio[0]


def _look(av: Any, container: Any) -> tuple[int, int, int, float, str, bool]:
    """Return samples, rate, channels, origin, codec, and whether something is damaged, from the packets alone."""
    stream = _sound_of(container)
    context = stream.codec_context
    rate_hz, channels, codec = context.sample_rate, context.layout.nb_channels, context.name
    if not rate_hz or not channels:
        raise ValueError("its sound cannot be made out")
    if not LOWEST_HZ <= rate_hz <= HIGHEST_HZ:
        raise ValueError(f"its sample rate must lie in {LOWEST_HZ}..{HIGHEST_HZ} Hz: got {rate_hz}")
    bare = container.format.name == "mp3"
    lost, shift = _LostFrames(rate_hz), 0
    origin_s: float | None = None
    end_s, tagged = 0.0, False
    for packet in _packets(av, container, stream):
        if not packet.size or packet.pts is None or packet.is_corrupt:
            continue
        if origin_s is None:
            origin_s = _origin(av, container, stream, packet)
            tagged = "mp4" in container.format.name or (bare and packet.has_sidedata("skip_samples"))
        if bare and packet.pos is not None:
            shift = lost(packet)
        until_s = float((packet.pts + (packet.duration or 0)) * packet.time_base) + shift / rate_hz
        if codec.startswith("mp3") and packet.has_sidedata("skip_samples"):  # others count it in the duration
            until_s -= int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[4:8], "little") / rate_hz
        end_s = max(end_s, until_s)
    if stream.duration and stream.start_time is not None and tagged:
        told_s = float((stream.start_time + stream.duration) * stream.time_base)
        if told_s < end_s < told_s + 0.1:  # an edit list, or a tag, cuts the last packet
            end_s = told_s
    origin_s = origin_s or 0.0
    samples = max(0, round((end_s - origin_s) * rate_hz))
    if not samples:
        raise ValueError("it holds no sound")
    return samples, rate_hz, channels, origin_s, codec, shift > 0 or lost.bad > 0


def _origin(av: Any, container: Any, stream: Any, first: Any) -> float:
    """Return the seconds of the file's clock that are the song's 0; ``first`` is the first packet of its sound."""
    cover = av.stream.Disposition.attached_pic
    real = [s for s in container.streams if s.type in ("audio", "video") and not s.disposition & cover]
    begins = [float(s.start_time * s.time_base) for s in real if s.start_time is not None]
    origin_s = min(begins, default=0.0)
    told = first.has_sidedata("skip_samples") or first.pts < 0
    if not told and not any(s.type == "video" for s in real):
        context = stream.codec_context
        origin_s += UNTOLD.get(context.name, 0) / context.sample_rate
    return origin_s


def _packets(av: Any, container: Any, stream: Any) -> Iterator[Any]:
    """Yield packets up to the end, or to where the container is broken for good."""
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.FFmpegError):
            return


def _floats(frame: Any, channels: int) -> Float32:
    """Return a frame's sound as float32 ``(n, channels)`` in -1..1; where its layout changes, all channels mixed."""
    row = frame.to_ndarray()
    count = frame.layout.nb_channels
    row = row.T if frame.format.is_planar else row.reshape(-1, count)
    if row.dtype.kind == "u":
        row = (row.astype(np.float32) - 128.0) / 128.0
    elif row.dtype.kind == "i":
        row = row.astype(np.float32) / np.float32(2 ** (8 * row.dtype.itemsize - 1))
    if count != channels:
        row = np.repeat(row.mean(axis=1, keepdims=True), channels, axis=1)
    row = row.astype(np.float32, copy=False)
    if not float(np.abs(row).max(initial=0.0)) <= LOUDEST:  # also where it is no number
        row = np.clip(np.nan_to_num(row, nan=0.0, posinf=0.0, neginf=0.0), -LOUDEST, LOUDEST)
    return np.asarray(row, np.float32)


def _mp3_size(head: bytes) -> int:
    """Return how many bytes the frame has that a header of MPEG layer III begins; 0 for what is none."""
    if len(head) < 4 or head[0] != 255 or head[1] & 0xE6 != 0xE2:
        return 0
    version, bits, rate = head[1] & 0x18, head[2] >> 4, (head[2] >> 2) & 3
    if version == 8 or bits in (0, 15) or rate == 3:
        return 0
    first = version == 0x18
    rate_hz = _RATES[rate] >> (0 if first else 1 if head[1] & 0x10 else 2)
    return (144000 if first else 72000) * _KBITS[not first][bits] // rate_hz + ((head[2] >> 1) & 1)


class _LostFrames:
    """How many samples of a bare mp3 are lost: it has no times, so they are told from the bytes that are no frames."""

    def __init__(self, rate_hz: int) -> None:
        self._frame = 1152 if rate_hz >= 32000 else 576
        self._sizes: deque[int] = deque(maxlen=DAMAGED_MEMORY)
        self._end: int | None = None
        self.shift = self.bad = 0

    def __call__(self, packet: Any) -> int:
        """Take the next packet; return the samples that are missing before it."""
        size = _mp3_size(bytes(packet)[:4])
        if self._end is None:
            self._end = packet.pos
        if not size:
            self.bad += 1
            return self.shift
        if self._sizes and (self.bad or packet.pos > self._end):
            frames = round((packet.pos - self._end) * len(self._sizes) / sum(self._sizes))
            self.shift += (frames - self.bad) * self._frame
        self.bad = 0
        self._sizes.append(min(size, packet.size))
        self._end = packet.pos + min(size, packet.size)
        return self.shift
