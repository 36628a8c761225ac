"""Dreams: a private journal. Entries with tags, mood and lucidity, their sound and pictures, what returns in them.

    DATA/dreams/dreams.sqlite     entries, tags, and a search index
    DATA/dreams/media/            sound that is to be written down, or is kept
    DATA/dreams/recordings/       sound that is being recorded
    DATA/dreams/pictures/         pictures of the most telling sentences: boards of the journal's own, one a dream

No show opens it: nothing of a dream reaches an output, OSC, a show's board or a network.
"""

import re
import secrets
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vjserver.keeping.boards import TRIES, Boards
from vjserver.keeping.cards import Card
from vjserver.keeping.database import Database, Row, found_by
from vjserver.keeping.media import Media
from vjserver.keeping.recordings import Recordings
from vjserver.keeping.texts import kept_line
from vjserver.keeping.wishes import wanted_of
from vjserver.runtime.files import data_folder
from vjserver.show.state import Look
from vjserver.types.errors import ConfigError
from vjserver.types.text import clean

VERSION = 1
MOST_ASKED = 500
MOST_TEXT, MOST_TITLE, MOST_TAG, MOST_TAGS, MOST_ENTRIES = 100_000, 200, 60, 64, 100_000
ALWAYS = 1e18
TIMES_S = (-6.0e10, 2.5e11)
"""From the first year of our calendar to its year 9892, seconds since 1970."""
LUCIDITY = (0, 5)
RETURNS = 3
"""A word in so many dreams is a sign that returns."""
STYLE = "dreamlike, soft light, film still"
"""What stands behind each sentence of which a picture is made."""
Hearing = Literal["", "wanted", "failed"]
"""Whether a recording is still to be written down."""
_WORD = re.compile(r"[^\W\d_]{3,}(?:['’][^\W\d_]+)*")
_TABLES = (
    """CREATE TABLE dream (id TEXT PRIMARY KEY, t_s REAL NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL,
       mood TEXT NOT NULL DEFAULT '', lucidity INTEGER NOT NULL DEFAULT 0, language TEXT NOT NULL DEFAULT '',
       sound TEXT NOT NULL DEFAULT '', sound_s REAL NOT NULL DEFAULT 0, keep INTEGER NOT NULL DEFAULT 0,
       hearing TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE tag (dream TEXT NOT NULL REFERENCES dream ON DELETE CASCADE, tag TEXT NOT NULL,
       PRIMARY KEY (dream, tag))""",
    "CREATE INDEX dream_time ON dream (t_s)",
    "CREATE INDEX dream_hearing ON dream (hearing) WHERE hearing = 'wanted'",
    """CREATE VIRTUAL TABLE dream_search USING fts5 (title, text, content = 'dream',
       tokenize = 'porter unicode61 remove_diacritics 2', prefix = '2 3')""",
    """CREATE TRIGGER dream_in AFTER INSERT ON dream BEGIN
       INSERT INTO dream_search (rowid, title, text) VALUES (new.rowid, new.title, new.text); END""",
    """CREATE TRIGGER dream_out AFTER DELETE ON dream BEGIN INSERT INTO dream_search (dream_search, rowid, title, text)
       VALUES ('delete', old.rowid, old.title, old.text); END""",
    """CREATE TRIGGER dream_new AFTER UPDATE ON dream BEGIN
       INSERT INTO dream_search (dream_search, rowid, title, text)
       VALUES ('delete', old.rowid, old.title, old.text);
       INSERT INTO dream_search (rowid, title, text) VALUES (new.rowid, new.title, new.text); END""",
)


@dataclass(frozen=True, slots=True)
class Dream:
    """An entry. ``t_s`` is when it was dreamt (s since 1970), ``lucidity`` how much one knew of it, 0..5.

    ``sound`` is a recording of it (a name of the media), ``sound_s`` its length; it goes once it is written down, or
    stays (``keep``). ``hearing`` tells whether that is still to be done, and ``why`` it could not be.
    """

    id: str = ""
    t_s: float = 0.0
    title: str = ""
    text: str = ""
    mood: str = ""
    lucidity: int = 0
    language: str = ""
    tags: tuple[str, ...] = ()
    sound: str = ""
    sound_s: float = 0.0
    keep: bool = False
    hearing: Hearing = ""
    why: str = ""


