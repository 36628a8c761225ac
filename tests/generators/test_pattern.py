import colorsys

import matplotlib.colors
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known import PARAMS

from vjserver.generators.pattern.families import FAMILIES
from vjserver.generators.pattern.generator import PatternGenerator, PatternOptions
from vjserver.generators.pattern.info import INFO
from vjserver.generators.pattern.lexicon import (
    FAMILY_WORDS,
    NUMBERS,
    PALETTE_WORDS,
    TRAIT_WORDS,
    TRAITS,
    PatternStyle,
    blend,
    style_of,
    travel,
    words_of,
)
from vjserver.generators.pattern.palette import PALETTES, SIZE, ring
from vjserver.generators.pattern.render import _heaviest
from vjserver.types.frames import FrameRequest, TextConditioning

WIDTH, HEIGHT = 160, 90
DEFAULTS = {name: p.default for name, p in PARAMS.items()}


@pytest.fixture(scope="module")
def generator():
    one = PatternGenerator(PatternOptions(threads=1))
    one.open()
    one.warm_up(WIDTH, HEIGHT)
    yield one
    one.close()


def request(prompt="", seed=1, seconds=1 / 30, size=(WIDTH, HEIGHT), **params):
    prompts = ((prompt, 1.0),) if isinstance(prompt, str) else tuple(prompt)
    return FrameRequest(1, *size, TextConditioning(prompts), {**DEFAULTS, **params}, seed, seconds)


def frames(generator, wish, count=5):
    memory, result = None, []
    for _ in range(count):
        frame, memory = generator.render(wish, memory)
        result.append(frame.pixels.copy())
    return result


