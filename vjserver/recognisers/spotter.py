"""Spotter: a second opinion on the wake word. Sound goes in, whether it begins with that word comes out (pocketsphinx).

Alone it would hear its word in much that sounds like it; so it is asked only where the recogniser wrote something like
the wake word: "compare, next". Measured on three voices of flite: 9 of 9 commands, 3 of 27 sentences that only sound
alike. English words only.
"""

import importlib
from typing import Any

import numpy as np

from vjserver.speech.mel import RATE_HZ
from vjserver.types.audio import Float32

THRESHOLD = 1e-10
BEGIN_S = 2.0


class WakeSpotter:
    """Listens for one phrase. It is loaded when it is asked for the first time: most evenings it never is."""

    def __init__(self, phrase: str) -> None:
        self._phrase = phrase.lower()
        self._decoder: Any = None
        self._absent = False

    def __call__(self, sound: Float32) -> bool:
        """Tell whether mono sound at 16 kHz begins with the phrase; never, where that cannot be told."""
        if self._decoder is None and not self._absent:
            self._decoder = self._loaded()
            self._absent = self._decoder is None
        if self._decoder is None:
            return False
        begin = np.clip(sound[: round(BEGIN_S * RATE_HZ)], -1.0, 1.0)
        self._decoder.start_utt()
        self._decoder.process_raw((begin * 32767.0).astype("<i2").tobytes(), full_utt=True)
        self._decoder.end_utt()
        return self._decoder.hyp() is not None

    def _loaded(self) -> Any:
        """Return pocketsphinx's decoder; None where it is not installed, or knows a word of the phrase not at all."""
        try:
            library = importlib.import_module("pocketsphinx")
            decoder = library.Decoder(library.Config(lm=None, loglevel="FATAL"))
            if not all(decoder.lookup_word(word) for word in self._phrase.split()):
                return None
            return library.Decoder(library.Config(keyphrase=self._phrase, kws_threshold=THRESHOLD, loglevel="FATAL"))
        except (ImportError, RuntimeError, ValueError):
            return None
