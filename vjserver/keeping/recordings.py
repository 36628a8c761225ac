"""Sound that is being recorded: it lies on the disk as it comes, so that what was said outlives whoever records it."""

import contextlib
import io
import json
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import soundfile
from psutil import pid_exists

from vjserver.runtime.files import move_over, remove
from vjserver.types.audio import Float32
from vjserver.types.errors import ConfigError, KeepingError

RATE_HZ = 16000
MOST_S = 4 * 3600.0
_NAME = re.compile(r"[0-9a-f]{12,32}")
_FILE = re.compile(r"([0-9a-f]{12,32})-(\d{1,10})\.s16")


class Recordings:
    """A folder with a file for each recording that goes on: mono, 16 bits, 16 kHz, named by who writes it.

    ``pid`` is the process that records. Raises ConfigError for what makes no sense, KeepingError where the disk does.
    """

    def __init__(self, folder: Path, pid: int | None = None) -> None:
        self._folder, self._pid = folder, os.getpid() if pid is None else pid

    def add(self, name: str, sound: Float32) -> float:
        """Add sound, mono at 16 kHz, -1..1, to a recording; return how long it is by now, in seconds."""
        path = self._path(name)
        data = (np.clip(sound, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(path, "ab", opener=_for_me) as file:
                if file.tell() + len(data) > 2 * RATE_HZ * MOST_S:
                    raise ConfigError(f"a recording has at most {MOST_S / 3600:g} hours: end it, and begin another one")
                file.write(data)
                return float(file.tell() // 2 / RATE_HZ)
        except OSError as error:
            raise KeepingError(f"{path} cannot be written: {error.strerror}") from None

    def describe(self, name: str, asked: Mapping[str, str]) -> None:
        """Write down what a recording is for, so that whoever takes it over knows."""
        path = self._path(name).with_suffix(".json")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(path, "w", encoding="utf-8", opener=_for_me) as file:
                json.dump(dict(asked), file)
        except OSError as error:
            raise KeepingError(f"{path} cannot be written: {error.strerror}") from None

    def asked(self, name: str) -> dict[str, str]:
        """Return what a recording is for, as far as that is known."""
        try:
            found = json.loads(self._path(name).with_suffix(".json").read_text("utf-8"))
            return {str(key): str(value) for key, value in found.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def whole(self, name: str) -> tuple[bytes, float]:
        """Return a recording as a FLAC file, and its length in seconds; it stays until :meth:`drop`."""
        path = self._path(name)
        try:
            samples = np.frombuffer(path.read_bytes()[: path.stat().st_size // 2 * 2], "<i2")
        except FileNotFoundError:
            samples = np.zeros(0, "<i2")
        except OSError as error:
            raise KeepingError(f"{path} cannot be read: {error.strerror}") from None
        if not len(samples):
            raise ConfigError("nothing was recorded: the microphone gave no sound")
        return flac(samples.astype(np.float32) / 32768.0), len(samples) / RATE_HZ

    def drop(self, name: str) -> None:
        """Remove a recording, if it is there."""
        remove(self._path(name))
        remove(self._path(name).with_suffix(".json"))

    def take_over(self, busy: Collection[str] = ()) -> list[str]:
        """Return recordings with which nobody goes on; they are this process's now.

        Their process is gone, or it is this one, and they are not ``busy``.
        """
        names = []
        for path in sorted(self._folder.glob("*.s16")):
            found = _FILE.fullmatch(path.name)
            if found is None or (int(found[2]) == self._pid and found[1] in busy):
                continue
            if int(found[2]) == self._pid or not pid_exists(int(found[2])):
                with contextlib.suppress(OSError):  # somebody else was quicker
                    about = path.with_suffix(".json")
                    if about.exists():
                        move_over(about, self._path(found[1]).with_suffix(".json"))
                    move_over(path, self._path(found[1]))
                    names.append(found[1])
        return names

    def clear(self) -> None:
        """Remove everything."""
        for path in (*self._folder.glob("*.s16"), *self._folder.glob("*.json")):
            remove(path)

    def check(self, name: str) -> None:
        """Raise ConfigError for what is no name."""
        self._path(name)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"a recording's name is 12 to 32 hexadecimal digits: got {name[:40]!r}")
        return self._folder / f"{name}-{self._pid}.s16"


def flac(sound: Float32) -> bytes:
    """Return mono sound at 16 kHz as a FLAC file."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(sound, -1.0, 1.0), RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def unpacked(data: bytes) -> Float32:
    """Return the sound of a FLAC file that :func:`flac` made. Raises ConfigError for a damaged one."""
    try:
        if soundfile.info(io.BytesIO(data)).frames > MOST_S * RATE_HZ:
            raise ConfigError(f"this recording is longer than {MOST_S / 3600:g} hours")
        sound, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise ConfigError(f"this recording cannot be read: {error}") from None
    if rate != RATE_HZ or sound.ndim != 1:
        raise ConfigError(f"this recording has {rate} Hz: {RATE_HZ} Hz, mono, is needed")
    return np.asarray(sound, np.float32)


def _for_me(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
