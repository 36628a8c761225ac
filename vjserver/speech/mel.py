"""Log-mel spectrogram, as Whisper takes it: sound at 16 kHz goes in, rows of 10 ms come out.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", 2022, section 2.2; mel scale and filters
as in M. Slaney's Auditory Toolbox, 1998.
"""

from functools import cache
from math import log

import numpy as np

from vjserver.types.audio import Float32

RATE_HZ = 16_000
WINDOW, HOP = 400, 160
FRAMES_A_SECOND = RATE_HZ // HOP


def _mel(hz: float) -> float:
    return hz * 3.0 / 200.0 if hz < 1000.0 else 15.0 + 27.0 * log(hz / 1000.0, 6.4)


def _hz(mel: Float32) -> Float32:
    hz: Float32 = np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * 6.4 ** ((mel - 15.0) / 27.0)).astype(np.float32)
    return hz


@cache
def filters(bands: int) -> Float32:
    """Return triangles of equal area, ``(bands, 201)``, from 0 Hz to 8 kHz."""
    edges = _hz(np.linspace(_mel(0.0), _mel(RATE_HZ / 2), bands + 2, dtype=np.float32))
    lines = np.arange(WINDOW // 2 + 1) * RATE_HZ / WINDOW
    rise = (lines[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - lines[None]) / (edges[2:] - edges[1:-1])[:, None]
    area = 2.0 / (edges[2:] - edges[:-2])
    triangles: Float32 = (np.maximum(0.0, np.minimum(rise, fall)) * area[:, None]).astype(np.float32)
    return triangles


def log_mel(sound: Float32, bands: int = 80) -> Float32:
    """Return the spectrogram ``(bands, len(sound) // 160)`` of mono sound at 16 kHz, about -1..1."""
    sound = sound[: len(sound) // HOP * HOP]
    if len(sound) < WINDOW:
        sound = np.pad(sound, (0, 2 * WINDOW - len(sound)))
    padded = np.pad(sound, WINDOW // 2, mode="reflect")
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    pieces = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(sound) // HOP]
    power = np.abs(np.fft.rfft(pieces * window, axis=1)).astype(np.float32) ** 2
    decades = np.log10(np.maximum(filters(bands) @ power.T, 1e-10))
    decades = np.maximum(decades, decades.max() - 8.0)
    result: Float32 = ((decades + 4.0) / 4.0).astype(np.float32)
    return result
