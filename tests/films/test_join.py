"""Films from segments: every picture at its time, sound where the song has it, and whole or not there at all."""

import os
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
from test_song import everything, heard_at, music, write

from vjserver.films.codecs import CODECS, is_here, writer
from vjserver.films.join import Sound, join
from vjserver.films.song import Song
from vjserver.types.errors import OutputError, VJError

av = pytest.importorskip("av", reason="PyAV is not installed")
NTSC = Fraction(30000, 1001)
FPS = Fraction(25)
NEAR_S = 0.001
COUNTS = (7, 5, 9)
FILMS = [codec for codec in CODECS.values() if codec.container and is_here(codec)]
OURS = [CODECS["h264"], CODECS["prores"], CODECS["ffv1"]]


def segment(path, codec, numbers, rate=FPS, size=(64, 64)):
    """Write one segment: pictures whose grey, and whose stripe, tell their number."""
    one = writer(codec, path, size, rate)
    for number in numbers:
        pixels = np.full((size[1], size[0], 4), 255, np.uint8)
        pixels[..., :3] = 20 + 8 * (number % 25)
        pixels[:, 2 * (number % 25) : 2 * (number % 25) + 8, :3] = (250, 40, 40)
        one.send(pixels)
    one.close()
    return path


def segments(folder, codec, counts=COUNTS, rate=FPS):
    """Write segments one after another."""
    firsts = np.cumsum([0, *counts])
    return [
        segment(folder / f"segment-{begin}{codec.suffix}", codec, range(begin, end), rate)
        for begin, end in pairwise(firsts.tolist())
    ]


def decoded(path):
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]


def sound_of(path, seconds, begin=0):
    return Sound(Song.open(path), Fraction(begin), Fraction(seconds))


def packets_of(path):
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


@pytest.mark.parametrize("rate", [Fraction(24), NTSC, Fraction(60)], ids=str)
@pytest.mark.parametrize("codec", FILMS, ids=lambda codec: codec.name)
def test_segments_become_one_film_with_every_picture_at_its_time(codec, rate, tmp_path):
    parts = segments(tmp_path, codec, rate=rate)
    film = tmp_path / f"film{codec.suffix}"
    join(parts, film, codec, rate)
    with av.open(str(film)) as file:
        stream = file.streams.video[0]
        assert stream.average_rate == rate
        assert not file.streams.audio
        tick, times = stream.time_base, [frame.pts for frame in file.decode(stream)]
        kept = stream.duration
    assert len(times) == 21
    if codec.container == "mkv":
        assert all(abs(at * tick - n / rate) <= tick / 2 for n, at in enumerate(times)), "Matroska counts milliseconds"
    else:
        assert [at * tick for at in times] == [n / rate for n in range(21)]
        assert kept * tick == 21 / rate
    shown, wanted = decoded(film), [picture for part in parts for picture in decoded(part)]
    np.testing.assert_array_equal(shown, wanted)
    assert len({picture.tobytes() for picture in shown}) == 21


@pytest.mark.parametrize("codec", FILMS, ids=lambda codec: codec.name)
def test_pictures_are_not_encoded_again(codec, tmp_path):
    parts = segments(tmp_path, codec)
    join(parts, tmp_path / f"film{codec.suffix}", codec, FPS)
    taken, tags = [], []
    for path in [*parts, tmp_path / f"film{codec.suffix}"]:
        with av.open(str(path)) as file:
            taken.append(b"".join(bytes(packet) for packet in file.demux(video=0)))
            one = file.streams.video[0].codec_context
            tags.append((one.name, one.colorspace, one.color_primaries, one.color_trc, one.color_range))
    assert b"".join(taken[:-1]) == taken[-1]
    assert set(tags) == {tags[0]}


@pytest.mark.parametrize("rate_hz", [44100, 48000])
@pytest.mark.parametrize("codec", OURS, ids=lambda codec: codec.name)
def test_sound_lies_where_the_song_has_it(codec, rate_hz, tmp_path):
    song = write(tmp_path / "song.wav", music(rate_hz, 3.0), rate_hz, "wav")
    film = tmp_path / f"film{codec.suffix}"
    join(segments(tmp_path, codec, (30, 20, 25)), film, codec, FPS, sound_of(song, 3))
    heard = Song.open(film)
    assert heard.rate_hz == rate_hz
    assert heard_at(everything(heard), rate_hz) == pytest.approx(1.0, abs=NEAR_S)
    assert abs(heard.seconds - 3) <= 1024 / rate_hz
    assert heard.codec.startswith({"h264": "aac", "prores": "pcm_s", "ffv1": "flac"}[codec.name])
    assert len(decoded(film)) == 75


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "bare.mp3", "m4a", "bare.m4a", "alac.m4a", "ogg", "opus"])
@pytest.mark.parametrize("codec", OURS, ids=lambda codec: codec.name)
def test_sound_lies_where_the_song_has_it_whatever_the_song_is(codec, kind, tmp_path):
    song = write(tmp_path / f"song.{kind}", music(44100, 3.0), 44100, kind)
    film = tmp_path / f"film{codec.suffix}"
    join(segments(tmp_path, codec, (30, 45)), film, codec, FPS, sound_of(song, 3))
    heard = Song.open(film)
    assert heard_at(everything(heard), heard.rate_hz) == pytest.approx(1.0, abs=NEAR_S)
    assert abs(heard.seconds - 3) <= 1024 / Fraction(heard.rate_hz)


