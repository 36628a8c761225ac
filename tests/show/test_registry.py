import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known import PARAMS, REGISTRY, SHIPPED, accept

from vjserver.show.addresses import MAX_TEXT, OUTPUTS
from vjserver.show.registry import changed
from vjserver.types.errors import ConfigError

anything = st.one_of(st.floats(), st.integers(), st.text(max_size=50), st.booleans(), st.none(), st.binary(max_size=5))


@given(st.sampled_from(sorted(REGISTRY)), st.lists(anything, max_size=3))
def test_whatever_comes_is_clamped_or_refused(address, args):
    try:
        accepted = accept(address, args)
    except ConfigError:
        return
    for argument, value in zip(REGISTRY[address].arguments, accepted, strict=False):
        if argument.type in ("float", "int"):
            assert argument.low <= value <= argument.high
        if argument.type == "text":
            assert len(value) <= MAX_TEXT


@pytest.mark.parametrize(
    ("address", "given_", "accepted"),
    [
        ("/vj/param/zoom", [2.0], (1.0,)),
        ("/vj/param/zoom/raw", [-9], (-1.0,)),
        ("/vj/master/blackout", [1], (True,)),
        ("/vj/master/blackout", [0.0], (False,)),
        ("/vj/seed", [3.7], (3,)),
        ("/vj/preset/go", ["02-outrun"], ("02-outrun",)),
        ("/vj/preset/go", [3.0], (3,)),
        ("/vj/tempo/tap", [1.0], ()),
        ("/vj/tempo/tap", [], ()),
    ],
)
def test_values_are_typed_and_clamped(address, given_, accepted):
    assert accept(address, given_) == accepted


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, "loud", None])
def test_what_is_no_number_is_refused_with_the_range(value):
    with pytest.raises(ConfigError, match=r"/vj/master/fade takes a number in 0\.\.1: got"):
        accept("/vj/master/fade", [value])


def test_a_misspelt_address_names_the_nearest():
    with pytest.raises(ConfigError, match="nearest: /vj/param/zoom"):
        SHIPPED.lookup("/vj/param/zom")


def test_only_a_buttons_zero_is_a_release():
    assert SHIPPED.is_release("/vj/tempo/tap", [0.0])
    assert not SHIPPED.is_release("/vj/tempo/tap", [1.0])
    assert not SHIPPED.is_release("/vj/master/fade", [0.0])


def test_addresses_in_and_out_do_not_meet():
    assert not set(REGISTRY) & set(OUTPUTS)
    assert all(entry.doc for entry in [*REGISTRY.values(), *OUTPUTS.values()])


@given(st.sampled_from(sorted(PARAMS)), st.floats(0, 1))
def test_a_params_scale_goes_both_ways(name, value):
    param = PARAMS[name]
    if param.type == "float":
        assert param.norm(param.raw(value)) == pytest.approx(value, abs=1e-9)
    else:  # whole numbers and choices stand on steps, and stay on theirs
        step = param.raw(value)
        assert step == round(step)
        assert param.raw(param.norm(step)) == step


@given(st.text(st.characters(), max_size=100))
def test_any_text_can_be_carried_by_every_surface(text):
    (taken,) = accept("/vj/negative", [text])
    assert "\0" not in taken
    taken.encode("utf-8")
    assert accept("/vj/negative", [taken]) == (taken,)


def test_halves_of_signs_from_json_are_replaced():
    assert accept("/vj/negative", ["a\ud800b\0c"]) == ("a?bc",)


# -- what is plain to a person --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "args", "taken"),
    [
        ("/vj/prompt/1/text", (1984,), ("1984",)),
        ("/vj/prompt/1/text", (3.0,), ("3",)),
        ("/vj/prompt/1/text", (0.5,), ("0.5",)),
        ("/vj/prompt/1/text", ("a", "red", "fox", 3), ("a red fox 3",)),
        ("/vj/output/add", ("wall", "ndi", "name=x", "fps=30"), ("wall", "ndi name=x fps=30")),
        ("/vj/param/zoom", ("0.75",), (0.75,)),
        ("/vj/param/zoom", (" 0,75 ",), (0.75,)),
        ("/vj/param/zoom", (0.25, 0.75), (0.25,)),
        ("/vj/param/zoom", (True,), (1.0,)),
        ("/vj/master/blackout", ("true",), (True,)),
        ("/vj/master/blackout", ("On",), (True,)),
        ("/vj/master/blackout", ("off",), (False,)),
        ("/vj/master/blackout", ("1",), (True,)),
        ("/vj/seed", ("77",), (77,)),
        ("/vj/seed", (77.0, 5.0, 6.0), (77,)),
        ("/vj/tempo/range", ("90", 140.0, 3), (90.0, 140.0)),
    ],
)
def test_what_is_plain_to_a_person_is_taken(address, args, taken):
    assert accept(address, args) == taken


@pytest.mark.parametrize("text", ["loud", "", "nan", "inf", "-inf", "1,2,3", "0x10", "1e999", "½", "9" * 5000])
def test_a_text_that_says_no_number_is_refused(text):
    with pytest.raises(ConfigError, match="takes a number"):
        accept("/vj/master/fade", (text,))


def test_what_was_left_out_is_told():
    assert changed((0.25, 0.75), accept("/vj/param/zoom", (0.25, 0.75))) == "2 values -> the first"
    assert changed(("a", "b"), accept("/vj/negative", ("a", "b"))) == ""
    assert changed(("0.5",), accept("/vj/param/zoom", ("0.5",))) == ""
