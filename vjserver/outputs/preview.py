"""Preview: a small copy of the picture in a ring, for the page and for anybody who only wants to see what goes on."""

import cv2
import numpy as np
from pydantic import Field

from vjserver.outputs.sharedmem import SharedMemoryOptions, SharedMemoryOutput
from vjserver.types.frames import Frame, resized


class PreviewOptions(SharedMemoryOptions):
    """Where the ring lies and how wide the copy is."""

    stream: str = Field("small", pattern=r"^[A-Za-z0-9_-]{1,20}$", description="the ring's name is vjserver-STREAM")
    width: int = Field(640, ge=16, le=1920, description="a wider picture is made so wide")


class PreviewOutput(SharedMemoryOutput):
    """Writes small frames into a ring."""

    Options: type[SharedMemoryOptions] = PreviewOptions

    def __init__(self, options: PreviewOptions) -> None:
        super().__init__(options)
        self._width = options.width

    def send(self, frame: Frame) -> None:
        """Write a small copy of the frame."""
        height, width = frame.pixels.shape[:2]
        if width > self._width:
            size = (self._width, max(1, round(height * self._width / width)))
            frame = resized(frame, np.asarray(cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA), np.uint8))
        super().send(frame)
