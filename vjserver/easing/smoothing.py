"""Smoothing in seconds, so that the feel does not change with the rate at which it is computed."""

import math


def smoothing(dt_s: float, tau_s: float) -> float:
    """Return the one-pole coefficient ``1 - exp(-dt / tau)``, 0..1; 1 where ``tau`` is 0."""
    return 1.0 if tau_s <= 0.0 else -math.expm1(-dt_s / tau_s)


def follow(value: float, target: float, dt_s: float, attack_s: float, release_s: float) -> float:
    """Return ``value`` moved towards ``target``: with ``attack_s`` when rising, ``release_s`` when falling."""
    return value + (target - value) * smoothing(dt_s, attack_s if target > value else release_s)
