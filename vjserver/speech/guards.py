"""Guards: what a recogniser says is weighed against the sound; what it made up is left out.

A recogniser trained on films writes "Thanks for watching" into silence, loops, and repeats the words that it was told
to expect, all with high confidence. So the sound decides: how long somebody spoke, and how much can be said in it.
"""

import re
from collections.abc import Sequence

from vjserver.speech.words import Hypothesis, bare, split

FASTEST_SIGNS_A_SECOND = 34.0
FASTEST_WORDS_A_SECOND = 7.0
LIVELY_WORDS_A_SECOND = 4.0
SHORT_S = 0.9
LEAST_VOICE_S = 0.16
LEAST_CONFIDENCE = 0.30
LEAST_CONFIDENCE_SHORT = 0.42
MOST_REPEATS = 4
_NOTES = re.compile(r"[\[(*♪][^\])*♪]*[\])*♪]|[♪#*_~<>|=]+")
# Written into noise and silence by recognisers trained on subtitles.
GHOSTS = frozenset(
    [
        "you",
        "thank you",
        "thanks",
        "thank you very much",
        "thank you so much",
        "thanks for watching",
        "thank you for watching",
        "bye",
        "bye bye",
        "okay",
        "ok",
        "oh",
        "uh",
        "um",
        "hmm",
        "mm",
        "mhm",
        "ah",
        "the end",
        "so",
        "music",
        "applause",
        "laughter",
        "silence",
        "subscribe",
        "please subscribe",
        "subtitles by the amara org community",
        "we'll be right back",
        "i'll see you next time",
        "see you next time",
        "gracias",
        "merci",
        "danke",
        "untertitel der amara org community",
        "sous titres réalisés par la communauté d'amara org",
    ]
)


def told(text: str) -> str:
    """Return a text without what is not speech: ``[Music]``, ``(applause)``, notes and stars."""
    return " ".join(_NOTES.sub(" ", text).replace("...", " ").split()).strip(" -")


def longest_repeat(words: Sequence[str]) -> tuple[int, int]:
    """Return how often a stretch of words follows itself at most, and how many words it has."""
    plain = [bare(word) for word in words]
    best = (1, 0)
    for size in range(1, min(12, len(plain) // 2) + 1):
        for begin in range(len(plain) - size):
            piece, count = plain[begin : begin + size], 1
            while plain[begin + count * size : begin + (count + 1) * size] == piece:
                count += 1
            best = max(best, (count, size)) if count > 1 else best
    return best


def loops(text: str, seconds: float) -> bool:
    """Tell whether a text runs in circles: more repeats than somebody would say, or could in that time.

    "No no no no" is said; a sentence is hardly said three times over.
    """
    words = split(text)
    if _begins_again(words) and len(words) > LIVELY_WORDS_A_SECOND * max(0.3, seconds):
        return True
    count, size = longest_repeat(words)
    said = count * size
    if count < 3 or (size == 1 and count <= MOST_REPEATS and said <= FASTEST_WORDS_A_SECOND * seconds):
        return False
    return size > 3 or count > MOST_REPEATS + 2 or said > FASTEST_WORDS_A_SECOND * max(0.3, seconds)


def _begins_again(words: Sequence[str]) -> bool:
    """Tell whether a text of five words or more is followed by its own begin, to the end of it all."""
    plain = [bare(word) for word in words]
    return any(plain[size:] == plain[: len(plain) - size] for size in range(5, len(plain) - 1))


def echoes(text: str, hints: Sequence[str]) -> bool:
    """Tell whether a text is what the recogniser was told to expect, said back to us: three of the words in a row."""
    expected = [bare(word) for hint in hints for word in split(hint)]
    words = [bare(word) for word in split(text)]
    least = min(3, len(expected))
    if least < 2:
        return False
    runs = {tuple(expected[i : i + least]) for i in range(len(expected) - least + 1)}
    return any(tuple(words[i : i + least]) in runs for i in range(len(words) - least + 1))


def is_made_up(found: Hypothesis, voice_s: float) -> bool:
    """Tell whether nothing was said: ``voice_s`` is for how long somebody spoke, by the sound."""
    text = told(found.text)
    words = split(text)
    if not words or voice_s < LEAST_VOICE_S:
        return True
    if len(text) > FASTEST_SIGNS_A_SECOND * max(0.4, voice_s):
        return True
    if found.confidence < LEAST_CONFIDENCE or (found.silence > 0.6 and found.confidence < 0.5):
        return True
    plain = " ".join(bare(word) for word in words)
    if plain in GHOSTS and (voice_s < SHORT_S or found.confidence < 0.6 or found.silence > 0.3):
        return voice_s < 0.3 or found.confidence < 0.6 or found.silence > 0.3
    if voice_s < SHORT_S and found.confidence < LEAST_CONFIDENCE_SHORT:
        return True
    return loops(text, voice_s)
