import json
from pathlib import Path

import pytest

from vjserver.recognisers.phrases import phrase_chooser
from vjserver.speech.words import bare, split

SPOKEN = Path(__file__).parents[2] / "bench/spoken/phrases.json"


@pytest.fixture(scope="module")
def choose():
    pytest.importorskip("wordfreq", reason="wordfreq is not installed")
    return phrase_chooser()


@pytest.mark.parametrize(
    ("said", "phrase"),
    [
        ("not a dog, a cat", "a cat"),
        ("a dog, no wait, a cat", "a cat"),
        (
            "Um, so, can you please show me, like, a cathedral of coral under a violet sea?",
            "a cathedral of coral under a violet sea",
        ),
        ("a lion but not in a cage", "a lion"),
        ("I want a a giant eye in the clouds", "a giant eye in the clouds"),
        ("a dancer, barefoot and golden", "a dancer barefoot and golden"),
        ("Okay. Thank you so much, everybody!", ""),
        ("no", ""),
        ("", ""),
        ("Don't show me fire, show me ice", "ice"),
        ("without any people, just fog", "fog"),
    ],
)
def test_the_part_that_is_a_picture_is_chosen(choose, said, phrase):
    assert choose(said, "en") == phrase


def test_what_is_denied_is_never_chosen(choose):
    for noun in ("dragon", "castle", "whale"):
        for text in (
            f"not a {noun}, a lantern",
            f"a lantern, not a {noun}",
            f"no {noun}, a lantern",
            f"anything but a {noun}",
        ):
            assert noun not in choose(text, "en")


def test_marked_sentences_are_mostly_chosen_as_somebody_else_marked_them(choose):
    rows = json.loads(SPOKEN.read_text("utf-8"))
    right = sum(
        " ".join(map(bare, split(choose(row["said"], "en")))) in {" ".join(map(bare, split(m))) for m in row["marked"]}
        for row in rows
    )
    assert right >= 90, f"{right} of {len(rows)}"


def test_other_languages_are_taken_apart_at_pauses(choose):
    assert choose("eh, una ballena en el mar", "es") == "una ballena en el mar"
    assert choose("ein Wald bei Nacht", "de") == "ein wald bei nacht"
    assert choose("сад", "xx") == "сад"
