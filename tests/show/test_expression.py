"""Expressions: what they are worth, what is refused and where, and that nothing else ever comes of a text."""

import keyword
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from known import PARAMS, REGISTRY, SHIPPED, Mapper, desk_of, preset_of

from vjserver.show.bank import Bank
from vjserver.show.expression import CONSTANTS, DEEPEST, FEATURES, FUNCTIONS, LONGEST, TIMES, names_of, parse
from vjserver.show.looks import enter
from vjserver.show.mapping import mapped
from vjserver.show.state import MappingRow, ShowState
from vjserver.stages.offline.hearing import COLUMNS, STEPS, Grids, Happened, Hearing
from vjserver.stages.offline.performance import moments
from vjserver.types.errors import ConfigError
from vjserver.types.features import BAND_NAMES, PITCH_CLASSES, SCALARS, BeatGrid, silent_features

NS = 1_000_000_000
NOW = {"t": 2.0, "beat": 5.5, "bar": 1.375}


def worth(text, now=NOW):
    return parse(text)(now)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("2 ** 3 ** 2", 512), ("-2 ** 2", -4), ("7 // 2", 3), ("-7 % 3", 2),
        ("8 / 4 / 2", 1), ("8 - 4 - 2", 2), ("+3", 3), ("--3", 3), ("1 < 2", 1), ("2 <= 1", 0), ("1 + 1 == 2", 1),
        ("1 != 1", 0), ("2 > 1", 1), ("1 >= 2", 0), ("3 if t > 1 else 4", 3), ("3 if 0 else 4", 4), ("True", 1),
        ("1e-3", 0.001), ("0x10", 16), ("1_000", 1000), (" t ", 2), ("beat", 5.5), ("bar * 4", 5.5),
        ("1 if 0 else 2 if 0 else 3", 3), ("1 / 0 if 0 else 5", 5), ("pi", math.pi), ("tau / pi", 2), ("e", math.e),
    ],
)  # fmt: skip
def test_arithmetic_is_that_of_everybody(text, value):
    assert worth(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("sin(pi / 2)", 1), ("cos(0)", 1), ("tan(0)", 0), ("sqrt(9)", 3), ("exp(0)", 1), ("floor(-1.5)", -2),
        ("ceil(1.2)", 2), ("log(e)", 1), ("log(8, 2)", 3), ("abs(-2)", 2), ("round(1.6)", 2), ("min(3, 1, 2)", 1),
        ("max(3, 1, 2)", 3), ("clamp(2)", 1), ("clamp(-1)", 0), ("clamp(0.3)", 0.3), ("clamp(5, 2)", 1),
        ("clamp(5, 2, 4)", 4), ("clamp(1, 2, 4)", 2), ("lerp(2, 4, 0.25)", 2.5), ("lerp(2, 4, 2)", 6),
        ("smooth(0.5)", 0.5), ("smooth(-3)", 0), ("smooth(3)", 1), ("smooth(0.25)", 0.15625), ("saw(1.25)", 0.25),
        ("saw(-0.25)", 0.75), ("tri(0)", 0), ("tri(0.5)", 1), ("tri(0.25)", 0.5), ("tri(-0.25)", 0.5), ("pulse(3)", 1),
        ("pulse(0.5)", 0.25),
    ],
)  # fmt: skip
def test_every_function_is_worth_what_it_says(text, value):
    assert worth(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("x", "straight", "eased"),
    [(-1, 10, 10), (0, 10, 10), (1, 12.5, 10 + 10 * 0.15625), (2, 15, 15), (4, 20, 20), (5, 10, 10), (6, 0, 0),
     (99, 0, 0)],
)  # fmt: skip
def test_ramp_and_glide_go_through_their_points(x, straight, eased):
    points = "0, 10, 4, 20, 6, 0"
    assert worth(f"ramp({x}, {points})") == pytest.approx(straight)
    assert worth(f"glide({x}, {points})") == pytest.approx(eased)


def test_two_points_at_one_place_are_a_jump():
    assert [worth(f"ramp({x}, 0, 0, 1, 1, 1, 5, 2, 5)") for x in (0.5, 1, 1.5)] == [0.5, 5, 5]


@pytest.mark.parametrize("text", ["ramp(t, 0, 1, 2)", "glide(t, 1, 2, 3)", "glide(t, 0, 1, 2, 3, 4)"])
def test_half_a_point_is_refused(text):
    with pytest.raises(ConfigError, match="points: x0, y0"):
        worth(text)


