"""Analysis: audio blocks go in, Features and Events come out. The same code listens live and to a file.

Blocks of any size, channel count and rate become mono hops of 128 samples at 40 to 50 kHz. What must be quick (drums,
onsets) is done at each hop, the bands at every second, beat and bar at every fourth. Everything is heard at the hop's
own time, so live and offline give the same events; only the waiting differs, and that is the caller's.
"""

import math
from collections import deque
from typing import Protocol

import numpy as np

from vjserver.dsp.beatclock import BeatClock
from vjserver.dsp.chroma import Chroma, HarmonicRhythm
from vjserver.dsp.drums import DrumDetector
from vjserver.dsp.frontend import HOP, SLOW_EVERY, FrontEnd
from vjserver.dsp.gain import AdaptiveGain, NoiseFloor, rms_db
from vjserver.dsp.options import EarOptions, GainOptions, TempoPrior
from vjserver.dsp.pitch import OnsetDetector, PitchTracker
from vjserver.dsp.resample import Resampler, ratio_for
from vjserver.dsp.section import Heard, SectionTracker
from vjserver.dsp.spectrum import N_BANDS, Spectrum
from vjserver.dsp.tempo import BarTracker, BeatTracker
from vjserver.easing.smoothing import smoothing
from vjserver.types.audio import AudioBlock, Float32
from vjserver.types.events import Beat, Drum, EarEvent, Onset, Section, Silence, Tempo
from vjserver.types.features import DRUM_NAMES, N_SPECTRUM, SCALARS, BeatGrid, Features

NS = 1_000_000_000
OFFSET_S = 1.0
PEAK_S, CLIP_S, CLIPPED = 0.3, 1.0, 0.999
SIDES_SAMPLES = 24_000
"""So long, at 48 kHz half a second, two channels are looked at before one is left out."""
WIDE = 2 * HOP  # the bands' hop
GAP_NS = 15_000_000
# Energy is loudness over seconds in the range of the last minutes: a break is low, the loudest part is full.
ENERGY = GainOptions(min_range_db=10.0, fall_s=120.0, attack_s=1.0, release_s=3.0)
_ENVELOPES = (*DRUM_NAMES, "onset")
_LOWEST, _HIGHEST = np.float32(-1.0), np.float32(1.0)
_RANKS = np.linspace(0.0, 1.0, N_SPECTRUM, dtype=np.float32)
# A beat's place in its bar is judged so many frames after it, from the frames around it.
_BAR_FRAMES, _BAR_AROUND = 6, 6
# From here on a hop may hold a kick: too little for a trigger, enough to tell a groove from a break.
_MAYBE_KICK = 0.25
# How much of the pointer's belief is kept on the clock's beat, a frame.
_KEPT, _KEPT_IN_BREAK = 1e-3, 1e-2


class Sides:
    """Tells whether two channels cancel each other where they are mixed: energies of their sum and difference."""

    def __init__(self) -> None:
        self._sum = self._difference = 0.0
        self.cancel = False

    def __call__(self, left: Float32, right: Float32) -> bool:
        """Take a block of both; return whether mixing them would leave next to nothing."""
        share = min(1.0, len(left) / SIDES_SAMPLES)
        with np.errstate(all="ignore"):
            alone, cross = float(np.dot(left, left) + np.dot(right, right)), 2.0 * float(np.dot(left, right))
        if not math.isfinite(alone + cross):
            return self.cancel
        self._sum += share * ((alone + cross) / len(left) - self._sum)
        self._difference += share * ((alone - cross) / len(left) - self._difference)
        if self._difference > 1e-8:
            self.cancel = self._sum < (0.1 if self.cancel else 0.01) * self._difference
        return self.cancel


class Later(Protocol):
    """Is told what a later look at the whole sound needs."""

    def add(self, t_ns: int, beat: float, downbeat: float) -> None:
        """Take how surely the frame that ended at ``t_ns`` is a beat and a downbeat, 0..1."""

    def hear(self, t_ns: int, tones: Float32) -> None:
        """Take the pitch classes of the spectrum that ended then, float32 ``(12,)``."""


