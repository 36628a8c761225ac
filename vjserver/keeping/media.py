"""Pictures and sounds that belong to what is kept: bytes go in, a name comes out; what nobody names any more goes."""

import contextlib
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from vjserver.keeping.database import Database, FullError
from vjserver.runtime.files import remove, write_whole
from vjserver.types.errors import KeepingError

_NAME = re.compile(r"[a-z0-9]{16}\.(jpg|png|flac)")
SAFE_S = 600.0
"""A file so young may belong to a row that is about to be written."""


class Media:
    """A folder of files with names of their own, which tell nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes, ending: str) -> str:
        """Keep a file (``jpg``, ``png`` or ``flac``); return its name. Raises KeepingError."""
        name = f"{secrets.token_hex(8)}.{ending}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(self._folder / name, data)
            (self._folder / name).chmod(0o600)
        except OSError as error:
            remove(self._folder / name)
            raise KeepingError(f"{self._folder} cannot be written: {error.strerror}") from None
        return name

    @contextlib.contextmanager
    def kept(self, *files: tuple[bytes, str]) -> Iterator[list[str]]:
        """Keep files (bytes and ending) while a change is made that names them; where that fails they go again.

        The name of one without bytes is empty.
        """
        names: list[str] = []
        try:
            for data, ending in files:
                names.append(self.put(data, ending) if data else "")
            yield names
        except BaseException:
            self.drop(names)
            raise

    def delete(self, database: Database, rows: Callable[[sqlite3.Connection], list[str]]) -> None:
        """Delete rows, which names their files, and then those; on a full disk the files first: that makes room.

        Nothing of it is left in the database either.
        """
        try:
            with database.change() as db:
                names = rows(db)
        except FullError:
            with contextlib.closing(database.copy()) as db:  # in memory: nothing can be written
                names = rows(db)
            self.drop(names)
            with database.change() as db:
                names = rows(db)
        self.drop(names)
        database.forget()

    def path(self, name: str) -> Path | None:
        """Return where a file is, None where there is none of that name."""
        path = self._folder / name
        return path if _NAME.fullmatch(name) and path.is_file() else None

    def read(self, name: str) -> bytes:
        """Return a file's bytes, ``b""`` where it is not there."""
        path = self.path(name)
        try:
            return path.read_bytes() if path is not None else b""
        except OSError:
            return b""

    def drop(self, names: Iterable[str]) -> None:
        """Remove files."""
        for name in names:
            path = self.path(name)
            if path is not None:
                remove(path)

    def clear(self) -> None:
        """Remove everything."""
        for path in self._folder.glob("*"):
            remove(path)

    def sweep(self, named: Iterable[str]) -> int:
        """Remove files that nobody names, left by a process that was killed; return how many."""
        keep, count = set(named), 0
        try:
            files = list(self._folder.iterdir())
        except OSError:
            return 0
        for path in files:
            try:
                old = time.time() - path.stat().st_mtime > SAFE_S
            except OSError:
                continue
            if old and path.name not in keep and (_NAME.fullmatch(path.name) or path.name.endswith(".part")):
                remove(path)
                count += 1
        return count
