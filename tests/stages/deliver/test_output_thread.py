import threading
import time

import numpy as np
import pytest
from conftest import wait_for

from vjserver.ports import Sending, options_of, sending_of
from vjserver.runtime.clock import NS, LiveClock
from vjserver.stages.deliver.output_thread import OutputThread, sized
from vjserver.types.errors import ConfigError, OutputError
from vjserver.types.frames import Frame, FrameInfo

PLAIN = Sending()
TICK = NS // 60


def picture(value=100, width=64, height=36):
    pixels = np.full((height, width, 4), value, np.uint8)
    return Frame(pixels, FrameInfo(width, height, frame_id=value))


class Recorder:
    """An output that can be slow, fail to open or fail to send."""

    def __init__(self, delay_s=0.0, refuse=0, fail_at=None):
        self.frames, self.opened, self.closed = [], 0, 0
        self.delay_s, self.refuse, self.fail_at = delay_s, refuse, fail_at
        self.threads = set()

    def open(self):
        self.opened += 1
        self.threads.add(threading.get_ident())
        if self.opened <= self.refuse:
            raise OutputError("no such thing")

    def send(self, frame):
        self.threads.add(threading.get_ident())
        time.sleep(self.delay_s)
        if self.fail_at is not None and len(self.frames) == self.fail_at:
            self.fail_at = None
            raise OutputError("broke")
        self.frames.append(frame)

    def figures(self):
        return {"connections": 2.0}

    def close(self):
        self.threads.add(threading.get_ident())
        self.closed += 1


def thread_of(output, sending=PLAIN, announce=lambda *_: None, **options):
    return OutputThread("x", lambda: output, sending, LiveClock(), 3, announce, **options)


def test_a_slow_output_gets_the_newest_and_delays_nobody():
    slow = Recorder(delay_s=0.1)
    thread = thread_of(slow)
    wait_for(lambda: thread.alive)
    began = time.monotonic()
    for i in range(1, 60):
        thread.offer(picture(i), i * TICK)
        time.sleep(0.005)
    assert time.monotonic() - began < 1.5
    wait_for(lambda: slow.frames and slow.frames[-1].info.frame_id == 59)
    assert thread.drops > 40
    assert thread.drops + len(slow.frames) == 59
    thread.close()
    thread.join()
    assert slow.closed
    assert len(slow.threads) == 1, "opened, fed and closed on one thread"


def test_offering_costs_next_to_nothing():
    thread = thread_of(Recorder(delay_s=0.05))
    wait_for(lambda: thread.alive)
    frame, costs = picture(1, 1920, 1080), []
    for i in range(200):
        began = time.perf_counter()
        thread.offer(frame, i * TICK)
        costs.append(time.perf_counter() - began)
        time.sleep(0.001)
    assert sorted(costs)[100] < 0.0005
    thread.close()


def test_an_output_that_will_not_open_is_announced_once_and_tried_again():
    told = []
    stubborn = Recorder(refuse=2)
    thread = thread_of(stubborn, announce=lambda *row: told.append(row))

    def sends():
        thread.offer(picture(), 0)
        return stubborn.frames

    wait_for(sends, 5)
    assert told == [("output x", "no such thing", False), ("output x", "sends again", True)]
    thread.close()


def test_a_strangers_output_that_raises_anything_is_announced_and_tried_again():
    told = []

    class Rude(Recorder):
        def send(self, frame):
            raise KeyError("colour")

    rude = Rude()
    thread = thread_of(rude, announce=lambda *row: told.append(row))

    def again():
        thread.offer(picture(), 0)
        return rude.opened > 1

    wait_for(again, 5, 0.02)
    assert told == [("output x", "KeyError: 'colour'", False)], "told once, not with every try"
    thread.close()
    wait_for(lambda: told[-1] == ("output x", "no longer wanted", True))


