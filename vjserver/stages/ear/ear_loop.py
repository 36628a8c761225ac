"""Listening: the ear's live loop. A source goes in; features, events and OSC triggers come out.

It waits for nobody: pipes are overwritten, sockets never block. When the device goes, the beat clock runs on and
the device is tried again, sooner at first.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Protocol

from vjserver.dsp.beatclock import ClockMemory
from vjserver.dsp.options import EarOptions
from vjserver.ports import Source
from vjserver.runtime import log
from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.slot import SlotWriter
from vjserver.runtime.soundring import SoundWriter
from vjserver.runtime.stats import Latencies
from vjserver.runtime.status import EarStatus, StatusWriter
from vjserver.runtime.store import Channels, MemoryWriter, pack_features
from vjserver.show.addresses import GENRES, channels_of
from vjserver.show.state import Sound
from vjserver.stages.ear.analysis import Analysis
from vjserver.types.errors import DeviceError, VJError
from vjserver.types.events import Beat, Command, Degraded, EarEvent, Event
from vjserver.types.features import BeatGrid, Features, silent_features

RETRY_S = (0.5, 1.0, 2.0, 4.0)
SLOW_NS = 8 * NS
"""So long may a source take to open before that is told: a driver, or a sound server that falls, may never answer."""
TICK_NS = 4_000_000


class Listener(Protocol):
    """Somebody who is told what is heard (an OSC target)."""

    sent: int
    failed: int

    def tell(self, event: EarEvent, now_ns: int) -> None:
        """Take an event."""

    def tick(self, features: Features, grid: BeatGrid, now_ns: int) -> None:
        """Take the present."""

    def next_beat_ns(self, grid: BeatGrid) -> int | None:
        """Say when the next beat is to be told."""

    def resume(self, grid: BeatGrid, t_ns: int) -> None:
        """Take for told what was told up to ``t_ns``, by a predecessor."""


@dataclass(frozen=True, slots=True)
class EarMemory:
    """What an ear leaves to the one that comes after it: the beat, and what the hand set."""

    t_ns: int
    clock: ClockMemory
    expects: tuple[float, float] | None
    beats: int
    read: tuple[int, ...] = ()
    """How far each queue of commands was read: what the hand did meanwhile is done by the successor."""


@dataclass(frozen=True, slots=True)
class EarPipes:
    """The ends that the ear holds of the pipes between processes; ``commands`` are the queues of who commands it."""

    features: SlotWriter
    events: QueueWriter
    status: StatusWriter
    commands: Sequence[QueueReader]
    sound: SoundWriter
    memory: MemoryWriter

    @classmethod
    def of(cls, channels: Channels) -> "EarPipes":
        """Return the ends of ``channels``."""
        return cls(
            SlotWriter(channels.features),
            QueueWriter(channels.events("ear")),
            StatusWriter(channels.status("ear")),
            [QueueReader(channels.events("control"))],
            SoundWriter(channels.sound),
            MemoryWriter(channels.memory("ear")),
        )


class Ear:
    """The live loop's state: one source, one analysis, many listeners.

    ``source`` makes what is heard, as the state's :class:`Sound` says, which ``wanted`` returns. ``before`` is what a
    fallen predecessor left. The source is opened by ``opener``: that may take seconds, and the
    beat goes on meanwhile; without one it is opened at once.
    """

    def __init__(
        self,
        source: Callable[[Sound], Source],
        wanted: Callable[[], Sound],
        options: EarOptions,
        clock: Clock,
        listeners: Sequence[Listener],
        pipes: EarPipes,
        before: EarMemory | None = None,
        opener: Executor | None = None,
    ) -> None:
        self._memory, self._opener = pipes.memory, opener
        self._opening: Future[None] | None = None
        self._next_memory_ns = 0
        self._make, self._wanted, self._sound_of = source, wanted, wanted()
        self._source: Source = source(self._sound_of)
        self._own_options, self._options, self._clock = options, heard_as(options, self._sound_of), clock
        self._remark = ""
        self._next_look_ns = 0
        self._listeners, self._features, self._events = listeners, pipes.features, pipes.events
        self._status, self._commands, self._sound = pipes.status, pipes.commands, pipes.sound
        self._analysis: Analysis | None = None
        self._latency = Latencies()
        self._retries, self._retry_ns, self._slow_ns, self._open = 0, 0, 0, False
        self._next_stats_ns = 0
        self._beats, self._drops, self._dropping = 0, 0, False
        if before is not None:
            self._resume(before)

    def _resume(self, before: EarMemory) -> None:
        """Go on with the beat where a predecessor left it; what it has told is not told again."""
        self._analysis = Analysis(48000, self._options)
        self._analysis.clock.resume(before.clock)
        if before.expects is not None:
            self._analysis.expect(*before.expects)
        self._beats = before.beats
        for reader, place in zip(self._commands, before.read, strict=False):
            reader.place = place
        for listener in self._listeners:
            listener.resume(before.clock.grid, before.t_ns)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Listen until ``stopped``."""
        try:
            while not stopped():
                self.step()
        finally:
            self._source.close()

    def step(self) -> None:
        """Wait for the next block or the next beat, whichever is sooner, and tell of it."""
        now_ns = self._clock.now_ns()
        if now_ns >= self._next_look_ns:
            self._next_look_ns = now_ns + NS // 4
            self._follow_choice(now_ns)
        if not self._open and now_ns >= self._retry_ns:
            self._open_source()
        until_ns = self._wake_ns(now_ns)
        events: list[EarEvent] = []
        block = None
        if self._open:
            try:
                block = self._source.read(until_ns)
                if block is not None and self._analysis is not None:
                    events = self._analysis.hear(block)
            except DeviceError as error:
                self._lose_source(str(error))
        else:
            self._clock.sleep_until(until_ns)
        now_ns = self._clock.now_ns()
        if self._analysis is not None:
            self._obey()
            events += self._analysis.advance(now_ns)
        self._tell(events, now_ns)
        if block is not None:
            self._sound.put(block)  # after the triggers: a recording can wait

    # -- the source ----------------------------------------------------------------------------------------

    def _follow_choice(self, now_ns: int) -> None:
        """Hear another device, or other channels of it, where the state says so; tell what is odd about the sound."""
        remark = self._analysis.remark if self._analysis is not None and self._open else ""
        if remark != self._remark:
            self._remark = remark
            self._announce("sound channels", remark or "nothing is odd any more", not remark)
        wanted = self._wanted()
        if wanted == self._sound_of or self._opening is not None:
            return
        before, self._sound_of = self._sound_of, wanted
        self._options = heard_as(self._own_options, wanted)
        if self._open:
            self._source.close()
        self._open, self._retries, self._retry_ns = False, 0, now_ns
        try:
            self._source = self._make(wanted)
        except VJError as error:
            self._announce("sound", f"{error}; what was heard before is heard on", False)
            self._sound_of, self._source = replace(wanted), self._make(before)

    def _open_source(self) -> None:
        try:
            if self._opener is None:
                self._source.open()
            elif self._opening is None:
                self._opening = self._opener.submit(self._source.open)
                self._slow_ns = self._clock.now_ns() + SLOW_NS
                return
            elif not self._opening.done():
                self._tell_slow()
                return
            else:
                opened, self._opening = self._opening, None
                opened.result()
        except DeviceError as error:
            self._fail(str(error), self._clock.now_ns())
            return
        self._open = True
        before = self._analysis
        self._analysis = Analysis(self._source.rate_hz, self._options)
        if before is not None:  # the beat, and what the hand set, go on through a lost device
            self._analysis.clock = before.clock
            if before.expects is not None:
                self._analysis.expect(*before.expects)
        if self._retries:
            self._announce("sound", "the source is back", True)
        self._retries = 0

    def _tell_slow(self) -> None:
        """Say once that a source has been opening for long."""
        if self._clock.now_ns() >= self._slow_ns:
            self._slow_ns = 2**63
            self._retries = max(1, self._retries)  # so that it is told when it is there
            self._hear_nothing(self._clock.now_ns())
            self._announce("sound", "the source does not open; it is waited for, and the beat goes on", False)

    def _lose_source(self, why: str) -> None:
        self._source.close()
        self._open = False
        self._fail(why, self._clock.now_ns())

    def _fail(self, why: str, now_ns: int) -> None:
        wait_s = RETRY_S[min(self._retries, len(RETRY_S) - 1)]
        self._retries += 1
        self._retry_ns = now_ns + round(wait_s * NS)
        self._hear_nothing(now_ns)
        self._announce("sound", f"{why}; trying again in {wait_s:g} s", False)

    def _hear_nothing(self, now_ns: int) -> None:
        if self._analysis is None:
            self._analysis = Analysis(48000, self._options)  # hands can still tap a tempo
        self._analysis.features = replace(silent_features(now_ns), grid=self._analysis.clock.grid)

    def _announce(self, what: str, why: str, recovered: bool) -> None:
        self._events.put(Degraded(self._clock.now_ns(), what, why, recovered))

    # -- telling -------------------------------------------------------------------------------------------

    def _wake_ns(self, now_ns: int) -> int:
        """Return when to wake if no sound comes: at the next tick, or the next beat if that is sooner."""
        wake = now_ns + TICK_NS
        if self._analysis is not None:
            for listener in self._listeners:
                beat_ns = listener.next_beat_ns(self._analysis.clock.grid)
                if beat_ns is not None and now_ns < beat_ns < wake:
                    wake = beat_ns
        return wake

    def _tell(self, events: list[EarEvent], now_ns: int) -> None:
        if self._analysis is None:
            return
        grid = self._analysis.clock.grid
        features = replace(self._analysis.features, grid=grid)
        if not self._open:
            features = replace(features, t_ns=now_ns)  # that it is silent is known as of now
        for event in events:
            for listener in self._listeners:
                listener.tell(event, now_ns)
            if not isinstance(event, Beat):
                self._latency.add(event.heard_ns, self._clock.now_ns())
            else:
                self._beats += 1
        for listener in self._listeners:
            listener.tick(features, grid, now_ns)
        for event in events:
            self._events.put(event)
        self._features.put(pack_features(features))
        self._remember(events, now_ns)
        if now_ns >= self._next_stats_ns:
            self._next_stats_ns = now_ns + NS // 2
            self._tell_drops()
            self._status.put(
                EarStatus(
                    t_ns=now_ns,
                    beats=self._beats,
                    bpm=round(grid.bpm, 1),
                    osc_sent=sum(listener.sent for listener in self._listeners),
                    osc_failed=sum(listener.failed for listener in self._listeners),
                    audio_to_osc=self._latency.summary(),
                    sound=self._open,
                )
            )

    def _remember(self, events: Sequence[EarEvent], now_ns: int) -> None:
        """Leave to a successor what it has to know: at each event, after each command, and fifty times a second."""
        if self._analysis is None or not (events or now_ns >= self._next_memory_ns):
            return
        self._next_memory_ns = now_ns + NS // 50
        clock, places = self._analysis.clock.memory, tuple(reader.place for reader in self._commands)
        self._memory.put(EarMemory(now_ns, clock, self._analysis.expects, self._beats, places))

    def _tell_drops(self) -> None:
        lost, self._drops = self._source.drops - self._drops, self._source.drops
        if lost > 0:
            self._announce("sound blocks", f"{lost} lost: the ear was held up", False)
        elif self._dropping:
            self._announce("sound blocks", "none lost any more", True)
        self._dropping = lost > 0

    # -- commands ------------------------------------------------------------------------------------------

    def _obey(self) -> None:
        for reader in self._commands:
            for event in reader.get():
                if not isinstance(event, Command):
                    continue
                self._next_memory_ns = 0
                try:
                    handle(self._analysis, event)
                except Exception as error:  # noqa: BLE001 - a fault of ours: the beat goes on, and the hand is told
                    log.write_fault("ear", f"{event.address} could not be done", error)
                    self._announce("message", f"{event.address}: {type(error).__name__}: {error}", False)


