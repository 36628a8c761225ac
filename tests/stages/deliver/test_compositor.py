import threading
from dataclasses import replace
from itertools import count, pairwise

import cv2
import numpy as np
import pytest
from conftest import wait_for
from hypothesis import given
from hypothesis import strategies as st

from vjserver.app.preset_bank import shipped
from vjserver.runtime.clock import NS, LiveClock, ManualClock
from vjserver.show.state import Deliver, ShowState
from vjserver.stages.deliver.compositor import START_NS, Compositor, faded, splash
from vjserver.stages.deliver.interpolation import Between, along, blend
from vjserver.stages.deliver.safe_loop import Clip, SafeLoop, drift
from vjserver.types.errors import VJError
from vjserver.types.features import BeatGrid, silent_features
from vjserver.types.frames import Frame, FrameInfo

SHOW = ShowState()
QUIET = silent_features(0)
HOLD_NS = 2 * NS
FRAME_NS = NS // 60


def silent(*_):
    pass


def picture(value=100, width=64, height=36):
    pixels = np.full((height, width, 4), value, np.uint8)
    pixels[..., 3] = 255
    return Frame(pixels, FrameInfo(width, height, frame_id=value))


def noise(seed=0, width=64, height=36):
    rng = np.random.default_rng(seed)
    return Frame(rng.integers(0, 255, (height, width, 4), dtype=np.uint8), FrameInfo(width, height))


def composer(make=None, **options):
    return Compositor(64, 36, 0, SafeLoop(make, ManualClock(), silent), **options)


@pytest.fixture
def compose():
    return composer()


def mean(frame):
    return float(frame.pixels[..., :3].mean())


# -- the levels ------------------------------------------------------------------------------------------------


def test_before_the_first_frame_there_is_a_glow_not_black(compose):
    shown = compose(None, SHOW, QUIET, 0)
    assert mean(shown) > 5
    assert compose.level == "start"
    compose(None, SHOW, QUIET, START_NS + 1)
    assert compose.level == "safe"
    assert mean(compose(None, SHOW, QUIET, START_NS + NS)) > 5


def test_a_frame_is_shown_and_held(compose):
    assert mean(compose(picture(), SHOW, QUIET, 0)) == 100
    assert compose.level == "live"
    assert mean(compose(None, SHOW, QUIET, HOLD_NS)) == 100
    assert compose.level == "hold"
    assert not compose.degraded


def test_after_the_hold_the_safe_loop_moves_and_new_frames_end_it(compose):
    compose(noise(), SHOW, QUIET, 0)
    compose(None, SHOW, QUIET, HOLD_NS + 1)
    assert compose.degraded
    one = compose(None, SHOW, QUIET, HOLD_NS + 4 * NS)
    two = compose(None, SHOW, QUIET, HOLD_NS + 5 * NS)
    assert mean(one) > 60
    assert not np.array_equal(one.pixels, two.pixels)
    assert mean(compose(picture(50), SHOW, QUIET, HOLD_NS + 6 * NS)) == 50, "no tempo: there is no bar to wait for"
    assert compose.level == "live"


