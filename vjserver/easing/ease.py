"""Easing: how a way from 0 to 1 is gone."""

from collections.abc import Callable


def ease(share: float, name: str) -> float:
    """Return ``share`` (0..1) along one of the :data:`EASES`."""
    return EASES[name](min(1.0, max(0.0, share)))


EASES: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "smooth": lambda x: x * x * (3.0 - 2.0 * x),
    "in": lambda x: x * x,
    "out": lambda x: x * (2.0 - x),
}
