"""Sound as speech is heard in: any rate and number of channels goes in, mono at 16 kHz comes out (soxr)."""

import importlib

import numpy as np

from vjserver.types.audio import Float32
from vjserver.types.errors import DeviceError


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
