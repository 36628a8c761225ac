"""A video, or a picture that moves, played round and round: a picture at a time, each for as long as it is meant.

PyAV reads it where it is installed: with the alpha of ProRes 4444, VP9 and QuickTime Animation, turned as the phone was
held, by its own times. Without PyAV OpenCV does, which knows fewer kinds and no alpha.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from vjserver.runtime.files import at_home
from vjserver.runtime.pyav import opened
from vjserver.types.errors import VJError
from vjserver.types.frames import MAX_SIDE, Pixels

STILL_S = 0.5
"""How long a picture stays of a file that has only one."""
SHORTEST_S, LONGEST_S, USUAL_S = 1 / 480, 10.0, 1 / 30
MOST_DAMAGED = 500


class Video:
    """A video at ``path``. Raises VJError for one that cannot be played.

    ``period_s`` is how long the picture that :meth:`next` returned last is to be shown.
    """

    def __init__(self, path: Path) -> None:
        self._path = path = at_home(path)
        self.period_s = USUAL_S
        self._reader: _AvReader | _CvReader
        av = _pyav()
        try:
            self._reader = _AvReader(path, av) if av is not None else _CvReader(path)
            self._ahead = self._reader.picture()
        except VJError:
            raise
        except Exception as error:  # noqa: BLE001 - decoders of strangers' files raise anything
            raise VJError(f"{path} cannot be played: {error}") from None
        if self._ahead is None:
            self.close()
            more = "" if av is not None else "; with PyAV more kinds can: pip install 'vjserver[record]'"
            raise VJError(f"{path} cannot be played{more}")

    def next(self) -> Pixels:
        """Return the next picture, RGBA8; after the last comes the first. Raises VJError."""
        if self._ahead is None:
            self._reader.rewind()
            self._ahead = self._reader.picture()
        if self._ahead is None:
            raise VJError(f"{self._path} cannot be read any more")
        (shown, at_s), self._ahead = self._ahead, self._reader.picture()
        if self._ahead is not None:
            self.period_s = min(LONGEST_S, max(SHORTEST_S, self._ahead[1] - at_s))
        elif self._reader.count == 1:
            self.period_s = STILL_S  # the last picture of others stays as long as the one before
        return shown

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._reader.close()


def _pyav() -> ModuleType | None:
    try:
        import av
    except ImportError:
        return None
    return av


class _AvReader:
    """Pictures with their times, by PyAV. ``count`` is how many came since the beginning."""

    def __init__(self, path: Path, av: ModuleType) -> None:
        self._path, self._av = path, av
        self.count = 0
        self._container: Any = None
        self._open()

    def _open(self) -> None:
        try:
            self._container = opened(self._av, self._path)
        except (self._av.FFmpegError, OSError) as error:
            raise VJError(f"{self._path} cannot be played: {error}") from None
        streams = [one for one in self._container.streams.video if not _is_cover(one)]
        if not streams:
            self._container.close()
            raise VJError(f"{self._path} cannot be played: there is no picture in it")
        stream = streams[0]
        stream.thread_type = "AUTO"
        self._rate = float(stream.average_rate or 1.0 / USUAL_S)
        self._frames = self._decoded(stream)
        self.count = 0

    def _decoded(self, stream: Any) -> Iterator[Any]:
        """Yield frames; a packet that is damaged is left out."""
        decoder, damaged = self._decoder(stream), 0
        for packet in self._container.demux(stream):
            try:
                frames = packet.decode() if decoder is None else decoder.decode(packet)
                damaged = 0
            except (self._av.FFmpegError, ValueError):
                damaged += 1
                if damaged > MOST_DAMAGED:
                    return
                continue
            yield from frames

    def _decoder(self, stream: Any) -> Any:
        """Return the decoder that sees alpha where the usual one does not (VP8 and VP9), else None."""
        names = {"vp9": "libvpx-vp9", "vp8": "libvpx"}
        name = stream.codec_context.name
        if name not in names or stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) != "1":
            return None
        with contextlib.suppress(self._av.FFmpegError, ValueError):
            decoder = self._av.CodecContext.create(names[name], "r")
            decoder.extradata = stream.codec_context.extradata
            return decoder
        return None

    def picture(self) -> tuple[Pixels, float] | None:
        """Return the next picture and its time in seconds, or None behind the last."""
        frame = next(self._frames, None)
        if frame is None:
            return None
        if max(frame.width, frame.height) > MAX_SIDE:
            raise VJError(f"{self._path} is {frame.width}x{frame.height}; a side has at most {MAX_SIDE} pixels")
        pixels = np.ascontiguousarray(frame.to_ndarray(format="rgba"))
        turns = round(getattr(frame, "rotation", 0) / 90) % 4
        if turns:
            pixels = np.ascontiguousarray(np.rot90(pixels, turns))
        at_s = frame.time if frame.time is not None else self.count / self._rate
        self.count += 1
        return pixels, float(at_s)

    def rewind(self) -> None:
        """Begin again."""
        self._container.close()
        self._open()

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()


def _is_cover(stream: Any) -> bool:
    """Tell whether a stream is only the cover of a sound file."""
    disposition = getattr(stream, "disposition", None)
    cover = getattr(type(disposition), "attached_pic", None)
    return disposition is not None and cover is not None and bool(disposition & cover)


class _CvReader:
    """The same by OpenCV."""

    def __init__(self, path: Path) -> None:
        self._video = cv2.VideoCapture(str(path))
        rate = self._video.get(cv2.CAP_PROP_FPS)
        self._period_s = 1.0 / (rate if 1.0 <= rate <= 240.0 else 1.0 / USUAL_S)
        self.count = 0

    def picture(self) -> tuple[Pixels, float] | None:
        """Return the next picture and its time, or None."""
        found, picture = self._video.read()
        if not found:
            return None
        self.count += 1
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGBA), np.uint8), self.count * self._period_s

    def rewind(self) -> None:
        """Begin again."""
        self._video.set(cv2.CAP_PROP_POS_FRAMES, 0)
        self.count = 0

    def close(self) -> None:
        """Close the file."""
        self._video.release()
