import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.runtime import shared, soundring
from vjserver.runtime.soundring import SAMPLES, SoundReader, SoundWriter
from vjserver.types.audio import AudioBlock


@pytest.fixture
def ring():
    segment = shared.create(f"vjt-{uuid.uuid4().hex[:8]}", soundring.SEGMENT_SIZE)
    writer, reader = SoundWriter(segment.name), SoundReader(segment.name)
    yield writer, reader, segment.name
    writer.close()
    reader.close()
    shared.remove(segment)


def block(first, frames, rate_hz=48000, channels=2):
    ramp = np.arange(first, first + frames, dtype=np.float32)
    return AudioBlock(np.stack([ramp + c for c in range(channels)], axis=1), rate_hz, (first + frames) * 1000)


def test_sound_comes_out_as_it_went_in(ring):
    writer, reader, _ = ring
    assert reader.get() is None
    writer.put(block(0, 100))
    reader.get()  # from now on
    writer.put(block(100, 128))
    writer.put(block(228, 300))
    got = reader.get()
    assert np.array_equal(got.samples, block(100, 428).samples)
    assert (got.rate_hz, got.t_ns) == (48000, 528_000)
    assert reader.get() is None


@given(st.lists(st.integers(1, 30000), min_size=1, max_size=60), st.sampled_from([1, 2, 6]), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_nothing_is_lost_or_told_twice_unless_it_is_counted(lengths, channels, every):
    segment = shared.create(f"vjt-{uuid.uuid4().hex[:8]}", soundring.SEGMENT_SIZE)
    writer, reader = SoundWriter(segment.name), SoundReader(segment.name)
    writer.put(block(0, 10, channels=channels))
    reader.get()
    at, got = 10, []
    for i, length in enumerate(lengths):
        writer.put(block(at, length, channels=channels))
        at += length
        if i % every == 0:
            heard = reader.get()
            got += [heard.samples[:, 0]] if heard is not None else []
    heard = reader.get()
    got += [heard.samples[:, 0]] if heard is not None else []
    frames = np.concatenate(got)
    assert len(frames) + reader.lost == at - 10
    assert (np.diff(frames) > 0).all()
    if not reader.lost:
        assert (np.diff(frames) == 1).all()
    writer.close()
    reader.close()
    shared.remove(segment)


def test_another_device_begins_anew(ring):
    writer, reader, _ = ring
    writer.put(block(0, 1000))
    reader.get()
    writer.put(block(0, 500, 44100, 1))
    got = reader.get()
    assert got.rate_hz == 44100
    assert got.samples.shape == (500, 1)


def test_a_writer_that_was_killed_half_way_is_followed(ring):
    writer, reader, name = ring
    writer.put(block(0, 10))
    reader.get()
    dirty = shared.attach(name)
    dirty.words[0] += 1
    assert reader.get() is None
    heir = SoundWriter(name)
    heir.put(block(0, 20))
    assert len(reader.get().samples) == 20
    heir.close()
    dirty.close()


def test_a_block_longer_than_the_ring_leaves_its_end(ring):
    writer, reader, _ = ring
    writer.put(block(0, 10))
    reader.get()
    writer.put(block(10, SAMPLES))
    got = reader.get()
    assert got.samples[-1, 0] == SAMPLES + 9
