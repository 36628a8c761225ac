import os
from contextlib import suppress

import numpy as np
import pytest
import soundfile
from conftest import wait_for

from vjserver.runtime.clock import NS, LiveClock, ManualClock
from vjserver.sources.click import ClickOptions, ClickSource, click_track
from vjserver.sources.device import Device, DeviceOptions, DeviceSource, choose, devices, is_loopback
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


# -- files of all kinds -----------------------------------------------------------------------------------------------


def tone(seconds, rate_hz=44100, hz=440.0):
    row = (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)
    return np.stack([row, row], axis=1)


def encoded(path, codec, container, rate_hz=44100):
    """Write two seconds with PyAV."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate_hz, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone(2.0, rate_hz).T), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = rate_hz, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


@pytest.mark.parametrize(("name", "codec", "container", "rate_hz"), [
    ("a.m4a", "aac", "mp4", 44100), ("b.aac", "aac", "adts", 44100), ("c.m4a", "alac", "mp4", 44100),
    ("d.opus", "libopus", "ogg", 48000), ("e.mkv", "aac", "matroska", 48000), ("f.mov", "aac", "mov", 44100),
])  # fmt: skip
def test_what_libsndfile_does_not_read_is_played_by_pyav(tmp_path, name, codec, container, rate_hz):
    path = tmp_path / name
    encoded(path, codec, container, rate_hz)
    source = FileSource(FileOptions(path=path), ManualClock())
    source.open()
    assert source.rate_hz == rate_hz
    heard = np.concatenate([source.read(FOREVER).samples for _ in range(round(3 * rate_hz / 256))])
    assert heard.shape[1] == 2
    assert heard[:rate_hz].std() == pytest.approx(0.35, abs=0.04)
    assert heard[-rate_hz // 4 :].std() > 0.3, "it begins again"
    source.close()


def test_a_video_without_sound_says_so(tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 36, "yuv420p"
        for _ in range(5):
            picture = av.VideoFrame.from_ndarray(np.zeros((36, 64, 3), np.uint8), format="rgb24")
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    with pytest.raises(DeviceError, match="holds no sound"):
        FileSource(FileOptions(path=path), ManualClock()).open()


def test_junk_in_the_middle_of_an_mp3_is_played_past(tmp_path):
    """One bad frame began the song anew, for ever."""
    pytest.importorskip("av", reason="PyAV is not installed")
    path = tmp_path / "junk.mp3"
    soundfile.write(path, tone(12.0), 44100, format="MP3")
    data = path.read_bytes()
    third = len(data) // 3
    rng = np.random.default_rng(0)
    path.write_bytes(data[:third] + rng.bytes(4000) + data[third + 4000 :])
    source = FileSource(FileOptions(path=path, loop=False), ManualClock())
    source.open()
    heard = []
    with suppress(DeviceError):
        while len(heard) < 4000:
            heard.append(source.read(FOREVER).samples)
    length_s = sum(map(len, heard)) / 44100
    assert 11.0 < length_s < 12.5, "to its end, and once"
    assert np.concatenate(heard)[-44100:].std() > 0.2


# -- devices ----------------------------------------------------------------------------------------------------------


def device(index, name, channels=2, default=False, loopback=False):
    return Device(index, name, channels, 48000, default, "ALSA", loopback)


@pytest.mark.parametrize("name", ["Monitor of Built-in Audio", "BlackHole 2ch", "CABLE Output (VB-Audio)", "Stereo Mix",
                                  "Speakers (Realtek) [Loopback]", "alsa_output.pci.monitor"])  # fmt: skip
def test_what_hears_the_machine_itself_is_known_by_its_name(name):
    assert is_loopback(name)
    assert choose([device(0, "Mic"), device(1, name, loopback=is_loopback(name))], "loopback").index == 1


def test_a_microphone_is_no_loopback():
    assert not any(map(is_loopback, ("Built-in Microphone", "Scarlett 2i2 USB", "default", "pulse")))


def test_a_device_that_windows_numbered_anew_is_found_again():
    inputs = [
        device(0, "Microphone (Realtek)"),
        device(1, "Analogue 1 + 2 (3- Scarlett 2i2)"),
        device(2, "3- Scarlett"),
    ]
    assert choose(inputs, "2- Scarlett").index == 2
    assert choose(inputs, "Analogue 1 + 2 (2- Scarlett 2i2)").index == 1


def test_an_exact_name_goes_before_one_that_only_holds_it():
    assert choose([device(0, "USB Audio Pro"), device(1, "USB Audio")], "usb audio").index == 1


def test_the_loopback_of_a_real_audio_server_is_found_and_heard(pulse, monkeypatch):
    for name, value in pulse.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PULSE_SOURCE", raising=False)
    player = pulse.play(tone(8.0, 48000), 48000)
    source = DeviceSource(DeviceOptions(name="loopback"), LiveClock())
    source.open()
    try:
        assert os.environ["PULSE_SOURCE"] == "vj.monitor"

        def loud():
            block = source.read(source._clock.now_ns() + NS // 10)
            return block is not None and block.samples.std() > 0.1

        assert wait_for(loud)
    finally:
        source.close()
        player.kill()
        player.wait()
        monkeypatch.delenv("PULSE_SOURCE")


def test_a_channel_that_a_device_does_not_have_is_refused(pulse, monkeypatch):
    for name, value in pulse.env.items():
        monkeypatch.setenv(name, value)
    source = DeviceSource(DeviceOptions(name="default", channels=9, needed=9), LiveClock())
    inputs = devices()
    chosen = choose(inputs, "default")
    if chosen.channels >= 9:
        source = DeviceSource(DeviceOptions(name="default", channels=64, needed=64), LiveClock())
    monkeypatch.setattr("vjserver.sources.device._inputs", lambda _audio: [device(0, "default", channels=2)])
    with pytest.raises(DeviceError, match=r"'default' has 2 channel\(s\), and channel"):
        source.open()