def test_the_hold_is_as_long_as_the_show_says():
    compose = composer(hold_s=0.5)
    compose(picture(), SHOW, QUIET, 0)
    compose(None, SHOW, QUIET, NS // 2)
    assert not compose.degraded
    compose(None, SHOW, QUIET, NS // 2 + 1)
    assert compose.level == "safe"


def test_black_comes_only_where_the_show_asks_for_it():
    compose, never = composer(black_after_s=10.0), composer()
    for c in (compose, never):
        c(noise(), SHOW, QUIET, 0)
        for t_s in range(3, 3600, 7):
            shown = c(None, SHOW, QUIET, t_s * NS)
        assert (mean(shown) > 20) == (c is never)
    assert compose.level == "black"
    assert (compose(None, SHOW, QUIET, 3600 * NS).pixels[..., 3] == 255).all()
    assert mean(compose(picture(70), SHOW, QUIET, 3601 * NS)) == 70


def fallen(compose, back, grid=None):
    """Let the safe loop play, frames come again at 10 s; return when it shows them, or None by 30 s."""
    features = replace(QUIET, grid=grid or BeatGrid(0, 0, 0.5, 0, 4, 1.0, True))
    state = replace(SHOW, deliver=Deliver(back=back))
    compose(noise(), state, features, 0)
    for i in range(1, 30 * 60):
        t_ns = i * FRAME_NS
        newest = picture(50) if t_ns >= 10 * NS + NS // 8 else None
        compose(newest, state, features, t_ns)
        if i > 130 and not compose.degraded:
            return t_ns / NS
    return None


def test_pictures_come_back_at_once_on_the_bar_or_when_asked(compose):
    assert fallen(compose, "now") == pytest.approx(10.125, abs=0.02)
    assert fallen(composer(), "bar") == pytest.approx(12.0, abs=0.02)
    assert fallen(composer(), "operator") is None
    slow = BeatGrid(0, 0, 3.0, 0, 16, 1.0, True)
    assert fallen(composer(), "bar", slow) == pytest.approx(15.125, abs=0.05), "a very long bar is not waited for"


def test_the_operator_brings_pictures_back(compose):
    state = replace(SHOW, deliver=Deliver(back="operator"))
    compose(noise(), state, QUIET, 0)
    for t_s in (3, 4, 5):
        compose(picture(50) if t_s > 3 else None, state, QUIET, t_s * NS)
        assert compose.level == "safe"
    asked = replace(state, deliver=replace(state.deliver, returns=1))
    assert mean(compose(picture(60), asked, QUIET, 6 * NS)) == 60
    compose(None, asked, QUIET, 9 * NS)
    assert compose.level == "safe", "one return is for one fall"
    compose(picture(61), asked, QUIET, 10 * NS)
    assert compose.level == "safe"


def test_frames_that_wait_for_the_bar_are_not_seen_before_it(compose):
    features = replace(QUIET, grid=BeatGrid(0, 0, 1.0, 0, 4, 1.0, True))
    compose(picture(200), SHOW, features, 0)
    compose(None, SHOW, features, 5 * NS)
    shown = compose(picture(20), SHOW, features, 6 * NS)
    assert (mean(shown), shown.info.frame_id) == (200, 200), "neither as picture nor as number"
    shown = compose(picture(21), SHOW, features, 8 * NS + 1)
    assert (mean(shown), shown.info.frame_id) == (21, 21)


def test_frames_that_stop_again_before_the_bar_do_not_come_back(compose):
    grid = BeatGrid(0, 0, 1.0, 0, 4, 1.0, True)
    features = replace(QUIET, grid=grid)
    compose(noise(), SHOW, features, 0)
    compose(None, SHOW, features, 5 * NS)
    compose(picture(50), SHOW, features, 5 * NS + 1)
    for t in range(6, 20):
        compose(None, SHOW, features, t * NS)
        if t > 8:
            assert compose.level == "safe" or t < 9


def test_blackout_is_black_at_once_and_opaque_even_in_the_safe_loop(compose):
    dark = replace(SHOW, blackout=True)
    shown = compose(picture(), dark, QUIET, 0)
    assert mean(shown) == 0
    assert (shown.pixels[..., 3] == 255).all()
    assert mean(compose(None, SHOW, QUIET, 1)) == 100
    assert mean(compose(None, dark, QUIET, 9 * NS)) == 0


def test_freeze_holds_through_new_frames_and_lets_go(compose):
    compose(picture(10), SHOW, QUIET, 0)
    frozen = replace(SHOW, freeze=True)
    assert mean(compose(picture(20), frozen, QUIET, 1)) == 20
    assert mean(compose(picture(30), frozen, QUIET, 2)) == 20
    assert mean(compose(None, frozen, QUIET, NS)) == 20
    assert mean(compose(picture(40), SHOW, QUIET, NS + 1)) == 40


def test_fade_dims_and_keeps_alpha():
    pixels = picture(200).pixels
    assert faded(pixels, 1.0) is pixels
    half = faded(pixels, 0.5)
    assert half[..., :3].max() == 100
    assert (half[..., 3] == 255).all()
    assert faded(pixels, 0.0)[..., :3].max() == 0


def test_the_header_carries_the_beat_of_its_slot(compose):
    features = replace(QUIET, grid=BeatGrid(0, 8, 0.5, 0, 4, 1.0, True))
    info = compose(picture(), SHOW, features, NS // 4).info
    assert (info.bpm, info.beat_index) == (120.0, 8)
    assert info.beat_phase == pytest.approx(0.5)
    assert info.bar_phase == pytest.approx(0.125)


def test_the_splash_has_any_size():
    assert splash(320, 180).shape == (180, 320, 4)


# -- the safe loop ---------------------------------------------------------------------------------------------


def test_the_drift_begins_without_a_jump():
    still = noise().pixels
    assert np.array_equal(drift(still, 0.0), still)
    step = np.abs(drift(still, 0.02).astype(int) - still).mean()
    assert step < 12


class Flat:
    period_s = 0.005

    def __init__(self, fail_at=None):
        self.draws, self.closed, self.fail_at, self.threads = 0, False, fail_at, set()

    def draw(self, now_ns):
        self.draws += 1
        self.threads.add(threading.get_ident())
        if self.draws == self.fail_at:
            raise VJError("the clip broke")
        return np.full((18, 32, 4), 200, np.uint8)

    def close(self):
        self.closed = True


def test_a_player_is_opened_when_it_may_be_needed_eased_in_and_left_to_rest():
    player = Flat()
    safe = SafeLoop(lambda: player, LiveClock(), silent)
    still = np.full((36, 64, 4), 100, np.uint8)
    assert player.draws == 0
    safe.prepare()
    wait_for(lambda: player.draws > 2)
    assert safe.at(10 * NS, 0.0, still).mean() == 100
    assert safe.at(10 * NS + NS // 2, 0.5, still).mean() == pytest.approx(150, abs=2)
    assert safe.at(12 * NS, 2.0, still).shape == (36, 64, 4)
    assert safe.at(12 * NS, 2.0, still).mean() == 200
    safe.rest()
    wait_for(lambda: (seen := player.draws) and not threading.Event().wait(0.05) and player.draws <= seen + 1)
    assert safe.at(13 * NS, 0.0, still).mean() == 100, "it starts from the last picture again"
    safe.close()
    wait_for(lambda: player.closed)
    assert len(player.threads) == 1


def test_a_player_that_cannot_open_or_breaks_leaves_the_drift_and_is_told():
    for make in (lambda: Flat(fail_at=3), lambda: 1 / 0):
        told = []
        safe = SafeLoop(make, LiveClock(), lambda *row, told=told: told.append(row))
        safe.prepare()
        wait_for(lambda told=told: told)
        assert "the last picture drifts instead" in told[0][1]
        still = noise().pixels
        assert wait_for(lambda safe=safe, still=still: np.array_equal(safe.at(0, 0.0, still), still))
        safe.close()


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "loop.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25.0, (64, 36))
    for value in (40, 120, 220):
        writer.write(np.full((36, 64, 3), (0, 0, value), np.uint8))
    writer.release()
    return path


def test_a_clip_plays_round_and_round_in_the_right_colours(clip, tmp_path):
    player = Clip(clip)
    reds = [int(player.draw(0)[18, 32, 0]) for _ in range(7)]
    assert player.period_s == pytest.approx(0.04)
    assert reds == pytest.approx([40, 120, 220, 40, 120, 220, 40], abs=8)
    assert player.draw(0)[18, 32, 2] < 12
    player.close()
    with pytest.raises(VJError, match="cannot be played"):
        Clip(tmp_path / "none.mp4")


# -- between two pictures --------------------------------------------------------------------------------------


def fed(mode, interval_ns=NS // 15, count=8, values=range(0, 240, 30)):
    between = Between()
    between.mode = mode
    for i, value in zip(range(count), values, strict=False):
        between.take(picture(value), i * interval_ns)
    return between, (count - 1) * interval_ns


def test_repeat_shows_the_newest_and_nothing_before_the_first():
    assert Between().at(0) is None
    between, t_ns = fed("repeat")
    assert mean(between.at(t_ns)) == 210


def test_a_crossfade_goes_from_one_picture_to_the_next_in_one_interval():
    between, t_ns = fed("crossfade")
    shown = [mean(between.at(t_ns + round(place * NS / 15))) for place in (0.0, 0.25, 0.5, 0.75, 1.0, 2.0)]
    assert shown == pytest.approx([180, 187.5, 195, 202.5, 210, 210], abs=1)


@given(st.floats(0, 1))
def test_a_blend_lies_between_its_pictures(place):
    got = blend(picture(40).pixels, picture(200).pixels, place)[..., 0]
    assert (abs(got.astype(float) - (40 + 160 * place)) <= 1).all()


def test_pictures_far_apart_or_of_another_size_are_not_blended():
    between, t_ns = fed("crossfade")
    between.take(picture(20), t_ns + NS)
    assert mean(between.at(t_ns + NS)) == 20
    between.take(picture(90, 32, 18), t_ns + NS + NS // 15)
    assert between.at(t_ns + NS + NS // 15).pixels.shape == (18, 32, 4)


def dot(x, width=320, height=180):
    pixels = np.full((height, width, 4), 30, np.uint8)
    cv2.circle(pixels, (x, 90), 24, (255, 200, 100, 255), -1, cv2.LINE_AA)
    cv2.circle(pixels, (x - 6, 84), 8, (20, 20, 20, 255), -1, cv2.LINE_AA)
    return Frame(pixels, FrameInfo(width, height))


def place_of(pixels):
    bright = pixels[..., 0].astype(float) - 30
    bright[bright < 60] = 0
    return float((bright.sum(axis=0) * np.arange(pixels.shape[1])).sum() / bright.sum())


def test_a_flow_moves_what_moves_where_a_blend_would_show_it_twice():
    between = Between()
    between.mode = "flow"
    between.take(dot(150), 0)
    between.take(dot(162), NS // 15)
    middle = between.at(NS // 15 + NS // 30)
    truth = dot(156).pixels.astype(int)
    flowed = np.abs(middle.pixels.astype(int) - truth).mean()
    blended = np.abs(blend(dot(150).pixels, dot(162).pixels, 0.5).astype(int) - truth).mean()
    assert place_of(middle.pixels) == pytest.approx(156, abs=1.0)
    assert flowed < 0.5 * blended
    assert np.array_equal(between.at(NS).pixels, dot(162).pixels)


def test_along_a_flow_of_nothing_there_is_a_plain_blend():
    a, b = noise(1).pixels, noise(2).pixels
    still = np.zeros((18, 32, 2), np.float32)
    assert np.array_equal(along(a, b, (still, still), 0.5), blend(a, b, 0.5))


def test_the_operator_may_want_the_safe_loop_and_leave_it(compose):
    compose(picture(200), SHOW, QUIET, 0)
    wanted = replace(SHOW, safe=True)
    for i in range(1, 300):
        compose(picture(200), wanted, QUIET, i * FRAME_NS)
        assert compose.level == "safe"
    compose(picture(200), SHOW, QUIET, 300 * FRAME_NS)
    assert compose.level == "live"


def test_leaving_the_safe_loop_waits_for_pictures(compose):
    compose(picture(200), SHOW, QUIET, 0)
    compose(None, replace(SHOW, safe=True), QUIET, FRAME_NS)
    compose(None, SHOW, QUIET, 2 * FRAME_NS)
    assert compose.level == "safe"
    compose(picture(90), SHOW, QUIET, 3 * FRAME_NS)
    assert compose.level == "live"


# -- the opening -----------------------------------------------------------------------------------------------


class Still:
    """A player of one picture."""

    period_s = 0.01

    def __init__(self, value):
        self.value = value

    def draw(self, _now_ns):
        return picture(self.value).pixels

    def close(self):
        pass


def opened(make):
    told = []
    opening = SafeLoop(make, LiveClock(), lambda *row: told.append(row))
    return Compositor(64, 36, 0, SafeLoop(None, ManualClock(), silent), opening), told


def test_an_opening_plays_until_the_first_picture_and_melts_into_it():
    compose, _ = opened(lambda: Still(60))
    times = count(2 * NS, NS // 2)
    wait_for(lambda: mean(compose(None, SHOW, QUIET, next(times))) == pytest.approx(60, abs=2))
    t_ns = next(times)
    melt = [mean(compose(picture(200), SHOW, QUIET, t_ns + i * NS // 10)) for i in range(20)]
    assert melt[0] == pytest.approx(60, abs=3), "no jump"
    assert melt == sorted(melt)
    assert max(b - a for a, b in pairwise(melt)) < 20
    assert melt[-1] == 200
    assert compose.opening is None


def test_an_opening_that_cannot_be_played_is_announced_and_the_glow_stays():
    def broken():
        raise VJError("no such clip")

    compose, told = opened(broken)
    assert wait_for(lambda: told)[0][1].startswith("no such clip")
    assert mean(compose(None, SHOW, QUIET, NS)) > 5
    assert mean(compose(picture(), SHOW, QUIET, 2 * NS)) > 5


def test_one_that_takes_over_has_no_opening():
    compose, _ = opened(lambda: Still(60))
    compose.resume(composer().memory, picture(), None)
    assert compose.opening is None
    assert mean(compose(None, SHOW, QUIET, NS)) == 100


def test_the_opening_that_comes_with_us_moves_and_is_bright_enough_to_please():
    clip = Clip(shipped("presets") / "opening.mp4")
    try:
        rows = [clip.draw(0) for _ in range(round(12.0 / clip.period_s))][::15]
    finally:
        clip.close()
    means = [float(row[..., :3].mean()) for row in rows]
    assert min(means) > 15
    assert all(np.abs(a.astype(float) - b).mean() > 1 for a, b in pairwise(rows))
