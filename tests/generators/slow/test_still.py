"""Key frames: which picture stands and which comes, live and in a film; nothing is waited for on stage."""

import threading
import time
from itertools import pairwise
from pipes import ended, pipeline, request

import msgspec
import numpy as np
import pytest

from vjserver.generators.bars import Bars, beginning
from vjserver.generators.pipeline_kinds import Ask
from vjserver.generators.pipelines import PicturePipeline
from vjserver.generators.still.generator import StillGenerator, eased
from vjserver.generators.still.info import INFO
from vjserver.generators.still.options import StillOptions
from vjserver.types.errors import GeneratorError

OPEN = []
STEP = 0.05  # bars between two frames


def ask(*prompts, at=0.0, **more):
    more = {"mode": "film", "steps": 2, "bars": 2.0, **more}
    return request(INFO, *prompts, at=at, seconds=STEP * 2, **more)


@pytest.fixture
def still(monkeypatch, tmp_path):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    generator = opened()
    yield generator
    while OPEN:
        ended(OPEN.pop())


def opened(kind="cogview4", **options):
    generator = StillGenerator(StillOptions(model=str(pipeline(kind)), size="64x64", device="cpu", **options))
    generator.open()
    OPEN.append(generator)
    return generator


def film(generator, frames, first=0, state=None, **more):
    """Return pictures and the last state; ``more`` may hold functions of the frame's place in bars."""
    rows = []
    for i in range(first, first + frames):
        at = round(i * STEP, 6)
        given = {key: value(at) if callable(value) else value for key, value in more.items()}
        prompts = given.pop("prompts", ("a sea of glass",))
        frame, state = generator.render(ask(*prompts, at=at, number=i, **given), state)
        rows.append(frame.pixels.astype(int))
    return rows, state


def apart(a, b):
    return float(np.abs(a - b).mean())


def test_a_picture_stands_then_becomes_the_next_on_the_bar(still):
    rows, state = film(still, 85)
    assert rows[0].shape == (48, 64, 4)
    assert all((row == rows[0]).all() for row in rows[:20]), "for half of two bars it stands"
    assert apart(rows[19], rows[0]) == 0.0
    steps = [apart(a, b) for a, b in pairwise(rows[20:41])]
    assert max(steps) < 0.3 * apart(rows[0], rows[40]), "it travels"
    assert all((row == rows[40]).all() for row in rows[40:60])
    assert apart(rows[0], rows[40]) > 5.0
    assert state.number == 2


def test_a_prompt_comes_with_the_next_picture(still):
    rows, _ = film(still, 60, prompts=lambda at: ("a sea of glass",) if at < 0.5 else ("fire in the night",))
    both, _ = film(still, 60, prompts=("fire in the night",))
    assert (rows[45] == both[45]).all(), "the picture of the second two bars is the new prompt's"
    assert (rows[5] != both[5]).any()


def test_a_prompt_that_comes_while_it_becomes_the_next_waits_for_the_one_after(still):
    rows, _ = film(still, 85, prompts=lambda at: ("a sea of glass",) if at < 1.5 else ("fire in the night",))
    sea, _ = film(still, 85)
    fire, _ = film(still, 85, prompts=("fire in the night",))
    assert (rows[45] == sea[45]).all()
    assert (rows[82] == fire[82]).all()


def test_without_a_morph_it_is_cut_on_the_bar(still):
    rows, _ = film(still, 45, morph=0.0)
    assert (rows[39] == rows[0]).all()
    assert (rows[40] != rows[0]).any()


def test_one_seed_for_all_changes_with_the_prompt_alone(still):
    rows, _ = film(still, 45, vary=0.0)
    assert all((row == rows[0]).all() for row in rows)


def test_bars_without_a_tempo_last_two_seconds(still):
    rows, state = film(still, 45, bpm=0.0)
    assert state.number == 1
    assert (rows[41] != rows[0]).any()


