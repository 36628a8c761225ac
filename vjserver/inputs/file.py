"""Pictures from a file: an image, or a video that is played in a loop at its own rate."""

import time
from pathlib import Path

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.types.errors import InputError
from vjserver.types.frames import MAX_SIDE, Frame, FrameInfo, Pixels

IMAGES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"))
AGAIN_S = 0.5
"""An image is brought again so often: it is not lost."""


class FileInputOptions(BaseModel):
    """What is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="a picture, or a video")
    speed: float = Field(1.0, gt=0.0, le=8.0, description="of a video")


class FileInput:
    """Shows an image, or plays a video for ever."""

    Options = FileInputOptions

    def __init__(self, options: FileInputOptions) -> None:
        self._o = options
        self._image: Pixels | None = None
        self._video: cv2.VideoCapture | None = None
        self._period_s = AGAIN_S
        self._due_s = 0.0
        self._count = 0

    def open(self) -> None:
        """Open the file. Raises InputError if it is missing or neither picture nor video."""
        path = self._o.path.expanduser()
        if not path.is_file():
            raise InputError(f"no such file: {path}")
        if path.suffix.lower() in IMAGES:
            self._image = _image(path)
            return
        video = cv2.VideoCapture(str(path))
        found, picture = video.read()
        if not found or picture is None:
            video.release()
            raise InputError(f"{path} is neither a picture nor a video that can be read")
        rate = video.get(cv2.CAP_PROP_FPS)
        self._period_s = 1.0 / ((rate if 1.0 <= rate <= 240.0 else 30.0) * self._o.speed)
        video.set(cv2.CAP_PROP_POS_FRAMES, 0)
        self._video = video

    def read(self, wait_s: float) -> Frame | None:
        """Return the picture that is due, or None if none is within ``wait_s``. Raises InputError."""
        now_s = time.monotonic()
        if self._due_s - now_s > wait_s:
            time.sleep(wait_s)
            return None
        time.sleep(max(0.0, self._due_s - now_s))
        in_step = now_s - self._due_s < self._period_s
        self._due_s = (self._due_s if in_step else now_s) + self._period_s
        pixels = self._image if self._image is not None else self._next()
        self._count += 1
        now_ns = time.perf_counter_ns()
        height, width = pixels.shape[:2]
        info = FrameInfo(width, height, self._count, now_ns, now_ns, now_ns, data_size=pixels.nbytes)
        return Frame(pixels, info)

    def close(self) -> None:
        """Close the file."""
        if self._video is not None:
            self._video.release()
            self._video = None

    def _next(self) -> Pixels:
        assert self._video is not None
        found, picture = self._video.read()
        if not found:
            self._video.set(cv2.CAP_PROP_POS_FRAMES, 0)
            found, picture = self._video.read()
        if not found:
            raise InputError(f"{self._o.path} cannot be read any more")
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGBA), np.uint8)


def _image(path: Path) -> Pixels:
    """Return a picture as RGBA8. Raises InputError."""
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None or max(picture.shape[:2]) > MAX_SIDE:
        raise InputError(f"{path} is no picture that can be read")
    if picture.dtype == np.uint16:
        picture = (picture // 256).astype(np.uint8)
    code = {1: cv2.COLOR_GRAY2RGBA, 3: cv2.COLOR_BGR2RGBA, 4: cv2.COLOR_BGRA2RGBA}[
        picture.shape[2] if picture.ndim == 3 else 1
    ]
    return np.asarray(cv2.cvtColor(picture, code), np.uint8)
