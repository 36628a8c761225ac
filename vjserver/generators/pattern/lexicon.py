"""The lexicon: a prompt goes in, a look comes out. Any prompt gives a look, and the same prompt the same look.

Known words speak for a family, a palette, a texture or a mood. A prompt that says nothing about its family or its
palette gets one by the CRC of its words, so that unknown words are as good as known ones, only less predictable.
"""

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from vjserver.generators.pattern.colours import COLOURS, apart_deg, hue_deg, light_of, ring_of_colours
from vjserver.generators.pattern.palette import PALETTES, SIZE, ring
from vjserver.types.audio import Float32

# The words that ask for each family. The first is its own name.
FAMILY_WORDS: dict[str, str] = {
    "tunnel": "tunnel corridor wormhole tube hallway subway metro pipe portal hyperspace warp",
    "spiral": "spiral vortex whirl swirl twister galaxy helix shell nautilus maelstrom hypnotic hypnosis",
    "rings": "rings ring circles circle ripple ripples orbit orbits halo target sonar saturn bubbles",
    "plasma": "plasma lava oil liquid psychedelic acid melt melting paint marble",
    "nebula": "nebula cloud clouds smoke fog mist cosmos cosmic gas space universe dust storm sky",
    "grid": "grid synthwave retro outrun vaporwave horizon road highway city wireframe arcade landscape sun sunset",
    "kaleidoscope": "kaleidoscope mandala fractal crystal crystals diamond gem jewel rose mosaic temple snowflake",
    "waves": "waves wave mountains mountain strings sound oscilloscope terrain hills dunes desert",
    "stars": "stars star starfield sparks sparkle sparkles glitter snow fireflies night constellation rain confetti",
    "cells": "cells cell voronoi organic tissue skin coral membrane biology bacteria leaves leaf reptile scales",
    "julia": "julia mandelbrot lightning dragon fern infinite infinity abyss dream dreams alien",
    "rays": "rays ray laser lasers beams beam spotlight spotlights lights searchlight sunbeams disco club stage",
    "hexes": "hexes hex hexagon hexagons honeycomb bees tiles techno circuit armor digital matrix robot machine",
    "silk": "silk cloth fabric velvet curtain veil flow flowing ink feather water river fluid dance dancer",
    "orbs": "orbs orb drops drop metaballs blobs blob pearls balloons jellyfish mercury planets planet moons moon lamp",
    "ribbons": "ribbons ribbon neon tubes lines line scarf serpents snake snakes eel threads calligraphy",
}
PALETTE_WORDS: dict[str, str] = {
    "neon": "neon pink magenta purple synthwave vaporwave electric nightclub club disco",
    "sunset": "sunset dusk dawn orange peach warm summer evening romantic",
    "ocean": "ocean sea blue water aqua underwater deep marine wave river lake turquoise cyan",
    "fire": "fire flame flames lava magma hot ember volcano burning inferno heat",
    "ice": "ice icy snow frozen frost winter arctic cold glacier crystal",
    "forest": "forest green jungle leaf leaves grass nature plants moss tree trees garden",
    "gold": "gold golden amber brass honey treasure luxury desert sand dunes bees honeycomb",
    "mono": "mono monochrome black white grey gray silver chrome metal steel minimal noir mercury",
    "acid": "acid toxic lime radioactive poison slime alien rave techno",
    "candy": "candy pastel bubblegum sweet cute unicorn cotton dream dreams soft",
    "blood": "blood red crimson vampire dark ruby horror heart rose devil",
    "aurora": "aurora borealis northern emerald teal polar arctic",
    "royal": "royal violet indigo ultraviolet velvet cosmic galaxy space nebula universe mystic",
    "rainbow": "rainbow colourful colorful spectrum psychedelic prism festival carnival confetti kaleidoscope pride",
    "earth": "earth brown clay rust wood stone terracotta coffee leather vintage",
    "cyber": "cyber cyberpunk hacker matrix digital robot future futuristic hologram circuit laser lasers",
}
# Textures, densities and moods: what they add to a look's numbers.
TRAITS: dict[str, dict[str, float]] = {
    "soft": {"bloom": 0.3, "contrast": -0.15, "morph": 0.1},
    "sharp": {"bloom": -0.2, "contrast": 0.2, "morph": 0.2},
    "liquid": {"warp": 0.35, "morph": 0.2},
    "glow": {"bloom": 0.35},
    "dense": {"detail": 0.3},
    "sparse": {"detail": -0.3},
    "calm": {"speed": -0.45, "warp": 0.05},
    "wild": {"speed": 0.7, "warp": 0.1, "contrast": 0.1},
    "dark": {"brightness": -0.25, "contrast": 0.15},
    "bright": {"brightness": 0.25},
    "mirror": {"symmetry": 6.0},
    "grey": {"saturation": -0.7},
    "vivid": {"saturation": 0.25},
    "trails": {"feedback": 0.25},
}
TRAIT_WORDS: dict[str, str] = {
    "soft": "soft gentle smooth blurry hazy foggy velvet cloudy dreamy pastel tender misty",
    "sharp": "sharp crisp hard glass crystal geometric edgy metallic laser precise angular",
    "liquid": "liquid fluid melting flowing wavy warped organic underwater molten oily psychedelic",
    "glow": "glow glowing luminous radiant neon shining holy electric light bloom fluorescent",
    "dense": "dense intricate detailed complex many tiny micro busy crowded fractal ornate",
    "sparse": "sparse minimal minimalist simple few big huge giant empty large",
    "calm": "calm slow peaceful ambient meditative quiet zen serene floating sleepy lounge chill",
    "wild": "wild fast rave energetic frantic chaos chaotic hectic explosive hyper storm aggressive speed",
    "dark": "dark night black gloomy deep shadow midnight noir gothic sinister",
    "bright": "bright day white sunny brilliant dazzling shiny light",
    "mirror": "mirror mirrored symmetrical symmetry mandala kaleidoscopic reflection temple",
    "grey": "monochrome grey gray faded washed vintage desaturated noir",
    "vivid": "vivid saturated colourful colorful vibrant intense",
    "trails": "trails echo dream dreamy ghost smoke hypnotic motion memory ghostly",
}