def heard_as(options: EarOptions, sound: Sound) -> EarOptions:
    """Return how the ear listens where the state chose channels of its own."""
    if not sound.channels:
        return options
    return options.model_copy(update={"channel": channels_of(sound.channels)})


def handle(analysis: Analysis | None, command: Event) -> None:
    """Carry out a tempo command; others are not the ear's."""
    if analysis is None or not isinstance(command, Command):
        return
    clock, t_ns, args = analysis.clock, command.t_ns, command.args
    actions: dict[str, Callable[[], None]] = {
        "/vj/tempo/tap": lambda: clock.tap(t_ns),
        "/vj/tempo/resync": lambda: clock.resync(t_ns),
        "/vj/tempo/nudge": lambda: clock.nudge(float(args[0])),
        "/vj/tempo/flip": clock.flip,
        "/vj/tempo/double": clock.double,
        "/vj/tempo/half": clock.half,
        "/vj/tempo/bpm": lambda: clock.set_bpm(float(args[0]), t_ns),
        "/vj/tempo/lock": lambda: clock.lock(bool(args[0])),
        "/vj/tempo/auto": clock.auto,
        "/vj/tempo/grid": lambda: clock.set_grid(int(args[0]), float(args[1]), int(args[2]), t_ns),
        "/vj/tempo/range": lambda: analysis.expect(float(args[0]), float(args[1])),
        "/vj/tempo/genre": lambda: analysis.expect(*GENRES[str(args[0])]),
    }
    action = actions.get(command.address)
    if action is not None:
        action()
