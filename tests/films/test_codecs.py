"""Codecs: what was drawn is what is decoded, times are exact, and what cannot be done is told in a sentence."""

import os
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from vjserver.films import codecs
from vjserver.films.codecs import BT709, CODECS, FULL, LIMITED, RGB, codec_of, is_here, writer
from vjserver.types.errors import ConfigError, OutputError

av = pytest.importorskip("av", reason="PyAV is not installed")
SIZE = WIDTH, HEIGHT = 320, 192
NTSC = Fraction(30000, 1001)
HERE = [codec for codec in CODECS.values() if is_here(codec)]
FILMS = [codec for codec in HERE if codec.container]
BARS = [(191, 191, 191), (191, 191, 0), (0, 191, 191), (0, 191, 0), (191, 0, 191), (191, 0, 0), (0, 0, 191), (0, 0, 0)]
GREYS = [(level, level, level) for level in (0, 16, 64, 96, 128, 200, 235, 255)]
SKINS = [(255, 219, 172), (241, 194, 125), (224, 172, 138), (224, 172, 105), (198, 134, 66), (141, 85, 58),
         (92, 56, 37), (59, 34, 25)]  # fmt: skip
ROWS = [BARS, GREYS, SKINS]


def bars():
    """Return colour bars at 75 %, greys below them, and skins below those, each 40x64."""
    return np.repeat(np.repeat(np.uint8([[(*rgb, 255) for rgb in row] for row in ROWS]), 64, axis=0), 40, axis=1)


def ramp():
    """Return skin that fades in from left to right, in steps of 8 pixels."""
    pixels = np.full((HEIGHT, WIDTH, 4), (224, 172, 138, 0), np.uint8)
    pixels[..., 3] = np.repeat(np.linspace(0, 255, 40), 8).round()
    return pixels


def shoot(codec, path, pictures, rate=NTSC):
    height, width = pictures[0].shape[:2]
    one = writer(codec, path, (width, height), rate)
    for pixels in pictures:
        one.send(pixels)
    one.close()
    return path


def decoded(path, form="rgb24"):
    """Return the pictures of a film as a player shows them that reads its tags."""
    how = av.video.reformatter.Interpolation
    methods = how.BILINEAR | how.ACCURATE_RND | how.FULL_CHR_H_INT
    with av.open(str(path)) as file:
        return [
            frame.reformat(
                format=form,
                src_colorspace="ITU709" if frame.format.name.startswith("yuv") else None,
                interpolation=methods,
            ).to_ndarray()
            for frame in file.decode(video=0)
        ]


def test_every_codec_that_needs_nothing_is_here():
    assert {"h264", "prores", "prores4444", "ffv1", "png"} <= {codec.name for codec in HERE}


@pytest.mark.parametrize("codec", FILMS, ids=lambda codec: codec.name)
def test_colours_come_out_as_they_were(codec, tmp_path):
    shown = decoded(shoot(codec, tmp_path / f"film{codec.suffix}", [bars()] * 12))
    assert len(shown) == 12
    for picture in shown:
        middles = picture[32::64, 20::40].astype(int)
        assert np.abs(middles - np.array(ROWS)).max() <= 3


def test_pictures_of_a_folder_are_the_pictures(tmp_path):
    shoot(CODECS["png"], tmp_path / "film", [bars(), ramp(), bars()])
    names = sorted(path.name for path in (tmp_path / "film").iterdir())
    assert names == ["000000.png", "000001.png", "000002.png"]
    shown = [cv2.imread(str(tmp_path / "film" / name), cv2.IMREAD_UNCHANGED) for name in names]
    np.testing.assert_array_equal(cv2.cvtColor(shown[0], cv2.COLOR_BGR2RGB), bars()[..., :3])
    np.testing.assert_array_equal(cv2.cvtColor(shown[1], cv2.COLOR_BGRA2RGBA), ramp())


@pytest.mark.parametrize("codec", FILMS, ids=lambda codec: codec.name)
def test_colours_are_tagged(codec, tmp_path):
    with av.open(str(shoot(codec, tmp_path / f"film{codec.suffix}", [bars()] * 3))) as file:
        context = file.streams.video[0].codec_context
        frame = next(file.decode(video=0))
    assert (context.color_primaries, context.color_trc) == (BT709, BT709)
    if codec.is_yuv:
        assert (context.colorspace, context.color_range) == (BT709, LIMITED)
        assert (frame.colorspace, frame.color_range) == (BT709, LIMITED)
        assert (frame.color_primaries, frame.color_trc) == (BT709, BT709)
    else:
        assert context.colorspace == RGB
        assert context.color_range in (0, FULL)


