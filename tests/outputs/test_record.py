"""Recordings, read back with PyAV: picture, sound, and both together; killed processes, full disks."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import namedtuple
from itertools import pairwise

import numpy as np
import pytest
from conftest import running, wait_for
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vjserver.outputs import record
from vjserver.outputs.record import RecordOptions, RecordOutput
from vjserver.runtime import queue, shared, soundring
from vjserver.runtime.clock import NS
from vjserver.runtime.soundring import SoundWriter
from vjserver.types.audio import AudioBlock
from vjserver.types.errors import OutputError
from vjserver.types.events import Speech
from vjserver.types.frames import Frame, FrameInfo

av = pytest.importorskip("av", reason="PyAV is not installed")
T0 = 5 * NS
HERE = os.path.dirname(__file__)
TESTS = f"{HERE},{os.path.dirname(HERE)}"


@pytest.fixture
def sound():
    segment = shared.create(f"vjt-{uuid.uuid4().hex[:8]}", soundring.SEGMENT_SIZE)
    writer = SoundWriter(segment.name)
    yield writer, segment.name
    writer.close()
    shared.remove(segment)


def picture(i, t_ns, width=160, height=90, value=128):
    pixels = np.full((height, width, 4), value, np.uint8)
    return Frame(pixels, FrameInfo(width, height, frame_id=i, t_sent_ns=t_ns))


def clicks(first, frames, rate_hz, period_s=0.5):
    t = np.arange(first, first + frames) / rate_hz
    tone = (0.4 * np.sin(2 * np.pi * 880 * t) * (t % period_s < 0.04)).astype(np.float32)
    return np.stack((tone, tone), axis=1)


def shoot(output, seconds, fps=30, sound=None, rate_hz=48000, skew=1.0, skip=()):
    """Send a flash every half second, and a click with it: sound whose clock runs ``skew`` times as fast as ours."""
    heard = 0
    for i in range(round(seconds * fps)):
        t_ns = T0 + i * NS // fps
        while sound is not None and heard / (rate_hz * skew) < i / fps:
            samples = clicks(heard, 480, rate_hz)
            heard += 480
            sound.put(AudioBlock(samples, rate_hz, T0 + round(heard * NS / (rate_hz * skew))))
        if i not in skip:
            output.send(picture(i, t_ns, value=250 if (i / fps) % 0.5 < 0.04 else 10))


def flashes(path):
    with av.open(str(path)) as file:
        shown = [(f.time, f.to_ndarray(format="gray").mean()) for f in file.decode(video=0)]
    return [t for (t, m), (_, before) in zip(shown, [(0, 0), *shown], strict=False) if m > 120 >= before]


def beeps(path):
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        resampler = av.AudioResampler("fltp", "mono", 48000)
        frames = [r for f in file.decode(stream) for r in resampler.resample(f)]
        first = frames[0].time
        samples = np.concatenate([f.to_ndarray()[0] for f in frames])
    loud = np.flatnonzero(np.abs(samples) > 0.15)
    starts = [*loud[:1], *(b for a, b in pairwise(loud) if b - a > 4800)]
    return [first + s / 48000 for s in starts]


@pytest.mark.parametrize(("codec", "suffix"), [("h264", ".mp4"), ("hevc", ".mp4"), ("prores", ".mov")])
def test_picture_and_sound_are_together_in_every_codec(codec, suffix, tmp_path, sound):
    writer, ring = sound
    output = RecordOutput(RecordOptions(folder=tmp_path / "new folder", codec=codec, fps=30, sound=ring))
    output.open()
    shoot(output, 3.0, sound=writer)
    assert output.figures()["seconds"] == 3.0
    output.close()
    assert output.path.suffix == suffix
    with av.open(str(output.path)) as file:
        video, audio = file.streams.video[0], file.streams.audio[0]
        assert (video.codec_context.name, video.width, video.height) == (codec, 160, 90)
        assert video.average_rate == 30
        assert audio.codec_context.sample_rate == 48000
        assert file.duration / 1e6 == pytest.approx(3.0, abs=0.1)
        assert video.codec_context.colorspace == 1
    assert flashes(output.path)[1:] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.5], abs=0.001)
    assert beeps(output.path)[-5:] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.5], abs=0.006)


def test_a_sound_card_that_runs_fast_does_not_run_away(tmp_path, sound):
    writer, ring = sound
    output = RecordOutput(RecordOptions(folder=tmp_path, fps=30, sound=ring))
    output.open()
    shoot(output, 40.0, sound=writer, rate_hz=44100, skew=1.0005)
    output.close()
    # its clicks come every 0.5 / 1.0005 s of our time: by the end 20 ms before the flash, and so they are recorded
    heard = beeps(output.path)
    assert heard[-1] == pytest.approx(0.5 * 79 / 1.0005, abs=0.008)


def test_a_picture_that_was_missed_leaves_the_one_before_on_screen(tmp_path):
    output = RecordOutput(RecordOptions(folder=tmp_path, fps=30))
    output.open()
    shoot(output, 2.0, skip=range(20, 40))
    output.close()
    assert flashes(output.path) == pytest.approx([0.0, 0.5, 1.5], abs=0.001)
    with av.open(str(output.path)) as file:
        assert not file.streams.audio
        assert file.duration / 1e6 == pytest.approx(2.0, abs=0.05)


def test_where_sound_stops_the_file_goes_on_in_silence(tmp_path, sound):
    writer, ring = sound
    output = RecordOutput(RecordOptions(folder=tmp_path, fps=30, sound=ring))
    output.open()
    shoot(output, 2.0, sound=writer)
    for i in range(60, 180):
        output.send(picture(i, T0 + i * NS // 30))
    output.close()
    with av.open(str(output.path)) as file:
        audio = file.streams.audio[0]
        assert float(audio.duration * audio.time_base) == pytest.approx(6.0, abs=0.6)
    assert len(beeps(output.path)) == 3


def test_odd_sizes_and_one_that_grows_or_shrinks(tmp_path):
    output = RecordOutput(RecordOptions(folder=tmp_path, fps=30))
    output.open()
    for i in range(10):
        output.send(picture(i, T0 + i * NS // 30, 161, 91))
    output.send(picture(10, T0 + NS, 320, 180))
    with pytest.raises(OutputError, match="became smaller: a new file begins"):
        output.send(picture(11, T0 + 2 * NS, 64, 36))
    output.close()
    with av.open(str(output.path)) as file:
        assert (file.streams.video[0].width, file.streams.video[0].height) == (160, 90)


WRITER = """
import sys, time
sys.path[:0] = sys.argv[3].split(",")
from test_record import *
output = RecordOutput(RecordOptions(folder=sys.argv[1], codec=sys.argv[2], fps=30, sound=sys.argv[4]))
output.open()
segment_writer = SoundWriter(sys.argv[4])
print(output.path, flush=True)
class Paced:
    def send(self, frame):
        output.send(frame)
        time.sleep(1 / 120)
