"""Sound of what was said, on its way from the process that listens to a card: kept for as long as that takes."""

import contextlib
import time
from pathlib import Path

import numpy as np
import soundfile

from vjserver.runtime.files import remove
from vjserver.types.audio import Float32

WAITS_S = 120.0
"""What no card has taken by then belongs to none."""


class SaidSounds:
    """A folder with a FLAC file an utterance, by its number."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, number: int, sound: Float32, rate_hz: int) -> None:
        """Keep the sound of an utterance, mono. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{number}.flac"
        try:
            with path.open("wb") as file:
                soundfile.write(file, np.clip(sound, -1.0, 1.0), rate_hz, format="FLAC", subtype="PCM_16")
        except (OSError, soundfile.SoundFileError) as error:
            remove(path)
            raise OSError(getattr(error, "errno", None) or 5, str(error)) from None

    def take(self, number: int) -> tuple[bytes, float]:
        """Return an utterance's file and its length, s, and keep it no longer; ``(b"", 0.0)`` where there is none."""
        path = self._folder / f"{number}.flac"
        try:
            data, seconds = path.read_bytes(), float(soundfile.info(path).duration)
        except (OSError, soundfile.SoundFileError):
            return b"", 0.0
        remove(path)
        return data, seconds

    def sweep(self, all_of_it: bool = False) -> None:
        """Remove what no card took, or everything."""
        for path in self._folder.glob("*.flac"):
            with contextlib.suppress(OSError):
                if all_of_it or time.time() - path.stat().st_mtime > WAITS_S:
                    remove(path)
