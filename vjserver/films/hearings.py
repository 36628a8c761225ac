"""Hearings that are kept: a song is heard once, and found again by what is in it."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

from platformdirs import user_cache_path

from vjserver.dsp.hindsight import Beats
from vjserver.dsp.options import EarOptions
from vjserver.films.song import Song
from vjserver.runtime.files import move_over
from vjserver.stages.offline.hearing import VERSION, EarMode, Hearing
from vjserver.stages.offline.listening import hear_song
from vjserver.types.audio import Float32
from vjserver.types.errors import ConfigError

KEPT = 60
"""So many songs are kept."""


def cache_folder() -> Path:
    """Return the folder of what was heard."""
    return user_cache_path("vjserver", appauthor=False) / "songs"


def heard(
    song: Song, ear: EarOptions, mode: EarMode, beats: Beats | None, progress: Callable[[float], None]
) -> Path:  # fmt: skip
    """Return the folder of what is heard in a song, heard now or before. ``progress`` is told how much of it, 0..1.

    Raises ConfigError where that cannot be kept, DeviceError for a song that cannot be read.
    """
    about = (VERSION, song.digest, ear.model_dump_json(), mode, beats)
    folder = cache_folder() / sha256(repr(about).encode()).hexdigest()[:32]
    if _is_whole(folder):
        with contextlib.suppress(OSError):
            os.utime(folder)
        return folder
    part = folder.with_name(f"{folder.name}.part{os.getpid()}")
    try:
        part.mkdir(parents=True, exist_ok=True)
        hear_song(_watched(song, progress), song.rate_hz, ear, mode, beats, part)
        if folder.exists():
            shutil.rmtree(folder)
        move_over(part, folder)
    except OSError as error:
        raise ConfigError(f"what is heard cannot be kept in {folder.parent}: {error.strerror}") from None
    finally:
        if part.exists():
            shutil.rmtree(part, ignore_errors=True)
    _make_room(folder.parent)
    return folder


def _watched(song: Song, progress: Callable[[float], None]) -> Iterator[Float32]:
    done = 0
    for block in song.blocks():
        yield block
        done += len(block)
        progress(done / song.samples)


def _is_whole(folder: Path) -> bool:
    try:
        Hearing.load(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def _make_room(folder: Path) -> None:
    with contextlib.suppress(OSError):
        rows = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda p: p.stat().st_mtime)
        for old in rows[: max(0, len(rows) - KEPT)]:
            shutil.rmtree(old, ignore_errors=True)
