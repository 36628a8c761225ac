"""The listen loop with a microphone, a recogniser and a clock that are tables."""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from vjserver.runtime.clock import NS
from vjserver.runtime.status import ListenStatus
from vjserver.show.state import Speech as Wishes
from vjserver.speech.segmenter import CHUNK
from vjserver.speech.transcriber import Transcriber
from vjserver.speech.words import Hypothesis
from vjserver.stages.listen import pipes as pipes_of_listen
from vjserver.stages.listen.pipes import ListenPipes, Understanding
from vjserver.stages.listen.transcription import HANGS_S, SLOW_S, Listen, transcribed
from vjserver.types.audio import AudioBlock
from vjserver.types.errors import DeviceError, WorkerFault
from vjserver.types.events import Degraded, Speech, TalkerSound


class Loudness:
    """Takes what is loud for speech."""

    def __call__(self, chunk):
        return 0.9 if np.abs(chunk).max() > 0.01 else 0.0


class Clock:
    def __init__(self):
        self.ns = 0

    def now_ns(self):
        return self.ns

    def sleep_until(self, ns):
        self.ns = max(self.ns, ns)


class Microphone:
    """Gives blocks at 16 kHz, loud or not; breaks off or cannot be opened where it is told to."""

    rate_hz, drops = 16000, 0

    def __init__(self, clock):
        self.clock, self.loud, self.gone, self.missing, self.closed = clock, False, False, False, 0

    def open(self):
        if self.missing:
            raise DeviceError("no audio input on this machine")

    def read(self, until_ns):
        self.clock.ns += round(CHUNK / 16000 * NS)
        if self.gone:
            raise DeviceError("audio input 'mic' has gone: no sound arrives")
        level = 0.2 if self.loud else 0.0
        return AudioBlock(np.full((CHUNK, 1), level, np.float32), 16000, self.clock.ns)

    def close(self):
        self.closed += 1


class Recogniser:
    def __init__(self):
        self.asked, self.missing, self.fault, self.raises = [], False, "", None

    def open(self):
        if self.missing:
            raise DeviceError("the speech model 'base' is not here; bring it with: pip install 'vjserver[speech]'")

    def decode(self, sound, language="", context="short", hints=()):
        self.asked.append((context, language, hints, len(sound)))
        if self.raises:
            raise self.raises
        return Hypothesis("a small wooden boat", language or "en", 0.9, fault=self.fault)


class AtOnce:
    """An executor that does it now."""

    def submit(self, handler, *args):
        future = Future()
        try:
            future.set_result(handler(*args))
        except Exception as error:  # noqa: BLE001 - as a thread would
            future.set_exception(error)
        return future


class House:
    def __init__(self, monkeypatch, thread=None, keeps=False, **wishes):
        monkeypatch.setattr(pipes_of_listen, "VoiceDetector", Loudness)
        self.clock, self.told, self.voice, self.status, self.talk = Clock(), [], [], ListenStatus(), []
        self.microphone, self.recogniser = Microphone(self.clock), Recogniser()
        self.wishes, self.music = Wishes(on=True, **wishes), None
        pipes = ListenPipes(
            self.told.append, lambda *row: self.voice.append(row), self._tell_status,
            lambda: (self.talk.pop(0) if self.talk else [], 0), self._music,
        )  # fmt: skip
        self.said = Transcriber(lambda text, _language: text)
        self.listen = Listen(
            lambda: self.microphone, lambda: self.wishes,
            Understanding(self.recogniser, self.said, thread or AtOnce(), ("Alice",)),
            self.clock, pipes, AtOnce(), self._keep if keeps else None,
        )  # fmt: skip
        self.kept, self.full = [], False

    def _tell_status(self, status):
        self.status = status

    def _keep(self, number, sound):
        if self.full:
            raise OSError(28, "No space left on device")
        self.kept.append((number, len(sound)))

    def _music(self):
        if self.music is None:
            raise FileNotFoundError
        return self.music

    def run(self, seconds, loud=False):
        self.microphone.loud = loud
        end_ns = self.clock.ns + round(seconds * NS)
        while self.clock.ns < end_ns:
            self.listen.step()

    @property
    def speech(self):
        return [event for event in self.told if isinstance(event, Speech)]

    @property
    def faults(self):
        return [(event.what, event.why, event.recovered) for event in self.told if isinstance(event, Degraded)]


