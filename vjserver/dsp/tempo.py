"""Tempo: mono hops go in, tracked beats come out (aubio's tracker, with the traps stepped around).

The tracker sees a whisper of dither (-80 dBFS), because digital silence leaves it at its last period for good, and
is not heard at all while the room is silent. Source of the method: P. Brossier, "Automatic annotation of musical
audio for interactive applications", 2006, as built in aubio.
"""

from dataclasses import dataclass
from typing import Literal

import aubio
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.types.audio import Float32


class TrackerOptions(BaseModel):
    """Which of aubio's onset functions drives the tempo, and how it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["default", "specdiff", "hfc", "energy", "complex", "phase", "specflux", "kl", "mkl"] = "default"
    window: Literal[512, 1024, 2048, 4096, 8192] = Field(
        4096, description="samples; a long one is surer of the bass, and of the beat"
    )
    hop: Literal[128, 256, 512, 1024] = Field(512, description="samples; its own, a multiple of the ear's hop")


@dataclass(frozen=True, slots=True)
class TrackedBeat:
    """A beat that the tracker heard ``ago_samples`` before the end of the hop."""

    ago_samples: int
    bpm: float
    confidence: float


class TempoTracker:
    """Collects the ear's hops into the tracker's own and reports its beats."""

    def __init__(self, rate_hz: int, hop: int, options: TrackerOptions) -> None:
        if options.hop % hop:
            raise ValueError(f"the tracker's hop must be a multiple of the ear's: got {options.hop} for {hop}")
        self._tracker = aubio.tempo(options.method, options.window, options.hop, rate_hz)
        self._buffer = np.zeros(options.hop, np.float32)
        self._hop, self._filled, self._total = hop, 0, 0
        self._dither = np.random.default_rng(1).normal(0.0, 1e-4, options.hop).astype(np.float32)

    def __call__(self, samples: Float32) -> TrackedBeat | None:
        """Take a hop, mono float32 ``(hop,)``; return the beat found with it, if any."""
        self._buffer[self._filled : self._filled + self._hop] = samples
        self._filled += self._hop
        if self._filled < len(self._buffer):
            return None
        self._filled = 0
        self._total += len(self._buffer)
        self._buffer += self._dither
        if not self._tracker(self._buffer)[0]:
            return None
        bpm = float(self._tracker.get_bpm())
        if bpm <= 0.0:
            return None
        confidence = float(np.clip(self._tracker.get_confidence(), 0.0, 1.0))
        return TrackedBeat(self._total - int(self._tracker.get_last()), bpm, confidence)
