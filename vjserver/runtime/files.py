"""The user's folder: what this user saved, learnt and recorded lies there, under platformdirs or ``$VJSERVER_DATA``."""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from platformdirs import user_data_path

from vjserver.types.errors import OutputError

TRIES, AGAIN_S = 25, 0.02
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
"""Names that Windows keeps for devices: no file can be called so, whatever its ending."""


def data_folder() -> Path:
    """Return the user's data folder; it may not be there yet."""
    own = os.environ.get("VJSERVER_DATA")
    return Path(own) if own else user_data_path("vjserver", appauthor=False)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader, also after a crash, finds the old one or the new one. Raises OSError.

    Two who write at once each have a part of their own; the last one counts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=f".{path.name[:80]}-", suffix=".part", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(part, 0o644)
        move_over(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise


def move_over(source: Path | str, target: Path) -> None:
    """Have a file or folder take another's place. Raises OSError.

    On Windows that is refused while somebody has the other one open, a virus scanner for instance: it is tried again
    for half a second.
    """
    tries = TRIES if sys.platform == "win32" else 1
    for last in (*[False] * (tries - 1), True):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if last:
                raise
            time.sleep(AGAIN_S)


def put(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all. Raises OutputError."""
    try:
        write_whole(path, data)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there and can be."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Keep a file that is damaged as ``NAME.bad``, or ``NAME.bad2`` and so on; return where. Raises OSError."""
    target, number = path.with_name(f"{path.name}.bad"), 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.bad{number}")
    move_over(path, target)
    return target


def slug_of(name: str) -> str:
    """Return a file's name (no folder, no dot) for what a user calls something; ``""`` where nothing is left of it."""
    letters = "".join(c if c.isalnum() and c.isascii() else "-" for c in name.strip().lower())
    slug = "-".join(filter(None, letters.split("-")))[:60]
    return f"{slug}_" if slug in RESERVED else slug


def at_home(path: Path) -> Path:
    """Return a path whose ``~`` is the user's folder; one of nobody known is left as it is."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path
