"""Cards: what a board keeps of each, and the tables that hold them."""

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from vjserver.keeping.database import Database, Row
from vjserver.keeping.texts import kept_text
from vjserver.show.addresses import MAX_NAME, MAX_SEED, MAX_TEXT
from vjserver.types.errors import ConfigError

VERSION = 1
MOST_NOTES, MOST_TITLE = 4000, 120
Heard = Literal["said", "typed", "made"]
Making = Literal["wanted", "made", "failed"]
TABLES = (
    """CREATE TABLE board (id TEXT PRIMARY KEY, name TEXT NOT NULL, style TEXT NOT NULL DEFAULT '',
       negative TEXT NOT NULL DEFAULT '', made_s REAL NOT NULL, changed_s REAL NOT NULL, change INTEGER NOT NULL)""",
    """CREATE TABLE member (board TEXT NOT NULL REFERENCES board ON DELETE CASCADE, name TEXT NOT NULL,
       look TEXT NOT NULL, picture TEXT NOT NULL DEFAULT '', PRIMARY KEY (board, name))""",
    """CREATE TABLE card (id INTEGER PRIMARY KEY AUTOINCREMENT, board TEXT NOT NULL REFERENCES board ON DELETE CASCADE,
       place REAL NOT NULL, text TEXT NOT NULL, said TEXT NOT NULL DEFAULT '', notes TEXT NOT NULL DEFAULT '',
       heard TEXT NOT NULL, who TEXT NOT NULL DEFAULT '', language TEXT NOT NULL DEFAULT '', t_s REAL NOT NULL,
       star INTEGER NOT NULL DEFAULT 0, version INTEGER NOT NULL DEFAULT 0, sound TEXT NOT NULL DEFAULT '',
       sound_s REAL NOT NULL DEFAULT 0, change INTEGER NOT NULL)""",
    """CREATE TABLE version (id INTEGER PRIMARY KEY AUTOINCREMENT, card INTEGER NOT NULL REFERENCES card
       ON DELETE CASCADE, making TEXT NOT NULL, prompt TEXT NOT NULL, negative TEXT NOT NULL DEFAULT '',
       seed INTEGER NOT NULL, generator TEXT NOT NULL, model TEXT NOT NULL DEFAULT '', licence TEXT NOT NULL DEFAULT '',
       look BLOB NOT NULL DEFAULT x'', picture TEXT NOT NULL DEFAULT '', thumb TEXT NOT NULL DEFAULT '',
       why TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0, claimed INTEGER NOT NULL DEFAULT 0,
       t_s REAL NOT NULL)""",
    "CREATE INDEX card_place ON card (board, place, id)",
    "CREATE INDEX version_card ON version (card)",
    "CREATE INDEX version_wanted ON version (making) WHERE making = 'wanted'",
    """CREATE VIRTUAL TABLE card_search USING fts5 (text, said, notes, content = 'card', content_rowid = 'id',
       tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3')""",
    """CREATE TRIGGER card_in AFTER INSERT ON card BEGIN
       INSERT INTO card_search (rowid, text, said, notes) VALUES (new.id, new.text, new.said, new.notes); END""",
    """CREATE TRIGGER card_out AFTER DELETE ON card BEGIN
       INSERT INTO card_search (card_search, rowid, text, said, notes)
       VALUES ('delete', old.id, old.text, old.said, old.notes); END""",
    """CREATE TRIGGER card_new AFTER UPDATE OF text, said, notes ON card BEGIN
       INSERT INTO card_search (card_search, rowid, text, said, notes)
       VALUES ('delete', old.id, old.text, old.said, old.notes);
       INSERT INTO card_search (rowid, text, said, notes) VALUES (new.id, new.text, new.said, new.notes); END""",
)


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody, or a place, that texts of a board name: how it looks, and a picture of it (a name of the media)."""

    name: str
    look: str
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    """A board. ``style`` stands behind every prompt, ``negative`` is what no picture shall be."""

    id: str
    name: str
    style: str = ""
    negative: str = ""
    made_s: float = 0.0
    changed_s: float = 0.0
    change: int = 0
    cards: int = 0
    cast: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True)
class Version:
    """A picture of a card: made, wanted, or failed and ``why``.

    ``prompt`` is what it was made of, board's style and cast included; ``look`` is a whole look (JSON, as in takes).
    """

    id: int = 0
    card: int = 0
    making: Making = "made"
    prompt: str = ""
    negative: str = ""
    seed: int = 0
    generator: str = ""
    model: str = ""
    licence: str = ""
    look: bytes = field(default=b"", repr=False)
    picture: str = ""
    thumb: str = ""
    why: str = ""
    t_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Card:
    """A phrase: ``text`` is what the picture is of, ``said`` the whole sentence; times are seconds since 1970.

    ``versions`` are its pictures, the oldest first; ``version`` is the chosen one's number, 0 where there is none.
    """

    id: int = 0
    board: str = ""
    text: str = ""
    said: str = ""
    notes: str = ""
    heard: Heard = "made"
    who: str = ""
    language: str = ""
    t_s: float = 0.0
    star: bool = False
    version: int = 0
    sound: str = ""
    sound_s: float = 0.0
    change: int = 0
    versions: tuple[Version, ...] = ()

    @property
    def chosen(self) -> Version | None:
        """The version that stands for it: the chosen one, None where no picture was made."""
        return next((one for one in self.versions if one.id == self.version), None)


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it is kept: the file's bytes (JPEG or PNG), and a small JPEG of it."""

    data: bytes
    small: bytes
    ending: str = "jpg"


