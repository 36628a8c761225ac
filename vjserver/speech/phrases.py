"""Phrases: what somebody said goes in, the part of it that is a picture comes out.

Talk is taken apart at pauses and at the words that ask ("show me", "can we have"). What is taken back ("a dog, no wait,
a cat") and what is denied ("not a dog, a cat") goes first, then filler. Of what is left the rarest piece is told: words
of pictures are rarer than words of talk (frequencies by ``wordfreq``, on Zipf's scale: 7 is "the", 3 is "lantern").
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vjserver.speech.words import bare

Rarity = Callable[[str, str], float]
"""Tells how common a word of a language is: 0 where it is unknown to 8."""

COMMON = 6.0
LEAST_SCORE = 0.6
MOST_WORDS = 24


@dataclass(frozen=True, slots=True)
class Grammar:
    """What a language's words of talk are."""

    joins: frozenset[str]
    """Words that belong to a picture in its middle, and not at its ends."""
    articles: frozenset[str]
    filler: tuple[str, ...]
    """What means nothing wherever it stands, as patterns."""
    requests: tuple[str, ...]
    """What asks for a picture, and stands before it."""
    takes_back: tuple[str, ...]
    """After these, what was said before does not count."""
    denies: tuple[str, ...]
    """After these comes what is not wanted, up to the next pause or ``but``."""
    but: tuple[str, ...]
    ends: frozenset[str]
    """Words of talk with which no picture begins or ends."""
    leads: frozenset[str]
    """Words with which none begins."""
    talk: frozenset[str]
    """More words that are of talk: they make no picture, though they may stand in one."""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


