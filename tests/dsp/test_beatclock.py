import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from vjserver.dsp.beatclock import BeatClock, ClockOptions

NS = 1_000_000_000


def ns(seconds: float) -> int:
    return round(seconds * NS)


def play(clock, bpm, beats, start_s=0.0, noise_s=0.0, seed=0, report_bpm=None, hop_s=0.005):
    """Feed reports at ``bpm`` and advance in hops; return the emitted beats and the time after the last."""
    rng = np.random.default_rng(seed)
    period = 60.0 / bpm
    emitted, now = [], start_s
    for i in range(beats):
        t = start_s + i * period
        while now < t:
            now += hop_s
            emitted += clock.advance(ns(now))
        clock.hear(ns(t + rng.normal(0, noise_s)), report_bpm or bpm, 0.5)
    return emitted, start_s + beats * period


@given(st.floats(80, 180), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_it_locks_to_noisy_beats(bpm, seed):
    clock = BeatClock(ClockOptions())
    emitted, _ = play(clock, bpm, 40, noise_s=0.01, seed=seed)
    late = emitted[12:]
    errors = [(b.t_ns / NS * bpm / 60 + 0.5) % 1 - 0.5 for b in late]
    assert max(abs(e) for e in errors) * 60 / bpm < 0.02
    assert clock.grid.bpm == pytest.approx(bpm, rel=0.02)
    assert [b.count for b in emitted] == list(range(emitted[0].count, emitted[0].count + len(emitted)))


def test_beats_are_emitted_on_time_not_after():
    clock = BeatClock(ClockOptions())
    play(clock, 120, 16)
    grid = clock.grid
    due = grid.t_ns + ns(grid.period_s)
    assert clock.advance(due - ns(0.001)) == []
    assert [b.t_ns for b in clock.advance(due + ns(0.001))] == [pytest.approx(due, abs=2)]


def test_it_runs_on_through_a_break_and_stops_after_the_hold():
    clock = BeatClock(ClockOptions(hold_bars=4))
    _, t = play(clock, 120, 24)
    through = clock.advance(ns(t + 4.0))
    assert len(through) in (8, 9)
    assert through[-1].t_ns == pytest.approx(ns(t + 4.0), abs=ns(0.55))
    clock.advance(ns(t + 9.0))
    assert not clock.grid.running


def test_confidence_falls_in_a_break():
    clock = BeatClock(ClockOptions())
    _, t = play(clock, 120, 24)
    before = clock.grid.confidence
    for i in range(2000):
        clock.advance(ns(t + i * 0.005))
    assert clock.grid.confidence < 0.9 * before


@pytest.mark.parametrize("reported", [60.0, 240.0])
def test_half_and_double_reports_do_not_change_the_octave(reported):
    clock = BeatClock(ClockOptions())
    _, t = play(clock, 120, 16)
    play(clock, 120, 16, start_s=t, report_bpm=reported)
    assert clock.grid.bpm == pytest.approx(120, rel=0.01)


def test_one_stray_report_moves_nothing_but_insistence_does():
    clock = BeatClock(ClockOptions())
    _, t = play(clock, 120, 16)
    phase = clock.grid.beat_phase(ns(t))
    clock.hear(ns(t + 0.25), 120, 0.9)
    assert clock.grid.beat_phase(ns(t)) == pytest.approx(phase, abs=0.01)
    for i in range(1, 6):
        clock.advance(ns(t + 0.25 + i * 0.5 - 0.01))
        clock.hear(ns(t + 0.25 + i * 0.5), 120, 0.9)
    assert clock.grid.beat_phase(ns(t + 0.25)) == pytest.approx(0.0, abs=0.05) or clock.grid.beat_phase(
        ns(t + 0.25)
    ) == pytest.approx(1.0, abs=0.05)


def test_a_cut_to_another_tempo_is_followed_and_no_beat_sounds_twice():
    clock = BeatClock(ClockOptions())
    first, t = play(clock, 124, 24)
    second, _ = play(clock, 138, 24, start_s=t + 0.13)
    assert clock.grid.bpm == pytest.approx(138, rel=0.02)
    counts = [b.count for b in first + second]
    assert len(set(counts)) == len(counts)
    assert counts == sorted(counts)


def test_taps_set_tempo_and_downbeat_and_outrank_the_tracker():
    clock = BeatClock(ClockOptions())
    _, t = play(clock, 100, 16)
    for i in range(4):
        clock.tap(ns(t + i * 0.5))
    assert clock.grid.bpm == pytest.approx(120, rel=1e-3)
    assert clock.grid.bar_phase(ns(t + 0.001)) == pytest.approx(0.0, abs=0.01)
    play(clock, 100, 12, start_s=t + 2)
    assert clock.grid.bpm == pytest.approx(120, rel=1e-3)
    clock.auto()
    play(clock, 100, 16, start_s=t + 10)
    assert clock.grid.bpm == pytest.approx(100, rel=0.02)


def test_taps_start_a_clock_that_stood_still():
    clock = BeatClock(ClockOptions())
    for i in range(4):
        clock.tap(ns(10 + i * 0.5))
    assert len(clock.advance(ns(13.6))) >= 4


def test_a_bouncing_button_is_no_tempo():
    clock = BeatClock(ClockOptions())
    for i in range(1000):
        clock.tap(ns(1) + i * 1000)
    assert not clock.grid.running
    for i in range(4):
        for bounce in (0.0, 0.02, 0.05):
            clock.tap(ns(10 + i * 0.5 + bounce))
    assert clock.grid.bpm == pytest.approx(120, rel=1e-3)


def test_a_pause_between_taps_starts_over():
    clock = BeatClock(ClockOptions())
    for t in (0.0, 0.4, 5.0, 5.5, 6.0):
        clock.tap(ns(t))
    assert not clock.grid.running


def test_hands_shift_double_halve_and_flip():
    clock = BeatClock(ClockOptions())
    clock.set_bpm(120, ns(1))
    assert clock.grid.bar_phase(ns(1)) == 0.0
    clock.nudge(20)
    assert clock.grid.beat_phase(ns(1.02)) == pytest.approx(0.0, abs=1e-6)
    clock.flip()
    assert clock.grid.beat_phase(ns(1.27)) == pytest.approx(0.0, abs=1e-6)
    clock.double()
    assert clock.grid.bpm == pytest.approx(240)
    clock.half()
    clock.half()
    assert clock.grid.bpm == pytest.approx(60)
    clock.resync(ns(7.7))
    assert clock.grid.bar_phase(ns(7.7)) == 0.0


def test_double_sticks_though_the_tracker_says_otherwise():
    clock = BeatClock(ClockOptions(max_bpm=185))
    _, t = play(clock, 120, 16)
    clock.double()
    play(clock, 120, 24, start_s=t)
    assert clock.grid.bpm == pytest.approx(240, rel=0.02)


def test_lock_holds():
    clock = BeatClock(ClockOptions())
    _, t = play(clock, 120, 16)
    clock.lock(True)
    play(clock, 150, 16, start_s=t)
    assert clock.grid.bpm == pytest.approx(120, rel=0.01)
    clock.lock(False)
    assert not clock.by_hand


def test_nonsense_reports_are_ignored():
    clock = BeatClock(ClockOptions())
    for bpm in (0.0, -5.0, float("nan"), float("inf")):
        clock.hear(ns(1), bpm, 1.0)
    assert not clock.grid.running


def test_a_stopped_process_does_not_send_a_burst_of_old_beats():
    clock = BeatClock(ClockOptions())
    clock.set_bpm(120, ns(0))
    clock.advance(ns(1))
    assert len(clock.advance(ns(3600))) <= 2


def test_a_range_with_gaps_is_refused():
    with pytest.raises(ValidationError, match="twice min_bpm"):
        ClockOptions(min_bpm=100, max_bpm=150)
