"""Families: coordinates go in, a place on the palette and a light come out, pixel by pixel.

Every family is one function ``(x, y, t, travel, detail, morph, s0, s1, pixel) -> (hue, light)``:

- ``x, y``: the plane; y runs from -1 (bottom) to 1 (top), x as far as the picture is wide;
- ``t``: seconds of the picture's own time; ``travel``: octaves flown so far;
- ``detail``, ``morph``: 0..1; ``s0, s1``: 0..1 from the seed; ``pixel``: the side of a pixel on the plane;
- ``hue``: turns on the palette; ``light``: 0 (dark) to about 1, more where it should glow.

They are compiled by numba into loops over rows, with the small functions of ``maths.py``. Ideas of the shapes
are commonplaces of shader art.
"""

from math import floor, log, sqrt

import numba
import numpy as np

from vjserver.generators.pattern.maths import TAU, atan2, cos, fract, hash2, inline, line, sin, step, wave


@inline
def tunnel(x, y, t, travel, detail, morph, s0, s1, pixel):
    """Flight through a ribbed tube of many sides."""
    x += 0.25 * sin(0.31 * t + TAU * s0)
    y += 0.18 * sin(0.23 * t + TAU * s1)
    a = atan2(y, x)
    sides = floor(3.0 + 7.0 * s0)
    bend = cos(TAU * wave(a * sides) / sides) * morph + (1.0 - morph)
    r = sqrt(x * x + y * y) * bend + 1e-3
    depth = 0.55 / r + 0.35 * t + 1.5 * travel
    ribs = floor(2.0 + 4.0 * detail)
    panels = floor(6.0 + 14.0 * detail)
    twist = a + 0.06 * depth * (s1 - 0.5)
    fog = step(0.02, 0.45, r)
    # a line as thin near the wall as far away, on the screen
    thin = min(0.16, (0.010 + pixel) * 0.27 * ribs / (r * r))
    rings = line(wave(depth * ribs * 0.5), thin)
    spokes = line(wave(twist * panels) / panels * r * TAU, 0.006 + 1.2 * pixel)
    cell = hash2(floor(depth * ribs * 0.5 + 0.5), floor((twist + 1.0) * panels + 0.5) % panels)
    panel = step(0.62, 0.9, cell) * (0.6 + 0.4 * sin(3.0 * t + 20.0 * cell))
    core = 0.012 / (r * r + 0.02)
    return depth * 0.13 + 0.25 * cell, (0.012 + 0.8 * rings + 0.6 * spokes + 0.22 * panel) * fog + core


@inline
def spiral(x, y, t, travel, detail, morph, s0, s1, pixel):
    """Logarithmic arms that turn and wind inwards."""
    r = sqrt(x * x + y * y) + 1e-4
    lr = log(r)
    arms = floor(2.0 + 5.0 * detail + 2.0 * s0)
    a = atan2(y, x)
    wind = (1.2 + 2.2 * morph) * lr
    ph = a * arms + wind - 0.45 * t - 1.2 * travel
    arm = wave(ph)
    body = step(0.5, 0.12, arm)
    edge = line(arm - 0.23, 0.012 + pixel * arms / r * 0.35)
    beads = 0.5 + 0.5 * cos(TAU * (lr * (2.0 + 3.0 * morph) - ph * 0.5 - 0.2 * t))
    fade = step(0.0, 0.22, r)
    return 0.18 * lr + 0.35 * arm + 0.03 * t + s1, (
        0.05 * body + 0.55 * body * beads * beads * beads + 0.8 * edge
    ) * fade + 0.02 / (r + 0.03)


