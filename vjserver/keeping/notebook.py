"""The notebook: words for which somebody fell back into his own language, where, and what they mean; reviewed by FSRS.

DATA/notebook/notebook.sqlite     words, and where they were said
"""

import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vjserver.keeping.boards import TRIES
from vjserver.keeping.cards import Picture
from vjserver.keeping.database import Database, Row
from vjserver.keeping.media import Media
from vjserver.keeping.recordings import Recordings
from vjserver.keeping.texts import kept_line
from vjserver.keeping.words import TABLES, Seen, Talk, Word
from vjserver.runtime.files import data_folder
from vjserver.types.errors import ConfigError
from vjserver.types.text import clean

VERSION = 1
MOST_WORD, MOST_GLOSS, MOST_SENTENCE = 120, 500, 2000
MOST_WORDS, MOST_SEEN = 50_000, 200
GRADES = ("again", "hard", "good", "easy")
MOST_TALKS = 20
"""So many recordings that were listened to are told of."""
LINE = "pip install 'vjserver[notebook]'"


class Notebook:
    """All words of this user. Raises KeepingError where the disk does, ConfigError for what makes no sense."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else data_folder() / "notebook"
        self._db = Database(self.folder / "notebook.sqlite", TABLES, VERSION)
        self.media = Media(self.folder / "media")
        self.recordings = Recordings(self.folder / "recordings")

    def close(self) -> None:
        """Close it; may be called twice."""
        self._db.close()

    def sweep(self) -> None:
        """Remove files that belong to nothing, and traces of what was deleted."""
        self._db.forget()
        rows = self._db.rows(
            "SELECT sound AS name FROM seen UNION SELECT picture FROM word UNION SELECT sound FROM talk"
        )
        self.media.sweep(row["name"] for row in rows)

    def note(
        self,
        learn: str,
        own: str,
        lemma: str,
        said: str,
        sentence: str,
        gloss: str = "",
        t_s: float = 0.0,
        sound: bytes = b"",
    ) -> Word:
        """Note that a word was missing: a new row, or one more of a row that is there. A gloss never replaces one.

        ``sound`` is the sentence as a FLAC file, where that is to be kept.
        """
        lemma, said = kept_line(lemma, MOST_WORD, "a word", 1), kept_line(said, MOST_WORD, "a word", 1)
        sentence = kept_line(sentence[:MOST_SENTENCE], MOST_SENTENCE, "a sentence", 1)
        gloss = kept_line(gloss[:MOST_GLOSS], MOST_GLOSS, "a gloss")
        t_s = t_s or time.time()
        with self.media.kept((sound, "flac")) as names:
            return self.word(self._note(learn, own, lemma, said, sentence, gloss, t_s, names[0]))

    def _note(
        self, learn: str, own: str, lemma: str, said: str, sentence: str, gloss: str, t_s: float, sound: str
    ) -> int:
        with self._db.change() as db:
            if db.execute("SELECT count(*) FROM word").fetchone()[0] >= MOST_WORDS:
                raise ConfigError(f"a notebook has at most {MOST_WORDS} words: delete some first")
            db.execute(
                "INSERT INTO word (learn, own, lemma, word, gloss, first_s, last_s, guid) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (learn, own, lemma) DO NOTHING",
                (learn, own, lemma, said, gloss, t_s, t_s, secrets.token_urlsafe(9)),
            )
            key = db.execute(
                "SELECT id FROM word WHERE learn = ? AND own = ? AND lemma = ?", (learn, own, lemma)
            ).fetchone()["id"]
            db.execute(
                "UPDATE word SET count = count + 1, first_s = min(first_s, ?), last_s = max(last_s, ?), "
                "gloss = CASE gloss WHEN '' THEN ? ELSE gloss END WHERE id = ?", (t_s, t_s, gloss, key),
            )  # fmt: skip
            db.execute(
                "INSERT INTO seen (word, said, sentence, t_s, sound) VALUES (?, ?, ?, ?, ?)",
                (key, said, sentence, t_s, sound),
            )
            where = "word = ? AND id NOT IN (SELECT id FROM seen WHERE word = ? ORDER BY id DESC LIMIT ?)"
            gone = [row["sound"] for row in db.execute(f"SELECT sound FROM seen WHERE {where}", (key, key, MOST_SEEN))]
            db.execute(f"DELETE FROM seen WHERE {where}", (key, key, MOST_SEEN))
        self.media.drop(gone)
        return int(key)

    def has(self, learn: str, own: str, lemma: str, sentence: str) -> bool:
        """Tell whether a word is noted as missing in a sentence."""
        rows = self._db.rows(
            "SELECT 1 FROM seen JOIN word ON word.id = seen.word WHERE learn = ? AND own = ? AND lemma = ? "
            "AND sentence = ? LIMIT 1", learn, own, lemma, sentence,
        )  # fmt: skip
        return bool(rows)

    def word(self, word: int) -> Word:
        """Return a word with the sentences in which it was said."""
        row = self._db.row("SELECT * FROM word WHERE id = ?", word)
        if row is None:
            raise ConfigError(f"there is no word {word}: it may have been deleted")
        return self._with_seen([row])[0]

    def find(self, lemma: str) -> Word:
        """Return a word by its dictionary form, or as it was said."""
        rows = self._db.rows(
            "SELECT * FROM word WHERE lemma = ? OR word = ? ORDER BY last_s DESC", lemma.lower(), lemma
        )
        if not rows:
            raise ConfigError(f"{lemma[:40]!r} is not in the notebook")
        return self._with_seen(rows[:1])[0]

    def words(self, learn: str = "", own: str = "") -> list[Word]:
        """Return all words, of one pair of languages if they are named; those said most often first."""
        rows = self._db.rows(
            "SELECT * FROM word WHERE (? = '' OR learn = ?) AND (? = '' OR own = ?) "
            "ORDER BY count DESC, last_s DESC, id",
            learn, learn, own, own,
        )  # fmt: skip
        return self._with_seen(rows)

    def gloss(self, word: int, gloss: str) -> Word:
        """Say what a word means."""
        text = kept_line(gloss, MOST_GLOSS, "a gloss")
        with self._db.change() as db:
            if db.execute("UPDATE word SET gloss = ? WHERE id = ?", (text, word)).rowcount == 0:
                raise ConfigError(f"there is no word {word}: it may have been deleted")
        self._db.forget()
        return self.word(word)

    def delete(self, words: Sequence[int]) -> None:
        """Delete words: rows, sentences, sounds and pictures. Those that are gone already are no fault."""

        def rows(db: sqlite3.Connection) -> list[str]:
            names: list[str] = []
            for word in words:
                names += [row["sound"] for row in db.execute("SELECT sound FROM seen WHERE word = ?", (word,))]
                names += [row["picture"] for row in db.execute("SELECT picture FROM word WHERE id = ?", (word,))]
                db.execute(
                    "UPDATE talk SET text = '', words = '' WHERE EXISTS (SELECT 1 FROM seen WHERE word = ? "
                    "AND instr(talk.text, sentence))", (word,),
                )  # fmt: skip
                db.execute("DELETE FROM word WHERE id = ?", (word,))
            return names

        self.media.delete(self._db, rows)

    def delete_all(self) -> None:
        """Delete everything."""
        with self._db.change() as db:
            for table in ("seen", "word", "talk"):
                db.execute(f"DELETE FROM {table}")
        self.media.clear()
        self.recordings.clear()
        self._db.forget()

    # -- what was said -------------------------------------------------------------------------------------

    def talk(self, learn: str, own: str, flac: bytes, seconds: float, keep: bool) -> Talk:
        """Keep a recording that is to be listened to. ``keep``: sentences with a missing word keep their sound."""
        with self.media.kept((flac, "flac")) as names, self._db.change() as db:
            number = db.execute(
                "INSERT INTO talk (learn, own, t_s, seconds, sound, keep) VALUES (?, ?, ?, ?, ?, ?)",
                (learn, own, time.time(), seconds, names[0], keep),
            ).lastrowid
        return next(one for one in self.talks() if one.id == number)

    def talks(self) -> list[Talk]:
        """Return recordings, the newest first: those that wait, and what was understood of the last ones."""
        return [_talk(row) for row in self._db.rows("SELECT * FROM talk ORDER BY id DESC")]

    def unheard(self) -> Talk | None:
        """Return the recording that has waited longest, None for none.

        One at which whoever listens ended twice has failed.
        """
        with self._db.change() as db:
            db.execute(
                "UPDATE talk SET hearing = 'failed', why = 'listening to it ended the program twice' "
                "WHERE hearing = 'wanted' AND tries >= ?", (TRIES,),
            )  # fmt: skip
            row = db.execute("SELECT * FROM talk WHERE hearing = 'wanted' ORDER BY id LIMIT 1").fetchone()
            db.execute("UPDATE talk SET tries = tries + 1 WHERE id = ?", (row["id"] if row is not None else 0,))
        return _talk(row) if row is not None else None

    def waits(self, talk: int) -> bool:
        """Tell whether a recording is still to be listened to."""
        row = self._db.row("SELECT hearing FROM talk WHERE id = ?", talk)
        return row is not None and row["hearing"] == "wanted"

    def heard(self, talk: int, text: str, words: Sequence[Word]) -> None:
        """A recording was listened to: its sound goes, and what was understood is told for a while."""
        said = ", ".join(dict.fromkeys(word.lemma for word in words))[:MOST_SENTENCE]
        with self._db.change() as db:
            row = db.execute("SELECT sound FROM talk WHERE id = ?", (talk,)).fetchone()
            db.execute(
                "UPDATE talk SET hearing = '', why = '', text = ?, words = ?, sound = '' WHERE id = ?",
                (clean(text)[: 4 * MOST_SENTENCE], said, talk),
            )
            db.execute(
                "DELETE FROM talk WHERE hearing = '' AND id NOT IN (SELECT id FROM talk WHERE hearing = '' "
                "ORDER BY id DESC LIMIT ?)", (MOST_TALKS,),
            )  # fmt: skip
        if row is not None:
            self.media.drop([row["sound"]])
        self._db.forget()

    def not_heard(self, talk: int, why: str) -> None:
        """A recording could not be listened to: its sound stays, and it says why."""
        with self._db.change() as db:
            db.execute("UPDATE talk SET hearing = 'failed', why = ? WHERE id = ?", (clean(why)[:500], talk))

    def hear_again(self, talk: int) -> None:
        """Have a recording listened to once more."""
        with self._db.change() as db:
            db.execute("UPDATE talk SET hearing = 'wanted', why = '', tries = 0 WHERE id = ? AND sound != ''", (talk,))

    def drop_talk(self, talk: int) -> None:
        """Delete a recording, and what was understood of it; words that were noted stay."""

        def rows(db: sqlite3.Connection) -> list[str]:
            names = [row["sound"] for row in db.execute("SELECT sound FROM talk WHERE id = ?", (talk,))]
            db.execute("DELETE FROM talk WHERE id = ?", (talk,))
            return names

        self.media.delete(self._db, rows)

    # -- pictures ------------------------------------------------------------------------------------------

    def want(self, words: Sequence[int], generator: str, model: str = "") -> None:
        """Want a picture of each of these words; one that is there stays until the new one is."""
        with self._db.change() as db:
            db.executemany(
                "UPDATE word SET drawing = 'wanted', generator = ?, model = ?, why = '' WHERE id = ?",
                [(generator, model, word) for word in words],
            )

    def undrawn(self) -> Word | None:
        """Return the word whose picture has waited longest, None for none."""
        rows = self._db.rows("SELECT * FROM word WHERE drawing = 'wanted' ORDER BY id LIMIT 1")
        return self._with_seen(rows)[0] if rows else None

    def drawn(self, word: int, picture: Picture) -> None:
        """Keep a word's picture; the one before goes."""
        with self.media.kept((picture.small, "jpg")) as names, self._db.change() as db:
            row = db.execute("SELECT picture FROM word WHERE id = ?", (word,)).fetchone()
            db.execute("UPDATE word SET picture = ?, drawing = '', why = '' WHERE id = ?", (names[0], word))
        self.media.drop([row["picture"] if row is not None else names[0]])

    def not_drawn(self, word: int, why: str) -> None:
        """A word's picture could not be made: the word says why."""
        with self._db.change() as db:
            db.execute("UPDATE word SET drawing = 'failed', why = ? WHERE id = ?", (clean(why)[:500], word))

    def wanted(self) -> tuple[int, int]:
        """Return how many recordings wait to be listened to, and how many pictures to be made."""
        row = self._db.rows(
            "SELECT (SELECT count(*) FROM talk WHERE hearing = 'wanted') AS talks, "
            "(SELECT count(*) FROM word WHERE drawing = 'wanted') AS pictures"
        )[0]
        return row["talks"], row["pictures"]

    # -- review --------------------------------------------------------------------------------------------

    def due(self, now_s: float, count: int = 50) -> list[Word]:
        """Return the words that are to be reviewed now and have a gloss, the one that waits longest first."""
        rows = self._db.rows(
            "SELECT * FROM word WHERE due_s <= ? AND gloss != '' ORDER BY due_s, id LIMIT ?", now_s, count
        )
        return self._with_seen(rows)

    def count_due(self, now_s: float) -> int:
        """Return how many words are to be reviewed now."""
        return int(self._db.rows("SELECT count(*) AS n FROM word WHERE due_s <= ? AND gloss != ''", now_s)[0]["n"])

    def review(self, word: int, grade: str, now_s: float) -> Word:
        """Note how well a word was known: again, hard, good or easy; FSRS says when it is asked for next."""
        if grade not in GRADES:
            raise ConfigError(f"a grade is {', '.join(GRADES)}: got {grade[:20]!r}")
        try:
            import fsrs
        except ImportError:
            raise ConfigError(f"reviews need fsrs: {LINE}") from None
        row = self._db.row("SELECT fsrs FROM word WHERE id = ?", word)
        if row is None:
            raise ConfigError(f"there is no word {word}: it may have been deleted")
        state: Any = json.loads(row["fsrs"]) if row["fsrs"] else None
        card = fsrs.Card.from_dict(state) if state is not None else fsrs.Card(card_id=word)
        scheduler = fsrs.Scheduler(enable_fuzzing=False)
        rating = fsrs.Rating(GRADES.index(grade) + 1)
        card, _ = scheduler.review_card(card, rating, datetime.fromtimestamp(now_s, UTC))
        with self._db.change() as db:
            values = (json.dumps(card.to_dict()), card.due.timestamp(), word)
            db.execute("UPDATE word SET fsrs = ?, due_s = ? WHERE id = ?", values)
        return self.word(word)

    def _with_seen(self, rows: Sequence[Row]) -> list[Word]:
        of: dict[int, list[Seen]] = {row["id"]: [] for row in rows}
        for row in self._db.rows("SELECT * FROM seen ORDER BY id"):
            if row["word"] in of:
                of[row["word"]].append(Seen(row["said"], row["sentence"], row["t_s"], row["sound"]))
        return [
            Word(**{name: row[name] for name in row.keys() if name != "fsrs"}, seen=tuple(of[row["id"]]))  # noqa: SIM118
            for row in rows
        ]


def _talk(row: Row) -> Talk:
    found = Talk(**{name: row[name] for name in row.keys() if name != "tries"})  # noqa: SIM118 - a Row is no dictionary
    return replace(found, keep=bool(found.keep))
