"""Boards: what was said or typed, and the pictures of it, as cards; in order, with versions, a style and a cast.

    DATA/boards/boards.sqlite     boards, members of their casts, cards, versions, and a search index
    DATA/boards/media/            pictures and sounds

Several processes use it at once: the show adds cards, pages change them, the studio makes versions that are wanted.
Each change of a board counts up its ``change``, by which a page sees that there is something new.
"""

import os
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from psutil import pid_exists

from vjserver.keeping.cards import (
    MOST_NOTES,
    MOST_TITLE,
    TABLES,
    VERSION,
    Board,
    Card,
    Member,
    Picture,
    Version,
    board_of,
    board_of_row,
    check_version,
    insert_card,
    insert_version,
    media_of,
    places,
    set_row,
    touch,
    version_of_row,
    with_versions,
)
from vjserver.keeping.database import Database, found_by
from vjserver.keeping.media import Media
from vjserver.keeping.said import SaidSounds
from vjserver.keeping.texts import kept_text
from vjserver.runtime.files import data_folder
from vjserver.show.addresses import MAX_NAME, MAX_TEXT
from vjserver.types.errors import ConfigError
from vjserver.types.text import clean

MOST_CARDS, MOST_BOARDS, MOST_CAST, MOST_VERSIONS = 20_000, 1000, 64, 200
MOST_WINDOW = 300
TRIES = 2
"""So often a version is tried whose making ended the studio."""
TONIGHT_S = 12 * 3600.0
"""A board to which nothing came for so long is another night's."""