@inline
def rings(x, y, t, travel, detail, morph, s0, s1, pixel):
    """Circles of light running outwards, each with gaps of its own."""
    r = sqrt(x * x + y * y) + 1e-4
    a = atan2(y, x)
    count = 3.0 + 9.0 * detail
    ph = r * count - 0.9 * t - 2.0 * travel
    ring = floor(ph)
    h = hash2(ring, floor(17.0 * s0))
    spin = (h - 0.5) * 0.5 * t
    gap = floor(1.0 + 5.0 * h)
    cut = step(0.32, 0.42, wave((a + spin + h) * gap) + 0.5 - 0.42 * morph)
    f = fract(ph)
    tube = line(f - 0.5, 0.06 + 0.5 * pixel * count)
    fill = step(0.04, 0.3, f) * step(0.96, 0.7, f)
    return ring * 0.11 + 0.1 * r + s1, (1.05 * tube + 0.16 * fill * h) * cut + 0.012 / (r * r + 0.02)


@inline
def plasma(x, y, t, travel, detail, morph, s0, s1, pixel):
    """Oil on water: slow interference of waves, folded by themselves."""
    f = (1.6 + 3.0 * detail) * (1.0 + 0.3 * sin(travel))
    u, v = x * f + 7.0 * s0, y * f + 7.0 * s1
    a = sin(u + 0.7 * t) + sin(v * 1.3 - 0.5 * t) + sin((u + v) * 0.8 + 0.6 * t)
    k = 0.9 + 1.8 * morph
    b = sin(u * 1.1 + k * a - 0.4 * t) + sin(v * 0.9 - k * a * 0.8 + 0.3 * t)
    c = sin(1.7 * b + a + 0.5 * t)
    sheen = step(0.35, 1.0, c)
    vein = line(b - 0.4 * a, 0.045)
    return 0.14 * a + 0.12 * b + 0.04 * t, 0.04 + 0.30 * (
        0.5 + 0.5 * sin(2.0 * b + a)
    ) + 0.5 * sheen * sheen + 0.6 * vein


@inline
def _octave(u, v, dense, fil, amp, w, t, morph):
    """Add one octave of clouds."""
    u, v = 0.8 * u - 0.6 * v + 1.7, 0.6 * u + 0.8 * v - 0.9
    p = sin(u * w + 1.1 * sin(v * w * 0.7 + 0.12 * t) + 0.1 * t)
    q = sin(v * w + 1.3 * sin(u * w * 0.8 - 0.09 * t))
    n = p * q
    return u + 0.22 * q / w * (0.4 + morph), v, dense + amp * n, fil + amp * (1.0 - abs(n + 0.4 * p))


@inline
def nebula(x, y, t, travel, detail, morph, s0, s1, pixel):
    """Clouds of gas with bright filaments and a few stars."""
    f = 0.9 + 1.1 * detail
    u, v = x * f + 9.0 * s0 + 0.05 * t, y * f + 9.0 * s1 - 0.04 * t + 0.2 * travel
    u, v, dense, fil = _octave(u, v, 0.0, 0.0, 0.50, 1.0, t, morph)
    u, v, dense, fil = _octave(u, v, dense, fil, 0.28, 1.9, t, morph)
    u, v, dense, fil = _octave(u, v, dense, fil, 0.16, 3.6, t, morph)
    u, v, dense, fil = _octave(u, v, dense, fil, 0.09, 6.9, t, morph)
    u, v, dense, fil = _octave(u, v, dense, fil, 0.05, 13.0, t, morph)
    u, v, dense, fil = _octave(u, v, dense, fil, 0.03, 25.0, t, morph)
    cloud = step(-0.35, 0.75, dense)
    thread = fil * fil * fil * 0.55
    cx, cy = floor(x * 26.0), floor(y * 26.0)
    h = hash2(cx + floor(s0 * 99.0), cy)
    dx, dy = fract(x * 26.0) - 0.5, fract(y * 26.0) - 0.5
    star = (
        step(0.965, 1.0, h) * line(sqrt(dx * dx + dy * dy), 0.05 + 8.0 * pixel) * (0.6 + 0.4 * sin(4.0 * t + 90.0 * h))
    )
    return (
        0.30 * dense + 0.16 * fil + 0.02 * t,
        0.05 + 0.75 * cloud * thread + 0.35 * cloud * cloud + 1.5 * star,
    )


