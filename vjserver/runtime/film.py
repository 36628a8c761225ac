"""Film: a video file played round and round, a picture at a time."""

from pathlib import Path

import cv2
import numpy as np

from vjserver.types.errors import VJError
from vjserver.types.frames import Pixels


class Film:
    """A video at ``path``; ``period_s`` lies between two pictures. Raises VJError for one that cannot be played."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._video = cv2.VideoCapture(str(path.expanduser()))
        if not self._video.read()[0]:
            self._video.release()
            raise VJError(f"{path} cannot be played")
        self._rewind()
        rate = self._video.get(cv2.CAP_PROP_FPS)
        self.period_s = 1.0 / (rate if 1.0 <= rate <= 240.0 else 30.0)

    def next(self) -> Pixels:
        """Return the next picture, RGBA8; after the last comes the first. Raises VJError."""
        found, picture = self._video.read()
        if not found:
            self._rewind()
            found, picture = self._video.read()
        if not found:
            raise VJError(f"{self._path} cannot be read any more")
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGBA), np.uint8)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._video.release()

    def _rewind(self) -> None:
        self._video.set(cv2.CAP_PROP_POS_FRAMES, 0)
