"""Families: coordinates go in, a place on the palette and a light come out, pixel by pixel.

Every family is one function ``(x, y, t, travel, detail, morph, s0, s1, pixel) -> (hue, light)``:

- ``x, y``: the plane; y runs from -1 (bottom) to 1 (top), x as far as the picture is wide;
- ``t``: seconds of the picture's own time; ``travel``: octaves flown so far;
- ``detail``, ``morph``: 0..1; ``s0, s1``: 0..1 from the seed; ``pixel``: the side of a pixel on the plane;
- ``hue``: turns on the palette; ``light``: 0 (dark) to about 1, more where it should glow.

They stand in ``polar.py`` and ``plane.py``; numba compiles them here into loops over rows, with the small functions of
``maths.py``. Ideas of the shapes are commonplaces of shader art.
"""

from math import floor, sqrt

import numba
import numpy as np

from vjserver.generators.pattern.maths import TAU, atan2, cos, inline, sin, wave
from vjserver.generators.pattern.plane import cells, grid, hexes, julia, nebula, orbs, plasma, ribbons, silk, waves
from vjserver.generators.pattern.polar import kaleidoscope, rays, rings, spiral, stars, tunnel


@inline
def _fill(shape, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight):
    """Add ``weight`` of a shape to ``hues`` and ``lights``, or set them if it is the first; all (rows, width)."""
    keep = 0.0 if first else 1.0
    for row in range(xs.shape[0]):
        for column in range(xs.shape[1]):
            hue, light = shape(xs[row, column], ys[row, column], t, travel, detail, morph, s0, s1, pixel)
            hues[row, column] = keep * hues[row, column] + weight * hue
            lights[row, column] = keep * lights[row, column] + weight * max(light, 0.0)


FAMILIES = (
    "tunnel", "spiral", "rings", "plasma", "nebula", "grid", "kaleidoscope", "waves",
    "stars", "cells", "julia", "rays", "hexes", "silk", "orbs", "ribbons",
)  # fmt: skip


@numba.njit(fastmath=True, nogil=True, cache=True, error_model="numpy")
def paint(family, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight):
    """Paint the family with this place in ``FAMILIES``; see :func:`_fill`.

    One branch a family, so that each has a loop of its own for the compiler to vectorise, and all one cache file.
    """
    if family == 0:
        _fill(tunnel, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 1:
        _fill(spiral, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 2:
        _fill(rings, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 3:
        _fill(plasma, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 4:
        _fill(nebula, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 5:
        _fill(grid, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 6:
        _fill(kaleidoscope, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 7:
        _fill(waves, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 8:
        _fill(stars, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 9:
        _fill(cells, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 10:
        _fill(julia, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 11:
        _fill(rays, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 12:
        _fill(hexes, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 13:
        _fill(silk, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 14:
        _fill(orbs, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)
    elif family == 15:
        _fill(ribbons, xs, ys, hues, lights, first, t, travel, detail, morph, s0, s1, pixel, weight)


@numba.njit(fastmath=True, nogil=True, cache=True, error_model="numpy")
def lay_space(xs, ys, top, height, pixel, angle, scale, shift_x, shift_y, warp, sectors, t):
    """Fill ``xs, ys`` (rows, width) with the plane of the rows from ``top`` on: turned, scaled, folded, warped."""
    rows, width = xs.shape
    c, s = np.cos(angle) * scale, np.sin(angle) * scale
    fold = 1.0 if sectors >= 0.5 else 0.0
    n = max(1.0, floor(sectors + 0.5))
    for row in range(rows):
        py = (0.5 * height - (top + row) - 0.5) * pixel - shift_y
        for column in range(width):
            px = (column + 0.5 - 0.5 * width) * pixel - shift_x
            x, y = c * px - s * py, s * px + c * py
            if fold > 0.5:
                r = sqrt(x * x + y * y)
                a = wave(atan2(y, x) * n) / n
                x, y = r * cos(TAU * a), r * sin(TAU * a)
            x += 0.35 * warp * sin(2.1 * y + 0.6 * t) + 0.15 * warp * sin(5.3 * y - 0.9 * t)
            y += 0.35 * warp * sin(1.9 * x - 0.5 * t) + 0.15 * warp * sin(4.7 * x + 0.8 * t)
            xs[row, column] = x
            ys[row, column] = y
