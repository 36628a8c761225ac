"""Codecs: pictures go in, a file of a segment comes out; and what each codec is, in a table.

Colour is BT.709, limited range where the codec stores YUV, and tagged as that: matrix, primaries, transfer and range.
The conversion is asked for by name; swscale would take BT.601 by itself.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vjserver.films.song import pyav
from vjserver.types.errors import ConfigError, OutputError, nearest
from vjserver.types.frames import Pixels

BT709, LIMITED, FULL, RGB = 1, 1, 2, 0
HAP_PROGRAM = "ffmpeg"


@dataclass(frozen=True, slots=True)
class Codec:
    """How pictures and sound are stored. ``sides`` are what width and height must be divisible by.

    ``container`` is empty for a sequence of pictures; ``program`` encodes where PyAV cannot; ``copied`` are the kinds
    of sound that the container takes as they are; ``scrubs``: any frame is found at once, as VJ programs want it.
    """

    name: str
    container: str
    encoder: str
    pixel_format: str
    sound: str
    alpha: bool = False
    sides: tuple[int, int] = (2, 2)
    options: dict[str, str] = field(default_factory=dict)
    program: str = ""
    copied: tuple[str, ...] = ()
    scrubs: bool = False
    note: str = ""

    @property
    def suffix(self) -> str:
        """The ending of its files."""
        return f".{self.container}" if self.container else ".png"

    @property
    def is_yuv(self) -> bool:
        """Whether it stores luma and chroma."""
        return self.pixel_format.startswith("yuv")

    def check(self, size: tuple[int, int]) -> None:
        """Raise ConfigError for a size that it cannot have, naming the nearest that it can."""
        wide, high = (max(step, round(side / step) * step) for side, step in zip(size, self.sides, strict=True))
        if (wide, high) != size:
            raise ConfigError(
                f"{self.name} wants a width divisible by {self.sides[0]} and a height divisible by {self.sides[1]}: "
                f"got {size[0]}x{size[1]}; the nearest is {wide}x{high}"
            )


# x264's macroblock tree makes other files of the same pictures now and then, where it computes with vectors
_MP4_SOUND, _MOV_SOUND = ("aac",), ("aac", "alac", "pcm_s16le", "pcm_s24le", "pcm_f32le")
_PRORES = {"vendor": "apl0"}
CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        Codec("h264", "mp4", "libx264", "yuv420p", "aac", options={"preset": "superfast", "crf": "16", "mbtree": "0"},
              copied=_MP4_SOUND, note="plays everywhere"),
        Codec("av1", "mp4", "libsvtav1", "yuv420p10le", "aac", options={"preset": "8", "crf": "25"},
              copied=_MP4_SOUND, note="smallest, 10 bits"),
        Codec("nvenc", "mp4", "h264_nvenc", "yuv420p", "aac", options={"preset": "p5", "rc": "vbr", "cq": "18"},
              copied=_MP4_SOUND, note="h264 on an NVIDIA card"),
        Codec("prores", "mov", "prores_ks", "yuv422p10le", "pcm_s24le", options=_PRORES | {"profile": "hq"},
              copied=_MOV_SOUND, scrubs=True, note="for editing"),
        Codec("prores4444", "mov", "prores_ks", "yuva444p10le", "pcm_s24le", alpha=True,
              options=_PRORES | {"profile": "4444", "alpha_bits": "16"}, copied=_MOV_SOUND, scrubs=True,
              note="for editing, with alpha"),
        Codec("ffv1", "mkv", "ffv1", "bgra", "flac", alpha=True, sides=(1, 1),
              options={"level": "3", "slices": "4", "slicecrc": "1"}, scrubs=True, note="lossless, with alpha"),
        Codec("dxv", "mov", "dxv", "rgba", "pcm_s16le", sides=(16, 4), options={"format": "dxt1"},
              copied=_MOV_SOUND, scrubs=True, note="for Resolume: scrubs at once"),
        Codec("hap", "mov", "hap", "rgba", "pcm_s16le", sides=(4, 4), options={"format": "hap"},
              program=HAP_PROGRAM, copied=_MOV_SOUND, scrubs=True, note="scrubs at once"),
        Codec("hap-q", "mov", "hap", "rgba", "pcm_s16le", sides=(4, 4), options={"format": "hap_q"},
              program=HAP_PROGRAM, copied=_MOV_SOUND, scrubs=True, note="hap with finer colours"),
        Codec("png", "", "png", "rgba", "", alpha=True, sides=(1, 1), note="a folder of pictures"),
    )
}  # fmt: skip
_BY_ENDING = {".mp4": "h264", ".mov": "prores", ".mkv": "ffv1"}


def codec_of(name: str, output: Path) -> Codec:
    """Return a codec by its name, or by the ending of the film where it has none. Raises ConfigError.

    The error says what can be had instead where it is not here.
    """
    ending = output.suffix.lower()
    codec = CODECS.get(name or _BY_ENDING.get(ending, "h264" if ending else "png"))
    if codec is None:
        raise ConfigError(f"unknown codec {name!r}{nearest(name, CODECS)}; known: {', '.join(CODECS)}")
    wanted = codec.suffix if codec.container else ""
    if codec.container and ending != wanted:
        fitting = [one.name for one in CODECS.values() if one.suffix == ending and one.container]
        hint = f"; {ending} takes {', '.join(fitting)}" if fitting else ""
        raise ConfigError(f"{codec.name} goes into {wanted} files: got {output.name!r}{hint}")
    if not codec.container and ending:
        raise ConfigError(f"{codec.name} makes a folder of pictures, whose name has no ending: got {output.name!r}")
    if not is_here(codec):
        others = ", ".join(one.name for one in CODECS.values() if one.scrubs and is_here(one))
        what = f"the program {codec.program!r} with HAP in it" if codec.program else f"the encoder {codec.encoder!r}"
        raise ConfigError(f"{codec.name} needs {what}, which is not here; these are, and scrub: {others}")
    return codec


def is_here(codec: Codec) -> bool:
    """Tell whether a codec can encode here: it is tried, since a name alone says nothing of a driver."""
    if codec.program:
        return _program_has(codec.program, codec.encoder)
    av = pyav()
    try:
        context = av.CodecContext.create(codec.encoder, "w")
        if codec.encoder.endswith("_nvenc"):
            context.width, context.height, context.pix_fmt = 256, 256, codec.pixel_format
            context.time_base = Fraction(1, 30)
            context.open()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _program_has(program: str, encoder: str) -> bool:
    path = shutil.which(program)
    if path is None:
        return False
    try:
        said = subprocess.run([path, "-v", "error", "-encoders"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return any(row.split()[1:2] == [encoder] for row in said.stdout.splitlines())


class Writer(Protocol):
    """Takes the pictures of one segment."""

    def send(self, pixels: Pixels) -> None:
        """Take the next picture, RGBA8. Raises OutputError."""

    def close(self) -> None:
        """End the file. Raises OutputError."""

    def drop(self) -> None:
        """End it, whatever is missing; raises nothing."""


def writer(codec: Codec, path: Path, size: tuple[int, int], rate: Fraction) -> Writer:
    """Return what writes a segment into ``path``: a file, for a sequence of pictures a folder. Raises OutputError."""
    if not codec.container:
        return _Pictures(path)
    if codec.program:
        return _Piped(codec, path, size, rate)
    return _Encoded(codec, path, size, rate)


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what a library says of a file that cannot be written into one sentence."""
    av = pyav()
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"{path.parent} cannot be written: {why}") from None