@pytest.mark.parametrize("kind", ["wav", "mp3", "m4a"])
@pytest.mark.parametrize("codec", OURS, ids=lambda codec: codec.name)
def test_a_film_of_a_part_has_the_sound_of_that_part(codec, kind, tmp_path):
    song = write(tmp_path / f"song.{kind}", music(48000, 3.0, clicks=(1.0, 2.5)), 48000, kind)
    film = tmp_path / f"film{codec.suffix}"
    join(segments(tmp_path, codec, (25, 12)), film, codec, FPS, sound_of(song, Fraction(37, 25), Fraction(1, 2)))
    heard = Song.open(film)
    samples = everything(heard)
    assert heard_at(samples, 48000) == pytest.approx(0.5, abs=NEAR_S)
    assert abs(heard.seconds - Fraction(37, 25)) <= Fraction(1024, 48000)


def sound_packets(path):
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        told = stream.codec_context.name, stream.rate, stream.codec_context.layout.name, stream.duration
        return told, [(packet.pts, packet.dts, bytes(packet)) for packet in file.demux(stream) if packet.size]


@pytest.mark.parametrize(("begin", "seconds", "rate_hz"), [(0, 3, 44100), (Fraction(1, 3), 2, 48000), (1, 3, 7000)])
def test_a_sound_that_was_encoded_ahead_is_the_one_that_is_encoded_at_the_end(begin, seconds, rate_hz, tmp_path):
    song = write(tmp_path / "song.flac", music(rate_hz, 3.0), rate_hz, "flac")
    parts, codec = segments(tmp_path, CODECS["h264"], (50, 25)), CODECS["h264"]
    join(parts, tmp_path / "late.mp4", codec, FPS, sound_of(song, seconds, begin))
    sound, folder = sound_of(song, seconds, begin), tmp_path / "parts"
    folder.mkdir()
    with sound.encoded_ahead(codec, folder):
        while not list(folder.iterdir()):  # it begins by itself
            time.sleep(0.01)
        join(parts, tmp_path / "ahead.mp4", codec, FPS, sound)
    assert not list(folder.iterdir())
    assert sound_packets(tmp_path / "ahead.mp4") == sound_packets(tmp_path / "late.mp4")


@pytest.mark.parametrize(("name", "kind"), [("prores", "wav"), ("ffv1", "wav"), ("h264", "m4a")])
def test_what_is_no_work_is_not_done_ahead(name, kind, tmp_path):
    song = write(tmp_path / f"song.{kind}", music(44100, 3.0), 44100, kind)
    folder = tmp_path / "parts"
    folder.mkdir()
    with sound_of(song, 4).encoded_ahead(CODECS[name], folder):
        assert not list(folder.iterdir())


def test_a_song_that_is_gone_while_its_sound_is_encoded_is_told_at_the_end(tmp_path):
    song = write(tmp_path / "song.flac", music(44100, 3.0), 44100, "flac")
    parts, sound, folder = segments(tmp_path, CODECS["h264"]), sound_of(song, 1), tmp_path / "parts"
    folder.mkdir()
    song.unlink()
    with sound.encoded_ahead(CODECS["h264"], folder), pytest.raises(VJError, match=r"song\.flac"):
        join(parts, tmp_path / "film.mp4", CODECS["h264"], FPS, sound)
    assert not (tmp_path / "film.mp4").exists()
    assert not list(folder.iterdir())


def test_a_render_that_ends_early_does_not_wait_for_its_sound(tmp_path):
    class Endless(Sound):
        def samples(self, rate_hz, channels):
            while True:
                yield np.zeros((1024, channels), np.float32)

    song = write(tmp_path / "song.flac", music(44100, 3.0), 44100, "flac")
    folder = tmp_path / "parts"
    folder.mkdir()
    with Endless(Song.open(song), Fraction(0), Fraction(1)).encoded_ahead(CODECS["h264"], folder):
        while not list(folder.iterdir()):
            time.sleep(0.01)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("kind", ["m4a", "bare.m4a"])