@pytest.mark.parametrize("rate", [Fraction(24), NTSC, Fraction(60)], ids=str)
@pytest.mark.parametrize("codec", FILMS, ids=lambda codec: codec.name)
def test_every_picture_has_its_exact_time(codec, rate, tmp_path):
    pictures = [np.full((64, 64, 4), (20 * i, 20 * i, 20 * i, 255), np.uint8) for i in range(12)]
    with av.open(str(shoot(codec, tmp_path / f"film{codec.suffix}", pictures, rate))) as file:
        stream = file.streams.video[0]
        frames = list(file.decode(stream))
        assert len(frames) == 12
        assert (stream.width, stream.height) == (64, 64)
        assert stream.average_rate == rate
        if codec.container == "mkv":
            tick = stream.time_base
            assert all(abs(frame.pts * tick - i / rate) <= tick / 2 for i, frame in enumerate(frames)), "milliseconds"
        else:
            assert [frame.pts * frame.time_base for frame in frames] == [i / rate for i in range(12)]
            assert stream.duration * stream.time_base == 12 / rate
    greys = [frame.to_ndarray(format="gray")[32, 32] for frame in frames]
    assert greys == sorted(greys)
    assert len(set(greys)) == 12


@pytest.mark.parametrize("name", [codec.name for codec in FILMS if codec.alpha])
def test_alpha_is_kept_where_the_codec_has_it(name, tmp_path):
    shown = decoded(shoot(CODECS[name], tmp_path / f"film{CODECS[name].suffix}", [ramp()] * 12), "rgba")
    assert len(shown) == 12
    for picture in shown:
        assert np.abs(picture[:, 4::8, 3].astype(int) - ramp()[:, 4::8, 3]).max() <= 3
        assert np.abs(picture[::16, 4::8, :3].astype(int) - (224, 172, 138)).max() <= 3, "straight, not premultiplied"


def test_without_alpha_what_is_clear_keeps_its_colour(tmp_path):
    [shown] = decoded(shoot(CODECS["h264"], tmp_path / "film.mp4", [ramp()]))
    assert np.abs(shown[::16, 4::8].astype(int) - (224, 172, 138)).max() <= 3


def test_lossless_is_lossless(tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (91, 161, 4), np.uint8)
    [shown] = decoded(shoot(CODECS["ffv1"], tmp_path / "film.mkv", [noise]), "rgba")
    np.testing.assert_array_equal(shown, noise)


def test_pixels_need_not_lie_in_one_piece(tmp_path):
    wide = np.random.default_rng(1).integers(0, 256, (128, 200, 4), np.uint8)
    for codec in FILMS:
        apart = decoded(shoot(codec, tmp_path / f"a-{codec.name}{codec.suffix}", [wide[::2, 36:164:2]]))
        whole = decoded(shoot(codec, tmp_path / f"w-{codec.name}{codec.suffix}", [wide[::2, 36:164:2].copy()]))
        np.testing.assert_array_equal(apart, whole)


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("h264", (1921, 1080), r"h264 wants a width divisible by 2 .* got 1921x1080; the nearest is 1920x1080"),
        ("h264", (1920, 1081), r"got 1920x1081; the nearest is 1920x1080"),
        ("prores", (99, 50), r"prores wants .* got 99x50; the nearest is (98|100)x50"),
        ("dxv", (1000, 563), r"width divisible by 16 and a height divisible by 4: .* the nearest is (992|1008)x564"),
        ("hap", (1279, 718), r"the nearest is 1280x(716|720)"),
        ("hap-q", (1, 1), r"the nearest is 4x4"),
    ],
)
def test_a_size_that_a_codec_cannot_have_is_refused_with_the_nearest(name, size, says):
    with pytest.raises(ConfigError, match=says):
        CODECS[name].check(size)


@pytest.mark.parametrize("codec", CODECS.values(), ids=lambda codec: codec.name)
def test_usual_sizes_are_taken(codec):
    for size in [(1920, 1080), (3840, 2160), (1280, 720), (512, 512)]:
        codec.check(size)
    if codec.sides == (1, 1):
        codec.check((161, 91))


def test_a_codec_is_found_by_name_or_by_ending():
    assert codec_of("", Path("film.mp4")).name == "h264"
    assert codec_of("", Path("film.MOV")).name == "prores"
    assert codec_of("", Path("film.mkv")).name == "ffv1"
    assert codec_of("", Path("film")).name == "png"
    assert codec_of("png", Path("some/film")).name == "png"
    assert codec_of("prores4444", Path("film.mov")).name == "prores4444"
    assert codec_of("h264", Path("my.film.mp4")).name == "h264"


