"""The user's folder: what this user saved, learnt and recorded lies there, under platformdirs or ``$VJSERVER_DATA``."""

import os
from pathlib import Path

from platformdirs import user_data_path


def data_folder() -> Path:
    """Return the user's data folder; it may not be there yet."""
    own = os.environ.get("VJSERVER_DATA")
    return Path(own) if own else user_data_path("vjserver", appauthor=False)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader, also after a crash, finds the old one or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    os.replace(part, path)


def slug_of(name: str) -> str:
    """Return a file's name (no folder, no dot) for what a user calls something; ``""`` where nothing is left of it."""
    letters = "".join(c if c.isalnum() and c.isascii() else "-" for c in name.strip().lower())
    return "-".join(filter(None, letters.split("-")))[:60]