def test_an_output_that_breaks_in_the_show_comes_back_with_its_figures():
    told = []
    fragile = Recorder(fail_at=2)
    thread = thread_of(fragile, announce=lambda *row: told.append(row))

    def enough():
        thread.offer(picture(len(fragile.frames) + 1), 0)
        return len(fragile.frames) > 4

    wait_for(enough, 5, 0.01)
    assert told == [("output x", "broke", False), ("output x", "sends again", True)]
    assert fragile.opened == 2
    info = fragile.frames[-1].info
    assert (info.stream_id, info.t_sent_ns > 0, info.t_unix_ns > 0) == (3, True, True)
    status = thread.status(LiveClock().now_ns())
    assert status.figures == {"connections": 2.0}
    assert status.sent == len(fragile.frames)
    thread.close()


def test_the_next_output_of_a_label_opens_when_the_last_is_closed():
    first, second = Recorder(delay_s=0.2), Recorder()
    one = thread_of(first)
    one.offer(picture(), 0)
    wait_for(lambda: first.opened)
    one.close()
    two = thread_of(second, after=one)
    wait_for(lambda: second.opened)
    assert first.closed
    two.close()


@pytest.mark.parametrize(
    ("fps", "delivered", "expected"), [(30, 60, 30), (25, 60, 25), (60, 60, 60), (90, 60, 60), (24, 50, 24)]
)
def test_an_output_with_a_rate_of_its_own_gets_so_many_evenly(fps, delivered, expected):
    output = Recorder()
    thread = thread_of(output, Sending(fps=fps))
    wait_for(lambda: thread.alive)
    taken, tick = [], NS // delivered
    thread._ready = _Never()
    for i in range(10 * delivered):
        thread._mail = None
        thread.offer(picture(1), i * tick, tick)
        if thread._mail is not None:
            taken.append(i)
    assert len(taken) == pytest.approx(10 * expected, abs=2)
    gaps = np.diff(taken)
    assert gaps.max() - gaps.min() <= 1, "no bursts, no holes"


class _Never:
    """A condition that nobody waits for."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def notify(self):
        pass


def test_an_output_of_its_own_size_is_filled_and_its_header_says_so():
    output = Recorder()
    thread = thread_of(output, Sending(size="32x32"))
    wait_for(lambda: thread.alive)
    thread.offer(picture(9), 0)
    wait_for(lambda: output.frames)
    info = output.frames[0].info
    assert output.frames[0].pixels.shape == (32, 32, 4)
    assert (info.width, info.height, info.data_size) == (32, 32, 4096)
    thread.close()


def test_what_does_not_fit_a_shape_is_cut_evenly_and_nothing_is_stretched():
    frame = picture(0, 90, 30)
    frame.pixels[:, 30:60] = 255  # a white square in the middle
    got = sized(frame, (60, 60)).pixels
    assert got.shape == (60, 60, 4)
    assert got.mean() > 253
    assert sized(frame, (90, 30)) is frame
    assert sized(frame, None) is frame
    tall = picture(0, 30, 90)
    tall.pixels[30:60] = 255
    assert sized(tall, (30, 30)).pixels.mean() > 253


def test_what_every_output_is_told_is_checked_with_its_own_options():
    config = {"kind": "ndi", "name": "wall", "size": "640x360", "fps": 30, "feed": "preview", "label": "left"}
    assert sending_of(config) == Sending(label="left", feed="preview", size="640x360", fps=30)
    assert sending_of(config).sides == (640, 360)
    assert options_of("outputs", config).fps == 30
    for wrong in ({"size": "640"}, {"size": "0x10"}, {"feed": "both"}, {"fps": -1}, {"label": "a b"}):
        with pytest.raises(ConfigError, match=f"output 'null': {next(iter(wrong))}"):
            options_of("outputs", {"kind": "null", **wrong})
    with pytest.raises(ConfigError, match="unknown key 'nam'; nearest: name"):
        options_of("outputs", {"kind": "ndi", "nam": "x"})
