"""Ableton Link: the tempo and beat that programs on this network share. Follow it, or lead it with what the ear hears.

Following, the shared grid is the beat clock's, like a hand that taps without tiring. Leading, the ear's tempo and bar
are published: peers take them over. Needs ``aalink``; without it, or alone on the network, the ear keeps the beat.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime.clock import NS, Clock
from vjserver.types.errors import DeviceError
from vjserver.types.events import Argument
from vjserver.types.features import BeatGrid

LinkMode = Literal["off", "follow", "lead"]
STEP_S = 0.1
BEATS = 4.0  # the bar that is shared (Link: the quantum)
SETTLE_S = 0.5  # between making a session and joining it: without it, aalink's first peers are missed
_SAME_BPM, _SAME_S, _PATIENCE_S = 0.05, 0.012, 1.0


class LinkOptions(BaseModel):
    """Whether and how Ableton Link is joined."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: LinkMode = Field("off", description="off, follow (Link keeps the beat) or lead (the ear does, for all)")


def off_by(phase: float, wanted: float, beats: float) -> float:
    """Return how far ``phase`` lies before ``wanted`` on a circle of ``beats``, within half of it."""
    return (wanted - phase + beats / 2.0) % beats - beats / 2.0


class LinkSession:
    """Our seat in the shared session.

    ``grid`` tells the ear's beat grid; ``follow`` is told the shared one: a beat's time in ns, the tempo in bpm, its
    place in the bar; nothing at all once there is none to follow.
    """

    def __init__(
        self,
        clock: Clock,
        grid: Callable[[], BeatGrid],
        follow: Callable[[tuple[Argument, ...]], None],
    ) -> None:
        self._clock, self._grid, self._follow = clock, grid, follow
        self._link: Any = None
        self._led_s = 0.0
        self._taken = False
        self.peers = 0

    async def join(self) -> None:
        """Join the session. Raises DeviceError when aalink is missing or the network refuses."""
        if self._link is not None:
            return
        try:
            import aalink
        except ImportError as error:
            raise DeviceError(f"Ableton Link needs aalink ({error}); pip install 'vjserver[link]'") from None
        try:
            link = aalink.Link(120.0)
            link.quantum = BEATS
            await asyncio.sleep(SETTLE_S)
            link.enabled = True
        except (OSError, RuntimeError) as error:
            raise DeviceError(f"Ableton Link cannot be joined: {error}") from None
        self._link = link

    def leave(self) -> None:
        """Leave the session; may be called twice."""
        if self._link is not None:
            self._link.enabled = False
            self._link = None
        self.peers = 0

    def step(self, mode: LinkMode) -> None:
        """Tell the ear of the shared grid, or the others of the ear's; call it every :data:`STEP_S`."""
        if self._link is None:
            return
        self.peers = int(self._link.num_peers)
        if mode == "follow" and self.peers:
            self._take()
            self._taken = True
        elif self._taken:
            self._follow(())
            self._taken = False
        elif mode == "lead":
            self._lead()

    def _take(self) -> None:
        link = self._link
        now_ns, phase, bpm = self._clock.now_ns(), float(link.phase), float(link.tempo)
        since_ns = round((phase - math.floor(phase)) * 60.0 / bpm * NS)
        self._follow((now_ns - since_ns, bpm, math.floor(phase)))

    def _lead(self) -> None:
        grid, link = self._grid(), self._link
        if not grid.running:
            return
        if abs(link.tempo - grid.bpm) > _SAME_BPM:
            link.tempo = grid.bpm
        self._led_s += STEP_S
        beats = float(grid.beats_per_bar)
        link.quantum = beats
        phase = grid.bar_phase(self._clock.now_ns()) * beats
        off = off_by(float(link.phase), phase, beats)
        if abs(off) * grid.period_s > _SAME_S and self._led_s > _PATIENCE_S:
            self._led_s = 0.0
            link.force_beat(math.floor(float(link.beat) / beats) * beats + phase)
