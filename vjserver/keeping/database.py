"""An SQLite file that outlives kills and full disks: changes go in whole or not at all, what is deleted is gone.

WAL lets a page read while a show writes. ``secure_delete`` writes zeros over what is deleted; :meth:`Database.forget`
also takes it out of the search index and the log.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vjserver.types.errors import KeepingError

Row = sqlite3.Row
WAIT_S = 5.0
"""So long one process waits for another's change."""


class Database:
    """One file, for any thread. ``tables`` are the statements that make it, ``indices`` its FTS5 tables.

    ``version`` is that of its layout: a file of a newer one is left as it is. Raises KeepingError.
    """

    def __init__(self, path: Path, tables: Sequence[str], version: int = 1, indices: Sequence[str] = ()) -> None:
        self.path, self._indices = path, tuple(indices)
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = not path.exists()
            self._db = self._open(f"{path.absolute().as_uri()}?mode=rwc")
            try:
                self._begin(tables, version)
            except sqlite3.Error:
                self._db.close()
                if fresh or _has_log(path):
                    raise
                # On a full disk nothing can be written beside it, and what lies there can still be read.
                self._db = self._open(f"{path.absolute().as_uri()}?immutable=1")
                self._check(version)
            if fresh:
                os.chmod(path, 0o600)
        except (sqlite3.Error, OSError) as error:
            with contextlib.suppress(AttributeError):
                self._db.close()
            raise KeepingError(f"{path} cannot be opened: {error}") from None

    @staticmethod
    def _open(uri: str) -> sqlite3.Connection:
        db = sqlite3.connect(uri, timeout=WAIT_S, isolation_level=None, check_same_thread=False, uri=True)
        db.row_factory = sqlite3.Row
        return db

    def _begin(self, tables: Sequence[str], version: int) -> None:
        if not self._check(version):
            self._db.execute("PRAGMA journal_mode = WAL")
            with self.change() as db:
                if not self._check(version):  # another process may have been quicker
                    for table in tables:
                        db.execute(table)
                    db.execute(f"PRAGMA user_version = {version}")
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON", "foreign_keys = ON"):
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def _check(self, version: int) -> bool:
        """Tell whether the tables are there."""
        found = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if found > version:
            self._db.close()
            raise KeepingError(
                f"{self.path} was written by a newer vjserver (layout {found}, this one knows {version}): "
                "it was left as it is"
            )
        if found < version and self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            self._db.close()
            raise KeepingError(f"{self.path} is not one of vjserver's: it was left as it is")
        return found == version

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Change something, wholly or not at all. Raises KeepingError."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                        self._db.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise KeepingError(f"{self.path} cannot be written: {error}") from None

    def rows(self, query: str, *values: Any) -> list[Row]:
        """Return what is asked for. Raises KeepingError."""
        with self._lock:
            try:
                return self._db.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise KeepingError(f"{self.path} cannot be read: {error}") from None

    def row(self, query: str, *values: Any) -> Row | None:
        """Return the first row of what is asked for. Raises KeepingError."""
        found = self.rows(query, *values)
        return found[0] if found else None

    def forget(self) -> None:
        """Take what was deleted out of the search index and the log. Raises KeepingError."""
        with self.change() as db:
            for index in self._indices:
                db.execute(f"INSERT INTO {index}({index}) VALUES('optimize')")
        with self._lock:
            try:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as error:
                raise KeepingError(f"{self.path} cannot be written: {error}") from None

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self._lock:
            self._db.close()


def _has_log(path: Path) -> bool:
    """Tell whether there is a log whose changes an immutable reader would miss."""
    with contextlib.suppress(OSError):
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    return False


def words_of(text: str) -> str:
    """Return what somebody types into a search field as FTS5 asks for it: all of the words, the last may go on."""
    words = [word.replace('"', "") for word in text.split()]
    return " ".join(f'"{word}"*' for word in words if word)[:2000]
