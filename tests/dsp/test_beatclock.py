import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.dsp.beatclock import BeatClock, BeatReport
from vjserver.dsp.options import ClockOptions

NS = 1_000_000_000
FRAME_S = 512 / 44100


def ns(seconds: float) -> int:
    return round(seconds * NS)


def play(clock, bpm, seconds, start_s=0.0, noise_s=0.0, trust=0.95, seed=0, shift_s=0.0):
    """Report beats at ``bpm`` (one at ``start_s + shift_s``) frame by frame; return the emitted beats and the end."""
    rng, period, emitted, now = np.random.default_rng(seed), 60.0 / bpm, [], start_s
    while now < start_s + seconds:
        now += FRAME_S
        last = start_s + shift_s + np.floor((now - start_s - shift_s) / period) * period
        clock.follow(ns(now), BeatReport(ns(last + rng.normal(0, noise_s)), period, trust))
        emitted += clock.advance(ns(now))
    return emitted, now


def errors_s(beats, bpm, origin_s=0.0):
    period = 60.0 / bpm
    return np.array([(b.t_ns / NS - origin_s + period / 2) % period - period / 2 for b in beats])


@given(st.floats(60, 200), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_it_locks_to_noisy_reports_and_steadies_them(bpm, seed):
    clock = BeatClock(ClockOptions())
    emitted, _ = play(clock, bpm, 12, noise_s=0.01, seed=seed)
    late = emitted[len(emitted) // 3 :]
    assert np.abs(errors_s(late, bpm)).max() < 0.010
    assert clock.grid.bpm == pytest.approx(bpm, rel=0.01)
    assert [b.count for b in emitted] == list(range(1, len(emitted) + 1))
    assert clock.grid.confidence > 0.7


def test_it_starts_within_a_beat_of_trust():
    clock = BeatClock(ClockOptions())
    emitted, _ = play(clock, 120, 1.3)
    assert emitted[0].t_ns <= ns(0.55)


@pytest.mark.parametrize("trust", [0.0, 0.2, 0.28])
def test_it_never_starts_on_doubtful_reports(trust):
    clock = BeatClock(ClockOptions())
    assert play(clock, 120, 20, trust=trust)[0] == []
    assert not clock.grid.running


def test_beats_are_emitted_on_time_not_after():
    clock = BeatClock(ClockOptions())
    play(clock, 120, 8)
    grid = clock.grid
    due = grid.t_ns + ns(grid.period_s)
    assert clock.advance(due - ns(0.001)) == []
    assert [b.t_ns for b in clock.advance(due + ns(0.001))] == [pytest.approx(due, abs=2)]


def test_it_runs_on_through_a_break_with_falling_confidence_and_stops_after_the_hold():
    clock = BeatClock(ClockOptions(hold_bars=4))
    _, t = play(clock, 120, 12)
    before = clock.grid.confidence
    through, t = play(clock, 90, 6, start_s=t, trust=0.1)
    assert len(through) in (11, 12, 13)
    assert np.abs(errors_s(through, 120)).max() < 0.02
    assert clock.grid.confidence < 0.6 * before
    play(clock, 90, 4, start_s=t, trust=0.1)
    assert not clock.grid.running


def test_a_long_break_that_began_with_doubtful_reports_is_crossed_on_the_tempo_before_it():
    clock = BeatClock(ClockOptions())
    _, now = play(clock, 138.9, 20, noise_s=0.004)
    clock.in_break = True
    misled, now = play(clock, 139.7, 3, start_s=now - now % (60 / 138.9), trust=0.85)
    coasted, _ = play(clock, 141.0, 25, start_s=now, trust=0.5)
    assert np.abs(errors_s(misled, 138.9)).max() > 0.008  # they did bend it
    assert np.abs(errors_s(coasted[2:], 138.9)).max() < 0.008


def test_a_nudge_is_kept_when_the_clock_is_left_alone():
    clock = BeatClock(ClockOptions())
    _, now = play(clock, 120, 20)
    clock.nudge(40.0)
    alone, _ = play(clock, 120, 10, start_s=now, trust=0.1)
    assert np.abs(errors_s(alone[1:], 120, 0.04)).max() < 0.008


def test_a_ramp_of_a_tenth_in_twenty_seconds_is_followed():
    clock, now, phase, beats, truth = BeatClock(ClockOptions()), 0.0, 0.0, [], []
    while now < 32:
        now += FRAME_S
        bpm = 120 * (1 + 0.1 * np.clip((now - 8) / 20, 0, 1))
        before, phase = phase, phase + bpm / 60 * FRAME_S
        since = (phase % 1) * 60 / bpm
        if int(phase) != int(before):
            truth.append(now - since)
        clock.follow(ns(now), BeatReport(ns(now - since), 60 / bpm, 0.95))
        beats += [b.t_ns / NS for b in clock.advance(ns(now))]
    off = [min(abs(b - t) for t in truth) for b in beats[8:-1]]
    assert max(off) < 0.012


@pytest.mark.parametrize(("bpm", "shift_s", "patience"), [(120, 0.25, 8.0), (240, 0.0, 8.0), (138, 0.1, 2.6)])
def test_a_short_contradiction_moves_nothing_a_lasting_one_does(bpm, shift_s, patience):
    clock = BeatClock(ClockOptions())
    first, t = play(clock, 120, 16)
    held, u = play(clock, bpm, 0.6, start_s=t, shift_s=shift_s)
    assert np.abs(errors_s(held, 120)).max(initial=0.0) < 0.03
    moved, _end = play(clock, bpm, patience, start_s=u, shift_s=shift_s)
    assert clock.grid.bpm == pytest.approx(bpm, rel=0.02)
    assert abs(errors_s(moved[-1:], bpm, u + shift_s)[0]) < 0.02
    every = [*first, *held, *moved]
    assert [b.count for b in every] == list(range(1, len(every) + 1))
    gaps = np.diff([b.t_ns / NS for b in every])
    assert gaps.min() > 0.38 * 60 / bpm


def test_the_hand_outranks_the_ear_until_auto():
    clock = BeatClock(ClockOptions())
    _, t = play(clock, 100, 10)
    for i in range(4):
        clock.tap(ns(t + i * 0.5))
    assert clock.grid.bpm == pytest.approx(120, rel=1e-3)
    assert clock.grid.bar_phase(ns(t + 0.001)) == pytest.approx(0.0, abs=0.01)
    _, t = play(clock, 100, 6, start_s=t + 2)
    assert clock.grid.bpm == pytest.approx(120, rel=1e-3)
    clock.auto()
    play(clock, 100, 8, start_s=t)
    assert clock.grid.bpm == pytest.approx(100, rel=0.02)


def test_a_nudge_stays_though_the_ear_says_otherwise_until_auto():
    clock = BeatClock(ClockOptions())
    _, t = play(clock, 120, 10)
    clock.nudge(30)
    moved, end = play(clock, 120, 10, start_s=t)
    assert np.abs(errors_s(moved[4:], 120, t) - 0.030).max() < 0.006
    clock.auto()
    back, _ = play(clock, 120, 10, start_s=end)
    assert np.abs(errors_s(back[8:], 120, end)).max() < 0.006


def test_a_flip_stays_and_is_over_once_the_ear_has_come_round_itself():
    clock = BeatClock(ClockOptions())
    _, t = play(clock, 120, 10)
    clock.flip()
    flipped, t = play(clock, 120, 8, start_s=t)
    assert np.abs(np.abs(errors_s(flipped[2:], 120)) - 0.25).max() < 0.02
    play(clock, 120, 8, start_s=t, shift_s=0.25)
    assert abs(errors_s([clock.grid], 120, t + 0.25)[0]) < 0.02


def test_a_resync_keeps_its_one_and_its_beat_against_the_ear():
    clock = BeatClock(ClockOptions())
    _, t = play(clock, 120, 10.0)
    clock.resync(ns(t + 0.06))
    clock.hear_bar(clock.grid.count, 2, 3)
    moved, _ = play(clock, 120, 8, start_s=t)
    ones = [b for b in moved if b.bar_position == 0]
    assert np.abs(errors_s(ones, 30, t + 0.06)).max() < 0.012
    assert clock.grid.beats_per_bar == 4


def test_bars_are_taken_over():
    clock = BeatClock(ClockOptions())
    beats, _ = play(clock, 120, 8)
    clock.hear_bar(beats[-3].count, 1, 3)
    assert (clock.grid.beats_per_bar, clock.at_count(beats[-3].count + 2).bar_position) == (3, 0)


def test_a_grid_that_somebody_else_keeps():
    clock = BeatClock(ClockOptions())
    told, now = [], 5.0
    for i in range(80):  # as Ableton Link would: ten times a second, a recent beat
        now = 5.0 + i * 0.1
        count = int((now - 4.8) / 0.4)
        clock.set_grid(ns(4.8 + count * 0.4), 150.0, count % 4, ns(now))
        told += clock.advance(ns(now + 0.05))
        told += clock.advance(ns(now + 0.099))
    assert np.abs(errors_s(told, 150, 4.8)).max() < 1e-6
    assert all(b.bar_position == round((b.t_ns / NS - 4.8) / 0.4) % 4 for b in told)
    assert len(told) == pytest.approx(8 / 0.4, abs=1)
    clock.set_grid(0, float("nan"), 0, ns(now))
    assert clock.grid.bpm == pytest.approx(150)


@pytest.mark.parametrize("move", ["double", "half"])
def test_an_octave_set_by_hand_sticks_and_still_follows(move):
    clock = BeatClock(ClockOptions())
    _, t = play(clock, 120, 10)
    getattr(clock, move)()
    _, t = play(clock, 120, 8, start_s=t)
    factor = 2 if move == "double" else 0.5
    assert clock.grid.bpm == pytest.approx(120 * factor, rel=0.02)
    play(clock, 124, 12, start_s=t)
    assert clock.grid.bpm == pytest.approx(124 * factor, rel=0.02)


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
    assert clock.bar_by_hand


def test_lock_holds():
    clock = BeatClock(ClockOptions())
    _, t = play(clock, 120, 8)
    clock.lock(True)
    play(clock, 150, 8, start_s=t)
    assert clock.grid.bpm == pytest.approx(120, rel=0.01)
    clock.lock(False)
    assert not clock.by_hand


def test_a_stopped_process_does_not_send_a_burst_of_old_beats():
    clock = BeatClock(ClockOptions())
    clock.set_bpm(120, ns(0))
    clock.advance(ns(1))
    assert len(clock.advance(ns(3600))) <= 2


def test_a_tempo_set_by_hand_and_given_back_in_silence_runs_out():
    clock = BeatClock(ClockOptions(hold_bars=2))
    clock.set_bpm(120, ns(1))
    for i in range(800):
        clock.advance(ns(1 + i * 0.01))
    assert clock.grid.running
    clock.auto()
    play(clock, 100, 6, start_s=9.0, trust=0.0)
    assert not clock.grid.running