def test_an_m4a_goes_into_an_mp4_as_it_is(kind, tmp_path):
    song = write(tmp_path / "song.m4a", music(44100, 3.0), 44100, kind)
    join(segments(tmp_path, CODECS["h264"], (77,)), tmp_path / "film.mp4", CODECS["h264"], FPS, sound_of(song, 3.08))
    assert heard_at(everything(Song.open(tmp_path / "film.mp4")), 44100) == pytest.approx(1.0, abs=NEAR_S)
    assert packets_of(tmp_path / "film.mp4") == packets_of(song)
    with av.open(str(tmp_path / "film.mp4")) as film, av.open(str(song)) as source:
        assert bytes(film.streams.audio[0].codec_context.extradata) == source.streams.audio[0].codec_context.extradata
        assert film.streams.video[0].start_time == 0


@pytest.mark.parametrize(("kind", "kept"), [("wav", "pcm_s16le"), ("alac.m4a", "alac"), ("m4a", "aac")])
def test_what_a_mov_takes_goes_into_it_as_it_is(kind, kept, tmp_path):
    song = write(tmp_path / f"song.{kind}", music(48000, 3.0), 48000, kind)
    join(segments(tmp_path, CODECS["prores"], (75,)), tmp_path / "film.mov", CODECS["prores"], FPS, sound_of(song, 3))
    assert Song.open(tmp_path / "film.mov").codec == kept
    assert b"".join(packets_of(tmp_path / "film.mov")) == b"".join(packets_of(song))


@pytest.mark.parametrize(
    ("name", "kind", "kept"),
    [("h264", "mp3", "aac"), ("h264", "wav", "aac"), ("prores", "flac", "pcm_s24le"), ("prores", "mp3", "pcm_s24le"),
     ("ffv1", "m4a", "flac")],
)  # fmt: skip
def test_what_a_container_does_not_take_is_encoded(name, kind, kept, tmp_path):
    song = write(tmp_path / f"song.{kind}", music(48000, 3.0), 48000, kind)
    film = tmp_path / f"film{CODECS[name].suffix}"
    join(segments(tmp_path, CODECS[name], (75,)), film, CODECS[name], FPS, sound_of(song, 3))
    assert Song.open(film).codec == kept


@pytest.mark.parametrize("name", ["prores", "ffv1"])
def test_a_flac_comes_out_as_its_samples(name, tmp_path):
    samples = music(48000, 3.0)
    song = write(tmp_path / "song.flac", samples, 48000, "flac")
    film = tmp_path / f"film{CODECS[name].suffix}"
    join(segments(tmp_path, CODECS[name], (75,)), film, CODECS[name], FPS, sound_of(song, 3))
    heard = everything(Song.open(film))
    assert heard.shape == samples.shape
    assert np.abs(heard - samples).max() <= 1.6 / 32768


@pytest.mark.parametrize("kind", ["wav", "mp3", "flac"])
@pytest.mark.parametrize("codec", OURS, ids=lambda codec: codec.name)
def test_after_a_song_that_is_shorter_than_the_film_there_is_silence(codec, kind, tmp_path):
    song = write(tmp_path / f"song.{kind}", music(48000, 2.0), 48000, kind)
    film = tmp_path / f"film{codec.suffix}"
    with_sound = sound_of(song, 3)
    join(segments(tmp_path, codec, (75,)), film, codec, FPS, with_sound)
    heard = Song.open(film)
    samples = everything(heard)
    assert heard_at(samples, 48000) == pytest.approx(1.0, abs=NEAR_S)
    assert np.abs(samples[48000 * 3 // 2 : 93000]).max() > 0.005
    if heard.codec == "pcm_s16le":  # as it is: it ends where the song ends
        assert heard.seconds == 2
    else:
        assert abs(heard.seconds - 3) <= Fraction(1024, 48000)
        assert np.abs(samples[99000:]).max() < 1e-4


def test_a_song_that_is_longer_than_the_film_ends_with_it(tmp_path):
    song = write(tmp_path / "song.m4a", music(48000, 6.0), 48000, "m4a")
    join(segments(tmp_path, CODECS["h264"], (50,)), tmp_path / "film.mp4", CODECS["h264"], FPS, sound_of(song, 2))
    heard = Song.open(tmp_path / "film.mp4")
    assert abs(heard.seconds - 2) <= Fraction(1024, 48000)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 96000])
