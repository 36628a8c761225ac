"""Boards: what was said or typed, and the pictures of it, as cards; in order, with versions, a style and a cast.

    DATA/boards/boards.sqlite     boards, members of their casts, cards, versions, and a search index
    DATA/boards/media/            pictures and sounds

Several processes use it at once: the show adds cards, pages change them, the studio makes versions that are wanted.
Each change of a board counts up its ``change``, by which a page sees that there is something new.
"""

import contextlib
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from psutil import pid_exists

from vjserver.keeping.database import Database, FullError, Row, words_of
from vjserver.keeping.media import Media
from vjserver.keeping.said import SaidSounds
from vjserver.keeping.texts import kept_text
from vjserver.runtime.files import data_folder
from vjserver.show.addresses import MAX_NAME, MAX_SEED, MAX_TEXT
from vjserver.types.errors import ConfigError
from vjserver.types.text import clean

VERSION = 1
MOST_CARDS, MOST_BOARDS, MOST_CAST, MOST_VERSIONS = 20_000, 1000, 64, 200
MOST_NOTES, MOST_TITLE = 4000, 120
MOST_WINDOW = 300
TRIES = 2
"""So often a version is tried whose making ended the studio."""
TONIGHT_S = 12 * 3600.0
"""A board to which nothing came for so long is another night's."""
Heard = Literal["said", "typed", "made"]
Making = Literal["wanted", "made", "failed"]
_TABLES = (
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


class Boards:
    """All boards of this user. Raises KeepingError where the disk does, ConfigError for what makes no sense."""

    def __init__(self, folder: Path | None = None, most: int = MOST_BOARDS) -> None:
        self.folder, self._most = folder if folder is not None else data_folder() / "boards", most
        self._db = Database(self.folder / "boards.sqlite", _TABLES, VERSION, ("card_search",))
        self.media = Media(self.folder / "media")
        self.said = SaidSounds(self.folder / "said")

    def close(self) -> None:
        """Close it; may be called twice."""
        self._db.close()

    def sweep(self) -> int:
        """Remove files that belong to nothing, and traces of what was deleted; return how many files."""
        self.said.sweep()
        self._db.forget()
        names = self._db.rows(
            "SELECT picture AS name FROM version UNION SELECT thumb FROM version UNION SELECT sound FROM card "
            "UNION SELECT picture FROM member"
        )
        return self.media.sweep(row["name"] for row in names)

    # -- boards --------------------------------------------------------------------------------------------

    def boards(self) -> list[Board]:
        """Return all boards, the one that was changed last first, without their casts."""
        rows = self._db.rows(
            "SELECT *, (SELECT count(*) FROM card WHERE board = board.id) AS cards FROM board "
            "ORDER BY changed_s DESC, id"
        )
        return [_board(row) for row in rows]

    def board(self, board: str) -> Board:
        """Return a board by its number."""
        row = self._db.row(
            "SELECT *, (SELECT count(*) FROM card WHERE board = board.id) AS cards FROM board WHERE id = ?", board
        )
        if row is None:
            raise ConfigError(f"there is no board {board[:40]!r}: it may have been deleted")
        cast = self._db.rows("SELECT * FROM member WHERE board = ? ORDER BY name", board)
        return replace(_board(row), cast=tuple(Member(one["name"], one["look"], one["picture"]) for one in cast))

    def find(self, name: str) -> Board:
        """Return a board by its number or its name; of several of one name the newest."""
        rows = self._db.rows("SELECT id FROM board WHERE id = ? OR name = ? ORDER BY changed_s DESC", name, name)
        if not rows:
            known = ", ".join(one.name for one in self.boards()[:8]) or "none"
            raise ConfigError(f"there is no board {name[:60]!r}; there are: {known}")
        return self.board(rows[0]["id"])

    def make(self, name: str, style: str = "", negative: str = "") -> Board:
        """Make a board."""
        name = kept_text(name, MOST_TITLE, "a board's name", 1)
        style, negative = (kept_text(one, MAX_TEXT, "a style") for one in (style, negative))
        now_s, board = time.time(), secrets.token_hex(6)
        with self._db.change() as db:
            if db.execute("SELECT count(*) FROM board").fetchone()[0] >= self._most:
                raise ConfigError(f"there are {self._most} boards: delete one first")
            db.execute(
                "INSERT INTO board VALUES (?, ?, ?, ?, ?, ?, 1)", (board, name, style, negative, now_s, now_s)
            )  # fmt: skip
        return self.board(board)

    def tonight(self, name: str) -> Board:
        """Return the board that cards of a show go to: where the last one went, or a newer board; else a new one.

        One that lies twelve hours back is another night's.
        """
        row = self._db.row(
            "SELECT id, max(made_s, coalesce((SELECT max(t_s) FROM card WHERE board = board.id "
            "AND heard != 'made' AND t_s <= ?), 0)) AS last_s FROM board ORDER BY last_s DESC LIMIT 1",
            time.time() + 60.0,
        )
        if row is not None and time.time() - row["last_s"] < TONIGHT_S:
            return self.board(row["id"])
        return self.make(name)

    def edit(self, board: str, name: str | None = None, style: str | None = None, negative: str | None = None) -> Board:
        """Change a board's name, style or negative prompt: what is None stays."""
        values = {
            "name": None if name is None else kept_text(name, MOST_TITLE, "a board's name", 1),
            "style": None if style is None else kept_text(style, MAX_TEXT, "a style"),
            "negative": None if negative is None else kept_text(negative, MAX_TEXT, "a negative prompt"),
        }
        with self._db.change() as db:
            _touch(db, board)
            _set(db, "board", board, values)
        self._db.forget()
        return self.board(board)

    def cast(self, board: str, name: str, look: str, picture: bytes | None = None, ending: str = "png") -> Board:
        """Say how somebody looks, with a picture if there is one; an empty look takes him out of the cast."""
        name, look = kept_text(name, MAX_NAME, "a name", 1), kept_text(look, MAX_TEXT, "a look")
        with self._kept([(picture, ending)] if picture and look else []) as names, self._db.change() as db:
            _touch(db, board)
            old = db.execute("SELECT picture FROM member WHERE board = ? AND name = ?", (board, name)).fetchone()
            count = db.execute("SELECT count(*) FROM member WHERE board = ?", (board,)).fetchone()[0]
            before = old["picture"] if old is not None else ""
            if not look:
                db.execute("DELETE FROM member WHERE board = ? AND name = ?", (board, name))
            elif old is None and count >= MOST_CAST:
                raise ConfigError(f"a cast has at most {MOST_CAST} members")
            else:
                row = (board, name, look, names[0] if names else before)
                db.execute("INSERT OR REPLACE INTO member VALUES (?, ?, ?, ?)", row)
        if names or not look:
            self.media.drop([before])
        self._db.forget()
        return self.board(board)

    @contextlib.contextmanager
    def _kept(self, files: Sequence[tuple[bytes, str]]) -> Iterator[list[str]]:
        """Keep files while a change is made that names them; where that fails they go again."""
        names: list[str] = []
        try:
            for data, ending in files:
                names.append(self.media.put(data, ending))
            yield names
        except BaseException:
            self.media.drop(names)
            raise

    def delete_board(self, board: str) -> None:
        """Delete a board, its cards, pictures and sounds."""
        self.board(board)

        def rows(db: sqlite3.Connection) -> list[str]:
            names = _media_of(db, "card.board = ?", board)
            names += [row["picture"] for row in db.execute("SELECT picture FROM member WHERE board = ?", (board,))]
            db.execute("DELETE FROM card WHERE board = ?", (board,))  # not by the cascade alone: the index hears of it
            db.execute("DELETE FROM board WHERE id = ?", (board,))
            return names

        self._delete(rows)

    def _delete(self, rows: Callable[[sqlite3.Connection], list[str]]) -> None:
        """Delete rows, and then the files that they named; on a full disk the files first, since that makes room."""
        try:
            with self._db.change() as db:
                names = rows(db)
        except FullError:
            self.media.drop(self._named_by(rows))
            with self._db.change() as db:
                names = rows(db)
        self.media.drop(names)
        self._db.forget()

    def _named_by(self, rows: Callable[[sqlite3.Connection], list[str]]) -> list[str]:
        """Return which files a deletion would take, in memory, where nothing can be written."""
        with contextlib.closing(self._db.copy()) as db:
            return rows(db)

    def delete_all(self) -> None:
        """Delete everything."""
        for one in self.boards():
            self.delete_board(one.id)
        self.media.clear()
        self.said.sweep(all_of_it=True)

    # -- cards ---------------------------------------------------------------------------------------------

    def add(self, board: str, card: Card, before: int | None = None) -> Card:
        """Add a card at the end, or before another one; its versions are not taken."""
        text = kept_text(card.text, MAX_TEXT, "a card's text", 1)
        said, notes = kept_text(card.said, MAX_TEXT, "a sentence"), kept_text(card.notes, MOST_NOTES, "notes")
        with self._db.change() as db:
            change = _touch(db, board)
            if db.execute("SELECT count(*) FROM card WHERE board = ?", (board,)).fetchone()[0] >= MOST_CARDS:
                raise ConfigError(f"a board has at most {MOST_CARDS} cards: begin another one")
            place = _places(db, board, 1, before)[0]
            number = db.execute(
                "INSERT INTO card (board, place, text, said, notes, heard, who, language, t_s, star, sound, sound_s, "
                "change) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (board, place, text, said, notes, card.heard, card.who[:MAX_NAME], card.language[:12],
                 card.t_s or time.time(), card.star, card.sound, card.sound_s, change),
            ).lastrowid  # fmt: skip
        return self.card(int(number or 0))

    def card(self, card: int) -> Card:
        """Return a card with its versions."""
        row = self._db.row("SELECT * FROM card WHERE id = ?", card)
        if row is None:
            raise ConfigError(f"there is no card {card}: it may have been deleted")
        return self._with_versions([row])[0]

    def cards(self, board: str) -> list[Card]:
        """Return all cards of a board in order, with their versions."""
        self.board(board)
        return self._with_versions(self._db.rows("SELECT * FROM card WHERE board = ? ORDER BY place, id", board), board)

    def window(
        self, board: str, offset: int, count: int, search: str = "", starred: bool = False
    ) -> tuple[int, list[Card]]:
        """Return how many cards match, and ``count`` (300 at most) of them from ``offset`` on."""
        where, values = "card.board = ?", [board]
        if starred:
            where += " AND star"
        words = words_of(clean(search))
        if words:
            # Scripts without spaces are one word to the index: what stands within it is looked for as it is.
            where += " AND (card.id IN (SELECT rowid FROM card_search WHERE card_search MATCH ?)"
            values.append(words)
            if not search.isascii():
                where += " OR instr(text, ?) OR instr(said, ?) OR instr(notes, ?)"
                values += [search.strip()] * 3
            where += ")"
        total = self._db.rows(f"SELECT count(*) AS n FROM card WHERE {where}", *values)[0]["n"]
        rows = self._db.rows(
            f"SELECT * FROM card WHERE {where} ORDER BY place, id LIMIT ? OFFSET ?",
            *values, max(0, min(count, MOST_WINDOW)), max(0, offset),
        )  # fmt: skip
        return total, self._with_versions(rows)

    def change_of(self, board: str) -> int:
        """Return how often a board was changed; -1 where it is gone."""
        row = self._db.row("SELECT change FROM board WHERE id = ?", board)
        return row["change"] if row is not None else -1

    def write(
        self,
        card: int,
        text: str | None = None,
        notes: str | None = None,
        star: bool | None = None,
        version: int | None = None,
    ) -> Card:
        """Change a card: what is None stays. ``version`` chooses one of its pictures."""
        values = {
            "text": None if text is None else kept_text(text, MAX_TEXT, "a card's text", 1),
            "notes": None if notes is None else kept_text(notes, MOST_NOTES, "notes"),
            "star": star,
            "version": version,
        }
        with self._db.change() as db:
            change = _touch(db, _board_of(db, card))
            query = "SELECT count(*) FROM version WHERE id = ? AND card = ? AND making = 'made'"
            if version is not None and not db.execute(query, (version, card)).fetchone()[0]:
                raise ConfigError(f"card {card} has no picture {version}")
            _set(db, "card", card, {**values, "change": change})
        if text is not None or notes is not None:
            self._db.forget()
        return self.card(card)

    def hear(self, card: int, said: str, who: str, language: str) -> Card:
        """Write down the whole sentence that a card came from, and who said it in which language."""
        said = kept_text(said, MAX_TEXT, "a sentence")
        with self._db.change() as db:
            values = {"said": said, "who": who[:MAX_NAME], "language": language[:12]}
            _set(db, "card", card, {**values, "change": _touch(db, _board_of(db, card))})
        return self.card(card)

    def keep_sound(self, card: int, flac: bytes, seconds: float) -> Card:
        """Keep the sound of what was said."""
        with self._kept([(flac, "flac")]) as names, self._db.change() as db:
            change = _touch(db, _board_of(db, card))
            old = db.execute("SELECT sound FROM card WHERE id = ?", (card,)).fetchone()["sound"]
            _set(db, "card", card, {"sound": names[0], "sound_s": seconds, "change": change})
        self.media.drop([old])
        return self.card(card)

    def move(self, board: str, cards: Sequence[int], before: int | None) -> None:
        """Put cards, in this order, before another one, or at the end; all at once, or not at all."""
        moved = list(dict.fromkeys(cards))
        if before in moved:
            raise ConfigError("cards cannot be put before one of themselves")
        with self._db.change() as db:
            change = _touch(db, board)
            here = {row[0] for row in db.execute("SELECT id FROM card WHERE board = ?", (board,))}
            gone = [one for one in (*moved, *([before] if before is not None else [])) if one not in here]
            if gone:
                raise ConfigError(f"card {gone[0]} is not on this board any more: nothing was moved")
            places = _places(db, board, len(moved), before, moved)
            db.executemany(
                "UPDATE card SET place = ?, change = ? WHERE id = ?",
                [(place, change, one) for place, one in zip(places, moved, strict=True)],
            )

    def delete(self, cards: Sequence[int]) -> None:
        """Delete cards: rows, search entries, pictures and sounds. Those that are gone already are no fault."""

        def rows(db: sqlite3.Connection) -> list[str]:
            names = []
            for card in cards:
                found = db.execute("SELECT board FROM card WHERE id = ?", (card,)).fetchone()
                if found is not None:
                    _touch(db, found["board"])
                    names += _media_of(db, "card.id = ?", card)
                    db.execute("DELETE FROM card WHERE id = ?", (card,))
            return names

        self._delete(rows)

    # -- versions ------------------------------------------------------------------------------------------

    def want(self, card: int, version: Version) -> Card:
        """Have a picture made: the studio does it; a card may want one at a time."""
        return self._add_version(card, replace(version, making="wanted", picture="", thumb="", why=""))

    def put(self, card: int, version: Version, picture: Picture) -> Card:
        """Add a picture that was made; it becomes the chosen one."""
        with self._kept([(picture.data, picture.ending), (picture.small, "jpg")]) as names:
            return self._add_version(card, replace(version, making="made", picture=names[0], thumb=names[1]))

    def _add_version(self, card: int, version: Version) -> Card:
        _check_version(version)
        with self._db.change() as db:
            change = _touch(db, _board_of(db, card))
            if db.execute("SELECT count(*) FROM version WHERE card = ?", (card,)).fetchone()[0] >= MOST_VERSIONS:
                raise ConfigError(f"a card has at most {MOST_VERSIONS} pictures")
            if version.making == "wanted":  # whoever asks again before the first is made means the newer one
                db.execute("DELETE FROM version WHERE card = ? AND making = 'wanted'", (card,))
            number = db.execute(
                "INSERT INTO version (card, making, prompt, negative, seed, generator, model, licence, look, picture, "
                "thumb, why, t_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (card, version.making, version.prompt, version.negative, version.seed, version.generator,
                 version.model, version.licence, version.look, version.picture, version.thumb, version.why,
                 version.t_s or time.time()),
            ).lastrowid  # fmt: skip
            _set(db, "card", card, {"version": number if version.making == "made" else None, "change": change})
        return self.card(card)

    def wanted(self) -> int:
        """Return how many pictures wait for the studio."""
        return int(self._db.rows("SELECT count(*) AS n FROM version WHERE making = 'wanted'")[0]["n"])

    def next_wanted(self) -> Version | None:
        """Return the picture that has waited longest, which is then this process's to make; None for none.

        One whose making ended a studio twice has failed.
        """
        while True:
            with self._db.change() as db:
                rows = db.execute("SELECT * FROM version WHERE making = 'wanted' ORDER BY id").fetchall()
                free = (row for row in rows if row["claimed"] in (0, os.getpid()) or not pid_exists(row["claimed"]))
                row = next(free, None)
                if row is None:
                    return None
                if row["tries"] < TRIES:
                    _set(db, "version", row["id"], {"tries": row["tries"] + 1, "claimed": os.getpid()})
                    return _version(row)
            self.fail(row["id"], "making it ended the studio twice")

    def done(self, version: int, picture: Picture, licence: str, why: str = "") -> bool:
        """A picture that was wanted is made; return False where nobody wants it any more.

        ``why`` says what is not as it was asked for, where something is not.
        """
        with self._kept([(picture.data, picture.ending), (picture.small, "jpg")]) as names, self._db.change() as db:
            query = "SELECT card FROM version WHERE id = ? AND making != 'made'"
            row = db.execute(query, (version,)).fetchone()
            if row is not None:
                made = {
                    "making": "made",
                    "picture": names[0],
                    "thumb": names[1],
                    "licence": licence,
                    "why": clean(why)[:500],
                }
                _set(db, "version", version, made)
                change = _touch(db, _board_of(db, row["card"]))
                _set(db, "card", row["card"], {"version": version, "change": change})
        if row is None:
            self.media.drop(names)
        return row is not None

    def fail(self, version: int, why: str) -> None:
        """A picture that was wanted cannot be made: the card stays as it is, and says why."""
        with self._db.change() as db:
            row = db.execute(
                "SELECT card.id, card.board FROM version JOIN card ON card.id = version.card WHERE version.id = ?",
                (version,),
            ).fetchone()
            if row is not None:
                db.execute("UPDATE version SET making = 'failed', why = ? WHERE id = ?", (clean(why)[:500], version))
                db.execute("UPDATE card SET change = ? WHERE id = ?", (_touch(db, row["board"]), row["id"]))

    def drop_version(self, version: int) -> None:
        """Delete one picture of a card; the newest that is left is chosen."""
        with self._db.change() as db:
            row = db.execute("SELECT * FROM version WHERE id = ?", (version,)).fetchone()
            if row is None:
                raise ConfigError(f"there is no picture {version}: it may have been deleted")
            change = _touch(db, _board_of(db, row["card"]))
            db.execute("DELETE FROM version WHERE id = ?", (version,))
            chosen = db.execute("SELECT version FROM card WHERE id = ?", (row["card"],)).fetchone()["version"]
            if chosen == version:
                query = "SELECT max(id) AS id FROM version WHERE card = ? AND making = 'made'"
                chosen = db.execute(query, (row["card"],)).fetchone()["id"] or 0
            _set(db, "card", row["card"], {"version": chosen, "change": change})
        self.media.drop([row["picture"], row["thumb"]])
        self._db.forget()

    # -- rows ----------------------------------------------------------------------------------------------

    def _with_versions(self, rows: Sequence[Row], board: str = "") -> list[Card]:
        ids = [row["id"] for row in rows]
        query = "SELECT version.* FROM version "
        if board:
            found = self._db.rows(
                f"{query} JOIN card ON card.id = version.card WHERE card.board = ? ORDER BY id", board
            )
        else:
            marks = ", ".join("?" * len(ids))
            found = self._db.rows(f"{query} WHERE card IN ({marks}) ORDER BY id", *ids)
        of: dict[int, list[Version]] = {}
        for row in found:
            of.setdefault(row["card"], []).append(_version(row))
        return [_card(row, of.get(row["id"], ())) for row in rows]


