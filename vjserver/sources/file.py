"""File: a wav, flac, ogg or mp3 file played in real time (or, with a manual clock, as fast as it can be read)."""

from pathlib import Path

import soundfile
from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime.clock import NS, Clock
from vjserver.types.audio import AudioBlock
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
        self._file: _Stream | None = None
        self._position = 0
        self._start_ns = 0
        self.rate_hz = 0
        self.drops = 0

    def open(self) -> None:
        """Open the file and start to play. Raises DeviceError for a missing, damaged or empty file."""
        path = self._o.path
        if not path.is_file():
            raise DeviceError(f"no such sound file: {path}")
        try:
            self._file = _Stream(path)
        except soundfile.LibsndfileError as error:
            raise DeviceError(f"{path} is not a sound file that can be read (wav, flac, ogg, mp3): {error}") from None
        if not self._file.frames:
            self.close()
            raise DeviceError(f"{path} holds no sound")
        self.rate_hz = self._file.samplerate
        self._position, self._start_ns = 0, self._clock.now_ns()

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
            if not len(samples) and self._o.loop:
                self._file.close()
                self._file = _Stream(self._o.path)
                samples = self._file.read(self._o.block, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise DeviceError(f"{self._o.path} is damaged at {self._position / self.rate_hz:.1f} s: {error}") from None
        if not len(samples):
            raise DeviceError(f"{self._o.path} has ended")
        self._position += len(samples)
        return AudioBlock(samples, self.rate_hz, self._start_ns + self._position * NS // self.rate_hz)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
