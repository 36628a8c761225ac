"""Two languages in one sentence: what a recogniser hears in either goes in, one text comes out.

A recogniser that is told one language leaves out words of another one, or writes something that sounds alike; either
way it is unsure there. Such doubtful stretches are looked up in what it heard in the other language, at the same time
and in a second hearing of the stretch alone; the likelier of them is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vjserver.speech.guards import is_made_up
from vjserver.speech.switches import Lexicon
from vjserver.speech.words import Hypothesis, Word, bare

DOUBT = 0.45
"""A word that is less likely than this is doubtful; so is one that no dictionary knows."""
SURE = 0.45
FASTEST_S = 0.12
"""Nobody says more words than one in so many seconds."""
MORE = 1.25
"""So much likelier a stretch must be in one's own language: in the other one it was expected."""
AROUND_S = 0.12
"""Times of words are so inexact."""
MOST_S, LEAST_S = 4.0, 0.15
MOST_SPANS = 6
FEW, SHARED = 5, 0.3
"""A sentence of more words than this shares so much with what was heard in the other language, or is a translation."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a sentence: words ``first`` to ``last`` (not included), and its time in seconds."""

    first: int
    last: int
    begin_s: float
    end_s: float


def doubtful(words: Sequence[Word], language: str, lexicon: Lexicon) -> list[Span]:
    """Return stretches of which it is doubtful whether they are of a language, in order."""
    spans: list[Span] = []
    for i, word in enumerate(words):
        letters = bare(word.text)
        unsure = word.confidence < DOUBT or (letters.isalpha() and not lexicon.is_known(letters, language))
        if not unsure or word.begin_s < 0.0:
            continue
        begin_s = words[i - 1].end_s if i else 0.0  # what was left out lies between them
        before = spans[-1] if spans else None
        if before is not None and before.last == i:
            spans[-1] = Span(before.first, i + 1, before.begin_s, word.end_s)
        else:
            spans.append(Span(i, i + 1, min(begin_s, word.begin_s), word.end_s))
    return [span for span in spans if LEAST_S <= span.end_s - span.begin_s <= MOST_S][:MOST_SPANS]


def mixed(
    heard: Hypothesis,
    own: Hypothesis,
    learn: str,
    code: str,
    lexicon: Lexicon,
    again: Callable[[float, float, str], Hypothesis],
) -> str:
    """Return what was said, with what of it was in one's own language ``code``.

    ``heard`` and ``own`` are the sentence in either language, with times; ``again`` decodes it from one second to
    another in a language.
    """
    words = [word.text for word in heard.words]
    if not words:
        return heard.text
    left = [] if _is_translated(heard, own) else list(own.words)
    taken: list[tuple[Span, str]] = []
    for span in doubtful(heard.words, learn, lexicon):
        found = _likelier(span, heard.words, left, learn, code, lexicon, again)
        if found:
            taken.append((span, found))
            used = {bare(word) for word in found.split()}
            left = [word for word in left if bare(word.text) not in used]
    for span, text in reversed(taken):
        words[span.first : span.last] = [text]
    return " ".join(words)


def _is_translated(heard: Hypothesis, own: Hypothesis) -> bool:
    """Tell whether a recogniser that was told one's own language has translated into it, and not written down."""
    there = {bare(word.text) for word in heard.words}
    words = [bare(word.text) for word in own.words]
    return len(set(words)) > FEW and sum(word in there for word in words) < SHARED * len(words)


def _likelier(
    span: Span, heard: Sequence[Word], own: Sequence[Word], learn: str, code: str, lexicon: Lexicon,
    again: Callable[[float, float, str], Hypothesis],
) -> str:  # fmt: skip
    """Return what a stretch is in one's own language, ``""`` where it is likelier in the other one."""
    now = heard[span.first : span.last]
    if all(_is_own(word.text, learn, code, lexicon) for word in now):
        return ""  # it was understood as it is
    begin_s, end_s = span.begin_s - AROUND_S, span.end_s + AROUND_S
    before = sum(word.confidence for word in now) / len(now)
    there = [word for word in own if begin_s <= (word.begin_s + word.end_s) / 2 <= end_s]
    if _is_likelier(there, before, end_s - begin_s, learn, code, lexicon):
        return _around(now, there, learn, lexicon)
    alone, theirs = again(begin_s, end_s, code), again(begin_s, end_s, learn)
    found = [Word(w.text, w.begin_s + begin_s, w.end_s + begin_s, w.confidence) for w in alone.words]
    said = alone.confidence > MORE * theirs.confidence and not is_made_up(alone, end_s - begin_s)
    if said and _is_likelier(found, before, end_s - begin_s, learn, code, lexicon):
        return _around(now, found, learn, lexicon)
    return ""


def _is_likelier(found: Sequence[Word], before: float, seconds: float, learn: str, code: str, lexicon: Lexicon) -> bool:
    """Tell whether words of one's own are likelier than what was heard before."""
    if not found or not any(_is_own(word.text, learn, code, lexicon) for word in found):
        return False
    if not all(lexicon.is_known(bare(word.text), code) for word in found if bare(word.text)):
        return False
    fits = len(found) * FASTEST_S <= seconds and len({bare(word.text) for word in found}) == len(found)
    return fits and sum(word.confidence for word in found) / len(found) > max(SURE, MORE * before)


def _around(now: Sequence[Word], mine: Sequence[Word], learn: str, lexicon: Lexicon) -> str:
    """Return words of one's own, in small letters, between those of the stretch that are of the other language."""
    begin_s, end_s = mine[0].begin_s, mine[-1].end_s
    kept = [word for word in now if lexicon.is_known(bare(word.text), learn)]
    before = [word.text for word in kept if word.end_s <= begin_s + AROUND_S]
    after = [word.text for word in kept if word.begin_s >= end_s - AROUND_S and word.text not in before]
    return " ".join((*before, *(word.text.strip(".,!?…¡¿").lower() for word in mine), *after))


def _is_own(text: str, learn: str, code: str, lexicon: Lexicon) -> bool:
    """Tell whether a word is one of one's own language, and clearly not of the other one."""
    word = bare(text)
    if not word or not lexicon.is_known(word, code):
        return False
    return lexicon.zipf(word, code) > lexicon.zipf(word, learn) + 0.5