class Boards:
    """All boards of this user. Raises KeepingError where the disk does, ConfigError for what makes no sense."""

    def __init__(self, folder: Path | None = None, most: int = MOST_BOARDS) -> None:
        self.folder, self._most = folder if folder is not None else data_folder() / "boards", most
        self._db = Database(self.folder / "boards.sqlite", TABLES, VERSION, ("card_search",))
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
        return [board_of_row(row) for row in rows]

    def board(self, board: str) -> Board:
        """Return a board by its number."""
        row = self._db.row(
            "SELECT *, (SELECT count(*) FROM card WHERE board = board.id) AS cards FROM board WHERE id = ?", board
        )
        if row is None:
            raise ConfigError(f"there is no board {board[:40]!r}: it may have been deleted")
        cast = self._db.rows("SELECT * FROM member WHERE board = ? ORDER BY name", board)
        return replace(board_of_row(row), cast=tuple(Member(one["name"], one["look"], one["picture"]) for one in cast))

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
            values = (board, name, style, negative, now_s, now_s)
            db.execute("INSERT INTO board VALUES (?, ?, ?, ?, ?, ?, 1)", values)
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
            touch(db, board)
            set_row(db, "board", board, values)
        self._db.forget()
        return self.board(board)

    def cast(self, board: str, name: str, look: str, picture: bytes | None = None, ending: str = "png") -> Board:
        """Say how somebody looks, with a picture if there is one; an empty look takes him out of the cast."""
        name, look = kept_text(name, MAX_NAME, "a name", 1), kept_text(look, MAX_TEXT, "a look")
        with self.media.kept(((picture or b"") if look else b"", ending)) as names, self._db.change() as db:
            touch(db, board)
            old = db.execute("SELECT picture FROM member WHERE board = ? AND name = ?", (board, name)).fetchone()
            count = db.execute("SELECT count(*) FROM member WHERE board = ?", (board,)).fetchone()[0]
            before = old["picture"] if old is not None else ""
            if not look:
                db.execute("DELETE FROM member WHERE board = ? AND name = ?", (board, name))
            elif old is None and count >= MOST_CAST:
                raise ConfigError(f"a cast has at most {MOST_CAST} members")
            else:
                row = (board, name, look, names[0] or before)
                db.execute("INSERT OR REPLACE INTO member VALUES (?, ?, ?, ?)", row)
        if names[0] or not look:
            self.media.drop([before])
        self._db.forget()
        return self.board(board)

    def delete_board(self, board: str) -> None:
        """Delete a board, its cards, pictures and sounds."""
        self.board(board)

        def rows(db: sqlite3.Connection) -> list[str]:
            names = media_of(db, "card.board = ?", board)
            names += [row["picture"] for row in db.execute("SELECT picture FROM member WHERE board = ?", (board,))]
            db.execute("DELETE FROM card WHERE board = ?", (board,))  # not by the cascade alone: the index hears of it
            db.execute("DELETE FROM board WHERE id = ?", (board,))
            return names

        self.media.delete(self._db, rows)

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
            change = touch(db, board)
            if db.execute("SELECT count(*) FROM card WHERE board = ?", (board,)).fetchone()[0] >= MOST_CARDS:
                raise ConfigError(f"a board has at most {MOST_CARDS} cards: begin another one")
            place = places(db, board, 1, before)[0]
            number = insert_card(db, board, place, replace(card, text=text, said=said, notes=notes), change)
        return self.card(number)

    def card(self, card: int) -> Card:
        """Return a card with its versions."""
        row = self._db.row("SELECT * FROM card WHERE id = ?", card)
        if row is None:
            raise ConfigError(f"there is no card {card}: it may have been deleted")
        return with_versions(self._db, [row])[0]

    def cards(self, board: str) -> list[Card]:
        """Return all cards of a board in order, with their versions."""
        self.board(board)
        return with_versions(
            self._db, self._db.rows("SELECT * FROM card WHERE board = ? ORDER BY place, id", board), board
        )

    def window(
        self, board: str, offset: int, count: int, search: str = "", starred: bool = False
    ) -> tuple[int, list[Card]]:
        """Return how many cards match, and ``count`` (300 at most) of them from ``offset`` on."""
        where, values = "card.board = ?", [board]
        if starred:
            where += " AND star"
        found, more = found_by(search, "card.id", "card_search", ("text", "said", "notes"))
        where, values = where + found, values + more
        total = self._db.rows(f"SELECT count(*) AS n FROM card WHERE {where}", *values)[0]["n"]
        rows = self._db.rows(
            f"SELECT * FROM card WHERE {where} ORDER BY place, id LIMIT ? OFFSET ?",
            *values, max(0, min(count, MOST_WINDOW)), max(0, offset),
        )  # fmt: skip
        return total, with_versions(self._db, rows)

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
            change = touch(db, board_of(db, card))
            query = "SELECT count(*) FROM version WHERE id = ? AND card = ? AND making = 'made'"
            if version is not None and not db.execute(query, (version, card)).fetchone()[0]:
                raise ConfigError(f"card {card} has no picture {version}")
            set_row(db, "card", card, {**values, "change": change})
        if text is not None or notes is not None:
            self._db.forget()
        return self.card(card)

    def hear(self, card: int, said: str, who: str, language: str) -> Card:
        """Write down the whole sentence that a card came from, and who said it in which language."""
        said = kept_text(said, MAX_TEXT, "a sentence")
        with self._db.change() as db:
            values = {"said": said, "who": who[:MAX_NAME], "language": language[:12]}
            set_row(db, "card", card, {**values, "change": touch(db, board_of(db, card))})
        return self.card(card)

    def keep_sound(self, card: int, flac: bytes, seconds: float) -> Card:
        """Keep the sound of what was said."""
        with self.media.kept((flac, "flac")) as names, self._db.change() as db:
            change = touch(db, board_of(db, card))
            old = db.execute("SELECT sound FROM card WHERE id = ?", (card,)).fetchone()["sound"]
            set_row(db, "card", card, {"sound": names[0], "sound_s": seconds, "change": change})
        self.media.drop([old])
        return self.card(card)

    def move(self, board: str, cards: Sequence[int], before: int | None) -> None:
        """Put cards, in this order, before another one, or at the end; all at once, or not at all."""
        moved = list(dict.fromkeys(cards))
        if before in moved:
            raise ConfigError("cards cannot be put before one of themselves")
        with self._db.change() as db:
            change = touch(db, board)
            here = {row[0] for row in db.execute("SELECT id FROM card WHERE board = ?", (board,))}
            gone = [one for one in (*moved, *([before] if before is not None else [])) if one not in here]
            if gone:
                raise ConfigError(f"card {gone[0]} is not on this board any more: nothing was moved")
            free = places(db, board, len(moved), before, moved)
            db.executemany(
                "UPDATE card SET place = ?, change = ? WHERE id = ?",
                [(place, change, one) for place, one in zip(free, moved, strict=True)],
            )

    def delete(self, cards: Sequence[int]) -> None:
        """Delete cards: rows, search entries, pictures and sounds. Those that are gone already are no fault."""

        def rows(db: sqlite3.Connection) -> list[str]:
            names = []
            for card in cards:
                found = db.execute("SELECT board FROM card WHERE id = ?", (card,)).fetchone()
                if found is not None:
                    touch(db, found["board"])
                    names += media_of(db, "card.id = ?", card)
                    db.execute("DELETE FROM card WHERE id = ?", (card,))
            return names

        self.media.delete(self._db, rows)

    # -- versions ------------------------------------------------------------------------------------------

    def want(self, card: int, version: Version) -> Card:
        """Have a picture made: the studio does it; a card may want one at a time."""
        return self._add_version(card, replace(version, making="wanted", picture="", thumb="", why=""))

    def put(self, card: int, version: Version, picture: Picture) -> Card:
        """Add a picture that was made; it becomes the chosen one."""
        with self.media.kept((picture.data, picture.ending), (picture.small, "jpg")) as names:
            return self._add_version(card, replace(version, making="made", picture=names[0], thumb=names[1]))

    def _add_version(self, card: int, version: Version) -> Card:
        check_version(version)
        with self._db.change() as db:
            change = touch(db, board_of(db, card))
            if db.execute("SELECT count(*) FROM version WHERE card = ?", (card,)).fetchone()[0] >= MOST_VERSIONS:
                raise ConfigError(f"a card has at most {MOST_VERSIONS} pictures")
            if version.making == "wanted":  # whoever asks again before the first is made means the newer one
                db.execute("DELETE FROM version WHERE card = ? AND making = 'wanted'", (card,))
            number = insert_version(db, card, version)
            set_row(db, "card", card, {"version": number if version.making == "made" else None, "change": change})
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
                    set_row(db, "version", row["id"], {"tries": row["tries"] + 1, "claimed": os.getpid()})
                    return version_of_row(row)
            self.fail(row["id"], "making it ended the studio twice")

    def done(self, version: int, picture: Picture, licence: str, why: str = "") -> bool:
        """A picture that was wanted is made; return False where nobody wants it any more.

        ``why`` says what is not as it was asked for, where something is not.
        """
        with self.media.kept((picture.data, picture.ending), (picture.small, "jpg")) as names, self._db.change() as db:
            query = "SELECT card FROM version WHERE id = ? AND making != 'made'"
            row = db.execute(query, (version,)).fetchone()
            if row is not None:
                made = {"picture": names[0], "thumb": names[1], "licence": licence, "why": clean(why)[:500]}
                set_row(db, "version", version, {"making": "made", **made})
                change = touch(db, board_of(db, row["card"]))
                set_row(db, "card", row["card"], {"version": version, "change": change})
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
                db.execute("UPDATE card SET change = ? WHERE id = ?", (touch(db, row["board"]), row["id"]))

    def drop_version(self, version: int) -> None:
        """Delete one picture of a card; the newest that is left is chosen."""
        with self._db.change() as db:
            row = db.execute("SELECT * FROM version WHERE id = ?", (version,)).fetchone()
            if row is None:
                raise ConfigError(f"there is no picture {version}: it may have been deleted")
            change = touch(db, board_of(db, row["card"]))
            db.execute("DELETE FROM version WHERE id = ?", (version,))
            chosen = db.execute("SELECT version FROM card WHERE id = ?", (row["card"],)).fetchone()["version"]
            if chosen == version:
                query = "SELECT max(id) AS id FROM version WHERE card = ? AND making = 'made'"
                chosen = db.execute(query, (row["card"],)).fetchone()["id"] or 0
            set_row(db, "card", row["card"], {"version": chosen, "change": change})
        self.media.drop([row["picture"], row["thumb"]])
        self._db.forget()
