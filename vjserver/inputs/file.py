"""Pictures from a file: an image, or a video that is played in a loop at its own rate."""

import time
from pathlib import Path

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime.film import Film
from vjserver.types.errors import InputError, VJError
from vjserver.types.frames import MAX_SIDE, Frame, Pixels, arrived

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
        self._film: Film | None = None
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
        try:
            self._film = Film(path)
        except VJError:
            raise InputError(f"{path} is neither a picture nor a video that can be read") from None
        self._period_s = self._film.period_s / self._o.speed

    def read(self, wait_s: float) -> Frame | None:
        """Return the picture that is due, or None if none is within ``wait_s``. Raises InputError."""
        now_s = time.monotonic()
        if self._due_s - now_s > wait_s:
            time.sleep(wait_s)
            return None
        time.sleep(max(0.0, self._due_s - now_s))
        in_step = now_s - self._due_s < self._period_s
        self._due_s = (self._due_s if in_step else now_s) + self._period_s
        self._count += 1
        return arrived(self._picture(), self._count, time.perf_counter_ns())

    def close(self) -> None:
        """Close the file."""
        if self._film is not None:
            self._film.close()
            self._film = None

    def _picture(self) -> Pixels:
        if self._image is not None:
            return self._image
        assert self._film is not None
        try:
            return self._film.next()
        except VJError as error:
            raise InputError(str(error)) from None


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
