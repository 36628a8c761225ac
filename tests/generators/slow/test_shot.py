"""Shots: made ahead, launched on the bar, chained by the last raw frame, sampled by their beats."""

import threading
import time
from itertools import pairwise
from pipes import ended, pipeline, request

import numpy as np
import pytest

from vjserver.generators.pipeline_kinds import Ask
from vjserver.generators.pipelines import ClipPipeline
from vjserver.generators.shot.generator import ShotGenerator, _will_do
from vjserver.generators.shot.info import INFO, STARTS
from vjserver.generators.shot.options import ShotOptions
from vjserver.generators.shot.shots import Shot, covering, curves, motion
from vjserver.types.errors import GeneratorError, OutOfMemoryError

STEP = 0.05


def ask(*prompts, at=0.0, **more):
    more = {"mode": "film", "steps": 1, "guidance": 1.0, "bars": 1.0, "retime": 0.0, **more}
    if isinstance(more.get("start"), str):
        more["start"] = float(STARTS.index(more["start"]))
    return request(INFO, *(prompts or ("a sea of glass",)), at=at, seconds=STEP * 2, **more)


OPEN = []


@pytest.fixture(autouse=True)
def data(monkeypatch, tmp_path):
    """Have a bank of its own for each test, and nothing made in the background after it."""
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    yield
    while OPEN:
        ended(OPEN.pop())


def opened(kind="ltx", size="64x64"):
    generator = ShotGenerator(ShotOptions(model=str(pipeline(kind)), size=size, device="cpu"))
    generator.open()
    OPEN.append(generator)
    return generator


def film(generator, frames, first=0, state=None, **more):
    rows = []
    for i in range(first, first + frames):
        at = round(i * STEP, 6)
        given = {key: value(at) if callable(value) else value for key, value in more.items()}
        frame, state = generator.render(ask(*given.pop("prompts", ()), at=at, number=i, **given), state)
        rows.append(frame.pixels.astype(int))
    return rows, state


@pytest.fixture
def calls(monkeypatch):
    """Return what is asked of pipelines: (ask, first, last, the clip), and have it made."""
    usual, rows = ClipPipeline.clip, []

    def spy(self, asked, first=None, last=None, breathe=lambda: None):
        clip = usual(self, asked, first, last, breathe)
        rows.append((asked, first, last, clip))
        return clip

    monkeypatch.setattr(ClipPipeline, "clip", spy)
    return rows


def test_each_shot_goes_on_from_the_raw_last_frame_of_the_one_before(calls):
    film(opened(), 65)
    assert [asked.frames for asked, *_ in calls] == [49, 49, 49, 49]
    assert calls[0][1] is None
    for (_, _, _, before), (_, first, _, _) in pairwise(calls):
        assert (first == before[-1]).all(), "bit for bit"
    assert len({asked.seed for asked, *_ in calls}) == 4


def test_a_chain_ends_and_a_new_one_begins_with_a_crossfade(calls):
    rows, _ = film(opened(), 65, chain=2.0)
    assert [first is None for _, first, _, _ in calls] == [True, False, True, False]
    into = rows[41] - rows[40]
    assert np.abs(into).mean() < np.abs(calls[2][3][1].astype(int) - calls[1][3][-1]).mean(), "it does not jump"


def test_a_long_shot_is_made_of_clips_that_go_on_from_each_other(calls):
    film(opened("ltx"), 3, bars=8.0, bpm=150.0)
    assert [asked.frames for asked, *_ in calls] == [161, 161]
    assert (calls[1][1] == calls[0][3][-1]).all()


def test_one_that_begins_with_no_picture_plays_slower_where_a_shot_is_too_long(calls):
    generator, told = opened("animatediff"), []
    state = None
    for i in range(30):
        frame, state = generator.render(ask(at=i * 0.25, bars=4.0), state)
        told += [notice.why for notice in frame.notices]
    assert [asked.frames for asked, *_ in calls] == [32, 32]
    assert told == [
        "animatediff makes 3.9 s at most: longer shots play slower",
        "animatediff begins with no picture: shots crossfade",
    ]


def test_a_shot_lasts_its_bars_at_the_models_own_rate(calls):
    """A second of LTX in a bar of two: frame 24 is shown after a second, whatever the film's rate."""
    rows, _ = film(opened(), 21)
    clip = calls[0][3].astype(int)
    mid = 0.5 * (clip[22] + clip[23]) if False else clip[24]
    shown = rows[10][..., :3]
    assert np.abs(covering(mid.astype(np.uint8), 64, 48).astype(int) - shown).mean() < 3.0


