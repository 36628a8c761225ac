"""Joining: segments and a song go in, one film comes out. Pictures are not encoded again, sound is encoded once."""

import contextlib
import glob
import heapq
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjserver.films.codecs import Codec, told
from vjserver.films.song import Song, pyav
from vjserver.runtime.files import move_over, remove
from vjserver.runtime.pyav import opened
from vjserver.types.audio import Float32
from vjserver.types.errors import OutputError

AAC_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
BIT_RATE = 256_000
BLOCK = 1024
SOUND_NAME = "sound.wav"
_FORMATS = {"aac": "fltp", "flac": "s16", "pcm_s16le": "s16", "pcm_s24le": "s32"}


def join(
    segments: Sequence[Path],
    target: Path,
    codec: Codec,
    rate: Fraction,
    sound: "Sound | None" = None,
    chapters: Sequence[tuple[float, float, str]] = (),
    title: str = "",
) -> None:
    """Write the film. It appears whole or not at all. Raises OutputError."""
    if not codec.container:
        _gather(segments, target, sound)
        return
    part = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    for left in target.parent.glob(f".{glob.escape(target.stem)}.*.part{target.suffix}"):
        if left != part:
            remove(left)  # of one that was killed
    try:
        with told(target):
            _mux(segments, part, codec, rate, sound, chapters, title)
            move_over(part, target)
    finally:
        part.unlink(missing_ok=True)


class Sound:
    """The sound of a film: a song from one time on for so long, silence after its end."""

    def __init__(self, song: Song, begin: Fraction, seconds: Fraction) -> None:
        self.song, self.begin, self.seconds = song, begin, seconds
        self._ahead: _Ahead | None = None

    @contextlib.contextmanager
    def encoded_ahead(self, codec: Codec, folder: Path) -> Iterator[None]:
        """Encode it beside what is done within, where that is work: :func:`join` then only copies it."""
        if codec.sound != "aac" or self.is_copied(codec):
            yield
            return
        self._ahead = _Ahead(self, codec, folder / f"sound.part{os.getpid()}.m4a")
        try:
            yield
        finally:
            self._ahead.stop()
            self._ahead = None

    def packets(self, av: Any, out: Any, codec: Codec) -> Iterator[Any]:
        """Return its packets in a file of a codec: as they are where that is allowed, else encoded, once."""
        if self.is_copied(codec):
            return _copied(av, out, self.song.path, self.song.origin_s)
        if self._ahead is not None:
            return _copied(av, out, self._ahead.path(), 0.0)
        return _encoded(av, out, codec, self)

    def is_copied(self, codec: Codec) -> bool:
        """Whether the song's sound can be taken as it is: all of it, alone in a file whose packets have times."""
        if not self.is_whole or self.song.codec not in codec.copied:
            return False
        with opened(pyav(), self.song.path) as container:
            return "mp4" in container.format.name or (container.format.name == "wav" and self.song.channels <= 2)

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole song, as it is."""
        return self.begin == 0 and self.seconds >= self.song.seconds and not self.song.damaged

    def samples(self, rate_hz: int, channels: int) -> Iterator[Float32]:
        """Yield blocks of float32 ``(1024, channels)`` (the last may be shorter), exactly as long as the film."""
        song, av = self.song, pyav()
        begin = round(self.begin * song.rate_hz)
        blocks: Iterable[Float32] = song.blocks(begin, begin + round(self.seconds * song.rate_hz))
        blocks = (_side_by_side(block, channels) for block in blocks)
        if rate_hz != song.rate_hz:
            blocks = _resampled(av, blocks, song.rate_hz, rate_hz, channels)
        total, given, rest = round(self.seconds * rate_hz), 0, np.zeros((0, channels), np.float32)
        for block in blocks:
            rest = np.concatenate((rest, block)) if len(rest) else block
            whole = len(rest) // BLOCK * BLOCK
            for i in range(0, min(whole, total - given), BLOCK):
                yield rest[i : i + BLOCK][: total - given]
                given += min(BLOCK, total - given)
            rest = rest[whole:]
        while given < total:
            count = min(BLOCK, total - given)
            block = np.zeros((count, channels), np.float32)
            block[: min(count, len(rest))] = rest[:count]
            rest = rest[count:]
            given += count
            yield block


def _side_by_side(block: Float32, channels: int) -> Float32:
    """Return a block with so many channels: more than two are mixed down, one is heard on both sides."""
    if block.shape[1] == channels:
        return block
    if block.shape[1] > channels:
        return _mixed(block) if channels > 1 else block.mean(axis=1, keepdims=True)
    return np.repeat(block[:, :1], channels, axis=1)


def _mixed(block: Float32) -> Float32:
    """Mix 5.1, and what is like it, down to two sides, in FFmpeg's order: left, right, centre, bass, surround."""
    left, right = block[:, 0].copy(), block[:, 1].copy()
    if block.shape[1] > 4:
        middle = np.float32(0.707) * block[:, 2]
        left += middle
        right += middle
    for i in range(4 if block.shape[1] > 4 else 2, block.shape[1]):
        side = left if i % 2 == 0 else right
        side += np.float32(0.707) * block[:, i]
    return np.stack((left, right), axis=1)


