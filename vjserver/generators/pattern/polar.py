"""Families that lie round a middle: tunnel, spiral, rings ... What they take and give: ``families.py``."""

from math import floor, log, sqrt

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