def test_the_same_wherever_it_begins_and_what_is_written_down_goes_on():
    rows, _ = film(opened(), 50, retime=1.0)
    other = opened()
    state = None
    for i in range(27):
        state = other.advance(ask(at=round(i * STEP, 6), number=i, retime=1.0), state)
    state = other.resume(other.checkpoint(state))
    moved, _ = film(other, 23, 27, state, retime=1.0)
    assert all((a == b).all() for a, b in zip(moved, rows[27:], strict=True))
    with pytest.raises(GeneratorError, match="no checkpoint"):
        other.resume(b"\x80")


def pictures(count, size=(64, 48)):
    rng = np.random.default_rng(3)
    return [np.kron(rng.integers(0, 256, (6, 8, 4), np.uint8), np.ones((8, 8, 1), np.uint8)) for _ in range(count)]


def test_shots_of_the_inputs_pictures_and_from_one_to_the_next(calls):
    keys = pictures(4)
    for start in ("picture", "keys"):
        calls.clear()
        film(opened(), 65, start=start, seed=len(start), image=lambda at: keys[int(at)])
        fitted = [covering(np.ascontiguousarray(key[..., :3]), 64, 64) for key in keys]
        assert (calls[0][1] == fitted[0]).all()
        assert (calls[2][1] == fitted[1 if start == "picture" else 0]).all()
        if start == "keys":
            assert (calls[2][2] == fitted[1]).all(), "from the first to the second"
        assert ShotGenerator.stays(ask(start=start), "") == "shots begin with pictures of the input"
    assert ShotGenerator.stays(ask(start="last"), str(pipeline("ltx"))) == ""
    assert ShotGenerator.stays(ask(start="last"), str(pipeline("wan-of-pictures"))) != ""


def test_one_that_must_begin_with_a_picture_asks_for_an_input():
    generator = opened("wan-of-pictures")
    with pytest.raises(GeneratorError, match="begins with a picture: name an input"):
        generator.render(ask(), None)
    generator.warm_up(64, 48, ["a sea"])
    frame, _ = generator.render(ask(mode="live"), None)
    assert [notice.what for notice in frame.notices] == ["input"]
    assert frame.pixels.shape == (48, 64, 4)


# -- on stage -------------------------------------------------------------------------------------------------------


class Slowly:
    """Clips that are made when they are let: each of one colour by its seed, brighter from frame to frame."""

    def __init__(self, monkeypatch):
        self.go, self.asked, self.fault = threading.Semaphore(0), [], None
        monkeypatch.setattr(
            ClipPipeline, "clip", lambda _, asked, first=None, last=None, breathe=None: self.make(asked, breathe)
        )

    def make(self, asked, breathe):
        self.asked.append(asked)
        while not self.go.acquire(timeout=0.01):
            breathe()
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        ramp = np.linspace(0, 19, asked.frames).astype(np.uint8)
        return np.broadcast_to(
            (40 + 20 * (asked.seed % 8) + ramp)[:, None, None, None], (asked.frames, 64, 64, 3)
        ).copy()


def until(true):
    end = time.monotonic() + 20.0
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def until_made(generator, state):
    digest = generator._order(state.coming)[0]
    until(lambda: generator._shop.cache.get(digest) is not None)


def live(generator, at, state, **more):
    frame, state = generator.render(ask(at=at, mode="live", match=0.0, join=0.0, start="text", **more), state)
    return int(frame.pixels[10, 10, 0]) // 20 * 20, frame, state


def test_a_clip_is_launched_on_the_bar_and_the_last_plays_again_until_it_is_there(monkeypatch):
    slow, generator = Slowly(monkeypatch), opened()
    slow.go.release(2)
    generator.warm_up(64, 48, ["a sea"])
    _, _, state = live(generator, 0.0, None)
    until(lambda: len(slow.asked) >= 3)
    shades = {}
    for i in range(1, 80):
        at = round(i * STEP, 6)
        if at == 1.5:
            slow.go.release()
            until_made(generator, state)
        shades[at], _, state = live(generator, at, state)
    assert {shades[at] for at in shades if at < 2.0} == {60}, "round again, while the next is not there"
    assert {at: shade for at, shade in shades.items() if at >= 2.0 and shade != 80} == {}


