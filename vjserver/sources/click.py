"""Click: a synthetic track with known beats; the honest stand-in for music."""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime.clock import NS, Clock
from vjserver.types.audio import AudioBlock, Float32


class ClickOptions(BaseModel):
    """What the metronome plays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bpm: float = Field(120.0, ge=30.0, le=300.0)
    beats_per_bar: int = Field(4, ge=1, le=16)
    rate_hz: int = Field(48000, ge=8000, le=192000)
    block: int = Field(256, ge=16, le=8192, description="samples a block")
    level: float = Field(0.6, gt=0.0, le=1.0)


def click_track(options: ClickOptions, seconds: float) -> Float32:
    """Return a click track, float32 ``(frames, 1)``: beat ``i`` starts at ``i * 60 / bpm`` s, downbeats are higher."""
    rate = options.rate_hz
    track = np.zeros(round(seconds * rate), np.float32)
    t = np.arange(int(0.05 * rate)) / rate
    thump = np.sin(2 * np.pi * (60 * t + 12 * np.exp(-t * 80)))
    for beat in range(int(seconds * options.bpm / 60.0) + 1):
        start = round(beat * 60.0 / options.bpm * rate)
        tone = 1800.0 if beat % options.beats_per_bar == 0 else 1200.0
        sound = (0.6 * thump * np.exp(-t * 60) + 0.4 * np.sin(2 * np.pi * tone * t) * np.exp(-t * 120)).astype(
            np.float32
        )
        part = track[start : start + len(sound)]
        part += sound[: len(part)] * options.level
    return track[:, None]


class ClickSource:
    """Plays a click track for ever, in real time. The first beat falls on the first sample."""

    Options = ClickOptions

    def __init__(self, options: ClickOptions, clock: Clock) -> None:
        self._o, self._clock = options, clock
        bar_s = 60.0 / options.bpm * options.beats_per_bar
        # A stretch of whole bars that is a whole number of samples, or near enough: 64 bars drift by < 1 sample.
        self._track = click_track(options, 64 * bar_s)
        self._position = 0
        self._start_ns = 0
        self.rate_hz = options.rate_hz
        self.drops = 0

    def open(self) -> None:
        """Start the metronome now."""
        self._position, self._start_ns = 0, self._clock.now_ns()

    def read(self, until_ns: int) -> AudioBlock | None:
        """Return the next block when its last sample is due, or None at ``until_ns`` if that is sooner."""
        end = self._position + self._o.block
        t_ns = self._start_ns + end * NS // self.rate_hz
        self._clock.sleep_until(min(t_ns, until_ns))
        if t_ns > until_ns:
            return None
        samples = np.take(self._track, range(self._position, end), axis=0, mode="wrap")
        self._position = end
        return AudioBlock(samples, self.rate_hz, t_ns)

    def close(self) -> None:
        """Nothing to close."""
