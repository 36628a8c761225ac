from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known import accept, apply, read

from vjserver.show.bank import Bank
from vjserver.show.outputs import MAX_OUTPUTS, OutputRow, added, removed, row_of, rows_of
from vjserver.show.preset import Preset
from vjserver.show.state import ShowState
from vjserver.types.errors import ConfigError

BANK = Bank([("a", Preset(name="A"))])


def after(state, address, *args):
    return apply(state, 1, address, accept(address, args), BANK)


def test_an_output_is_one_line_of_text():
    row = row_of("wall", 'ndi name="left wall" size=640x360 fps=29.97 feed=preview')
    assert row == OutputRow(
        "wall", {"kind": "ndi", "name": "left wall", "size": "640x360", "fps": 29.97, "feed": "preview"}
    )
    assert row_of("r", "record audio=off quality=18").config == {"kind": "record", "audio": False, "quality": 18}


@pytest.mark.parametrize(
    ("label", "text", "why"),
    [
        ("", "ndi", "label is up to 40"), ("a b", "ndi", "label is up to 40"), ("x" * 41, "ndi", "label is up to 40"),
        ("x", "", "KIND option=value"), ("x", "name=wall", "KIND option=value"),
        ("x", "ndi name", "option=value expected"),
        ("x", 'ndi name="a', "No closing quotation"), ("x", "ndi =3", "option=value expected"),
    ],
)  # fmt: skip
def test_text_that_makes_no_output_is_told(label, text, why):
    with pytest.raises(ConfigError, match=why):
        row_of(label, text)


@given(st.text(max_size=60), st.text(max_size=200))
def test_no_text_does_harm(label, text):
    try:
        row = row_of(label, text)
    except ConfigError:
        return
    assert row.config["kind"]


def test_rows_of_a_show_file_are_called_by_label_or_kind():
    rows = rows_of([{"kind": "ndi"}, {"kind": "ndi"}, {"kind": "zmq", "label": "td"}, {"kind": "ndi", "label": "td"}])
    assert [row.label for row in rows] == ["ndi", "ndi2", "td", "td2"]


def test_outputs_are_added_replaced_and_removed_by_address():
    state = after(ShowState(), "/vj/output/add", "wall", "ndi name=a")
    state = after(state, "/vj/output/add", "screen", "zmq")
    state = after(state, "/vj/output/add", "wall", "ndi name=b")
    assert [(row.label, row.config.get("name")) for row in state.outputs] == [("wall", "b"), ("screen", None)]
    state = after(state, "/vj/output/remove", "wall")
    assert [row.label for row in state.outputs] == ["screen"]
    with pytest.raises(ConfigError, match="no output 'wall'; there are: screen"):
        after(state, "/vj/output/remove", "wall")


def test_recording_is_a_switch():
    state = after(ShowState(), "/vj/record", 1)
    assert state.record
    assert read(state, "/vj/record") is True
    assert after(state, "/vj/record", 1).outputs == state.outputs
    assert not after(state, "/vj/record", 0).record


def test_no_more_outputs_than_a_machine_can_bear():
    rows = ()
    for i in range(MAX_OUTPUTS):
        rows = added(rows, OutputRow(f"o{i}", {"kind": "null"}))
    with pytest.raises(ConfigError, match=f"there are {MAX_OUTPUTS} outputs"):
        added(rows, OutputRow("more", {"kind": "null"}))
    assert len(added(rows, OutputRow("o3", {"kind": "zmq"}))) == MAX_OUTPUTS
    assert len(removed(rows, "o3")) == MAX_OUTPUTS - 1


def test_delivery_is_set_by_address():
    state = after(ShowState(), "/vj/deliver/fps", 500)
    assert state.deliver.fps == 240.0
    state = after(after(state, "/vj/deliver/between", "flow"), "/vj/deliver/back", "operator")
    state = after(after(state, "/vj/deliver/return"), "/vj/deliver/return", 1)
    assert (state.deliver.between, state.deliver.back, state.deliver.returns) == ("flow", "operator", 2)
    assert read(state, "/vj/deliver/between") == "flow"
    assert read(state, "/vj/deliver/fps") == 240.0
    assert read(state, "/vj/deliver/return") is None
    with pytest.raises(ConfigError, match="/vj/deliver/between takes repeat, crossfade, flow: got 'blur'"):
        accept("/vj/deliver/between", ("blur",))


def test_a_preset_leaves_outputs_and_delivery_alone():
    state = after(after(ShowState(), "/vj/record", 1), "/vj/deliver/fps", 50)
    gone = after(state, "/vj/preset/go", 1)
    assert gone.outputs == state.outputs
    assert gone.deliver == replace(state.deliver)
