import numpy as np
import pytest
import soundfile

from vjserver.runtime.clock import NS, LiveClock, ManualClock
from vjserver.sources.click import ClickOptions, ClickSource, click_track
from vjserver.sources.device import Device, choose
from vjserver.sources.file import FileOptions, FileSource
from vjserver.sources.song import BARS, BEAT, RATE_HZ, demo_song
from vjserver.types.errors import DeviceError

FOREVER = 2**62


def test_clicks_begin_on_their_beats():
    track = click_track(ClickOptions(bpm=120, rate_hz=8000), 2.0)[:, 0]
    for beat in range(4):
        assert np.abs(track[beat * 4000 : beat * 4000 + 40]).max() > 0.1
        assert np.abs(track[beat * 4000 + 3600 : beat * 4000 + 4000]).max() == 0.0


def test_the_click_source_is_stamped_with_its_own_time():
    clock = ManualClock(1000)
    source = ClickSource(ClickOptions(block=480), clock)
    source.open()
    blocks = [source.read(FOREVER) for _ in range(10)]
    assert [b.t_ns for b in blocks] == [1000 + (i + 1) * NS // 100 for i in range(10)]
    assert blocks[0].samples.shape == (480, 1)
    assert source.read(clock.now_ns() + 5) is None


def test_the_click_source_loops_without_a_seam():
    source = ClickSource(ClickOptions(bpm=300, beats_per_bar=1, rate_hz=8000, block=8192), ManualClock())
    source.open()
    samples = np.concatenate([source.read(FOREVER).samples for _ in range(30)])[:, 0]
    for beat in range(100):
        assert np.abs(samples[beat * 1600 : beat * 1600 + 30]).max() > 0.1


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_files_are_played_and_looped(tmp_path, suffix):
    path = tmp_path / f"tone.{suffix}"
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)).astype(np.float32)
    soundfile.write(path, np.stack([tone, tone], axis=1), 44100)
    source = FileSource(FileOptions(path=path), ManualClock())
    source.open()
    blocks = [source.read(FOREVER) for _ in range(400)]
    heard = np.concatenate([b.samples for b in blocks])
    assert source.rate_hz == 44100
    assert heard.shape[1] == 2
    assert 0.2 < heard.std() < 0.5
    assert blocks[-1].t_ns == len(heard) * NS // 44100
    source.close()


def test_a_file_that_does_not_loop_ends(tmp_path):
    path = tmp_path / "short.wav"
    soundfile.write(path, np.zeros(1000, np.float32), 48000)
    source = FileSource(FileOptions(path=path, loop=False), ManualClock())
    source.open()
    assert sum(len(source.read(FOREVER).samples) for _ in range(4)) == 1000
    with pytest.raises(DeviceError, match="has ended"):
        source.read(FOREVER)


def test_a_file_is_played_in_real_time(tmp_path):
    path = tmp_path / "short.wav"
    soundfile.write(path, np.zeros(48000, np.float32), 48000)
    clock = LiveClock()
    source = FileSource(FileOptions(path=path), clock)
    source.open()
    began = clock.now_ns()
    for _ in range(20):
        block = source.read(FOREVER)
        assert clock.now_ns() >= block.t_ns
    assert 0.1 < (clock.now_ns() - began) / NS < 0.4


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no such sound file"), (b"", "not a sound file"), (b"RIFF garbage" * 50, "not a sound file")],
)
def test_a_missing_or_corrupt_file_is_named(tmp_path, content, says):
    path = tmp_path / "bad.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DeviceError, match=f"{says}.*|.*bad.wav.*{says}") as caught:
        FileSource(FileOptions(path=path), ManualClock()).open()
    assert "bad.wav" in str(caught.value)


def test_an_empty_file_is_named(tmp_path):
    path = tmp_path / "empty.wav"
    soundfile.write(path, np.zeros((0, 1), np.float32), 48000)
    with pytest.raises(DeviceError, match=r"empty\.wav holds no sound"):
        FileSource(FileOptions(path=path), ManualClock()).open()


DEVICES = [Device(0, "HDMI", 2, 48000, False), Device(3, "USB Mic (hw:1)", 1, 44100, True)]


def test_a_device_is_chosen_by_name_or_index():
    assert choose(DEVICES, "usb").index == 3
    assert choose(DEVICES, 0).name == "HDMI"
    assert choose(DEVICES, "3").index == 3
    assert choose(DEVICES, None).index == 3
    with pytest.raises(DeviceError, match=r"no audio input 'soundcraft'.*there are: HDMI, USB Mic"):
        choose(DEVICES, "soundcraft")
    with pytest.raises(DeviceError, match="no audio input on this machine"):
        choose([], None)


def test_the_demo_song_is_long_and_loud_enough():
    song = demo_song()
    assert song.shape == (round(BARS * 4 * BEAT), 2)
    assert 0.1 < song.std() < 0.5
    assert np.abs(song).max() <= 1.0
    assert song.shape[0] / RATE_HZ > 60
