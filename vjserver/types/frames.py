"""Frames, the requests they answer, and the 128-byte header under which they travel.

The header is the same in a shared-memory slot and at the head of a ZeroMQ message: little-endian, fixed size,
with the times of every stage, so that any receiver can say how old the picture is.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from vjserver.types.errors import VJError

Pixels = NDArray[np.uint8]
Prompts = tuple[tuple[str, float], ...]
Mode = Literal["live", "film"]
Where = Literal["host", "device"]


class OnDevice(Protocol):
    """A picture that lies on a device, RGBA8 ``(height, width, 4)``, as torch and others hand it over (DLPack)."""

    shape: Sequence[int]

    def __dlpack__(self, *, stream: Any = None) -> Any:
        """Return a capsule that another library takes up without a copy."""

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the kind of device, and its number."""


def on_host(image: "Pixels | OnDevice") -> Pixels:
    """Return a picture as numpy has it; one on a graphics card is fetched."""
    if isinstance(image, np.ndarray):
        return image
    if image.__dlpack_device__()[0] == CPU:
        return np.asarray(np.from_dlpack(image), np.uint8)
    fetched: Any = image
    return np.asarray(fetched.cpu().numpy() if hasattr(fetched, "cpu") else fetched.get(), np.uint8)


CPU = 1  # kDLCPU of dlpack.h

MAGIC = b"VJF1"
VERSION = 1
HEADER_SIZE = 128
FOURCC_RGBA = int.from_bytes(b"RGBA", "little")
FOURCC_JPEG = int.from_bytes(b"JPEG", "little")
FLAG_CRC = 1  # crc32 is that of the pixels
MAX_SIDE = 16384

_HEADER = struct.Struct("<4sHHIIQQQQQIIIIQBBBxfffIQQIII")
assert _HEADER.size == HEADER_SIZE


class HeaderError(VJError):
    """A frame header that is not ours or that makes no sense."""


