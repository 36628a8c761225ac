import itertools

import pytest

from vjserver.speech.guards import echoes, is_made_up, longest_repeat, loops, told
from vjserver.speech.words import Agreement, Hypothesis


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[Music] a cat (laughter)", "a cat"),
        ("♪ la la ♪", ""),
        ("*applause*", ""),
        ("Yes... go", "Yes go"),
        ("A cat.", "A cat."),
    ],
)
def test_what_is_no_speech_is_left_out(text, shown):
    assert told(text) == shown


def test_meant_repeats_stay_and_loops_go():
    assert not loops("No no no no", 1.4)
    assert not loops("go go go", 0.9)
    assert not loops("make it darker, make it darker", 2.5)
    assert loops("no " * 12, 1.5)
    assert loops("a silver web between the branches " * 3, 3.0)
    assert loops(
        "Blue lightning strikes a tower in the middle of the sea. Blue lightning strikes a tower in the middle", 3.2
    )
    assert not loops("", 1.0)


def test_the_longest_repeat_is_counted():
    assert longest_repeat(["a", "b", "a", "b", "a", "b", "c"]) == (3, 2)
    assert longest_repeat(["x"]) == (1, 0)


def test_an_echo_of_what_was_hinted_at_is_known():
    hints = ("Alice", "Bob", "Charlie Parker")
    assert echoes("Alice, Bob, Charlie Parker.", hints)
    assert echoes("so Bob Charlie Parker", hints)
    assert not echoes("Alice meets Bob in a forest", hints)
    assert not echoes("anything", ("Alice",))


@pytest.mark.parametrize(
    ("text", "confidence", "silence", "voice_s", "made_up"),
    [
        ("A small wooden boat.", 0.8, 0.0, 1.5, False),
        ("Yes, that works.", 0.7, 0.1, 0.7, False),
        ("No no no no.", 0.8, 0.0, 1.2, False),
        ("", 0.9, 0.0, 1.0, True),
        ("[Music]", 0.9, 0.0, 2.0, True),
        ("Thanks for watching!", 0.55, 0.2, 0.6, True),
        ("you", 0.4, 0.7, 0.5, True),
        ("Thank you.", 0.9, 0.05, 0.8, False),
        ("A text that is far too long for so little voice, and goes on and on for ever", 0.9, 0.0, 0.5, True),
        ("blurb", 0.2, 0.0, 2.0, True),
        ("something said", 0.45, 0.9, 2.0, True),
        ("anything", 0.9, 0.0, 0.05, True),
    ],
)
def test_the_sound_decides_whether_anything_was_said(text, confidence, silence, voice_s, made_up):
    assert is_made_up(Hypothesis(text, "en", confidence, silence), voice_s) is made_up


def test_what_two_answers_agree_on_is_kept_and_grows():
    said = Agreement()
    said.hear("A small")
    assert (said.text, said.agreed) == ("A small", "")
    said.hear("a small, wooden boot")
    assert said.agreed == "a small,"
    said.hear("a small, wooden boat drifts")
    assert said.agreed == "a small, wooden"
    said.hear("a tall")  # it changes its mind: what was agreed on stays
    assert said.agreed == "a small, wooden"


def test_text_never_shrinks_in_a_pause():
    said = Agreement()
    shown = []
    for text in ("a red", "a red house", "a red", "", "a red house on a hill"):
        said.hear(text)
        shown.append(said.text)
    assert all(len(later.split()) >= len(sooner.split()) for sooner, later in itertools.pairwise(shown))
    assert shown[-1] == "a red house on a hill"