@given(st.floats(-1e6, 1e6), st.floats(0, 0.01))
def test_noise_is_smooth_bounded_and_repeatable(x, step):
    a, b = worth(f"noise({x!r})"), worth(f"noise({x + step!r})")
    assert -1.0 <= a <= 1.0
    assert abs(a - b) <= 2.0 * 1.5 * step + 1e-6
    assert worth("noise(t)", {"t": x}) == a


def test_noise_does_not_stand_still():
    values = np.array([worth("noise(t)", {"t": x / 3}) for x in range(-300, 3000)])
    assert values.std() > 0.3
    assert abs(values.mean()) < 0.1


def test_noise_has_no_steps():
    values = np.array([worth("noise(t)", {"t": x / 100}) for x in range(-1000, 1000)])
    assert np.abs(np.diff(values)).max() < 2 * 1.5 / 100 + 1e-6
    assert np.abs(np.diff(values, 2)).max() < 2 * 6 / 100**2 + 1e-3


def heard_now(count=8, t_ns=3 * NS):
    features = replace(
        silent_features(t_ns),
        bands=np.linspace(0.1, 0.6, 6, dtype=np.float32),
        spectrum=np.linspace(0, 1, 32, dtype=np.float32),
        chroma=np.linspace(0, 1, 12, dtype=np.float32),
        grid=BeatGrid(2 * NS, count, 0.5, 0, 4, 0.9, True),
    )
    drums = silent_features(t_ns)
    drums.scalars[list(SCALARS).index("kick")] = 0.7
    return replace(features, stems={"drums": drums})


def test_what_is_heard_has_a_name():
    now = names_of(heard_now(), 3 * NS, NS, 4.0)
    assert worth("t", now) == pytest.approx(2.0)
    assert worth("beat", now) == pytest.approx(6.0)
    assert worth("bar", now) == pytest.approx(1.5)
    assert worth("bass", now) == pytest.approx(0.1 + 0.1 * list(BAND_NAMES).index("bass"))
    assert worth("spectrum_3", now) == pytest.approx(3 / 31)
    assert worth("chroma_fs", now) == pytest.approx(list(PITCH_CLASSES).index("f#") / 11)
    assert (worth("drums_kick", now), worth("kick", now)) == (pytest.approx(0.7), 0.0)
    assert (worth("bpm", now), worth("confidence", now)) == (pytest.approx(120), pytest.approx(0.9))
    assert parse("bass + t + sin(bass)").names == {"bass", "t"}


def test_no_beat_is_no_beat():
    now = names_of(silent_features(3 * NS), 3 * NS, 0, 4.0)
    assert (worth("beat", now), worth("bar", now)) == (0.0, 0.0)


@pytest.mark.parametrize("name", [*FEATURES, *TIMES, *CONSTANTS])
def test_every_name_can_be_written_and_is_a_number(name):
    assert not keyword.iskeyword(name)
    assert math.isfinite(worth(name, names_of(heard_now(), 3 * NS, 0, 0.0)))


def test_no_name_means_two_things():
    assert len({*FEATURES, *TIMES, *CONSTANTS, *FUNCTIONS}) == sum(map(len, (FEATURES, TIMES, CONSTANTS, FUNCTIONS)))


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("1 + t.real", 5), ("t[0]", 1), ("2 * (lambda: 1)", 6), ("[t for t in 1]", 1), ("'a'", 1), ("1 + b'a'", 5),
        ("1 + (t := 2)", 6), ("sin(*t)", 5), ("0 < t < 1", 1), ("t and 1", 1), ("not t", 1), ("~1", 1), ("1 << 3", 1),
        ("1 @ 2", 1), ("1j", 1), ("None", 1), ("...", 1), ("1 + f'{t}'", 5), ("{1}", 1), ("1, 2", 1), ("1 1", 3),
        ("1 +", 4), ("t = 1", 3), ("import os", 1), ("", 1), ("   ", 1), ("1e400", 1), ("2 + 9999999999999999", 5),
        ("9" * 1900, 1), ("await t", 1), ("1 + basss", 5), ("__import__", 1), ("t.__class__", 1), ("1; 2", 2),
        ("(" * 300 + "1" + ")" * 300, None), ("abs", 1), ("sin + 1", 1),
    ],
)  # fmt: skip
def test_what_is_no_arithmetic_is_refused_with_its_column(text, column):
    with pytest.raises(ConfigError, match=rf"column {column}\b" if column else r"column \d+"):
        parse(text)


