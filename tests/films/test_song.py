"""Songs in every format: a click lies where the wav has it, lengths are exact, damage stays where it is."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import soundfile

from vjserver.films.song import Song
from vjserver.types.errors import DeviceError

av = pytest.importorskip("av", reason="PyAV is not installed")
NEAR_S = 0.002
SECONDS = 3.17
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}

FORMATS = {  # ending: encoder, container, options of the container
    "wav": ("pcm_s16le", "wav", {}),
    "flac": ("flac", "flac", {}),
    "lavf.mp3": ("libmp3lame", "mp3", {}),
    "bare.mp3": ("libmp3lame", "mp3", {"write_xing": "0", "id3v2_version": "0"}),
    "m4a": ("aac", "ipod", {}),
    "mp4": ("aac", "mp4", {}),
    "bare.m4a": ("aac", "ipod", {"use_editlist": "0"}),
    "alac.m4a": ("alac", "ipod", {}),
    "opus": ("libopus", "opus", {}),
    "webm": ("libopus", "webm", {}),
    "mkv": ("libopus", "matroska", {}),
}
SNDFILE = {"mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS")}  # LAME with its own tag; Vorbis, not in PyAV
KINDS = [*FORMATS, *SNDFILE]
LOSSLESS = ("wav", "flac", "alac.m4a")
TELLING = ("wav", "flac", "mp3", "lavf.mp3", "m4a", "mp4", "alac.m4a", "opus", "ogg")


def ping(rate_hz):
    """Return 12 ms of a tone that swells and fades."""
    t = np.arange(round(0.012 * rate_hz)) / rate_hz
    return (0.8 * np.sin(2 * np.pi * 1500 * t) * np.sin(np.pi * t / 0.012) ** 2).astype(np.float32)


def music(rate_hz, seconds=SECONDS, channels=2, clicks=(1.0,)):
    """Return quiet noise with a click at each of these times."""
    row = np.random.default_rng(7).normal(0, 0.004, round(seconds * rate_hz)).astype(np.float32)
    for at_s in clicks:
        at = round(at_s * rate_hz)
        row[at : at + len(ping(rate_hz))] += ping(rate_hz)
    return np.repeat(row[:, None], channels, axis=1)


def heard_at(samples, rate_hz, begin_s=0.0, end_s=None):
    """Return the seconds at which a click begins, the loudest between two times."""
    begin = round(begin_s * rate_hz)
    row = samples[begin : None if end_s is None else round(end_s * rate_hz), 0]
    return (begin + int(np.correlate(row, ping(rate_hz), "valid").argmax())) / rate_hz


def encode(path, samples, rate_hz, encoder, container, options):
    with av.open(str(path), "w", format=container, options=options) as out:
        kept_hz = 48000 if encoder == "libopus" else rate_hz
        stream = out.add_stream(encoder, rate=kept_hz)
        layout = stream.layout = LAYOUTS[samples.shape[1]]
        if encoder in ("libmp3lame", "aac", "libopus"):
            stream.codec_context.bit_rate = 128000
        stream.codec_context.format = form = {"aac": "fltp", "libmp3lame": "fltp", "libopus": "flt"}.get(
            encoder, "s16p" if encoder == "alac" else "s16"
        )
        resampler = av.AudioResampler(form, layout, kept_hz, frame_size=stream.codec_context.frame_size or 1024)
        for i in range(0, len(samples), 4096):
            block = np.ascontiguousarray(samples[i : i + 4096].T)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate_hz, i, Fraction(1, rate_hz)
            for one in resampler.resample(frame):
                out.mux(stream.encode(one))
        for one in resampler.resample(None):
            out.mux(stream.encode(one))
        out.mux(stream.encode(None))


def write(path, samples, rate_hz, kind):
    if kind in SNDFILE:
        soundfile.write(path, samples, rate_hz, format=SNDFILE[kind][0], subtype=SNDFILE[kind][1])
    else:
        encode(path, samples, rate_hz, *FORMATS[kind])
    return path


def everything(song):
    return np.concatenate(list(song.blocks()))


@pytest.mark.parametrize("rate_hz", [44100, 48000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_click_lies_where_the_wav_has_it(kind, rate_hz, tmp_path):
    song = Song.open(write(tmp_path / f"song.{kind}", music(rate_hz), rate_hz, kind))
    samples = everything(song)
    assert samples.dtype == np.float32
    assert samples.shape == (song.samples, song.channels) == (len(samples), 2)
    assert song.rate_hz == (48000 if song.codec == "opus" else rate_hz)
    assert heard_at(samples, song.rate_hz) == pytest.approx(1.0, abs=NEAR_S)
    assert not song.damaged


@pytest.mark.parametrize("rate_hz", [44100, 48000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_song_is_as_long_as_the_wav_where_the_format_tells(kind, rate_hz, tmp_path):
    samples = music(rate_hz)
    song = Song.open(write(tmp_path / f"song.{kind}", samples, rate_hz, kind))
    wanted = Fraction(len(samples), rate_hz)
    if kind in TELLING:
        assert song.seconds == wanted
    elif kind.startswith("bare"):
        assert wanted <= song.seconds < wanted + Fraction(2 * 1152, rate_hz), "whole frames, and nothing that cuts them"
    else:
        assert abs(song.seconds - wanted) <= NEAR_S, "Matroska counts milliseconds"


@pytest.mark.parametrize("rate_hz", [8000, 12000, 44100])
def test_an_mp3_is_as_long_as_its_tag_says_where_more_than_a_frame_is_cut_off(rate_hz, tmp_path):
    samples = music(rate_hz, {8000: 25360, 12000: 38040, 44100: 140576}[rate_hz] / rate_hz)
    song = Song.open(write(tmp_path / "song.mp3", samples, rate_hz, "mp3"))
    assert song.samples == len(samples)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_what_loses_nothing_gives_the_samples_themselves(kind, tmp_path):
    samples = music(44100)
    song = Song.open(write(tmp_path / f"song.{kind}", samples, 44100, kind))
    assert np.abs(everything(song) - samples).max() <= 1 / 32768


@pytest.mark.parametrize("rate_hz", [44100, 48000])
def test_an_mp3_whose_tag_was_cut_out_keeps_its_clicks(rate_hz, tmp_path):
    whole = write(tmp_path / "whole.mp3", music(rate_hz), rate_hz, "lavf.mp3").read_bytes()
    tag = whole.index(b"Info")
    first = whole.rindex(b"\xff\xfb", 0, tag)
    path = tmp_path / "cut.mp3"
    path.write_bytes(whole[whole.index(b"\xff\xfb", tag) :])
    assert first < tag < 200
    assert b"Info" not in path.read_bytes()[:2000]
    song = Song.open(path)
    assert heard_at(everything(song), rate_hz) == pytest.approx(1.0, abs=NEAR_S)


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_is_the_slice_of_the_whole(kind, tmp_path):
    song = Song.open(write(tmp_path / f"song.{kind}", music(44100), 44100, kind))
    samples = everything(song)
    for begin, end in [(0, 1), (0, 5000), (1, 2), (1023, 1025), (44099, 88201), (song.samples - 3, song.samples)]:
        part = np.concatenate(list(song.blocks(begin, end)))
        assert part.shape == (end - begin, 2)
        np.testing.assert_array_equal(part, samples[begin:end])
    np.testing.assert_array_equal(np.concatenate(list(song.blocks(100000))), samples[100000:])
    assert list(song.blocks(5, 5)) == []
    assert sum(map(len, song.blocks(song.samples - 3, song.samples + 99))) == 3


def damage(path, begin_s, seconds, size):
    """Overwrite ``size`` bytes of a file of ``seconds`` at about ``begin_s``."""
    data = bytearray(path.read_bytes())
    at = int(len(data) * begin_s / seconds)
    data[at : at + size] = bytes(size)
    path.write_bytes(data)


@pytest.mark.parametrize("size", [100, 500, 3000, 20000])
@pytest.mark.parametrize("kind", ["mp3", "lavf.mp3", "bare.mp3"])
@pytest.mark.parametrize("rate_hz", [44100, 48000])
def test_damage_in_an_mp3_moves_nothing_behind_it(kind, rate_hz, size, tmp_path):
    clicks = (1.0, 6.0, 9.0)
    path = write(tmp_path / f"song.{kind}", music(rate_hz, 10.0, clicks=clicks), rate_hz, kind)
    whole = Song.open(path)
    damage(path, 3.0, 10.0, size)
    song = Song.open(path)
    samples = everything(song)
    assert len(samples) == song.samples
    for click in clicks:
        assert heard_at(samples, rate_hz, click - 0.5, click + 0.5) == pytest.approx(click, abs=NEAR_S)
    assert song.seconds == pytest.approx(whole.seconds, abs=NEAR_S)
    assert song.damaged or size == 100, "of a hundred bytes within one frame its header tells nothing"
    assert not whole.damaged


@pytest.mark.parametrize("kind", ["flac", "m4a", "ogg", "opus", "mkv"])
def test_damage_in_others_moves_nothing_behind_it(kind, tmp_path):
    clicks = (1.0, 6.0, 9.0)
    path = write(tmp_path / f"song.{kind}", music(48000, 10.0, clicks=clicks), 48000, kind)
    whole = Song.open(path)
    damage(path, 3.0, 10.0, 1500)
    song = Song.open(path)
    samples = everything(song)
    assert len(samples) == song.samples == whole.samples
    for click in clicks:
        assert heard_at(samples, 48000, click - 0.5, click + 0.5) == pytest.approx(click, abs=NEAR_S)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "opus", "ogg", "mkv"])
def test_a_file_that_ends_too_early_keeps_what_it_has(kind, tmp_path):
    path = write(tmp_path / f"song.{kind}", music(44100), 44100, kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    song = Song.open(path)
    samples = everything(song)
    assert len(samples) == song.samples
    assert 1.5 < song.seconds < SECONDS + NEAR_S
    assert heard_at(samples, song.rate_hz) == pytest.approx(1.0, abs=NEAR_S)


def test_an_m4a_that_was_cut_off_is_told(tmp_path):
    path = write(tmp_path / "song.m4a", music(44100), 44100, "m4a")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DeviceError, match=r"song\.m4a is not a sound file that can be read: .+"):
        Song.open(path)


def film_without_sound(path):
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(10):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        out.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "fill", "says"),
    [
        ("empty.wav", lambda path: path.write_bytes(b""), "is not a sound file that can be read: "),
        ("empty.mp3", lambda path: path.write_bytes(b""), "is not a sound file that can be read: "),
        ("words.txt", lambda path: path.write_text("Roses are red.\n" * 99), "is not a sound file that can be read: "),
        ("words.mp3", lambda path: path.write_text("Roses are red.\n" * 99), "is not a sound file that can be read: "),
        ("mute.mp4", film_without_sound, "is not a sound file that can be read: it holds no sound"),
        ("mute.mkv", film_without_sound, "is not a sound file that can be read: it holds no sound"),
        ("silent.wav", lambda path: soundfile.write(path, np.zeros((0, 2)), 48000), "it holds no sound"),
        ("missing.wav", lambda path: None, "no such sound file: "),
        ("folder.wav", lambda path: path.mkdir(), "no such sound file: "),
    ],
)
def test_what_is_no_song_is_told_in_a_sentence(name, fill, says, tmp_path):
    fill(tmp_path / name)
    with pytest.raises(DeviceError, match=says) as error:
        Song.open(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("kind", ["wav", "flac", "m4a", "mkv"])
def test_a_song_has_as_many_channels_as_its_file(kind, channels, tmp_path):
    samples = music(48000, channels=channels)
    song = Song.open(write(tmp_path / f"song.{kind}", samples, 48000, kind))
    heard = everything(song)
    assert heard.shape[1] == song.channels == channels
    assert heard_at(heard, 48000) == pytest.approx(1.0, abs=NEAR_S)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "bare.mp3", "m4a", "ogg"])
@pytest.mark.parametrize("rate_hz", [8000, 22050, 96000])
def test_slow_and_fast_rates_are_kept(kind, rate_hz, tmp_path):
    if "mp3" in kind and rate_hz > 48000:
        pytest.skip("MP3 has no such rate")
    samples = music(rate_hz, channels=1)
    song = Song.open(write(tmp_path / f"song.{kind}", samples, rate_hz, kind))
    assert song.rate_hz == rate_hz
    assert heard_at(everything(song), rate_hz) == pytest.approx(1.0, abs=NEAR_S)
    if kind in TELLING:
        assert song.samples == len(samples)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_depth_of_a_wav_has_the_same_loudness(subtype, tmp_path):
    samples = music(48000)
    soundfile.write(tmp_path / "song.wav", samples, 48000, subtype)
    heard = everything(Song.open(tmp_path / "song.wav"))
    assert np.abs(heard - samples).max() <= (1 / 128 if subtype == "PCM_U8" else 1 / 32768)


def test_the_digest_is_that_of_the_file(tmp_path):
    one = write(tmp_path / "one.wav", music(44100), 44100, "wav")
    other = write(tmp_path / "other.wav", music(44100, clicks=(2.0,)), 44100, "wav")
    copy = tmp_path / "copy.wav"
    copy.write_bytes(one.read_bytes())
    assert Song.open(one).digest == Song.open(copy).digest != Song.open(other).digest


READING = """
import resource, sys
from pathlib import Path
from vjserver.films.song import Song
song = Song.open(Path(sys.argv[1]))
sum(map(len, song.blocks(0, song.rate_hz)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(map(len, song.blocks()))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="ru_maxrss is Unix's")
def test_twenty_minutes_are_read_in_little_memory(tmp_path):
    path = tmp_path / "long.flac"
    with soundfile.SoundFile(path, "w", 44100, 2, "PCM_16") as file:
        for _ in range(20):
            file.write(music(44100, 60.0))
    run = subprocess.run([sys.executable, "-c", READING, str(path)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    count, grown = map(int, run.stdout.split())
    assert count == 20 * 60 * 44100
    assert grown * (1 if sys.platform == "darwin" else 1024) < 60 * 2**20