ENGLISH = Grammar(
    joins=_set("of in on under over with at into out through from to by and between behind beneath above below beside across around "
               "against along inside outside within without toward towards near up down off as like or than upon where full "
               "its their his her that which who is are was be being"),
    articles=_set("a an the some my your our this that these those"),
    filler=(r"some (?:kind|sort) of", r"u+m+", r"u+h+", r"e+r+m?", r"h+m+", r"you know", r"i mean", r"kind of", r"kinda", r"sort of", r"sorta", r"basically",
            r"actually", r"literally", r"honestly", r"maybe", r"perhaps", r"please", r"really", r"just", r"i guess", r"i think",
            r"i don't know", r"i suppose", r"or something(?: like that)?", r"or whatever", r"and stuff(?: like that)?", r"and so on",
            r"if you can", r"if possible", r"if you don't mind", r"right now", r"for me", r"for us", r"again", r"thanks", r"thank you",
            r"like,", r", like", r"well,", r"so,", r"(?:, )?right", r"wow", r"exactly", r"okay", r"ok", r"alright", r"all right", r"yeah", r"yes", r"oh", r"hey", r"hello",
            r"hi", r"now", r"then", r"anyway", r"everybody", r"everyone", r"guys"),
    requests=(r"(?:can|could|may|would|will) (?:you|we|i)(?: all)?(?: please)? (?:have|get|see|show me|show us|show|give me|give us|give|make me|make|"
              r"do|try|draw me|draw|paint me|paint|put up|put|bring up|bring|go to|go with|use|turn it into|imagine)",
              r"(?:i|we)(?:'d| would)? (?:want|need|like|love)(?: you)? to (?:see|have|get|show me|show us|show|make|draw|paint|try|look at)",
              r"(?:i|we)(?:'d| would)? (?:want|need|like|love|see|saw|imagine|dreamed of|dreamt of|dream of|picture|am thinking of|"
              r"was thinking of|was thinking|am thinking|had|have)", r"(?:and )?have(?= an? )", r"i'm (?:thinking of|seeing|imagining|picturing|thinking)",
              r"let's (?:see|have|go with|go to|go for|try|get|do|make it|make|put up|imagine)", r"let me (?:see|have)",
              r"show (?:me|us|them)?", r"give (?:me|us|them)", r"make (?:me|us|it|that|this|them)(?: look like)?", r"turn (?:it|that|this|everything) into",
              r"draw (?:me|us)?", r"paint (?:me|us)?", r"bring (?:me|us|up|in|out)", r"put (?:up|on|in)?", r"imagine", r"picture this", r"picture",
              r"think of", r"how about", r"what about", r"what if (?:there (?:was|were|is)|it (?:was|were)|we had|we have|we see|we saw)", r"what if",
              r"there(?:'s| is| are| was| were)", r"here(?:'s| is| are| comes)", r"it(?:'s| is| was)(?: like)?(?= an? )", r"it should be",
              r"it could be", r"something like", r"a picture of", r"an image of", r"a photo of", r"the one with", r"try", r"we need", r"we see",
              r"we have", r"we want", r"look at", r"ready for"),
    takes_back=(r"no wait", r"wait no", r"no no", r"no sorry", r"sorry", r"hang on", r"or no", r"scratch that", r"forget (?:that|it)", r"i meant", r"i mean", r"rather",
                r"or rather", r"make that", r"correction", r"actually no", r"no actually", r"hold on", r"wait", r"never mind", r"on second thought"),
    denies=(r"not", r"no more", r"don't (?:show me|show|give me|give us|make|want|do|use|put|draw|paint)?", r"do not (?:show me|show|give me|want|use)?",
            r"instead of", r"rather than", r"without", r"anything but", r"no", r"never", r"enough of", r"enough with", r"forget(?: about)?",
            r"i'm (?:tired|sick|bored) of", r"less", r"stop with", r"isn't", r"aren't", r"i don't (?:want|need|like)", r"we don't (?:want|need)",
            r"but not", r"leave out", r"skip"),
    but=(r"(?:can|could|may) (?:we|you|i)", r"but", r"instead", r"just", r"only", r"i want", r"show me", r"give me", r"let's", r"make it", r"more like", r"i said"),
    ends=_set("i you we they he she it me us them him for can could would should will do does did have has had get got want gonna let need please what when how "
              "why if this these those because so too also even still only already yet ever always never but and something anything everything nothing someone one "
              "i'm it's that's don't let's you're we're i'll we'll there's what's can't won't am be very much really"),
    leads=_set("see look looks looking like think thinking know say said tell take go goes come hear try get maybe what's"),
    talk=_set("make go going come see say said tell know think look looks thing things stuff lot bit more most here there good great nice cool awesome beautiful "
              "lovely amazing work works working time sound sounds picture screen show thank thanks back right left way kind part test check microphone mic people "
              "wanted next last first second minute minutes night tonight today tomorrow ready happy sure fine hear hold start stop song track set music after "
              "before friends question questions idea point moment help break drink drinks door phone applause hands"),
)  # fmt: skip

GRAMMARS = {"en": ENGLISH}
# Where a language has no table of its own: what it is made of by frequency alone.
_NONE: frozenset[str] = frozenset()
_ANY = Grammar(_NONE, _NONE, (r"u+m+", r"u+h+", r"e+h+", r"ä+h+m?"), (), (), (), (), _NONE, _NONE, _NONE)
_MEANT = frozenset(("them", "it", "him", "her", "us", "me", "you"))
_PAUSE = re.compile(r"[.;:!?\n…]+|\s[-–—]+\s|[—–]")
_STOP = re.compile(rf",|{_PAUSE.pattern}")
_WORD = re.compile(
    r"[^\s.,;:!?…\"“”„«»()\[\]{}<>|/\\¿¡*_-](?:[^\s.,;:!?…\"“”„«»()\[\]{}<>|/\\¿¡*_]*[^\s.,;:!?…\"“”„«»()\[\]{}<>|/\\¿¡*_'’-])?"
)


def _either(patterns: Sequence[str]) -> "re.Pattern[str]":
    longest_first = sorted(patterns, key=len, reverse=True)
    return re.compile(r"\b(?:" + "|".join(longest_first) + r")(?!\w|')", re.IGNORECASE)


def _compiled(grammar: Grammar) -> dict[str, "re.Pattern[str] | None"]:
    names = ("filler", "requests", "takes_back", "denies", "but")
    return {name: _either(rows) if (rows := getattr(grammar, name)) else None for name in names}


_PATTERNS = {code: _compiled(grammar) for code, grammar in {**GRAMMARS, "": _ANY}.items()}