@pytest.mark.parametrize("text", ["sin(x=1)", "clamp(t, low=1)", "t.sin(1)", "(sin)(t)(t)", "__import__(1)", "eval(1)"])
def test_what_is_called_otherwise_is_refused(text):
    with pytest.raises(ConfigError):
        parse(text)


def test_a_keyword_is_not_said_to_be_an_unknown_function():
    with pytest.raises(ConfigError) as error:
        parse("clamp(t, low=1)")
    assert "no function 'clamp'" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("basss", "bass"),
        ("beet * 2", "beat"),
        ("sine(t)", "sin"),
        ("drums_kik", "drums_kick"),
        ("chroma_fis", "chroma_fs"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(text, near):
    with pytest.raises(ConfigError, match=rf"nearest: .*\b{near}\b"):
        parse(text)


@pytest.mark.parametrize("text", ["sin()", "sin(1, 2)", "min(1)", "lerp(1, 2)", "clamp(1, 2, 3, 4)", "ramp(t, 1)"])
def test_too_few_or_too_many_numbers_are_refused(text):
    with pytest.raises(ConfigError, match=r"takes .* numbers: got \d"):
        parse(text)


def test_what_is_too_long_or_too_deep_is_refused():
    with pytest.raises(ConfigError, match=f"at most {LONGEST} signs: got {LONGEST + 1}"):
        parse("1" + " " * LONGEST)
    assert worth("-" * DEEPEST + "1") == (-1) ** DEEPEST
    for text in ("-" * (DEEPEST + 1) + "1", "-" * 1900 + "1", "sin(" * 60 + "1" + ")" * 60):
        with pytest.raises(ConfigError, match=f"at most {DEEPEST} deep"):
            parse(text)


@pytest.mark.parametrize(
    "text",
    ["1 / (t - 2)", "1 // 0", "1 % 0", "sqrt(-1)", "log(0)", "log(-1)", "log(8, 1)", "exp(1000)", "9**9**9", "10**400",
     "0 ** -1", "(0 - 8) ** 0.5", "1e14**20 * 1e14**20", "floor(1e14**21) * floor(1e14**21)",
     "sin(1e14**21 * 1e14**21)", "floor(1e14**21 * 1e14**21)"],
)  # fmt: skip
def test_what_makes_no_number_says_when(text):
    with pytest.raises(ConfigError, match=r"at t = 2\.000"):
        worth(text)


def test_huge_whole_numbers_end():
    text = "*".join(["floor(9e14**20)"] * 38)
    with pytest.raises(ConfigError):
        worth(text)
    with pytest.raises(ConfigError):
        worth("**".join(["9"] * 30))


WORDS = [*FUNCTIONS, *TIMES, *CONSTANTS, "bass", "drums_kick", "chroma_fs", "break", *"0123456789()+-*/%.,<>=! \n",
         "**", "//", "==", " if ", " else ", "1e14", "1e-300", "9" * 20, "(", ")", ", ", "(t, 0, 1, 2, 3)", ":=",
         "lambda ", "[", "]", "'", "#", "\\", "\0", "\ud800", "ｔ", "∞", "and ", "0x", "1j", "_", "x."]  # fmt: skip
NOWS = [
    names_of(heard_now(), 3 * NS, 0, 0.0),
    names_of(silent_features(0), 0, 0, 0.0),
    names_of(heard_now(), 10**17, 0, -1e15),
]


def asked(text):
    for now in NOWS:
        try:
            value = parse(text)(now)
        except ConfigError:
            continue
        assert isinstance(value, float)
        assert math.isfinite(value)


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=25).map("".join)))
@example("saw(0 - 1e-300)")
@example("noise(1e14**21)")
@example("min(1, 1e14**21 * 1e14**21 * 0)")
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_any_text_is_a_finite_number_or_refused(text):
    asked(text)


TREES = st.recursive(
    st.sampled_from(["t", "beat", "bar", "bass", "0", "1", "0.5", "1e14", "1e-300", "pi"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "<", "=="]), inner).map(
            lambda row: f"({' '.join(row)})"
        ),
        st.tuples(st.sampled_from(list(FUNCTIONS)), st.lists(inner, min_size=1, max_size=5)).map(
            lambda row: f"{row[0]}({', '.join(row[1])})"
        ),
        st.tuples(inner, inner, inner).map(lambda row: f"({row[0]} if {row[1]} else {row[2]})"),
        inner.map(lambda one: f"-{one}"),
    ),
    max_leaves=20,
)


@given(TREES)
def test_any_arithmetic_is_a_finite_number_or_refused(text):
    asked(text)