@dataclass(frozen=True, slots=True)
class TextConditioning:
    """What a picture shall be of.

    ``prompts`` are (text, weight) pairs with weight > 0, ``decks`` the same for decks A and B. ``negative`` is what it
    shall not be; ``ahead`` are prompts that are likely to come next, to be made ready.
    """

    prompts: Prompts = ()
    decks: tuple[Prompts, ...] = ()
    negative: str = ""
    ahead: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """What the next picture should be, mapped from the newest sound and state.

    It is the ``number``-th of its loop, for ``t_ns``, ``seconds`` after the last one; beats and phases are those of
    ``t_ns``. ``params`` are the common knobs in their own units (see ``show.addresses``), ``own`` those of the
    generator by their bare names. ``inference_size`` is the size at which a model shall think, (0, 0) leaves it the
    choice; ``image`` is the picture to start from, RGBA8 of any size (:func:`on_host` makes numpy of it), and
    ``feedback`` asks for the last one. A change of seed is to take ``travel_s``, eased by ``ease``. ``where`` is
    ``device`` where another generator starts from this picture: it may be handed over as ``Frame.device``.

    In the mode ``film`` the picture is to be the same whenever it is asked for: nothing is skipped or made smaller for
    want of time, prompts are waited for, and chance comes from ``seed`` and ``number``.
    """

    t_ns: int
    width: int
    height: int
    text: TextConditioning
    params: Mapping[str, float]
    seed: int
    seconds: float
    bpm: float = 0.0
    beat_count: int = 0
    beat_phase: float = 0.0
    bar_phase: float = 0.0
    audio_ns: int = 0
    inference_size: tuple[int, int] = (0, 0)
    image: Pixels | OnDevice | None = None
    feedback: bool = False
    travel_s: float = 0.0
    ease: str = "smooth"
    own: Mapping[str, float] = field(default_factory=dict)
    number: int = 0
    mode: Mode = "live"
    where: Where = "host"


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """Everything about a frame but its pixels; the fields of the 128-byte header.

    Times are monotonic nanoseconds (``t_unix_ns`` is the wall clock): ``t_capture_ns`` of the sound or control
    behind the frame, ``t_generated_ns`` when it was finished, ``t_sent_ns`` when an output took it. A frame made from
    another has its number in ``source_frame_id`` and in ``source_age_us`` how old that one was at ``t_generated_ns``.
    """

    width: int
    height: int
    frame_id: int = 0
    t_capture_ns: int = 0
    t_generated_ns: int = 0
    t_sent_ns: int = 0
    t_unix_ns: int = 0
    stream_id: int = 0
    flags: int = 0
    fourcc: int = FOURCC_RGBA
    bpm: float = 0.0
    beat_phase: float = 0.0
    bar_phase: float = 0.0
    beat_index: int = 0
    source_frame_id: int = 0
    source_age_us: int = 0
    prompt_hash: int = 0
    seed: int = 0
    crc32: int = 0
    data_size: int = 0

    def pack(self) -> bytes:
        """Return the 128-byte header. sRGB, top row first, straight alpha."""
        raw = self.fourcc == FOURCC_RGBA
        stride = self.width * 4 if raw else 0
        return _HEADER.pack(
            MAGIC, VERSION, HEADER_SIZE, self.flags, self.stream_id, self.frame_id,
            self.t_capture_ns, self.t_generated_ns, self.t_sent_ns, self.t_unix_ns,
            self.width, self.height, stride, self.fourcc,
            self.data_size or stride * self.height,
            0, 0, 0, self.bpm, self.beat_phase, self.bar_phase, self.beat_index & 0xFFFFFFFF,
            self.source_frame_id, self.prompt_hash, self.seed & 0xFFFFFFFF, self.crc32,
            min(self.source_age_us, 0xFFFFFFFF),
        )  # fmt: skip

    @classmethod
    def unpack(cls, header: bytes | memoryview) -> "FrameInfo":
        """Read a header. Raises HeaderError for a wrong magic, version or size, or an absurd geometry."""
        if len(header) < HEADER_SIZE:
            raise HeaderError(f"a frame header has {HEADER_SIZE} bytes: got {len(header)}")
        (magic, version, size, flags, stream_id, frame_id, capture, generated, sent, unix, width, height, stride,
         fourcc, data_size, _colour, _orientation, _alpha, bpm, beat_phase, bar_phase, beat_index, source_id,
         prompt_hash, seed, crc, source_age) = _HEADER.unpack_from(header)  # fmt: skip
        if magic != MAGIC:
            raise HeaderError(f"frame magic must be {MAGIC!r}: got {magic!r}")
        if version != VERSION or size != HEADER_SIZE:
            raise HeaderError(f"frame header must be version {VERSION}, {HEADER_SIZE} bytes: got {version}, {size}")
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise HeaderError(f"frame sides must be in 1..{MAX_SIDE}: got {width}x{height}")
        if fourcc == FOURCC_RGBA and (stride != width * 4 or data_size != stride * height):
            raise HeaderError(f"RGBA {width}x{height} has stride {width * 4}: got {stride} and {data_size} bytes")
        return cls(width, height, frame_id, capture, generated, sent, unix, stream_id, flags, fourcc, bpm,
                   beat_phase, bar_phase, beat_index, source_id, source_age, prompt_hash, seed, crc,
                   data_size)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Notice:
    """What a generator has to say: ``what`` works less well than it should and ``why``, or is whole again."""

    what: str
    why: str
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture: ``pixels`` uint8 ``(height, width, 4)`` RGBA, top row first.

    From a generator it may bring a ``preview`` of the same shape, ``notices`` to announce and ``figures`` to show; and
    the same picture as it lies on the ``device``, where the request asked for that.
    """

    pixels: Pixels
    info: FrameInfo = field(repr=False)
    preview: Pixels | None = None
    notices: tuple[Notice, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    device: OnDevice | None = None


def arrived(pixels: Pixels, number: int, now_ns: int) -> Frame:
    """Return the ``number``-th picture that came, at ``now_ns``, from a source that tells nothing with it."""
    height, width = pixels.shape[:2]
    return Frame(pixels, FrameInfo(width, height, number, now_ns, now_ns, now_ns, data_size=pixels.nbytes))


def resized(frame: Frame, pixels: Pixels) -> Frame:
    """Return ``frame`` with other ``pixels``, of any size; its header says so."""
    height, width = pixels.shape[:2]
    return replace(frame, pixels=pixels, info=replace(frame.info, width=width, height=height, data_size=pixels.nbytes))


def header_of(frame: Frame, fourcc: int = FOURCC_RGBA, data_size: int = 0) -> bytes:
    """Return the header of a frame whose pixels travel as ``data_size`` bytes of ``fourcc`` (RGBA8: all of them)."""
    return replace(frame.info, fourcc=fourcc, data_size=data_size or frame.pixels.nbytes).pack()