def picture(codec: Codec, pixels: Pixels) -> Any:
    """Return a picture as an encoder takes it, RGBA8 converted and tagged."""
    av = pyav()
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgba")
    if codec.is_yuv:
        methods = av.video.reformatter.Interpolation
        frame = frame.reformat(
            format=codec.pixel_format, src_colorspace="ITU709", dst_colorspace="ITU709", src_color_range="JPEG",
            dst_color_range="MPEG", interpolation=methods.BILINEAR | methods.ACCURATE_RND, threads=1,
        )  # fmt: skip
    elif codec.pixel_format != "rgba":
        frame = frame.reformat(format=codec.pixel_format, threads=1)
    frame.colorspace, frame.color_range = (BT709, LIMITED) if codec.is_yuv else (RGB, FULL)
    frame.color_primaries = frame.color_trc = BT709
    return frame


class _Encoded:
    """By PyAV."""

    def __init__(self, codec: Codec, path: Path, size: tuple[int, int], rate: Fraction) -> None:
        av = pyav()
        os.environ.setdefault("SVT_LOG", "1")  # it writes pages to the terminal
        self._codec, self._path, self._rate, self._count = codec, path, rate, 0
        with told(path):
            self._file = path.open("wb")  # what PyAV opens itself stays open when it fails
            kind = {"mkv": "matroska"}.get(codec.container, codec.container)
            self._container = av.open(self._file, "w", format=kind)
            options = {"threads": "1", **codec.options}
            stream = self._stream = self._container.add_stream(codec.encoder, rate=rate, options=options)
            stream.width, stream.height, stream.pix_fmt = *size, codec.pixel_format
            context = stream.codec_context
            context.time_base = stream.time_base = 1 / rate
            context.framerate = rate
            context.color_primaries = context.color_trc = BT709
            context.colorspace, context.color_range = (BT709, LIMITED) if codec.is_yuv else (RGB, FULL)
            context.gop_size = max(1, round(2 * rate))
            if codec.encoder == "prores_ks":
                context.field_order = 1  # progressive

    def send(self, pixels: Pixels) -> None:
        with told(self._path):
            frame = picture(self._codec, pixels)
            frame.pts, frame.time_base = self._count, 1 / self._rate
            self._count += 1
            self._mux(self._stream.encode(frame))

    def _mux(self, packets: Any) -> None:
        for packet in packets:
            if not packet.duration:
                packet.duration = round(1 / (self._rate * packet.time_base))
            self._container.mux(packet)

    def close(self) -> None:
        with told(self._path):
            self._mux(self._stream.encode(None))
            self._container.close()
            self._file.close()

    def drop(self) -> None:
        with contextlib.suppress(Exception):
            self._container.close()
        with contextlib.suppress(OSError):
            self._file.close()