@pytest.mark.parametrize("codec", OURS, ids=lambda codec: codec.name)
def test_songs_of_one_channel_and_of_other_rates_have_their_place(codec, rate_hz, tmp_path):
    song = write(tmp_path / "song.flac", music(rate_hz, 3.0, channels=1), rate_hz, "flac")
    film = tmp_path / f"film{codec.suffix}"
    join(segments(tmp_path, codec, (75,)), film, codec, FPS, sound_of(song, 3))
    heard = Song.open(film)
    assert heard.channels == 1
    assert heard_at(everything(heard), heard.rate_hz) == pytest.approx(1.0, abs=NEAR_S)
    assert abs(heard.seconds - 3) <= Fraction(1024, heard.rate_hz)


@pytest.mark.parametrize("channel", range(6))
def test_nothing_of_six_channels_is_lost_but_the_bass(channel, tmp_path):
    samples = np.zeros((3 * 48000, 6), np.float32)
    samples[:, channel] = music(48000, 3.0)[:, 0]
    song = write(tmp_path / "song.flac", samples, 48000, "flac")
    join(segments(tmp_path, CODECS["ffv1"], (75,)), tmp_path / "film.mkv", CODECS["ffv1"], FPS, sound_of(song, 3))
    heard = Song.open(tmp_path / "film.mkv")
    mixed = everything(heard).sum(axis=1, keepdims=True)
    assert heard.channels == 2
    if channel != 3:
        assert np.abs(mixed).max() > 0.1, "the voice of a film is in its middle channel"
        assert heard_at(mixed, 48000) == pytest.approx(1.0, abs=NEAR_S)


@pytest.mark.parametrize("codec", OURS, ids=lambda codec: codec.name)
def test_chapters_are_in_the_film(codec, tmp_path):
    if not hasattr(av.container.OutputContainer, "set_chapters"):
        pytest.skip("this PyAV writes no chapters")
    song = write(tmp_path / "song.wav", music(48000, 3.0), 48000, "wav")
    film = tmp_path / f"film{codec.suffix}"
    told = [(0.0, 1.0, "Intro"), (1.0, 2.48, "Drop & Größe"), (2.48, 3.0, "Outro")]
    join(segments(tmp_path, codec, (75,)), film, codec, FPS, sound_of(song, 3), told)
    with av.open(str(film)) as file:
        chapters = file.chapters()
    found = [
        (float(one["start"] * one["time_base"]), float(one["end"] * one["time_base"]), one["metadata"]["title"])
        for one in chapters
    ]
    assert [title for *_, title in found] == [title for *_, title in told]
    for (begin, end, _), (told_begin, told_end, _) in zip(found, told, strict=True):
        assert (begin, end) == pytest.approx((told_begin, told_end), abs=0.0015)


def test_pictures_become_one_folder_with_the_sound_beside_them(tmp_path):
    samples = music(44100, 2.0)
    song = write(tmp_path / "song.flac", samples, 44100, "flac")
    (tmp_path / "parts").mkdir()
    parts = [tmp_path / "parts" / name for name in ("a", "b", "c")]
    for part, begin, count in zip(parts, (0, 7, 12), COUNTS, strict=True):
        segment(part, CODECS["png"], range(begin, begin + count))
    film = tmp_path / "film"
    join(parts, film, CODECS["png"], FPS, sound_of(song, Fraction(21, 25)))
    assert sorted(path.name for path in film.iterdir()) == [*(f"{n:06d}.png" for n in range(21)), "sound.wav"]
    greys = [cv2.imread(str(film / f"{n:06d}.png"))[0, 63, 0] for n in range(21)]
    assert greys == [20 + 8 * n for n in range(21)]
    heard, rate_hz = soundfile.read(film / "sound.wav", dtype="float32")
    assert (len(heard), rate_hz) == (round(0.84 * 44100), 44100)
    assert np.abs(heard - samples[: len(heard)]).max() <= 1.6 / 32768


def test_a_shorter_film_leaves_no_pictures_of_the_one_before(tmp_path):
    segment(tmp_path / "part", CODECS["png"], range(9))
    segment(tmp_path / "other", CODECS["png"], range(20, 24))
    join([tmp_path / "part"], tmp_path / "film", CODECS["png"], FPS)
    join([tmp_path / "other"], tmp_path / "film", CODECS["png"], FPS)
    names = sorted(path.name for path in (tmp_path / "film").iterdir())
    assert names == ["000000.png", "000001.png", "000002.png", "000003.png"]
    assert cv2.imread(str(tmp_path / "film" / "000000.png"))[0, 0, 0] == 20 + 8 * 20
    assert len(list((tmp_path / "part").iterdir())) == 9, "segments stay as they are"
    (tmp_path / "film" / "cover.png").write_bytes(b"of the user")
    with pytest.raises(OutputError, match="holds other files"):
        join([tmp_path / "part"], tmp_path / "film", CODECS["png"], FPS)
    assert (tmp_path / "film" / "cover.png").exists()


