"""Words: what a recogniser says of a stretch of sound, and what two of its answers in a row agree on."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ContextName = Literal["partial", "short", "full"]
"""How much of its art a recogniser uses: while somebody speaks, right behind it, and where there is time."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it was written, and its time in seconds from the begin of the sound; -1 where it is not known."""

    text: str
    begin_s: float = -1.0
    end_s: float = -1.0
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What a recogniser makes of a stretch of sound.

    ``confidence`` is 0..1 (the mean probability of its signs); ``language`` a code such as ``en``, ``""`` where it is
    not known; ``silence`` how likely nobody speaks, 0..1. ``words`` may be missing where times were not asked for.
    """

    text: str
    language: str = ""
    confidence: float = 1.0
    silence: float = 0.0
    words: tuple[Word, ...] = ()
    fault: str = ""
    """Why somebody else had to write it down, where that was so."""


def bare(word: str) -> str:
    """Return a word as it is compared: case folded, NFKC, letters, their marks and digits only."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return "".join(c for c in folded if c.isalnum() or c == "'" or unicodedata.category(c)[0] == "M").strip("'")


_BREAK = re.compile(r"\s+")


def split(text: str) -> list[str]:
    """Return the words of a text as they are written."""
    return [word for word in _BREAK.split(text.strip()) if bare(word)]


class Agreement:
    """Keeps what two successive answers agree on, from the begin of an utterance on: it grows and never shrinks.

    LocalAgreement-2 of Liu et al., "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial
    Hypothesis Selection", 2020.
    """

    def __init__(self) -> None:
        self.committed: tuple[str, ...] = ()
        self._before: list[str] = []
        self._shown: tuple[str, ...] = ()

    def hear(self, text: str) -> None:
        """Take the next answer for the same utterance."""
        words, before, self._before = split(text), self._before, split(text)
        agreed = _common(words, before)
        held = len(self.committed)
        if agreed >= held and _common(words, self.committed) == held:
            self.committed = (*self.committed, *words[held:agreed])
        self._shown = self._longest(words)

    def _longest(self, words: Sequence[str]) -> tuple[str, ...]:
        """Return what is shown: the newest words behind those agreed on; in a pause nothing goes away again."""
        held = len(self.committed)
        fresh = tuple(words) if _common(words, self.committed) == held else (*self.committed, *words[held:])
        return fresh if len(fresh) >= len(self._shown) else (*fresh, *self._shown[len(fresh) :])

    @property
    def text(self) -> str:
        """All that was heard so far, agreed on or not."""
        return " ".join(self._shown)

    @property
    def agreed(self) -> str:
        """What was agreed on."""
        return " ".join(self.committed)


def _common(some: Sequence[str], others: Sequence[str]) -> int:
    """Return how many words two lists have in common from their begin."""
    count = 0
    for one, other in zip(some, others, strict=False):
        if bare(one) != bare(other):
            break
        count += 1
    return count
