"""What control does with speech: told to all, done by the desk, taken back by nobody but the hand."""

from dataclasses import replace

import pytest

from vjserver.runtime.status import ListenStatus
from vjserver.show.bank import Bank
from vjserver.show.desk import Desk
from vjserver.show.preset import Preset
from vjserver.show.state import ShowState
from vjserver.show.state import Speech as Wishes
from vjserver.speech.subtitles import Subtitles
from vjserver.stages.control.speaking import SpeechRoom, SpeechRules
from vjserver.types.errors import ConfigError
from vjserver.types.events import Speech
from vjserver.types.features import BeatGrid

NS = 1_000_000_000
BANK = Bank([("one", Preset(name="Neon Tunnel")), ("two", Preset(name="Deep Ocean"))])


class House:
    def __init__(self, **wishes):
        self.told, self.notes, self.hands = [], [], []
        self.desk = Desk(BANK, replace(ShowState(texts=("typed", *[""] * 7)), speech=Wishes(on=True, **wishes)))
        self.desk.tick(0, BeatGrid(), 0)
        self.subtitles = Subtitles(lambda t_ns: t_ns / NS)
        self.room = SpeechRoom(
            self.desk,
            self.receive,
            lambda *row: self.told.append(row),
            lambda *row: self.notes.append(row),
            SpeechRules("computer"),
            count=100,
            subtitles=lambda: self.subtitles,
        )
        self.now_ns = 0

    def receive(self, address, args, origin):
        self.hands.append((address, tuple(args), origin))
        self.desk.receive(self.now_ns, address, args, origin)

    def say(self, text, number=1, kind="final", talker="", wake=False, phrase=""):
        said = Speech(self.now_ns, kind, number, text, phrase, "en", 0.9, self.now_ns, talker, wake=wake)
        self.room.hear(said, self.now_ns)


def test_one_message_holds_all_of_an_event_and_the_parts_are_told_too():
    house = House()
    house.now_ns = 5 * NS
    house.room.switched(True, 2 * NS)
    house.say("A red house.", 7, phrase="a red house", talker="guest 3f")
    assert house.told[0] == (
        "/vj/speech/event",
        7,
        "final",
        "A red house.",
        "a red house",
        "en",
        0.9,
        3.0,
        3.0,
        "guest 3f",
    )
    assert ("/vj/speech/text", "A red house.") in house.told
    assert ("/vj/speech/phrase", "a red house") in house.told
    assert house.desk.state.texts[0] == "a red house"
    assert house.room.on_the_wall == "a red house"
    assert house.room.recent[-1][0] == 101


def test_a_command_is_done_by_a_hand_that_can_be_undone_and_makes_no_picture():
    house = House()
    house.say("Computer, deep ocean", wake=True)
    assert house.hands == [("/vj/preset/go", ("Deep Ocean",), "voice")]
    assert house.desk.state.preset_name == "Deep Ocean"
    house.say("Computer, deep ocean", kind="revised", wake=True)
    assert len(house.hands) == 1
    house.say("Computer, what is this", 2, wake=True)
    assert house.notes[-1] == ("speech", "no command: Computer, what is this")
    house.desk.receive(NS, "/vj/undo", ())


def test_blackout_waits_for_its_second_word_and_the_crowd_gives_no_commands():
    house = House()
    house.say("computer blackout", talker="guest 1", wake=True)
    house.say("computer confirm", 2, wake=True)
    assert house.hands == []
    house.say("computer blackout", 3, wake=True)
    assert house.notes[-1] == ("speech", "blackout? say: computer, confirm")
    house.now_ns = 20 * NS
    house.say("computer confirm", 4, wake=True)
    assert not house.desk.state.blackout  # that was too late
    house.say("computer blackout", 5, wake=True)
    house.say("computer confirm", 6, wake=True)
    assert house.desk.state.blackout
    house.say("computer lights", 7, wake=True)
    assert not house.desk.state.blackout


def test_what_waits_is_shown_and_pushed_or_dropped_by_number():
    house = House(policy="push")
    house.say("one", 1, phrase="one")
    house.say("two", 2, phrase="two", talker="guest 1")
    told = ListenStatus(t_ns=1, microphone="open", ready=True, speaking=True, level=0.4, likely=0.9)
    shown = house.room.snapshot(told)
    assert shown["waiting"] == [[1, "", "one"], [2, "guest 1", "two"]]
    assert (shown["microphone"], shown["speaking"], shown["leaves"]) == ("open", True, "")
    house.room.push((2,), 0)
    assert house.desk.state.texts[0] == "two"
    house.room.drop(())
    with pytest.raises(ConfigError, match="no such phrase waits"):
        house.room.push((), 0)


def test_what_comes_when_speech_is_off_is_left_and_a_successor_goes_on():
    house = House()
    house.say("a red house", phrase="a red house")
    house.desk.state = replace(house.desk.state, speech=Wishes(on=False))
    count = len(house.told)
    house.say("a blue house", 2, phrase="a blue house")
    assert len(house.told) == count
    other = House()
    other.room.resume(house.room.memory)
    assert other.room.memory == house.room.memory


def test_where_the_sound_goes_is_said():
    house = House()
    assert "leaves it as text only" in house.room.privacy
    away = SpeechRoom(house.desk, house.receive, lambda *_: None, lambda *_: None, SpeechRules(leaves="AssemblyAI"))
    assert away.privacy.startswith("What you say leaves this machine: AssemblyAI")
    assert away.snapshot(ListenStatus())["leaves"] == "AssemblyAI"


def test_subtitles_of_a_take_hear_it_too():
    house = House()
    house.say("A red house.", 1, "revised")
    assert "A red house." in house.subtitles.due(10 * NS, ends=True)
