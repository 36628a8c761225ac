"""Walks through noise stay Gaussian, arrive where they should, and do not depend on how often they are looked at."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjserver.easing.ease import EASES, ease
from vjserver.latent.noise import begin, step
from vjserver.latent.slerp import angle_between, slerp, slerp_weights

SHAPE = (5, 1, 4, 24, 24)


def draw(seed):
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


@given(st.floats(0, 1))
def test_slerp_keeps_the_spread_that_a_straight_line_loses(share):
    a, b = draw(1), draw(2)
    assert slerp(a, b, share).std() == pytest.approx(1.0, abs=0.03)
    if abs(share - 0.5) < 0.05:
        assert ((1 - share) * a + share * b).std() < 0.75


def test_slerp_begins_and_ends_where_it_should():
    a, b = draw(1), draw(2)
    np.testing.assert_allclose(slerp(a, b, 0.0), a, atol=1e-6)
    np.testing.assert_allclose(slerp(a, b, 1.0), b, atol=1e-6)
    np.testing.assert_allclose(slerp(a, a, 0.3), a, atol=1e-6)
    assert angle_between(a, np.zeros_like(a)) == 0.0


@given(st.floats(0.2, 3.0), st.floats(0, 1))
def test_weights_of_a_walk_on_the_sphere_keep_the_length(angle, share):
    a, b = slerp_weights(angle, share)
    assert a * a + b * b + 2 * a * b * math.cos(angle) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", EASES)
def test_eases_begin_at_nothing_end_at_all_and_never_turn_back(name):
    values = [ease(x, name) for x in np.linspace(-0.2, 1.2, 60)]
    assert values[0] == 0.0
    assert values[-1] == 1.0
    assert values == sorted(values)


def test_a_walk_stands_still_until_it_is_turned():
    walk = begin(7, draw)
    for _ in range(10):
        walk = step(walk, 7, 0.0, 0.03, 0.0, "smooth", draw)
    np.testing.assert_array_equal(walk.value(), draw(7))


@given(st.floats(0.1, 5.0))
def test_each_turn_goes_as_far_as_it_says(degrees):
    walk = step(begin(7, draw), 7, math.radians(degrees), 0.03, 0.0, "smooth", draw)
    for _ in range(40):
        before = walk.value()
        passed = walk.share + math.radians(degrees) / walk.angle >= 1.0
        walk = step(walk, 7, math.radians(degrees), 0.03, 0.0, "smooth", draw)
        turned = math.degrees(angle_between(before, walk.value()))
        if not passed:  # at a corner of the walk the way bends
            assert turned == pytest.approx(degrees, rel=0.05, abs=0.05)
        assert walk.value().std() == pytest.approx(1.0, abs=0.05)


def test_a_long_walk_comes_to_new_places():
    walk, seen = begin(7, draw), []
    for i in range(400):
        walk = step(walk, 7, math.radians(4.0), 0.03, 0.0, "smooth", draw)
        if i % 100 == 99:
            seen.append(walk.value())
    for i, a in enumerate(seen):
        for b in seen[i + 1 :]:
            assert angle_between(a, b) > math.radians(60)


@pytest.mark.parametrize("fps", [10, 30, 97])
def test_a_new_seed_is_reached_after_the_travel_time_whatever_the_frame_rate(fps):
    walk = begin(1, draw)
    for i in range(2 * fps - 1):
        walk = step(walk, 2, 0.1, 1 / fps, 2.0, "smooth", draw)
        assert walk.value().std() == pytest.approx(1.0, abs=0.03)
        if i == fps - 1:
            assert angle_between(walk.value(), draw(2)) == pytest.approx(walk.angle / 2, abs=0.02)
    for _ in range(2):
        walk = step(walk, 2, 0.0, 1 / fps, 2.0, "smooth", draw)
    np.testing.assert_allclose(walk.value(), draw(2), atol=1e-5)


def test_without_travel_a_new_seed_is_there_at_once_and_from_the_way_it_starts_where_it_is():
    assert np.array_equal(step(begin(1, draw), 2, 0.0, 0.03, 0.0, "smooth", draw).value(), draw(2))
    walk = begin(1, draw)
    for _ in range(15):
        walk = step(walk, 2, 0.0, 1 / 30, 1.0, "linear", draw)
    middle = walk.value()
    walk = step(walk, 3, 0.0, 0.0, 1.0, "linear", draw)
    np.testing.assert_allclose(walk.value(), middle, atol=1e-5)