class Analysis:
    """The ear's whole understanding of one signal at ``rate_hz``. Raises ValueError for an impossible rate."""

    def __init__(self, rate_hz: int, options: EarOptions) -> None:
        ratio = ratio_for(rate_hz)
        inner_hz = round(rate_hz * ratio)
        hop_s = HOP / inner_hz
        self._o, self._rate_hz = options, inner_hz
        self._resampler = Resampler(ratio)
        self._front = FrontEnd(inner_hz)
        self._tracker = BeatTracker(inner_hz / (HOP * SLOW_EVERY), options.tempo)
        self._bars = BarTracker()
        self._downbeats = deque([0.0] * _BAR_AROUND, maxlen=_BAR_AROUND)
        self._unplaced: deque[tuple[int, int]] = deque(maxlen=16)
        self._ones: deque[tuple[int, int, float]] = deque(maxlen=16)
        """Beats, their times and how surely they are downbeats, until the harmony after them is heard."""
        self._drums = DrumDetector(inner_hz / HOP, options.drums)
        self._onsets = OnsetDetector(inner_hz, HOP, options.onsets)
        self._spectrum = Spectrum(inner_hz, WIDE, options.window)
        # One gain for all: the bands, the level and the flux.
        self._gain = AdaptiveGain(N_BANDS + 1, 2 * hop_s, options.gain)
        self._flux_gain = 1e-3
        self._flux_sink = 1.0 - smoothing(2 * hop_s, options.gain.fall_s)
        self._pitch = PitchTracker(inner_hz, WIDE) if options.pitch else None
        self._chroma, self._harmony = Chroma(inner_hz), HarmonicRhythm(inner_hz)
        self._chroma_steps = 0
        self._section = SectionTracker(HOP * SLOW_EVERY / inner_hz)
        self.clock = BeatClock(options.clock)
        self._later: Later | None = None
        self.expects: tuple[float, float] | None = None
        """The range of tempi that the hand set, if it did."""
        self._now = dict.fromkeys(SCALARS, 0.0)  # a dictionary of floats: single values in arrays cost more
        self._levels = np.zeros(N_BANDS + 1, np.float32)
        self._previous = np.zeros(N_SPECTRUM, np.float32)
        self._decay = 1.0 - smoothing(hop_s, options.envelope_s)
        self._drop_decay = 1.0 - smoothing(hop_s, options.drop_s)
        self._energy = AdaptiveGain(1, 2 * hop_s, ENERGY)
        self._quiet_hops, self._silent = 0, True
        self._silence_hops = max(1, round(options.silence_after_s / hop_s))
        self._bpm_told = 0.0
        self._kicked = self._struck = False
        self._hops = 0
        self._rest = np.zeros(0, np.float32)
        self._wide = np.zeros(WIDE, np.float32)
        self._heard_ns: int | None = None
        self._offset = 0.0
        self._offset_share = smoothing(hop_s, OFFSET_S)
        self._floor = NoiseFloor(hop_s, options.gain.gate_db)
        self._sides = Sides()
        self._missing = 0
        self._peak_decay = 1.0 - smoothing(2 * hop_s, PEAK_S)
        self._peak, self._clip_s = 0.0, 0.0
        self.features = Features(
            0,
            np.zeros(len(SCALARS), np.float32),
            np.zeros(6, np.float32),
            np.zeros(N_SPECTRUM, np.float32),
            np.zeros(12, np.float32),
            BeatGrid(),
        )

    @property
    def remark(self) -> str:
        """What is odd about the sound, in a sentence; empty where nothing is."""
        if self._missing:
            return f"channel {self._missing - 1} is asked for, and the sound has fewer: all of them are heard"
        if self._sides.cancel:
            return "left and right cancel each other (one is wired the wrong way round): the left one is heard"
        return ""

    @property
    def tracker(self) -> BeatTracker:
        """What the ear makes of the beat, for a look inside."""
        return self._tracker

    @property
    def drum_surety(self) -> Float32:
        """How surely kick, snare and hat were just struck, float32 ``(3,)``, 0..1."""
        return self._drums.surety

    def expect(self, min_bpm: float, max_bpm: float) -> None:
        """Expect tempi of this range from now on, those in its middle first."""
        self.expects = min_bpm, max_bpm
        hint = math.sqrt(min_bpm * max_bpm)
        self._tracker.set_prior(TempoPrior(min_bpm=min_bpm, max_bpm=max_bpm, hint_bpm=hint))

    def leave_for_later(self, later: "Later") -> None:
        """Find no beat and no energy: who knows the whole sound finds them better in what ``later`` is told."""
        self._later = later

    def hear(self, block: AudioBlock) -> list[EarEvent]:
        """Take a block of any length; return what happened in the hops it completed, oldest first."""
        self._bridge(block)
        mono = self._resampler(self._mono(block.samples))
        if len(self._rest):
            mono = np.concatenate((self._rest, mono))
        hops = len(mono) // HOP
        events: list[EarEvent] = []
        end_ns = block.t_ns - round(self._resampler.late * NS / self._rate_hz)
        for i in range(hops):
            end = (i + 1) * HOP
            events += self._hear_hop(mono[end - HOP : end], end_ns - (len(mono) - end) * NS // self._rate_hz)
        self._rest = mono[hops * HOP :]
        return events

    def _bridge(self, block: AudioBlock) -> None:
        """Where sound was lost, let the pointer walk on by the time that the stamps tell."""
        length_ns = len(block.samples) * NS // block.rate_hz
        if self._heard_ns is not None:
            gap_ns = block.t_ns - length_ns - self._heard_ns
            if gap_ns > GAP_NS:
                self._tracker.skip(gap_ns / NS)
                self._rest = self._rest[:0]
        self._heard_ns = block.t_ns

    def advance(self, now_ns: int) -> list[EarEvent]:
        """Return the beats that fell due up to ``now_ns``: they do not wait for the next block."""
        beats: list[EarEvent] = []
        for b in self.clock.advance(now_ns):
            beats.append(Beat(b.t_ns, now_ns, b.count, b.bar_position, b.beats_per_bar, b.bpm, b.confidence))
            self._unplaced.append((b.count, b.t_ns))
        return beats

    def _mono(self, samples: Float32) -> Float32:
        """Mix to mono; what is not a finite number in [-1, 1] is made so before it can spoil a filter's memory."""
        if samples.ndim == 2:
            samples = self._chosen(samples)
        if not math.isfinite(np.dot(samples, samples)):
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        return np.minimum(np.maximum(samples, _LOWEST, dtype=np.float32), _HIGHEST)

    def _chosen(self, samples: Float32) -> Float32:
        """Return one channel: the chosen ones, or all, mixed; the left one where two sides would cancel each other."""
        count, channel = samples.shape[1], self._o.channel
        chosen = (channel,) if isinstance(channel, int) else channel or range(count)
        self._missing = max((one + 1 for one in chosen if one >= count), default=0)
        if self._missing:
            chosen = range(count)
        if len(chosen) == 1:
            return samples[:, chosen[0]]
        if len(chosen) == 2 and self._sides(samples[:, chosen[0]], samples[:, chosen[1]]):
            return samples[:, chosen[0]]
        return np.asarray(samples[:, list(chosen)].mean(axis=1), np.float32)

    def _hear_hop(self, samples: Float32, t_ns: int) -> list[EarEvent]:
        self._measure_input(samples)
        # What is added to every sample alike (a cheap input's offset) is no sound.
        self._offset += self._offset_share * (float(np.add.reduce(samples)) / HOP - self._offset)
        samples = samples - np.float32(self._offset)
        level_db = rms_db(samples)
        self._gain.gate = self._floor(level_db)
        events = self._hear_silence(level_db, t_ns)
        now = self._now
        for name in _ENVELOPES:
            now[name] *= self._decay
        now["drop"] *= self._drop_decay
        slow = self._front(samples)
        hits = self._drums(self._front.fast)
        onset = self._onsets(samples)
        if not self._silent:
            for hit in hits:
                events.append(Drum(t_ns, t_ns, hit.name, hit.strength))
                now[hit.name] = 1.0
            self._kicked = self._kicked or float(self._drums.surety[0]) >= _MAYBE_KICK
            if onset is not None:
                events.append(Onset(t_ns - onset.ago_samples * NS // self._rate_hz, t_ns, onset.strength))
                now["onset"] = 1.0
                self._struck = True
        if slow:
            events += self._hear_beat(t_ns)
        events += self.advance(t_ns)
        second = self._hops % 2
        self._hops += 1
        self._wide[second * HOP : (second + 1) * HOP] = samples
        if second:
            self._measure(self._wide, rms_db(self._wide), t_ns)
        if slow:
            events += self._hear_section(t_ns)
        return events

    def _hear_beat(self, t_ns: int) -> list[EarEvent]:
        """Take a frame of the slow front end: where the beat is, and where in its bar a recent one was."""
        if self._later is not None:
            self._tracker.listen(self._front.slow)
            self._later.add(t_ns, self._tracker.activation, self._tracker.downbeat)
            return []
        running = self.clock.grid.running
        if running:
            self._tracker.remind(self.clock.grid, t_ns, _KEPT_IN_BREAK if self._section.is_break else _KEPT)
        self.clock.in_break = self._section.is_break
        self.clock.follow(t_ns, self._tracker(self._front.slow, t_ns))
        self._downbeats.append(self._tracker.downbeat)
        ripe_ns = t_ns - _BAR_FRAMES * SLOW_EVERY * HOP * NS // self._rate_hz
        while self._unplaced and self._unplaced[0][1] <= ripe_ns:
            self._ones.append((*self._unplaced.popleft(), max(self._downbeats)))
        period_s = self.clock.grid.period_s
        while self._ones and self._harmony.ripe_ns(self._ones[0][1], period_s) <= t_ns:
            count, beat_ns, downbeat = self._ones.popleft()
            bar = self._bars(downbeat, self._harmony.change(beat_ns, period_s))
            if bar.trust > 0.5:
                self.clock.hear_bar(count, bar.position, bar.beats_per_bar)
        grid = self.clock.grid
        if not grid.running:
            if running:
                self._bars.forget()
            return []
        if abs(grid.bpm - self._bpm_told) < 0.5:
            return []
        self._bpm_told = grid.bpm
        return [Tempo(t_ns, t_ns, grid.bpm, grid.confidence)]

    def _hear_section(self, t_ns: int) -> list[EarEvent]:
        now, levels = self._now, self._levels
        low_db = float(max(levels[0], levels[1]))
        heard = Heard(low_db, float(levels[N_BANDS]), now["centroid"], self._kicked, self._struck)
        self._kicked = self._struck = False
        begun = self._section(heard, self._silent)
        now["buildup"] = self._section.buildup
        now["break"] = float(self._section.is_break)
        if begun is None:
            return []
        if begun == "drop":
            now["drop"] = 1.0
        return [Section(t_ns, t_ns, begun)]

    def _hear_silence(self, level_db: float, t_ns: int) -> list[EarEvent]:
        loud = level_db > self._gain.gate
        self._quiet_hops = 0 if loud else self._quiet_hops + 1
        silent = not loud and (self._silent or self._quiet_hops >= self._silence_hops)
        if silent == self._silent:
            return []
        self._silent = silent
        return [Silence(t_ns, t_ns, silent)]

    def _measure_input(self, samples: Float32) -> None:
        """Keep the input's peak, as it came, and whether it was cut off at full scale."""
        peak = float(np.abs(samples).max())
        self._peak = max(peak, self._peak * self._peak_decay)
        self._clip_s = CLIP_S if peak >= CLIPPED else max(0.0, self._clip_s - HOP / self._rate_hz)
        self._now["peak"] = min(1.0, self._peak)
        self._now["clip"] = float(self._clip_s > 0.0)

    def _measure(self, samples: Float32, level_db: float, t_ns: int) -> None:
        """Refresh :attr:`features` from the last two hops."""
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
        if self._later is None:
            now["energy"] = float(self._energy(np.array([level_db], np.float32))[0])
        now["silence"] = float(self._silent)
        if self._pitch is not None:
            now["pitch_hz"] = self._pitch(samples)
        self._chroma(samples)
        if self._chroma.steps != self._chroma_steps:
            self._chroma_steps = self._chroma.steps
            self._harmony.hear(t_ns, self._chroma.heard)
            if self._later is not None:
                self._later.hear(t_ns, self._chroma.heard)
        now["tonal_change"] = self._chroma.change
        scalars = np.array(list(now.values()), np.float32)
        self.features = Features(t_ns, scalars, bands, spectrum, self._chroma.chroma, self.clock.grid)