@inline
def grid(x, y, t, travel, detail, morph, s0, s1, pixel):
    """A floor and a ceiling of glowing lines that run to the horizon, and a striped sun."""
    h = y + 0.12 - 0.12 * sin(0.2 * t + TAU * s0) * morph
    side = 1.0 if h > 0.0 else -1.0
    d = abs(h) + 0.012
    depth = 0.5 / d
    lines = 1.0 + 2.5 * detail
    gx, gz = x * depth * lines, depth * lines + (1.6 * t + 4.0 * travel)
    roll = 0.15 * morph * sin(gz * 0.5) * depth * 0.2
    blur = pixel * lines
    lx = line(wave(gx + roll), 0.018 + blur * depth)
    lz = line(wave(gz), 0.022 + 2.0 * blur * depth * depth)
    fade = step(0.0, 0.3, d)
    floor_ = (lx + lz) * fade * (1.0 if side < 0.0 else 0.30 * step(1.1, 0.3, h))
    sx, sy = x, h - 0.30
    r = sqrt(sx * sx + sy * sy)
    stripes = step(-0.25, 0.3, sin(46.0 * sy + 1.2 * t) * 0.5 + 1.6 * sy + 0.3)
    sun = step(0.36, 0.36 - 3.0 * pixel, r) * stripes * (1.0 if side > 0.0 else 0.0)
    halo = 0.07 / (r * r + 0.12) * (1.0 if side > 0.0 else 0.35)
    glow = 0.018 / (d + 0.018)
    hue = 0.5 + 0.3 * sy + s1 if sun > 0.5 else 0.06 * depth + 0.04 * t + s1
    return hue, 0.9 * floor_ + 0.95 * sun + halo + glow


@inline
def _mirror(x, y, scale, glow, hue, i, turn, t, travel, detail, morph, s1, pixel):
    """Fold space once more and draw its edges."""
    c, s = cos(turn + 0.9 * i), sin(turn + 0.9 * i)
    x, y = abs(x), abs(y)
    x, y = c * x + s * y, c * y - s * x
    k = 1.28 + 0.22 * detail
    x = k * (x - 0.42 - 0.16 * sin(0.21 * t + travel + 1.7 * i + TAU * s1))
    y = k * (y - 0.18 - 0.2 * morph)
    scale *= k
    r = sqrt(x * x + y * y)
    glow += line(min(abs(x), abs(r - 0.55)) / scale, 0.004 + 0.8 * pixel) * (0.85 - 0.1 * i)
    return x, y, scale, glow, hue + 0.10 * r


@inline
def kaleidoscope(x, y, t, travel, detail, morph, s0, s1, pixel):
    """Space folded over and over into a crystal rose."""
    turn = 0.09 * t + TAU * s0
    r0 = sqrt(x * x + y * y)
    a = wave(atan2(y, x) * 6.0) / 6.0
    x, y = 1.1 * r0 * cos(TAU * a), 1.1 * r0 * sin(TAU * a)
    x, y, k, glow, hue = _mirror(x, y, 1.0, 0.0, 0.0, 0.0, turn, t, travel, detail, morph, s1, pixel)
    x, y, k, glow, hue = _mirror(x, y, k, glow, hue, 1.0, turn, t, travel, detail, morph, s1, pixel)
    x, y, k, glow, hue = _mirror(x, y, k, glow, hue, 2.0, turn, t, travel, detail, morph, s1, pixel)
    x, y, k, glow, hue = _mirror(x, y, k, glow, hue, 3.0, turn, t, travel, detail, morph, s1, pixel)
    x, y, k, glow, hue = _mirror(x, y, k, glow, hue, 4.0, turn, t, travel, detail, morph, s1, pixel)
    shade = 0.5 + 0.5 * cos(5.0 * x + 3.0 * y + t)
    return hue + 0.03 * t + 0.15 * r0, (0.02 + 0.22 * shade * shade + 0.75 * glow) * step(2.2, 0.2, r0)


