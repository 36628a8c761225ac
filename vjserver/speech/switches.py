"""Code switches: a sentence in the language that somebody learns goes in, where he fell back into his own comes out.

Each word has a likelihood ratio: how much more common it is in his own language than in the one that he learns (Zipf
frequencies), and whether dictionaries of word forms know it. Whether a stretch is a switch is decided for the whole
sentence (two states, Viterbi), so that a small word between two of his own belongs to them. Names, numbers, and words
that the language he learns has borrowed are none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d[\d.,:]*|[.!?…:;]")
ENDS = frozenset(".!?…:;")
BORROWED_ZIPF = 3.0
"""A word that is so common in the language that is learnt belongs to it: of a million words at least one."""
SWITCH, BACK = 2.2, 0.6
"""What it costs to fall back into one's own language, and to return; in natural logarithms."""
LIMIT = 4.5
"""One word says no more than this, however rare it is."""
KNOWN, UNKNOWN = 1.6, -1.2
NAME = -3.5
"""What a capital within a sentence says, where nouns have none."""
NAME_DIFFERENCE = 1.2
FUNCTION_ZIPF, FUNCTION, CLEAR = 6.3, 2.0, 1.6
"""Words as common as this hold sentences together: those that are clearly of one language say so, the others little."""
RARE_ZIPF = 1.0
WHOLE, WHOLE_WORDS, LONG_WORDS = 0.9, 4, 3
"""A text of so many words of which it is so likely that it is in one language is wholly in it."""
CAPITAL_NOUNS = frozenset({"de"})
_I = ("I", "I'", "I’")


class Lexicon(Protocol):
    """What is known of words; languages are codes such as ``es``."""

    def zipf(self, word: str, language: str) -> float:
        """Return how common a word is: the logarithm (base 10) of its count in a milliard words, 0 for unknown."""

    def is_known(self, word: str, language: str) -> bool:
        """Tell whether a dictionary of word forms has it."""

    def lemma(self, word: str, language: str) -> str:
        """Return a word's dictionary form."""

    def likely(self, text: str, language: str) -> float:
        """Return how likely a stretch of text is in a language, 0..1."""

    def is_borrowed(self, words: str, language: str) -> bool:
        """Tell whether a language has made a word its own (of several: joined by hyphens)."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Words of one's own, as they stand from ``begin`` to ``end`` in the sentence, and their dictionary forms."""

    words: str
    begin: int
    end: int
    lemmas: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    begin: int
    end: int
    starts: bool

    @property
    def is_word(self) -> bool:
        return self.text[0].isalpha()


def tokens_of(text: str) -> list[_Token]:
    """Return words and numbers with their places; ``starts`` marks the first of a sentence."""
    found, starts = [], True
    for match in _WORD.finditer(text):
        if match.group() in ENDS:
            starts = True
            continue
        found.append(_Token(match.group(), match.start(), match.end(), starts))
        starts = False
    return found


def switches_of(text: str, learn: str, own: str, lexicon: Lexicon) -> list[Switch]:
    """Return where somebody who learns ``learn`` fell back into ``own``, in order."""
    tokens = tokens_of(text)
    words = [token for token in tokens if token.is_word]
    if len(words) >= WHOLE_WORDS and lexicon.likely(text, own) > WHOLE:
        return []  # all of it is in one's own language: no word of it was missing
    ratios = [_ratio(token, learn, own, lexicon) for token in tokens]
    inside = _best(ratios)
    found: list[Switch] = []
    for begin, end in _runs(inside):
        while begin < end and not _carries(tokens[begin], ratios[begin]):
            begin += 1
        while end > begin and not _carries(tokens[end - 1], ratios[end - 1]):
            end -= 1
        run = tokens[begin:end]
        long = len(run) >= LONG_WORDS and lexicon.likely(text[run[0].begin : run[-1].end], learn) > WHOLE
        if run and not long and not _is_name(run, learn) and not _is_borrowed(run, learn, lexicon):
            lemmas = tuple(lexicon.lemma(token.text.lower(), own) for token in run if token.is_word)
            place = run[0].begin, run[-1].end
            found.append(Switch(text[place[0] : place[1]], *place, lemmas))
    return found


def _carries(token: _Token, ratio: float) -> bool:
    """Tell whether a word at the edge of a switch belongs to it by itself."""
    return token.is_word and ratio > 0.0


def _is_borrowed(run: Sequence[_Token], learn: str, lexicon: Lexicon) -> bool:
    words = [token.text.lower() for token in run]
    return lexicon.is_borrowed("-".join(words), learn) or all(lexicon.is_borrowed(word, learn) for word in words)


def _is_name(run: Sequence[_Token], learn: str) -> bool:
    """Tell whether a stretch is a name: it has a capital where the language that is learnt gives nouns none."""
    capitals = (token for token in run if token.text[0].isupper() and not token.starts and token.text[:2] not in _I)
    return learn not in CAPITAL_NOUNS and any(capitals)


def _ratio(token: _Token, learn: str, own: str, lexicon: Lexicon) -> float:
    """Return the logarithm of how much likelier a word is one of ``own`` than one of ``learn``."""
    if not token.is_word:
        return 0.0
    word = token.text.lower().replace("’", "'")
    mine, theirs = lexicon.zipf(word, own), lexicon.zipf(word, learn)
    more = mine - theirs
    if mine >= FUNCTION_ZIPF and more >= CLEAR:
        return FUNCTION  # the, of, to: other languages quote them, and dictionaries list them
    ratio = 1.5 * more + (KNOWN if lexicon.is_known(word, own) else UNKNOWN)
    ratio -= KNOWN if lexicon.is_known(word, learn) else UNKNOWN
    if theirs >= BORROWED_ZIPF:
        ratio -= (2.0 * (theirs - BORROWED_ZIPF) + 1.0) * max(0.0, 1.0 - more / CLEAR)
    if token.text[:1].isupper() and not (token.starts and more >= NAME_DIFFERENCE):
        nouns_have = learn in CAPITAL_NOUNS or token.starts
        ratio += NAME if not nouns_have or more < NAME_DIFFERENCE else 0.0
    if mine < RARE_ZIPF:
        ratio -= 3.0
    floor = -1.0 if mine >= FUNCTION_ZIPF else -LIMIT
    return max(floor, min(LIMIT, ratio))


def _best(ratios: Sequence[float]) -> list[bool]:
    """Return which words are of one's own: the likeliest path through two states."""
    away = 0.0, -SWITCH
    back: list[tuple[bool, bool]] = []
    for ratio in ratios:
        stay, leave = away[0], away[1] - BACK
        fall, go_on = away[0] - SWITCH, away[1]
        back.append((leave > stay, go_on >= fall))
        away = max(stay, leave), max(fall, go_on) + ratio
    inside, here = [False] * len(ratios), away[1] - BACK > away[0]
    for i in range(len(ratios) - 1, -1, -1):
        inside[i] = here
        here = back[i][1] if here else back[i][0]
    return inside


def _runs(inside: Sequence[bool]) -> list[tuple[int, int]]:
    runs, begin = [], None
    for i, one in enumerate([*inside, False]):
        if one and begin is None:
            begin = i
        elif not one and begin is not None:
            runs.append((begin, i))
            begin = None
    return runs
