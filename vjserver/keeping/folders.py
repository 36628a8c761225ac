"""Folders that appear whole: they are filled beside their place first."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from vjserver.runtime.files import remove
from vjserver.types.errors import ConfigError, OutputError


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
            os.replace(part, folder)
        finally:
            remove(part)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from None