@inline
def _string(x, y, row, count, glow, hue, t, travel, morph, s0, pixel):
    """Draw one string; the ones in front hide the ones behind."""
    ry = row / (count * 0.5) - 0.25
    place = x + 0.3 * sin(row * 0.7 + 0.3 * t)
    bell = 1.0 / (1.0 + 2.5 * place * place)
    p = row * 1.3 + TAU * s0
    h = sin(3.1 * x + p + 0.9 * t) * 0.5 + sin(7.3 * x - 1.7 * p - 1.3 * t + 2.0 * travel) * 0.3
    h += sin(17.0 * x + 3.1 * p + 1.9 * t) * 0.16 * (0.3 + morph)
    top = ry + abs(h) * bell * bell * (0.12 + 0.36 * morph) * (8.0 / (count * 0.35 + 4.0))
    g = line(y - top, 0.0045 + 1.1 * pixel)
    below = step(top + pixel, top - pixel, y)
    tone = row * 0.035 + 0.5 * abs(h) * bell
    return max(glow * (1.0 - 0.92 * below), g), tone if g > glow * (1.0 - below) else hue


@inline
def waves(x, y, t, travel, detail, morph, s0, s1, pixel):
    """A mountain range of strings, plucked."""
    count = 10.0 + 22.0 * detail
    base = floor((y + 0.25) * count * 0.5)
    g, hue = _string(x, y, base + 1.0, count, 0.0, 0.0, t, travel, morph, s0, pixel)
    g, hue = _string(x, y, base, count, g, hue, t, travel, morph, s0, pixel)
    g, hue = _string(x, y, base - 1.0, count, g, hue, t, travel, morph, s0, pixel)
    g, hue = _string(x, y, base - 2.0, count, g, hue, t, travel, morph, s0, pixel)
    g, hue = _string(x, y, base - 3.0, count, g, hue, t, travel, morph, s0, pixel)
    g, hue = _string(x, y, base - 4.0, count, g, hue, t, travel, morph, s0, pixel)
    g, hue = _string(x, y, base - 5.0, count, g, hue, t, travel, morph, s0, pixel)
    return hue + s1 + 0.02 * t, 1.25 * g + 0.012


@inline
def _layer(x, y, i, glow, hue, t, travel, detail, morph, s0, s1, pixel):
    """Add one layer of stars."""
    z = fract(i * 0.2 + 0.10 * t + 0.35 * travel)
    f = (5.0 + 9.0 * detail) * (1.04 - z)
    u, v = x * f + 31.7 * i + 9.0 * s0, y * f + 11.3 * i + 9.0 * s1
    cx, cy = floor(u), floor(v)
    h, g = hash2(cx, cy), hash2(cy + 3.1, cx - 7.7)
    dx, dy = u - cx - 0.25 - 0.5 * h, v - cy - 0.25 - 0.5 * g
    d = sqrt(dx * dx + dy * dy)
    near = step(0.0, 0.35, z) * step(1.0, 0.85, z)
    size = (0.012 + 0.03 * z * h + 1.0 * pixel * f) * step(0.35, 0.6, g)
    k = size / (d + 1e-3)
    # a cell's star must be dark before the cell's edge, or the edge shows
    reach = step(0.25, 0.04, d)
    spark = line(dx, 0.012) * line(dy, 0.10) + line(dy, 0.012) * line(dx, 0.10)
    light = (k * k + 0.35 * k * morph + spark * morph * step(0.7, 1.0, h)) * near * reach
    return glow + min(light, 3.0), hue if light < glow * 0.5 else h


@inline
def stars(x, y, t, travel, detail, morph, s0, s1, pixel):
    """Flight through a field of stars, streaking with speed."""
    c, s = cos(0.05 * t), sin(0.05 * t)
    x, y = c * x - s * y, s * x + c * y
    glow, hue = _layer(x, y, 0.0, 0.0, 0.0, t, travel, detail, morph, s0, s1, pixel)
    glow, hue = _layer(x, y, 1.0, glow, hue, t, travel, detail, morph, s0, s1, pixel)
    glow, hue = _layer(x, y, 2.0, glow, hue, t, travel, detail, morph, s0, s1, pixel)
    glow, hue = _layer(x, y, 3.0, glow, hue, t, travel, detail, morph, s0, s1, pixel)
    glow, hue = _layer(x, y, 4.0, glow, hue, t, travel, detail, morph, s0, s1, pixel)
    r = sqrt(x * x + y * y)
    return hue + s1, 0.9 * glow + 0.012 / (r + 0.25)