NUMBERS = (
    "detail",
    "morph",
    "warp",
    "symmetry",
    "speed",
    "bloom",
    "contrast",
    "brightness",
    "saturation",
    "feedback",
)
# What a look adds to the request's parameters is blended as one row of these.


def _index(table: Mapping[str, str]) -> dict[str, list[str]]:
    index: dict[str, list[str]] = {}
    for name, words in table.items():
        for word in words.split():
            index.setdefault(word, []).append(name)
    return index


_FAMILY_OF, _PALETTE_OF, _TRAIT_OF = _index(FAMILY_WORDS), _index(PALETTE_WORDS), _index(TRAIT_WORDS)
_KNOWN = dict.fromkeys((*_FAMILY_OF, *_PALETTE_OF, *_TRAIT_OF, *COLOURS))
_SHADES = ("light", "dark", "medium", "pale", "deep", "hot")
_WITHOUT = ("no", "without", "not")
_BEGINNING = ("but", "with", "at", "in", "on", "by", "to", "for", "from")  # what is refused ends here, and at a comma
_LITTLE = ("a", "an", "the", "any", "of", "and", "or", "is", "are", "some", "my", "your", "this", "that")
_PLURAL = re.compile(r"ies$|(?<=[sxz])es$|(?<=[cs]h)es$|(?<![sui])s$")
_LONG = 5  # letters from which on a slip is forgiven: short words have too many neighbours
_THINGS = ("snow", "coral")
"""Prompts mean the thing by these, and its colour only where nothing else speaks of colours."""
_ALIKE_DEG, _SAME_DEG, _ONE_HUE = 45.0, 12.0, 0.25