def test_what_is_said_is_told_and_the_voice_is_known(monkeypatch):
    house = House(monkeypatch, language="de")
    house.run(1.0)
    house.run(2.0, loud=True)
    assert house.voice[-1][1] == 0.9
    assert house.status.speaking
    house.run(1.0)
    assert [said.kind for said in house.speech][-2:] == ["final", "revised"]
    assert house.recogniser.asked[-1][:3] == ("full", "de", ("Alice",))
    assert house.faults == []
    assert house.status.microphone == "open"


def test_sound_is_kept_where_it_is_asked_for_and_a_full_disk_is_told_once(monkeypatch):
    for keeps in (False, True):
        house = House(monkeypatch, keeps=keeps)
        for _ in range(2):
            house.run(1.0)
            house.run(2.0, loud=True)
        house.run(1.0)
        finals = [said.number for said in house.speech if said.kind == "final"]
        assert [number for number, _ in house.kept] == (finals if keeps else [])
        assert all(length > 16000 for _, length in house.kept)
    house.full = True
    for _ in range(2):
        house.run(2.0, loud=True)
        house.run(1.0)
    assert [row for row in house.faults if row[0] == "speech sound"] == [
        ("speech sound", "it cannot be kept: No space left on device", False)
    ]
    assert [said.kind for said in house.speech].count("final") == 4


def test_no_microphone_is_said_once_and_tried_until_it_is_there(monkeypatch):
    house = House(monkeypatch)
    house.microphone.missing = True
    house.run(8.0)
    assert [row for row in house.faults if row[0] == "microphone"] == [
        ("microphone", "no audio input on this machine; it is tried again", False)
    ]
    assert house.status.microphone == "closed"
    house.microphone.missing = False
    house.run(10.0)
    assert house.faults[-1] == ("microphone", "it is back", True)


def test_unplugged_in_mid_talk_what_was_said_is_still_written_down(monkeypatch):
    house = House(monkeypatch)
    house.run(1.0)
    house.run(2.0, loud=True)
    house.microphone.gone = True
    house.run(0.5)
    assert "final" in [said.kind for said in house.speech]
    assert not house.status.speaking
    assert house.voice[-1][1:] == (0.0, 0.0)
    assert any(what == "microphone" and "has gone" in why for what, why, _ in house.faults)


def test_missing_weights_are_a_sentence_with_the_line_and_the_loop_goes_on(monkeypatch):
    house = House(monkeypatch)
    house.recogniser.missing = True
    house.run(2.0, loud=True)
    house.run(1.0)
    assert [(what, recovered) for what, _, recovered in house.faults] == [("speech", False)]
    assert "pip install 'vjserver[speech]'" in house.faults[0][1]
    house.recogniser.missing = False
    house.run(40.0)
    assert house.faults[-1] == ("speech", "it is written down again", True)


def test_a_recogniser_that_raises_loses_a_sentence_and_no_more(monkeypatch):
    house = House(monkeypatch)
    house.recogniser.raises = RuntimeError("out of something")
    house.run(1.0, loud=True)
    house.run(1.0)
    assert ("speech", "RuntimeError: out of something", False) in house.faults
    house.recogniser.raises = None
    house.run(1.0, loud=True)
    house.run(1.0)
    assert house.speech[-1].kind == "revised"
    assert ("speech", "it is written down again", True) in house.faults


def test_whoever_steps_in_is_said_once_and_taken_back(monkeypatch):
    house = House(monkeypatch)
    house.recogniser.fault = "AssemblyAI: it does not take the key; the local recogniser goes on"
    house.run(2.0, loud=True)
    house.run(1.0)
    house.recogniser.fault = ""
    house.run(1.0, loud=True)
    rows = [row for row in house.faults if row[0] == "recogniser"]
    assert rows == [("recogniser", "AssemblyAI: it does not take the key; the local recogniser goes on", False),
                    ("recogniser", "it answers again", True)]  # fmt: skip


