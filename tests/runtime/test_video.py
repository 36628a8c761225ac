"""Pictures and films as cameras, phones and programs write them; written here with PyAV and OpenCV, read back whole."""

import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from vjserver.inputs.file import FileInput, FileInputOptions
from vjserver.runtime.picture import is_picture, read_picture
from vjserver.runtime.video import Video, _CvReader
from vjserver.types.errors import InputError, VJError

av = pytest.importorskip("av", reason="PyAV is not installed")


def pattern(width, height, i=0, alpha=255):
    """Red in the upper left corner, a white column that walks."""
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[: height // 2, : width // 2, 0] = 255
    pixels[:, width - 1 - i % (width // 2), :3] = 255
    pixels[..., 3] = alpha
    return pixels


def video(path, codec, pix="yuv420p", count=12, times=None, rate=24, alpha=255, **options):
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(pattern(64, 48, i, alpha), format="rgba")
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


KINDS = {
    "h264.mp4": ("libx264", {}), "hevc.mp4": ("libx265", {"x265-params": "log-level=error"}),
    "ten.mp4": ("libx265", {"pix": "yuv420p10le", "x265-params": "log-level=error"}), "a.gif": ("gif", {"pix": "rgb8"}),
    "av1.mkv": ("libsvtav1", {"preset": "12"}), "m.avi": ("mjpeg", {"pix": "yuvj420p"}),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_films_of_all_kinds_go_round(tmp_path, name):
    codec, options = KINDS[name]
    film = Video(video(tmp_path / name, codec, **options))
    pictures = [film.next() for _ in range(26)]
    assert all(p.shape == (48, 64, 4) and p.dtype == np.uint8 for p in pictures)
    assert pictures[3][4, 4, 0] > 180, "red"
    assert pictures[3][40, 4, 0] < 80
    assert np.abs(pictures[0].astype(int) - pictures[12]).mean() < 3, "after the last comes the first"
    assert film.period_s == pytest.approx(1 / 24, rel=0.3)
    film.close()
    film.close()


@pytest.mark.parametrize(("name", "codec", "pix"), [("p.mov", "prores_ks", "yuva444p10le"), ("q.mov", "qtrle", "argb"),
                                                    ("v.webm", "libvpx-vp9", "yuva420p")])  # fmt: skip
def test_alpha_is_kept(tmp_path, name, codec, pix):
    film = Video(video(tmp_path / name, codec, pix, count=3, alpha=128))
    assert film.next()[..., 3].mean() == pytest.approx(128, abs=3)
    film.close()


@pytest.mark.parametrize(("name", "codec", "pix"), [("one.mp4", "libx264", "yuv420p"), ("one.gif", "gif", "rgb8")])
def test_a_film_of_one_picture_stays(tmp_path, name, codec, pix):
    film = Video(video(tmp_path / name, codec, pix, count=1))
    assert all(film.next().shape == (48, 64, 4) for _ in range(4))
    assert film.period_s == 0.5
    film.close()


def test_pictures_are_shown_for_as_long_as_they_are_meant(tmp_path):
    times = [0, 10, 20, 500, 510, 520, 1500, 1510]
    film = Video(video(tmp_path / "vfr.mkv", "libx264", count=8, times=times))
    periods = []
    for _ in range(7):
        film.next()
        periods.append(film.period_s)
    assert periods == pytest.approx([0.01, 0.01, 0.48, 0.01, 0.01, 0.98, 0.01], abs=0.002)
    film.close()


def test_a_phone_that_was_held_upright_gives_an_upright_film(tmp_path):
    plain = video(tmp_path / "plain.mp4", "libx264").read_bytes()
    place = plain.index(b"tkhd")
    upright = np.array([0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000], ">u4").tobytes()
    turned = np.array([0, 0x10000, 0, 0xFFFF0000, 0, 0, 48 << 16, 0, 0x40000000], ">u4").tobytes()
    at = plain.index(upright, place)
    (tmp_path / "turned.mp4").write_bytes(plain[:at] + turned + plain[at + 36 :])
    picture = Video(tmp_path / "turned.mp4").next()
    assert picture.shape == (64, 48, 4)
    assert picture[4, -4, 0] > 180, "what was in the upper left corner is in the upper right one"


def test_a_film_that_is_cut_off_is_played_as_far_as_it_goes(tmp_path):
    data = video(tmp_path / "whole.mkv", "libx264", count=60).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 2 // 3])
    film = Video(tmp_path / "cut.mkv")
    assert all(film.next().shape == (48, 64, 4) for _ in range(100))
    film.close()


def test_without_pyav_opencv_plays(tmp_path, monkeypatch):
    monkeypatch.setattr("vjserver.runtime.video._pyav", lambda: None)
    film = Video(video(tmp_path / "a.mp4", "libx264"))
    assert isinstance(film._reader, _CvReader)
    assert [film.next().shape for _ in range(15)] == [(48, 64, 4)] * 15
    film.close()
    (tmp_path / "no.mp4").write_bytes(b"nothing")
    with pytest.raises(VJError, match="with PyAV more kinds can"):
        Video(tmp_path / "no.mp4")


def exif(orientation):
    """An APP1 segment that says how a camera was held."""
    tiff = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1" + orientation.to_bytes(2, "big") + b"\0\0\0\0\0\0"
    body = b"Exif\0\0" + tiff
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body


@pytest.mark.parametrize(
    ("orientation", "shape", "corner"),
    [(1, (40, 80), (2, 2)), (3, (40, 80), (-3, -3)), (6, (80, 40), (2, -3)), (8, (80, 40), (-3, 2))],
)
def test_a_photo_is_turned_as_the_camera_was_held(tmp_path, orientation, shape, corner):
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:10, :10] = (0, 0, 255)
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    path = tmp_path / "photo.JPEG"
    path.write_bytes(data[:2] + exif(orientation) + data[2:])
    picture = read_picture(path)
    assert picture.shape[:2] == shape
    assert picture[corner][0] > 150
    assert picture[corner][2] < 90


@pytest.mark.parametrize("kind", ["png", "png16", "grey", "rgba", "tiff32", "ppm", "bmp", "webp", "noext"])
def test_pictures_of_all_depths_are_read(tmp_path, kind):
    bgr = np.zeros((20, 30, 3), np.uint8)
    bgr[..., 2] = 200
    name, data = {
        "png": ("a.png", bgr), "png16": ("a.png", bgr.astype(np.uint16) * 257), "grey": ("a.png", bgr[..., 2]),
        "rgba": ("a.png", np.dstack([bgr, np.full((20, 30), 77, np.uint8)])),
        "tiff32": ("a.tiff", bgr.astype(np.float32) / 255), "ppm": ("a.ppm", bgr), "bmp": ("a.bmp", bgr),
        "webp": ("a.webp", bgr), "noext": ("a.png", bgr),
    }[kind]  # fmt: skip
    path = tmp_path / name
    assert cv2.imwrite(str(path), data)
    if kind == "noext":
        path = path.rename(tmp_path / "picture")
    assert is_picture(path)
    picture = read_picture(path)
    assert picture.shape == (20, 30, 4)
    assert picture[10, 10, 0] == pytest.approx(200, abs=6)
    assert picture[10, 10, 3] == (77 if kind == "rgba" else 255)


def brought(path):
    door = FileInput(FileInputOptions(path=path))
    door.open()
    try:
        return [door.read(0.2) for _ in range(3)]
    finally:
        door.close()


def test_a_tga_comes_by_way_of_pyav(tmp_path):
    path = tmp_path / "old.tga"
    head = bytes([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30, 0, 20, 0, 24, 0x20])
    path.write_bytes(head + bytes([10, 20, 200]) * 600)
    frames = [frame for frame in brought(path) if frame is not None]
    assert frames[0].pixels[5, 5].tolist() == [200, 20, 10, 255]


@pytest.mark.parametrize("content", [b"", b"garbage" * 50, b"\x89PNG garbage", b"\xff\xd8\xff nothing"])
def test_what_is_no_picture_is_one_clear_line(tmp_path, content):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match="neither a picture nor a video that can be read"):
        brought(path)


def test_the_input_follows_a_films_own_times(tmp_path):
    path = video(tmp_path / "vfr.mkv", "libx264", count=4, times=[0, 40, 80, 400])
    door = FileInput(FileInputOptions(path=path))
    door.open()
    began, times = time.monotonic(), []
    while len(times) < 4:
        if door.read(0.5) is not None:
            times.append(time.monotonic() - began)
    door.close()
    assert times[3] - times[2] >= 0.3, "not before its time"


def test_a_home_sign_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    cv2.imwrite(str(tmp_path / "p.png"), np.zeros((4, 4, 3), np.uint8))
    assert brought(Path("~/p.png"))[0].pixels.shape == (4, 4, 4)
