from dataclasses import replace

import pytest

from vjserver.show.bank import Bank
from vjserver.show.desk import OF_SPEECH, Desk
from vjserver.show.spoken import BLEND, Confirming, Spoken, prompt_of
from vjserver.show.state import ShowState
from vjserver.show.state import Speech as Wishes
from vjserver.types.errors import ConfigError
from vjserver.types.events import Speech
from vjserver.types.features import BeatGrid

NS = 1_000_000_000
GRID = BeatGrid(0, 0, 0.5, 0, 4, 0.9, True)


class Stage:
    """A desk, what speaks to it, and the time; beats come every half second."""

    def __init__(self, grid=GRID, **wishes):
        texts = ("typed", *[""] * 7)
        self.desk = Desk(Bank(()), replace(ShowState(texts=texts), speech=Wishes(on=True, **wishes)))
        self.spoken, self.grid, self.now_ns = Spoken(), grid, round(0.1 * NS)
        self.desk.tick(self.now_ns, grid, 0)

    def say(self, phrase, number=1, kind="final", talker=""):
        said = Speech(self.now_ns, kind, number, phrase, phrase, "en", 0.9, self.now_ns, talker)
        self.send(self.spoken.hear(said, self.desk.state, self.now_ns))

    def send(self, rows):
        for address, args in rows:
            self.desk.receive(self.now_ns, address, args, OF_SPEECH)

    def wait(self, seconds):
        end_ns = self.now_ns + round(seconds * NS)
        while self.now_ns < end_ns:
            self.now_ns += NS // 50
            self.send(self.spoken.tick(self.desk.state, self.grid, self.now_ns))
            self.desk.tick(self.now_ns, self.grid, 0)

    @property
    def texts(self):
        return self.desk.state.texts


def test_a_phrase_is_prompt_1_with_the_next_bar():
    stage = Stage()
    stage.say("a red house")
    assert stage.texts[0] == "typed"
    stage.wait(1.7)
    assert stage.texts[0] == "typed"
    stage.wait(0.4)  # the bar is at 2 s
    assert stage.texts[0] == "a red house"


def test_without_a_beat_it_is_there_at_once():
    stage = Stage(BeatGrid())
    stage.say("a red house")
    assert stage.texts[0] == "a red house"


def test_the_hand_s_own_quantise_counts_where_there_is_one():
    stage = Stage()
    stage.desk.receive(stage.now_ns, "/vj/quantise", ("beat",))
    stage.say("a red house")
    stage.wait(0.6)
    assert stage.texts[0] == "a red house"


def test_the_typed_prompt_is_back_when_nobody_spoke_for_a_while():
    stage = Stage(hold_s=5.0)
    for number, phrase in enumerate(("one", "two", "three"), 1):
        stage.say(phrase, number)
        stage.wait(0.3)
    stage.wait(2.5)
    assert stage.texts[0] == "three"
    stage.wait(6.0)
    assert stage.texts[0] == "typed"


def test_with_hold_0_it_stays():
    stage = Stage(hold_s=0.0)
    stage.say("one")
    stage.wait(30.0)
    assert stage.texts[0] == "one"


def test_a_hand_that_types_meanwhile_is_not_overruled():
    stage = Stage(hold_s=4.0)
    stage.say("one")
    stage.wait(2.5)
    stage.desk.receive(stage.now_ns, "/vj/prompt/1/text", ("by hand",), "osc")
    stage.wait(8.0)
    assert stage.texts[0] == "by hand"
    stage.say("two", 2)
    stage.wait(3.0)
    assert stage.texts[0] == "two"
    stage.wait(8.0)
    assert stage.texts[0] == "by hand"


def test_a_revised_text_restarts_the_picture_only_if_the_phrase_changed():
    stage = Stage(BeatGrid())
    stage.say("a red house")
    revision = stage.desk.state.revision
    stage.say("a red house", kind="revised")
    assert stage.desk.state.revision == revision
    stage.say("a red horse", kind="revised")
    assert stage.texts[0] == "a red horse"


