"""Dreams: a private journal. Entries with tags, mood and lucidity, what returns in them, search, a folder to take away.

    DATA/dreams/dreams.sqlite     entries, tags, and a search index

No show opens it: nothing of a dream reaches an output, OSC, a board or a network.
"""

import json
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from vjserver.keeping.database import Database, Row, words_of
from vjserver.keeping.folders import read_json, write_folder
from vjserver.keeping.texts import kept_line
from vjserver.runtime.files import data_folder
from vjserver.types.errors import ConfigError, VJError
from vjserver.types.text import clean

VERSION = 1
FORMAT, FORMAT_VERSION = "vjserver dream", 1
MOST_TEXT, MOST_TITLE, MOST_TAG, MOST_TAGS, MOST_ENTRIES = 100_000, 200, 60, 64, 100_000
LUCIDITY = (0, 5)
RETURNS = 3
"""A word in so many dreams is a sign that returns."""
LARGEST = 16 << 20
_WORD = re.compile(r"[^\W\d_]{3,}(?:['’][^\W\d_]+)*")
_TABLES = (
    """CREATE TABLE dream (id TEXT PRIMARY KEY, t_s REAL NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL,
       mood TEXT NOT NULL DEFAULT '', lucidity INTEGER NOT NULL DEFAULT 0, language TEXT NOT NULL DEFAULT '')""",
    """CREATE TABLE tag (dream TEXT NOT NULL REFERENCES dream ON DELETE CASCADE, tag TEXT NOT NULL,
       PRIMARY KEY (dream, tag))""",
    "CREATE INDEX dream_time ON dream (t_s)",
    """CREATE VIRTUAL TABLE dream_search USING fts5 (title, text, content = 'dream',
       tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3')""",
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
    """An entry. ``t_s`` is when it was dreamt (s since 1970), ``lucidity`` how much one knew of it, 0..5."""

    id: str = ""
    t_s: float = 0.0
    title: str = ""
    text: str = ""
    mood: str = ""
    lucidity: int = 0
    language: str = ""
    tags: tuple[str, ...] = ()


class _File(msgspec.Struct):
    format: str
    version: int
    dream: Dream


def checked(dream: Dream) -> Dream:
    """Return an entry as it is kept. Raises ConfigError."""
    text = clean(dream.text).strip()
    if not text:
        raise ConfigError("this dream is empty: write down, or say, what is left of it")
    if len(text) > MOST_TEXT:
        raise ConfigError(f"a dream has at most {MOST_TEXT} signs: got {len(text)}")
    if not LUCIDITY[0] <= dream.lucidity <= LUCIDITY[1]:
        raise ConfigError(f"lucidity is {LUCIDITY[0]} to {LUCIDITY[1]}: got {dream.lucidity}")
    tags = tuple(sorted({kept_line(tag, MOST_TAG, "a tag", 1).lower() for tag in dream.tags}))
    if len(tags) > MOST_TAGS:
        raise ConfigError(f"a dream has at most {MOST_TAGS} tags: got {len(tags)}")
    title = kept_line(dream.title, MOST_TITLE, "a title") or kept_line(text[:MOST_TITLE], MOST_TITLE, "a title")
    return Dream(
        dream.id or secrets.token_hex(6), dream.t_s or time.time(), title, text,
        kept_line(dream.mood, MOST_TAG, "a mood"), dream.lucidity, dream.language[:12], tags,
    )  # fmt: skip


class Dreams:
    """The journal of this user. Raises KeepingError where the disk does, ConfigError for what makes no sense."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else data_folder() / "dreams"
        self._db = Database(self.folder / "dreams.sqlite", _TABLES, VERSION, ("dream_search",))

    def close(self) -> None:
        """Close it; may be called twice."""
        self._db.close()

    def write(self, dream: Dream) -> Dream:
        """Keep an entry: a new one, or over that of the same number."""
        made = checked(dream)
        with self._db.change() as db:
            if db.execute("SELECT count(*) FROM dream").fetchone()[0] >= MOST_ENTRIES:
                raise ConfigError(f"a journal has at most {MOST_ENTRIES} dreams")
            values = (made.t_s, made.title, made.text, made.mood, made.lucidity, made.language, made.id)
            changed = db.execute(
                "UPDATE dream SET t_s = ?, title = ?, text = ?, mood = ?, lucidity = ?, language = ? WHERE id = ?",
                values,
            ).rowcount
            if not changed:
                db.execute(
                    "INSERT INTO dream (t_s, title, text, mood, lucidity, language, id) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    values,
                )
            db.execute("DELETE FROM tag WHERE dream = ?", (made.id,))
            db.executemany("INSERT INTO tag VALUES (?, ?)", [(made.id, tag) for tag in made.tags])
        if changed:
            self._db.forget()
        return made

    def dream(self, number: str) -> Dream:
        """Return an entry by its number, or the beginning of it."""
        rows = self._db.rows("SELECT * FROM dream WHERE id = ? OR (length(?) >= 4 AND instr(id, ?) = 1)", *[number] * 3)
        if len(rows) != 1:
            raise ConfigError(
                f"there is no dream {number[:40]!r}" if not rows else f"{number!r} begins several numbers"
            )
        return self._with_tags(rows)[0]

    def dreams(self, search: str = "", tag: str = "", begin_s: float = 0.0, end_s: float = 1e12) -> list[Dream]:
        """Return entries, the newest first: those with words, a tag, from a time on, before another."""
        where, values = "t_s >= ? AND t_s < ?", [begin_s, end_s]
        more: list[str | float] = [*values]
        words = words_of(clean(search))
        if words:
            where += " AND rowid IN (SELECT rowid FROM dream_search WHERE dream_search MATCH ?)"
            more.append(words)
        if tag:
            where += " AND id IN (SELECT dream FROM tag WHERE tag = ?)"
            more.append(tag.lower())
        return self._with_tags(self._db.rows(f"SELECT * FROM dream WHERE {where} ORDER BY t_s DESC, id", *more))

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
        """Delete an entry: its row, tags and search entry."""
        dream = self.dream(number)
        with self._db.change() as db:
            db.execute("DELETE FROM dream WHERE id = ?", (dream.id,))
        self._db.forget()

    def delete_all(self) -> None:
        """Delete everything."""
        with self._db.change() as db:
            db.execute("DELETE FROM dream")
        self._db.forget()

    def _with_tags(self, rows: Sequence[Row]) -> list[Dream]:
        of: dict[str, list[str]] = {}
        for row in self._db.rows("SELECT dream, tag FROM tag ORDER BY tag"):
            of.setdefault(row["dream"], []).append(row["tag"])
        return [Dream(**{name: row[name] for name in row.keys()}, tags=tuple(of.get(row["id"], ()))) for row in rows]  # noqa: SIM118

    # -- a folder ------------------------------------------------------------------------------------------

    def export(self, folder: Path) -> int:
        """Write every entry as a JSON file of its own into a folder that is not there yet; return how many."""
        dreams = self.dreams()

        def fill(part: Path) -> None:
            for dream in dreams:
                day = datetime.fromtimestamp(dream.t_s).strftime("%Y-%m-%d")
                whole = {"format": FORMAT, "version": FORMAT_VERSION, "dream": asdict(dream)}
                text = json.dumps(whole, ensure_ascii=False, indent=1)
                (part / f"{day}-{dream.id}.json").write_text(text, encoding="utf-8")

        write_folder(folder, fill)
        return len(dreams)

    def take_in(self, folder: Path) -> int:
        """Take in a folder that :meth:`export` wrote: all of it, or nothing; return how many entries."""
        found = [self._read(path) for path in sorted(folder.glob("*.json"))]
        if not found:
            raise ConfigError(f"{folder} holds no dreams")
        there = {dream.id for dream in self.dreams()}
        written: list[str] = []
        try:
            for dream in found:
                self.write(dream)
                written.append(dream.id)
        except VJError:
            for number in written:
                if number not in there:
                    self.delete(number)
            raise
        return len(found)

    @staticmethod
    def _read(path: Path) -> Dream:
        whole = read_json(path, _File, FORMAT, FORMAT_VERSION, LARGEST)
        if not re.fullmatch(r"[0-9a-f]{12}", whole.dream.id):
            raise ConfigError(f"{path}: a dream's number is twelve hexadecimal digits: got {whole.dream.id[:40]!r}")
        return checked(whole.dream)
