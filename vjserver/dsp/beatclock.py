"""The beat clock: tracked beats go in now and then, a steady grid comes out.

A tracker reports beats late, loses them in breaks and jumps between half and double time. The clock is a
phase-locked loop over those reports: it predicts every beat, so that a beat is emitted *on* its time; it bends
towards reports that nearly agree, ignores single ones that do not, and moves only when several in a row insist.
The performer's hand (tap, nudge, bpm ...) outranks the tracker until `auto`.

Times are monotonic nanoseconds; the clock itself has no clock.
"""

import math
from dataclasses import replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vjserver.types.features import BeatGrid

NS = 1_000_000_000
BOUNCE_NS = 150_000_000


class ClockOptions(BaseModel):
    """How the beat clock follows the tracker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_bpm: float = Field(75.0, ge=20.0, le=300.0, description="slowest tempo; slower reports are doubled")
    max_bpm: float = Field(185.0, ge=20.0, le=400.0, description="fastest tempo; faster reports are halved")
    beats_per_bar: int = Field(4, ge=1, le=16)
    phase_gain: float = Field(0.2, gt=0.0, le=1.0, description="share of a phase error mended at each beat")
    tempo_gain: float = Field(0.15, gt=0.0, le=1.0, description="share of a tempo error mended at each beat")
    insist_beats: int = Field(4, ge=2, description="how many contradicting beats in a row move the clock")
    hold_bars: int = Field(16, ge=1, description="how long the clock runs on in a silence")
    delay_ms: float = Field(0.0, ge=-200.0, le=200.0, description="how late the tracker's beat times are")

    @model_validator(mode="after")
    def _octave(self) -> "ClockOptions":
        if self.max_bpm < 2 * self.min_bpm:
            raise ValueError(
                f"max_bpm must be at least twice min_bpm, so that every tempo has a place: "
                f"got {self.min_bpm}..{self.max_bpm}"
            )
        return self


class BeatClock:
    """A grid of beats that follows reports and hands. Ask :attr:`grid`; call :meth:`advance` as time goes by."""

    def __init__(self, options: ClockOptions) -> None:
        self._o = options
        self.grid = BeatGrid(beats_per_bar=options.beats_per_bar)
        self.by_hand = False
        self.octave_by_hand = False
        self._emitted = 0
        self._heard_ns = 0
        self._last: tuple[int, float] | None = None
        self._strays: list[tuple[int, float]] = []
        self._taps: list[int] = []

    # -- the tracker ---------------------------------------------------------------------------------------

    def hear(self, t_ns: int, bpm: float, confidence: float) -> None:
        """Take a tracked beat at ``t_ns`` with the tracker's tempo; ``confidence`` is 0..1."""
        if not (math.isfinite(bpm) and bpm > 0.0):
            return
        t_ns -= round(self._o.delay_ms * 1e6)
        self._heard_ns = t_ns
        if self.by_hand:
            return
        period_s = self._fold(60.0 / bpm)
        if not self.grid.running:
            self._start(t_ns, period_s, confidence)
            return
        error = self.grid.beats_since(t_ns)
        error -= round(error)
        off_tempo = abs(math.log2(period_s / self.grid.period_s))
        if abs(error) < 0.2 and off_tempo < math.log2(1.08):
            self._strays.clear()
            self._bend(t_ns, error, period_s, confidence)
        else:
            self._stray(t_ns, period_s, confidence)

    def _fold(self, period_s: float) -> float:
        """Bring a period into the tempo range, and into the present octave if there is one."""
        if self.grid.running:
            octave = round(math.log2(period_s / self.grid.period_s))
            near = period_s / 2.0**octave
            in_range = 60.0 / self._o.max_bpm <= near <= 60.0 / self._o.min_bpm
            if octave and (in_range or self.octave_by_hand):
                return near
            if self.octave_by_hand:
                return period_s
        while 60.0 / period_s < self._o.min_bpm:
            period_s /= 2.0
        while 60.0 / period_s > self._o.max_bpm:
            period_s *= 2.0
        return period_s

    def _start(self, t_ns: int, period_s: float, confidence: float) -> None:
        """Begin to run once two reports lie a whole number of periods apart."""
        last, self._last = self._last, (t_ns, period_s)
        if last is None or not 0 < t_ns - last[0] < 4 * NS:
            return
        beats = (t_ns - last[0]) * 1e-9 / period_s
        if round(beats) >= 1 and abs(beats - round(beats)) < 0.12:
            self._anchor(t_ns, period_s, confidence * 0.5)

    def _bend(self, t_ns: int, error: float, period_s: float, confidence: float) -> None:
        grid = self._at(t_ns)
        shift_ns = self._o.phase_gain * error * grid.period_s * NS
        blended = grid.period_s + self._o.tempo_gain * (period_s - grid.period_s)
        agreement = 1.0 - abs(error) * 5.0
        trust = grid.confidence + 0.2 * (agreement * (0.5 + 0.5 * min(confidence, 1.0)) - grid.confidence)
        self.grid = replace(grid, t_ns=grid.t_ns + round(shift_ns), period_s=blended, confidence=trust)

    def _stray(self, t_ns: int, period_s: float, confidence: float) -> None:
        """Move to where the tracker is once it insists: several reports that agree with each other."""
        grid = self.grid
        self.grid = replace(grid, confidence=grid.confidence * 0.9)
        if self._strays:
            last_ns, last_s = self._strays[-1]
            beats = (t_ns - last_ns) * 1e-9 / period_s
            if abs(beats - round(beats)) > 0.15 or abs(math.log2(period_s / last_s)) > 0.1:
                self._strays.clear()
        self._strays.append((t_ns, period_s))
        if len(self._strays) >= self._o.insist_beats:
            self._anchor(t_ns, float(np.median([p for _, p in self._strays])), confidence * 0.5)

    # -- time ----------------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> list[BeatGrid]:
        """Return a grid for each beat that fell due up to ``now_ns``, each anchored on its beat, oldest first."""
        if not self.grid.running:
            return []
        silent_s = (now_ns - max(self._heard_ns, 0)) * 1e-9
        bar_s = self.grid.period_s * self.grid.beats_per_bar
        if not self.by_hand and self._heard_ns and silent_s > self._o.hold_bars * bar_s:
            self.grid = replace(self.grid, running=False, confidence=0.0)
            self._last = None
            return []
        due = []
        newest = self.grid.count_at(now_ns)
        if newest - self._emitted > 4 * self.grid.beats_per_bar:  # the process was stopped: no burst of old beats
            self._emitted = newest - 1
        while self._emitted < newest:
            self._emitted += 1
            beat = self.at_count(self._emitted)
            if silent_s > 2 * bar_s and not self.by_hand:
                beat = replace(beat, confidence=beat.confidence * 0.97)
            self.grid = beat
            due.append(beat)
        return due

    def at_count(self, count: int) -> BeatGrid:
        """Return the same grid anchored on beat ``count`` (past or future)."""
        grid, ahead = self.grid, count - self.grid.count
        return replace(
            grid,
            t_ns=grid.t_ns + round(ahead * grid.period_s * NS),
            count=count,
            bar_position=(grid.bar_position + ahead) % grid.beats_per_bar,
        )

    def _at(self, t_ns: int) -> BeatGrid:
        """Return the grid anchored on the beat nearest to ``t_ns``."""
        return self.at_count(self.grid.count + round(self.grid.beats_since(t_ns)))

    def _anchor(self, t_ns: int, period_s: float, confidence: float, bar_position: int | None = None) -> None:
        """Put a beat at ``t_ns``: the next to be emitted if it is still to come, else the newest emitted one."""
        self._strays.clear()
        self._last = None
        if bar_position is None:
            bar_position = self._at(t_ns).bar_position if self.grid.running else 0
        # A beat just before or after the last emitted one is that same beat, moved: it must not sound twice.
        last = self.at_count(self._emitted) if self.grid.running else None
        same = last is not None and abs(t_ns - last.t_ns) * 1e-9 < 0.5 * min(period_s, self.grid.period_s)
        count = self._emitted if same else self._emitted + 1
        self.grid = BeatGrid(t_ns, count, period_s, bar_position, self.grid.beats_per_bar, confidence, True)

    # -- the hand ------------------------------------------------------------------------------------------

    def tap(self, t_ns: int) -> None:
        """Take a tap; from the fourth on, taps set tempo and phase (least squares), the first being a downbeat.

        A tap within 150 ms of the last is the button's bounce; one after two seconds begins anew.
        """
        if self._taps and t_ns - self._taps[-1] < BOUNCE_NS:
            return
        if self._taps and t_ns - self._taps[-1] > 2 * NS:
            self._taps.clear()
        self._taps = [*self._taps, t_ns][-16:]
        if len(self._taps) < 4:
            return
        taps = np.array(self._taps) - self._taps[0]
        period_ns, first_ns = np.polyfit(np.arange(len(taps)), taps, 1)
        beat_ns = self._taps[0] + round(first_ns + period_ns * (len(taps) - 1))
        position = (len(taps) - 1) % self.grid.beats_per_bar if len(taps) < 16 else None
        self._hold()
        self._anchor(beat_ns, float(period_ns) * 1e-9, 1.0, position)

    def resync(self, t_ns: int) -> None:
        """Make ``t_ns`` a downbeat; without a tempo there is none."""
        if self.grid.running:
            self._anchor(t_ns, self.grid.period_s, self.grid.confidence, 0)

    def nudge(self, ms: float) -> None:
        """Shift the grid by ``ms`` (later if positive)."""
        self.grid = replace(self.grid, t_ns=self.grid.t_ns + round(ms * 1e6))

    def flip(self) -> None:
        """Shift the grid by half a beat: the cure for a tracker that sits on the off-beat."""
        self.nudge(self.grid.period_s * 500.0)

    def double(self) -> None:
        """Twice the tempo; it stays in that octave."""
        self._set_period(self.grid.period_s / 2.0)
        self.octave_by_hand = True

    def half(self) -> None:
        """Half the tempo; it stays in that octave."""
        self._set_period(self.grid.period_s * 2.0)
        self.octave_by_hand = True

    def set_bpm(self, bpm: float, t_ns: int) -> None:
        """Set the tempo by hand; the phase stays. A clock that stood still starts with a downbeat at ``t_ns``."""
        self._hold()
        if self.grid.running:
            self._set_period(60.0 / bpm)
            self.grid = replace(self.grid, confidence=1.0)
        else:
            self._anchor(t_ns, 60.0 / bpm, 1.0, 0)

    def lock(self, on: bool) -> None:
        """Hold tempo and phase whatever the tracker says, or follow it again."""
        if on:
            self._hold()
        else:
            self.auto()

    def auto(self) -> None:
        """Give the clock back to the tracker."""
        self.by_hand = self.octave_by_hand = False
        self._taps.clear()

    def _hold(self) -> None:
        self.by_hand = True
        self._strays.clear()

    def _set_period(self, period_s: float) -> None:
        if not 0.1 <= period_s <= 3.0:
            return
        # The beat last emitted is the pivot, so nothing sounds twice and nothing is skipped.
        self.grid = replace(self.at_count(self._emitted) if self.grid.running else self.grid, period_s=period_s)