shoot(Paced(), 600, sound=segment_writer)
"""


@pytest.mark.parametrize("codec", ["h264", "prores"])
def test_a_killed_process_leaves_a_file_that_plays(codec, tmp_path, sound):
    _, ring = sound
    command = [sys.executable, "-c", WRITER, str(tmp_path), codec, TESTS, ring]
    with running(command, stdout=subprocess.PIPE, text=True) as process:
        path = process.stdout.readline().strip()
        began = time.monotonic()
        wait_for(lambda: os.path.getsize(path) > 3000 and time.monotonic() - began > 3.0, 30)
        process.send_signal(signal.SIGKILL)
        process.wait()
        written_s = (time.monotonic() - began) * 0.9
    shown = flashes(path)
    assert shown[:4] == pytest.approx([0.0, 0.5, 1.0, 1.5], abs=0.001)
    assert len(beeps(path)) >= len(shown) - 4
    with av.open(path) as file:
        last = max(f.time for f in file.decode(video=0))
    assert last > written_s - 2.5, "no more than the last second or two is lost"


def test_memory_stays_bounded_when_the_encoder_is_fed_for_long(tmp_path):
    import psutil

    output = RecordOutput(RecordOptions(folder=tmp_path, fps=60))
    output.open()
    sizes = []
    for i in range(1800):
        output.send(picture(i, T0 + i * NS // 60, 320, 180, i % 256))
        if i % 300 == 299:
            sizes.append(psutil.Process().memory_info().rss)
    output.close()
    assert sizes[-1] < sizes[1] * 1.05


Usage = namedtuple("Usage", "total used free")


def test_a_disk_that_fills_ends_the_file_properly_and_says_so(tmp_path, monkeypatch):
    output = RecordOutput(RecordOptions(folder=tmp_path, fps=30))
    output.open()
    shoot(output, 1.9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 5 * 2**20))
    with pytest.raises(OutputError, match="nearly full: 5 MiB are free, 256 MiB must be"):
        shoot(output, 4.0)
    output.close()
    assert len(flashes(output.path)) == 4
    with pytest.raises(OutputError, match="nearly full"):
        RecordOutput(RecordOptions(folder=tmp_path)).open()
    assert len(list(tmp_path.iterdir())) == 1, "tries that fail leave no empty files"


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE, which makes a disk full at will, is Unix's")
def test_a_disk_that_is_full_all_at_once_is_told_and_what_is_there_plays(tmp_path):
    """In a process of its own, which may not write more than 200 kB: the real error, in the middle of a fragment."""
    code = (
        "import resource, signal, sys\nsys.path[:0] = sys.argv[2].split(',')\nfrom test_record import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))\n"
        "output = RecordOutput(RecordOptions(folder=sys.argv[1], fps=30))\noutput.open()\nwhys = []\n"
        "try:\n"
        "    for i in range(3000):\n"
        "        frame = picture(i, T0 + i * NS // 30, value=250 if i % 15 == 0 else 10)\n"
        "        frame.pixels[:] += np.random.default_rng(i).integers(0, 6, frame.pixels.shape, np.uint8)\n"
        "        output.send(frame)\n"
        "except OutputError as error:\n    whys.append(str(error))\n"
        "try:\n    output.close()\nexcept OutputError as error:\n    whys.append(str(error))\n"
        "print(output.path, *whys, sep='\\n')\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), TESTS]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr[-2000:]
    path, sending, closing = run.stdout.splitlines()
    assert "cannot be written: File too large" in sending
    assert "is missing (File too large)" in closing
    assert 50_000 < os.path.getsize(path) <= 200_000
    assert flashes(path)[:3] == pytest.approx([0.0, 0.5, 1.0], abs=0.001)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be made: (Not a directory|File exists)"):
        RecordOutput(RecordOptions(folder=tmp_path / "file" / "x")).open()


def test_files_are_never_written_over(tmp_path, monkeypatch):
    monkeypatch.setattr(record.time, "strftime", lambda _: "2026-01-01-00-00-00")
    names = []
    for _ in range(3):
        output = RecordOutput(RecordOptions(folder=tmp_path, fps=30))
        output.open()
        shoot(output, 0.2)
        output.close()
        names.append(output.path.name)
    assert names == [f"vjserver-2026-01-01-00-00-00{n}.mp4" for n in ("", "-2", "-3")]


def test_a_missing_pyav_is_told_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(OutputError, match=r"pip install 'vjserver\[record\]'"):
        RecordOutput(RecordOptions()).open()


stalls = st.lists(st.tuples(st.floats(0.0, 4.0), st.floats(0.05, 2.5)), max_size=3)


@given(ear=stalls, generator=stalls, first_late_s=st.sampled_from([0.0, 0.3, 1.4]), fast=st.sampled_from([1.0, 1.0003]))
@example(ear=[(2.0, 2.0)], generator=[(0.0, 2.0), (4.0, 2.0)], first_late_s=0.0, fast=1.0)
@example(ear=[], generator=[(0.0, 2.0), (2.0, 2.0), (4.0, 2.0)], first_late_s=0.0, fast=1.0)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stalls_there_is_one_file_in_which_picture_and_sound_are_together(
    tmp_path_factory, ear, generator, first_late_s, fast
):
    """The ear hands its sound over late and at once, the generator's pictures fail to come, the first one is late."""
    folder, fps, rate_hz, seconds = tmp_path_factory.mktemp("stalls"), 30, 48000, 5.0
    segment = shared.create(f"vjt-{uuid.uuid4().hex[:8]}", soundring.SEGMENT_SIZE)
    try:
        sound = SoundWriter(segment.name)
        output = RecordOutput(RecordOptions(folder=folder, fps=fps, sound=segment.name))
        output.open()
        heard = sent = 0
        for i in range(round((seconds + 1.0) * fps)):
            now_s = i / fps
            while not any(at <= now_s < at + lasts for at, lasts in ear) and heard / (rate_hz * fast) < now_s:
                heard += 480
                samples = clicks(heard - 480, 480, rate_hz)
                sound.put(AudioBlock(samples, rate_hz, T0 + round(heard * NS / (rate_hz * fast))))
            if now_s >= first_late_s and not any(at <= now_s < at + lasts for at, lasts in generator):
                flash = now_s % 0.5 < 0.04
                output.send(picture(i, T0 + i * NS // fps, value=250 if flash else 10))
                sent += 1
        output.close()
        sound.close()
    finally:
        shared.remove(segment)
    if not sent:
        assert not list(folder.iterdir()), "without a picture there is no file"
        return
    assert [path.name for path in folder.iterdir()] == [output.path.name]
    with av.open(str(output.path)) as file:
        pictures = [frame.pts for frame in file.decode(video=0)]
    assert all(b > a for a, b in pairwise(pictures))
    with av.open(str(output.path)) as file:
        rows = [(frame.pts, frame.samples) for frame in file.decode(audio=0)]
    assert all(pts + count == after for (pts, count), (after, _) in pairwise(rows)), "sound without gap or overlap"
    seen, loud = flashes(output.path), beeps(output.path)
    near = [min((abs(beep - flash) for beep in loud), default=9.0) for flash in seen]
    assert not [off for off in near if 0.045 < off < 0.3], "what is there of both is together"
    if not ear and not generator:
        assert sum(off <= 0.045 for off in near) >= len(seen) - 1


def test_what_is_said_lies_beside_the_recording(tmp_path):
    """Counted from its begin; the last sentence comes when the file is closed already."""
    name = f"vjs-test-{os.getpid()}-said"
    segment = shared.create(name, queue.SEGMENT_SIZE)
    try:
        says = queue.QueueWriter(name)
        output = RecordOutput(RecordOptions(folder=tmp_path, audio=False, speech=name))
        output.open()
        output.send(picture(0, 100 * NS))

        def said(number, text, begin_s, end_s, kind):
            says.put(Speech(round(end_s * NS), kind, number, text, "", "en", 0.9, round(begin_s * NS)))

        said(1, "a partial", 101, 102, "partial")
        said(1, "A small wooden boat.", 101, 103, "revised")
        for i in range(1, 6):
            output.send(picture(i, (100 + i) * NS))
        path = output.path.with_suffix(".srt")
        assert path.read_text() == "1\n00:00:01,000 --> 00:00:03,600\nA small wooden boat.\n\n"
        output.close()
        said(2, "The last words.", 103.5, 104.8, "revised")
        said(3, "Backstage.", 106, 107, "revised")
        wait_for(lambda: "The last words." in path.read_text())
        assert "Backstage" not in path.read_text()
        says.close()
    finally:
        shared.remove(segment)
