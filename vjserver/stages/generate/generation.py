"""Generation: the newest sound and state go in, frames come out into the ring. Requests never queue."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from vjserver.rendering.generator_pool import GeneratorSpec
from vjserver.rendering.renderer import Moment, Renderer, RenderMemory
from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.queue import QueueWriter
from vjserver.runtime.ring import RingWriter
from vjserver.runtime.stats import Latencies, Rate
from vjserver.runtime.status import DeliverStatus, GenerateStatus, Latency, StatusReader, StatusWriter, figures_of
from vjserver.runtime.store import Channels, FeaturesReader, StateReader
from vjserver.show.state import ShowState, prompt_hash
from vjserver.types.errors import VJError, WorkerFault
from vjserver.types.events import Degraded
from vjserver.types.features import silent_features
from vjserver.types.frames import Frame

LONGEST_STEP_S = 0.25
LONGEST_AHEAD_MS = 500.0
FIRST_S, SLOWER = 120.0, 8.0
Announce = Callable[[str, str, bool], None]
RendererOf = Callable[[Announce], Renderer]


@dataclass(frozen=True, slots=True)
class GeneratePipes:
    """The ends that generate holds of the pipes between processes; ``deliver`` is what the deliverer tells."""

    features: FeaturesReader
    state: StateReader
    ring: RingWriter
    events: QueueWriter
    status: StatusWriter
    deliver: StatusReader[DeliverStatus]

    @classmethod
    def of(cls, channels: Channels, size: tuple[int, int], first: ShowState | None = None) -> "GeneratePipes":
        """Return the ends of ``channels``, for pictures of ``size``; the state is ``first`` until there is one."""
        return cls(
            FeaturesReader(channels, silent_features(0)),
            StateReader(channels.state, first),
            RingWriter(channels.generated, size[0] * size[1] * 4),
            QueueWriter(channels.events("generate")),
            StatusWriter(channels.status("generate")),
            StatusReader(channels.status("deliver"), DeliverStatus),
        )


class Generation:
    """The generate process's loop."""

    def __init__(
        self,
        renderer: RendererOf,
        size: tuple[int, int],
        fps: float,
        clock: Clock,
        pipes: GeneratePipes,
        preview: Callable[[], RingWriter],
        tolerate: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """``renderer`` is made with a way to announce; ``preview`` makes the ring for deck previews when there is one.

        ``tolerate`` is told how long a frame may take before it is taken for one that hangs: long for the first of a
        generator, and many times what its slowest took.
        """
        self._tolerate, self._patient_for, self._slowest_s = tolerate, GeneratorSpec(""), 0.0
        self._size, self._clock = size, clock
        self._period_ns = round(NS / fps)
        self._features, self._state, self._ring = pipes.features, pipes.state, pipes.ring
        self._events, self._status, self._deliver = pipes.events, pipes.status, pipes.deliver
        self._renderer, self._memory = renderer(self._announce), RenderMemory()
        self._open_preview, self._preview_failed = preview, False
        self._preview: RingWriter | None = None
        self._figures: Mapping[str, float] = {}
        self._latency, self._source, self._render, self._rate = Latencies(), Latencies(), Latencies(), Rate()
        self._ahead_ns = 0
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
            self.close()

    def close(self) -> None:
        """Let go of everything."""
        self._renderer.close()
        self._ring.close()
        if self._preview is not None:
            self._preview.close()

    def step(self) -> None:
        """Make one frame from the newest sound and state."""
        state, now_ns = self._state.get(), self._clock.now_ns()
        if state.lookahead_ms >= 0.0:
            self._ahead_ns = round(state.lookahead_ms * 1e6)
        spec = self._renderer.choose(state, now_ns + self._ahead_ns)
        now_ns = self._clock.now_ns()
        seconds = min((now_ns - self._last_ns) / NS, LONGEST_STEP_S) if self._last_ns else 0.0
        self._last_ns = now_ns
        features = self._features.get()
        if spec != self._patient_for:
            self._patient_for, self._slowest_s = spec, 0.0
            self._tolerate(FIRST_S)
        moment = Moment(state, features, now_ns + self._ahead_ns, seconds, self._frames + 1, self._size)
        try:
            rendered, self._memory = self._renderer.render(moment, self._memory)
        except WorkerFault as error:
            self._announce("generator", f"{error}; starting again", False)
            raise
        if rendered is None:
            return
        frame, request, source = rendered.frame, rendered.request, rendered.source
        done_ns = self._clock.now_ns()
        self._frames += 1
        header = replace(
            frame.info,
            frame_id=self._frames,
            t_capture_ns=request.audio_ns or request.t_ns,
            t_generated_ns=done_ns,
            bpm=request.bpm,
            beat_phase=request.beat_phase,
            bar_phase=request.bar_phase,
            beat_index=max(request.beat_count, 0),
            prompt_hash=prompt_hash(request.text.prompts),
            seed=request.seed,
        )
        if source is not None and source.info.t_capture_ns:
            age_us = max(0, done_ns - source.info.t_capture_ns) // 1000
            header = replace(header, source_frame_id=source.info.frame_id, source_age_us=age_us)
            self._source.add(source.info.t_capture_ns, done_ns)
        frame = replace(frame, info=header)
        self._ring.put(frame)
        self._hear(frame)
        self._render.add(now_ns, done_ns)
        if (done_ns - now_ns) / NS > self._slowest_s or self._frames % 64 == 0:
            self._slowest_s = max(self._slowest_s, (done_ns - now_ns) / NS)
            self._tolerate(SLOWER * self._slowest_s)
        if features.t_ns:
            self._latency.add(features.t_ns, done_ns)
        self._rate.tick(done_ns)
        self._show_stats(done_ns)

    def _hear(self, frame: Frame) -> None:
        """Announce what a frame has to tell, take its figures, and put its preview where any program can read it."""
        for notice in frame.notices:
            self._announce(notice.what, notice.why, notice.recovered)
        self._figures = frame.figures
        if frame.preview is None:
            return
        try:
            if self._preview is None:
                self._preview = self._open_preview()
            self._preview.put(Frame(frame.preview, frame.info))
        except (VJError, OSError) as error:
            if not self._preview_failed:
                self._preview_failed = True
                self._announce("preview", str(error), False)

    def _look_ahead(self, now_ns: int) -> None:
        """Aim at the middle of the time for which a picture begun now will be on screen.

        It is sent after making and delivering it (as long as they took of late) and stays until the next one.
        """
        if self._state.get().lookahead_ms < 0.0:
            made, sent = self._render.summary() or Latency(), self._deliver.get().frame_to_output or Latency()
            stays_ms = 1e3 / max(self._rate.per_second(now_ns), 10.0)
            self._ahead_ns = round(min(made.p50 + sent.p50 + 0.5 * stays_ms, LONGEST_AHEAD_MS) * 1e6)

    def _announce(self, what: str, why: str, recovered: bool) -> None:
        self._events.put(Degraded(self._clock.now_ns(), what, why, recovered))

    def _show_stats(self, now_ns: int) -> None:
        if now_ns < self._next_stats_ns:
            return
        self._next_stats_ns = now_ns + NS // 2
        self._look_ahead(now_ns)
        self._status.put(
            GenerateStatus(
                t_ns=now_ns,
                frames=self._frames,
                fps=self._rate.per_second(now_ns),
                audio_to_frame=self._latency.summary(),
                source_to_frame=self._source.summary(),
                render=self._render.summary(),
                lookahead_ms=round(self._ahead_ns * 1e-6, 1),
                generator=str(self._renderer.pool.playing),
                figures=figures_of(self._figures),
            )
        )
