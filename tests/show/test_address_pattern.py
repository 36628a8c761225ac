"""OSC address patterns, held against fnmatch where the two mean the same."""

import time
from contextlib import suppress
from fnmatch import translate
from re import fullmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known import REGISTRY, SHIPPED

from vjserver.show.pattern import MAX_PATTERN, is_pattern, matching
from vjserver.types.errors import ConfigError

REACH = tuple(address for address in REGISTRY if address in SHIPPED.reached(address))
KNOWN = (
    "/vj/seed",
    "/vj/seed/next",
    "/vj/prompt/1/weight",
    "/vj/prompt/2/weight",
    "/vj/prompt/2/text",
    "/vj/param/zoom",
)


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("/vj/prompt/?/weight", ("/vj/prompt/1/weight", "/vj/prompt/2/weight")),
        ("/vj/prompt/[2-8]/*", ("/vj/prompt/2/weight", "/vj/prompt/2/text")),
        ("/vj/prompt/[!1]/weight", ("/vj/prompt/2/weight",)),
        ("/vj/{seed,param}*", ("/vj/seed",)),
        ("/vj/{seed,param}/*", ("/vj/seed/next", "/vj/param/zoom")),
        ("/vj/*", ("/vj/seed",)),
        ("/*/param/z*m", ("/vj/param/zoom",)),
        ("/vj/param/z**o?", ("/vj/param/zoom",)),
        ("/vj/param/[a-z]oom", ("/vj/param/zoom",)),
        ("/vj/param/{zo,zoo}om", ("/vj/param/zoom",)),
        ("/vj/param/{zo,zoo}m", ("/vj/param/zoom",)),
        ("*", ()),
        ("/vj/prompt/[12-]/weight", ("/vj/prompt/1/weight", "/vj/prompt/2/weight")),
    ],
)
def test_a_pattern_means_what_osc_says(pattern, meant):
    assert matching(pattern, KNOWN) == meant


BROKEN = ["/vj/[a", "/vj/{a,b", "/vj/a]", "/vj/}", "/vj/{a,,b}", "/vj/{a*}", "/vj/[*]", "/vj/" + "?" * MAX_PATTERN,
          "/vj/{" + ",".join("abcdefghi" * 4) + "}"]  # fmt: skip


@pytest.mark.parametrize("pattern", BROKEN)
def test_a_broken_pattern_is_refused(pattern):
    with pytest.raises(ConfigError, match="pattern"):
        matching(pattern, KNOWN)


@given(st.text("ab*?", max_size=10), st.text("ab", max_size=10))
def test_stars_and_question_marks_are_those_of_fnmatch(pattern, text):
    expected = fullmatch(translate(pattern), text) is not None
    assert (matching(f"/{pattern}", (f"/{text}",)) != ()) == expected


@given(st.text("ab[]{},!-*?/", max_size=40))
def test_any_text_is_a_pattern_or_refused(pattern):
    try:
        found = matching(pattern, KNOWN)
    except ConfigError:
        return
    assert set(found) <= set(KNOWN)


def test_no_pattern_takes_long():
    worst = 0.0
    for pattern in ("/vj/" + "*?" * 70, "/*/*/*/*" + "*a" * 60, "/vj/" + "{a,b,c,ab,abc}*" * 10, "/" + "*" * 150):
        began = time.perf_counter()
        with suppress(ConfigError):
            matching(pattern, REACH)
        worst = max(worst, time.perf_counter() - began)
    assert worst < 0.05  # a bound on the work; it took 3 ms


def test_a_pattern_reaches_values_and_no_deeds():
    assert is_pattern("/vj/*")
    assert not is_pattern("/vj/seed")
    assert "/vj/master/panic" not in REACH
    assert "/vj/output/remove" not in REACH
    assert set(matching("/vj/param/zoom/*", REACH)) == {f"/vj/param/zoom/{verb}" for verb in ("raw", "inc", "reset")}
    assert set(REACH) < set(REGISTRY)
