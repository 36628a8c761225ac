import pytest

from vjserver.app.listen import safety_of
from vjserver.speech.safety import MASK, SafetyList

LIST = SafetyList(["# a remark", "", "damn", "go away now", "STRAẞE", "puño"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Damn, a cat", f"{MASK}, a cat"),
        ("ＤＡＭＮ it", f"{MASK} it"),
        ("condamned to Damnville", "condamned to Damnville"),
        ("please Go  away, NOW!", f"please {MASK}  {MASK}, {MASK}!"),
        ("die strasse", f"die {MASK}"),
        ("un pun\u0303o", f"un {MASK}"),
        ("go away", "go away"),
        ("", ""),
    ],
)
def test_whole_words_are_masked_however_they_are_written(text, shown):
    assert LIST(text) == (shown, MASK in shown)


def test_ours_lets_a_town_through_and_takes_more():
    ours = safety_of(["mandala"])
    assert ours("Scunthorpe at night, cockpit, grape, Dickens, assassin, Essex, Penistone")[1] is False
    assert ours("a fucking mandala") == (f"a {MASK} {MASK}", True)


def test_plurals_possessives_and_phrases_are_refused_too():
    ours = safety_of([])
    for text in (
        "a hundred kikes in the rain",
        "spics and gooks",
        "for fuck's sake",
        "kill yourself",
        "sieg heil",
        "fuckin hell",
        "bitches",
        "dickheads",
    ):
        assert ours(text)[1], text


def test_nothing_is_refused_by_an_empty_list():
    assert SafetyList([])("anything") == ("anything", False)
