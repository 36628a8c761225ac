import multiprocessing
import os
import threading
import time
import uuid
import zlib
from dataclasses import replace

import numpy as np
import pytest
from conftest import wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.runtime import queue, shared
from vjserver.runtime.queue import MAX_EVENT, QueueReader, QueueWriter, decode, encode
from vjserver.runtime.ring import RingReader, RingWriter, ring_owner
from vjserver.runtime.slot import SlotReader, SlotWriter, size_of
from vjserver.runtime.store import Channels, pack_features, unpack_features
from vjserver.types.errors import OutputError, VJError
from vjserver.types.events import Beat, Command, Degraded, Drum, Onset, Silence, Tempo
from vjserver.types.features import BeatGrid, silent_features
from vjserver.types.frames import FLAG_CRC, Frame, FrameInfo

spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def segment():
    made = []

    def make(size):
        made.append(shared.create(f"vjt-{uuid.uuid4().hex[:10]}", size))
        return made[-1].name

    yield make
    for one in made:
        shared.remove(one)


def test_a_slot_gives_the_newest_and_counts_what_was_missed(segment):
    name = segment(size_of(64))
    writer, reader = SlotWriter(name), SlotReader(name)
    assert reader.get() is None
    for value in (b"a", b"bb", b"ccc"):
        writer.put(value)
    assert reader.get() == b"ccc"
    assert reader.get() is None
    writer.put(b"d")
    writer.put(b"e")
    assert (reader.get(), reader.drops) == (b"e", 1)
    with pytest.raises(ValueError, match="at most"):
        writer.put(b"x" * 10_000)
    writer.close()
    reader.close()


