"""Salience: a report of sentences goes in, which of them are most telling comes out, for a picture each.

A sentence tells more the rarer its words are, the more of them can be seen or felt, and where something happens that
cannot; it tells less the more it fills, hedges, or reports what anybody does in the morning.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Zipf = Callable[[str], float]
_SENTENCE = re.compile(r"[^.!?…。！？]+[.!?…。！？]*[\"'”’)]*")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
COMMON, RAREST = 5.2, 2.2
"""Zipf frequencies: what is more common tells nothing, what is rarer no more than that."""
LIKELY_LENGTH = 14
LONGEST, SHORTEST = 18, 4
"""A sentence of more words than this is taken in its clauses, of so many words at least."""
_CLAUSE = re.compile(r",\s+")
_STRANGE_WORDS = """
    suddenly became turned turning melted melting floated floating flying flew falling fell dissolved glowing glowed
    burning endless upside backwards inside-out invisible giant enormous huge tiny hundreds thousands whispering
    whispered screaming bleeding dead alive faceless face without nobody impossible somehow instead breathing talking
    speaking singing drowning underwater made opened growing grew vanished disappeared
    plötzlich verwandelte flog schwebte riesig unendlich ohne schmolz fiel verschwand
    de-repente volaba flotaba gigante enorme infinito sin derretía caía desapareció"""
_DULL_WORDS = """
    think remember guess maybe probably kind sort something stuff thing anyway okay yeah um uh er so like well
    alarm woke wake waking morning work office meeting phone email bus breakfast coffee kitchen yesterday actually
    basically just really normal usual boring fine glaube vielleicht irgendwie also halt wecker aufgewacht
    creo quizás bueno pues despertador desperté"""
_STRANGE, _DULL = frozenset(_STRANGE_WORDS.split()), frozenset(_DULL_WORDS.split())


@dataclass(frozen=True, slots=True)
class Told:
    """A sentence, its place in the report (from 0), and how telling it is."""

    text: str
    place: int
    score: float


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text."""
    return [" ".join(found.split()) for found in _SENTENCE.findall(text) if _WORD.search(found)]


def clauses_of(text: str) -> list[str]:
    """Return the sentences of a text, those that run on and on in their clauses: what is spoken often has no stop."""
    found: list[str] = []
    for sentence in sentences_of(text):
        parts = [sentence]
        if len(sentence.split()) > LONGEST:
            parts = []
            for clause in _CLAUSE.split(sentence):
                if parts and min(len(clause.split()), len(parts[-1].split())) < SHORTEST:
                    parts[-1] += f", {clause}"
                else:
                    parts.append(clause)
        found += parts
    return found


def score_of(sentence: str, zipf: Zipf) -> float:
    """Return how telling a sentence is."""
    words = [word.lower().replace("’", "'") for word in _WORD.findall(sentence)]
    if not words:
        return 0.0
    rarity = sum(max(0.0, COMMON - max(RAREST, zipf(word))) for word in set(words))
    strange = sum(word in _STRANGE for word in words)
    dull = sum(word in _DULL for word in words)
    length = max(len(words), LIKELY_LENGTH) ** 0.5
    return float((rarity + 1.6 * strange - 1.4 * dull) / length)


def ranked(text: str, zipf: Zipf) -> list[Told]:
    """Return the sentences of a report, the most telling first."""
    return ranked_of(sentences_of(text), zipf)


def ranked_of(sentences: Sequence[str], zipf: Zipf) -> list[Told]:
    """Return sentences, the most telling first."""
    told = [Told(one, i, score_of(one, zipf)) for i, one in enumerate(sentences)]
    return sorted(told, key=lambda one: (-one.score, one.place))
