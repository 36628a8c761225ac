"""File: a sound file, or the sound of a video, played in real time (with a manual clock: as fast as it can be read).

wav, flac, ogg and mp3 are read by libsndfile; everything else, and what libsndfile cannot read to its end, by PyAV.
"""

from pathlib import Path

import soundfile
from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.quiet import quiet_stderr
from vjserver.sources.avfile import AvStream
from vjserver.types.audio import AudioBlock, Float32
from vjserver.types.errors import DeviceError


class FileOptions(BaseModel):
    """Which file is played, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    loop: bool = True
    block: int = Field(256, ge=16, le=65536, description="samples a block")


class _Stream(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is only read forwards.

    soundfile seeks after every read of a seekable file, and libsndfile's mp3 decoder falls silent after a seek.
    """

    def seekable(self) -> bool:
        """Say no."""
        return False


class FileSource:
    """Plays a sound file. When it ends and does not loop, ``read`` raises DeviceError."""

    Options = FileOptions

    def __init__(self, options: FileOptions, clock: Clock) -> None:
        self._o, self._clock = options, clock
        self._file: _Stream | AvStream | None = None
        self._position = 0  # samples since it was opened
        self._place = 0  # the same since the file last began
        self._start_ns = 0
        self.rate_hz = 0
        self.drops = 0

    def open(self) -> None:
        """Open the file and start to play. Raises DeviceError for a missing, damaged or empty file."""
        path = self._o.path
        if not path.is_file():
            raise DeviceError(f"no such sound file: {path}")
        self._file = self._opened()
        self.rate_hz = self._file.samplerate
        self._position = self._place = 0
        self._start_ns = self._clock.now_ns()

    def _opened(self) -> _Stream | AvStream:
        """Return the file, opened by who can read it. Raises DeviceError saying why nobody can."""
        path = self._o.path
        try:
            with quiet_stderr():  # the mp3 decoder has words of its own
                found = _Stream(path)
        except soundfile.LibsndfileError as error:
            try:
                return AvStream(path)
            except DeviceError as other:
                what = f"{path} is not a sound file that can be read (wav, flac, ogg, mp3; with PyAV m4a and videos)"
                raise DeviceError(f"{what}: {error}; {other}") from None
        if not found.frames:
            found.close()
            raise DeviceError(f"{path} holds no sound")
        return found

    def _past_the_damage(self) -> Float32:
        """Go on behind a place that libsndfile cannot pass, with PyAV. Raises DeviceError where that is not there."""
        path, at_s = self._o.path, self._place / self.rate_hz
        if isinstance(self._file, _Stream):
            self._file.close()
        try:
            self._file = AvStream(path)
        except DeviceError as error:
            raise DeviceError(f"{path} is damaged at {at_s:.1f} s, and {error}") from None
        self._file.skip(self._place)
        return self._file.read(self._o.block)

    def read(self, until_ns: int) -> AudioBlock | None:
        """Return the next block when its last sample is due, or None at ``until_ns`` if that is sooner."""
        if self._file is None:
            raise DeviceError(f"{self._o.path} is not open")
        t_ns = self._start_ns + (self._position + self._o.block) * NS // self.rate_hz
        self._clock.sleep_until(min(t_ns, until_ns))
        if t_ns > until_ns:
            return None
        try:
            samples = self._file.read(self._o.block, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            samples = self._past_the_damage()
        if not len(samples) and self._o.loop and self._place:
            self._file.close()
            self._file, self._place = self._opened(), 0
            samples = self._file.read(self._o.block, dtype="float32", always_2d=True)
        if not len(samples):
            raise DeviceError(f"{self._o.path} has ended")
        self._position += len(samples)
        self._place += len(samples)
        return AudioBlock(samples, self.rate_hz, self._start_ns + self._position * NS // self.rate_hz)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
