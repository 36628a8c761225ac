import gc
import time

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.runtime.clock import NS, LiveClock, ManualClock, SampleClock
from vjserver.runtime.stats import Latencies, Rate
from vjserver.runtime.supervisor import Supervisor, Worker


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


def fall(stop):
    """A worker that dies."""
    raise SystemExit(3)


def stay(stop):
    """A worker that stays until told."""
    while not stop.is_set():
        time.sleep(0.01)


def deaf(stop):
    """A worker that does not listen."""
    time.sleep(60)


def test_the_supervisor_restarts_the_fallen_and_ends_all_within_two_seconds():
    told = []
    workers = [Worker(name, f"{__name__}:{name}", ()) for name in ("fall", "stay", "deaf")]
    supervisor = Supervisor(workers, lambda *row: told.append(row), gc.collect)
    supervisor.start()
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline and len(told) < 4:
        supervisor.check()
        time.sleep(0.02)
    assert ("fall", "ended with code 3; starting again in 0.2 s", False) in told
    assert ("fall", "restarted after fall 1", True) in told
    assert ("fall", "ended with code 3; starting again in 0.5 s", False) in told
    gentle = next(w.process.pid for w in workers if w.name == "stay")
    psutil.Process(gentle).terminate()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and ("stay", "restarted after fall 1", True) not in told:
        supervisor.check()
        time.sleep(0.02)
    assert ("stay", "restarted after fall 1", True) in told, "a signal to one worker must not end them all"
    began = time.monotonic()
    processes = [w.process for w in workers if w.process is not None]
    supervisor.stop()
    assert time.monotonic() - began < 2.0
    assert len(processes) >= 2
