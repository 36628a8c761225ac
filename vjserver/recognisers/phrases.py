"""The phrase of what was said, by how common its words are in a language (``wordfreq``, 40 languages)."""

import importlib
import logging
from collections.abc import Callable
from functools import lru_cache

from vjserver.speech.phrases import phrase_of
from vjserver.types.errors import DeviceError


def phrase_chooser() -> Callable[[str, str], str]:
    """Return ``choose(text, language)``: the part of a text that is a picture. Raises DeviceError."""
    try:
        wordfreq = importlib.import_module("wordfreq")
    except ImportError as error:
        raise DeviceError(f"speech is not available ({error}); pip install 'vjserver[speech]'") from None

    logging.getLogger("wordfreq").setLevel(logging.ERROR)  # it says on the terminal which scripts it cannot part

    @lru_cache(4096)
    def rarity(word: str, language: str) -> float:
        try:
            return float(wordfreq.zipf_frequency(word, language or "en"))
        except (
            LookupError,
            ImportError,
        ):  # it knows no words of it, or cannot part them: all are as rare
            return 3.0

    return lambda text, language: phrase_of(text, language, rarity)