def test_the_same_twice_wherever_it_begins_and_what_is_written_down_goes_on(still):
    rows, _ = film(still, 60, rotate=0.25)
    state = None
    for i in range(33):
        state = still.advance(ask("a sea of glass", at=round(i * STEP, 6), number=i, rotate=0.25), state)
    again = opened()
    state = again.resume(still.checkpoint(state))
    moved, _ = film(again, 27, 33, state, rotate=0.25)
    assert all((a == b).all() for a, b in zip(moved, rows[33:], strict=True))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x81\xa7version\x01"])
def test_what_is_no_checkpoint_is_told(still, data):
    with pytest.raises(GeneratorError, match="no checkpoint"):
        still.resume(data)


def test_a_checkpoint_of_another_model_is_refused(still):
    _, state = film(still, 1)
    with pytest.raises(GeneratorError, match="of this model"):
        opened("cogview3").resume(still.checkpoint(state))


def test_what_was_made_is_there_for_the_next_evening(still, monkeypatch):
    rows, _ = film(still, 45)
    monkeypatch.setattr(PicturePipeline, "picture", lambda *_: pytest.fail("made again"))
    again, _ = film(opened(), 45)
    assert all((a == b).all() for a, b in zip(rows, again, strict=True))


def test_pictures_between_are_drawn_over_a_blend(stocked, monkeypatch, tmp_path):
    """With a pipeline that can: Stable Diffusion's layout."""
    folder = stocked / "sd15"
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    generator = StillGenerator(StillOptions(model=str(folder), size="64x64", device="cpu"))
    generator.open()
    over, calls = PicturePipeline.over, []

    def spy(self, asked, start, strength, breathe):
        calls.append((asked.text, strength, start.copy()))
        return over(self, asked, start, strength, breathe)

    monkeypatch.setattr(PicturePipeline, "over", spy)
    given = {"between": 3.0, "strength": 0.5, "guidance": 1.0}
    rows, _ = film(generator, 41, prompts=lambda at: ("fish",) if at < 0.5 else ("moon",), **given)
    assert [text for text, _, _ in calls] == ["fish", "moon", "moon"]
    assert {strength for _, strength, _ in calls} == {0.5}
    plain, _ = film(generator, 41, prompts=lambda at: ("fish",) if at < 0.5 else ("moon",), guidance=1.0)
    assert apart(rows[30], plain[30]) > 1.0
    assert (rows[40] == plain[40]).all()
    a, b = plain[0][..., :3], plain[40][..., :3]
    blend = calls[1][2].astype(int)
    assert blend.shape == (64, 64, 3)
    assert apart(blend.mean((0, 1)), (a.mean((0, 1)) + b.mean((0, 1))) / 2) < 6.0


def test_one_that_draws_over_nothing_says_so_once_and_crossfades(still):
    state, told = None, []
    for i in range(40):
        frame, state = still.render(ask("a sea", at=i * STEP, between=3.0), state)
        told += [notice.why for notice in frame.notices]
    assert told == ["cogview4 draws over no picture: pictures crossfade"]


# -- on stage -------------------------------------------------------------------------------------------------------


class Slowly:
    """A pipeline that makes a picture when it is let; of one colour, by its seed."""

    def __init__(self, monkeypatch):
        self.go, self.asked, self.fault = threading.Semaphore(0), [], None
        monkeypatch.setattr(PicturePipeline, "picture", lambda _, ask, breathe: self.make(ask, breathe))

    def make(self, asked: Ask, breathe):
        self.asked.append(asked)
        while not self.go.acquire(timeout=0.01):
            breathe()
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return np.full((64, 64, 3), 40 + 20 * (asked.seed % 8), np.uint8)


def until_made(generator, state):
    digest = generator._order(state.coming)[0]
    until(lambda: generator._shop.cache.get(digest) is not None)


def live(generator, at, state, *prompts, **more):
    began = time.perf_counter()
    frame, state = generator.render(ask(*(prompts or ("a sea",)), at=at, mode="live", **more), state)
    return frame, state, time.perf_counter() - began


def until(true):
    end = time.monotonic() + 20.0
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def shade(frame):
    return int(frame.pixels[10, 10, 0])


