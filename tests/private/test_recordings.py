"""Recordings: what was said lies on the disk as it comes, outlives who records it, and whispers are understood."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjserver.keeping.recordings import RATE_HZ, Recordings, flac, unpacked
from vjserver.speech.quiet import LOUD, Strength, levelled, noise_of, strengths
from vjserver.types.errors import ConfigError

NAME = "0123456789abcdef"


def tone(seconds, loud=0.1):
    return (loud * np.sin(np.arange(round(seconds * RATE_HZ)) * 0.2)).astype(np.float32)


def test_a_recording_grows_and_is_whole_until_it_is_dropped(tmp_path):
    recordings = Recordings(tmp_path)
    assert recordings.add(NAME, tone(0.5)) == 0.5
    assert recordings.add(NAME, tone(0.25)) == 0.75
    data, seconds = recordings.whole(NAME)
    assert seconds == 0.75
    np.testing.assert_allclose(unpacked(data)[:8000], tone(0.5), atol=1e-4)
    assert next(tmp_path.iterdir()).stat().st_mode & 0o077 == 0
    recordings.drop(NAME)
    recordings.drop(NAME)
    assert list(tmp_path.iterdir()) == []


def test_what_a_process_recorded_that_was_killed_is_taken_over(tmp_path):
    code = (
        "import os, sys, numpy, pathlib; from vjserver.keeping.recordings import Recordings;"
        f"Recordings(pathlib.Path(sys.argv[1])).add('{NAME}', numpy.full(16001, 0.5, numpy.float32));"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == -9
    with next(tmp_path.iterdir()).open("ab") as file:
        file.write(b"\x01")  # half a sample
    recordings = Recordings(tmp_path)
    assert recordings.take_over() == [NAME]
    assert recordings.take_over(busy=[NAME]) == []
    assert recordings.take_over() == [NAME], "its own, with which nobody goes on"
    assert recordings.whole(NAME)[1] == pytest.approx(16001 / RATE_HZ)
    assert Recordings(tmp_path, pid=os.getppid()).take_over() == [], "of a process that lives"


@pytest.mark.parametrize("name", ["", "../../etc", "0123456789abcdeX", "a" * 40])
def test_a_name_that_makes_no_sense_is_told(tmp_path, name):
    with pytest.raises(ConfigError, match="hexadecimal"):
        Recordings(tmp_path).add(name, tone(0.1))


def test_what_a_recording_is_for_goes_with_it(tmp_path):
    recordings = Recordings(tmp_path)
    recordings.describe(NAME, {"learn": "es", "own": "en"})
    recordings.add(NAME, tone(0.1))
    assert Recordings(tmp_path, pid=1 << 22).take_over() == [], "of a process that lives"
    for path in tmp_path.iterdir():  # as of a process that is gone
        path.rename(tmp_path / path.name.replace(str(os.getpid()), str((1 << 22) + 1)))
    assert recordings.take_over() == [NAME]
    assert recordings.asked(NAME) == {"learn": "es", "own": "en"}
    recordings.drop(NAME)
    assert (list(tmp_path.iterdir()), recordings.asked(NAME)) == ([], {})


def test_silence_that_is_none_is_told(tmp_path):
    with pytest.raises(ConfigError, match="nothing was recorded"):
        Recordings(tmp_path).whole(NAME)
    with pytest.raises(ConfigError, match="cannot be read"):
        unpacked(b"no sound")
    recordings = Recordings(tmp_path)
    path = tmp_path / f"{NAME}-{os.getpid()}.s16"
    path.touch()
    os.truncate(path, 2 * RATE_HZ * 4 * 3600)  # four hours, of which the disk has none
    with pytest.raises(ConfigError, match="at most"):
        recordings.add(NAME, tone(0.1))


# -- a whisper -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loud", [0.3, 0.03, 0.003, 0.0005])
def test_a_whisper_is_raised_and_noise_is_not(loud):
    noise = np.random.default_rng(0).normal(0, 2e-5, 4 * RATE_HZ).astype(np.float32)
    sound = noise.copy()
    sound[RATE_HZ : 2 * RATE_HZ] += tone(1.0, loud)
    found = levelled(sound)
    said = strengths(found[RATE_HZ + 1000 : 2 * RATE_HZ - 1000]).mean()
    assert (LOUD / 4 < said < 3 * LOUD) or loud > LOUD
    assert np.abs(found).max() <= 1.0
    np.testing.assert_array_equal(levelled(noise), noise)
    heard = Strength(noise_of(found))
    said = [heard(found[at : at + 512]) > 0.5 for at in range(0, len(found) - 512, 512)]
    assert sum(said[:30]) <= 1
    assert all(said[33:60])


@given(st.lists(st.floats(-1, 1, width=32), max_size=3000))
def test_any_sound_can_be_levelled(samples):
    sound = np.array(samples, np.float32)
    found = levelled(sound)
    assert found.shape == sound.shape
    assert np.isfinite(found).all()
    assert len(unpacked(flac(found))) == len(found) if len(found) else True
