"""Analysis: audio blocks go in, Features and Events come out. The same code listens live and to a file.

Blocks of any size, channel count and rate are cut into mono hops. Everything is heard at the hop's own time, so
live and offline give the same events; only the waiting differs, and that is the caller's.
"""

import math
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vjserver.dsp.beatclock import BeatClock, ClockOptions
from vjserver.dsp.filters import rms_db
from vjserver.dsp.gain import AdaptiveGain, GainOptions
from vjserver.dsp.onsets import DrumDetector, DrumOptions
from vjserver.dsp.pitch import OnsetDetector, OnsetOptions, PitchTracker
from vjserver.dsp.spectrum import N_BANDS, Spectrum
from vjserver.dsp.tempo import TempoTracker, TrackerOptions
from vjserver.types.audio import AudioBlock, Float32
from vjserver.types.events import Beat, Drum, EarEvent, Onset, Silence, Tempo
from vjserver.types.features import DRUM_NAMES, N_SPECTRUM, SCALARS, BeatGrid, Features
from vjserver.walk.smoothing import smoothing

NS = 1_000_000_000
_ENVELOPES = (*DRUM_NAMES, "onset")
_LOWEST, _HIGHEST = np.float32(-1.0), np.float32(1.0)
_RANKS = np.linspace(0.0, 1.0, N_SPECTRUM, dtype=np.float32)


