import numpy as np
import pytest
import soundfile

from bench.music.render import RATE_HZ, DrumMachine
from bench.music.score import Note
from bench.training import kits

XML = """<drumkit_info xmlns="http://www.hydrogen-music.org/drumkit"><instrumentList>
<instrument><name>Bass Drum 22"</name><layer><filename>kick.wav</filename></layer></instrument>
<instrument><name>Snare Roll</name><layer><filename>kick.wav</filename></layer></instrument>
<instrument><name>Hi-Hat Open</name><layer><filename>hat.flac</filename></layer></instrument>
<instrument><name>Closed HH</name><layer><filename>missing.wav</filename></layer></instrument>
</instrumentList></drumkit_info>"""


@pytest.fixture
def kit(tmp_path, monkeypatch):
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "drumkit.xml").write_text(XML, encoding="utf-8")
    late = np.concatenate((np.zeros(4800), np.exp(-np.arange(9600) / 2000.0)))  # 100 ms of nothing, then a hit
    soundfile.write(folder / "kick.wav", 0.4 * late, 48000)
    soundfile.write(folder / "hat.wav", 0.2 * late, 48000)
    monkeypatch.setattr(kits, "HYDROGEN", tmp_path)
    monkeypatch.setattr(kits, "FONTS", ())
    kits.kits.cache_clear()
    yield kits.kits()
    kits.kits.cache_clear()


def test_a_kits_drums_are_known_by_their_names(kit):
    assert {name: len(sounds) for name, sounds in kit["one"].items()} == {"kick": 1, "open": 1}


def test_a_sound_begins_with_its_attack_at_full_level(kit):
    for sounds in kit["one"].values():
        assert np.argmax(np.abs(sounds[0]) > 0.5) < 0.001 * RATE_HZ
        assert np.abs(sounds[0]).max() == pytest.approx(1.0, rel=0.02)
        assert len(sounds[0]) == pytest.approx(0.2 * RATE_HZ, rel=0.02)


def test_a_machine_plays_recorded_sounds_on_time(kit):
    sounds = dict.fromkeys(("kick", "tom"), kit["one"]["kick"][0])
    played = DrumMachine(sounds, np.random.default_rng(0))([Note(0.5, 0.1, 36, 100)], RATE_HZ)
    assert np.abs(played[: RATE_HZ // 2]).max() == 0.0
    assert np.abs(played[RATE_HZ // 2 : RATE_HZ // 2 + 50]).max() > 0.05


def test_without_kits_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(kits, "HYDROGEN", tmp_path)
    monkeypatch.setattr(kits, "FONTS", ())
    kits.kits.cache_clear()
    assert kits.sampled(np.random.default_rng(0)) is None
    kits.kits.cache_clear()
