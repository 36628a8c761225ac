"""Pictures from a file: an image, or a video that is played in a loop at its own rate."""

import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime.files import at_home
from vjserver.runtime.picture import is_picture, read_picture
from vjserver.runtime.video import Video
from vjserver.types.errors import InputError, VJError
from vjserver.types.frames import Frame, Pixels, arrived

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
        self._film: Video | None = None
        self._period_s = AGAIN_S
        self._due_s = 0.0
        self._count = 0

    def open(self) -> None:
        """Open the file. Raises InputError if it is missing or neither picture nor video."""
        path = at_home(self._o.path)
        if not path.is_file():
            raise InputError(f"no such file: {path}")
        try:
            if is_picture(path):
                self._image = read_picture(path)
            else:
                self._film = Video(path)
        except (VJError, OSError) as error:
            raise InputError(f"{path} is neither a picture nor a video that can be read: {error}") from None

    def read(self, wait_s: float) -> Frame | None:
        """Return the picture that is due, or None if none is within ``wait_s``. Raises InputError."""
        now_s = time.monotonic()
        if self._due_s - now_s > wait_s:
            time.sleep(wait_s)
            return None
        time.sleep(max(0.0, self._due_s - now_s))
        in_step = now_s - self._due_s < self._period_s
        picture = self._picture()
        if self._film is not None:
            self._period_s = self._film.period_s / self._o.speed
        self._due_s = (self._due_s if in_step else now_s) + self._period_s
        self._count += 1
        return arrived(picture, self._count, time.perf_counter_ns())

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
