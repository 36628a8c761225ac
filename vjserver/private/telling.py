"""What a dream tells: its most telling sentences, a title, and the signs that return."""

import importlib.util
import textwrap
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

from vjserver.keeping.dreams import Dream, Dreams
from vjserver.recognisers.lexicon import LINE
from vjserver.show.addresses import MAX_TEXT
from vjserver.speech.salience import Zipf, clauses_of, ranked_of
from vjserver.types.errors import ConfigError

TELLING, TITLE = 3, 80
RARE_ZIPF = 5.3
"""What is more common than this is no sign."""
LEMMAS = ("de", "en", "es", "fr", "it")


@cache
def zipf_of(language: str) -> Zipf:
    """Return how common words of a language are; English where nothing is known of it. ConfigError without wordfreq."""
    try:
        import wordfreq
    except ImportError:
        raise ConfigError(f"the journal needs wordfreq: {LINE}") from None
    code = language if language in wordfreq.available_languages() else "en"
    try:
        wordfreq.zipf_frequency("a", code)
    except ImportError:  # of some languages words are found by packages that are not here
        code = "en"
    return lambda word: float(wordfreq.zipf_frequency(word, code))


def telling_of(text: str, language: str, count: int = TELLING) -> list[str]:
    """Return the most telling sentences of a dream, in the order in which they were told."""
    best = ranked_of(list(dict.fromkeys(clauses_of(text))), zipf_of(language))[:count]  # what is said again, once
    return [one.text[:MAX_TEXT] for one in sorted(best, key=lambda one: one.place)]


def title_of(text: str, language: str) -> str:
    """Return a title: the most telling sentence, as far as it fits."""
    found = ranked_of(clauses_of(text), zipf_of(language))
    return textwrap.shorten(found[0].text, TITLE, placeholder=" …").rstrip(" .,") if found else ""


def titled(dream: Dream) -> Dream:
    """Return an entry with a title, where it has none."""
    return dream if dream.title.strip() else replace(dream, title=title_of(dream.text, dream.language))


def signs_of(dreams: Dreams) -> list[tuple[str, int]]:
    """Return words and tags that return in three dreams or more, and in how many."""
    lemmatize: Any = None
    if importlib.util.find_spec("simplemma") is not None:
        from simplemma import lemmatize

    @lru_cache(65536)
    def sign(word: str, language: str) -> str:
        common = zipf_of(language)(word)
        if common >= RARE_ZIPF or common == 0.0:
            return ""
        if lemmatize is None:
            return word
        return str(lemmatize(word, language if language in LEMMAS else "en")).lower()

    return dreams.signs(sign)
