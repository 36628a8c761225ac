"""Delivery: frames and the master controls go in, a picture goes out in every slot of a fixed clock. It never stops.

The picture of a slot is composed just before it, so that it leaves on time and still has the newest frame in it. A slot
that was missed is left out: nothing is sent in a burst. The slots move slowly towards where frames come from.
"""

import cmath
import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vjserver.ports import Output, sending_of
from vjserver.runtime import log
from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.queue import QueueWriter
from vjserver.runtime.ring import RingReader, RingWriter
from vjserver.runtime.stats import Latencies, Rate
from vjserver.runtime.status import DeliverStatus, StatusWriter
from vjserver.runtime.store import Channels, FeaturesReader, MemoryWriter, StateReader
from vjserver.show.outputs import OutputRow
from vjserver.show.state import ShowState
from vjserver.stages.deliver.compositor import Compositor, stamped
from vjserver.stages.deliver.output_thread import OutputThread
from vjserver.types.errors import VJError
from vjserver.types.events import Degraded
from vjserver.types.features import Features, silent_features
from vjserver.types.frames import Frame

LATE_NS = 2_000_000
"""A picture that leaves so much after its slot is late."""
MOST_AHEAD = 0.6
"""The part of a slot that composing may take; what takes longer comes late."""
COSTS = 32
"""So many slots are looked back upon to say what composing costs."""
FRESH_NS = 2 * NS
CLOSING_NS = 800_000_000
"""So long, all together, outputs are waited for at the end."""
Make = Callable[[Mapping[str, Any], float], Output]


class Phase:
    """Moves the slots towards where generated frames have just come, so that they do not wait for half a slot.

    A generator that keeps its rate makes frames at one place between slots. The place is a point on a circle; the mean
    of such points says where it is, and the mean's length how much it strays. The slots are moved by a little each
    until frames come a millisecond, and twice what they stray, before they are composed. Frames that come here and
    there move nothing.
    """

    AIM_NS = 1_000_000
    STEP_NS = 50_000
    SMOOTH = 0.05
    TRUST = 0.7

    def __init__(self) -> None:
        self._mean = 0j

    def __call__(self, waited_ns: int, period_ns: int) -> int:
        """Take how long a frame waited before it was composed; return by how much the next slot is to be moved."""
        if not 0 <= waited_ns < 2 * period_ns:
            return 0
        self._mean += self.SMOOTH * (cmath.rect(1.0, 2.0 * math.pi * waited_ns / period_ns) - self._mean)
        length = abs(self._mean)
        if length < self.TRUST:
            return 0
        strays = math.sqrt(-2.0 * math.log(min(length, 1.0))) / (2.0 * math.pi)  # the circular standard deviation
        away = cmath.phase(self._mean) / (2.0 * math.pi) - self.AIM_NS / period_ns - 2.0 * strays
        away -= round(away)  # the shorter way round
        return round(max(-self.STEP_NS, min(self.STEP_NS, -0.02 * away * period_ns)))


@dataclass(frozen=True, slots=True)
class DeliverPipes:
    """The ends that deliver holds of the pipes between processes."""

    features: FeaturesReader
    state: StateReader
    ring: RingReader
    preview: RingReader
    events: QueueWriter
    status: StatusWriter
    memory: MemoryWriter

    @classmethod
    def of(cls, channels: Channels, first: ShowState | None = None) -> "DeliverPipes":
        """Return the ends of ``channels``; the state is ``first`` until there is one."""
        return cls(
            FeaturesReader(channels, silent_features(0)),
            StateReader(channels.state, first),
            RingReader(channels.generated),
            RingReader(channels.preview),
            QueueWriter(channels.events("deliver")),
            StatusWriter(channels.status("deliver")),
            MemoryWriter(channels.memory("deliver")),
        )


