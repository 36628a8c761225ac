"""Titles: a text over the picture, fading in and out; drawn once, laid over many pictures."""

import textwrap
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vjserver.films.film import Title
from vjserver.films.sheet import drawable, font_file
from vjserver.types.frames import Pixels

FADE_NS = 500_000_000
SIGNS_A_LINE, MOST_LINES = 44, 8


class Titles:
    """Lays titles over the pictures of a size."""

    def __init__(self, titles: Sequence[Title], size: tuple[int, int]) -> None:
        self._titles, self._size = titles, size

    def over(self, pixels: Pixels, t_ns: int) -> Pixels:
        """Return the picture of a time with its titles; without one it is the same array."""
        for title in self._titles:
            if title.t_ns <= t_ns < title.until_ns:
                share = min(1.0, (t_ns - title.t_ns + 1) / FADE_NS, (title.until_ns - t_ns) / FADE_NS)
                ink, shade = drawn(title.text, *self._size)
                under = pixels[..., :3].astype(np.float32)
                under *= 1.0 - 0.6 * share * shade[..., None]
                under += (255.0 - under) * (share * ink[..., None])
                pixels = np.dstack(((under + 0.5).astype(np.uint8), pixels[..., 3]))
        return pixels


@lru_cache(8)
def drawn(text: str, width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return where the letters of a title are and where their shadow is, 0..1, float32 ``(height, width)``."""
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    picture = Image.new("L", (width, height))
    draw = ImageDraw.Draw(picture)
    size, path = max(10, height // 14), font_file(bold=True)
    text = "\n".join(textwrap.fill(line, SIGNS_A_LINE) for line in drawable(text).splitlines()[:MOST_LINES])
    font = ImageFont.truetype(path, size)
    while size > 8 and draw.multiline_textbbox((0, 0), text, font=font)[2] > 0.9 * width:
        size = size * 9 // 10
        font = ImageFont.truetype(path, size)
    draw.multiline_text((width / 2, height * 0.86), text, fill=255, font=font, anchor="md", align="center")
    shadow = picture.filter(ImageFilter.GaussianBlur(max(1, size // 6)))
    ink = np.asarray(picture, np.float32) / 255.0
    return ink, np.clip(2.0 * np.asarray(shadow, np.float32) / 255.0, 0.0, 1.0)
