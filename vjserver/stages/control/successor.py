"""What outlives a fall: what control has to know goes into a memory, and the process that comes after takes it up."""

from dataclasses import replace

from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.store import left_behind
from vjserver.show.desk import Desk
from vjserver.show.history import STEPS, HistoryMemory
from vjserver.stages.control.announcer import Announcer
from vjserver.stages.control.osc_publisher import OscPublisher
from vjserver.stages.control.pipes import ControlMemory, Pipes
from vjserver.stages.control.speaking import SpeechRoom
from vjserver.stages.control.status import Status
from vjserver.stages.control.take_room import TakeRoom


class Successor:
    """Leaves to a successor what it has to know besides the state, and is one."""

    def __init__(
        self,
        pipes: Pipes,
        clock: Clock,
        desk: Desk,
        speech: SpeechRoom,
        publisher: OscPublisher,
        takes: TakeRoom,
        status: Status,
        announcer: Announcer,
    ) -> None:
        self._pipes, self._clock, self._desk, self._speech = pipes, clock, desk, speech
        self._publisher, self._takes, self._status, self._announcer = publisher, takes, status, announcer
        self._left = desk.memory
        self._next_history_ns = 0

    def resume(self) -> None:
        """Take up what a predecessor left: what waits, the history, subscribers, takes."""
        desk, channels, now_ns = self._desk, self._pipes.channels, self._clock.now_ns()
        memory = left_behind(channels.memory("control"), ControlMemory)
        history = left_behind(channels.memory("history"), HistoryMemory)
        if history is not None:
            desk.history.resume(history)
        if memory is None:
            desk.state = replace(desk.state, take=False)
            return
        desk.resume(memory.desk)
        self._speech.resume(memory.speaking)
        self._announcer.faults.update(memory.troubles)
        self._publisher.resume(memory.subscribers, now_ns)
        self._takes.resume(memory.take, memory.plays)
        if self._takes.recorded is None:
            desk.state = replace(desk.state, take=False)
        self._status.record(desk.state.record, now_ns)

    def forget_what_is_done(self) -> None:
        """Leave anew what waits, where that has changed: what is done must not be done again."""
        if self._desk.memory != self._left:
            self._remember()

    def remember(self, now_ns: int) -> None:
        """Leave all of it; the history, which is long, once a second."""
        self._remember()
        if now_ns >= self._next_history_ns:
            self._next_history_ns = now_ns + NS
            many = STEPS
            while not self._pipes.history.put(self._desk.history.memory(many)) and many > 1:
                many //= 2

    def _remember(self) -> None:
        self._left, takes = self._desk.memory, self._takes
        subscribers, faults = self._publisher.subscribers(), dict(self._announcer.faults)
        self._pipes.memory.put(
            ControlMemory(self._left, subscribers, takes.recorded, takes.plays, faults, self._speech.memory)
        )
