"""A file is opened whatever its titles are written in, by every PyAV."""

import io
from types import SimpleNamespace

import numpy as np
import pytest

from vjserver.runtime.pyav import opened
from vjserver.runtime.video import Video
from vjserver.sources.avfile import AvStream

av = pytest.importorskip("av", reason="PyAV is not installed")


def latin(path):
    """Have a file's title be Latin-1, as old players wrote it."""
    data = path.read_bytes()
    assert "Größe".encode() in data
    path.write_bytes(data.replace("Größe".encode(), "Größe ".encode("latin-1") + b"\xff"))
    return path


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as file:
        file.metadata["title"] = "Größe"
        stream = file.add_stream("mp3", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), "fltp", "stereo")
        frame.sample_rate = 44100
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    return latin(path)


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as file:
        file.metadata["title"] = "Größe"
        stream = file.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(4):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        file.mux(stream.encode(None))
    return latin(path)


def test_a_song_whose_title_is_no_utf8_is_heard(song):
    stream = AvStream(song)
    assert stream.samplerate == 44100
    with opened(av, io.BytesIO(song.read_bytes()), "mp3") as container:
        assert len(container.streams.audio) == 1


def test_a_film_whose_title_is_no_utf8_is_played(film):
    video = Video(film)
    assert video.next().shape == (48, 64, 4)
    video.close()


@pytest.mark.parametrize(
    ("version", "options"), [("18.1.0", {"metadata_errors": "ignore"}), ("19.0.2", {}), ("20.0", {})]
)
def test_each_pyav_is_asked_as_it_knows(tmp_path, version, options):
    asked = []
    stand_in = SimpleNamespace(__version__=version, open=lambda *args, **kwargs: asked.append((args, kwargs)))
    opened(stand_in, tmp_path / "a.mp4")
    assert asked == [((str(tmp_path / "a.mp4"), "r"), {"format": None, **options})]