@inline
def _neighbour(gx, gy, u, v, d1, d2, tone, t):
    """Measure the way to one neighbour's nucleus; keep the two shortest (squared)."""
    h = hash2(gx, gy)
    px = gx + 0.5 + 0.42 * sin(TAU * h + 0.8 * t) - u
    py = gy + 0.5 + 0.42 * cos(TAU * fract(h * 7.31) + 0.7 * t) - v
    d = px * px + py * py
    return min(d1, d), min(d2, max(d1, d)), h if d < d1 else tone


@inline
def cells(x, y, t, travel, detail, morph, s0, s1, pixel):
    """Living tissue: cells that drift, their walls lit."""
    f = (1.4 + 3.8 * detail) * (1.0 + 0.25 * sin(0.8 * travel))
    u, v = x * f + 9.0 * s0 + 0.15 * t, y * f + 9.0 * s1
    cu, cv = floor(u), floor(v)
    d1, d2, tone = _neighbour(cu - 1.0, cv - 1.0, u, v, 9.0, 9.0, 0.0, t)
    d1, d2, tone = _neighbour(cu - 1.0, cv, u, v, d1, d2, tone, t)
    d1, d2, tone = _neighbour(cu - 1.0, cv + 1.0, u, v, d1, d2, tone, t)
    d1, d2, tone = _neighbour(cu, cv - 1.0, u, v, d1, d2, tone, t)
    d1, d2, tone = _neighbour(cu, cv, u, v, d1, d2, tone, t)
    d1, d2, tone = _neighbour(cu, cv + 1.0, u, v, d1, d2, tone, t)
    d1, d2, tone = _neighbour(cu + 1.0, cv - 1.0, u, v, d1, d2, tone, t)
    d1, d2, tone = _neighbour(cu + 1.0, cv, u, v, d1, d2, tone, t)
    d1, d2, tone = _neighbour(cu + 1.0, cv + 1.0, u, v, d1, d2, tone, t)
    r1, r2 = sqrt(d1), sqrt(d2)
    wall = line(r2 - r1, 0.02 + 0.03 * morph + pixel * f)
    nucleus = line(r1, 0.04 + 0.08 * morph)
    lit = max(0.0, sin(TAU * tone + 1.5 * t))
    body = (1.0 - step(0.1, 0.9, r1)) * (0.05 + 0.40 * lit * lit)
    return 0.45 * tone + 0.20 * r1 + 0.02 * t, 0.015 + 0.85 * wall + 0.7 * nucleus * lit + body


@inline
def _iterate(u, v, m, count, trap, cross, ca, cb):
    """Square and add once, unless the point has fled; keep how near it came to the traps."""
    inside = 1.0 if m < 16.0 else 0.0
    nu, nv = u * u - v * v + ca, 2.0 * u * v + cb
    u, v = u + inside * (nu - u), v + inside * (nv - v)
    m = u * u + v * v
    return u, v, m, count + inside, min(trap, abs(m - 0.30)), min(cross, min(abs(u), abs(v)))


@inline
def _iterate4(u, v, m, count, trap, cross, ca, cb):
    """Iterate four times."""
    u, v, m, count, trap, cross = _iterate(u, v, m, count, trap, cross, ca, cb)
    u, v, m, count, trap, cross = _iterate(u, v, m, count, trap, cross, ca, cb)
    u, v, m, count, trap, cross = _iterate(u, v, m, count, trap, cross, ca, cb)
    return _iterate(u, v, m, count, trap, cross, ca, cb)