def phrase_of(text: str, language: str, rarity: Rarity) -> str:
    """Return the phrase of a text that makes a picture, in lower case without punctuation; ``""`` where there is none."""
    grammar, patterns = GRAMMARS.get(language, _ANY), _PATTERNS.get(language, _PATTERNS[""])
    text = " " + text.replace("’", "'").lower().strip() + " "
    text = _without_taken_back(text, patterns["takes_back"])
    text = _without_denied(text, patterns["denies"], patterns["but"], grammar)
    if patterns["filler"] is not None:
        text = " ".join(patterns["filler"].sub(" ", text).split())
    best: tuple[float, list[str]] = (0.0, [])
    for piece in _pieces(text, patterns["requests"], grammar):
        words = _trimmed(_once(piece), grammar)
        best = max(best, (_score(words, grammar, language, rarity), words), key=lambda row: row[0])
    return " ".join(best[1][:MOST_WORDS]) if best[0] >= LEAST_SCORE else ""


def _without_taken_back(text: str, takes_back: "re.Pattern[str] | None") -> str:
    """Return what counts after somebody corrected himself: what follows, where anything does."""
    if takes_back is None:
        return text
    parts = [part for part in takes_back.split(text) if _WORD.search(part)]
    return parts[-1] if parts else text


def _without_denied(
    text: str, denies: "re.Pattern[str] | None", but: "re.Pattern[str] | None", grammar: Grammar
) -> str:
    """Return a text without what is not wanted: from ``not`` to the next pause, to ``but``, or to the next article."""
    if denies is None or but is None:
        return text
    kept, rest = [], text
    while (found := denies.search(rest)) is not None:
        kept.append(rest[: found.start()])
        rest = rest[found.end() :]
        ends = [match.start() for match in (_STOP.search(rest), but.search(rest)) if match is not None]
        articles = [m.start() for m in _WORD.finditer(rest) if m.group() in grammar.articles]
        rest = rest[min(ends) if ends else articles[1] if len(articles) > 1 else len(rest) :]
        rest = re.sub(r"^[\s,]*\bbut\b", ",", rest)
    return ", ".join([*kept, rest])


def _pieces(text: str, requests: "re.Pattern[str] | None", grammar: Grammar) -> list[list[str]]:
    """Return the pieces of a text, as words. Behind a comma a picture may go on: "a dancer, barefoot and golden"."""
    marked = requests.sub(" . ", text) if requests is not None else text
    pieces: list[list[str]] = []
    for sentence in _PAUSE.split(marked):
        goes_on = False
        for part in sentence.split(","):
            words = _WORD.findall(part)
            begins = grammar.articles | grammar.ends - grammar.joins - {"and"}
            if goes_on and words and words[0] not in begins:
                pieces[-1] += words
            elif words:
                pieces.append(words)
                goes_on = True
    return pieces


def _once(words: list[str]) -> list[str]:
    """Return a piece without what was said twice, as one who looks for words does: "a like a giant eye"."""
    kept: list[str] = []
    for word in words:
        kept.append(word)
        for size in range(1, len(kept) // 2 + 1):
            if kept[-size:] == kept[-2 * size : -size]:
                del kept[-size:]
                break
    return kept


def _trimmed(words: list[str], grammar: Grammar) -> list[str]:
    """Return a piece without words of talk and joins at its ends; an article stays before what it belongs to."""
    words = list(words)
    hollow = grammar.joins | grammar.articles | grammar.ends
    while words and words[-1] in hollow and not (len(words) > 1 and words[-1] in _MEANT and words[-2] in grammar.joins):
        words.pop()
    while words and words[0] in (grammar.joins | grammar.ends | grammar.leads) - grammar.articles:
        words.pop(0)
    return words


def _score(words: Sequence[str], grammar: Grammar, language: str, rarity: Rarity) -> float:
    """Return how much of a picture a piece is: the rarity of its words, added up."""
    score = 0.0
    for word in words:
        if word in grammar.joins | grammar.articles | grammar.ends | grammar.talk:
            continue
        common = rarity(bare(word), language)
        score += min(4.0, max(0.0, COMMON - common))
    return score