@dataclass(frozen=True, slots=True)
class PatternStyle:
    """What a picture is made of: families with weights that sum to 1, a palette ring, and offsets to the parameters.

    ``ring`` is linear-light RGB, float32 ``(SIZE, 3)``; ``numbers`` float32 ``(len(NUMBERS),)``.
    """

    families: Mapping[str, float]
    ring: Float32
    numbers: Float32 = field(default_factory=lambda: np.zeros(len(NUMBERS), np.float32))


def words_of(prompt: str) -> list[str]:
    """Return the words of a prompt that count: lower case, singular, without articles and what it wants to be without.

    ``no stars`` is a prompt without stars; a word that nobody knows is taken for the known one it misses by one letter.
    """
    return list(_words_of(prompt))


@lru_cache(maxsize=256)
def _words_of(prompt: str) -> tuple[str, ...]:
    words: list[str] = []
    for clause in re.split(r"[,.;:!?\n]", prompt.lower()):
        refused, kept = False, []
        for word in re.findall(r"[^\W\d_]+", clause):
            if word in _WITHOUT:
                refused = True
            elif word in _BEGINNING:
                refused = False
            elif not refused and word not in _LITTLE:
                kept.append(word)
        words += _with_whole_colours(kept)
    return tuple(words)


def _with_whole_colours(words: Sequence[str]) -> Iterator[str]:
    """Yield the words of a clause as the tables have them; ``light``, ``blue`` are one colour.

    A thing in a colour's name speaks for itself too: white smoke is smoke.
    """
    at = 0
    while at < len(words):
        count = next((n for n in (3, 2) if "".join(words[at : at + n]) in COLOURS), 1)
        parts = words[at : at + count]
        at += count
        if count == 1:
            yield _known(parts[0])
        else:
            yield "".join(parts)
            yield from (_known(part) for part in parts if part not in COLOURS and part not in _SHADES)


def _known(word: str) -> str:
    """Return a word as the tables have it: its singular, itself, its plural, or the one that it misses by a letter."""
    one = _PLURAL.sub(lambda end: "y" if end[0] == "ies" else "", word) if len(word) > 3 else word
    for form in (one, word, f"{one}s"):
        if form in _KNOWN:
            return form
    if len(word) >= _LONG:
        for known in _KNOWN:
            if known[0] == word[0] and _is_one_slip(word, known):
                return known
    return one


def _is_one_slip(word: str, known: str) -> bool:
    """Tell whether two words differ by one letter: too many, missing, wrong, or two in the wrong order.

    In a word of five only by two in the wrong order, or by one of a pair: ``while`` is not white, ``yelow`` is yellow.
    """
    at = next((i for i, (a, b) in enumerate(zip(word, known, strict=False)) if a != b), min(len(word), len(known)))
    mine, theirs = word[at:], known[at:]
    if mine[1::-1] == theirs[:2] and mine[2:] == theirs[2:]:
        return True
    if len(word) <= _LONG:
        longer = max(word, known, key=len)
        pair = len(longer) > at and longer[at] == longer[at - 1]
        return pair and (mine[1:] == theirs or mine == theirs[1:])
    return mine[1:] == theirs or mine == theirs[1:] or mine[1:] == theirs[1:]


@lru_cache(maxsize=256)
def style_of(prompt: str) -> PatternStyle:
    """Return the look that a prompt asks for."""
    words = words_of(prompt)
    chance = zlib.crc32(" ".join(words).encode())
    families = _votes(words, _FAMILY_OF)
    if not families:
        families = {list(FAMILY_WORDS)[chance % len(FAMILY_WORDS)]: 1.0}
    best = sorted(families.items(), key=lambda row: -row[1])[:2]
    if len(best) == 2 and best[1][1] < 0.6 * best[0][1]:
        best = best[:1]
    total = sum(weight for _, weight in best)
    colours, others = _colours_in(words)
    numbers = np.zeros(len(NUMBERS), np.float32)
    for word in words:
        for trait in _TRAIT_OF.get(word, ()):
            if trait == "grey" and word not in others and len(colours) > 1:
                continue  # "grey and pink" is no faded pink
            for name, value in TRAITS[trait].items():
                numbers[NUMBERS.index(name)] += value
    # Unknown words bend the shape a little, so that two strange prompts of one family still differ.
    numbers[NUMBERS.index("morph")] += ((chance >> 8) % 64) / 64.0 * 0.4 - 0.2
    numbers[NUMBERS.index("detail")] += ((chance >> 16) % 64) / 64.0 * 0.2 - 0.1
    return PatternStyle(
        {name: weight / total for name, weight in best}, _ring_of(colours, words, others, chance), numbers
    )