def media_of(db: sqlite3.Connection, where: str, value: object) -> list[str]:
    """Return the files that cards name."""
    query = f"SELECT version.picture, version.thumb FROM version JOIN card ON card.id = version.card WHERE {where}"
    sounds = db.execute(f"SELECT sound FROM card WHERE {where}", (value,))
    pictures = [name for row in db.execute(query, (value,)) for name in (row["picture"], row["thumb"])]
    return pictures + [row["sound"] for row in sounds]


def board_of(db: sqlite3.Connection, card: int) -> str:
    """Return the board of a card. Raises ConfigError where it is gone."""
    row = db.execute("SELECT board FROM card WHERE id = ?", (card,)).fetchone()
    if row is None:
        raise ConfigError(f"there is no card {card}: it may have been deleted")
    return str(row["board"])


def set_row(db: sqlite3.Connection, table: str, key: int | str, values: Mapping[str, Any]) -> None:
    """Set what is given of a row; what is None stays."""
    given = {name: value for name, value in values.items() if value is not None}
    if given:
        names = ", ".join(f"{name} = ?" for name in given)
        db.execute(f"UPDATE {table} SET {names} WHERE id = ?", (*given.values(), key))


def touch(db: sqlite3.Connection, board: str) -> int:
    """Count a change of a board; return its number. Raises ConfigError where the board is gone."""
    db.execute("UPDATE board SET change = change + 1, changed_s = ? WHERE id = ?", (time.time(), board))
    row = db.execute("SELECT change FROM board WHERE id = ?", (board,)).fetchone()
    if row is None:
        raise ConfigError(f"there is no board {board[:40]!r}: it may have been deleted")
    return int(row["change"])


