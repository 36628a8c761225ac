"""What is deleted goes with its files, wholly or not at all; on a full disk the files make room."""

import sqlite3
from collections import namedtuple

import pytest

from vjserver.keeping import database as database_module
from vjserver.keeping.database import Database, FullError
from vjserver.keeping.dreams import Dreams
from vjserver.keeping.media import Media
from vjserver.keeping.notebook import Notebook
from vjserver.types.errors import KeepingError

TABLES = ("CREATE TABLE thing (id INTEGER PRIMARY KEY, file TEXT)",)


@pytest.fixture
def kept(tmp_path):
    database, media = Database(tmp_path / "things.sqlite", TABLES), Media(tmp_path / "media")
    with media.kept((b"sound", "flac"), (b"", "png")) as names, database.change() as db:
        db.execute("INSERT INTO thing VALUES (1, ?)", (names[0],))
    yield database, media, names
    database.close()


def delete(db):
    names = [row["file"] for row in db.execute("SELECT file FROM thing")]
    db.execute("DELETE FROM thing")
    return names


def files(media):
    return [path.name for path in media._folder.iterdir()]


def test_a_file_without_bytes_is_none(kept):
    _, media, names = kept
    assert (names[1], files(media)) == ("", [names[0]])


def test_files_go_again_where_nothing_names_them_after_all(kept):
    _, media, names = kept
    with pytest.raises(ValueError, match="no"), media.kept((b"more", "png")):
        raise ValueError("no")
    assert files(media) == [names[0]]


def test_rows_and_files_go_together(kept):
    database, media, _ = kept
    media.delete(database, delete)
    assert (database.rows("SELECT * FROM thing"), files(media)) == ([], [])


def test_on_a_full_disk_the_files_go_first_and_make_room(kept, monkeypatch):
    database, media, names = kept
    change = Database.change

    def full_until_there_is_room(self):
        if files(media) == [names[0]]:
            raise FullError("no room")
        return change(self)

    monkeypatch.setattr(Database, "change", full_until_there_is_room)
    media.delete(database, delete)
    assert (database.rows("SELECT * FROM thing"), files(media)) == ([], [])


def read_only(database):
    with database.change() as db:
        db.execute("SELECT 1")
    database._db.execute("PRAGMA query_only = ON")


def test_what_can_only_be_read_keeps_its_files(kept):
    database, media, names = kept
    read_only(database)
    with pytest.raises(KeepingError, match="cannot be written") as caught:
        media.delete(database, delete)
    assert not isinstance(caught.value, FullError)
    assert files(media) == [names[0]]


def test_so_do_dreams_and_words(tmp_path):
    dreams, notebook = Dreams(tmp_path / "dreams"), Notebook(tmp_path / "notebook")
    dream = dreams.record(b"fLaC dream", 1.0)
    talk = notebook.talk("en", "de", b"fLaC talk", 1.0, keep=False)
    for keeper, act in ((dreams, lambda: dreams.delete(dream.id)), (notebook, lambda: notebook.drop_talk(talk.id))):
        read_only(keeper._db)
        with pytest.raises(KeepingError):
            act()
        assert len(files(keeper.media)) == 1
        keeper._db._db.execute("PRAGMA query_only = OFF")
        act()
        assert files(keeper.media) == []
        keeper.close()


@pytest.mark.parametrize(
    ("name", "free", "full"),
    [("SQLITE_FULL", 1 << 40, True), ("SQLITE_IOERR_WRITE", 1000, True), ("SQLITE_READONLY", 1 << 40, False),
     ("SQLITE_BUSY", 1000, False)],
)  # fmt: skip
def test_a_disk_is_full_where_sqlite_says_so_or_nothing_is_free(kept, monkeypatch, name, free, full):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(database_module.shutil, "disk_usage", lambda _folder: usage(free))
    error = sqlite3.OperationalError("told")
    error.sqlite_errorname = name
    assert kept[0]._is_full(error) is full