def _votes(words: Sequence[str], index: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Count the words that speak for each name; earlier words count more, ambiguous ones less."""
    votes: dict[str, float] = {}
    for place, word in enumerate(words):
        for rank, name in enumerate(index.get(word, ())):
            votes[name] = votes.get(name, 0.0) + 0.96**place / (1.0 + rank)
    return votes


def _colours_in(words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the colours that are named, each once, and the other words."""
    colours = [word for word in words if word in COLOURS]
    others = [word for word in words if word not in COLOURS]
    if any(word in _PALETTE_OF for word in (*others, *colours)):
        others += [name for name in colours if name in _THINGS]
        colours = [name for name in colours if name not in _THINGS]
    return tuple(dict.fromkeys(colours)), others


def _ring_of(colours: tuple[str, ...], words: Sequence[str], others: Sequence[str], chance: int) -> Float32:
    """Return the palette: of the colours that are named, or one that shows them already, or the words' own."""
    votes = _votes(others if colours else words, _PALETTE_OF)
    named = max(votes, key=lambda name: votes[name]) if votes else ""
    if not colours:
        return ring(named or list(PALETTES)[(chance >> 4) % len(PALETTES)])
    if len(colours) == 1:  # "crimson blood" is blood's own red, and "golden" has a palette: both have more shades
        own = next(iter(_PALETTE_OF.get(colours[0], ())), "")
        for name, most_deg in ((named, _ALIKE_DEG), (own, _SAME_DEG)):
            if name and _shows(name, colours[0], most_deg):
                return ring(name)
    return ring_of_colours(colours)


def _shows(palette: str, colour: str, most_deg: float) -> bool:
    """Tell whether a palette is of one hue, and that of a colour; both may be of none."""
    hue, wanted_deg = hue_deg(ring(palette), _ONE_HUE), hue_deg(light_of(colour)[None])
    if hue is None or wanted_deg is None:
        return palette == "mono" and wanted_deg is None and colour != "white"
    return apart_deg(hue, wanted_deg) < most_deg


def blend(looks: Iterable[tuple[PatternStyle, float]]) -> PatternStyle:
    """Return the weighted mean of looks; weights need not sum to 1. With none, the look of an empty prompt."""
    rows = [(look, weight) for look, weight in looks if weight > 0.0]
    if not rows:
        return style_of("")
    total = sum(weight for _, weight in rows)
    families: dict[str, float] = {}
    for look, weight in rows:
        for name, share in look.families.items():
            families[name] = families.get(name, 0.0) + share * weight / total
    palette = sum((look.ring * np.float32(weight / total) for look, weight in rows), np.zeros((SIZE, 3), np.float32))
    numbers = sum(
        (look.numbers * np.float32(weight / total) for look, weight in rows),
        np.zeros(len(NUMBERS), np.float32),
    )
    return PatternStyle(families, palette, numbers)


def travel(here: PatternStyle, there: PatternStyle, share: float) -> PatternStyle:
    """Return the look ``share`` (0..1) of the way from ``here`` to ``there``; families that have faded are dropped."""
    mixed = blend(((here, 1.0 - share), (there, share)))
    kept = {name: w for name, w in mixed.families.items() if w > 0.004 or name in there.families}
    total = sum(kept.values())
    return replace(mixed, families={name: w / total for name, w in kept.items()})
