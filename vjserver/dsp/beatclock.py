"""The beat clock: where the beat seems to be goes in, frame by frame; a steady grid that runs ahead comes out.

What listens hears a beat late, loses it in breaks and errs now and then. The clock is a flywheel: a second-order
phase-locked loop that bends towards what it is told, so every beat is known before it falls and is emitted *on* its
time. It moves only when what it is told contradicts it surely and for a while. The performer's hand (tap, nudge, bpm
...) outranks the ear until `auto`.

Times are monotonic nanoseconds; the clock itself has no clock.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from vjserver.dsp.options import ClockOptions
from vjserver.types.features import BeatGrid

NS = 1_000_000_000
BOUNCE_NS = 150_000_000
_OVERDUE_NS = 40_000_000
_CREDIT_S, _CREDIT_BEATS = 8.0, 7.0
_GOOD_BEATS, _STRAIGHT_S = 32, 0.012
_NEAR_BEATS, _NEAR_OCTAVES, _USUAL_OCTAVES = 0.17, 0.10, 0.03


@dataclass(frozen=True, slots=True)
class BeatReport:
    """A beat seems to fall at ``t_ns`` (past or future) and every ``period_s``; ``trust`` is how surely, 0..1."""

    t_ns: int
    period_s: float
    trust: float


@dataclass(frozen=True, slots=True)
class ClockMemory:
    """Where a clock stands, for the one that comes after it: the grid, what the hand did, what it held on to."""

    grid: BeatGrid
    by_hand: bool
    octave_by_hand: bool
    bar_by_hand: bool
    emitted: int
    held_ns: int
    followed_ns: int
    credit: float
    usual_s: float
    offset_s: float
    taps: tuple[int, ...]


def _along(beats: list[BeatGrid], count: int) -> tuple[int, float] | None:
    """Fit a steady tempo to as many of the newest beats as have one; return when beat ``count`` falls, and the period.

    In ns and seconds; None where there are too few beats.
    """
    for many in (_GOOD_BEATS, _GOOD_BEATS // 2, _GOOD_BEATS // 4):
        newest = beats[-many:]
        if len(newest) < _GOOD_BEATS // 8:
            return None
        first = newest[0]
        numbers = np.array([b.count - first.count for b in newest], np.float64)
        times_s = np.array([(b.t_ns - first.t_ns) * 1e-9 for b in newest])
        period_s, start_s = np.polyfit(numbers, times_s, 1)
        if many == _GOOD_BEATS // 4 or np.std(times_s - start_s - period_s * numbers) < _STRAIGHT_S:
            break
    return first.t_ns + round(float(start_s + (count - first.count) * period_s) * NS), float(period_s)


class BeatClock:
    """A grid of beats that follows reports and hands. Ask :attr:`grid`; call :meth:`advance` as time goes by."""

    def __init__(self, options: ClockOptions) -> None:
        self._o = options
        self.grid = BeatGrid(beats_per_bar=options.beats_per_bar)
        self.by_hand = False
        self.octave_by_hand = False
        self.bar_by_hand = False
        self.in_break = False
        """Set where the drums are away: what is heard then moves the clock less easily."""
        self._emitted = 0
        self._held_ns = 0
        self._followed_ns = 0
        self._against_s = 0.0
        self._credit, self._usual_s = 0.0, 0.5
        self._good: list[BeatGrid] = []
        self._offset_s = 0.0
        self._taps: list[int] = []

    @property
    def memory(self) -> ClockMemory:
        """What a successor has to know."""
        return ClockMemory(
            self.grid, self.by_hand, self.octave_by_hand, self.bar_by_hand, self._emitted, self._held_ns,
            self._followed_ns, self._credit, self._usual_s, self._offset_s, tuple(self._taps),
        )  # fmt: skip

    def resume(self, memory: ClockMemory) -> None:
        """Go on where another left off."""
        m = memory
        self.grid, self.by_hand, self.octave_by_hand, self.bar_by_hand = (
            m.grid, m.by_hand, m.octave_by_hand, m.bar_by_hand
        )  # fmt: skip
        self._emitted, self._held_ns, self._followed_ns = m.emitted, m.held_ns, m.followed_ns
        self._credit, self._usual_s, self._offset_s, self._taps = m.credit, m.usual_s, m.offset_s, list(m.taps)

    # -- the ear -------------------------------------------------------------------------------------------

    def follow(self, now_ns: int, report: BeatReport) -> None:
        """Take what the ear makes of the sound up to ``now_ns``; call it steadily."""
        seconds = min(max((now_ns - self._followed_ns) * 1e-9, 0.0), 0.1)
        self._followed_ns = now_ns
        report = replace(report, t_ns=report.t_ns - round(self._o.delay_ms * 1e6))
        if self.by_hand:
            return
        sure = report.trust >= (self._o.break_trust if self.in_break else self._o.start_trust)
        if not self.grid.running:
            self._against_s = self._against_s + seconds if sure else 0.0
            if self._against_s > 0.5 * report.period_s:
                self._move(report, now_ns)
            return
        octaves = math.log2(report.period_s / self.grid.period_s)
        error = self._error(report)
        if self.octave_by_hand:  # the ear may count in another octave: its beats are some or more than all of ours
            fold = round(octaves)
            report, octaves = replace(report, period_s=report.period_s / 2.0**fold), octaves - fold
            if fold < 0:
                error = error - round(error * 2.0**-fold) / 2.0**-fold
        if abs(error) < _NEAR_BEATS and abs(octaves) < _NEAR_OCTAVES:
            self._against_s = max(0.0, self._against_s - 2.0 * seconds)
            if sure:
                self._held_ns = now_ns
                self._credit += min(1.0, seconds / _CREDIT_S) * (1.0 - self._credit)
                self._usual_s += min(1.0, seconds / _CREDIT_S) * (self.grid.period_s - self._usual_s)
                self._bend(error, octaves, report.trust, seconds)
            else:
                self._coast()
                self._lose_confidence(report.trust, seconds)
        else:
            self._against_s += seconds if sure else -0.5 * seconds
            self._against_s = max(self._against_s, 0.0)
            self._coast()
            self._lose_confidence(report.trust * 0.5, seconds)
            if self._against_s > self._insist_s(report):
                self._move(report, now_ns)

    def _coast(self) -> None:
        """Run on alone, along the line of the last good beats: the newest may already have been bent by a doubt."""
        good, self._good = self._good, []
        line = _along(good, self.grid.count)
        if line is None:
            return
        t_ns, period_s = line
        if abs(self.grid.t_ns - t_ns) * 1e-9 > 0.12 * period_s:  # the beat has moved since: keep it
            t_ns = self.grid.t_ns
        self.grid = replace(self.grid, t_ns=t_ns, period_s=period_s)

    def _insist_s(self, report: BeatReport) -> float:
        """Return how long a contradiction must last.

        Half a beat or an octave off what has long been right is most often the ear's lapse; another tempo is not.
        """
        octaves = math.log2(report.period_s / self._usual_s)
        lapse = abs(octaves - round(octaves)) < _USUAL_OCTAVES
        beats = self._o.insist_beats + (_CREDIT_BEATS * self._credit if lapse else 0.0)
        return beats * report.period_s * (2.0 if self.in_break else 1.0)

    def _error(self, report: BeatReport) -> float:
        """Return how far the report's beats lie behind the grid's, in beats, within half a beat."""
        beats = self.grid.beats_since(report.t_ns + round(self._offset_s * NS))
        return beats - round(beats)

    def _bend(self, error: float, octaves: float, trust: float, seconds: float) -> None:
        grid = self.grid
        turn = 2.0 * math.pi * self._o.bend_hz * seconds
        weight = min(1.0, trust * 1.2) ** 2
        # Second order, a little overdamped: the phase follows, the tempo follows what is left of the error.
        shift_s = 1.8 * turn * weight * error * grid.period_s
        period_s = grid.period_s * (1.0 + turn * turn / max(seconds, 1e-6) * weight * error * grid.period_s)
        period_s *= 2.0 ** (0.5 * turn * weight * octaves * min(1.0, abs(octaves) / 0.03))
        shift_s += grid.beats_since(self._followed_ns) * (grid.period_s - period_s)  # the phase of now stays
        agreement = trust * (1.0 - 2.0 * abs(error))
        confidence = grid.confidence + min(1.0, seconds / 0.7) * (agreement - grid.confidence)
        self.grid = replace(grid, t_ns=grid.t_ns + round(shift_s * NS), period_s=period_s, confidence=confidence)

    def _lose_confidence(self, towards: float, seconds: float) -> None:
        trust = self.grid.confidence
        self.grid = replace(self.grid, confidence=trust + min(1.0, seconds / 2.5) * (min(towards, trust) - trust))

    def _move(self, report: BeatReport, now_ns: int) -> None:
        """Give in. Where the ear has come round to the hand's correction by itself, the correction is over."""
        self._held_ns, self._against_s, self._offset_s, self._credit = now_ns, 0.0, 0.0, 0.0
        self._good.clear()
        self._usual_s = report.period_s
        self._run_from(report, now_ns, 0.7 * report.trust)

    def _run_from(self, report: BeatReport, now_ns: int, trust: float) -> None:
        grid, period_ns = self.grid, round(report.period_s * NS)
        # The next beat to be sounded: one that is long past is not, nor one that follows hard upon the last.
        ahead_ns = report.t_ns + -(-(now_ns - _OVERDUE_NS - report.t_ns) // period_ns) * period_ns
        last = self.at_count(self._emitted) if grid.running else None
        if last is not None and ahead_ns - last.t_ns < 0.4 * period_ns:
            ahead_ns += period_ns
        position = 0 if last is None else (last.bar_position + 1) % grid.beats_per_bar
        self.grid = BeatGrid(ahead_ns, self._emitted + 1, report.period_s, position, grid.beats_per_bar, trust, True)

    def hear_bar(self, count: int, position: int, beats_per_bar: int) -> None:
        """Take the place of beat ``count`` in its bar, unless the hand has set the one."""
        if self.bar_by_hand or self.by_hand or not self.grid.running:
            return
        ahead = self.grid.count - count
        self.grid = replace(self.grid, bar_position=(position + ahead) % beats_per_bar, beats_per_bar=beats_per_bar)

    # -- time ----------------------------------------------------------------------------------------------

    def advance(self, now_ns: int) -> list[BeatGrid]:
        """Return a grid for each beat that fell due up to ``now_ns``, each anchored on its beat, oldest first."""
        if not self.grid.running:
            return []
        bar_s = self.grid.period_s * self.grid.beats_per_bar
        alone_s = (now_ns - self._held_ns) * 1e-9
        if not self.by_hand and alone_s > self._o.hold_bars * bar_s:
            self.grid = replace(self.grid, running=False, confidence=0.0)
            self._against_s, self._offset_s, self.octave_by_hand = 0.0, 0.0, False
            return []
        due = []
        newest = self.grid.count_at(now_ns)
        if newest - self._emitted > 4 * self.grid.beats_per_bar:  # the process was stopped: no burst of old beats
            self._emitted = newest - 1
        while self._emitted < newest:
            self._emitted += 1
            beat = self.at_count(self._emitted)
            if alone_s > bar_s and not self.by_hand:
                beat = replace(beat, confidence=beat.confidence * 0.96)
            self.grid = beat
            if self._held_ns >= self._followed_ns and not self.in_break:
                self._good = [*self._good, beat][-_GOOD_BEATS:]
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
        self._against_s = 0.0
        self._good.clear()
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
        """Make ``t_ns`` a downbeat, and bars count from it until `auto`; without a tempo there is none."""
        if not self.grid.running:
            return
        self.bar_by_hand = True
        beats = self.grid.beats_since(t_ns)
        self._offset_s += (beats - round(beats)) * self.grid.period_s
        self._anchor(t_ns, self.grid.period_s, self.grid.confidence, 0)

    def nudge(self, ms: float) -> None:
        """Shift the grid by ``ms`` (later if positive); it stays shifted until `auto`."""
        self._offset_s += ms * 1e-3
        self._good.clear()
        self.grid = replace(self.grid, t_ns=self.grid.t_ns + round(ms * 1e6))

    def flip(self) -> None:
        """Shift the grid by half a beat: the cure for an ear that sits on the off-beat."""
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

    def set_grid(self, beat_ns: int, bpm: float, position: int, now_ns: int) -> None:
        """Take over a grid that somebody else keeps: a recent beat, the tempo, and that beat's place in its bar."""
        if not (math.isfinite(bpm) and 20.0 <= bpm <= 400.0):
            return
        self._hold()
        period_s = 60.0 / bpm
        self._run_from(BeatReport(beat_ns, period_s, 1.0), now_ns, 1.0)
        ahead = round((self.grid.t_ns - beat_ns) * 1e-9 / period_s)
        self.grid = replace(self.grid, bar_position=(position + ahead) % self.grid.beats_per_bar)

    def lock(self, on: bool) -> None:
        """Hold tempo and phase whatever the ear says, or follow it again."""
        if on:
            self._hold()
        else:
            self.auto()

    def auto(self) -> None:
        """Give the clock back to the ear."""
        if self.by_hand:
            self._held_ns = self._followed_ns  # what the hand set is held as long as a lost beat is
        self.by_hand = self.octave_by_hand = self.bar_by_hand = False
        self._offset_s = 0.0
        self._taps.clear()

    def _hold(self) -> None:
        self.by_hand = True
        self._against_s = 0.0

    def _set_period(self, period_s: float) -> None:
        if not 0.1 <= period_s <= 3.0:
            return
        self._good.clear()
        # The beat last emitted is the pivot, so nothing sounds twice and nothing is skipped.
        self.grid = replace(self.at_count(self._emitted) if self.grid.running else self.grid, period_s=period_s)
