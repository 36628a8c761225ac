"""Words of the notebook: what is kept of each, and the tables that hold them."""

from dataclasses import dataclass
from typing import Literal

Waiting = Literal["", "wanted", "failed"]
TABLES = (
    """CREATE TABLE word (id INTEGER PRIMARY KEY AUTOINCREMENT, learn TEXT NOT NULL, own TEXT NOT NULL,
       lemma TEXT NOT NULL, word TEXT NOT NULL, gloss TEXT NOT NULL DEFAULT '', count INTEGER NOT NULL DEFAULT 0,
       first_s REAL NOT NULL, last_s REAL NOT NULL, picture TEXT NOT NULL DEFAULT '', guid TEXT NOT NULL,
       fsrs TEXT NOT NULL DEFAULT '', due_s REAL NOT NULL DEFAULT 0, drawing TEXT NOT NULL DEFAULT '',
       generator TEXT NOT NULL DEFAULT '', model TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '',
       UNIQUE (learn, own, lemma))""",
    """CREATE TABLE seen (id INTEGER PRIMARY KEY AUTOINCREMENT, word INTEGER NOT NULL REFERENCES word ON DELETE CASCADE,
       said TEXT NOT NULL, sentence TEXT NOT NULL, t_s REAL NOT NULL, sound TEXT NOT NULL DEFAULT '')""",
    """CREATE TABLE talk (id INTEGER PRIMARY KEY AUTOINCREMENT, learn TEXT NOT NULL, own TEXT NOT NULL,
       t_s REAL NOT NULL, seconds REAL NOT NULL, sound TEXT NOT NULL, keep INTEGER NOT NULL,
       hearing TEXT NOT NULL DEFAULT 'wanted', why TEXT NOT NULL DEFAULT '', text TEXT NOT NULL DEFAULT '',
       words TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0)""",
    "CREATE INDEX seen_word ON seen (word)",
    "CREATE INDEX word_due ON word (due_s)",
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Where a word was said: as it was said, the sentence, when (s since 1970), and its sound if that is kept."""

    said: str
    sentence: str
    t_s: float
    sound: str = ""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of ``own`` that was missing in ``learn``; ``gloss`` is what it means there, empty until somebody knows.

    ``due_s`` is when it is to be reviewed next (s since 1970). ``drawing`` tells whether its picture is wanted, from
    which generator and model, or that it failed and ``why``.
    """

    id: int
    learn: str
    own: str
    lemma: str
    word: str
    gloss: str
    count: int
    first_s: float
    last_s: float
    picture: str
    guid: str
    due_s: float
    drawing: Waiting = ""
    generator: str = ""
    model: str = ""
    why: str = ""
    seen: tuple[Seen, ...] = ()


@dataclass(frozen=True, slots=True)
class Talk:
    """Something that was said and recorded: still to be listened to, or what was understood and noted of it.

    ``sound`` is a name of the media; with ``keep`` sentences with a word that was missing keep theirs.
    """

    id: int
    learn: str
    own: str
    t_s: float
    seconds: float
    sound: str
    keep: bool
    hearing: Waiting = "wanted"
    why: str = ""
    text: str = ""
    words: str = ""
