"""An SQLite file that outlives kills and full disks: changes go in whole or not at all, what is deleted is gone.

WAL lets a page read while a show writes. ``secure_delete`` writes zeros over what is deleted; :meth:`Database.forget`
also takes it out of the search index and the log.
"""

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vjserver.types.errors import KeepingError
from vjserver.types.text import clean

Row = sqlite3.Row
WAIT_S = 5.0
"""So long one process waits for another's change."""
FORGET_S, AGAIN_S = 3.0, 2.0
ROOM = 1 << 20
"""A disk with less is full."""
_NO_ROOM = ("SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_READONLY")


class FullError(KeepingError):
    """There is no room to write."""


class Database:
    """One file, for any thread. ``tables`` are the statements that make it, ``indices`` its FTS5 tables.

    ``version`` is that of its layout: a file of a newer one is left as it is. Raises KeepingError.
    """

    def __init__(self, path: Path, tables: Sequence[str], version: int = 1, indices: Sequence[str] = ()) -> None:
        self.path, self._tables, self._version, self._indices = path, tuple(tables), version, tuple(indices)
        self._lock = threading.RLock()
        self._again_s: float | None = None
        """When a file that can only be read is to be tried again; None where it can be written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = not path.exists()
            self._db = self._opened(fresh)
            if fresh:
                os.chmod(path, 0o600)
        except (sqlite3.Error, OSError) as error:
            raise KeepingError(f"{path} cannot be opened: {error}") from None

    def _opened(self, fresh: bool) -> sqlite3.Connection:
        uri = self.path.absolute().as_uri()
        db = _connect(f"{uri}?mode=rwc")
        try:
            self._begin(db)
        except sqlite3.Error as error:
            db.close()
            if fresh or _has_log(self.path) or not error.sqlite_errorname.startswith(_NO_ROOM):
                raise
            # On a full disk nothing can be written beside it, and what lies there can still be read.
            self._again_s = time.monotonic() + AGAIN_S
            db = _connect(f"{uri}?immutable=1")
            self._check(db)
        except KeepingError:
            db.close()
            raise
        return db

    def _begin(self, db: sqlite3.Connection) -> None:
        if not self._check(db):
            db.execute("PRAGMA journal_mode = WAL")
            with _whole(db):
                if not self._check(db):  # another process may have been quicker
                    for table in self._tables:
                        db.execute(table)
                    db.execute(f"PRAGMA user_version = {self._version}")
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON", "foreign_keys = ON"):
            db.execute(f"PRAGMA {pragma}").fetchall()
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()

    def _check(self, db: sqlite3.Connection) -> bool:
        """Tell whether the tables are there."""
        found, tables = db.execute("SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
                                   ).fetchone()  # fmt: skip
        if found > self._version:
            raise KeepingError(
                f"{self.path} was written by a newer vjserver (layout {found}, this one knows {self._version}): "
                "it was left as it is"
            )
        if found < self._version and tables:
            raise KeepingError(f"{self.path} is not one of vjserver's: it was left as it is")
        return bool(found == self._version)

    def _look_again(self) -> None:
        """Open a file anew that could only be read, now and then: there may be room again."""
        if self._again_s is not None and time.monotonic() >= self._again_s:
            self._again_s, before = None, self._db
            try:
                self._db = self._opened(fresh=False)
            except (sqlite3.Error, KeepingError):
                self._again_s = time.monotonic() + AGAIN_S
            else:
                before.close()

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """Change something, wholly or not at all. Raises KeepingError."""
        with self._lock:
            self._look_again()
            try:
                with _whole(self._db):
                    yield self._db
            except sqlite3.Error as error:
                kind = FullError if self._is_full(error) else KeepingError
                raise kind(f"{self.path} cannot be written: {error}") from None

    def _is_full(self, error: sqlite3.Error) -> bool:
        """Tell whether the disk is full; that it cannot be written may have other reasons."""
        if not error.sqlite_errorname.startswith(_NO_ROOM):
            return False
        return error.sqlite_errorname.startswith("SQLITE_FULL") or shutil.disk_usage(self.path.parent).free < ROOM

    def rows(self, query: str, *values: Any) -> list[Row]:
        """Return what is asked for. Raises KeepingError."""
        with self._lock:
            self._look_again()
            try:
                return self._db.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise KeepingError(f"{self.path} cannot be read: {error}") from None

    def row(self, query: str, *values: Any) -> Row | None:
        """Return the first row of what is asked for. Raises KeepingError."""
        found = self.rows(query, *values)
        return found[0] if found else None

    def copy(self) -> sqlite3.Connection:
        """Return a copy in memory. Raises KeepingError."""
        with self._lock:
            made = _connect("file::memory:")
            try:
                self._db.backup(made)
            except sqlite3.Error as error:
                made.close()
                raise KeepingError(f"{self.path} cannot be read: {error}") from None
            return made

    def forget(self) -> bool:
        """Take what was deleted or changed out of the search index, the gaps between rows, and the log.

        Return False where a full disk, or somebody who reads, keeps it from that: the next time does it.
        """
        with self._lock:
            try:
                self._empty_log()  # before anything is added: on a full disk that makes room
                with _whole(self._db):
                    for index in self._indices:
                        self._db.execute(f"INSERT INTO {index}({index}) VALUES('optimize')")
                if shutil.disk_usage(self.path.parent).free < 4 * self.path.stat().st_size:
                    self._empty_log()
                    return False
                self._db.execute("VACUUM")
                return self._empty_log()
            except (sqlite3.Error, OSError):
                return False

    def _empty_log(self) -> bool:
        """Bring the log into the file and cut it off; return False where somebody reads all the while."""
        until_s = time.monotonic() + FORGET_S
        while self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > until_s:
                return False
            time.sleep(0.02)
        return True

    def close(self) -> None:
        """Close the file; may be called twice."""
        with self._lock:
            self._db.close()


def _connect(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, timeout=WAIT_S, isolation_level=None, check_same_thread=False, uri=True)
    db.row_factory = sqlite3.Row
    return db


@contextlib.contextmanager
def _whole(db: sqlite3.Connection) -> Iterator[None]:
    """Do all of it, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
            db.execute("ROLLBACK")
        raise


def _has_log(path: Path) -> bool:
    """Tell whether there is a log whose changes an immutable reader would miss."""
    with contextlib.suppress(OSError):
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    return False


def words_of(text: str) -> str:
    """Return what somebody types into a search field as FTS5 asks for it: all of the words, the last may go on."""
    words = [word.replace('"', "") for word in text.split()]
    return " ".join(f'"{word}"*' for word in words if word)[:2000]


def found_by(search: str, row: str, index: str, columns: Sequence[str]) -> tuple[str, list[str]]:
    """Return what follows a WHERE so that only rows are found in which ``search`` stands, and its values.

    ``row`` is the column by which the FTS5 table ``index`` numbers them; an empty search leaves all of them.
    """
    words = words_of(clean(search))
    if not words:
        return "", []
    where, values = f"{row} IN (SELECT rowid FROM {index} WHERE {index} MATCH ?)", [words]
    if not search.isascii():  # scripts without spaces are one word to the index: what stands within it is looked for
        where += "".join(f" OR instr({column}, ?)" for column in columns)
        values += [search.strip()] * len(columns)
    return f" AND ({where})", values
