"""Takes: the state's wish for one goes in; it is recorded and played, with the show going on whatever the disk says."""

import asyncio
from collections.abc import Callable, Iterable

from vjserver.runtime import log
from vjserver.runtime.clock import Clock
from vjserver.show.desk import OF_CUE, Desk
from vjserver.show.playback import Playback
from vjserver.show.state import ShowState
from vjserver.show.take import Played, Take
from vjserver.stages.control.announcer import Announcer
from vjserver.stages.control.takes import TakeMemory, TakeWriter
from vjserver.stages.control.user_library import UserLibrary
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument


class TakeRoom:
    """Records one take and plays another.

    ``stop`` ends the recording in the state too, ``refuse`` tells what a message asked for in vain, ``settle``
    publishes what the desk has done.
    """

    def __init__(
        self,
        desk: Desk,
        library: UserLibrary,
        writer: TakeWriter,
        clock: Clock,
        announcer: Announcer,
        stop: Callable[[], None],
        refuse: Callable[[str | ConfigError], None],
        settle: Callable[[], None],
    ) -> None:
        self._desk, self._library, self._writer, self._clock, self._announcer = desk, library, writer, clock, announcer
        self._stop, self._refuse, self._settle = stop, refuse, settle
        self._plays = ""
        self._asked = ("", 0)

    # -- recording -----------------------------------------------------------------------------------------

    def turn(self, on: bool, before: ShowState) -> None:
        """Begin or end a take; it begins from the state ``before``."""
        self._writer.end(self._clock.now_ns())
        if on:
            self._guarded(lambda: self._begin(before))

    def _begin(self, before: ShowState) -> None:
        name = self._writer.begin(before, self._desk.state.t_ns, self._desk.seed)
        self._announcer.announce("take", f"recorded as {name}", recovered=True)

    def write(self, performed: Iterable[Played]) -> None:
        """Write what was played."""
        self._guarded(lambda: self._writer.write(performed))

    def flush(self, now_ns: int) -> None:
        """Have it on the disk."""
        self._guarded(lambda: self._writer.flush(now_ns))

    def _guarded(self, action: Callable[[], None]) -> None:
        """Do something with the take that is recorded; where that fails it is over, and the state says so."""
        try:
            action()
        except ConfigError as error:
            self._announcer.announce("take", str(error))
            self._stop()

    # -- playing -------------------------------------------------------------------------------------------

    def play(self, args: tuple[Argument, ...]) -> None:
        """Play a take, by its name; ``""`` is the newest. Raises ConfigError."""
        name, cued, stopped = str(args[0]) if args else "", OF_CUE in args[1:], self._desk.stopped
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._play(*self._library.take(name), cued)
        else:  # a long one takes seconds to read, and the hands do not wait
            self._asked = name, stopped
            self._reading = loop.create_task(self._read(name, stopped, cued))

    async def _read(self, name: str, stopped: int, cued: bool) -> None:
        try:
            found, take = await asyncio.to_thread(self._library.take, name)
            if (name, stopped) == self._asked and stopped == self._desk.stopped:  # nobody stopped it meanwhile
                self._play(found, take, cued)
        except ConfigError as error:
            self._refuse(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours: the show goes on without the take
            log.write_fault("control", f"take {name} could not be played", error)
            self._refuse(f"take {name}: {type(error).__name__}: {error}")

    def _play(self, name: str, take: Take, cued: bool) -> None:
        self._plays = name
        if take.idle:
            self._announcer.announce("take", f"{name}: {take.idle}", recovered=True)
        self._desk.play(take, self._clock.now_ns(), cued)
        self._settle()

    # -- what outlives a fall ------------------------------------------------------------------------------

    @property
    def recorded(self) -> TakeMemory | None:
        """The take that is recorded, for a successor."""
        return self._writer.memory

    @property
    def plays(self) -> tuple[str, int, int, int, int | None] | None:
        """The take that is played and where the desk is in it, for a successor."""
        playing = self._desk.playing
        return (self._plays, *playing.progress) if playing is not None else None

    def resume(self, recorded: TakeMemory | None, plays: tuple[str, int, int, int, int | None] | None) -> None:
        """Play and record on what a predecessor left; what cannot be is announced."""
        actions: dict[str, Callable[[], None]] = {
            "played": lambda: self._play_on(plays),
            "recorded": lambda: self._record_on(recorded),
        }
        for what, action in actions.items():
            try:
                action()
            except ConfigError as error:
                self._announcer.announce("take", f"not {what} on: {error}")

    def _play_on(self, plays: tuple[str, int, int, int, int | None] | None) -> None:
        if plays is not None:
            self._plays, began_ns, place, beats, first_beat = plays
            take = self._library.take(self._plays)[1]
            self._desk.playing = Playback.resumed(take, began_ns, place, beats, first_beat)

    def _record_on(self, recorded: TakeMemory | None) -> None:
        if recorded is not None and self._desk.state.take:
            self._writer.resume(recorded)

    def close(self, wait_s: float) -> None:
        """End what is recorded; wait so long at most for its sound to be on the disk."""
        self._writer.end(self._clock.now_ns())
        self._writer.wait(wait_s)