def test_the_queue_takes_a_sentence_once():
    stage = Stage(policy="queue")
    stage.say("one", 1, "partial")
    stage.say("one", 1)
    stage.say("one two", 1, "revised")
    stage.say("three", 2)
    assert stage.desk.state.queue == ("one", "three")
    assert stage.texts[0] == "typed"


def test_a_blend_fades_with_the_bars():
    stage = Stage(policy="blend", bars=4)
    stage.say("a red house")
    stage.wait(2.1)
    assert stage.texts[BLEND] == "a red house"
    assert stage.desk.state.weights[BLEND] == pytest.approx(1.0, abs=0.05)
    assert stage.texts[0] == "typed"
    stage.wait(4.0)
    assert stage.desk.state.weights[BLEND] == pytest.approx(0.5, abs=0.05)
    stage.wait(5.0)
    assert stage.desk.state.weights[BLEND] == 0.0
    assert stage.spoken.memory.fades == ""


def test_a_phrase_waits_for_a_hand_where_it_shall():
    stage = Stage(BeatGrid(), policy="push")
    stage.say("one", 1)
    stage.say("one more", 1, "revised")
    stage.say("two", 2)
    assert [one.phrase for one in stage.spoken.waiting] == ["one more", "two"]
    assert stage.texts[0] == "typed"
    stage.send(stage.spoken.push(1, stage.desk.state, stage.now_ns))
    assert stage.texts[0] == "one more"
    stage.spoken.drop(None)
    assert stage.spoken.waiting == ()
    with pytest.raises(ConfigError, match="no such phrase waits; waiting: none"):
        stage.spoken.push(None, stage.desk.state, 0)


def test_the_crowd_waits_and_the_microphone_does_not():
    stage = Stage(BeatGrid(), crowd=True)
    stage.say("of the crowd", 1, talker="guest 1")
    stage.say("of the stage", 2)
    assert stage.texts[0] == "of the stage"
    assert [(one.talker, one.phrase) for one in stage.spoken.waiting] == [("guest 1", "of the crowd")]
    for number in range(3, 60):
        stage.say(f"phrase {number}", number, talker="guest 2")
    assert len(stage.spoken.waiting) == 32


def test_a_style_is_put_round_the_phrase():
    assert prompt_of("a cat", "{phrase}, oil painting") == "a cat, oil painting"
    assert prompt_of("a cat", "oil painting") == "a cat, oil painting"
    assert prompt_of("a cat", " ") == "a cat"
    assert len(prompt_of("a cat" * 900, "{phrase}{phrase}")) == 2000
    stage = Stage(BeatGrid())
    stage.desk.receive(0, "/vj/speech/style", ("an etching of {phrase}",))
    stage.say("a cat")
    assert stage.texts[0] == "an etching of a cat"


def test_who_comes_after_goes_on():
    stage = Stage(hold_s=4.0)
    stage.say("one")
    stage.wait(2.5)
    stage.spoken = Spoken(stage.spoken.memory)
    stage.wait(5.0)
    assert stage.texts[0] == "typed"


def test_a_prompt_that_counts_nothing_counts_while_it_is_spoken_and_no_longer():
    stage = Stage(hold_s=4.0)
    stage.desk.receive(0, "/vj/prompt/1/weight", (0.0,))
    stage.say("a cat")
    stage.wait(0.5)
    assert stage.desk.state.weights[0] == 0.0  # it waits for the bar, and the typed one is not shown meanwhile
    stage.wait(1.6)
    assert (stage.texts[0], stage.desk.state.weights[0]) == ("a cat", 1.0)
    stage.wait(6.0)
    assert (stage.texts[0], stage.desk.state.weights[0]) == ("typed", 0.0)