def test_a_folder_of_pictures_that_cannot_be_made_is_told(tmp_path):
    segment(tmp_path / "part", CODECS["png"], range(2))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be written: (Not a directory|File exists)"):
        join([tmp_path / "part"], tmp_path / "file" / "film", CODECS["png"], FPS)


@pytest.mark.parametrize("codec", FILMS, ids=lambda codec: codec.name)
def test_a_segment_of_another_size_is_refused_and_nothing_is_left(codec, tmp_path):
    (tmp_path / "parts").mkdir()
    parts = segments(tmp_path / "parts", codec)
    segment(parts[2], codec, range(12, 21), size=(128, 64))
    with pytest.raises(OutputError, match=f"{parts[2].name} was encoded in another way than the first segment"):
        join(parts, tmp_path / f"film{codec.suffix}", codec, FPS)
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


@pytest.mark.parametrize(("first", "other"), [("h264", "av1"), ("prores", "prores4444"), ("prores", "dxv")])
def test_a_segment_of_another_codec_is_refused_and_nothing_is_left(first, other, tmp_path):
    if not is_here(CODECS[other]):
        pytest.skip(f"{other} is not here")
    (tmp_path / "parts").mkdir()
    parts = segments(tmp_path / "parts", CODECS[first])
    segment(parts[1], CODECS[other], range(7, 12))
    with pytest.raises(OutputError, match=f"{parts[1].name} was encoded in another way than the first segment"):
        join(parts, tmp_path / f"film{CODECS[first].suffix}", CODECS[first], FPS)
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


def spoil_missing(path):
    path.unlink()


def spoil_empty(path):
    path.write_bytes(b"")


def spoil_cut(path):
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize("spoil", [spoil_missing, spoil_empty, spoil_cut])
@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("codec", OURS, ids=lambda codec: codec.name)
def test_a_film_that_is_there_stays_until_the_new_one_is_whole(codec, number, spoil, tmp_path):
    (tmp_path / "parts").mkdir()
    parts = segments(tmp_path / "parts", codec)
    film = tmp_path / f"film{codec.suffix}"
    film.write_bytes(b"the film before")
    whole = parts[number].read_bytes()
    spoil(parts[number])
    with pytest.raises(OutputError, match=parts[number].name) as error:
        join(parts, film, codec, FPS)
    assert "\n" not in str(error.value)
    assert film.read_bytes() == b"the film before"
    assert sorted(path.name for path in tmp_path.iterdir()) == [film.name, "parts"]
    parts[number].write_bytes(whole)
    join(parts, film, codec, FPS)
    assert len(decoded(film)) == 21


def test_a_song_that_is_gone_leaves_the_film_before(tmp_path):
    (tmp_path / "parts").mkdir()
    parts = segments(tmp_path / "parts", CODECS["h264"])
    sound = sound_of(write(tmp_path / "parts" / "song.wav", music(48000, 2.0), 48000, "wav"), Fraction(21, 25))
    sound.song.path.unlink()
    (tmp_path / "film.mp4").write_bytes(b"the film before")
    with pytest.raises(VJError, match=r"song\.wav"):
        join(parts, tmp_path / "film.mp4", CODECS["h264"], FPS, sound)
    assert (tmp_path / "film.mp4").read_bytes() == b"the film before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "parts"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux'")
@pytest.mark.parametrize("codec", OURS, ids=lambda codec: codec.name)
def test_a_full_disk_leaves_nothing_that_looks_whole(codec, tmp_path):
    (tmp_path / "parts").mkdir()
    parts = segments(tmp_path / "parts", codec)
    part = Path(tmp_path / f".film.{os.getpid()}.part{codec.suffix}")
    part.symlink_to("/dev/full")
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        join(parts, tmp_path / f"film{codec.suffix}", codec, FPS)
    assert [path.name for path in tmp_path.iterdir()] == ["parts"]


@pytest.mark.parametrize("codec", OURS, ids=lambda codec: codec.name)
def test_a_folder_that_cannot_be_written_is_told(codec, tmp_path):
    parts = segments(tmp_path, codec)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        join(parts, tmp_path / "missing" / f"film{codec.suffix}", codec, FPS)
    assert sorted(tmp_path.iterdir()) == before
