"""Sync: who keeps the beat. Beats of OSC clients and the Link session go in, a grid for the ear comes out."""

import asyncio
from collections.abc import Callable
from typing import cast

from vjserver.controls.link import STEP_S, LinkMode, LinkSession
from vjserver.dsp.pulses import PulseFollower
from vjserver.runtime.clock import Clock
from vjserver.show.desk import Desk
from vjserver.show.state import ShowState
from vjserver.stages.control.announcer import Announcer
from vjserver.types.errors import ConfigError, DeviceError
from vjserver.types.events import Argument, Command
from vjserver.types.features import BeatGrid


class TempoSync:
    """Follows whoever keeps the beat. ``put`` takes commands for the ear, ``grid`` returns the ear's own."""

    def __init__(
        self,
        clock: Clock,
        desk: Desk,
        put: Callable[[Command], object],
        grid: Callable[[], BeatGrid],
        announcer: Announcer,
    ) -> None:
        self._clock, self._desk, self._put, self._grid, self._announcer = clock, desk, put, grid, announcer
        self._osc_beat = PulseFollower(1)

    def follow_grid(self, grid: tuple[Argument, ...]) -> None:
        """Tell the ear the grid that somebody else keeps: a beat's time, the tempo, its place; nothing: none any more.

        ``auto`` gives the clock back to the ear.
        """
        now_ns = self._clock.now_ns()
        self._put(Command(now_ns, "/vj/tempo/grid" if grid else "/vj/tempo/auto", grid))

    def beat(self, args: tuple[Argument, ...]) -> None:
        """Take a beat that an OSC client keeps, with its place in the bar, if told. Raises ConfigError."""
        if self._desk.state.sync.source != "osc":
            raise ConfigError("/vj/tempo/beat is heard where /vj/tempo/source is osc")
        grid = self._osc_beat.pulse(self._clock.now_ns())
        if args:
            self._osc_beat.set_position(int(args[0]))
        if grid is not None:
            beat_ns, bpm, position = grid
            self.follow_grid((beat_ns, bpm, int(args[0]) if args else position))

    def change(self, before: ShowState) -> None:
        """Do what another source of the beat asks for."""
        source = self._desk.state.sync.source
        if source != before.sync.source:
            self._osc_beat = PulseFollower(1, self._desk.grid.beats_per_bar)
            if source == "tap":
                self._put(Command(self._clock.now_ns(), "/vj/tempo/lock", (True,)))
            else:
                self.follow_grid(())

    async def run_link(self, stopped: Callable[[], bool]) -> None:
        """Sit in the Ableton Link session while it is wanted; what cannot be is announced once, and the ear goes on."""
        session = LinkSession(self._clock, self._grid, self.follow_grid)
        before: LinkMode = "off"
        try:
            while not stopped():
                mode = cast(LinkMode, self._desk.state.sync.link)
                if mode != before:
                    before = mode
                    if mode == "off":
                        session.leave()
                    else:
                        await self._join(session)
                session.step(mode)
                await asyncio.sleep(STEP_S)
        finally:
            session.leave()

    async def _join(self, session: LinkSession) -> None:
        try:
            await session.join()
        except DeviceError as error:
            self._announcer.announce("link", str(error))
        else:
            self._announcer.recover("link", "joined")