@pytest.mark.parametrize(
    ("name", "output", "says"),
    [
        ("h264", "film.mov", r"h264 goes into \.mp4 files: got 'film\.mov'; \.mov takes prores, prores4444, dxv, hap"),
        ("prores", "film.mp4", r"prores goes into \.mov files: got 'film\.mp4'; \.mp4 takes h264, av1"),
        ("ffv1", "film.avi", r"ffv1 goes into \.mkv files: got 'film\.avi'$"),
        ("", "film.avi", r"h264 goes into \.mp4 files: got 'film\.avi'$"),
        ("h264", "film", r"h264 goes into \.mp4 files: got 'film'$"),
        ("proress", "film.mov", r"unknown codec 'proress'; nearest: prores, prores4444; known: h264, .*png$"),
        ("xyzzy", "film.mov", r"unknown codec 'xyzzy'; known: h264, .*png$"),
        ("png", "film.png", r"png makes a folder of pictures, whose name has no ending: got 'film\.png'"),
        ("png", "film.mp4", r"png makes a folder"),
    ],
)
def test_what_does_not_go_together_is_refused(name, output, says):
    with pytest.raises(ConfigError, match=says):
        codec_of(name, Path(output))


@pytest.mark.parametrize("name", ["hap", "dxv", "nvenc", "av1"])
def test_a_codec_that_is_not_here_is_refused_with_those_that_are(name, monkeypatch):
    here = {"h264", "prores", "ffv1", "png"}
    monkeypatch.setattr(codecs, "is_here", lambda codec: codec.name in here)
    codec = CODECS[name]
    what = f"the program 'ffmpeg' with HAP in it" if codec.program else f"the encoder '{codec.encoder}'"  # noqa: F541
    with pytest.raises(ConfigError, match=f"^{name} needs {what}, which is not here.* and scrub: prores, ffv1$"):
        codec_of(name, Path(f"film{codec.suffix}"))


def test_a_program_without_hap_is_as_good_as_none(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_here(CODECS["hap"])
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho ' V..... h264 hap-like'\n")
    program.chmod(0o755)
    assert not is_here(CODECS["hap"])
    program.write_text("#!/bin/sh\necho ' V.S... hap   Vidvox Hap'\n")
    assert is_here(CODECS["hap"])


def write_until_it_fails(codec, path, count=40):
    """Send pictures that do not compress, and end the file; whatever happens, nothing stays open."""
    one = writer(codec, path, SIZE, NTSC)
    try:
        for i in range(count):
            one.send(np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 4), np.uint8))
        one.close()
    finally:
        one.drop()


def open_now():
    process = psutil.Process()
    return sorted(file.path for file in process.open_files()), process.num_fds(), process.children()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux'")
@pytest.mark.parametrize("codec", FILMS, ids=lambda codec: codec.name)
def test_a_full_disk_is_told(codec, tmp_path):
    before = open_now()
    path = tmp_path / f"film{codec.suffix}"
    path.symlink_to("/dev/full")
    with pytest.raises(OutputError, match=r"cannot be written: .*No space left on device") as error:
        write_until_it_fails(codec, path)
    assert "\n" not in str(error.value)
    assert open_now() == before


@pytest.mark.parametrize("codec", HERE, ids=lambda codec: codec.name)
def test_a_folder_that_is_a_file_is_told(codec, tmp_path):
    before = open_now()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be written: .*(Not a directory|File exists)"):
        write_until_it_fails(codec, tmp_path / "file" / f"film{codec.suffix if codec.container else ''}")
    assert open_now() == before


@pytest.mark.parametrize("codec", FILMS, ids=lambda codec: codec.name)
def test_a_folder_that_is_missing_or_in_the_place_of_the_film_is_told(codec, tmp_path):
    before = open_now()
    with pytest.raises(OutputError, match=r"cannot be written: .*No such file or directory"):
        write_until_it_fails(codec, tmp_path / "missing" / f"film{codec.suffix}")
    path = tmp_path / f"film{codec.suffix}"
    path.mkdir()
    with pytest.raises(OutputError, match=r"cannot be written: .*Is a directory"):
        write_until_it_fails(codec, path)
    assert open_now() == before


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root writes everywhere")
@pytest.mark.parametrize("codec", HERE, ids=lambda codec: codec.name)
def test_a_folder_that_may_not_be_written_is_told(codec, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"cannot be written: .*Permission denied"):
        write_until_it_fails(codec, tmp_path / f"film{codec.suffix if codec.container else ''}")


@pytest.mark.parametrize("sent", [0, 1, 5])
@pytest.mark.parametrize("codec", HERE, ids=lambda codec: codec.name)
def test_dropping_leaves_nothing_open(codec, sent, tmp_path):
    before = open_now()
    one = writer(codec, tmp_path / f"film{codec.suffix if codec.container else ''}", SIZE, NTSC)
    for _ in range(sent):
        one.send(bars())
    one.drop()
    one.drop()
    assert open_now() == before


@pytest.mark.parametrize("codec", HERE, ids=lambda codec: codec.name)
def test_closing_leaves_nothing_open(codec, tmp_path):
    before = open_now()
    shoot(codec, tmp_path / f"film{codec.suffix if codec.container else ''}", [bars()] * 2)
    assert open_now() == before
