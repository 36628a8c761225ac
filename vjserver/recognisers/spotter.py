"""Spotter: a second opinion on the wake word. Sound goes in, whether it begins with that word comes out (pocketsphinx).

Alone it would hear its word in much that sounds like it; so it is asked only where the recogniser wrote something like
the wake word: "compare, next". Measured on three voices of flite: 9 of 9 commands, 3 of 27 sentences that only sound
alike. English words only.
"""

import importlib
from collections.abc import Callable

import numpy as np

from vjserver.speech.mel import RATE_HZ
from vjserver.types.audio import Float32

THRESHOLD = 1e-10
BEGIN_S = 2.0


def wake_spotter(phrase: str) -> Callable[[Float32], bool] | None:
    """Return what tells whether mono sound at 16 kHz begins with a phrase; None where that cannot be told.

    That is where pocketsphinx is not installed, or knows a word of the phrase not at all.
    """
    try:
        library = importlib.import_module("pocketsphinx")
        known = library.Decoder(library.Config(lm=None, loglevel="FATAL"))
        if not all(known.lookup_word(word) for word in phrase.lower().split()):
            return None
        decoder = library.Decoder(library.Config(keyphrase=phrase.lower(), kws_threshold=THRESHOLD, loglevel="FATAL"))
    except (ImportError, RuntimeError, ValueError):
        return None

    def spots(sound: Float32) -> bool:
        begin = np.clip(sound[: round(BEGIN_S * RATE_HZ)], -1.0, 1.0)
        decoder.start_utt()
        decoder.process_raw((begin * 32767.0).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        return decoder.hyp() is not None

    return spots
