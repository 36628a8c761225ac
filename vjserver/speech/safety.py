"""Safety: a text goes in, and comes out as it may be shown; what may not be shown is said too.

Words are compared whole, after NFKC and case folding, so that Scunthorpe is a town; a plural is its singular too. A row
of several words is a phrase.
"""

import re
import unicodedata
from collections.abc import Iterable

MASK = "***"
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def _folded(word: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())
    return folded.replace("’", "'").removesuffix("'s")


def _forms(word: str) -> tuple[str, ...]:
    """Return what a folded word is compared as: itself, and without the ``s`` of a plural."""
    return tuple(dict.fromkeys((word, word.removesuffix("s"), word.removesuffix("es"))))


class SafetyList:
    """Words that are never shown. Lines that begin with ``#``, and empty ones, are left out."""

    def __init__(self, rows: Iterable[str]) -> None:
        kept = [row.strip() for row in rows if row.strip() and not row.strip().startswith("#")]
        self._rows = {tuple(_folded(word) for word in _WORD.findall(row)) for row in kept} - {()}
        self._longest = max((len(row) for row in self._rows), default=0)

    def __call__(self, text: str) -> tuple[str, bool]:
        """Return a text with such words masked, and whether there were any."""
        if not self._rows:
            return text, False
        text = unicodedata.normalize("NFKC", text)  # so that places in it are those of its words
        found = list(_WORD.finditer(text))
        words = [_folded(match.group()) for match in found]
        masked = [False] * len(words)
        for at in range(len(words)):
            for size in range(1, min(self._longest, len(words) - at) + 1):
                *before, last = words[at : at + size]
                if any((*before, form) in self._rows for form in _forms(last)):
                    masked[at : at + size] = [True] * size
        if not any(masked):
            return text, False
        parts, end = [], 0
        for match, hidden in zip(found, masked, strict=True):
            if hidden:
                parts += [text[end : match.start()], MASK]
                end = match.end()
        return "".join([*parts, text[end:]]), True
