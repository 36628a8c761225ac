import threading
import time

import numpy as np
import pytest
from conftest import wait_for
from known import PARAMS

from vjserver.rendering.image_source import ImageSource
from vjserver.rendering.input_thread import InputThread
from vjserver.runtime.clock import NS, LiveClock, ManualClock
from vjserver.types.errors import InputError
from vjserver.types.frames import Frame, FrameInfo, FrameRequest, TextConditioning


def request(t_s=0.0):
    return FrameRequest(
        round(t_s * NS), 64, 36, TextConditioning(), {name: p.default for name, p in PARAMS.items()}, 1, 1 / 30
    )


def frame(value, number=7, captured_ns=0):
    return Frame(np.full((4, 6, 4), value, np.uint8), FrameInfo(6, 4, frame_id=number, t_capture_ns=captured_ns))


class Door:
    """An input that brings what it is told to bring."""

    def __init__(self):
        self.coming, self.closed, self.threads = [], 0, set()

    def read(self, wait_s):
        self.threads.add(threading.get_ident())
        time.sleep(0.002)
        found = self.coming.pop(0) if self.coming else None
        if isinstance(found, Exception):
            raise found
        return found

    def close(self):
        self.threads.add(threading.get_ident())
        self.closed += 1


@pytest.fixture
def source():
    told, door, clock = [], Door(), ManualClock(NS)
    thread = InputThread("td", lambda: door, clock, lambda *row: told.append(row))
    yield thread, door, clock, told
    thread.close()


def test_the_newest_picture_waits_and_a_lost_source_keeps_its_last(source):
    thread, door, clock, told = source
    door.coming += [frame(1), frame(2, 8)]
    wait_for(lambda: thread.newest is not None and thread.newest.info.frame_id == 8)
    clock.sleep_until(20 * NS)
    wait_for(lambda: told)
    assert thread.newest.pixels[0, 0, 0] == 2
    assert told == [("input", "td brought no picture for 2 s; its last one stays", False)]
    door.coming.append(frame(3, 9))
    wait_for(lambda: thread.newest.info.frame_id == 9)
    assert told[1:] == [("input", "pictures come again", True)]
    assert thread.frames == 3


def test_a_source_that_never_came_is_told_and_looked_for_on(source):
    thread, door, clock, told = source
    wait_for(lambda: door.threads)
    clock.sleep_until(9 * NS)
    wait_for(lambda: told)
    assert told == [("input", "td brought no picture for 2 s; the picture starts from noise", False)]
    door.coming.append(frame(5))
    wait_for(lambda: thread.newest is not None)
    thread.close()
    thread.join(2)
    assert door.closed == 1
    assert len(door.threads) == 1, "read and closed on one thread"


def test_an_input_that_fails_is_told_once_and_opened_again(source):
    thread, door, _, told = source
    door.coming += [frame(1), InputError("wrong magic"), KeyError("rude"), frame(4, 12)]
    wait_for(lambda: thread.newest is not None and thread.newest.info.frame_id == 12)
    assert told == [("input", "wrong magic", False), ("input", "pictures come again", True)]
    assert door.closed == 2


def test_a_time_of_another_clock_is_replaced_by_that_of_arrival():
    door, clock = Door(), ManualClock(100 * NS)
    thread = InputThread("x", lambda: door, clock, lambda *_: None)
    for captured_ns, expected_ns in ((99 * NS, 99 * NS), (0, 100 * NS), (10**18, 100 * NS), (NS, 100 * NS)):
        door.coming.append(frame(1, captured_ns % 97 + 1, captured_ns))
        number = captured_ns % 97 + 1
        wait_for(lambda number=number: thread.newest is not None and thread.newest.info.frame_id == number)
        assert thread.newest.info.t_capture_ns == expected_ns
        thread.newest = None
    thread.close()


def test_pictures_open_what_is_asked_for_and_close_what_is_not():
    door, told = Door(), []
    pictures = ImageSource({"td": lambda: door}, (), LiveClock(), lambda *row: told.append(row))
    door.coming.append(frame(1))
    got = wait_for(lambda: pictures.get("td"))
    assert (got.pixels[0, 0, 0], got.info.frame_id) == (1, 7)
    assert pictures.get("") is None
    wait_for(lambda: door.closed)
    assert pictures.get("tdd") is None
    assert told[-1][1] == "unknown input 'tdd'; known: feedback, td; the picture starts from noise"
    assert pictures.get("feedback") is None
    assert told[-1][2], "a name that is no longer asked for is no longer a trouble"
    pictures.close()