class _Piped:
    """By another program, which takes raw pictures from a pipe."""

    def __init__(self, codec: Codec, path: Path, size: tuple[int, int], rate: Fraction) -> None:
        self._path = path
        command = [
            codec.program, "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgba",
            "-video_size", f"{size[0]}x{size[1]}", "-framerate", f"{rate.numerator}/{rate.denominator}", "-i", "pipe:0",
            "-an", "-c:v", codec.encoder, "-format", codec.options["format"], "-chunks", "1",
            "-video_track_timescale", str(rate.numerator), "-color_primaries", "bt709", "-color_trc", "bt709",
            "-colorspace", "rgb", "-color_range", "pc", "-f", codec.container, str(path),
        ]  # fmt: skip
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the program
        with told(path):
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=self._said)

    def send(self, pixels: Pixels) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(pixels).data)
        except OSError:
            raise OutputError(f"{self._path} cannot be written: {self._why()}") from None

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if self._process.wait():
            raise OutputError(f"{self._path} cannot be written: {self._why()}")
        self._said.close()

    def _why(self) -> str:
        self._process.wait()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").splitlines()
        rows = [row for row in map(str.strip, said) if row and not row.endswith("--")]  # "Error initializing ... --"
        return rows[-1] if rows else f"{HAP_PROGRAM} ended with {self._process.returncode}"

    def drop(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._said.close()


class _Pictures:
    """PNG files in a folder, numbered from 0."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def send(self, pixels: Pixels) -> None:
        import cv2

        code = cv2.COLOR_RGBA2BGRA if (pixels[..., 3] != 255).any() else cv2.COLOR_RGBA2BGR
        good, data = cv2.imencode(".png", cv2.cvtColor(pixels, code), [cv2.IMWRITE_PNG_COMPRESSION, 3])
        assert good
        with told(self._folder):
            (self._folder / f"{self._count:06d}.png").write_bytes(data.tobytes())
        self._count += 1

    def close(self) -> None:
        """Nothing is left to be written."""

    def drop(self) -> None:
        """Nothing is open."""