@inline
def julia(x, y, t, travel, detail, morph, s0, s1, pixel):
    """A Julia set whose constant walks round the cardioid, lit by its orbit traps."""
    a = 0.11 * t + TAU * s0
    rad = 0.7885 - 0.06 * morph - 0.03 * sin(0.7 * travel)
    ca, cb = rad * cos(a), rad * sin(a)
    zoom = 1.30 - 0.5 * detail
    u, v = x * zoom, y * zoom
    u, v, m, count, trap, cross = _iterate4(u, v, 0.0, 0.0, 9.0, 9.0, ca, cb)
    u, v, m, count, trap, cross = _iterate4(u, v, m, count, trap, cross, ca, cb)
    u, v, m, count, trap, cross = _iterate4(u, v, m, count, trap, cross, ca, cb)
    u, v, m, count, trap, cross = _iterate4(u, v, m, count, trap, cross, ca, cb)
    u, v, m, count, trap, cross = _iterate4(u, v, m, count, trap, cross, ca, cb)
    smooth = count - (1.44 * log(log(max(m, 16.0))) - 1.47 if m > 16.0 else 0.0)
    tone = smooth / 20.0
    light = tone * tone * 0.8 + 0.55 * line(trap, 0.03) * tone + 0.5 * line(cross, 0.01) * tone
    return 0.07 * smooth + 0.5 * trap + s1 + 0.02 * t, 0.012 + light * step(0.05, 0.5, tone)


@inline
def rays(x, y, t, travel, detail, morph, s0, s1, pixel):
    """Lasers and beams from a source, through haze."""
    ox = 0.35 * sin(0.27 * t + TAU * s0)
    oy = 0.25 * sin(0.35 * t + TAU * s1)
    x -= ox
    y -= oy
    r = sqrt(x * x + y * y) + 1e-3
    a = TAU * atan2(y, x)
    n = floor(3.0 + 9.0 * detail)
    b = sin(n * a + 0.9 * t) + sin((n + 3.0) * a - 1.1 * t + 2.0 * s0) + sin((2.0 * n + 1.0) * a + 0.6 * t + travel)
    beam = step(0.4, 2.6, b + 0.3)
    laser = line(wave(a / TAU * n + 0.11 * t + 0.1 * sin(0.7 * t)) * r / n * 6.0, 0.012 + 1.5 * pixel)
    haze = 0.65 + 0.35 * sin(3.0 * x + 2.0 * sin(2.3 * y + 0.5 * t) + 0.4 * t) * (0.3 + 0.7 * morph)
    fall = 1.0 / (0.5 + 0.8 * r)
    shells = line(wave(r * 2.0 - 0.8 * t - 2.0 * travel), 0.16) * morph
    return 0.08 * b + 0.16 * r + 0.02 * t + s1, (
        1.0 * beam * beam + 0.85 * laser
    ) * haze * fall + 0.25 * shells * beam + 0.05 / (r + 0.06)


@inline
def hexes(x, y, t, travel, detail, morph, s0, s1, pixel):
    """A honeycomb whose cells light up in travelling waves."""
    f = 2.2 + 5.5 * detail
    u, v = x * f + 0.3 * t * (s0 - 0.5), y * f + 2.0 * travel
    ax, ay = u - floor(u + 0.5), v / 1.7320508 - floor(v / 1.7320508 + 0.5)
    bx, by = u - floor(u) - 0.5, v / 1.7320508 - floor(v / 1.7320508) - 0.5
    da, db = ax * ax + 3.0 * ay * ay, bx * bx + 3.0 * by * by
    near = da < db
    hx, hy = (ax if near else bx), 1.7320508 * (ay if near else by)
    cx, cy = u - hx, v - hy
    d = max(abs(hx), abs(hx) * 0.5 + abs(hy) * 0.8660254)
    h = hash2(floor(cx * 2.0 + 0.5), floor(cy * 2.0 + 0.5))
    reach = sqrt(cx * cx + cy * cy)
    pulse = 0.5 + 0.5 * sin(1.1 * reach - 2.2 * t + 3.0 * h * (0.3 + morph))
    pulse = pulse * pulse * pulse
    rim = line(0.5 - d, 0.018 + 0.9 * pixel * f)
    inner = step(0.47, 0.40 - 0.25 * morph * h, d) * pulse
    inset = line(d - 0.28 * pulse - 0.08, 0.02 + pixel * f) * pulse
    return 0.06 * reach + 0.22 * h + s1 + 0.03 * t, 0.30 * rim + 0.70 * inner + 0.6 * inset


