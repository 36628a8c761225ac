"""Colours by name: CSS's 148 names, and what light in such a colour has to be so that the picture shows it.

The names and values are those of CSS Color Module Level 4 (W3C), chapter 6.1.
"""

import colorsys
from functools import cache

import numpy as np

from vjserver.generators.pattern.palette import linear_from_hex, round_ring, srgb_from_linear, toned
from vjserver.types.audio import Float32

_TABLE = """
aliceblue f0f8ff antiquewhite faebd7 aqua 00ffff aquamarine 7fffd4 azure f0ffff beige f5f5dc bisque ffe4c4
black 000000 blanchedalmond ffebcd blue 0000ff blueviolet 8a2be2 brown a52a2a burlywood deb887 cadetblue 5f9ea0
chartreuse 7fff00 chocolate d2691e coral ff7f50 cornflowerblue 6495ed cornsilk fff8dc crimson dc143c cyan 00ffff
darkblue 00008b darkcyan 008b8b darkgoldenrod b8860b darkgray a9a9a9 darkgreen 006400 darkgrey a9a9a9
darkkhaki bdb76b darkmagenta 8b008b darkolivegreen 556b2f darkorange ff8c00 darkorchid 9932cc darkred 8b0000
darksalmon e9967a darkseagreen 8fbc8f darkslateblue 483d8b darkslategray 2f4f4f darkslategrey 2f4f4f
darkturquoise 00ced1 darkviolet 9400d3 deeppink ff1493 deepskyblue 00bfff dimgray 696969 dimgrey 696969
dodgerblue 1e90ff firebrick b22222 floralwhite fffaf0 forestgreen 228b22 fuchsia ff00ff gainsboro dcdcdc
ghostwhite f8f8ff gold ffd700 goldenrod daa520 gray 808080 green 008000 greenyellow adff2f grey 808080
honeydew f0fff0 hotpink ff69b4 indianred cd5c5c indigo 4b0082 ivory fffff0 khaki f0e68c lavender e6e6fa
lavenderblush fff0f5 lawngreen 7cfc00 lemonchiffon fffacd lightblue add8e6 lightcoral f08080 lightcyan e0ffff
lightgoldenrodyellow fafad2 lightgray d3d3d3 lightgreen 90ee90 lightgrey d3d3d3 lightpink ffb6c1
lightsalmon ffa07a lightseagreen 20b2aa lightskyblue 87cefa lightslategray 778899 lightslategrey 778899
lightsteelblue b0c4de lightyellow ffffe0 lime 00ff00 limegreen 32cd32 linen faf0e6 magenta ff00ff maroon 800000
mediumaquamarine 66cdaa mediumblue 0000cd mediumorchid ba55d3 mediumpurple 9370db mediumseagreen 3cb371
mediumslateblue 7b68ee mediumspringgreen 00fa9a mediumturquoise 48d1cc mediumvioletred c71585 midnightblue 191970
mintcream f5fffa mistyrose ffe4e1 moccasin ffe4b5 navajowhite ffdead navy 000080 oldlace fdf5e6 olive 808000
olivedrab 6b8e23 orange ffa500 orangered ff4500 orchid da70d6 palegoldenrod eee8aa palegreen 98fb98
paleturquoise afeeee palevioletred db7093 papayawhip ffefd5 peachpuff ffdab9 peru cd853f pink ffc0cb plum dda0dd
powderblue b0e0e6 purple 800080 rebeccapurple 663399 red ff0000 rosybrown bc8f8f royalblue 4169e1
saddlebrown 8b4513 salmon fa8072 sandybrown f4a460 seagreen 2e8b57 seashell fff5ee sienna a0522d silver c0c0c0
skyblue 87ceeb slateblue 6a5acd slategray 708090 slategrey 708090 snow fffafa springgreen 00ff7f steelblue 4682b4
tan d2b48c teal 008080 thistle d8bfd8 tomato ff6347 turquoise 40e0d0 violet ee82ee wheat f5deb3 white ffffff
whitesmoke f5f5f5 yellow ffff00 yellowgreen 9acd32
"""
_WORDS = _TABLE.split()
COLOURS = dict(zip(_WORDS[::2], _WORDS[1::2], strict=True)) | {
    "golden": "ffc233", "rose": "ff4f7d", "peach": "ffb48a", "amber": "ffbf00", "mint": "3eb489", "lilac": "c8a2c8",
    "copper": "b87333", "scarlet": "ff2400", "emerald": "2ecc71", "ruby": "e0115f", "sapphire": "0f52ba",
    "mauve": "b784ff", "ochre": "cc7722",
    "pink": "ff5f8f", "purple": "b81fe0", "brown": "8c3723",  # on paper they are pale or dull: light wants more
}  # fmt: skip
"""Each colour's sRGB, ``rrggbb``: CSS's, some more, and three that differ by no more than 20 degrees of hue."""
_NEUTRAL = 0.08  # less chroma than this is no hue
_STEPS_DEG = np.arange(-30.0, 31.0, 1.5)
_DIM, _LIT, _PALEST = 0.3, 0.65, 0.5
_DARK = ("dark", "midnight", "navy", "maroon", "indigo", "brown", "saddle", "sienna")
_LIGHTS = np.array((0.35, 0.7, 1.1), np.float32)


