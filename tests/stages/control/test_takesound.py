"""The sound of takes: whatever clocks do, a message lies where it was heard."""

import json
import time

import numpy as np
import pytest
import soundfile
from conftest import wait_for

from vjserver.runtime import shared
from vjserver.runtime.soundring import SEGMENT_SIZE, SoundReader, SoundWriter
from vjserver.stages.control.takesound import SampleTime, TakeSound, join_pieces
from vjserver.types.audio import AudioBlock

NS = 1_000_000_000
RATE = 48000


@pytest.mark.parametrize("ppm", [100, -100, 0])
def test_after_two_hours_a_gap_and_a_clock_that_is_off_a_message_lies_where_it_was_heard(ppm):
    """A device that gives 48,000 samples in a little more or less than a second, and 30 s of nothing in the middle."""
    at, written, heard = SampleTime(0), 0, []
    real_rate = RATE * (1 + ppm * 1e-6)
    block = 4800
    device = 0
    for i in range(72_000):
        device += block
        now_s = device / real_rate + (30.0 if i >= 36_000 else 0.0)
        zeros = at.hear(round(now_s * NS), block, RATE)
        written += zeros + block
        if i % 7000 == 3:  # a message in the middle of what was just written, heard at that very sample
            heard.append((at.place(round((now_s - 0.04) * NS)), (written - 0.04 * RATE) / RATE))
    assert abs(at.seconds * RATE - written) < 1
    assert written / RATE == pytest.approx(7230.0, abs=0.01), "the file is as long as its samples say, the gap filled"
    assert max(abs(a - b) for a, b in heard) < 0.5 / 60