def places(
    db: sqlite3.Connection, board: str, count: int, before: int | None, moved: Iterable[int] = ()
) -> list[float]:
    """Return places for so many cards before another one, or at the end; numbers all anew where there is no room."""
    moved = set(moved)
    rows = [
        (row["id"], row["place"])
        for row in db.execute("SELECT id, place FROM card WHERE board = ? ORDER BY place, id", (board,))
        if row["id"] not in moved
    ] if before is not None or moved else []  # fmt: skip
    if before is None:
        last = rows[-1][1] if rows else None
        if last is None:
            last = db.execute("SELECT max(place) AS place FROM card WHERE board = ?", (board,)).fetchone()["place"]
        return [(0.0 if last is None else last) + 1.0 + i for i in range(count)]
    for _ in range(2):
        at = next((i for i, row in enumerate(rows) if row[0] == before), -1)
        if at < 0:
            raise ConfigError(f"card {before} is not on this board any more: nothing was moved")
        high = rows[at][1]
        low = rows[at - 1][1] if at else high - count - 1.0
        step = (high - low) / (count + 1)
        places = [low + step * (i + 1) for i in range(count)]
        if step > 1e-9 * max(1.0, abs(high)) and places[0] > low and places[-1] < high:
            return places
        rows = [(one, float(i)) for i, (one, _) in enumerate(rows)]
        db.executemany("UPDATE card SET place = ? WHERE id = ?", [(place, one) for one, place in rows])
    raise AssertionError("numbered anew, there is room")


def check_version(version: Version) -> None:
    """Raise ConfigError for a version that makes no sense."""
    kept_text(version.prompt, 4 * MAX_TEXT, "a prompt")
    if not 0 <= version.seed <= MAX_SEED:
        raise ConfigError(f"a seed is in 0..{MAX_SEED}: got {version.seed}")
    if not version.generator:
        raise ConfigError("who makes the picture? Name a generator")


def board_of_row(row: Row) -> Board:
    """Return the board that a row of the database is."""
    return Board(**{name: row[name] for name in row.keys()})  # noqa: SIM118 - a Row is not a dictionary


def version_of_row(row: Row) -> Version:
    """Return the version that a row of the database is."""
    return Version(**{name: row[name] for name in row.keys() if name not in ("tries", "claimed")})  # noqa: SIM118


def card_of_row(row: Row, versions: Sequence[Version]) -> Card:
    """Return the card that a row of the database is."""
    fields: Mapping[str, Any] = {name: row[name] for name in row.keys() if name not in ("place", "star")}  # noqa: SIM118
    return Card(**fields, star=bool(row["star"]), versions=tuple(versions))


def insert_card(db: sqlite3.Connection, board: str, place: float, card: Card, change: int) -> int:
    """Write a card at its place on a board; return its number."""
    return int(db.execute(
        "INSERT INTO card (board, place, text, said, notes, heard, who, language, t_s, star, sound, sound_s, change) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (board, place, card.text, card.said, card.notes, card.heard, card.who[:MAX_NAME], card.language[:12],
         card.t_s or time.time(), card.star, card.sound, card.sound_s, change),
    ).lastrowid or 0)  # fmt: skip


def insert_version(db: sqlite3.Connection, card: int, version: Version) -> int:
    """Write a version of a card; return its number."""
    return int(db.execute(
        "INSERT INTO version (card, making, prompt, negative, seed, generator, model, licence, look, picture, "
        "thumb, why, t_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (card, version.making, version.prompt, version.negative, version.seed, version.generator, version.model,
         version.licence, version.look, version.picture, version.thumb, version.why, version.t_s or time.time()),
    ).lastrowid or 0)  # fmt: skip


def with_versions(database: Database, rows: Sequence[Row], board: str = "") -> list[Card]:
    """Return the cards that rows are, with their versions; ``board`` where they are all of one."""
    query = "SELECT version.* FROM version "
    if board:
        found = database.rows(f"{query} JOIN card ON card.id = version.card WHERE card.board = ? ORDER BY id", board)
    else:
        marks = ", ".join("?" * len(rows))
        found = database.rows(f"{query} WHERE card IN ({marks}) ORDER BY id", *(row["id"] for row in rows))
    of: dict[int, list[Version]] = {}
    for row in found:
        of.setdefault(row["card"], []).append(version_of_row(row))
    return [card_of_row(row, of.get(row["id"], ())) for row in rows]
