"""Palettes: a few colours go in, a smooth ring of light comes out.

Colours are mixed in OKLab (B. Ottosson, "A perceptual color space for image processing", 2020), so that a way from
one to the next passes through clean colours and not through mud.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjserver.types.audio import Float32

SIZE = 2048
EXPOSURE = 1.35  # of the light before the film curve

# Key colours, sRGB, read round the ring; the dark ones give the light its room.
PALETTES: dict[str, tuple[str, ...]] = {
    "neon": ("#12002b", "#ff1fa2", "#7a12ff", "#00e0ff", "#2a0a6b"),
    "sunset": ("#2b0a3d", "#c2185b", "#ff6f3c", "#ffd166", "#7a1fa2"),
    "ocean": ("#021226", "#005f8f", "#00b4c8", "#b8fff2", "#0a3a7a"),
    "fire": ("#1a0300", "#a01000", "#ff4d00", "#ffc233", "#5a0a00"),
    "ice": ("#06142e", "#3a7bd5", "#a8e6ff", "#f4fdff", "#5a6fd8"),
    "forest": ("#04160d", "#1f7a3d", "#8fd14f", "#f2e394", "#0c4a4a"),
    "gold": ("#140c02", "#7a4a08", "#e0a526", "#fff0b8", "#4a2a10"),
    "mono": ("#050507", "#5c6370", "#ffffff", "#aab4c4", "#1b1f27"),
    "acid": ("#0b1400", "#9dff00", "#f6ff00", "#00ff9c", "#123a1a"),
    "candy": ("#3a0a4a", "#ff5fa2", "#ffc6e5", "#7ae0ff", "#8a5cff"),
    "blood": ("#120006", "#6a0018", "#e0102f", "#ff8a7a", "#2a0014"),
    "aurora": ("#020d1f", "#00b388", "#7dffb2", "#8f5cff", "#112a6b"),
    "royal": ("#0d0630", "#4b1fb8", "#b34bff", "#ffb3f5", "#1f3ad6"),
    "rainbow": ("#ff2d55", "#ff9500", "#ffe600", "#22d66b", "#1fa2ff", "#8a3cff"),
    "earth": ("#160d08", "#7a4b2a", "#c98b4e", "#e8d3a8", "#3a4a3a"),
    "cyber": ("#020a12", "#00ffd0", "#0a5cff", "#ff2bd6", "#06283a"),
}

_TO_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
_TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip


def linear_from_hex(colour: str) -> Float32:
    """Return linear-light RGB, float32 ``(3,)`` 0..1, of ``#rrggbb``."""
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


def srgb_from_linear(light: Float32) -> Float32:
    """Return sRGB, 0..1, of linear light."""
    light = np.clip(light, 0.0, 1.0)
    srgb: Float32 = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return srgb


def toned(light: Float32) -> Float32:
    """Return linear light as the picture shows it: K. Narkowicz's fit of the ACES curve (2015), 0..1."""
    x = light * EXPOSURE
    shown: Float32 = np.minimum(1.0, x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14))
    return shown


def round_ring(stops: NDArray[Any]) -> NDArray[np.float64]:
    """Return ``stops`` ``(n, 3)`` eased from one to the next, ``(SIZE, 3)``; the last runs into the first."""
    place = np.arange(SIZE) / SIZE * len(stops)
    i = place.astype(int)
    ease = (place - i)[:, None]
    ease = ease * ease * (3.0 - 2.0 * ease)
    mixed: NDArray[np.float64] = stops[i] * (1.0 - ease) + stops[(i + 1) % len(stops)] * ease
    return mixed


@cache
def ring(name: str) -> Float32:
    """Return a palette as linear-light RGB, float32 ``(SIZE, 3)``; the last colour runs into the first."""
    keys = np.stack([linear_from_hex(colour) for colour in PALETTES[name]])
    lab = np.cbrt(keys @ _TO_LMS.T) @ _TO_LAB.T
    mixed = round_ring(lab)
    lms = (mixed @ np.linalg.inv(_TO_LAB).T) ** 3
    result: Float32 = np.clip(lms @ np.linalg.inv(_TO_LMS).T, 0.0, None).astype(np.float32)
    return result