def test_push_to_talk_hears_nothing_else(monkeypatch):
    house = House(monkeypatch, mode="push")
    house.run(3.0, loud=True)
    assert house.speech == []
    house.wishes = Wishes(on=True, mode="push", talk=True)
    house.run(2.0, loud=True)
    house.wishes = Wishes(on=True, mode="push")
    house.run(0.5, loud=True)
    assert [said.kind for said in house.speech if said.kind != "partial"][:1] == ["final"]
    finals = len(house.speech)
    house.run(3.0, loud=True)
    assert len(house.speech) <= finals + 1


def test_a_recogniser_that_hangs_is_told_and_ends_the_process(monkeypatch):
    with ThreadPoolExecutor(1) as thread:
        house = House(monkeypatch, thread)
        release = []
        house.recogniser.decode = lambda *_: [time.sleep(0.01) for _ in iter(lambda: bool(release), True)]
        house.run(0.3)
        while not house.status.ready:
            house.run(0.3)
        house.run(SLOW_S + 1.5, loud=True)
        assert ("speech", "the recogniser is slow: this machine is too busy", False) in house.faults
        with pytest.raises(WorkerFault, match="no answer for 20 s"):
            house.run(HANGS_S)
        release.append(True)


class Music:
    """The ring of what the ear hears."""

    def __init__(self, clock, loud):
        self.clock, self.loud = clock, loud
        self.at_ns = clock.ns

    def get(self):
        count = round((self.clock.ns - self.at_ns) / NS * 48000)
        self.at_ns = self.clock.ns
        return (
            AudioBlock(np.full((count, 2), 0.2 if self.loud else 0.0, np.float32), 48000, self.clock.ns)
            if count
            else None
        )

    def close(self):
        pass


def test_a_voice_in_the_music_raises_what_is_asked_of_the_microphone(monkeypatch):
    house = House(monkeypatch)
    house.music = Music(house.clock, loud=True)
    house.run(2.0)
    assert house.said.segmenter.raised
    house.music.loud = False
    house.run(2.0)
    assert not house.said.segmenter.raised


def test_the_music_itself_is_heard_where_that_is_wanted(monkeypatch):
    house = House(monkeypatch, source="music")
    house.music = Music(house.clock, loud=True)
    house.run(3.0)
    assert house.speech
    assert house.status.microphone == "closed"


def test_people_of_the_page_are_heard_without_a_microphone(monkeypatch):
    house = House(monkeypatch)
    house.microphone.missing = True
    house.run(0.5)
    sound = (np.full(16000, 0.2) * 32767).astype(np.int16)
    for name in ("guest 1", "guest 2"):
        house.talk.append(
            [
                TalkerSound(house.clock.ns, name, sound[at : at + 4000].tobytes(), at == 12000)
                for at in range(0, 16000, 4000)
            ]
        )
    house.run(1.0)
    finals = [said.talker for said in house.speech if said.kind == "final"]
    assert finals == ["guest 1", "guest 2"]


def test_a_file_is_written_down_with_the_times_of_a_stage():
    sound = np.concatenate([np.zeros(16000), np.full(32000, 0.2), np.zeros(32000)]).astype(np.float32)
    seconds = iter(range(0, 10000))
    rows = list(
        transcribed(
            sound, Recogniser(), Transcriber(lambda text, _: text), lambda: next(seconds) * 0.5, detector=Loudness()
        )
    )  # each decode takes half a second by that clock
    kinds = [said.kind for said, _ in rows]
    assert kinds[-2:] == ["final", "revised"]
    final = next((said, at) for said, at in rows if said.kind == "final")
    assert final[1] == pytest.approx(3.0 + 0.45 + 0.5, abs=0.6)
    assert [at for _, at in rows] == sorted(at for _, at in rows)
