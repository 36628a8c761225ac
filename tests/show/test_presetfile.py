"""Presets as files that people edit: what they wrote stays where it was."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known import PARAMS, REGISTRY, SHIPPED, accept, desk_of
from known import preset_of as made

from vjserver.app.preset_bank import shipped
from vjserver.show.bank import Bank
from vjserver.show.looks import look_of_preset
from vjserver.show.preset import Preset
from vjserver.show.presetfile import preset_of, saved
from vjserver.show.presettext import parse_preset
from vjserver.show.state import ShowState, look_of
from vjserver.types.errors import ConfigError

OURS = sorted(shipped("presets").glob("*.toml"))


def again(text, where="x.toml"):
    """Save a preset over its own file, as it is."""
    preset = parse_preset(text, where, SHIPPED)
    return preset, saved(text, preset_of(look_of_preset(0, preset, SHIPPED), preset.name, preset, SHIPPED))


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_saving_a_preset_over_itself_keeps_its_look_and_every_comment(path):
    text = path.read_text()
    preset, after = again(text)
    new = parse_preset(after, "x.toml", SHIPPED)
    before, now = look_of_preset(0, preset, SHIPPED), look_of_preset(0, new, SHIPPED)
    assert now.params == pytest.approx(before.params, abs=1e-5)
    assert (now.texts, now.mappings, now.travel, new.triggers) == (
        before.texts,
        before.mappings,
        before.travel,
        preset.triggers,
    )
    comments = [row.partition("#")[2] for row in text.splitlines() if "#" in row and '"' not in row.partition("#")[2]]
    assert [c for c in comments if c not in after] == []


def test_only_what_changed_is_changed():
    text = (
        '# my look\nname = "L"\nseed = 5   # five\n\n[params]\nzoom = 0.3  # slow\nbloom = 0.4\n\n'
        "[raw]\nrotate = 0.02   # turns a second\n\n"
        '# two of them\n[[prompts]]\ntext = "sea"\nweight = 1.0\n[[prompts]]\ntext = "sand"\nweight = 0.5\n'
    )
    preset = parse_preset(text, "x", SHIPPED)
    changed = preset.model_copy(update={"params": {"zoom": 0.7, "bloom": 0.4}})
    assert saved(text, preset_of(look_of_preset(0, changed, SHIPPED), "L", preset, SHIPPED)) == text.replace(
        "zoom = 0.3", "zoom = 0.7"
    )


PLAYED = sorted(name for name in PARAMS if not name.startswith(("gan/", "paint/", "shot/", "still/")))


@given(st.dictionaries(st.sampled_from(PLAYED), st.floats(0, 1)), st.lists(st.text(max_size=20), max_size=8),
       st.text(min_size=1, max_size=20), st.integers(0, 99))  # fmt: skip
def test_what_is_saved_is_what_is_read(params, texts, name, seed):
    preset = made(
        name=name,
        params=params,
        prompts=tuple({"text": t, "weight": 0.5} for t in texts),
        seed=seed,
        generator="diffusion",
    )
    look = look_of_preset(0, preset, SHIPPED)
    back = parse_preset(saved("", preset_of(look, name, None, SHIPPED)), "x", SHIPPED)
    assert look_of_preset(0, back, SHIPPED).params == pytest.approx(look.params, abs=1e-4)
    assert (look_of_preset(0, back, SHIPPED).texts, back.name, back.seed) == (look.texts, name, seed)


def test_a_file_that_is_no_toml_is_not_saved_over():
    with pytest.raises(ConfigError, match="not valid TOML"):
        saved("name = ", Preset(name="x"))


HELD = [a for a, entry in REGISTRY.items() if entry.kind == "parameter" and len(entry.arguments) == 1]
HELD_TEXTS = [a for a in HELD if REGISTRY[a].arguments[0].type in ("text", "name")]


@given(
    st.lists(st.tuples(st.sampled_from(HELD), st.text() | st.floats())),
    st.lists(st.tuples(st.sampled_from(HELD_TEXTS), st.integers(0, 9000).map("x".__mul__)), min_size=5),
)
def test_whatever_a_hand_made_of_the_look_can_be_saved(messages, long):
    desk = desk_of(Bank([("a", Preset(name="A"))]), ShowState())
    for address, value in messages + long:
        with suppress(ConfigError):
            desk.receive(0, address, accept(address, (value,)))
    parse_preset(saved("", preset_of(look_of(desk.state), "mine", None, SHIPPED)), "x", SHIPPED)
