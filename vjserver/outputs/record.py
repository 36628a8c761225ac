"""Record: picture and live sound into a file that plays even if we are killed while we write it.

The file is written in fragments of a second, each whole in itself; one that is closed properly becomes an ordinary
movie. Frames keep the time at which they were sent, so a picture that was missed leaves the one before on screen a
little longer and sound stays with the picture. Nothing waits: an encoder that is too slow misses pictures.
"""

import contextlib
import shutil
import struct
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from platformdirs import user_videos_path
from pydantic import BaseModel, ConfigDict, Field

from vjserver.outputs import uyvy
from vjserver.outputs.soundtrack import Soundtrack
from vjserver.runtime.clock import NS
from vjserver.runtime.files import at_home
from vjserver.runtime.queue import QueueReader
from vjserver.runtime.soundring import SoundReader
from vjserver.speech.subtitles import LINGERS_NS, Subtitles
from vjserver.types.audio import AudioBlock, Float32
from vjserver.types.errors import OutputError
from vjserver.types.events import Speech
from vjserver.types.frames import Frame

LEAST_FREE = 256 * 2**20
"""Bytes that must be free on the disk; with less the file is ended properly, before the disk is full."""
LOOK_EVERY = 60
RATE_HZ = 48000
LOOK_NS = NS // 5
SILENCE_S = 1.0
"""Sound that is so late is taken for silence, so that the file goes on."""


class _Codec(NamedTuple):
    encoder: str
    suffix: str
    pixel_format: str
    audio: str
    options: dict[str, str]


CODECS = {
    "h264": _Codec("libx264", ".mp4", "yuv420p", "aac", {"preset": "veryfast", "bf": "0"}),
    "hevc": _Codec(
        "libx265", ".mp4", "yuv420p", "aac", {"preset": "ultrafast", "x265-params": "log-level=error:bframes=0"}
    ),
    "prores": _Codec("prores_ks", ".mov", "yuv422p10le", "pcm_s16le", {"profile": "standard", "vendor": "apl0"}),
}


