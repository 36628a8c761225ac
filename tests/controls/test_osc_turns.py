"""The OSC server's turns: a flood of one sender keeps nobody else waiting, and a pattern counts for all it reaches."""

import asyncio
import time

from vjserver.controls.oscserver import OscServer
from vjserver.runtime.osc import bundle, message


def test_one_bundle_of_slow_patterns_does_not_hold_up_the_loop_or_another_sender():
    heard = []

    def handle(osc, sender):
        heard.append((osc.address, sender))
        if osc.address == "/*":
            time.sleep(0.004)
            return 100
        return 1

    async def run():
        server = OscServer(handle, lambda _why: None, most_per_s=1_000_000)
        server.open("127.0.0.1", 0)
        server.take(bundle([message("/*", 1)] * 300), ("127.0.0.1", 1))
        server._work()
        first = len(heard)
        server.take(message("/ping"), ("127.0.0.1", 2))
        while ("/ping", ("127.0.0.1", 2)) not in heard:
            await asyncio.sleep(0)
        at = [address for address, _ in heard].index("/ping")
        while server._due:
            await asyncio.sleep(0)
        server.close()
        return first, at

    first, at = asyncio.run(run())
    assert first < 100, "the first turn ended"
    assert at < 200, "a ping of somebody else came in between"
    assert len(heard) == 301, "and nothing was lost"


def test_there_is_one_turn_at_a_time_however_often_one_is_asked_for():
    turns = []

    async def run():
        server = OscServer(lambda *_: time.sleep(0.004) or 1, lambda _why: None, lambda: turns.append(time.monotonic()))
        server.open("127.0.0.1", 0)
        server.take(bundle([message("/a", 1)] * 60), ("127.0.0.1", 1))
        for _ in range(5):
            server._work()
        before = len(turns)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        server.close()
        return before

    assert asyncio.run(run()) == 5
    assert len(turns) <= 7, "a round of the loop has one"


def test_a_pattern_counts_for_what_it_reaches():
    heard = []

    async def run():
        server = OscServer(lambda osc, _s: heard.append(osc) or 100, lambda _why: None, most_per_s=1000)
        server.open("127.0.0.1", 0)
        server.take(bundle([message("/*", 1)] * 300), ("127.0.0.1", 1))
        server._work()
        while server._due:
            await asyncio.sleep(0)
        server.close()
        return server.flooded

    assert asyncio.run(run()) >= 280
    assert len(heard) <= 20
