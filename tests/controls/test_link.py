"""Ableton Link with a real peer on this machine."""

import asyncio
import math

import pytest

from vjserver.controls.link import STEP_S, LinkSession, off_by
from vjserver.runtime.clock import NS, LiveClock
from vjserver.types.features import BeatGrid

aalink = pytest.importorskip("aalink", reason="aalink (the extra `link`) is not installed")


async def meet(session, peer_bpm, mode, seconds):
    """Sit in a session with a peer for some seconds; return the peer."""
    peer = aalink.Link(peer_bpm)
    peer.quantum = 4.0
    await asyncio.sleep(0.5)
    peer.enabled = True
    await session.join()
    for _ in range(round(seconds / STEP_S)):
        session.step(mode)
        await asyncio.sleep(STEP_S)
    return peer


def test_the_distance_on_a_circle():
    assert off_by(3.9, 0.1, 4.0) == pytest.approx(0.2)
    assert off_by(0.1, 3.9, 4.0) == pytest.approx(-0.2)


def test_a_peers_tempo_and_beat_are_followed_and_let_go():
    clock, told = LiveClock(), []

    async def play():
        session = LinkSession(clock, BeatGrid, told.append)
        peer = await meet(session, 133.0, "follow", 3.0)
        peers, now_ns, phase = session.peers, clock.now_ns(), float(peer.phase)
        peer.enabled = False
        for _ in range(40):
            session.step("follow")
            await asyncio.sleep(STEP_S)
            if told[-1] == ():
                break
        session.leave()
        return peers, now_ns, phase

    peers, now_ns, phase = asyncio.run(play())
    if not peers:
        pytest.skip("no Link peer can be met on this machine's network (multicast)")
    beat_ns, bpm, position = [t for t in told if t][-1]
    assert bpm == pytest.approx(133.0, abs=0.1)
    since = position + (now_ns - beat_ns) * 1e-9 * bpm / 60.0
    assert abs(off_by(since, phase, 4.0)) * 60 / bpm < 0.010
    assert told[-1] == ()  # alone again: the ear takes over


def test_leading_gives_a_peer_our_tempo_and_bar():
    clock = LiveClock()
    grid = BeatGrid(clock.now_ns() - 7 * NS, 1, 60 / 141.5, 2, 4, 0.9, True)

    async def play():
        session = LinkSession(clock, lambda: grid, lambda _: None)
        peer = await meet(session, 100.0, "lead", 4.0)
        result = session.peers, float(peer.tempo), float(peer.phase), clock.now_ns()
        session.leave()
        peer.enabled = False
        return result

    peers, tempo, phase, now_ns = asyncio.run(play())
    if not peers:
        pytest.skip("no Link peer can be met on this machine's network (multicast)")
    assert tempo == pytest.approx(141.5, abs=0.1)
    assert math.isclose(off_by(phase, grid.bar_phase(now_ns) * 4, 4.0) * grid.period_s, 0.0, abs_tol=0.02)
