"""Families that fill the plane: plasma, nebula, grid, waves, cells ... What they take and give: ``families.py``."""

from math import floor, log, sqrt

from vjserver.generators.pattern.maths import TAU, cos, fract, hash2, inline, line, sin, step, wave


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
