"""Prompts on their way: shares sum to one, arrive in time, and nothing jumps."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known import Mapper, PromptTravel

from vjserver.show.addresses import COMMON
from vjserver.show.state import ShowState, Travel
from vjserver.show.travel import spread
from vjserver.types.features import silent_features

TEXTS = st.lists(st.sampled_from(["", "ocean", "fire", "moon", "moss"]), min_size=8, max_size=8)


def state(texts, **more):
    return ShowState(texts=tuple(texts), weights=(1.0,) * 8, travel=Travel(seconds=1.0, ease="linear"), **more)


def of(*texts):
    return [*texts, *[""] * (8 - len(texts))]


def test_a_text_gives_way_to_the_next_in_the_time_it_has():
    travel = PromptTravel()
    assert spread(travel(state(of("ocean")), 0.0, 1.0)) == (("ocean", 1.0),)
    seen = [dict(spread(travel(state(of("fire")), 0.1, 1.0))) for _ in range(12)]
    assert seen[0] == {"ocean": pytest.approx(1.0)}
    assert seen[5] == {"ocean": pytest.approx(0.5), "fire": pytest.approx(0.5)}
    assert seen[11] == {"fire": 1.0}
    rising = [row.get("fire", 0.0) for row in seen]
    assert rising == sorted(rising)


def test_a_new_slot_rises_from_nothing_and_an_emptied_one_falls_to_it():
    travel = PromptTravel()
    travel(state(of("ocean")), 0.0, 1.0)
    for _ in range(6):
        rows = dict(spread(travel(state(of("", "fire")), 0.1, 1.0)))
    assert rows == {"ocean": pytest.approx(0.5), "fire": pytest.approx(0.5)}


def test_a_change_on_the_way_starts_from_where_the_slot_is():
    travel = PromptTravel()
    travel(state(of("ocean")), 0.0, 1.0)
    for _ in range(6):
        before = dict(spread(travel(state(of("fire")), 0.1, 1.0)))
    after = dict(spread(travel(state(of("moon")), 0.1, 1.0)))
    assert after == pytest.approx(before)


def test_without_travel_time_a_change_is_there_at_once():
    travel = PromptTravel()
    travel(state(of("ocean")), 0.0, 0.0)
    assert spread(travel(state(of("fire")), 0.01, 0.0)) == (("fire", 1.0),)


def test_weights_travel_with_a_preset_but_follow_the_hand_at_once():
    travel = PromptTravel()
    loud = state(of("ocean"))
    travel(loud, 0.0, 1.0)
    faded = replace(loud, weights=(0.2,) * 8)
    assert spread(travel(faded, 0.1, 1.0)) == (("ocean", pytest.approx(0.2)),)
    other = replace(state(of("fire"), preset=3, preset_name="x"), weights=(1.0,) * 8)
    travel(other, 0.1, 1.0)
    for _ in range(5):
        slots = travel(other, 0.1, 1.0)
    assert slots[0][1] == pytest.approx(0.6)


@given(st.lists(st.tuples(TEXTS, st.floats(0.0, 0.4)), min_size=1, max_size=12))
def test_shares_always_sum_to_one_and_never_gather_for_ever(changes):
    travel = PromptTravel()
    for texts, seconds in changes:
        for shares, _ in travel(state(texts), seconds, 0.5):
            assert sum(shares.values()) == pytest.approx(1.0)
            assert all(share >= 0.0 for share in shares.values())
            assert len(shares) <= 5


def test_beats_count_by_the_tempo_and_outrank_seconds():
    assert Travel(beats=4, seconds=1.0).lasts_s(0.5) == 2.0
    assert Travel(seconds=1.5).lasts_s(0.5) == 1.5
    assert Travel().lasts_s(0.5) == 0.0


def test_a_request_names_decks_size_negative_and_travel():
    texts = ("a", "b", "", "", "c", "", "", "d")
    given_state = ShowState(texts=texts, weights=(1.0, 0.5, 0, 0, 1.0, 0, 0, 0.25), negative="blur", size="640x360",
                            input="feedback", travel=Travel(beats=4))  # fmt: skip
    request = Mapper()(given_state, silent_features(0), 0, 0.0, (1280, 720))
    assert request.text.decks == ((("a", 1.0), ("b", 0.5)), (("c", 1.0), ("d", 0.25)))
    assert request.text.prompts == (("a", 1.0), ("b", 0.5), ("c", 1.0), ("d", 0.25))
    assert (request.text.negative, request.inference_size, request.feedback, request.travel_s) == (
        "blur",
        (640, 360),
        True,
        2.0,
    )
    assert request.params.keys() == COMMON.keys()
