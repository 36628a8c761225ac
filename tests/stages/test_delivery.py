import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import wait_for

from vjserver.runtime.clock import NS, LiveClock
from vjserver.show.state import ShowState
from vjserver.stages.delivery import HOLD_NS, START_NS, Composer, OutputThread, faded, safe_picture, splash
from vjserver.types.errors import OutputError
from vjserver.types.features import BeatGrid, quiet
from vjserver.types.frames import Frame, FrameInfo

SHOW = ShowState()
QUIET = quiet(0)


def picture(value=100):
    pixels = np.full((36, 64, 4), value, np.uint8)
    pixels[..., 3] = 255
    return Frame(pixels, FrameInfo(64, 36, frame_id=value))


@pytest.fixture
def compose():
    return Composer(64, 36, 0)


def mean(frame):
    return float(frame.pixels[..., :3].mean())


def test_before_the_first_frame_there_is_a_glow_not_black(compose):
    shown = compose(None, SHOW, QUIET, 0)
    assert mean(shown) > 5
    assert not compose.degraded
    compose(None, SHOW, QUIET, START_NS + 1)
    assert compose.degraded


def test_a_frame_is_shown_and_held(compose):
    assert mean(compose(picture(), SHOW, QUIET, 0)) == 100
    assert mean(compose(None, SHOW, QUIET, HOLD_NS)) == 100
    assert not compose.degraded


def test_after_the_hold_the_safe_loop_moves_and_new_frames_end_it(compose):
    rng = np.random.default_rng(0)
    noise = Frame(rng.integers(0, 255, (36, 64, 4), dtype=np.uint8), FrameInfo(64, 36))
    compose(noise, SHOW, QUIET, 0)
    one = compose(None, SHOW, QUIET, HOLD_NS + 4 * NS)
    two = compose(None, SHOW, QUIET, HOLD_NS + 5 * NS)
    assert compose.degraded
    assert mean(one) > 60
    assert not np.array_equal(one.pixels, two.pixels)
    assert mean(compose(picture(50), SHOW, QUIET, HOLD_NS + 6 * NS)) == 50
    assert not compose.degraded


def test_the_safe_loop_begins_without_a_jump():
    still = picture().pixels
    assert np.array_equal(safe_picture(still, 0.0), still)


def test_blackout_is_black_at_once_and_opaque(compose):
    shown = compose(picture(), replace(SHOW, blackout=True), QUIET, 0)
    assert mean(shown) == 0
    assert (shown.pixels[..., 3] == 255).all()
    assert mean(compose(None, SHOW, QUIET, 1)) == 100


def test_freeze_holds_through_new_frames_and_lets_go(compose):
    compose(picture(10), SHOW, QUIET, 0)
    frozen = replace(SHOW, freeze=True)
    assert mean(compose(picture(20), frozen, QUIET, 1)) == 20
    assert mean(compose(picture(30), frozen, QUIET, 2)) == 20
    assert mean(compose(None, frozen, QUIET, 100 * NS)) == 20
    assert mean(compose(picture(40), SHOW, QUIET, 100 * NS)) == 40


def test_fade_dims_and_keeps_alpha():
    pixels = picture(200).pixels
    assert faded(pixels, 1.0) is pixels
    half = faded(pixels, 0.5)
    assert half[..., :3].max() == 100
    assert (half[..., 3] == 255).all()
    assert faded(pixels, 0.0)[..., :3].max() == 0


def test_the_header_carries_the_beat_of_its_tick(compose):
    features = replace(QUIET, grid=BeatGrid(0, 8, 0.5, 0, 4, 1.0, True))
    info = compose(picture(), SHOW, features, NS // 4).info
    assert (info.bpm, info.beat_index) == (120.0, 8)
    assert info.beat_phase == pytest.approx(0.5)
    assert info.bar_phase == pytest.approx(0.125)


def test_the_splash_has_any_size():
    assert splash(320, 180).shape == (180, 320, 4)


class Recorder:
    """An output that can be slow, fail to open or fail to send."""

    def __init__(self, delay_s=0.0, refuse=0, fail_at=None):
        self.frames, self.opened, self.closed = [], 0, 0
        self.delay_s, self.refuse, self.fail_at = delay_s, refuse, fail_at
        self.threads = set()

    def open(self):
        self.opened += 1
        if self.opened <= self.refuse:
            raise OutputError("no such thing")

    def send(self, frame):
        self.threads.add(threading.get_ident())
        time.sleep(self.delay_s)
        if self.fail_at is not None and len(self.frames) == self.fail_at:
            self.fail_at = None
            raise OutputError("broke")
        self.frames.append(frame)

    def close(self):
        self.closed += 1


def test_a_slow_output_gets_the_newest_and_delays_nobody():
    slow = Recorder(delay_s=0.1)
    thread = OutputThread("slow", slow, LiveClock(), 1, lambda *_: None)
    wait_for(lambda: thread.alive)
    began = time.monotonic()
    for i in range(1, 60):
        thread.offer(picture(i))
        time.sleep(0.005)
    assert time.monotonic() - began < 1.5
    wait_for(lambda: slow.frames and slow.frames[-1].info.frame_id == 59)
    assert thread.drops > 40
    assert thread.drops + len(slow.frames) == 59
    thread.close()
    assert slow.closed
    assert len(slow.threads) == 1


def test_an_output_that_will_not_open_is_announced_once_and_tried_again():
    told = []
    stubborn = Recorder(refuse=1)
    thread = OutputThread("x", stubborn, LiveClock(), 1, lambda *row: told.append(row))
    wait_for(lambda: thread.alive, 3)
    assert told == [("output x", "no such thing", False), ("output x", "sends again", True)]
    thread.close()


def test_a_strangers_output_that_raises_anything_is_announced_and_tried_again():
    told = []

    class Rude(Recorder):
        def send(self, frame):
            raise KeyError("colour")

    rude = Rude()
    thread = OutputThread("x", rude, LiveClock(), 1, lambda *row: told.append(row))

    def again():
        thread.offer(picture())
        return rude.opened > 1

    wait_for(again, 5, 0.02)
    assert told[0] == ("output x", "KeyError: 'colour'", False)
    thread.close()


def test_an_output_that_breaks_in_the_show_comes_back():
    told = []
    fragile = Recorder(fail_at=2)
    thread = OutputThread("x", fragile, LiveClock(), 3, lambda *row: told.append(row))

    def enough():
        thread.offer(picture(len(fragile.frames) + 1))
        return len(fragile.frames) > 4

    wait_for(enough, 5, 0.01)
    assert ("output x", "broke", False) in told
    assert fragile.opened == 2
    assert fragile.frames[-1].info.stream_id == 3
    assert fragile.frames[-1].info.t_sent_ns > 0
    thread.close()
