import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjserver.latent.slerp import angle_between
from vjserver.latent.walks import (
    LOOP,
    SEEDS,
    WALK,
    directions,
    from_seed_to_seed,
    journey,
    loop,
    pulled,
    truncated,
    walked,
    weighed,
)

SIZE = 16384
SEED = st.integers(0, 2**31 - 1)


def draw(seed):
    return np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)


def spread(z):
    return float(np.sqrt(np.mean(z.astype(float) ** 2)))


@given(SEED, st.floats(0.0, 1.0))
def test_a_loop_stays_gaussian_and_closes(seed, share):
    z = loop(draw, seed, share)
    assert spread(z) == pytest.approx(1.0, abs=0.04)
    assert np.allclose(loop(draw, seed, share + 1.0), z, atol=1e-4)
    assert np.allclose(loop(draw, seed, share - 3.0), z, atol=1e-4)


def test_a_loop_moves_evenly_and_never_stands():
    points = [loop(draw, 7, i / 64) for i in range(65)]
    steps = [angle_between(a, b) for a, b in itertools.pairwise(points)]
    assert max(steps) < 1.1 * min(steps)
    assert min(steps) > 0.02
    assert np.allclose(points[0], points[-1], atol=1e-5), "the step over the seam is one like all others"


@given(SEED, st.floats(0.0, 20.0))
def test_from_seed_to_seed_stays_gaussian_and_meets_each_seed(seed, way):
    z = from_seed_to_seed(draw, seed, way)
    assert spread(z) == pytest.approx(1.0, abs=0.04)
    step = math.floor(way)
    assert np.allclose(from_seed_to_seed(draw, seed, float(step)), draw((seed + step) & (2**31 - 1)), atol=1e-5)


def test_from_seed_to_seed_keeps_one_speed():
    points = [from_seed_to_seed(draw, 3, i / 32) for i in range(97)]
    steps = [angle_between(a, b) for a, b in itertools.pairwise(points)]
    assert max(steps) < 1.05 * min(steps)


@pytest.mark.parametrize("closed", [False, True])
def test_a_journey_goes_at_one_speed_whatever_lies_between_its_points(closed):
    near = pulled(draw(1), draw(2), 0.2)
    points = [draw(1), near, draw(3), draw(4)]
    way = [journey(points, i / 200, closed) for i in range(201)]
    steps = [angle_between(a, b) for a, b in itertools.pairwise(way)]
    inside = sorted(steps)[5:]  # a step across a corner is cut short
    assert max(inside) < 1.02 * min(inside)
    assert np.allclose(way[0], points[0])
    assert np.allclose(way[-1], points[0] if closed else points[-1], atol=1e-4)


def test_a_journey_of_one_point_stands():
    z = draw(1)
    assert journey([z], 0.7) is z


@given(SEED, st.lists(st.floats(0.0, 3.0), min_size=12, max_size=12))
def test_what_bands_or_pitch_classes_weigh_stays_gaussian(seed, weights):
    z = weighed(draw(seed), directions(draw, 12), weights)
    assert spread(z) == pytest.approx(1.0, abs=0.06)


def test_a_louder_band_leans_further_to_its_direction_and_none_changes_nothing():
    rows, base = directions(draw, 6), draw(5)
    assert np.array_equal(weighed(base, rows, [0.0] * 6), base)
    angles = [angle_between(weighed(base, rows, [0.0, 0.0, w, 0.0, 0.0, 0.0]), rows[2]) for w in (0.0, 0.5, 1.0, 3.0)]
    assert angles == sorted(angles, reverse=True)
    assert [angle_between(rows[i], rows[j]) > 1.5 for i in range(6) for j in range(i)] == [True] * 15


@given(SEED, st.floats(-1.0, 2.0))
def test_a_pull_stays_on_the_sphere_and_ends_at_its_target(seed, amount):
    here, there = draw(seed), draw(seed ^ 1)
    z = pulled(here, there, amount)
    assert spread(z) == pytest.approx(1.0, abs=0.04)
    if amount <= 0.0:
        assert np.allclose(z, here)
    if amount >= 1.0:
        assert np.allclose(z, there, atol=1e-5)


@given(SEED, st.floats(0.0, 1.0))
def test_truncation_moves_to_the_middle(seed, amount):
    z, middle = draw(seed), np.full(SIZE, 0.25, np.float32)
    assert spread(truncated(z, amount)) == pytest.approx(amount * spread(z), abs=1e-5)
    assert np.allclose(truncated(z, amount, middle) - middle, amount * (z - middle), atol=1e-5)


def test_the_knobs_say_how_it_walks():
    own = {knob.name: knob.default for knob in WALK}
    assert walked(own, 1, 3.0, draw) is None, "still: as it always was"
    here = walked({**own, "walk": LOOP, "walk_beats": 16.0}, 1, 4.0, draw)
    assert np.allclose(here, walked({**own, "walk": LOOP, "walk_beats": 16.0}, 1, 20.0, draw), atol=1e-4)
    assert np.allclose(here, loop(draw, 1, 0.25))
    assert np.allclose(walked({**own, "walk": SEEDS, "walk_beats": 4.0}, 1, 8.0, draw), draw(3), atol=1e-5)
    aside = walked({**own, "pull": 0.5}, 1, 0.0, draw)
    assert 0.3 < angle_between(aside, draw(1)) < 1.3
    assert walked({}, 1, 0.0, draw) is None