def _media_of(db: sqlite3.Connection, where: str, value: object) -> list[str]:
    """Return the files that cards name."""
    query = f"SELECT version.picture, version.thumb FROM version JOIN card ON card.id = version.card WHERE {where}"
    sounds = db.execute(f"SELECT sound FROM card WHERE {where}", (value,))
    pictures = [name for row in db.execute(query, (value,)) for name in (row["picture"], row["thumb"])]
    return pictures + [row["sound"] for row in sounds]


def _board_of(db: sqlite3.Connection, card: int) -> str:
    """Return the board of a card. Raises ConfigError where it is gone."""
    row = db.execute("SELECT board FROM card WHERE id = ?", (card,)).fetchone()
    if row is None:
        raise ConfigError(f"there is no card {card}: it may have been deleted")
    return str(row["board"])


def _set(db: sqlite3.Connection, table: str, key: int | str, values: Mapping[str, Any]) -> None:
    """Set what is given of a row; what is None stays."""
    given = {name: value for name, value in values.items() if value is not None}
    if given:
        names = ", ".join(f"{name} = ?" for name in given)
        db.execute(f"UPDATE {table} SET {names} WHERE id = ?", (*given.values(), key))


def _touch(db: sqlite3.Connection, board: str) -> int:
    """Count a change of a board; return its number. Raises ConfigError where the board is gone."""
    db.execute("UPDATE board SET change = change + 1, changed_s = ? WHERE id = ?", (time.time(), board))
    row = db.execute("SELECT change FROM board WHERE id = ?", (board,)).fetchone()
    if row is None:
        raise ConfigError(f"there is no board {board[:40]!r}: it may have been deleted")
    return int(row["change"])


def _places(
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


def _check_version(version: Version) -> None:
    kept_text(version.prompt, 4 * MAX_TEXT, "a prompt")
    if not 0 <= version.seed <= MAX_SEED:
        raise ConfigError(f"a seed is in 0..{MAX_SEED}: got {version.seed}")
    if not version.generator:
        raise ConfigError("who makes the picture? Name a generator")


def _board(row: Row) -> Board:
    return Board(**{name: row[name] for name in row.keys()})  # noqa: SIM118 - a Row is not a dictionary


def _version(row: Row) -> Version:
    return Version(**{name: row[name] for name in row.keys() if name not in ("tries", "claimed")})  # noqa: SIM118


def _card(row: Row, versions: Sequence[Version]) -> Card:
    fields: Mapping[str, Any] = {name: row[name] for name in row.keys() if name not in ("place", "star")}  # noqa: SIM118
    return Card(**fields, star=bool(row["star"]), versions=tuple(versions))