class RecordOptions(BaseModel):
    """Where files go and how they are encoded."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path = Field(default_factory=lambda: user_videos_path() / "vjserver")
    name: str = Field("vjserver", pattern=r"^[\w. -]{1,60}$", description="files are called NAME-DATE-TIME")
    codec: Literal["h264", "hevc", "prores"] = "h264"
    quality: int = Field(20, ge=0, le=51, description="of h264 and hevc: 0 is lossless, 51 the worst (CRF)")
    audio: bool = Field(True, description="the live sound too")
    fps: float = Field(60.0, gt=0.0, le=240.0)
    sound: str = Field("", description="the ear's sound ring; the server fills it in")
    speech: str = Field("", description="what is said, for subtitles; the server fills it in")


class RecordOutput:
    """Writes one file from open to close. The file begins with the first frame."""

    Options = RecordOptions

    def __init__(self, options: RecordOptions) -> None:
        self._o = options
        self._codec = CODECS[options.codec]
        self._av: Any = None
        self._file: _File | None = None
        self._container: Any = None
        self._video: Any = None
        self._sound: _Sound | None = None
        self._subtitles: _SubtitleFile | None = None
        self._start_ns = 0
        self._place = -1
        self._frames = 0
        self._folder = at_home(options.folder)
        self.path: Path | None = None

    def open(self) -> None:
        """Check that a file can be written. Raises OutputError: PyAV is missing, the folder or the disk says no."""
        try:
            import av
        except ImportError as error:
            raise OutputError(
                f"recording is not available ({error}); install it with: pip install 'vjserver[record]'"
            ) from None
        self._av = av
        uyvy.kernel()  # compiled now, not in the first picture
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder {self._folder} cannot be made: {error.strerror}") from None
        self._look_at_disk()
        path = self._free_path()
        try:
            self._file = _File(path)
        except OSError as error:
            raise OutputError(f"nothing can be written into {self._folder}: {error.strerror}") from None
        self.path = path

    def send(self, frame: Frame) -> None:
        """Encode a frame and the sound up to it. Raises OutputError when the file cannot go on."""
        if self._container is None:
            self._begin(frame)
        place = round((frame.info.t_sent_ns - self._start_ns) * self._o.fps / NS)
        try:
            if place > self._place:
                self._place = place
                self._container.mux(self._video.encode(self._picture(frame, place)))
            if self._sound is not None:
                self._container.mux(self._sound.packets(frame.info.t_sent_ns))
            if self._subtitles is not None:
                self._subtitles.step(frame.info.t_sent_ns)
        except self._av.FFmpegError as error:
            raise OutputError(f"{self.path} cannot go on: {error}; a new file begins") from None
        assert self._file is not None
        if self._file.error is not None:
            raise OutputError(f"{self.path} cannot be written: {self._file.error.strerror}; what it holds plays")
        self._frames += 1
        if self._frames % LOOK_EVERY == 0:
            self._look_at_disk()

    def figures(self) -> dict[str, float]:
        """Return how long the recording is, in seconds, how large, in bytes, and how much sound came too late."""
        size = self.path.stat().st_size if self.path is not None and self.path.exists() else 0
        late_s = self._sound.track.late_s if self._sound is not None else 0.0
        return {"seconds": round(self._length_s, 1), "bytes": float(size), "late_sound_s": round(late_s, 2)}

    @property
    def _length_s(self) -> float:
        return (self._place + 1) / self._o.fps

    def close(self) -> None:
        """End the file; one with nothing in it is removed. Raises OutputError if its end could not be written."""
        container, self._container = self._container, None
        file, self._file = self._file, None
        subtitles, self._subtitles = self._subtitles, None
        if subtitles is not None:
            subtitles.close()
        fault = ""
        if container is not None:
            sound, self._sound = self._sound, None
            try:
                container.mux(self._video.encode(None))
                if sound is not None:
                    container.mux(sound.rest(self._start_ns + round(self._length_s * NS)))
                container.close()
            except self._av.FFmpegError as error:
                fault = str(error)
            if sound is not None:
                sound.close()
        if file is None or self.path is None:
            return
        file.close()
        if self._place < 0:
            self.path.unlink(missing_ok=True)
        self._place = -1
        if file.error is not None or fault:
            cut(self.path)
            why = fault or (file.error.strerror if file.error is not None else "")
            raise OutputError(f"the end of {self.path} is missing ({why}); what it holds plays")

    def _begin(self, frame: Frame) -> None:
        codec = self._codec
        height, width = (side // 2 * 2 for side in frame.pixels.shape[:2])
        flags = "hybrid_fragmented+delay_moov+frag_keyframe+default_base_moof"
        options = {"movflags": flags, "frag_duration": "1000000", "flush_packets": "1"}
        container = self._av.open(self._file, "w", format=codec.suffix[1:], options=options)
        rate = Fraction(self._o.fps).limit_denominator(1001)
        video = container.add_stream(codec.encoder, rate=rate, options=dict(codec.options))
        video.width, video.height, video.pix_fmt = width, height, codec.pixel_format
        context = video.codec_context
        context.time_base = 1 / rate
        context.gop_size = max(1, round(self._o.fps))
        if codec.suffix == ".mp4":
            context.options = {**context.options, "crf": str(self._o.quality)}
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.color_range = 1  # studio
        self._container, self._video = container, video
        self._start_ns, self._place = frame.info.t_sent_ns, -1
        if self._o.audio and self._o.sound:
            try:
                self._sound = _Sound(self._av, container, SoundReader(self._o.sound), codec.audio, self._start_ns)
            except FileNotFoundError:
                self._sound = None
        if self._o.speech and self.path is not None:
            self._subtitles = _SubtitleFile(self._o.speech, self.path.with_suffix(".srt"), self._start_ns)

    def _picture(self, frame: Frame, place: int) -> Any:
        width, height = self._video.width, self._video.height
        if frame.pixels.shape[0] < height or frame.pixels.shape[1] < width:
            raise OutputError("the picture became smaller: a new file begins")
        pixels = frame.pixels[:height, :width]
        packed = np.empty((height, width, 2), np.uint8)
        uyvy.pack(pixels, packed)
        picture = self._av.VideoFrame(width, height, "uyvy422")
        plane = picture.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
        rows[:, : width * 2] = packed.reshape(height, -1)
        picture = picture.reformat(format=self._codec.pixel_format)
        picture.pts, picture.time_base = place, self._video.codec_context.time_base
        return picture

    def _free_path(self) -> Path:
        stem = f"{self._o.name}-{time.strftime('%Y-%m-%d-%H-%M-%S')}"
        path, number = self._folder / f"{stem}{self._codec.suffix}", 1
        while path.exists():
            number += 1
            path = self._folder / f"{stem}-{number}{self._codec.suffix}"
        return path

    def _look_at_disk(self) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < LEAST_FREE:
            raise OutputError(
                f"the disk of {self._folder} is nearly full: {free / 2**20:.0f} MiB are free, "
                f"{LEAST_FREE / 2**20:.0f} MiB must be"
            )


class _File:
    """Where the muxer writes. After an error nothing more is written, and the muxer is not told.

    FFmpeg's muxer for fragments falls over a write that failed, and its last step, which turns fragments into an
    ordinary movie, would spoil a file whose end is missing.
    """

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self._file = path.open("xb", buffering=0)
        self._at = self._size = 0

    def write(self, data: bytes) -> int:
        """Write, if nothing has gone wrong yet."""
        rest = memoryview(data)
        while rest and self.error is None:
            try:
                rest = rest[self._file.write(rest) or 0 :]
            except OSError as error:
                self.error = error
        self._at += len(data)
        self._size = max(self._size, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a place."""
        self._at = offset + (0, self._at, self._size)[whence]
        if self.error is None:
            self._file.seek(self._at)
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()