class EarOptions(BaseModel):
    """How the ear listens. The defaults suit a line signal or a microphone in a club."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hop: Literal[64, 128, 256, 512] = Field(256, description="samples a step")
    window: Literal[512, 1024, 2048, 4096] = Field(1024, description="samples a spectrum, a multiple of hop")
    channel: int | None = Field(None, ge=0, description="listen to this channel only; None mixes all to mono")
    silence_after_s: float = Field(1.5, ge=0.0, description="how long below the gate before it counts as silence")
    envelope_s: float = Field(0.12, gt=0.0, description="how long a hit glows in the kick, snare, hat features")
    pitch: bool = Field(True, description="track the pitch")
    gain: GainOptions = GainOptions()
    drums: DrumOptions = DrumOptions()
    onsets: OnsetOptions = OnsetOptions()
    tracker: TrackerOptions = TrackerOptions()
    clock: ClockOptions = ClockOptions()

    @model_validator(mode="after")
    def _fit(self) -> "EarOptions":
        if self.tracker.hop % self.hop:
            raise ValueError(f"tracker.hop must be a multiple of hop ({self.hop}): got {self.tracker.hop}")
        return self


class Analysis:
    """The ear's whole understanding of one signal at ``rate_hz``."""

    def __init__(self, rate_hz: int, options: EarOptions) -> None:
        hop = options.hop
        hop_s = hop / rate_hz
        self._o, self._rate_hz, self._hop = options, rate_hz, hop
        self._spectrum = Spectrum(rate_hz, hop, options.window)
        # One gain for all: the bands, the level and the flux.
        self._gain = AdaptiveGain(N_BANDS + 1, hop_s, options.gain)
        self._flux_gain = 1e-3
        self._flux_sink = 1.0 - smoothing(hop_s, options.gain.fall_s)
        self._drums = DrumDetector(rate_hz, hop, options.drums)
        self._onsets = OnsetDetector(rate_hz, hop, options.onsets)
        self._pitch = PitchTracker(rate_hz, hop) if options.pitch else None
        self._tempo = TempoTracker(rate_hz, hop, options.tracker)
        self.clock = BeatClock(options.clock)
        self._now = dict.fromkeys(SCALARS, 0.0)  # a dictionary of floats: single values in arrays cost more
        self._levels = np.zeros(N_BANDS + 1, np.float32)
        self._previous = np.zeros(N_SPECTRUM, np.float32)
        self._decay = 1.0 - smoothing(hop_s, options.envelope_s)
        self._slow = smoothing(hop_s, 4.0)
        self._quiet_hops, self._silent = 0, True
        self._silence_hops = max(1, round(options.silence_after_s / hop_s))
        self._bpm_told = 0.0
        self._rest = np.zeros(0, np.float32)
        self.features = Features(
            0, np.zeros(len(SCALARS), np.float32), np.zeros(6, np.float32), np.zeros(N_SPECTRUM, np.float32), BeatGrid()
        )

    def hear(self, block: AudioBlock) -> list[EarEvent]:
        """Take a block of any length; return what happened in the hops it completed, oldest first."""
        mono = self._mono(block.samples)
        if len(self._rest):
            mono = np.concatenate((self._rest, mono))
        hops = len(mono) // self._hop
        events: list[EarEvent] = []
        for i in range(hops):
            end = (i + 1) * self._hop
            t_ns = block.t_ns - (len(mono) - end) * NS // block.rate_hz
            events += self._hear_hop(mono[end - self._hop : end], t_ns)
        self._rest = mono[hops * self._hop :]
        return events

    def advance(self, now_ns: int) -> list[EarEvent]:
        """Return the beats that fell due up to ``now_ns``: they do not wait for the next block."""
        beats: list[EarEvent] = [
            Beat(b.t_ns, now_ns, b.count, b.bar_position, b.beats_per_bar, b.bpm, b.confidence)
            for b in self.clock.advance(now_ns)
        ]
        return beats

    def _mono(self, samples: Float32) -> Float32:
        """Mix to mono; what is not a finite number in [-1, 1] is made so before it can spoil a filter's memory."""
        if samples.ndim == 2:
            channel = self._o.channel
            if samples.shape[1] == 1:
                samples = samples[:, 0]
            elif channel is not None:
                samples = samples[:, min(channel, samples.shape[1] - 1)]
            else:
                samples = samples.mean(axis=1, dtype=np.float32)
        if not math.isfinite(np.dot(samples, samples)):
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        return np.minimum(np.maximum(samples, _LOWEST, dtype=np.float32), _HIGHEST)

    def _hear_hop(self, samples: Float32, t_ns: int) -> list[EarEvent]:
        level_db = rms_db(samples)
        events = self._hear_silence(level_db, t_ns)
        now = self._now
        for name in _ENVELOPES:
            now[name] *= self._decay
        for hit in self._drums(samples):
            events.append(Drum(t_ns, t_ns, hit.name, hit.strength))
            now[hit.name] = 1.0
        onset = self._onsets(samples)
        if onset is not None and not self._silent:
            events.append(Onset(t_ns - onset.ago_samples * NS // self._rate_hz, t_ns, onset.strength))
            now["onset"] = 1.0
        tracked = self._tempo(samples)
        if tracked is not None and not self._silent:
            ago_ns = tracked.ago_samples * NS // self._rate_hz
            self.clock.hear(t_ns - ago_ns, tracked.bpm, tracked.confidence)
            events += self._tell_tempo(t_ns)
        events += self.advance(t_ns)
        self._measure(samples, level_db, t_ns)
        return events

    def _hear_silence(self, level_db: float, t_ns: int) -> list[EarEvent]:
        loud = level_db > self._o.gain.gate_db
        self._quiet_hops = 0 if loud else self._quiet_hops + 1
        silent = not loud and (self._silent or self._quiet_hops >= self._silence_hops)
        if silent == self._silent:
            return []
        self._silent = silent
        return [Silence(t_ns, t_ns, silent)]

    def _tell_tempo(self, t_ns: int) -> list[EarEvent]:
        grid = self.clock.grid
        if not grid.running or abs(grid.bpm - self._bpm_told) < 0.5:
            return []
        self._bpm_told = grid.bpm
        return [Tempo(t_ns, t_ns, grid.bpm, grid.confidence)]

    def _measure(self, samples: Float32, level_db: float, t_ns: int) -> None:
        """Refresh :attr:`features` from this hop."""
        now = self._now
        self._levels[:N_BANDS] = self._spectrum(samples)
        self._levels[N_BANDS] = level_db
        values = self._gain(self._levels)
        bands, spectrum, level = values[:6], values[6:N_BANDS], float(values[N_BANDS])
        change = spectrum - self._previous
        self._previous = spectrum
        rise = float(np.maximum(change, 0.0, out=change).sum())
        self._flux_gain = max(self._flux_gain * self._flux_sink, rise, 1e-3)
        total = float(spectrum.sum())
        now["level"] = level
        now["level_db"] = level_db
        now["centroid"] = float(spectrum @ _RANKS) / total if total > 1e-3 else 0.0
        now["flux"] = rise / self._flux_gain if total > 1e-3 else 0.0
        now["energy"] += self._slow * (level - now["energy"])
        now["silence"] = float(self._silent)
        if self._pitch is not None:
            now["pitch_hz"] = self._pitch(samples)
        self.features = Features(t_ns, np.array(list(now.values()), np.float32), bands, spectrum, self.clock.grid)