def test_a_late_revised_text_does_not_take_the_picture_back():
    stage = Stage(BeatGrid())
    stage.say("a red cat", 1)
    stage.say("a blue dog", 2)
    stage.say("a red cat", 1, "revised")
    stage.say("a red hat", 1, "revised")
    assert stage.texts[0] == "a blue dog"


def test_what_a_hand_dropped_or_let_through_does_not_come_back():
    stage = Stage(BeatGrid(), policy="push")
    stage.say("one", 1)
    stage.spoken.drop(1)
    stage.say("one more", 1, "revised")
    assert stage.spoken.waiting == ()
    stage.say("two", 2)
    stage.say("", 2, "revised")
    assert stage.spoken.waiting == ()  # it was no picture after all


def test_somebody_who_speaks_while_the_typed_prompt_comes_back_does_not_lose_it():
    stage = Stage(hold_s=2.5)
    stage.say("cat")
    stage.wait(3.0)  # it has been sent, and waits for its bar at 4 s
    stage.say("dog", 2)
    stage.wait(1.5)
    assert stage.texts[0] == "dog"
    stage.wait(6.0)
    assert stage.texts[0] == "typed"


def test_what_was_typed_while_a_phrase_waited_for_its_bar_comes_back():
    stage = Stage(hold_s=4.0)
    stage.say("cat")
    stage.desk.receive(stage.now_ns, "/vj/prompt/1/text", ("new",), "trigger")
    stage.wait(2.5)
    assert stage.texts[0] == "cat"
    stage.wait(6.0)
    assert stage.texts[0] == "new"


@pytest.mark.parametrize(("address", "args"), [("/vj/prompt/1/text", ("by hand",)), ("/vj/snapshot/recall", (1,))])
def test_a_hand_that_acts_while_a_phrase_waits_outranks_it(address, args):
    stage = Stage()
    stage.desk.receive(stage.now_ns, "/vj/prompt/1/text", ("kept",), "osc")
    stage.desk.receive(stage.now_ns, "/vj/snapshot/store", (1,), "osc")
    stage.say("cat")
    stage.desk.receive(stage.now_ns, address, args, "osc")
    stage.wait(3.0)
    assert stage.texts[0] in ("by hand", "kept")


def test_a_hold_that_is_shorter_than_the_wait_for_the_bar_loses_nothing():
    stage = Stage(hold_s=0.5)
    stage.say("cat")
    stage.wait(1.95)
    assert stage.texts[0] == "cat"
    stage.wait(2.5)
    assert stage.texts[0] == "typed"


def test_a_language_that_is_none_is_refused_with_what_is_allowed():
    stage = Stage()
    with pytest.raises(ConfigError, match="auto, or a code such as en, es, de, fr, it, ja: got 'english'"):
        stage.desk.receive(0, "/vj/speech/language", ("english",))
    stage.desk.receive(0, "/vj/speech/language", ("DE",))


def test_a_fade_leaves_undo_to_the_hands():
    stage = Stage(policy="blend", bars=4)
    stage.say("a red house")
    stage.wait(2.1)
    before = stage.desk.history.memory(200)
    stage.wait(6.0)
    assert stage.desk.history.memory(200) == before


def test_a_hold_that_is_made_shorter_counts_at_once():
    stage = Stage(BeatGrid(), hold_s=600.0)
    stage.say("cat")
    stage.wait(3.0)
    stage.desk.receive(stage.now_ns, "/vj/speech/hold_s", (2.0,))
    stage.wait(0.1)
    assert stage.texts[0] == "typed"


def test_a_command_waits_ten_seconds_for_its_second_word():
    one = Confirming()
    assert one.confirm(0) is None
    one.ask("/vj/master/panic", (), 0)
    assert one.confirm(9 * NS) == ("/vj/master/panic", ())
    assert one.confirm(9 * NS) is None
    one.ask("/vj/master/panic", (), 0)
    assert one.confirm(11 * NS) is None