@inline
def _fold(u, v, k, t, travel, morph):
    """Warp space by itself once, at frequency k."""
    u += (0.55 + 0.4 * morph) / k * sin(k * v + 0.5 * t + 0.3 * k + 0.7 * travel)
    return u, v + (0.55 + 0.4 * morph) / k * sin(k * u * 0.9 + 0.4 * t + 1.7)


@inline
def silk(x, y, t, travel, detail, morph, s0, s1, pixel):
    """Folds of cloth and smoke: space warped by itself until it flows."""
    u, v = x * 1.9 + 5.0 * s0, y * 1.9 + 5.0 * s1
    u, v = _fold(u, v, 1.0, t, travel, morph)
    u, v = _fold(u, v, 2.0, t, travel, morph)
    u, v = _fold(u, v, 3.0, t, travel, morph)
    u, v = _fold(u, v, 4.3, t, travel, morph)
    u, v = _fold(u, v, 6.1, t, travel, morph)
    f = 2.0 + 4.0 * detail
    fold, weft = sin(f * u + v), sin(f * v - 0.6 * u)
    gloss = line(fold - 0.8, 0.06) + 0.6 * line(weft - 0.7, 0.05)
    shade = 0.5 + 0.5 * fold
    return (
        0.13 * u + 0.10 * v + 0.02 * t,
        0.015 + 0.40 * shade * shade * shade + 0.10 * weft * weft + 0.50 * gloss,
    )


@inline
def orbs(x, y, t, travel, detail, morph, s0, s1, pixel):
    """Drops of light that melt into each other."""
    field, hue = 0.0, 0.0
    for i in range(7):
        p = 2.4 * i + TAU * s0
        cx = (0.55 + 0.5 * s1) * 1.35 * sin(0.31 * t * (1.0 + 0.13 * i) + p + 0.5 * travel)
        cy = 0.75 * sin(0.43 * t * (1.0 + 0.09 * i) + 1.7 * p)
        dx, dy = x - cx, y - cy
        w = (0.045 + 0.022 * sin(p + 0.9 * t)) * (1.7 - detail) / (dx * dx + dy * dy + 0.004)
        field += w
        hue += w * 0.13 * i
    inside = step(0.9, 1.25, field)
    rim = line(field - 1.05, 0.09 + 2.0 * pixel)
    bands = wave(sqrt(field) * (2.0 + 6.0 * morph) - 0.5 * t)
    contour = line(bands, 0.05) * step(1.0, 0.2, field)
    core = step(1.6, 7.0, field)
    return hue / (field + 0.2) + 0.1 * field / (
        1.0 + field
    ) + 0.03 * t, 0.30 * inside + 0.95 * rim + 0.28 * contour + 0.7 * core


@inline
def ribbons(x, y, t, travel, detail, morph, s0, s1, pixel):
    """Ribbons of neon that weave across the dark."""
    glow, hue = 0.0, 0.0
    for i in range(7):
        p = i * (0.35 + 0.9 * detail) + TAU * s0
        w = 0.42 * sin(1.3 * x + p + 0.6 * t) + 0.24 * sin(2.9 * x - 1.3 * p - 0.8 * t + travel)
        w += 0.10 * sin(6.1 * x + 2.1 * p + 1.1 * t) * (0.2 + morph)
        d = y - w
        width = 0.008 + 0.045 * (0.5 + 0.5 * sin(2.0 * x + 1.9 * p - 0.7 * t)) * (0.3 + morph)
        edge = line(abs(d) - width, 0.0045 + 1.2 * pixel)
        sheet = step(width + 0.01, width, abs(d)) * (0.5 + 0.5 * d / width)
        g = edge + 0.35 * sheet + 0.005 / (abs(d) + 0.04)
        hue = hue + g * (0.09 * i + 0.1 * x)
        glow += g
    return hue / (glow + 1e-3) + s1 + 0.02 * t, 0.75 * glow


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
