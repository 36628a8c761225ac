import os
import time
import uuid

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.runtime import shared
from vjserver.runtime.clock import NS, LiveClock, ManualClock, SampleClock
from vjserver.runtime.slot import SlotWriter, size_of
from vjserver.runtime.stats import Latencies, Rate
from vjserver.runtime.status import (
    STATUS_CAPACITY,
    DeliverStatus,
    EarStatus,
    GenerateStatus,
    OutputStatus,
    StatusReader,
    StatusWriter,
    figures_of,
)
from vjserver.stages.control.osc_publisher import maker


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
    assert latencies.summary() is None
    for i in range(101):
        latencies.add(0, i * 1_000_000)
        rate.tick(i * NS // 50)
    assert latencies.summary().p50 == pytest.approx(50.0)
    assert latencies.summary().p95 == pytest.approx(95.0)
    assert rate.per_second(2 * NS) == pytest.approx(50.0)
    assert rate.per_second(60 * NS) == 0.0


def test_a_status_is_fresh_for_as_long_as_its_process_is_to_put_up_the_next():
    name = f"vjt-{uuid.uuid4().hex[:6]}"
    segment = shared.create(name, size_of(STATUS_CAPACITY))
    try:
        writer, reader = StatusWriter(name), StatusReader(name, GenerateStatus)
        assert not reader.fresh(0).known
        writer.put(GenerateStatus(t_ns=1, fps=30.0))
        assert (reader.fresh(NS).fps, reader.fresh(NS).pid) == (30.0, os.getpid())
        assert reader.fresh(2 * NS) == GenerateStatus()
        writer.put(GenerateStatus(t_ns=1, fps=0.3, lookahead_ms=3000.0))
        assert reader.fresh(9 * NS).fps == 0.3
        assert not reader.fresh(11 * NS).known
    finally:
        shared.remove(segment)


def test_figures_keep_their_kind_and_what_is_no_number_harms_only_itself():
    told = {"width": 768, "height": 432, "steps": 1, "decks": 2, "rate": 0.5, "connected": True, "odd": None, "s": "x"}
    assert figures_of(told) == {key: told[key] for key in ("width", "height", "steps", "decks", "rate", "connected")}
    name = f"vjt-{uuid.uuid4().hex[:6]}"
    segment = shared.create(name, size_of(STATUS_CAPACITY))
    try:
        writer, reader = StatusWriter(name), StatusReader(name, DeliverStatus)
        writer.put(DeliverStatus(t_ns=1, level="live", outputs={"a": OutputStatus(figures=figures_of(told))}))
        figures = reader.get().outputs["a"].figures
        assert {key: type(value) for key, value in figures.items()} == {
            "width": int, "height": int, "steps": int, "decks": int, "rate": float, "connected": bool,
        }  # fmt: skip
    finally:
        shared.remove(segment)
    made = GenerateStatus(t_ns=1, generator="mine", figures=figures_of(told))
    assert maker(msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=GenerateStatus)) == (
        "mine: 768x432, steps 1, decks 2"
    )


def test_a_status_that_makes_no_sense_is_none_and_one_of_another_version_loses_only_what_is_new():
    name = f"vjt-{uuid.uuid4().hex[:6]}"
    segment = shared.create(name, size_of(STATUS_CAPACITY))
    try:
        raw, reader = SlotWriter(name), StatusReader(name, EarStatus)
        raw.put(msgspec.msgpack.encode({"t_ns": 5, "beats": 7, "mood": "good"}))
        assert (reader.get().beats, reader.get().bpm) == (7, 0.0)
        for wrong in (b"\xc1", msgspec.msgpack.encode({"t_ns": 5, "beats": "many"}), msgspec.msgpack.encode([1])):
            raw.put(wrong)
            assert reader.get() == EarStatus()
    finally:
        shared.remove(segment)
