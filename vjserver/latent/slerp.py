"""Ways through Gaussian noise that keep it so: a straight line between two latents loses a third of its spread."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def angle_between(a: Array, b: Array) -> float:
    """Return the angle between two arrays seen as vectors, in radians, 0..pi; 0 where one has no length."""
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if lengths == 0.0:
        return 0.0
    return math.acos(max(-1.0, min(1.0, float(np.vdot(a, b)) / lengths)))


def slerp_weights(angle: float, share: float) -> tuple[float, float]:
    """Return the weights of ``a`` and ``b`` at ``share`` (0..1) of the way along the sphere (Shoemake 1985)."""
    if abs(math.sin(angle)) < 1e-4:
        return 1.0 - share, share
    return math.sin((1.0 - share) * angle) / math.sin(angle), math.sin(share * angle) / math.sin(angle)


def slerp(a: Array, b: Array, share: float) -> Array:
    """Return the point at ``share`` of the way from ``a`` to ``b`` along the sphere."""
    first, second = slerp_weights(angle_between(a, b), share)
    return np.asarray(first * a + second * b, np.float32)