def test_a_writer_that_is_killed_at_it_leaves_the_value_before_and_a_new_one_goes_on(segment):
    name = segment(size_of(64))
    writer, reader = SlotWriter(name), SlotReader(name)
    writer.put(b"older")
    writer.put(b"old")
    dirty = shared.attach(name)
    half = (dirty.size - 8) // 16 * 8
    at = 8 + 3 % 2 * half  # where the third value would be written
    dirty.data[at + 8 : at + 40] = b"half of something that was not fini"[:32]
    dirty.words[at // 8] = 64 << 32 | 12345
    assert reader.get() == b"old"
    assert SlotReader(name).get() == b"old", "who comes later finds it too"
    SlotWriter(name).put(b"new")
    assert reader.get() == b"new"
    assert reader.drops == 0
    dirty.close()


def _hammer(name, seconds):
    writer, i, deadline = SlotWriter(name), 0, time.monotonic() + seconds
    while time.monotonic() < deadline:
        writer.put(bytes([i % 251]) * (100 + i % 900))
        i += 1
    writer.close()


def test_a_slot_is_never_torn_under_a_busy_writer_in_another_process(segment):
    name = segment(size_of(1024))
    reader = SlotReader(name)
    process = spawn.Process(target=_hammer, args=(name, 2.0))
    process.start()
    seen = 0
    while process.is_alive():
        value = reader.get()
        if value is not None:
            seen += 1
            assert len(value) >= 100
            assert value == value[:1] * len(value)
    process.join()
    assert process.exitcode == 0
    assert seen > 10
    reader.close()


EVENTS = [
    Onset(1, 2, 0.5), Drum(1, 2, "kick", 0.5), Beat(1, 2, 3, 0, 4, 120.0, 0.9), Tempo(1, 2, 120.0, 0.5),
    Silence(1, 2, True), Command(1, "/vj/tempo/nudge", (5.0,)), Degraded(1, "sound", "gone", False),
]  # fmt: skip


def test_every_event_travels(segment):
    name = segment(queue.SEGMENT_SIZE)
    writer, reader = QueueWriter(name), QueueReader(name)
    for event in EVENTS:
        writer.put(event)
    assert reader.get() == EVENTS
    assert reader.get() == []
    writer.close()
    reader.close()


@given(st.lists(st.integers(0, 300), max_size=12))
@settings(max_examples=25, deadline=None)
def test_a_queue_keeps_order_and_counts_what_overflowed(bursts):
    made = shared.create(f"vjt-{uuid.uuid4().hex[:10]}", queue.SEGMENT_SIZE)
    writer, reader = QueueWriter(made.name), QueueReader(made.name)
    sent, got = 0, []
    for burst in bursts:
        for _ in range(burst):
            writer.put(Silence(sent, sent, True))
            sent += 1
        if burst % 2:
            got += [e.t_ns for e in reader.get()]
    got += [e.t_ns for e in reader.get()]
    assert got == sorted(set(got))
    assert len(got) + reader.lost == sent
    writer.close()
    reader.close()
    shared.remove(made)


def test_a_long_text_travels_whole_a_longer_reason_is_cut_and_a_longer_command_refused(segment):
    name = segment(queue.SEGMENT_SIZE)
    writer, reader = QueueWriter(name), QueueReader(name)
    long = [Command(1, "/vj/x", ("é" * 4096,)), Silence(2, 2, True), Degraded(3, "w", "y" * 8192)]
    for event in long:
        writer.put(event)
    assert reader.get() == long
    writer.put(Degraded(1, "w" * 500, "y" * 50_000))
    assert [(len(e.what), len(e.why)) for e in reader.get()] == [(60, 8192)]
    with pytest.raises(ValueError, match="at most"):
        writer.put(Command(1, "/vj/x", ("z" * 9000,)))
    writer.close()


@given(st.lists(st.tuples(st.integers(0, 8000), st.integers(0, 40)), max_size=60))
@settings(max_examples=25, deadline=None)
def test_long_and_short_events_keep_their_order_and_none_is_torn(rows):
    """Whatever the ring wraps over: what is read is what was written, in order, and the rest is counted as lost."""
    made = shared.create(f"vjt-{uuid.uuid4().hex[:10]}", queue.SEGMENT_SIZE)
    writer, reader, late = QueueWriter(made.name), QueueReader(made.name), QueueReader(made.name)
    sent, got = {}, []
    for i, (length, short) in enumerate(rows):
        sent[i] = chr(97 + i % 26) * length
        writer.put(Command(i, "/vj/x", (sent[i],)))
        for _ in range(short):
            writer.put(Silence(10_000, 1, True))
        if i % 3 == 0:
            got += [e for e in reader.get() if isinstance(e, Command)]
    got += [e for e in reader.get() if isinstance(e, Command)]
    assert [e.t_ns for e in got] == sorted({e.t_ns for e in got})
    assert all(e.args == (sent[e.t_ns],) for e in got)
    assert len(got) == len(rows) or reader.lost
    assert all(e.args == (sent[e.t_ns],) for e in late.get() if isinstance(e, Command))
    for one in (writer, reader, late):
        one.close()
    shared.remove(made)


def picture(i, width=64, height=36):
    return Frame(np.full((height, width, 4), i % 256, np.uint8), FrameInfo(width, height, frame_id=i))


@pytest.fixture
def ring():
    name = f"vjt-{uuid.uuid4().hex[:10]}"
    writer = RingWriter(name, 64 * 36 * 4)
    yield name, writer
    writer.close()
    shared.remove_by_name(name)


def test_a_ring_gives_the_newest_frame(ring):
    name, writer = ring
    reader = RingReader(name)
    assert reader.get() is None
    for i in range(1, 6):
        writer.put(picture(i))
    frame = reader.get()
    assert frame.info.frame_id == 5
    assert (frame.pixels == 5).all()
    assert reader.get() is None
    reader._look_again_s = 0.0
    assert reader.get() is None, "the same frame is not new because the ring was looked up again"
    writer.put(picture(6, 32, 18))
    assert reader.get().pixels.shape == (18, 32, 4)
    reader.close()


def test_a_frame_too_large_is_refused_and_the_ring_goes_on(ring):
    name, writer = ring
    with pytest.raises(OutputError, match="holds frames of up to"):
        writer.put(picture(1, 640, 360))
    writer.put(picture(2))
    reader = RingReader(name)
    assert reader.get().info.frame_id == 2
    reader.close()


def test_a_living_owner_is_named_and_a_dead_ones_ring_is_taken_over(ring):
    name, _ = ring
    with pytest.raises(OutputError, match=f"process {os.getpid()}, which is running"):
        RingWriter(name, 64)
    assert ring_owner(name) == os.getpid()
    process = spawn.Process(target=_own_and_die, args=(name + "d",))
    process.start()
    process.join()
    reader = RingReader(name + "d")
    assert reader.get().info.frame_id == 1
    heir = RingWriter(name + "d", 64 * 36 * 4)
    heir.put(picture(9))
    assert wait_for(reader.get, 2).info.frame_id == 9
    reader.close()
    heir.close()


def _own_and_die(name):
    RingWriter(name, 64 * 36 * 4).put(picture(1))
    os._exit(0)


def _fill(name, seconds):
    writer, i, deadline = RingWriter(name, 640 * 360 * 4), 1, time.monotonic() + seconds
    while time.monotonic() < deadline:
        writer.put(picture(i, 640, 360))
        i += 1
    os._exit(0)


def test_frames_are_never_torn_under_a_writer_that_does_not_wait():
    name = f"vjt-{uuid.uuid4().hex[:10]}"
    process = spawn.Process(target=_fill, args=(name, 2.0))
    process.start()
    reader, seen = RingReader(name), 0
    while process.is_alive():
        frame = reader.get()
        if frame is not None:
            seen += 1
            assert (frame.pixels == frame.info.frame_id % 256).all()
    process.join()
    reader.close()
    shared.remove_by_name(name)
    assert seen > 10


def test_a_reader_is_woken_by_a_frame_and_not_by_the_clock(ring):
    name, writer = ring
    reader, waits = RingReader(name), []
    assert reader.wait(0.05) is None, "nothing yet"
    for i in range(1, 40):
        timer = threading.Timer(0.005, writer.put, (picture(i),))
        timer.start()
        began = time.perf_counter()
        assert reader.wait(1.0).info.frame_id == i
        waits.append(time.perf_counter() - began)
        timer.join()
    assert sorted(waits)[20] < 0.015, "woken, not found at the next look 20 ms later"
    reader.close()


def test_a_ring_that_was_closed_and_made_anew_larger_is_found_at_once(ring):
    name, writer = ring
    reader = RingReader(name)
    writer.put(picture(1))
    assert reader.get().info.frame_id == 1
    writer.close()
    assert reader.get() is None
    heir = RingWriter(name, 640 * 360 * 4)
    heir.put(picture(2, 640, 360))
    assert reader.get().pixels.shape == (360, 640, 4)
    heir.close()
    reader.close()


def test_a_dead_writers_ring_is_taken_over_in_place_and_its_reader_sees_no_gap():
    name = f"vjt-{uuid.uuid4().hex[:10]}"
    process = spawn.Process(target=_own_and_die, args=(name,))
    process.start()
    process.join()
    reader = RingReader(name)
    assert reader.get().info.frame_id == 1
    held = reader._segment
    heir = RingWriter(name, 64)  # asks for less: what is there is large enough
    assert reader.get() is None, "the dead writer's frame is not told as the heir's"
    heir.put(picture(5))
    assert reader.get().info.frame_id == 5
    assert reader._segment is held
    heir.close()
    reader.close()


def test_a_number_that_another_process_got_since_is_no_living_owner(monkeypatch):
    name = f"vjt-{uuid.uuid4().hex[:10]}"
    writer = RingWriter(name, 64)
    assert ring_owner(name) == os.getpid()
    writer._segment.words[2] = 1_000_000_000  # the ring is of 1970, this process is not
    assert ring_owner(name) == 0
    writer.close()


def test_where_stores_may_be_seen_out_of_order_a_crc_tells_a_torn_frame():
    name = f"vjt-{uuid.uuid4().hex[:10]}"
    writer, reader = RingWriter(name, 64 * 36 * 4, checked=True), RingReader(name)
    writer.put(picture(1))
    frame = reader.get()
    assert frame.info.flags & FLAG_CRC
    assert frame.info.crc32 == zlib.crc32(frame.pixels)
    writer.put(picture(2))
    slot_size = int(writer._segment.words[1])
    writer._segment.data[4096 + slot_size + 300] ^= 1  # a byte that came late
    assert reader.get() is None
    assert reader.torn == 4
    writer.close()
    reader.close()


@given(data=st.binary(min_size=40, max_size=400), at=st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_no_nonsense_in_a_ring_harms_its_reader(data, at):
    made = shared.create(f"vjt-{uuid.uuid4().hex[:10]}", 65536)
    made.data[at * 4096 : at * 4096 + len(data)] = data
    made.data[:4] = b"VJR1"
    reader = RingReader(made.name)
    assert reader.get() is None or at == 0
    reader.close()
    shared.remove(made)


def test_garbage_under_a_rings_name_is_no_ring():
    made = shared.create(f"vjt-{uuid.uuid4().hex[:10]}", 8192)
    reader = RingReader(made.name)
    assert reader.get() is None
    assert ring_owner(made.name) == 0
    shared.remove(made)


def test_features_come_back_as_they_went():
    features = replace(
        silent_features(7), grid=BeatGrid(5, 6, 0.5, 3, 4, 0.8, True), bands=np.linspace(0, 1, 6, dtype=np.float32)
    )
    back = unpack_features(pack_features(features))
    assert back.grid == features.grid
    assert back.t_ns == 7
    assert np.array_equal(back.bands, features.bands)
    assert np.array_equal(back.scalars, features.scalars)


def test_no_room_is_told_and_leaves_nothing_behind():
    name = f"vjt-{uuid.uuid4().hex[:10]}"
    with pytest.raises(VJError, match=r"no room for .* MiB of shared memory"):
        shared.create(name, 2**46)
    with pytest.raises(FileNotFoundError):
        shared.attach(name)


def test_channels_make_and_remove_everything():
    channels = Channels(f"vjt-{uuid.uuid4().hex[:6]}")
    channels.create()
    names = list(channels.segments())
    for name in names:
        shared.attach(name).close()
    channels.remove()
    for name in names:
        with pytest.raises(FileNotFoundError):
            shared.attach(name)


@given(st.text(max_size=600), st.text(max_size=2000))
def test_a_reason_of_any_length_in_any_script_fits(what, why):
    event = decode(encode(Degraded(5, what, why)))
    assert len(encode(event)) <= MAX_EVENT
    assert len(event.why) >= min(len(why), 80)


def test_a_reason_in_the_widest_script_is_cut_between_its_signs():
    event = decode(encode(Degraded(5, "𝄞" * 90, "𝄞" * 9000)))
    assert set(event.why) == {"𝄞"}