def test_what_came_before_the_beginning_is_left_out_and_what_comes_later_waits_for_it():
    at = SampleTime(10 * NS)
    assert at.hear(10 * NS + NS // 10, RATE // 5, RATE) == -(RATE // 10)
    assert at.seconds == pytest.approx(0.1)
    late = SampleTime(0)
    assert late.hear(3 * NS, RATE, RATE) == 2 * RATE
    assert late.place(3 * NS + NS // 2) == pytest.approx(3.5)
    assert late.place(-5 * NS) == pytest.approx(3.5), "times only rise"
    assert SampleTime(0).place(-5 * NS) == 0.0


@pytest.fixture
def ring():
    name = f"vjtest-{time.monotonic_ns()}"
    segment = shared.create(name, SEGMENT_SIZE)
    writer = SoundWriter(name)
    yield name, writer
    writer.close()
    segment.close()


def play(writer, seconds, t_ns, rate=RATE, level=0.5):
    count = round(seconds * rate)
    writer.put(AudioBlock(np.full((count, 2), level, np.float32), rate, t_ns))


def begin(sound, writer, path, t_ns):
    """Begin a take whose ring has some sound from before, and let its thread find the ring."""
    play(writer, 0.1, t_ns)
    sound.begin(path, t_ns)
    time.sleep(0.2)


def test_a_take_is_written_with_its_gap_and_ends_where_it_ends(tmp_path, ring):
    name, writer = ring
    told = []
    sound = TakeSound(lambda: SoundReader(name), told.append)
    begin(sound, writer, tmp_path / "night.flac", 0)
    play(writer, 0.5, NS // 2)
    wait_for(lambda: sound.memory[1] > 0.4)
    play(writer, 0.5, 3 * NS, level=-0.5)
    wait_for(lambda: sound.memory[1] > 2.9)
    assert sound.place_ns(3 * NS + 1000) == pytest.approx(3 * NS, abs=NS // 1000)
    sound.end(4 * NS)
    assert sound.wait(30)
    heard, rate = soundfile.read(tmp_path / "night.flac")
    assert rate == RATE
    assert len(heard) == 4 * RATE
    assert np.allclose(heard[: RATE // 2], 0.5, atol=1e-3)
    assert np.abs(heard[RATE // 2 + 10 : int(2.5 * RATE) - 10]).max() == 0.0
    assert np.allclose(heard[int(2.5 * RATE) + 10 : 3 * RATE - 10], -0.5, atol=1e-3)
    assert np.abs(heard[3 * RATE + 10 :]).max() == 0.0
    assert told == []


def test_a_device_of_another_rate_takes_as_long(tmp_path, ring):
    name, writer = ring
    sound = TakeSound(lambda: SoundReader(name), lambda _: None)
    begin(sound, writer, tmp_path / "night.flac", 0)
    play(writer, 1.0, NS)
    wait_for(lambda: sound.memory[1] > 0.9)
    play(writer, 1.0, 2 * NS, rate=44100)
    wait_for(lambda: sound.memory[1] > 1.9)
    sound.end(2 * NS)
    assert sound.wait(30)
    assert soundfile.info(tmp_path / "night.flac").frames == pytest.approx(2 * RATE, abs=100)


def test_a_successor_goes_on_and_the_pieces_become_one(tmp_path, ring):
    name, writer = ring
    path = tmp_path / "night.flac"
    first = TakeSound(lambda: SoundReader(name), lambda _: None)
    begin(first, writer, path, 0)
    play(writer, 1.0, NS)
    wait_for(lambda: first.memory[1] > 0.9)
    memory = first.memory
    first.end(None)  # a fall would leave at most that
    assert first.wait(30)
    second = TakeSound(lambda: SoundReader(name), lambda _: None)
    second.begin(path, *memory)
    time.sleep(0.2)
    play(writer, 1.0, 4 * NS, level=-0.5)
    wait_for(lambda: second.memory[1] > 3.9)
    assert second.place_ns(4 * NS) == pytest.approx(4 * NS, abs=NS // 1000)
    second.end(4 * NS)
    assert second.wait(30)
    heard, _ = soundfile.read(path)
    assert len(heard) == 4 * RATE
    assert np.allclose(heard[:RATE], 0.5, atol=1e-3)
    assert np.abs(heard[RATE + 10 : 3 * RATE - 10]).max() == 0.0
    assert np.allclose(heard[3 * RATE + 10 :], -0.5, atol=1e-3)
    assert [p.name for p in tmp_path.iterdir()] == ["night.flac"]


def test_a_torn_piece_costs_its_end_only(tmp_path):
    soundfile.write(tmp_path / "n.flac", np.full((RATE, 2), 0.25), RATE, subtype="PCM_16")
    data = (tmp_path / "n.flac").read_bytes()
    (tmp_path / "n.flac").write_bytes(data[: len(data) // 2])
    soundfile.write(tmp_path / f"n+{2 * RATE}.flac", np.full((RATE, 2), -0.25), RATE, subtype="PCM_16")
    join_pieces(tmp_path / "n.flac")
    heard, _ = soundfile.read(tmp_path / "n.flac")
    assert len(heard) == 3 * RATE
    assert np.allclose(heard[2 * RATE :], -0.25, atol=1e-3)


def test_no_sound_costs_nothing_and_a_fault_is_told_once(tmp_path):
    told = []

    def gone():
        raise FileNotFoundError("no ring")

    sound = TakeSound(gone, told.append)
    sound.begin(tmp_path / "night.flac", 0)
    wait_for(lambda: told)
    sound.end(NS)
    assert sound.wait(30)
    assert told == ["night.flac is broken off: no ring"]
    assert not list(tmp_path.iterdir())
    assert json.dumps(sound.memory)


def test_the_next_take_has_a_file_of_its_own_while_the_last_is_finished(tmp_path, ring):
    name, writer = ring
    sound = TakeSound(lambda: SoundReader(name), lambda _: None)
    begin(sound, writer, tmp_path / "a.flac", 0)
    play(writer, 0.5, NS)
    wait_for(lambda: sound.memory[1] > 0.9)
    first = sound._one
    sound.end(600 * NS)  # ten silent minutes are written behind it, while the next begins
    sound.begin(tmp_path / "b.flac", 2 * NS)
    time.sleep(0.2)
    play(writer, 0.5, 3 * NS)
    wait_for(lambda: sound.memory[1] > 0.9)
    sound.end(3 * NS)
    assert sound.wait(30)
    first.join(60)
    assert soundfile.info(tmp_path / "a.flac").frames == 600 * RATE
    assert soundfile.info(tmp_path / "b.flac").frames == RATE