def test_nothing_is_waited_for_on_stage(still, monkeypatch):
    slow = Slowly(monkeypatch)
    slow.go.release()
    still.warm_up(64, 48, ["a sea"])
    state, shades, longest = None, [], 0.0
    for i in range(200):
        frame, state, took = live(still, round(i * STEP, 6), state)
        longest = max(longest, took)
        shades.append(shade(frame))
        assert frame.figures["making"] == 1.0
    assert set(shades) == {40}, "the first one stays, while none is made"
    assert longest < 5.0, "and never for the model, which waits for ever here"
    slow.go.release(2)
    until(lambda: len(slow.asked) >= 3)
    frame, state, _ = live(still, 9.96, state)
    assert shade(frame) == 60, "what it was to begin with"


def test_one_that_comes_too_late_is_launched_on_the_next_line(still, monkeypatch):
    slow = Slowly(monkeypatch)
    slow.go.release(2)
    still.warm_up(64, 48, ["a sea"])
    frame, state, _ = live(still, 0.0, None)
    until(lambda: len(slow.asked) >= 3)
    shades = {}
    for i in range(1, 130):
        at = round(i * STEP, 6)
        if at == 1.5:  # too late to come slowly on bar 2
            slow.go.release()
            until_made(still, state)
        frame, state, _ = live(still, at, state)
        shades[at] = shade(frame)
    assert {shades[at] for at in shades if at < 2.0} == {60}
    assert shades[2.0] == 80, "cut, on the bar"
    assert shades[3.95] == 80, "the next one is not made"
    assert shades[4.0] == 80


def test_what_cannot_be_made_is_told_once_and_tried_again_on_the_next_line(still, monkeypatch):
    slow = Slowly(monkeypatch)
    slow.go.release(100)
    still.warm_up(64, 48, ["a sea"])
    frame, state, _ = live(still, 0.0, None)
    until(lambda: not still._shop.making)
    told = []
    for i in range(1, 140):
        if i == 42:
            slow.fault = GeneratorError("GPU memory ran out: 2 GiB")
        frame, state, _ = live(still, round(i * STEP, 6), state)
        told += [(notice.why, notice.recovered) for notice in frame.notices]
        until(lambda: not still._shop.making)
    assert told == [("GPU memory ran out: 2 GiB; what there is stays", False), ("made again", True)]
    assert state.number >= 2


def test_of_a_prompt_that_is_being_typed_only_the_last_is_made_to_its_end(still, monkeypatch):
    slow = Slowly(monkeypatch)
    slow.go.release(2)
    still.warm_up(64, 48, ["a sea"])
    _, state, _ = live(still, 0.0, None)
    until(lambda: len(slow.asked) >= 3)
    for i in range(1, 18):
        _, state, _ = live(still, 0.0 + i * 0.01, state, "a sea of glass"[: i + 1])
        time.sleep(0.01)
    end = time.monotonic() + 20.0
    while slow.asked[-1].text != "a sea of glass":
        _, state, _ = live(still, 0.2, state, "a sea of glass")
        time.sleep(0.01)
        assert time.monotonic() < end
    assert len(slow.asked) <= 10, "and not one for each letter"


def test_another_number_format_is_another_picture(still):
    other = opened(dtype="bfloat16")
    asked = Ask("a sea", "", 1, 64, 64, 2)
    assert still._order(asked)[0] != other._order(asked)[0] != opened("cogview3")._order(asked)[0]
    assert still._order(asked)[0] == opened()._order(asked)[0]


def test_a_model_is_needed_and_one_of_the_right_kind():
    with pytest.raises(GeneratorError, match="need a model"):
        StillGenerator(StillOptions()).open()
    with pytest.raises(GeneratorError, match='generator = "shot" plays it'):
        StillGenerator(StillOptions(model=str(pipeline("wan")))).open()
    with pytest.raises(GeneratorError, match="not open"):
        StillGenerator(StillOptions(model="x")).render(ask("a"), None)


# -- bars -----------------------------------------------------------------------------------------------------------


def count(rows, bpm=120.0):
    """Return where one is after (beat, phase of the bar) rows."""
    bars = None
    for beat, phase in rows:
        at = ask(at=phase, bpm=bpm)
        at = at.__class__(**{**{name: getattr(at, name) for name in at.__slots__}, "beat_count": beat})
        bars = beginning(at) if bars is None else bars.moved(at)
    return bars


