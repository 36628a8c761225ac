from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known import PARAMS, REGISTRY, Mapper, accept, apply, enter, read

from vjserver.show.bank import Bank
from vjserver.show.looks import Triggers
from vjserver.show.mapping import CURVES
from vjserver.show.preset import Preset
from vjserver.show.registry import COMMON_ONLY
from vjserver.show.state import MappingRow, ShowState
from vjserver.types.errors import ConfigError
from vjserver.types.events import Beat, Drum, Onset
from vjserver.types.features import BAND_NAMES, silent_features

BANK = Bank(
    [
        ("a", Preset(name="A", seed=3, prompts=({"text": "rings"},), params={"zoom": 0.7})),
        ("b", Preset(name="B", seed=4, prompts=({"text": "grid"}, {"text": "fire", "weight": 0.5}))),
    ]
)


def do(state, address, *args):
    return apply(state, 1, address, accept(address, args), BANK)


def test_prompts_change_text_and_weight_and_nothing_else():
    state = do(do(ShowState(), "/vj/prompt/2/text", "ocean"), "/vj/prompt/2/weight", 0.4)
    assert state.texts[1] == "ocean"
    assert state.prompts == (("ocean", 0.4),)
    assert (state.seed, state.params) == (1, {})
    assert state.revision == 2


def test_a_preset_sets_the_look_and_leaves_master_to_the_performer():
    state = do(do(ShowState(), "/vj/master/fade", 0.5), "/vj/preset/go", "b")
    assert (state.preset_name, state.seed, state.fade) == ("B", 4, 0.5)
    assert state.prompts == (("grid", 1.0), ("fire", 0.5))
    assert do(state, "/vj/preset/next").preset_name == "A"
    assert do(state, "/vj/preset/prev").preset_name == "A"
    with pytest.raises(ConfigError):
        do(state, "/vj/preset/go", "c")


def test_params_have_raw_inc_and_reset():
    state = do(enter(ShowState(), 0, BANK.presets[0][1]), "/vj/param/zoom/inc", 0.2)
    assert state.params["zoom"] == pytest.approx(0.9)
    state = do(state, "/vj/param/zoom/inc", 0.5)
    assert state.params["zoom"] == 1.0
    assert do(state, "/vj/param/zoom/raw", 0.0).params["zoom"] == 0.5
    assert do(state, "/vj/param/zoom/reset").params["zoom"] == 0.7


@given(st.sampled_from([a for a, e in REGISTRY.items() if e.kind == "parameter"]), st.floats(0, 1))
def test_every_parameter_reads_back_what_was_set(address, share):
    argument = REGISTRY[address].arguments[0]
    entry = REGISTRY[address]
    own = {"/vj/size": "640x360", "/vj/preset/bank": "", "/vj/sound/channels": "3+4", "/vj/speech/language": "es"}
    text = entry.choices[-1] if entry.choices else own.get(address, "x")
    value = text if argument.type == "text" else argument.low + share * (argument.high - argument.low)
    accepted = accept(address, [value])
    assert read(do(ShowState(), address, value), address) == pytest.approx(accepted[0])


@pytest.mark.parametrize("address", [a for a, e in REGISTRY.items() if e.kind == "parameter"])
def test_every_parameter_starts_at_its_declared_default(address):
    assert read(ShowState(), address) == pytest.approx(REGISTRY[address].default)


def test_the_state_survives_the_journey_between_processes():
    state = enter(ShowState(), 0, BANK.presets[0][1])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=ShowState) == state


def beat(count, position):
    return Beat(count, count, count, position, 4, 120.0, 1.0)


def test_triggers_count_beats_bars_and_drums():
    triggers = Triggers(
        Preset(
            name="T",
            triggers=(
                {"on": "beat", "every": 2, "do": "/vj/seed/next"},
                {"on": "bar", "do": "/vj/preset/next"},
                {"on": "kick", "do": "/vj/param/zoom/inc", "args": [0.1]},
            ),
        ),
        COMMON_ONLY,
    )
    heard = [triggers.hear(beat(i, i % 4)) for i in range(8)]
    assert sum(("/vj/seed/next", ()) in due for due in heard) == 4
    assert sum(("/vj/preset/next", ()) in due for due in heard) == 2
    assert triggers.hear(Drum(0, 0, "kick", 1.0)) == [("/vj/param/zoom/inc", (0.1,))]
    assert triggers.hear(Onset(0, 0, 1.0)) == []


def features(**bands):
    f = silent_features(1)
    values = np.array([bands.get(name, 0.0) for name in BAND_NAMES], np.float32)
    return replace(f, bands=values)


def row(**changes):
    return replace(MappingRow("bass", "/vj/param/zoom", 0.0, 0.4, "linear", "add", 0.0, 0.0), **changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 0.5 + 0.2), ({"mode": "set"}, 0.2), ({"mode": "multiply"}, 0.5 * 0.2), ({"curve": "square"}, 0.5 + 0.1),
        ({"curve": "invert", "low": 0.0, "high": 0.2}, 0.6), ({"low": 0.0, "high": 2.0}, 1.0),
    ],
)  # fmt: skip
def test_a_mapping_moves_its_parameter(changes, expected):
    state = ShowState(mappings=(row(**changes),))
    request = Mapper()(state, features(bass=0.5), 2, 1 / 30, (64, 36))
    assert PARAMS["zoom"].norm(request.params["zoom"]) == pytest.approx(expected, abs=1e-6)


def test_a_mapping_can_move_a_prompts_weight():
    state = ShowState(texts=("a", "b", *[""] * 6), mappings=(row(to="/vj/prompt/2/weight", low=0.0, high=1.0),))
    request = Mapper()(state, features(bass=0.25), 2, 1 / 30, (64, 36))
    assert request.text.prompts == (("a", 1.0), ("b", 0.25))


def test_attack_and_release_are_in_seconds_at_any_frame_rate():
    def after(steps, dt):
        mapper, state = Mapper(), ShowState(mappings=(row(attack_s=0.5, mode="set", high=1.0),))
        for _ in range(steps):
            request = mapper(state, features(bass=1.0), 2, dt, (64, 36))
        return PARAMS["zoom"].norm(request.params["zoom"])

    assert after(15, 1 / 30) == pytest.approx(after(60, 1 / 120), rel=1e-3)


@given(st.floats(0, 1), st.sampled_from(sorted(CURVES)))
def test_curves_stay_in_range(x, name):
    assert 0.0 <= CURVES[name](x) <= 1.0


def moved_by(seconds, heard, **times):
    """Return how far a knob has moved after so long of a loudness, step by step."""
    state = ShowState(mappings=(row(mode="set", high=1.0, **times),))
    mapper, out = Mapper(), []
    for i, level in enumerate(heard):
        f = features(bass=level)
        request = mapper(state, f, round(i * seconds * 1e9), seconds, (64, 36))
        out.append(request.params["zoom"])
    low, high = PARAMS["zoom"].low, PARAMS["zoom"].high
    return [(value - low) / (high - low) for value in out]


def test_attack_is_how_slowly_it_rises_and_release_how_slowly_it_falls():
    loud, still = [1.0] * 20, [0.0] * 20
    slow_up = moved_by(0.05, still + loud + still, attack_s=1.0, release_s=0.0)
    assert 0.4 < slow_up[39] < 0.8, "after one second of an attack of one"
    assert slow_up[41] < 0.01, "it falls at once"
    slow_down = moved_by(0.05, still + loud + still, attack_s=0.0, release_s=1.0)
    assert slow_down[21] > 0.99, "it rises at once"
    assert 0.2 < slow_down[59] < 0.6