class Delivery:
    """The deliver process's loop.

    ``make`` returns the output of a configuration, for a delivery of so many frames a second; ``own`` are outputs that
    are there whatever the state says (the page's preview); ``frozen`` makes the ring for the picture that is held.
    """

    def __init__(
        self,
        make: Make,
        own: tuple[OutputRow, ...],
        composer: Compositor,
        clock: Clock,
        pipes: DeliverPipes,
        frozen: Callable[[], RingWriter],
    ) -> None:
        self._memory, self._frozen = pipes.memory, frozen
        self._frozen_ring: RingWriter | None = None
        self._frozen_frame: Frame | None = None
        self._shown: Frame | None = None
        self._make, self._own, self._compositor, self._clock = make, own, composer, clock
        self._features, self._state = pipes.features, pipes.state
        self._ring, self._preview, self._events, self._status = pipes.ring, pipes.preview, pipes.events, pipes.status
        self._outputs: dict[str, OutputThread] = {}
        self._rows: tuple[OutputRow, ...] | None = None
        self._streams = 0
        self._period_ns = round(NS / self._state.get().deliver.fps)
        self._deck: Frame | None = None
        self._deck_ns = 0
        self._was_degraded = self._composing_fails = False
        self._new_rate, self._pacing = Rate(), Latencies()
        self._costs: deque[int] = deque([0], maxlen=COSTS)
        self._phase, self._move_ns = Phase(), 0
        self._ticks, self._late, self._missed = 0, 0, 0
        self._next_stats_ns = 0

    def run(self, stopped: Callable[[], bool]) -> None:
        """Deliver until ``stopped``."""
        slot_ns = self._clock.now_ns()
        try:
            while not stopped():
                slot_ns = self.step(slot_ns)
        finally:
            for output in self._outputs.values():
                output.close()
            deadline_ns = self._clock.now_ns() + CLOSING_NS
            for output in self._outputs.values():
                output.join(max(0.0, (deadline_ns - self._clock.now_ns()) / NS))
            self._ring.close()
            self._preview.close()
            if self._frozen_ring is not None:
                self._frozen_ring.leave()
            self._compositor.safe.close()

    def step(self, slot_ns: int) -> int:
        """Compose and send the picture of the slot at ``slot_ns``; return when the next one is."""
        self._clock.sleep_until(slot_ns - self._ahead_ns())
        began_ns = self._clock.now_ns()
        state = self._state.get()
        self._follow(state)
        pictures = self._pictures(state, slot_ns, began_ns)
        self._costs.append(self._clock.now_ns() - began_ns)
        self._clock.sleep_until(slot_ns)
        now_ns = self._clock.now_ns()
        for output in self._outputs.values():
            output.offer(pictures[output.sending.feed], slot_ns, self._period_ns)
        self._pacing.add(slot_ns, now_ns)
        self._late += now_ns - slot_ns > LATE_NS
        self._ticks += 1
        self._watch(now_ns, state)
        self._show_stats(now_ns)
        passed = max(0, self._clock.now_ns() - slot_ns - self._period_ns // 2) // self._period_ns
        self._missed += passed
        return slot_ns + (1 + passed) * self._period_ns + self._move_ns

    def _ahead_ns(self) -> int:
        """Return how long before a slot its picture is begun: nearly as long as the slowest of late took."""
        slow_ns = sorted(self._costs)[-1 - len(self._costs) // 10]
        return min(slow_ns + 200_000, self._longest_ns)

    @property
    def _longest_ns(self) -> int:
        return round(MOST_AHEAD * self._period_ns)

    def _pictures(self, state: ShowState, slot_ns: int, now_ns: int) -> dict[str, Frame]:
        """Return the picture of the slot for each feed."""
        features = self._features.get()
        newest = self._ring.get()
        self._move_ns = 0
        if newest is not None:
            self._new_rate.tick(slot_ns)
            self._move_ns = self._phase(now_ns - newest.info.t_generated_ns, self._period_ns)
        program = self._composed(newest, state, features, slot_ns)
        program.pixels.flags.writeable = False
        pictures = {"program": program, "preview": program}
        if any(output.sending.feed == "preview" for output in self._outputs.values()):
            deck = self._preview.get()
            if deck is not None:
                self._deck, self._deck_ns = deck, slot_ns
                deck.pixels.flags.writeable = False
            if self._deck is not None and slot_ns - self._deck_ns < FRESH_NS:
                pictures["preview"] = stamped(self._deck, features.grid, slot_ns)
        return pictures

    def _composed(self, newest: Frame | None, state: ShowState, features: Features, slot_ns: int) -> Frame:
        """Return the picture; whatever goes wrong with one, the one before stays."""
        try:
            shown = self._shown = self._compositor(newest, state, features, slot_ns)
        except Exception as error:
            if self._shown is None:
                raise
            if not self._composing_fails:
                log.write_fault("deliver", "a picture could not be composed", error)
                self._announce("composing", f"{type(error).__name__}: {error}; the last picture stays", False)
            self._composing_fails = True
            return self._shown
        if self._composing_fails:
            self._composing_fails = False
            self._announce("composing", "pictures are composed again", True)
        self._remember()
        return shown

    def _remember(self) -> None:
        """Leave where we stand to who comes after us; a picture that is held still, too."""
        frozen = self._compositor.frozen
        if frozen is not self._frozen_frame:
            self._frozen_frame = frozen
            if frozen is not None:
                try:
                    self._frozen_ring = self._frozen_ring or self._frozen()
                    self._frozen_ring.put(frozen)
                except (VJError, OSError) as error:
                    self._announce("freeze", f"{error}; the picture would not outlive a fall", False)
        self._memory.put(self._compositor.memory)

    # -- outputs -------------------------------------------------------------------------------------------

    def _follow(self, state: ShowState) -> None:
        """Open and close outputs as the state says, and keep its rate."""
        period_ns = round(NS / state.deliver.fps)
        if state.outputs == self._rows and period_ns == self._period_ns:
            return
        before = {} if self._rows is None else {row.label: row for row in (*self._own, *self._rows)}
        paced_anew, self._period_ns = period_ns != self._period_ns, period_ns
        self._rows = state.outputs
        wanted = {row.label: row for row in (*self._own, *state.outputs)}
        for label in [label for label in self._outputs if wanted.get(label) != before.get(label) or paced_anew]:
            self._outputs[label].close()
            if label not in wanted:
                del self._outputs[label]
        for label, row in wanted.items():
            if label not in self._outputs or before.get(label) != row or paced_anew:
                self._open(row, state.deliver.fps)

    def _open(self, row: OutputRow, fps: float) -> None:
        try:
            sending = sending_of(row.config)
            self._streams += 1
            self._outputs[row.label] = OutputThread(
                row.label,
                lambda: self._make(row.config, fps),
                sending,
                self._clock,
                self._streams,
                self._announce,
                self._outputs.get(row.label),
            )
        except Exception as error:  # noqa: BLE001 - one output may not take the others with it
            why = str(error) if isinstance(error, VJError) else f"{type(error).__name__}: {error}"
            self._announce(f"output {row.label}", f"{why}; it is left out", False)

    def _announce(self, what: str, why: str, recovered: bool) -> None:
        self._events.put(Degraded(self._clock.now_ns(), what, why, recovered))

    # -- how it goes ---------------------------------------------------------------------------------------

    def _watch(self, now_ns: int, state: ShowState) -> None:
        between = self._compositor.between
        if state.deliver.between != "flow":
            if between.hurried:
                self._announce("between", "no optical flow is asked for any more", True)
            between.hurried = False
        elif not between.hurried and len(self._costs) == COSTS:
            usual_ns = sorted(self._costs)[COSTS // 2]
            if usual_ns > self._longest_ns:
                between.hurried = True
                took = f"{usual_ns * 1e-6:.0f} of {self._period_ns * 1e-6:.1f} ms"
                self._announce("between", f"optical flow takes {took} of a slot; a crossfade is shown instead", False)
        if self._compositor.degraded != self._was_degraded:
            self._was_degraded = self._compositor.degraded
            why = "no new frame: the safe loop plays" if self._was_degraded else "generated pictures again"
            self._events.put(Degraded(now_ns, "picture", why, not self._was_degraded))

    def _show_stats(self, now_ns: int) -> None:
        if now_ns < self._next_stats_ns:
            return
        self._next_stats_ns = now_ns + NS // 2
        own = {row.label for row in self._own}
        rows = {label: output.status(now_ns) for label, output in self._outputs.items() if label not in own}
        self._status.put(
            DeliverStatus(
                t_ns=now_ns,
                ticks=self._ticks,
                late=self._late,
                missed=self._missed,
                pacing=self._pacing.summary(),
                new_fps=self._new_rate.per_second(now_ns),
                fps=round(NS / self._period_ns, 2),
                level=self._compositor.level,
                frame_to_output=next((row.latency for row in rows.values() if row.latency), None),
                outputs=rows,
                drops=sum(row.drops for row in rows.values()),
            )
        )
