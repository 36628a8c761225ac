"""What Parseq and Deforum say, frame by frame, becomes a camera by seconds."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vjserver.films.schedules import board_of_deforum, board_of_parseq, sampled
from vjserver.films.storyboard import Storyboard
from vjserver.runtime.installed import installed
from vjserver.types.errors import ConfigError


def test_numbers_go_in_a_line_and_expressions_are_worked_out_for_each_frame():
    assert sampled("0:(1.0), 10:(2.0)", 12, 1, "zoom") == pytest.approx([1 + i / 10 for i in range(11)] + [2.0])
    assert sampled("0:(1 + 0.5*sin(t))", 4, 1, "zoom") == pytest.approx([1 + 0.5 * math.sin(i) for i in range(4)])
    assert sampled("0:(t), 3:(10)", 5, 1, "zoom") == [0.0, 1.0, 2.0, 10.0, 10.0]
    assert sampled("0:(0), 4:(2*t)", 6, 1, "z") == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
    assert sampled("0: 1, 2: 3", 3, 1, "z") == [1.0, 2.0, 3.0]
    assert sampled('"0":(1), max_f:(5)', 5, 1, "z")[-1] == 5.0
    assert sampled("0:(s + max_f)", 3, 7.0, "z") == [9.0] * 3
    assert sampled("0:(where(t < 2, 1, 0))", 4, 1, "z") == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0:(1.0, 30:(2)", "column 3: this ( is never closed"),
        ('0:("1.0), 30:(2)', 'column 4: this " is never closed'),
        ("foo", "column 1: FRAME:(VALUE) is needed: got 'foo'"),
        ("0:(1/0)", "divides by zero"),
        ("0:()", "column 4: a value is missing"),
        ("0:(bass)", "no name 'bass'; names are t, s and max_f"),
        ("0:(1), -5:(2)", "a frame is in 0..200000"),
        ("0:(__import__('os'))", "no function '__import__'"),
        ("", "FRAME:(VALUE), FRAME:(VALUE) is needed"),
    ],
)
def test_a_broken_schedule_is_told_with_its_column(text, said):
    with pytest.raises(ConfigError) as fault:
        sampled(text, 40, 1, "d.json: zoom")
    assert "d.json: zoom" in str(fault.value)
    assert said in str(fault.value)


@given(st.text("0123:(),.t+*sin \"'", max_size=40))
def test_any_text_is_a_schedule_or_told(text):
    try:
        values = sampled(text, 5, 1.0, "zoom")
    except ConfigError:
        return
    assert len(values) == 5
    assert all(map(math.isfinite, values))


def deforum(**more):
    return json.dumps({
        "max_frames": 60, "fps": 15, "W": 512, "H": 512, "seed": 5,
        "prompts": {"0": "a forest", "30": "a city --neg fog"},
        "zoom": "0:(1.02)", "angle": "0:(3)", "translation_x": "0:(5)", "translation_y": "0:(0)",
        "strength_schedule": "0:(0.6)", **more,
    })  # fmt: skip


def test_deforum_moves_by_frames_and_we_fly_by_seconds():
    board, fps, lost = board_of_deforum(deforum(), "d.json")
    assert fps == 15.0
    assert lost == []
    first, second = board["scenes"]
    assert (first["at"], second["at"]) == ("0.000000", "2.000000")
    camera = first["camera"]
    still = {name: value[0][1] if isinstance(value, list) else value for name, value in camera.items()}
    assert still["zoom"] == pytest.approx(math.log2(1.02) * 15, abs=1e-5)
    assert still["rotate"] == pytest.approx(-3 / 360 * 15, abs=1e-5)
    assert still["pan_x"] == pytest.approx(-5 / 256 * 15, abs=1e-5)
    assert "pan_y" not in camera
    assert still["strength"] == pytest.approx(0.4)
    assert (second["prompts"], second["negative"]) == (["a city"], "fog")
    assert first["seed"] == 5
    assert first["input"] == "feedback"
    Storyboard.model_validate(board, context={"registry": installed()})


def test_what_a_flat_camera_cannot_do_is_said():
    _, _, lost = board_of_deforum(deforum(rotation_3d_y="0:(0.5)", translation_z="0:(0)"), "d.json")
    assert lost == ["rotation_3d_y is left out: the camera is flat"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"prompts": {"0": "a}', "d.json:1:19: Unterminated string"),
        ("[1]", "settings are {...}"),
        (deforum(prompts={}), "prompts are"),
        (deforum(max_frames=0), "max_frames is in 1.."),
        (deforum(fps="soon"), "frames a second are in 1..240"),
        (deforum(zoom="0:(1"), "d.json: zoom: column 3"),
        (deforum(prompts={"soon": "x"}), "d.json: prompts"),
        (deforum(prompts={"500": "x"}), "no prompt begins within the 60 frames"),
    ],
)
def test_settings_that_make_no_sense_are_told(text, said):
    with pytest.raises(ConfigError) as fault:
        board_of_deforum(text, "d.json")
    assert said in str(fault.value)


def parseq(frames, **options):
    return json.dumps({"options": {"output_fps": 20, **options}, "rendered_frames": frames})


def test_parseq_tells_changes_or_places_and_its_own_rate():
    by_change = [{"frame": i, "zoom_delta": 1.01, "angle_delta": 1.0, "deforum_prompt": "a --neg b"} for i in range(10)]
    by_place = [{"frame": i, "zoom": 1 + 0.01 * i, "angle": 1.0 * i, "deforum_prompt": "a --neg b"} for i in range(10)]
    for rows in (by_change, by_place):
        board, fps, _ = board_of_parseq(parseq(rows), "p.json")
        assert fps == 20.0
        keys = board["scenes"][0]["camera"]["zoom"]
        last = keys[-1][1] if isinstance(keys, list) else keys
        assert last == pytest.approx(math.log2(1.01) * 20, abs=1e-4)
        rotate = board["scenes"][0]["camera"]["rotate"]
        assert (rotate[-1][1] if isinstance(rotate, list) else rotate) == pytest.approx(-20 / 360, abs=1e-5)
        assert board["scenes"][0]["negative"] == "b"


def test_frames_that_parseq_leaves_out_are_as_the_one_before_and_prompts_begin_scenes():
    rows = [{"frame": 0, "deforum_prompt": "one", "seed": 3}, {"frame": 10, "deforum_prompt": "two", "seed": 4}]
    board, _, _ = board_of_parseq(parseq(rows, output_fps=10), "p.json")
    assert [(s["at"], s["prompts"], s["seed"]) for s in board["scenes"]] == [
        ("0.000000", ["one"], 3), ("1.000000", ["two"], 4)
    ]  # fmt: skip
    odd = [{"frame": 10**12, "deforum_prompt": "x"}, {"frame": 1}]
    for text in (parseq([]), "{}", parseq([{"frame": 10**9}]), parseq(odd), parseq([{"frame": -3}])):
        with pytest.raises(ConfigError):
            board_of_parseq(text, "p.json")


def test_numbers_of_hundreds_of_digits_and_no_height_are_read_or_told():
    for text in (deforum(H=0), deforum().replace('"H": 512', '"H": ' + "9" * 400)):
        assert board_of_deforum(text, "d.json")[0]["scenes"]
    with pytest.raises(ConfigError):
        board_of_deforum(deforum().replace('"H": 512', '"H": ' + "9" * 5000), "d.json")