def checked(dream: Dream) -> Dream:
    """Return an entry as it is kept. Raises ConfigError."""
    text = clean(dream.text).strip()
    if not text and not dream.sound:
        raise ConfigError("this dream is empty: write down, or say, what is left of it")
    if len(text) > MOST_TEXT:
        raise ConfigError(f"a dream has at most {MOST_TEXT} signs: got {len(text)}")
    if not LUCIDITY[0] <= dream.lucidity <= LUCIDITY[1]:
        raise ConfigError(f"lucidity is {LUCIDITY[0]} to {LUCIDITY[1]}: got {dream.lucidity}")
    if not TIMES_S[0] <= dream.t_s <= TIMES_S[1]:
        raise ConfigError(f"a dream's time is in {TIMES_S[0]:g}..{TIMES_S[1]:g} s since 1970: got {dream.t_s:g}")
    tags = tuple(sorted({kept_line(tag, MOST_TAG, "a tag", 1).lower() for tag in dream.tags}))
    if len(tags) > MOST_TAGS:
        raise ConfigError(f"a dream has at most {MOST_TAGS} tags: got {len(tags)}")
    title = kept_line(dream.title, MOST_TITLE, "a title") or kept_line(text[:MOST_TITLE], MOST_TITLE, "a title")
    return Dream(
        dream.id or secrets.token_hex(6), dream.t_s or time.time(), title, text,
        kept_line(dream.mood, MOST_TAG, "a mood"), dream.lucidity, dream.language[:12], tags,
        dream.sound, dream.sound_s, dream.keep, dream.hearing, dream.why,
    )  # fmt: skip


