import json
from pathlib import Path

import pytest

from vjserver.speech.commands import after_wake, command_of, nearly_wakes

PRESETS = ("Neon Tunnel", "Deep Ocean", "Liquid Gold", "Lava", "Next Level")
SPOKEN = Path(__file__).parents[2] / "bench/spoken/commands.json"


@pytest.mark.parametrize(
    ("text", "address", "args"),
    [
        ("Computer, next.", "/vj/preset/next", ()),
        ("computer next preset please", "/vj/preset/next", ()),
        ("Hey computer, go back to the previous one.", "/vj/preset/prev", ()),
        ("Computer: a bit slower", "/vj/param/speed/inc", (-0.1,)),
        ("Computers, faster!", "/vj/param/speed/inc", (0.1,)),
        ("Computer, freeze", "/vj/master/freeze", (True,)),
        ("computer go on", "/vj/master/freeze", (False,)),
        ("computer lights", "/vj/master/blackout", (False,)),
        ("computer undo that", "/vj/undo", ()),
        ("Computer, preset Neon Tunnel.", "/vj/preset/go", ("Neon Tunnel",)),
        ("computer, deep oceans", "/vj/preset/go", ("Deep Ocean",)),
        ("computer play lava", "/vj/preset/go", ("Lava",)),
    ],
)
def test_what_is_asked_for_after_the_wake_word_is_a_message(text, address, args):
    asked = command_of(text, "computer", PRESETS)
    assert (asked.address, asked.args, asked.confirm) == (address, args, False)


@pytest.mark.parametrize("text", ["Computer, blackout.", "computer panic", "computer go black now please"])
def test_what_does_much_asks_for_a_second_word(text):
    assert command_of(text, "computer", PRESETS).confirm


@pytest.mark.parametrize(
    "text",
    [
        "the computer says next",
        "next preset",
        "Computer, next is what he said to the whole room",
        "computer",
        "computer games are fun",
        "my computer froze and then blackout",
        "so then he hit blackout and the whole room went quiet",
    ],
)
def test_talk_is_no_command(text):
    assert command_of(text, "computer", PRESETS) is None


def test_marked_talk_about_commands_holds_none_and_all_that_is_meant_is_found():
    rows = json.loads(SPOKEN.read_text("utf-8"))
    assert [text for text in rows["talk"] if command_of(text, "computer", PRESETS)] == []
    missed = [row["said"] for row in rows["with_wake"] if command_of(row["said"], "computer", PRESETS) is None]
    assert missed == []


def test_a_wake_word_may_be_two_words_and_none_means_no_commands():
    assert after_wake("Hey wall, next", "hey wall") == ["next"]
    assert after_wake("hey next", "hey wall") is None
    assert command_of("computer next", "", PRESETS) is None
    assert after_wake("", "computer") is None


@pytest.mark.parametrize(
    ("text", "corrected"),
    [
        ("Compare, next", "computer next"),
        ("Camper go faster", "computer go faster"),
        ("computer, next", ""),
        ("A small wooden boat", ""),
        ("compare", ""),
        ("", ""),
    ],
)
def test_what_is_nearly_the_wake_word_is_told_from_what_is_not(text, corrected):
    assert nearly_wakes(text, "computer") == corrected
