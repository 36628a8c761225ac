"""Generation: the newest sound and state go in, frames come out into the ring. Requests never queue."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vjserver.ports import Generator
from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.queue import QueueWriter
from vjserver.runtime.ring import RingWriter
from vjserver.runtime.stats import Latencies, Rate, StatsReader, StatsWriter
from vjserver.runtime.store import FeaturesReader, StateReader
from vjserver.show.mapping import Mapper
from vjserver.show.state import ShowState, prompt_hash
from vjserver.types.errors import GeneratorError, VJError
from vjserver.types.events import Degraded

LONGEST_STEP_S = 0.25
LONGEST_AHEAD_MS = 500.0


class Generation:
    """The generate process's loop. ``make`` turns a generator's name into an opened, warm one, or raises VJError."""

    def __init__(
        self,
        make: Callable[[str], Generator],
        size: tuple[int, int],
        fps: float,
        clock: Clock,
        features: FeaturesReader,
        state: StateReader,
        ring: RingWriter,
        events: QueueWriter,
        stats: StatsWriter,
        deliver: StatsReader,
        lookahead_ms: float | None = None,
    ) -> None:
        self._make, self._size, self._clock = make, size, clock
        self._period_ns = round(NS / fps)
        self._features, self._state, self._ring, self._events, self._stats = (
            features,
            state,
            ring,
            events,
            stats,
        )
        self._mapper = Mapper()
        self._name, self._refused = "", ""
        self._generator: Generator | None = None
        self._memory: Any = None
        self._latency, self._render, self._rate = Latencies(), Latencies(), Rate()
        self._deliver, self._lookahead_ms = deliver, lookahead_ms
        self._ahead_ns = round((lookahead_ms or 0.0) * 1e6)
        self._frames = 0
        self._last_ns = 0
        self._next_stats_ns = 0

    def run(self, stopped: Callable[[], bool]) -> None:
        """Make frames until ``stopped``."""
        slot_ns = self._clock.now_ns()
        try:
            while not stopped():
                self.step()
                slot_ns = max(slot_ns + self._period_ns, self._clock.now_ns())
                self._clock.sleep_until(slot_ns)
        finally:
            if self._generator is not None:
                self._generator.close()
            self._ring.close()

    def step(self) -> None:
        """Make one frame from the newest sound and state."""
        state = self._state.get()
        self._choose(state)
        if self._generator is None:
            return
        now_ns = self._clock.now_ns()
        seconds = min((now_ns - self._last_ns) / NS, LONGEST_STEP_S) if self._last_ns else 0.0
        self._last_ns = now_ns
        features = self._features.get()
        request = self._mapper(state, features, now_ns + self._ahead_ns, seconds, self._size)
        try:
            frame, self._memory = self._generator.render(request, self._memory)
        except GeneratorError as error:
            self._refuse(self._name, str(error))
            return
        done_ns = self._clock.now_ns()
        self._frames += 1
        info = replace(
            frame.info,
            frame_id=self._frames,
            t_capture_ns=request.audio_ns or request.t_ns,
            t_generated_ns=done_ns,
            bpm=request.bpm,
            beat_phase=request.beat_phase,
            bar_phase=request.bar_phase,
            beat_index=max(request.beat_count, 0),
            prompt_hash=prompt_hash(request.prompts),
            seed=request.seed,
        )
        self._ring.put(replace(frame, info=info))
        self._render.add(now_ns, done_ns)
        if features.t_ns:
            self._latency.add(features.t_ns, done_ns)
        self._rate.tick(done_ns)
        self._show_stats(done_ns)

    def _choose(self, state: ShowState) -> None:
        """Take up the state's generator; one that was refused is not tried again until another was asked for."""
        name = state.generator
        if name == self._refused:
            return
        if name != self._name:
            try:
                self._take(name, self._make(name))
            except VJError as error:
                self._refuse(name, str(error))
                return
        if self._refused:
            self._refused = ""
            self._announce("generator", f"{name} plays", True)

    def _refuse(self, name: str, why: str) -> None:
        """Announce a generator that cannot play; the pattern generator plays in its place."""
        self._refused = name
        self._announce("generator", f"{why}; the pattern generator plays instead", False)
        if self._name != "pattern":
            self._take("pattern", self._make("pattern"))

    def _take(self, name: str, generator: Generator) -> None:
        if self._generator is not None:
            self._generator.close()
        self._name, self._generator, self._memory = name, generator, None

    def _look_ahead(self, now_ns: int) -> None:
        """Aim at the middle of the time for which a picture begun now will be on screen.

        It is sent after making and delivering it (as long as they took of late) and stays until the next one.
        """
        if self._lookahead_ms is None:
            made_ms = self._render.summary().get("p50", 0.0)
            sent_ms = self._deliver.get().get("frame_to_output", {}).get("p50", 0.0)
            stays_ms = 1e3 / max(self._rate.per_second(now_ns), 10.0)
            self._ahead_ns = round(min(made_ms + sent_ms + 0.5 * stays_ms, LONGEST_AHEAD_MS) * 1e6)

    def _announce(self, what: str, why: str, mended: bool) -> None:
        self._events.put(Degraded(self._clock.now_ns(), what, why, mended))

    def _show_stats(self, now_ns: int) -> None:
        if now_ns < self._next_stats_ns:
            return
        self._next_stats_ns = now_ns + NS // 2
        self._look_ahead(now_ns)
        self._stats.put(
            {
                "t_ns": now_ns,
                "frames": self._frames,
                "fps": self._rate.per_second(now_ns),
                "audio_to_frame": self._latency.summary(),
                "render": self._render.summary(),
                "lookahead_ms": round(self._ahead_ns * 1e-6, 1),
                "generator": self._name,
            }
        )
