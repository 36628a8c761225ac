"""Pictures that a film starts from: the picture of a file or a film at a time, the same whenever it is asked for."""

from collections.abc import Mapping
from pathlib import Path

from vjserver.rendering.image_source import ImageSource
from vjserver.runtime.clock import ManualClock
from vjserver.runtime.picture import is_picture, read_picture
from vjserver.runtime.video import Video
from vjserver.types.errors import VJError
from vjserver.types.frames import Frame, FrameInfo, Pixels


class FilmImages(ImageSource):
    """Shows the inputs of a film as they are at ``seconds``; a clip begins at 0 and is played round and round."""

    def __init__(self, inputs: Mapping[str, Path]) -> None:
        super().__init__({}, (), ManualClock(), lambda *_: None)
        self.names = tuple(inputs)
        self._paths = dict(inputs)
        self._shown: dict[str, _Clip | Pixels] = {}
        self.seconds = 0.0

    def get(self, name: str) -> Frame | None:
        """Return the picture of an input now; None for what is no input. Raises VJError for one that cannot be read."""
        if name not in self._paths:
            return None
        if name not in self._shown:
            path = self._paths[name]
            try:
                self._shown[name] = read_picture(path) if is_picture(path) else _Clip(path)
            except OSError as error:
                raise VJError(f"{path} cannot be read: {error.strerror}") from None
        shown = self._shown[name]
        pixels = shown.at(self.seconds) if isinstance(shown, _Clip) else shown
        return Frame(pixels, FrameInfo(pixels.shape[1], pixels.shape[0]))

    def close(self) -> None:
        """Close the files."""
        for shown in self._shown.values():
            if isinstance(shown, _Clip):
                shown.close()
        self._shown = {}

    def tell(self, why: str, recovered: bool = False) -> None:
        """Raise VJError: a film waits for nothing, so what is missing now stays missing."""
        if not recovered:
            raise VJError(why)


class _Clip:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin()

    def _begin(self) -> None:
        self._clip = Video(self._path)
        self._pixels = self._clip.next()
        self._until_s = self._clip.period_s

    def at(self, seconds: float) -> Pixels:
        if seconds < self._until_s - self._clip.period_s:  # a film is made forwards; who asks back begins anew
            self.close()
            self._begin()
        while seconds >= self._until_s:
            self._pixels = self._clip.next()
            self._until_s += self._clip.period_s
        return self._pixels

    def close(self) -> None:
        self._clip.close()