class Dreams:
    """The journal of this user. Raises KeepingError where the disk does, ConfigError for what makes no sense."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else data_folder() / "dreams"
        self._db = Database(self.folder / "dreams.sqlite", _TABLES, VERSION, ("dream_search",))
        self.media = Media(self.folder / "media")
        self.recordings = Recordings(self.folder / "recordings")
        self._boards: Boards | None = None
        self._drawing = threading.Lock()

    @property
    def pictures(self) -> Boards:
        """The boards of this journal: one a dream, called by its number. No show knows them."""
        if self._boards is None:
            self._boards = Boards(self.folder / "pictures", MOST_ENTRIES)
        return self._boards

    def close(self) -> None:
        """Close it; may be called twice."""
        self._db.close()
        if self._boards is not None:
            self._boards.close()

    def sweep(self) -> None:
        """Remove files that belong to nothing, and traces of what was deleted."""
        self._db.forget()
        self.media.sweep(row["sound"] for row in self._db.rows("SELECT sound FROM dream"))
        if (self.folder / "pictures").exists():
            self.pictures.sweep()

    def write(self, dream: Dream, before: str | None = None) -> Dream:
        """Keep an entry: a new one, or over that of the same number, whose recording it keeps.

        ``before`` is the text that was known when somebody began to change it: what was written down meanwhile stays
        behind the new one. ConfigError where it was changed otherwise, or deleted.
        """
        made = checked(dream)
        values = {name: getattr(made, name) for name in ("t_s", "title", "text", "mood", "lucidity", "language", "id")}
        with self._db.change() as db:
            if before is not None:
                row = db.execute("SELECT text FROM dream WHERE id = ?", (made.id,)).fetchone()
                values["text"] = _joined(made.text, before, row["text"] if row is not None else None)
            changed = db.execute(
                "UPDATE dream SET t_s = :t_s, title = :title, text = :text, mood = :mood, lucidity = :lucidity, "
                "language = :language WHERE id = :id", values,
            ).rowcount  # fmt: skip
            if not changed:
                if db.execute("SELECT count(*) FROM dream").fetchone()[0] >= MOST_ENTRIES:
                    raise ConfigError(f"a journal has at most {MOST_ENTRIES} dreams")
                db.execute(
                    "INSERT INTO dream (t_s, title, text, mood, lucidity, language, id) "
                    "VALUES (:t_s, :title, :text, :mood, :lucidity, :language, :id)", values,
                )  # fmt: skip
                db.execute(
                    "UPDATE dream SET sound = ?, sound_s = ?, keep = ?, hearing = ?, why = ? WHERE id = ?",
                    (made.sound, made.sound_s, made.keep, made.hearing, made.why, made.id),
                )
            db.execute("DELETE FROM tag WHERE dream = ?", (made.id,))
            db.executemany("INSERT INTO tag VALUES (?, ?)", [(made.id, tag) for tag in made.tags])
        if changed:
            self._db.forget()
        return self.dream(made.id)

    # -- what was said -------------------------------------------------------------------------------------

    def record(self, flac: bytes, seconds: float, t_s: float = 0.0, language: str = "", keep: bool = False) -> Dream:
        """Keep a recording as an entry that is still to be written down. ``keep``: it stays when that is done."""
        title = f"recorded, {seconds // 60:.0f} min {seconds % 60:02.0f} s"
        with self.media.kept((flac, "flac")) as names:
            return self.write(
                Dream(
                    t_s=t_s,
                    title=title,
                    language=language,
                    sound=names[0],
                    sound_s=seconds,
                    keep=keep,
                    hearing="wanted",
                )
            )

    def unheard(self) -> Dream | None:
        """Return the recording that has waited longest to be written down, None for none.

        One at which whoever does it ended twice has failed.
        """
        with self._db.change() as db:
            db.execute(
                "UPDATE dream SET hearing = 'failed', why = 'writing it down ended the program twice' "
                "WHERE hearing = 'wanted' AND tries >= ?", (TRIES,),
            )  # fmt: skip
            rows = db.execute("SELECT * FROM dream WHERE hearing = 'wanted' ORDER BY t_s, id LIMIT 1").fetchall()
            db.execute("UPDATE dream SET tries = tries + 1 WHERE id = ?", (rows[0]["id"] if rows else "",))
        return self._with_tags(rows)[0] if rows else None

    def heard(self, number: str, text: str, language: str, title: str) -> Dream:
        """Write down what was said in a recording, behind what was typed meanwhile; its sound goes, unless it is kept.

        ``title`` is taken where nobody gave one. Does nothing where it was written down already.
        """
        stays = False
        with self._db.change() as db:
            row = db.execute("SELECT * FROM dream WHERE id = ? AND hearing != ''", (number,)).fetchone()
            if row is not None:
                both = "\n\n".join(one for one in (row["text"], clean(text).strip()) if one)
                stays = bool(row["keep"]) or len(both) > MOST_TEXT  # what has no room in the text is heard in it
                named = row["title"] if not row["title"].startswith("recorded, ") else kept_line(
                    title[:MOST_TITLE], MOST_TITLE, "a title") or row["title"]  # fmt: skip
                db.execute(
                    "UPDATE dream SET text = ?, title = ?, language = ?, hearing = '', why = '', "
                    "sound = CASE ? WHEN 1 THEN sound ELSE '' END WHERE id = ?",
                    (both[:MOST_TEXT], named, row["language"] or language[:12], stays, number),
                )
        if row is not None and not stays:
            self.media.drop([row["sound"]])
        return self.dream(number)

    def not_heard(self, number: str, why: str) -> None:
        """A recording could not be written down: its sound stays, and it says why."""
        with self._db.change() as db:
            db.execute(
                "UPDATE dream SET hearing = 'failed', why = ? WHERE id = ? AND hearing = 'wanted'",
                (clean(why)[:500], number),
            )

    def hear_again(self, number: str) -> Dream:
        """Have a recording written down once more."""
        dream = self.dream(number)
        if not dream.sound:
            raise ConfigError("there is no recording of this dream")
        with self._db.change() as db:
            db.execute("UPDATE dream SET hearing = 'wanted', why = '', tries = 0 WHERE id = ?", (dream.id,))
        return self.dream(dream.id)

    # -- pictures ------------------------------------------------------------------------------------------

    def cards(self, number: str) -> list[Card]:
        """Return the sentences of a dream of which there are pictures, or are to be, in order."""
        board = self._board_of(number)
        return self.pictures.cards(board) if board else []

    def draw(self, number: str, sentences: Sequence[str], look: Look) -> list[Card]:
        """Want a picture of each of these sentences that has none; those of other sentences go."""
        with self._drawing:
            return self._draw(self.dream(number), sentences, look)

    def _draw(self, dream: Dream, sentences: Sequence[str], look: Look) -> list[Card]:
        boards, board = self.pictures, self.board_for(dream.id)
        there = {card.text: card for card in boards.cards(board)}
        boards.delete([card.id for text, card in there.items() if text not in sentences])
        for sentence in sentences:
            card = there.get(sentence) or boards.add(board, Card(text=sentence, t_s=dream.t_s))
            if not any(one.making == "made" for one in card.versions):
                boards.want(card.id, wanted_of(boards.board(board), card, look))
        return self.cards(dream.id)

    def board_for(self, number: str) -> str:
        """Return the board of a dream's pictures; a new one where there is none."""
        return self._board_of(number) or self.pictures.make(number, STYLE).id

    def drawn(self) -> frozenset[str]:
        """Return the numbers of the dreams of which there are pictures, or are to be."""
        there = (self.folder / "pictures").exists()
        return frozenset(one.name for one in self.pictures.boards()) if there else frozenset()

    def wanted(self) -> tuple[int, int]:
        """Return how many recordings wait to be written down, and how many pictures to be made."""
        waiting = self._db.rows("SELECT count(*) AS n FROM dream WHERE hearing = 'wanted'")[0]["n"]
        return waiting, self.pictures.wanted() if (self.folder / "pictures").exists() else 0

    def _board_of(self, number: str) -> str:
        """Return the board of a dream, ``""`` where it has none."""
        if not (self.folder / "pictures").exists():
            return ""
        try:
            return self.pictures.find(number).id
        except ConfigError:
            return ""

    # -- what is there -------------------------------------------------------------------------------------

    def dream(self, number: str) -> Dream:
        """Return an entry by its number, or the beginning of it."""
        rows = self._db.rows("SELECT * FROM dream WHERE id = ? OR (length(?) >= 4 AND instr(id, ?) = 1)", *[number] * 3)
        if len(rows) != 1:
            raise ConfigError(
                f"there is no dream {number[:40]!r}" if not rows else f"{number!r} begins several numbers"
            )
        return self._with_tags(rows)[0]

    def dreams(
        self,
        search: str = "",
        tag: str = "",
        begin_s: float = -ALWAYS,
        end_s: float = ALWAYS,
        count: int = -1,
        skip: int = 0,
    ) -> list[Dream]:
        """Return ``count`` entries, the newest first: those with words, a tag, from a time on, before another."""
        where = "t_s >= ? AND t_s < ?"
        more: list[str | float] = [begin_s, end_s]
        found, values = found_by(search, "rowid", "dream_search", ("text", "title"))
        where, more = where + found, [*more, *values]
        if tag:
            where += " AND id IN (SELECT dream FROM tag WHERE tag = ?)"
            more.append(tag.lower())
        query = f"SELECT * FROM dream WHERE {where} ORDER BY t_s DESC, id LIMIT ? OFFSET ?"
        return self._with_tags(self._db.rows(query, *more, count, skip))

    def times(self) -> list[float]:
        """Return when each entry was dreamt, s since 1970."""
        return [row["t_s"] for row in self._db.rows("SELECT t_s FROM dream ORDER BY t_s")]

    def tags(self) -> list[tuple[str, int]]:
        """Return all tags, and how many dreams have each, the most frequent first."""
        rows = self._db.rows("SELECT tag, count(*) AS n FROM tag GROUP BY tag ORDER BY n DESC, tag")
        return [(row["tag"], row["n"]) for row in rows]

    def signs(self, is_telling: Callable[[str, str], str]) -> list[tuple[str, int]]:
        """Return words that return in at least three dreams, and in how many.

        ``is_telling`` turns a word and its language into its dictionary form, ``""`` where it tells nothing.
        """
        counts: Counter[str] = Counter()
        for dream in self.dreams():
            words = {word.lower() for word in _WORD.findall(dream.text)}
            counts.update({sign for word in words if (sign := is_telling(word, dream.language))} | set(dream.tags))
        return [(sign, count) for sign, count in counts.most_common() if count >= RETURNS]

    def delete(self, number: str) -> None:
        """Delete an entry: its row, tags, search entry, recording and pictures."""
        dream = self.dream(number)
        while board := self._board_of(dream.id):
            self.pictures.delete_board(board)

        def rows(db: sqlite3.Connection) -> list[str]:
            db.execute("DELETE FROM dream WHERE id = ?", (dream.id,))
            return [dream.sound]

        self.media.delete(self._db, rows)

    def delete_all(self) -> None:
        """Delete everything."""
        if (self.folder / "pictures").exists():
            self.pictures.delete_all()
        with self._db.change() as db:
            db.execute("DELETE FROM dream")
        self.media.clear()
        self.recordings.clear()
        self._db.forget()

    def _with_tags(self, rows: Sequence[Row]) -> list[Dream]:
        of: dict[str, list[str]] = {}
        ids = [row["id"] for row in rows]
        marks = ", ".join("?" * len(ids))
        few = len(ids) <= MOST_ASKED
        query = f"WHERE dream IN ({marks})" if few else ""
        for row in self._db.rows(f"SELECT dream, tag FROM tag {query} ORDER BY tag", *(ids if few else ())):
            of.setdefault(row["dream"], []).append(row["tag"])
        return [_dream(row, of.get(row["id"], ())) for row in rows]


def _joined(text: str, known: str, there: str | None) -> str:
    """Return a new text, and behind it what was added to the one that was known. Raises ConfigError."""
    if there is None:
        raise ConfigError("this dream was deleted meanwhile: copy your words, and keep them as a new one")
    if not there.startswith(known):
        raise ConfigError("this dream was changed elsewhere meanwhile: copy your words, and open it anew")
    added = there[len(known) :].lstrip()
    return "\n\n".join(one for one in (text, added) if one)[:MOST_TEXT]


def _dream(row: Row, tags: Sequence[str]) -> Dream:
    found = Dream(**{name: row[name] for name in row.keys() if name != "tries"}, tags=tuple(tags))  # noqa: SIM118 - a Row is no dictionary
    return replace(found, keep=bool(found.keep))
