"""Onsets and pitch: mono hops go in, aubio's verdicts come out."""

from dataclasses import dataclass

import aubio
import numpy as np

from vjserver.dsp.options import OnsetOptions
from vjserver.types.audio import Float32


@dataclass(frozen=True, slots=True)
class HeardOnset:
    """An onset that lies ``ago_samples`` before the end of the hop, with its strength 0..1."""

    ago_samples: int
    strength: float


class OnsetDetector:
    """aubio's onset detector over the ear's hops."""

    def __init__(self, rate_hz: int, hop: int, options: OnsetOptions) -> None:
        self._detector = aubio.onset(options.method, options.window, hop, rate_hz)
        self._detector.set_threshold(options.threshold)
        self._detector.set_minioi_s(options.shortest_s)
        self._detector.set_silence(options.gate_db)
        self._hop, self._total, self._peak = hop, 0, 1e-6

    def __call__(self, samples: Float32) -> HeardOnset | None:
        """Return the onset found with this hop, if any."""
        self._total += self._hop
        found = self._detector(samples)[0]
        self._peak *= 0.9995
        if not found:
            return None
        height = max(float(self._detector.get_thresholded_descriptor()), 0.0)
        self._peak = max(self._peak, height)
        ago = self._total - int(self._detector.get_last())
        return HeardOnset(max(ago, 0), float(np.sqrt(height / self._peak)))


class PitchTracker:
    """aubio's fast YIN over 2048 samples, asked once in 2048 samples: pitch moves slower than the beat."""

    def __init__(self, rate_hz: int, hop: int, window: int = 2048) -> None:
        self._pitch = aubio.pitch("yinfast", window, window, rate_hz)
        self._pitch.set_silence(-60.0)
        self._buffer = np.zeros(window, np.float32)
        self._hop, self._filled, self._hz = hop, 0, 0.0

    def __call__(self, samples: Float32) -> float:
        """Return the newest clear pitch in Hz, or 0."""
        self._buffer[self._filled : self._filled + self._hop] = samples
        self._filled += self._hop
        if self._filled >= len(self._buffer):
            self._filled = 0
            hz = float(self._pitch(self._buffer)[0])
            self._hz = hz if self._pitch.get_confidence() > 0.6 and 20.0 < hz < 5000.0 else 0.0
        return self._hz
