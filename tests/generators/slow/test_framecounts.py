"""How many frames are asked for, and how a shot's clock runs: tables and properties."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjserver.generators.frames import RULES, accents, retimed


@pytest.mark.parametrize("family", RULES)
def test_only_what_is_allowed_is_asked_for_and_it_is_enough(family):
    """Every length in bars at 60 to 200 beats a minute."""
    rule = RULES[family]
    for bpm, bars, meter in product(range(60, 201), (1, 2, 3, 4, 8, 16), (3, 4)):
        seconds = bars * meter * 60.0 / bpm
        counts = rule.counts(seconds)
        assert all(rule.allows(count) for count in counts), (bpm, bars, counts)
        lasts = sum(count - 1 for count in counts) / rule.fps
        assert lasts >= seconds - 1e-6
        assert len(counts) == 1 or sum(count - 1 for count in counts[1:]) / rule.fps < seconds, "one clip too many"


@pytest.mark.parametrize(("family", "allowed", "refused"), [
    ("LTX", (9, 17, 257), (8, 10, 265)), ("Wan", (5, 9, 81), (4, 7, 85)), ("CogVideoX", (9, 17, 49), (13, 57)),
    ("CogVideoX 1.5", (17, 81, 161), (9, 25, 177)), ("AnimateDiff", (8, 16, 32), (7, 33)),
])  # fmt: skip
def test_the_rules_are_those_of_the_makers(family, allowed, refused):
    assert all(RULES[family].allows(count) for count in allowed)
    assert not any(RULES[family].allows(count) for count in refused)


def test_a_length_beyond_the_most_is_made_of_equal_clips():
    assert RULES["Wan"].counts(5.0) == (81,)
    assert RULES["Wan"].counts(5.1) == (45, 45)
    assert RULES["LTX"].counts(0.01) == (9,)


def test_accents_are_where_most_moves():
    motion = np.full(48, 1.0)
    motion[[7, 8, 20, 40]] = 5.0, 9.0, 9.0, 8.0
    assert accents(motion, 8.0) == [8.5 / 8, 20.5 / 8, 40.5 / 8]
    assert accents(motion, 8.0, most=2) == [8.5 / 8, 20.5 / 8]
    assert accents(np.ones(48), 8.0) == []
    assert accents(np.full(48, np.nan), 8.0) == []
    assert accents(np.zeros(2), 8.0) == []


def test_an_accent_falls_on_the_beat_next_to_it():
    at, shown = retimed([1.1, 2.9], [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5], 4.0)
    assert at.tolist() == [0.0, 1.0, 3.0, 4.0]
    assert shown.tolist() == [0.0, 1.1, 2.9, 4.0]
    assert float(np.interp(1.0, at, shown)) == pytest.approx(1.1)


def test_one_that_would_have_to_race_stays():
    at, shown = retimed([0.3], [1.0, 2.0], 4.0)
    assert (at.tolist(), shown.tolist()) == ([0.0, 4.0], [0.0, 4.0])


@given(
    st.lists(st.floats(0.0, 10.0), max_size=12), st.lists(st.floats(0.0, 10.0), max_size=40),
    st.floats(0.1, 10.0), st.floats(1.1, 3.0),
)  # fmt: skip
def test_a_clock_only_runs_on_and_never_races(times, beats, lasts, most):
    at, shown = retimed(times, beats, lasts, most)
    assert (at[0], shown[0], at[-1], shown[-1]) == (0.0, 0.0, lasts, lasts)
    assert all(a < b for row in (at, shown) for a, b in pairwise(row))
    rates = np.diff(shown) / np.diff(at)
    assert rates.min() >= 1 / most - 1e-6
    assert rates.max() <= most + 1e-6
