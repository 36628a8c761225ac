import time
import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.runtime import shared
from vjserver.runtime.clock import NS, LiveClock, ManualClock, SampleClock
from vjserver.runtime.slot import size_of
from vjserver.runtime.stats import STATS_CAPACITY, Latencies, Rate, StatsReader, StatsWriter


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_samples_are_stamped_steadily_though_blocks_come_in_bursts(seed):
    rng = np.random.default_rng(seed)
    clock, rate, block = SampleClock(48000), 48000, 256
    stamps, truth = [], []
    arrived = 0.0
    for i in range(800):
        heard = (i + 1) * block / rate
        arrived = max(arrived, heard + rng.exponential(0.004))
        stamps.append(clock.stamp(block, round(arrived * NS)) / NS)
        truth.append(heard)
    late = np.array(stamps[200:]) - np.array(truth[200:])
    assert late.min() > -0.001
    assert np.median(late) < 0.004
    assert np.diff(stamps[200:]).max() < 0.02


def test_after_a_gap_the_sample_clock_starts_afresh():
    clock = SampleClock(48000)
    clock.stamp(480, NS)
    assert clock.stamp(480, 3 * NS) == 3 * NS


def test_a_manual_clock_jumps_instead_of_waiting():
    clock = ManualClock()
    began = time.monotonic()
    clock.sleep_until(3600 * NS)
    assert clock.now_ns() == 3600 * NS
    clock.sleep_until(5)
    assert clock.now_ns() == 3600 * NS
    assert time.monotonic() - began < 1.0


def test_the_live_clock_waits():
    clock = LiveClock()
    due = clock.now_ns() + 20_000_000
    clock.sleep_until(due)
    assert clock.now_ns() >= due


def test_latencies_and_rates():
    latencies, rate = Latencies(), Rate()
    assert latencies.summary() == {}
    for i in range(101):
        latencies.add(0, i * 1_000_000)
        rate.tick(i * NS // 50)
    assert latencies.summary()["p50"] == pytest.approx(50.0)
    assert latencies.summary()["p95"] == pytest.approx(95.0)
    assert rate.per_second(2 * NS) == pytest.approx(50.0)
    assert rate.per_second(60 * NS) == 0.0


def test_a_board_is_fresh_for_as_long_as_its_process_is_to_put_up_the_next():
    name = f"vjt-{uuid.uuid4().hex[:6]}"
    segment = shared.create(name, size_of(STATS_CAPACITY))
    try:
        board, reader = StatsWriter(name), StatsReader(name)
        assert reader.fresh(0) == {}
        board.put({"t_ns": 0, "fps": 30.0})
        assert reader.fresh(NS)["fps"] == 30.0
        assert reader.fresh(2 * NS) == {}
        board.put({"t_ns": 0, "fps": 0.3, "lookahead_ms": 3000.0})
        assert reader.fresh(9 * NS)["fps"] == 0.3
        assert reader.fresh(11 * NS) == {}
    finally:
        shared.remove(segment)
