"""Folders to take away: they appear whole, filled beside their place first; and the JSON in them, read with care."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from vjserver.runtime.files import move_over, remove
from vjserver.types.errors import ConfigError, OutputError

_Kind = TypeVar("_Kind", bound=msgspec.Struct)


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Have a folder filled that is not there yet; it appears whole. Raises ConfigError, OutputError."""
    if folder.exists():
        raise ConfigError(f"{folder} is there already: give another name, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name[:60]}-", suffix=".part", dir=folder.parent))
        try:
            fill(part)
            part.chmod(0o755)
            move_over(part, folder)
        finally:
            remove(part)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from None


def read_json(path: Path, kind: type[_Kind], name: str, version: int, largest: int) -> _Kind:
    """Read a file that says its ``format`` (``name``) and ``version``. Raises ConfigError for another one."""
    what = name.rpartition(" ")[2]
    try:
        if path.exists() and (not path.is_file() or path.stat().st_size > largest):
            raise ConfigError(f"{path} is no file, or too large for a {what}: {largest >> 20} MiB at most")
        whole = msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise ConfigError(f"{path} is no {what}: {error}") from None
    found, its = str(getattr(whole, "format", ""))[:40], getattr(whole, "version", 0)
    if found != name or its != version:
        raise ConfigError(
            f"{path} is {found!r} of version {its}: {name!r} of version {version} is needed; nothing was taken in"
        )
    return whole