def hue_deg(light: Float32, least: float = _NEUTRAL) -> float | None:
    """Return the mean hue (degrees; red is 0) of linear light, float32 ``(n, 3)``, as it looks on the screen.

    Strong colours count more. None where the colours, together, have less chroma than ``least`` (1 is pure red).
    """
    srgb = srgb_from_linear(light).astype(float)
    turn = np.exp(1j * np.deg2rad((0.0, 120.0, 240.0)))
    mean = (srgb @ turn).sum() / max(float(srgb.max(axis=1).sum()), 1e-9)
    return float(np.rad2deg(np.angle(mean))) % 360.0 if abs(mean) > least else None


def apart_deg(one: float, other: float) -> float:
    """Return how far two hues are apart, 0..180 degrees."""
    return abs((one - other + 180.0) % 360.0 - 180.0)


@cache
def light_of(name: str, turn_deg: float = 0.0) -> Float32:
    """Return the linear light, float32 ``(3,)``, that is shown in the hue of a colour, turned by ``turn_deg``.

    The film curve of the picture bends hues (bright orange becomes yellow), so it starts from another hue: from the one
    that comes out right on the mean of dim and bright light. A dark colour is lit up enough to be seen, a pale one is
    coloured enough to be told from white.
    """
    linear = linear_from_hex(f"#{COLOURS[name]}")
    if not linear.any():
        return linear
    least = _DIM if name.startswith(_DARK) else _LIT
    linear *= 1.0 / linear.max() * np.float32(np.clip(linear.max(), least, 1.0))
    wanted = hue_deg(linear[None])
    if wanted is None:
        return linear
    wanted = (wanted + turn_deg) % 360.0
    _, saturation, value = colorsys.rgb_to_hsv(*map(float, linear))
    saturation = max(saturation, _PALEST)
    tried = [np.array(colorsys.hsv_to_rgb((wanted + step) % 360.0 / 360.0, saturation, value)) for step in _STEPS_DEG]
    shown = [hue_deg(toned(_LIGHTS[:, None] * one.astype(np.float32)), 0.0) for one in tried]
    off = [apart_deg(wanted, one) if one is not None else 180.0 for one in shown]
    best: Float32 = tried[int(np.argmin(off))].astype(np.float32)
    return best


@cache
def ring_of_colours(names: tuple[str, ...]) -> Float32:
    """Return a palette ring of plain colours, linear light, float32 ``(SIZE, 3)``.

    One colour is shaded, and leans a little to its neighbours; between several lie dark pauses, so that shapes keep
    their depth. Black besides others is more of the dark; white besides others lightens them.
    """
    coloured = [name for name in names if COLOURS[name] not in ("000000", "ffffff")]
    stops: list[Float32] = []
    for name in coloured or [name for name in names if COLOURS[name] != "000000"] or ["dimgrey"]:
        key = light_of(name)
        stops += [key, light_of(name, -6.0) * np.float32(0.45)] if len(coloured) < 2 else [key]
        if "black" in names:
            stops += [key * np.float32(0.03)] * 2
        elif "white" in names and coloured:
            stops += [key * np.float32(0.4) + np.float32(0.6)] * 2
        else:
            stops.append(key * np.float32(0.1))
        if len(coloured) < 2:
            stops.append(light_of(name, 6.0) * np.float32(0.75))
    return round_ring(np.stack(stops)).astype(np.float32)