def _resampled(av: Any, blocks: Iterable[Float32], rate_hz: int, wanted_hz: int, channels: int) -> Iterator[Float32]:
    layout = "stereo" if channels == 2 else "mono"
    resampler = av.AudioResampler("fltp", layout, wanted_hz)
    place = 0
    for block in blocks:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, place, Fraction(1, rate_hz)
        place += len(block)
        for one in resampler.resample(frame):
            yield one.to_ndarray().T
    for one in resampler.resample(None):
        yield one.to_ndarray().T


def _mux(
    segments: Sequence[Path], part: Path, codec: Codec, rate: Fraction, sound: "Sound | None",
    chapters: Sequence[tuple[float, float, str]], title: str,
) -> None:  # fmt: skip
    av = pyav()
    options = {"movflags": "+faststart"} if codec.container == "mp4" else {}
    kind = {"mkv": "matroska"}.get(codec.container, codec.container)
    with _opened(av, segments[0]) as first, av.open(str(part), "w", format=kind, options=options) as out:
        template = first.streams.video[0]
        stream = out.add_stream_from_template(template, opaque=True)
        if codec.container != "mkv":
            stream.codec_context.codec_tag = template.codec_context.codec_tag
        stream.time_base = 1 / rate
        pictures = _pictures(av, segments, stream, rate, _kind(template))
        tracks = [pictures]
        if sound is not None and codec.sound:
            tracks.append(sound.packets(av, out, codec))
        if title:
            out.metadata["title"] = title
        if chapters and hasattr(out, "set_chapters"):
            out.set_chapters([_chapter(i + 1, *chapter) for i, chapter in enumerate(chapters)])
        for packet in heapq.merge(*tracks, key=lambda p: p.dts * p.time_base):
            out.mux(packet)


def _chapter(number: int, begin_s: float, end_s: float, title: str) -> dict[str, Any]:
    start, end = round(begin_s * 1000), round(end_s * 1000)
    return {"id": number, "start": start, "end": end, "time_base": Fraction(1, 1000), "metadata": {"title": title}}


def _opened(av: Any, path: Path) -> Any:
    try:
        return opened(av, path)
    except (av.FFmpegError, OSError) as error:
        raise OutputError(f"{path} cannot be read ({error.strerror}): remove it, and it is made again") from None


def _kind(video: Any) -> tuple[Any, ...]:
    """Return what the pictures of all segments must have in common."""
    context = video.codec_context
    return context.name, context.pix_fmt, context.width, context.height, bytes(context.extradata or b"")


def _pictures(av: Any, segments: Sequence[Path], stream: Any, rate: Fraction, kind: tuple[Any, ...]) -> Iterator[Any]:
    """Yield the packets of all segments, numbered through.

    Pictures that hang on later ones are stored behind these; the farthest that any segment goes for that is the delay
    of all, so that the times of storage rise over the whole film.
    """
    base, delay = 0, max(_delay(av, path, rate) for path in segments)
    for path in segments:
        count = 0
        with _opened(av, path) as container:
            video = container.streams.video[0]
            if _kind(video) != kind:
                raise OutputError(f"{path.name} was encoded in another way than the first segment: remove it")
            told_s = video.duration * video.time_base if video.duration else Fraction(container.duration, av.time_base)
            for packet in container.demux(video):
                if packet.dts is None:
                    continue
                at = round(packet.pts * packet.time_base * rate)
                packet.time_base = 1 / rate
                packet.pts, packet.dts, packet.duration, packet.stream = base + at, base + count - delay, 1, stream
                count += 1
                yield packet
        due = round(told_s * rate)
        if count != due:
            raise OutputError(f"{path} holds {count} of {due} pictures: remove it, and it is made again")
        base += count


def _delay(av: Any, path: Path, rate: Fraction) -> int:
    """Return by how many pictures a segment's first one is stored before it is due."""
    with _opened(av, path) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.dts is not None:
                return max(0, -int(packet.dts * packet.time_base * rate))
    return 0


