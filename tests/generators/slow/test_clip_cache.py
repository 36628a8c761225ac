"""The cache of clips keeps what took long to make; the workshop makes it in the background, the newest wish first."""

import os
import threading
import time

import numpy as np
import pytest

from vjserver.generators.clip_cache import STALE_S, ClipCache, Workshop
from vjserver.types.errors import GeneratorError, OutOfMemoryError


def clip(value, frames=1, side=4):
    return np.full((frames, side, side, 3), value, np.uint8)


@pytest.fixture
def cache(tmp_path):
    return ClipCache(tmp_path / "cache")


@pytest.fixture
def shop(cache):
    shop = Workshop(cache)
    yield shop
    shop.close()


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.002)


def test_what_was_put_is_there_for_another_process_too(cache):
    cache.put("a", clip(7, 3))
    assert (cache.get("a") == clip(7, 3)).all()
    assert (ClipCache(cache.folder).get("a") == clip(7, 3)).all()
    assert cache.get("b") is None
    assert [file.name for file in cache.folder.iterdir()] == ["a.npy"]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", None, "floats", "pickle", "flat"])
def test_what_is_damaged_or_no_clip_is_made_anew(cache, damage):
    cache.put("a", clip(7))
    file = cache.folder / "a.npy"
    if damage is None:
        file.write_bytes(file.read_bytes()[:-5])
    elif isinstance(damage, bytes):
        file.write_bytes(damage)
    else:
        what = {"floats": np.zeros((1, 4, 4, 3)), "pickle": np.array([print]), "flat": np.zeros((4, 3), np.uint8)}
        np.save(file, what[damage], allow_pickle=True)
    fresh = ClipCache(cache.folder)
    assert fresh.get("a") is None
    assert not file.exists()
    shop = Workshop(fresh)
    assert (shop.wait("a", lambda _: clip(9)) == clip(9)).all()


def test_the_longest_unused_goes(tmp_path):
    cache = ClipCache(tmp_path, most_bytes=3 * 1200, most_held=1)
    for i, name in enumerate("abcd"):
        cache.put(name, clip(i, side=18))
        time.sleep(0.01)
        ClipCache(tmp_path).get("a")  # it is used
        time.sleep(0.01)
    assert sorted(file.stem for file in tmp_path.iterdir()) == ["a", "c", "d"]


def test_a_folder_that_cannot_be_written_costs_only_what_would_have_been_kept(tmp_path):
    (tmp_path / "cache").write_text("in the way")
    cache = ClipCache(tmp_path / "cache")
    cache.put("a", clip(1))
    assert cache.get("a") is not None


def test_orders_are_made_in_turn_in_the_background(shop, cache):
    made = []

    def make(value):
        def work(_breathe):
            made.append((value, threading.current_thread() is threading.main_thread()))
            return clip(value)

        return work

    shop.order(("a", make(1)), ("b", make(2)))
    until(lambda: cache.get("b") is not None)
    assert made == [(1, False), (2, False)]
    shop.order(("a", make(1)))
    until(lambda: not shop.making)
    assert len(made) == 2, "what is there is not made again"


def test_the_newest_wish_wins(shop, cache):
    begun, go = threading.Event(), threading.Event()

    def slow(breathe):
        begun.set()
        while not go.is_set():
            breathe()
            time.sleep(0.005)
        return clip(1)

    shop.order(("old", slow), ("never", lambda _: clip(2)))
    begun.wait(20.0)
    began = time.monotonic()
    shop.order(("new", lambda _: clip(3)))
    until(lambda: cache.get("new") is not None)
    assert time.monotonic() - began >= STALE_S, "a wish that comes back within a moment has lost nothing"
    assert cache.get("old") is None
    assert cache.get("never") is None


def test_a_wish_that_comes_back_in_time_is_made_to_its_end(shop, cache):
    begun, go = threading.Event(), threading.Event()

    def slow(breathe):
        begun.set()
        while not go.is_set():
            breathe()
            time.sleep(0.005)
        return clip(1)

    shop.order(("a", slow))
    begun.wait(20.0)
    shop.order(("b", lambda _: clip(2)))
    shop.order(("a", slow), ("b", lambda _: clip(2)))
    time.sleep(STALE_S + 0.1)
    go.set()
    until(lambda: cache.get("b") is not None)
    assert cache.get("a") is not None


@pytest.mark.parametrize(("error", "kind"), [
    (GeneratorError("a word it cannot read"), GeneratorError), (ValueError("height must divide by 16"), GeneratorError),
    (type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried"), OutOfMemoryError),
])  # fmt: skip
def test_what_cannot_be_made_is_told_once_and_the_next_is_made(shop, cache, error, kind):
    def fails(_breathe):
        raise error

    shop.order(("bad", fails), ("good", lambda _: clip(1)))
    until(lambda: cache.get("good") is not None)
    told = shop.fault("bad")
    assert isinstance(told, kind)
    assert str(error).splitlines()[0] in str(told)
    assert shop.fault("bad") is None


def test_closing_breaks_off_what_is_being_made(cache):
    shop, begun, ended = Workshop(cache), threading.Event(), threading.Event()

    def slow(breathe):
        begun.set()
        try:
            while True:
                breathe()
                time.sleep(0.002)
        finally:
            ended.set()

    shop.order(("a", slow))
    begun.wait(20.0)
    shop.close()
    assert ended.wait(20.0)
    shop.order(("b", slow))
    assert not shop._orders


@pytest.mark.parametrize(
    "data", [b"PK\x03\x04garbage", b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False,"]
)
def test_whatever_lies_there_is_made_anew(cache, data):
    cache.put("a", clip(1))
    (cache.folder / "a.npy").write_bytes(data)
    assert ClipCache(cache.folder).get("a") is None


def test_a_pipeline_that_ends_the_process_ends_nothing(shop, cache):
    def leaves(_breathe):
        raise SystemExit(3)

    shop.order(("bad", leaves), ("good", lambda _: clip(1)))
    until(lambda: cache.get("good") is not None)
    assert shop.fault("bad") is not None


def test_what_fails_and_is_wanted_no_more_is_not_remembered(shop):
    def fails(_breathe):
        raise ValueError("no")

    for i in range(20):
        shop.order((f"bad{i}", fails))
        until(lambda: not shop.making)
    shop.order()
    assert shop._faults == {}


def test_parts_of_a_process_that_was_ended_go(cache):
    cache.put("a", clip(1))
    old, new = cache.folder / "x.part", cache.folder / "y.part"
    for file in (old, new):
        file.write_bytes(b"1")
    os.utime(old, (1, 1))
    cache.put("b", clip(2))
    assert sorted(file.name for file in cache.folder.iterdir()) == ["a.npy", "b.npy", "y.part"]