def test_a_tempo_that_wavers_orders_no_other_clip(monkeypatch):
    slow, generator = Slowly(monkeypatch), opened()
    slow.go.release(100)
    generator.warm_up(64, 48, ["a sea"])
    state = None
    for i in range(19):
        _, _, state = live(generator, i * STEP, state, bpm=120.0 + 3.0 * (i % 3))
        until(lambda: not generator._shop.making)
    assert len(slow.asked) == 3


def test_memory_that_runs_out_in_the_background_is_told_once_and_the_show_goes_on(monkeypatch):
    slow, generator = Slowly(monkeypatch), opened()
    slow.go.release(100)
    generator.warm_up(64, 48, ["a sea"])
    _, frame, state = live(generator, 0.0, None)
    until(lambda: not generator._shop.making)
    slow.fault = OutOfMemoryError("GPU memory ran out: tried to allocate 20 GiB")
    told = []
    for i in range(1, 70):
        _, frame, state = live(generator, round(i * STEP, 6), state)
        told += [(notice.why, notice.recovered) for notice in frame.notices]
        until(lambda: not generator._shop.making)
    assert told == [
        ("GPU memory ran out: tried to allocate 20 GiB; what there is stays", False), ("made again", True),
    ]  # fmt: skip


# -- small things -----------------------------------------------------------------------------------------------------


def test_accents_of_a_clip_fall_on_beats(monkeypatch):
    """A clip whose picture jumps at 0.3 of a bar: with retiming at a quarter of it, a beat."""

    def jumping(_self, asked, *_rest, **_more):
        place = round(0.3 * (asked.frames - 1))
        rows = np.zeros((asked.frames, 64, 64, 3), np.uint8)
        rows[place:] = 200
        return rows

    monkeypatch.setattr(ClipPipeline, "clip", jumping)
    for retime, wanted in ((0.0, 0.3), (1.0, 0.25)):
        rows = []
        state, generator = None, opened()
        for i in range(100):
            frame, state = generator.render(ask(at=i * 0.01, retime=retime, number=i), state)
            rows.append(frame.pixels[10, 10, 0])
        first = next(i for i, value in enumerate(rows) if value > 100) * 0.01
        assert first == pytest.approx(wanted, abs=0.015)


def test_colours_are_those_of_the_model():
    rng = np.random.default_rng(0)
    one = rng.normal(120, 30, (5, 40, 40, 3)).clip(0, 255).astype(np.uint8)
    other = rng.normal((60, 90, 180), (20, 25, 35), (5, 40, 40, 3)).clip(0, 255).astype(np.uint8)
    curve = curves(one, other, 1.0)
    matched = np.stack([curve[0, one[..., c], c] for c in range(3)], -1)
    assert np.abs(matched.mean((0, 1, 2)) - other.mean((0, 1, 2))).max() < 2.0
    assert np.abs(matched.std((0, 1, 2)) - other.std((0, 1, 2))).max() < 2.5
    assert (curves(one, other, 0.0)[0] == np.arange(256)[:, None]).all()


def test_motion_is_the_mean_change():
    clip = np.zeros((4, 60, 60, 3), np.uint8)
    clip[2:] = 10
    assert motion(clip).tolist() == [0.0, 10.0, 0.0]


def test_a_picture_covers_another_size():
    image = np.zeros((60, 100, 3), np.uint8)
    image[:, 20:80] = 255
    assert (covering(image, 30, 30) == 255).all()
    assert covering(image, 100, 60) is image
    assert covering(image, 7, 200).shape == (200, 7, 3)


@pytest.mark.parametrize(("frames", "clips", "text", "will"), [
    (49, 1, "a", True), (47, 1, "a", True), (33, 1, "a", False), (49, 1, "b", False), (25, 2, "a", True),
])  # fmt: skip
def test_a_clip_of_nearly_the_length_will_do(frames, clips, text, will):
    wanted = Shot((Ask("a", "", 1, 64, 64, frames=49),), (1,))
    assert _will_do(Shot((Ask(text, "", 1, 64, 64, frames=frames),), (clips,)), wanted) is will


def test_a_model_is_needed():
    with pytest.raises(GeneratorError, match="need a model"):
        ShotGenerator(ShotOptions()).open()
    with pytest.raises(GeneratorError, match="not open"):
        ShotGenerator(ShotOptions(model="x")).render(ask(), None)
