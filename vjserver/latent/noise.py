"""A walk through Gaussian noise: it stands, turns by itself for ever, or travels to another seed, and stays Gaussian.

The walk always is at ``share`` of the way from ``a`` to ``b`` along the sphere, so that who renders keeps two arrays
and two numbers, and nothing has to be uploaded but at a change.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vjserver.easing.ease import ease
from vjserver.latent.slerp import angle_between, slerp_weights

Array = NDArray[np.float32]
Draw = Callable[[int], Array]
MASK = 2**31 - 1
STRIDE = 7_368_787  # a prime: the seeds of a walk's next points, far from those that a performer counts through


@dataclass(frozen=True, slots=True)
class NoiseWalk:
    """Where the walk is. ``travelled_s`` counts the way to a new seed; None while there is none."""

    seed: int
    a: Array
    b: Array
    angle: float
    share: float = 0.0
    points: int = 0
    travelled_s: float | None = None

    @property
    def weights(self) -> tuple[float, float]:
        """How much ``a`` and ``b`` count now."""
        return slerp_weights(self.angle, self.share)

    def value(self) -> Array:
        """Return the noise here."""
        first, second = self.weights
        return np.asarray(first * self.a + second * self.b, np.float32)


def begin(seed: int, draw: Draw) -> NoiseWalk:
    """Return a walk that stands at a seed's noise; ``draw`` makes noise of a seed."""
    a = draw(seed)
    return NoiseWalk(seed, a, a, 0.0)


def step(
    walk: NoiseWalk, seed: int, turn_rad: float, seconds: float, travel_s: float, ease_name: str, draw: Draw
) -> NoiseWalk:
    """Return the walk one frame later: on its way to ``seed`` if that is another, else turned by ``turn_rad``."""
    if seed != walk.seed:
        if travel_s <= 0.0:
            walk = begin(seed, draw)
        else:
            here, there = walk.value(), draw(seed)
            walk = NoiseWalk(seed, here, there, angle_between(here, there), travelled_s=0.0)
    if walk.travelled_s is not None:
        gone_s = walk.travelled_s + seconds
        share = ease(gone_s / travel_s if travel_s > 0.0 else 1.0, ease_name)
        if share < 1.0:
            return replace(walk, share=share, travelled_s=gone_s)
        return NoiseWalk(seed, walk.b, walk.b, 0.0)
    if turn_rad <= 0.0:
        return walk
    if walk.angle == 0.0:
        walk = _onward(walk, draw)
    share = walk.share + turn_rad / walk.angle
    while share >= 1.0:
        rest_rad = (share - 1.0) * walk.angle
        walk = _onward(replace(walk, a=walk.b), draw)
        share = rest_rad / walk.angle
    return replace(walk, share=share)


def _onward(walk: NoiseWalk, draw: Draw) -> NoiseWalk:
    """Return the walk at ``a`` with another point ahead."""
    points = walk.points + 1
    ahead = draw((walk.seed + points * STRIDE) & MASK)
    angle = max(angle_between(walk.a, ahead), math.radians(1.0))
    return NoiseWalk(walk.seed, walk.a, ahead, angle, 0.0, points)