# -- in a mapping ----------------------------------------------------------------------------------------------


def moved_by(source, to="/vj/param/zoom"):
    return MappingRow(f"= {source}", to, 0.0, 1.0, "linear", "set", 0.0, 0.0)


@pytest.mark.parametrize(
    ("source", "raw"), [("0.25", 0.25), ("-t / 10", -0.3), ("9", 1.0), ("-9", -1.0), ("bass", 0.2)]
)
def test_an_expression_puts_a_knob_in_its_own_unit(source, raw):
    state = ShowState(mappings=(moved_by(source),))
    assert Mapper()(state, heard_now(), 3 * NS, 1 / 30, (64, 36)).params["zoom"] == pytest.approx(raw, abs=1e-6)


@pytest.mark.parametrize("name", [name for name, knob in PARAMS.items() if knob.type == "float"])
def test_an_expression_reaches_every_knob_in_its_unit(name):
    knob = PARAMS[name]
    middle = (knob.low + knob.high) / 2
    address = next(a for a in REGISTRY if REGISTRY[a].kind == "parameter" and SHIPPED.key_of(a) == name)
    state = ShowState(mappings=(moved_by(repr(middle), address),))
    *_, knobs, _ = mapped(state, silent_features(1), 1, 0.0, (64, 36), Mapper().memory, SHIPPED)
    assert knob.raw(knobs[name]) == pytest.approx(middle, rel=1e-6, abs=1e-6)


def test_on_stage_a_knob_stays_where_an_expression_made_its_last_number():
    mapper, state = Mapper(), ShowState(mappings=(moved_by("0.5 if t < 1 else 1 / 0"),))
    at = [mapper(state, silent_features(t), t, 0.5, (64, 36)).params["zoom"] for t in (0, NS // 2, NS, 2 * NS)]
    assert at == pytest.approx([0.5] * 4, abs=1e-6)


def test_an_expression_moves_the_weight_of_a_prompt():
    state = ShowState(texts=("a", "b"), weights=(1.0, 1.0), mappings=(moved_by("0.25", "/vj/prompt/2/weight"),))
    prompts = dict(Mapper()(state, silent_features(1), 1, 0.0, (64, 36)).text.prompts)
    assert prompts["b"] == pytest.approx(0.25 * prompts["a"])


def song(seconds=6.0, bpm=124.0):
    period = 60 / bpm
    count = math.ceil(seconds / period)
    grids = tuple(BeatGrid(round(i * period * NS), i, period, i % 4, 4, 1.0, True) for i in range(count))
    table = np.zeros((round(seconds * STEPS), COLUMNS), np.float16)
    table[:] = 0.5 + 0.5 * np.sin(np.arange(len(table)) / 9.0)[:, None]
    happened = Happened(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.float32))
    return Hearing(seconds, table, happened, Grids(tuple(g.t_ns for g in grids), grids))


def played(rate, *mappings):
    preset = preset_of(name="A", mappings=mappings)
    bank = Bank([("a", preset)])
    desk = desk_of(bank, enter(ShowState(), 0, preset, SHIPPED))
    rows = {}
    for moment in moments(desk, song(), Fraction(rate), (64, 36)):
        request, knobs, _ = mapped(
            moment.state, moment.features, moment.t_ns, moment.since_s, moment.size, moment.mapper, SHIPPED
        )
        rows[moment.t_ns] = (request.params["zoom"], request.params["scale"], knobs["rotate"])
    return rows


def test_films_of_24_and_60_frames_a_second_are_the_same_at_the_same_times():
    mappings = (
        {"source": "= 0.5 * sin(beat) + 0.2 * noise(3 * t)", "to": "/vj/param/zoom"},
        {"source": "= glide(bar, 0, -1, 2, 1)", "to": "/vj/param/scale"},
        {"source": "bass", "to": "/vj/param/rotate", "mode": "set", "attack_s": 0.1, "release_s": 0.4},
    )
    slow, fast = played(24, *mappings), played(60, *mappings)
    both = sorted(slow.keys() & fast.keys())
    assert len(both) >= 72
    for t_ns in both:
        assert slow[t_ns] == pytest.approx(fast[t_ns], abs=1e-6)
        beat = t_ns * 1e-9 * 124 / 60
        noise = worth("noise(3 * t)", {"t": t_ns * 1e-9})
        assert slow[t_ns][0] == pytest.approx(0.5 * math.sin(beat) + 0.2 * noise, abs=1e-5)
    assert np.ptp([slow[t][2] for t in both]) > 0.2