class _SubtitleFile:
    """What is said while a recording runs, in a file beside it: it is there once the first line is."""

    def __init__(self, events: str, path: Path, start_ns: int) -> None:
        self._path = path
        self._subtitles = Subtitles(lambda t_ns: (t_ns - start_ns) / NS)
        self._last_ns = start_ns
        try:
            self._reader: QueueReader | None = QueueReader(events)
        except FileNotFoundError:
            self._reader = None

    def step(self, now_ns: int, ends: bool = False) -> None:
        """Write what is due. A line that cannot be written is left out: the picture is what counts."""
        self._last_ns = now_ns
        if self._reader is None:
            return
        for event in self._reader.get():
            if isinstance(event, Speech):
                self._subtitles.hear(event, now_ns)
        text = self._subtitles.due(now_ns, ends)
        if text:
            with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
                file.write(text)

    def close(self) -> None:
        """Write what waits, and what was said before the end and is still to be understood; nobody waits for that."""
        if self._reader is not None:
            self._subtitles.end(self._last_ns)
            threading.Thread(target=self._linger, name="subtitles", daemon=True).start()

    def _linger(self) -> None:
        """Look for the last sentence for a while."""
        for _ in range(LINGERS_NS // LOOK_NS):
            time.sleep(LOOK_NS / NS)
            self._last_ns += LOOK_NS
            self.step(self._last_ns)
        self.step(self._last_ns, ends=True)
        if self._reader is not None:
            self._reader.close()


def cut(path: Path) -> None:
    """Cut off the fragment at a movie's end that is not whole (boxes: ISO/IEC 14496-12, 4.2)."""
    size = path.stat().st_size
    whole = at = 0
    with path.open("r+b") as file:
        while at + 16 <= size:
            file.seek(at)
            length, kind, longer = struct.unpack(">I4sQ", file.read(16))
            length = longer if length == 1 else length
            if length < 8 or at + length > size:
                break
            at += length
            if kind != b"moof":  # that one is whole with its mdat
                whole = at
        file.truncate(whole)


class _Sound:
    """The live sound on its way into the file: kept in step with the picture, silent where there is none."""

    def __init__(self, av: Any, container: Any, reader: SoundReader, encoder: str, start_ns: int) -> None:
        self._av, self._reader, self._start_ns = av, reader, start_ns
        self._stream = container.add_stream(encoder, rate=RATE_HZ, layout="stereo")
        self._resampler: Any = None
        self._form_hz = 0
        self.track = Soundtrack(RATE_HZ)

    def packets(self, now_ns: int) -> list[Any]:
        """Return the packets of the sound up to about ``now_ns``."""
        block = self._reader.get()
        packets = self._take(block) if block is not None else []
        # What has not come by now is silence; what comes of it later than that is left out.
        patient = (now_ns - self._start_ns) * RATE_HZ // NS - round(SILENCE_S * RATE_HZ)
        return packets + self._encoded(self.track.silent_until(patient))

    def rest(self, now_ns: int) -> list[Any]:
        """Return the last packets: as much sound as there is picture."""
        end = (now_ns - self._start_ns) * RATE_HZ // NS
        return [*self._encoded(self.track.silent_until(end)), *self._stream.encode(None)]

    def close(self) -> None:
        """Let go of the ring."""
        self._reader.close()

    def _take(self, block: AudioBlock) -> list[Any]:
        samples = block.samples[:, :2]
        if samples.shape[1] == 1:
            samples = np.repeat(samples, 2, axis=1)
        begins = (block.t_ns - self._start_ns) * RATE_HZ / NS - len(samples) * RATE_HZ / block.rate_hz
        samples = self._at_rate(samples, block.rate_hz)
        if begins < 0.0:  # sound from before the first picture
            samples, begins = samples[round(-begins) :], 0.0
        return self._encoded(self.track(samples, begins)) if len(samples) else []

    def _at_rate(self, samples: Float32, rate_hz: int) -> Float32:
        if rate_hz == RATE_HZ:
            return samples
        if rate_hz != self._form_hz:
            self._form_hz = rate_hz
            self._resampler = self._av.AudioResampler("fltp", "stereo", RATE_HZ)
        frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        frame.sample_rate = rate_hz
        rows = [one.to_ndarray().T for one in self._resampler.resample(frame)]
        return np.concatenate(rows) if rows else np.zeros((0, 2), np.float32)

    def _encoded(self, samples: Float32) -> list[Any]:
        """Return the packets of the next samples: each place is written once, and in order."""
        if not len(samples):
            return []
        frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base = RATE_HZ, Fraction(1, RATE_HZ)
        frame.pts = self.track.told - len(samples)
        return list(self._stream.encode(frame))