def _copied(av: Any, out: Any, path: Path, origin_s: float) -> Iterator[Any]:
    """Yield a file's own packets; what its encoder put before it comes at negative times, which players leave out."""
    container = opened(av, path)
    source = container.streams.audio[0]
    stream = out.add_stream_from_template(source)

    def packets() -> Iterator[Any]:
        with container:
            late = round(origin_s / source.time_base)
            for packet in container.demux(source):
                if packet.dts is None:
                    continue
                packet.pts, packet.dts, packet.stream = packet.pts - late, packet.dts - late, stream
                yield packet

    return packets()


def _encoded(av: Any, out: Any, codec: Codec, sound: Sound) -> Iterator[Any]:
    """Add a stream of sound; return its packets."""
    channels = 1 if sound.song.channels == 1 else 2
    rate_hz = sound.song.rate_hz
    if codec.sound == "aac" and rate_hz not in AAC_RATES:
        rate_hz = 48000
    stream = out.add_stream(codec.sound, rate=rate_hz)
    stream.layout = "stereo" if channels == 2 else "mono"
    stream.codec_context.format = _FORMATS[codec.sound]
    if codec.sound == "aac":
        stream.codec_context.bit_rate = BIT_RATE // 2 * channels
    return _packets(av, stream, sound.samples(rate_hz, channels), rate_hz, channels)


def _packets(av: Any, stream: Any, blocks: Iterator[Float32], rate_hz: int, channels: int) -> Iterator[Any]:
    form, layout = _FORMATS[stream.codec_context.name], "stereo" if channels == 2 else "mono"
    place = 0
    for block in blocks:
        row: NDArray[Any] = np.ascontiguousarray(block.T)
        if form != "fltp":
            top = 2**15 - 1 if form == "s16" else 2**31 - 256
            whole = np.clip(np.round(block.astype(np.float64) * top), -top - 1, top)
            row = whole.astype(np.int16 if form == "s16" else np.int32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(row, format=form, layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, place, Fraction(1, rate_hz)
        place += len(block)
        yield from _timed(stream.encode(frame))
    yield from _timed(stream.encode(None))


def _timed(packets: Iterable[Any]) -> Iterator[Any]:
    return (packet for packet in packets if packet.dts is not None)


class _Ahead(threading.Thread):
    """The thread that encodes a film's sound into a file of its own."""

    def __init__(self, sound: Sound, codec: Codec, path: Path) -> None:
        super().__init__(name="sound", daemon=True)
        self._sound, self._codec, self._path = sound, codec, path
        self._stopped = False
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        av = pyav()
        try:
            with told(self._path), av.open(str(self._path), "w", format="mp4") as out:
                for packet in _encoded(av, out, self._codec, self._sound):
                    if self._stopped:
                        return
                    out.mux(packet)
        except Exception as error:  # noqa: BLE001  # whoever asks for the file is told
            self._error = error

    def path(self) -> Path:
        """Wait for the file, and return it. Raises what went wrong."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._path

    def stop(self) -> None:
        """End it. The file is gone."""
        self._stopped = True
        self.join()
        remove(self._path)


def check_folder(target: Path) -> None:
    """Raise OutputError for a folder that holds what is no sequence of ours: it would be lost."""
    if target.is_dir():
        names = {path.name for path in target.iterdir()} - {SOUND_NAME}
        foreign = sorted(names - {f"{i:06d}.png" for i in range(len(names))})
        if foreign:
            raise OutputError(f"{target} holds other files ({foreign[0]}): give a folder of its own")
    elif target.exists():
        raise OutputError(f"{target} is a file: pictures go into a folder")


def _gather(segments: Sequence[Path], target: Path, sound: "Sound | None") -> None:
    """Put the pictures of all segments into one folder, numbered through, and the sound beside them as WAV.

    The folder appears whole or not at all.
    """
    check_folder(target)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.mkdir(parents=True)
        number = 0
        for folder in segments:
            for picture in sorted(folder.glob("*.png")):
                shutil.copyfile(picture, part / f"{number:06d}.png")
                number += 1
        if sound is not None:
            import soundfile

            channels = 1 if sound.song.channels == 1 else 2
            with soundfile.SoundFile(part / SOUND_NAME, "w", sound.song.rate_hz, channels, "PCM_24") as file:
                for block in sound.samples(sound.song.rate_hz, channels):
                    file.write(block)
        remove(target)
        move_over(part, target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from None
    finally:
        remove(part)
