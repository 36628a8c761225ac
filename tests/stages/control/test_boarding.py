"""What becomes a card: what is on the wall because somebody said or typed it, once, with the picture of it."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from vjserver.keeping.boards import Boards
from vjserver.keeping.cards import Picture
from vjserver.show.state import ShowState
from vjserver.stages.control.boarding import MOST_WAITING, BoardRoom, Subject, prompts_in
from vjserver.types.errors import KeepingError
from vjserver.types.events import Speech

NS = 1_000_000_000


class House:
    """A wall: the state, what somebody said, and what the picture is now (its upper left number)."""

    def __init__(self, folder):
        self.boards = Boards(folder)
        self.state, self.subject, self.shown, self.seen, self.told = ShowState(), None, 0, [], []
        self.now_ns, self.error = 0, None
        self.room = BoardRoom(
            lambda: self.state,
            lambda: self.subject,
            lambda: np.full((4, 4, 4), self.shown, np.uint8),
            lambda pixels: Picture(b"\xff\xd8%d" % pixels[0, 0, 0], b"small"),
            lambda *row: self.told.append(row),
            lambda phrase, small: self.seen.append((phrase, small)),
            lambda kind, model: f"licence of {kind}",
            self.open,
        )

    def open(self):
        if self.error is not None:
            raise self.error
        return self.boards

    def type(self, text):
        self.state = replace(self.state, texts=(text, *self.state.texts[1:]))
        self.room.hear("/vj/prompt/1/text", (text,))

    def say(self, phrase, sentence="", talker="", ended=True):
        self.state = replace(self.state, texts=(f"{phrase}, ink", *self.state.texts[1:]))
        said = Speech(0, "final", 1, sentence or phrase, phrase, "en", 0.9, 0, talker) if ended else None
        self.subject = Subject(phrase, True, said)

    def play(self, seconds):
        for _ in range(round(seconds / 0.25)):
            self.now_ns += NS // 4
            self.room.look(self.now_ns)

    @property
    def cards(self):
        done = threading.Event()
        self.room._thread.submit(done.set)
        assert done.wait(10)
        boards = self.boards.boards()
        return self.boards.cards(boards[0].id) if boards else []


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.room.close()
    made.boards.close()


def picture(house, card):
    return house.boards.media.read(card.chosen.picture) if card.chosen else None


def test_a_typed_prompt_is_a_card_and_its_picture_comes_when_it_is_of_it(house):
    house.type("a red sea")
    house.shown = 1
    house.play(1)
    (card,) = house.cards
    assert (card.text, card.heard, card.chosen) == ("a red sea", "typed", None)
    house.shown = 2
    house.play(3)
    (card,) = house.cards
    assert picture(house, card) == b"\xff\xd82"
    version = card.chosen
    assert (version.prompt, version.generator, version.licence) == ("a red sea", "pattern", "licence of pattern")
    house.play(10)
    assert len(house.cards[0].versions) == 1
    assert house.seen == []


def test_what_was_said_keeps_the_sentence_and_goes_to_the_gallery_too(house):
    house.say("a red sea", "Um, show me a red sea.", "guest 3f")
    house.play(3)
    (card,) = house.cards
    assert (card.text, card.said, card.heard, card.who, card.language) == (
        "a red sea", "Um, show me a red sea.", "said", "guest 3f", "en",
    )  # fmt: skip
    assert card.chosen.prompt == "a red sea, ink"
    assert house.seen == [("a red sea", b"small")]


def test_who_talks_long_has_the_sentence_when_it_ends_and_its_sound_if_that_is_kept(house):
    house.say("a red sea", ended=False)
    house.play(3)
    (card,) = house.cards
    assert (card.heard, card.said, bool(card.chosen)) == ("said", "", True)
    house.boards.said.put(1, np.zeros(16000, np.float32), 16000)
    house.say("a red sea", "Show me a red sea and nothing else.", "guest 3f")
    house.play(1)
    (card,) = house.cards
    assert (card.said, card.who, card.sound_s) == ("Show me a red sea and nothing else.", "guest 3f", 1.0)
    assert house.boards.media.read(card.sound)[:4] == b"fLaC"
    assert not list((house.boards.folder / "said").iterdir())
    house.boards.delete([card.id])
    assert not list((house.boards.folder / "media").iterdir())


def test_one_that_is_replaced_soon_has_the_picture_of_its_last_moment(house):
    house.say("a cat")
    house.shown = 1
    house.play(1)
    house.say("a dog")
    house.play(0.25)  # the ring shows the old picture still
    house.shown = 2
    house.play(3)
    cat, dog = house.cards
    assert (cat.text, picture(house, cat)) == ("a cat", b"\xff\xd81")
    assert (dog.text, picture(house, dog)) == ("a dog", b"\xff\xd82")


def test_a_preset_s_own_prompt_is_no_card_and_a_prompt_that_comes_back_is_no_second(house):
    house.state = replace(house.state, texts=("the preset's", *house.state.texts[1:]))
    house.play(3)
    assert house.cards == []
    house.type("a red sea")
    house.play(3)
    house.say("a cat")
    house.play(3)
    house.subject = None
    house.state = replace(house.state, texts=("a red sea", *house.state.texts[1:]))
    house.play(3)
    assert [card.text for card in house.cards] == ["a red sea", "a cat"]


@pytest.mark.parametrize("cover", [{"blackout": True}, {"freeze": True}, {"safe": True}, {"fade": 0.2}])
def test_what_lies_over_the_picture_is_waited_for(house, cover):
    plain = house.state
    house.type("a red sea")
    covered = replace(house.state, **cover)
    house.state = covered
    house.play(5)
    assert house.cards[0].chosen is None
    house.state = replace(plain, texts=covered.texts)
    house.play(1)
    assert house.cards[0].chosen is None
    house.shown = 7
    house.play(2)
    assert picture(house, house.cards[0]) == b"\xff\xd87"


def test_who_keeps_nothing_has_no_cards_and_the_page_still_its_gallery(house):
    house.state = replace(house.state, keep=False)
    house.say("a cat")
    house.play(3)
    assert house.cards == []
    assert house.seen == [("a cat", b"small")]


def test_a_pad_stars_the_newest_and_begins_another_board(house):
    house.type("one")
    house.play(3)
    house.room.star()
    assert house.cards[0].star
    house.room.new("second set")
    house.type("two")
    house.play(3)
    assert [card.text for card in house.cards] == ["two"]
    assert house.boards.boards()[0].name == "second set"


def test_what_the_disk_does_not_take_is_told_once_and_again_when_it_is_well(house):
    house.error = KeepingError("the disk is full")
    for text in ("one", "two", "three"):
        house.type(text)
        house.play(3)
        assert house.cards == []
    house.play(1)
    assert house.told == [("board", "the disk is full; the card is left out", False)]
    house.error = None
    house.type("four")
    house.play(3)
    assert [card.text for card in house.cards] == ["four"]
    house.play(1)
    assert house.told[1:] == [("board", "cards are kept again", True)]


def test_a_slow_disk_is_not_waited_for(house):
    gate = threading.Event()
    house.room._thread.submit(gate.wait)
    for i in range(MOST_WAITING + 5):
        house.say(f"phrase {i}")
        house.play(0.25)
    house.play(1)
    assert house.told[0][0] == "board"
    assert "wait for the disk" in house.told[0][1]
    gate.set()
    assert 0 < len(house.cards) <= MOST_WAITING


@pytest.mark.parametrize(
    ("address", "args", "found"),
    [
        ("/vj/prompt/1/text", ("a sea",), ["a sea"]),
        ("/vj/prompt/push", ("a sea",), ["a sea"]),
        ("/vj/prompt/queue", ("a sea\n\n b ",), ["a sea", "b"]),
        ("/vj/prompt/1/text", ("  ",), []),
        ("/vj/prompt/1/weight", (0.5,), []),
        ("/vj/preset/go", ("a sea",), []),
        ("/vj/prompt/next", (), []),
    ],
)
def test_prompts_are_found_in_messages(address, args, found):
    assert prompts_in(address, args) == found