def test_bars_are_counted_by_their_phase_and_beats_by_the_bar():
    assert count([(7, 0.9), (8, 0.1)]) == Bars(1, pytest.approx(0.1), 4, 8)
    assert count([(8, 0.1), (8, 0.6), (11, 0.05), (12, 0.4), (13, 0.9), (14, 0.02)]) == Bars(
        2, pytest.approx(0.02), 3, 14
    )
    assert count([(8, 0.9), (9, 0.02), (8, 0.98), (9, 0.01)]).whole == 1, "a beat that is set right counts once"
    assert count([(8, 0.1), (8, 0.95)]).whole == 0, "nothing lies before the first"


@pytest.mark.parametrize(("share", "way"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_a_way_begins_and_ends_slowly(share, way):
    assert eased(share) == way
    assert eased(0.1) < 0.1


def test_a_size_that_changes_is_cut_to(still):
    """Live, or by a preset that thinks at another size."""
    still._options = still._options.model_copy(update={"size": "auto"})
    state = None
    for i in range(60):
        given = {"inference_size": (64, 64) if i < 15 else (96, 64), "between": 2.0}
        frame, state = still.render(ask("a sea", at=round(i * STEP, 6), **given), state)
        assert frame.pixels.shape == (48, 64, 4)
    assert (state.shown.width, state.shown.height) == (96, 64)


def test_numbers_that_move_all_the_time_hold_nothing_up(still, monkeypatch):
    """A knob that a sound moves: what was ordered for a line is made to its end."""
    slow = Slowly(monkeypatch)
    slow.go.release(100)
    still.warm_up(64, 48, ["a sea"])
    state = None
    for i in range(45):
        _, state, _ = live(still, round(i * STEP, 6), state, guidance=5.0 + 0.01 * i, between=2.0, strength=0.01 * i)
        until(lambda: not still._shop.making)
    assert state.number == 1
    assert len(slow.asked) == 4, "one to begin with, and one for each line"


def test_a_beat_that_is_set_right_over_a_bar_line_brings_one_picture(still):
    state, numbers = None, []
    for at in (1.9, 1.98, 2.01, 1.99, 2.02, 2.1, 2.5, 3.0, 3.5, 3.98, 4.02):
        gone = at - (1.9 if state is None else state.bars.position)
        _, state = still.render(request(INFO, "a sea", at=at, seconds=max(0.0, 2 * gone), mode="film", bars=2.0), state)
        numbers.append(state.number)
    assert numbers[-1] == 2
    assert all(b - a in (0, 1) for a, b in pairwise(numbers))


def test_fewer_bars_begin_on_the_next_bar_line(still):
    rows, _ = film(still, 80, bars=lambda at: 4.0 if at < 2.45 else 1.0, morph=0.0)
    changes = [i for i, (a, b) in enumerate(pairwise(rows), 1) if (a != b).any()]
    assert changes[0] == 60, "on bar 3"


@pytest.mark.parametrize("change", [
    {"version": 9}, {"shown": ("a", "", 1, 0, 64)}, {"coming": ("a", "", -1, 64, 64)}, {"bars": (2**63, 0.1, 4, 0)},
    {"since": -1}, {"camera": (0.0, float("nan"), 0.0)}, {"mark": "x"},
])  # fmt: skip
def test_a_checkpoint_that_somebody_made_up_is_refused(still, change):
    _, state = film(still, 2)
    row = msgspec.msgpack.decode(still.checkpoint(state))
    for key, value in change.items():
        if key in ("shown", "coming"):
            value = dict(zip(("text", "negative", "seed", "width", "height"), value, strict=True))
        row[key] = value
    with pytest.raises(GeneratorError, match="checkpoint"):
        still.resume(msgspec.msgpack.encode(row))


@pytest.mark.parametrize("step", [0.05, 0.3, 0.55, 0.8, 1.0, 1.7])
def test_bars_are_counted_however_rarely_one_looks(step):
    bars = None
    for i in range(1, 40):
        at = request(INFO, at=i * step, seconds=2 * step)
        bars = beginning(at) if bars is None else bars.moved(at)
    assert bars.whole == int(39 * step + 1e-9) - int(step)