def test_the_tables_agree():
    assert set(FAMILY_WORDS) == set(FAMILIES)
    assert set(PALETTE_WORDS) == set(PALETTES)
    assert set(TRAIT_WORDS) == set(TRAITS)
    assert len(FAMILIES) >= 12
    assert all(name in NUMBERS for trait in TRAITS.values() for name in trait)
    assert all(name.split()[0] == family for family, name in FAMILY_WORDS.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_a_picture_that_moves_and_is_neither_black_nor_white(generator, family):
    first, *_, last = frames(generator, request(family), 12)
    assert first.shape == (HEIGHT, WIDTH, 4)
    assert (first[..., 3] == 255).all()
    colours = last[..., :3].astype(float)
    assert 4 < colours.mean() < 215
    assert colours.std() > 12
    assert np.abs(colours - first[..., :3]).mean() > 0.4


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_sharp_at_720p(generator, family):
    wish = request(family, size=(1280, 720), feedback=0.0, bloom=0.0)
    grey = frames(generator, wish, 1)[0][..., :3].mean(axis=2)
    steps = np.abs(np.diff(grey, axis=1))
    assert np.percentile(steps, 99.9) > 2.5, "the sharpest edges must be more than gradients"


def test_families_differ(generator):
    pictures = [frames(generator, request(name), 2)[-1].astype(float) for name in FAMILIES]
    for i, one in enumerate(pictures):
        for other in pictures[i + 1 :]:
            assert np.abs(one - other).mean() > 5


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_prompt_gives_a_look_and_the_same_prompt_the_same(prompt):
    style_of.cache_clear()
    first = style_of(prompt)
    style_of.cache_clear()
    again = style_of(prompt)
    assert first.families == again.families
    assert sum(first.families.values()) == pytest.approx(1.0)
    assert np.array_equal(first.ring, again.ring)
    assert np.array_equal(first.numbers, again.numbers)
    assert np.isfinite(first.ring).all()


def test_words_mean_what_they_say():
    assert list(style_of("a tunnel of fire").families) == ["tunnel"]
    assert np.array_equal(style_of("a tunnel of fire").ring, ring("fire"))
    assert list(style_of("wormhole").families) == ["tunnel"]
    assert list(style_of("mandalas").families) == ["kaleidoscope"]
    speed = NUMBERS.index("speed")
    assert (
        style_of("calm rings").numbers[speed] < style_of("rings").numbers[speed] < style_of("wild rings").numbers[speed]
    )


def hues_shown(generator, prompt):
    """Return the pixels that are bright, float (n, 3) 0..1, and their mean hue in degrees."""
    pixels = frames(generator, request(prompt), 3)[-1][..., :3].reshape(-1, 3) / 255.0
    bright = pixels[pixels.max(axis=1) >= np.percentile(pixels.max(axis=1), 70)]
    turn = np.exp(1j * np.deg2rad((0.0, 120.0, 240.0)))
    return bright, np.rad2deg(np.angle((bright @ turn).sum())) % 360.0


def apart(a, b):
    return abs((a - b + 180.0) % 360.0 - 180.0)


def hue_of(colour):
    hue, saturation, value = colorsys.rgb_to_hsv(*matplotlib.colors.to_rgb(colour))
    return hue * 360.0, saturation * value


@pytest.mark.parametrize("family", ["tunnel", "plasma", "stars"])
def test_every_css_colour_is_shown_in_its_hue(generator, family):
    wrong = {}
    for name, colour in matplotlib.colors.CSS4_COLORS.items():
        wanted, chroma = hue_of(colour)
        if chroma > 0.1:
            _, shown = hues_shown(generator, f"{family}, {name}")
            if apart(shown, wanted) > 20.0:
                wrong[name] = round(float(shown)), round(wanted)
    assert wrong == {}


@pytest.mark.parametrize("name", ["black", "white", "grey", "silver", "gainsboro", "white smoke"])
def test_a_colour_that_is_none_shows_none(generator, name):
    bright, _ = hues_shown(generator, f"tunnel, {name}")
    assert (bright.max(axis=1) - bright.min(axis=1)).mean() < 0.15


@pytest.mark.parametrize(
    "pair",
    ["red and blue", "orange and teal", "pink and cyan", "purple and gold", "yellow and violet", "green and magenta",
     "blue and yellow", "turquoise and hot pink"],
)  # fmt: skip
def test_both_colours_of_a_pair_are_shown(generator, pair):
    bright, _ = hues_shown(generator, f"plasma, {pair}")
    hues = np.array([colorsys.rgb_to_hsv(*pixel)[0] for pixel in bright]) * 360.0
    for name in pair.split(" and "):
        wanted, _ = hue_of(matplotlib.colors.CSS4_COLORS[name.replace(" ", "")])
        assert np.mean(apart(hues, wanted) < 30.0) > 0.1, name


@pytest.mark.parametrize("colour", ["yellow", "red", "blue"])
def test_black_beside_a_colour_darkens_it_and_white_lightens_it(generator, colour):
    mean = {
        what: np.mean([frames(generator, request(f"{name}, {what}"), 3)[-1][..., :3] for name in FAMILIES[:6]])
        for what in (colour, f"black and {colour}", f"white and {colour}")
    }
    assert mean[f"black and {colour}"] < 0.9 * mean[colour]
    assert mean[f"white and {colour}"] > 1.1 * mean[colour]
    for what in mean:
        _, shown = hues_shown(generator, f"tunnel, {what}")
        assert apart(shown, hue_of(colour)[0]) < 20.0, what


def same_look(one, other):
    a, b = style_of(one), style_of(other)
    return (a.families == b.families and np.array_equal(a.ring, b.ring)) and np.array_equal(a.numbers, b.numbers)


@pytest.mark.parametrize(
    ("one", "other"),
    [("tiger", "a tiger"), ("tiger", "the tigers"), ("yellow star", "the yellow stars"), ("fox", "foxes"),
     ("light blue rings", "lightblue ring"), ("yelow rings", "yellow rings"), ("tunnle of fire", "tunnel of fire"),
     ("kaleidoscop", "kaleidoscope"), ("tunnel, no stars", "tunnel"), ("grid without clouds or smoke", "grid"),
     ("a city", "a city, no bright stars")],
)  # fmt: skip
def test_articles_plurals_and_one_slip_do_not_change_the_look(one, other):
    assert same_look(one, other)


def test_what_a_prompt_is_without_is_not_in_it():
    assert "stars" not in style_of("no stars").families
    assert "stars" in style_of("no clouds but stars").families
    assert "stars" in style_of("tunnel without fog, stars, night sky and sparks").families
    assert words_of("Sky with no stars, the Moon") == ["sky", "moon"]


def test_short_words_and_others_are_not_taken_for_slips():
    assert words_of("fine cat bird") == ["fine", "cat", "bird"]
    assert words_of("while a plane over city blocks") == ["while", "plane", "over", "city", "block"]
    assert words_of("misty forest, green, northern lights green") == [
        "misty", "forest", "green", "northern", "light", "green"
    ]  # fmt: skip
    assert "nebula" in style_of("white smoke").families
    assert words_of("glass chaos") == ["glass", "chaos"]


def test_the_shipped_looks_keep_their_palettes():
    for prompt, palette in (
        ("golden mandala, kaleidoscope of crystals", "gold"), ("julia fractal dragon, crimson blood", "blood"),
        ("stars, sparks, hyperspace, royal violet", "royal"), ("living cells, organic coral, candy", "candy"),
        ("silk flowing underwater, deep ocean, calm", "ocean"), ("molten lava plasma, glowing fire", "fire"),
    ):  # fmt: skip
        assert np.array_equal(style_of(prompt).ring, ring(palette)), prompt


def test_unknown_words_spread_over_families():
    chosen = {next(iter(style_of(f"blorb{chr(97 + i % 26)}{chr(97 + i // 26)}").families)) for i in range(200)}
    assert len(chosen) >= 12


@given(st.lists(st.tuples(st.sampled_from(["rings", "fire grid", "ocean", "xyzzy"]), st.floats(0, 1)), max_size=5))
def test_a_blend_is_a_look(rows):
    look = blend((style_of(text), weight) for text, weight in rows)
    assert sum(look.families.values()) == pytest.approx(1.0)
    assert look.ring.shape == (SIZE, 3)


def test_travel_arrives_and_forgets_what_it_left():
    here, there = style_of("rings"), style_of("grid fire")
    for _ in range(200):
        here = travel(here, there, 0.1)
    assert here.families == pytest.approx({"grid": 1.0}, abs=1e-3)
    assert np.allclose(here.ring, there.ring, atol=1e-4)


def test_the_drawn_families_change_without_a_jump():
    def weight(share, name):
        return dict(_heaviest({"a": 0.5, "b": 0.3 - share, "c": 0.2 + share})).get(name, 0.0)

    # b and c swap places at 0.05: neither may jump there
    assert weight(0.0499, "b") == pytest.approx(weight(0.0501, "c"), abs=0.01)
    assert weight(0.0499, "c") == pytest.approx(weight(0.0501, "c"), abs=0.01)


def test_the_same_request_gives_the_same_picture(generator):
    one, two = (frames(generator, request("nebula storm", seed=5), 4)[-1] for _ in range(2))
    assert np.array_equal(one, two)


def test_the_seed_changes_the_picture_but_not_at_once(generator):
    memory = None
    for _ in range(4):
        frame, memory = generator.render(request("plasma", seed=1, speed=0.0), memory)
    before = frame.pixels.astype(float)
    frame, memory = generator.render(request("plasma", seed=2, speed=0.0), memory)
    after = frame.pixels.astype(float)
    for _ in range(90):
        frame, memory = generator.render(request("plasma", seed=2, speed=0.0), memory)
    assert np.abs(after - before).mean() < 0.5 * np.abs(frame.pixels.astype(float) - before).mean()


@pytest.mark.parametrize("name", sorted(INFO.uses))
def test_every_parameter_changes_the_picture(generator, name):
    base = frames(generator, request("hexes, sunset", scale=0.2), 6)[-1].astype(float)
    param = PARAMS[name]
    other = 0.4 if name == "palette" else param.high  # the palette is a ring: a whole turn changes nothing
    changed = frames(generator, request("hexes, sunset", **{"scale": 0.2, name: other}), 6)[-1].astype(float)
    assert np.abs(base - changed).mean() > 0.3


def test_motion_does_not_depend_on_the_frame_rate(generator):
    def after(count, dt):
        memory = None
        for i in range(count + 1):
            _, memory = generator.render(request("rings", seconds=dt if i else 0.0, zoom=0.5, rotate=0.1), memory)
        return memory

    slow, fast = after(10, 0.1), after(60, 1 / 60)
    assert slow.time_s == pytest.approx(fast.time_s, abs=1e-6)
    assert slow.travel == pytest.approx(fast.travel, abs=1e-6)
    assert slow.angle == pytest.approx(fast.angle, abs=1e-6)


def test_size_changes_live(generator):
    _, memory = generator.render(request("rings"), None)
    frame, memory = generator.render(request("rings", size=(96, 64)), memory)
    assert frame.pixels.shape == (64, 96, 4)
    frame, _ = generator.render(request("rings"), memory)
    assert frame.pixels.shape == (HEIGHT, WIDTH, 4)


def test_threads_draw_the_same_picture(generator):
    many = PatternGenerator(PatternOptions(threads=3))
    many.open()
    assert np.array_equal(frames(many, request("cells"), 3)[-1], frames(generator, request("cells"), 3)[-1])
    many.close()


def test_blended_families_lie_between_their_parts(generator):
    both = PatternStyle({"rings": 0.5, "grid": 0.5}, ring("ice"))
    assert len(_heaviest(both.families)) == 2
    picture = frames(generator, request((("rings ice", 1.0), ("grid ice", 1.0))), 2)[-1].astype(float)
    for alone in ("rings ice", "grid ice"):
        assert np.abs(picture - frames(generator, request(alone), 2)[-1]).mean() > 2


def test_an_empty_prompt_is_a_picture_too(generator):
    assert frames(generator, request(()), 2)[-1][..., :3].std() > 5
