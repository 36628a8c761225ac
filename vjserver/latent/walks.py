"""Walks through latents: loops that close, journeys from seed to seed, sums that music weighs, pulls and truncation.

Latents are float32 arrays of any shape that look like Gaussian noise, and so do the results: whatever is mixed keeps
its spread, since models expect that. ``draw`` makes the noise of a seed. All of these are functions of where they are
asked for, without memory: a film may begin anywhere.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vjserver.latent.noise import MASK, STRIDE
from vjserver.latent.slerp import angle_between, slerp
from vjserver.types.knobs import Parameter

Array = NDArray[np.float32]
Draw = Callable[[int], Array]
HARMONICS = (1.0, 0.55, 0.3)
"""How far a loop swings in its first, second and third turn."""
PULL_SEED = 0x5EED
DIRECTION_SEED = 0x0D1

WALK = (
    Parameter(
        "walk", default=0.0, type="choice", choices=("still", "loop", "seeds"), group="latent",
        doc="how the latent walks: not, round a loop that closes, or from seed to seed",
    ),
    Parameter(
        "walk_beats", 1.0, 256.0, 32.0, "beats", "beats that a loop lasts, or the way from seed to seed", type="int",
        curve="log", group="latent",
    ),
    Parameter("pull", 0.0, 1.0, 0.0, "", "how far the latent is pulled aside; map an onset here", group="latent"),
)  # fmt: skip
"""The knobs of a walk, as any generator that draws from latents has them among its own: see :func:`walked`."""
STILL, LOOP, SEEDS = range(3)


def walked(own: Mapping[str, float], seed: int, beat: float, draw: Draw) -> Array | None:
    """Return the latent of a moment as the knobs ``WALK`` say; None where it neither walks nor is pulled.

    ``beat`` counts beats, with their fraction.
    """
    kind, beats = round(own.get("walk", 0.0)), max(1.0, own.get("walk_beats", 32.0))
    pull = min(1.0, max(0.0, own.get("pull", 0.0)))
    if kind == LOOP:
        here = loop(draw, seed, beat / beats)
    elif kind == SEEDS:
        here = from_seed_to_seed(draw, seed, beat / beats)
    elif pull > 0.0:
        here = draw(seed)
    else:
        return None
    return pulled(here, draw((seed ^ PULL_SEED) & MASK), pull) if pull > 0.0 else here


def loop(draw: Draw, seed: int, share: float) -> Array:
    """Return a point of a closed path: ``share`` 0, 1, 2 ... are the same one; in between it moves evenly.

    A sum of turns in planes of their own, each through two drawn points.
    """
    total = math.sqrt(sum(weight * weight for weight in HARMONICS))
    phase = 2.0 * math.pi * (share - math.floor(share))
    result: Array | None = None
    for k, weight in enumerate(HARMONICS, 1):
        a, b = (draw((seed + (2 * k + i) * STRIDE) & MASK) for i in (0, 1))
        x, y = (weight / total * turn(k * phase) for turn in (math.cos, math.sin))
        part = np.float32(x) * a + np.float32(y) * b
        result = part if result is None else result + part
    assert result is not None
    return np.asarray(result, np.float32)


def from_seed_to_seed(draw: Draw, seed: int, way: float) -> Array:
    """Return the point after ``way`` steps from a seed: 0 is its own noise, 1 that of the next, between them an arc."""
    step = math.floor(way)
    here, there = draw((seed + step) & MASK), draw((seed + step + 1) & MASK)
    return slerp(here, there, way - step)


def journey(points: Sequence[Array], share: float, closed: bool = False) -> Array:
    """Return the point at ``share`` (0..1) of the way through points along the sphere, at one speed all the way."""
    if len(points) == 1:
        return points[0]
    stops = [*points, points[0]] if closed else list(points)
    angles = [angle_between(a, b) for a, b in pairwise(stops)]
    left = min(1.0, max(0.0, share)) * sum(angles)
    for (a, b), angle in zip(pairwise(stops), angles, strict=True):
        if left <= angle and angle > 0.0:
            return slerp(a, b, left / angle)
        left -= angle
    return stops[-1]


def directions(draw: Draw, count: int) -> list[Array]:
    """Return fixed directions, one a band or a pitch class: the same for every seed."""
    return [draw((DIRECTION_SEED + i * STRIDE) & MASK) for i in range(count)]


def weighed(base: Array, rows: Sequence[Array], weights: Sequence[float]) -> Array:
    """Return ``base`` leaning to directions by their weights: levels of bands, or of pitch classes; spread is kept."""
    total = 1.0
    result = base.astype(np.float32, copy=True)
    for row, weight in zip(rows, weights, strict=True):
        result += np.float32(weight) * row
        total += weight * weight
    return np.asarray(result / np.float32(math.sqrt(total)), np.float32)


def pulled(here: Array, there: Array, amount: float) -> Array:
    """Return a point ``amount`` (0..1) of the way to another along the sphere; attack and release are the amount's."""
    return slerp(here, there, min(1.0, max(0.0, amount)))


def truncated(here: Array, amount: float, middle: Array | float = 0.0) -> Array:
    """Return a point moved to the middle: 1 leaves it, 0 is the middle (T. Karras et al., "StyleGAN", 2019)."""
    return np.asarray(middle + np.float32(min(1.0, max(0.0, amount))) * (here - middle), np.float32)
