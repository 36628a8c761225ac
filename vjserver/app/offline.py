"""Offline: the same ear and the same mapping as on stage, with a clock that jumps instead of waiting."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vjserver.dsp.frontend import HOP
from vjserver.dsp.options import EarOptions
from vjserver.ports import Generator, Source, find, open_door, options_of
from vjserver.rendering.generator_pool import GeneratorSpec, WaitingPool
from vjserver.rendering.image_source import ImageSource
from vjserver.rendering.renderer import Renderer, RenderMemory
from vjserver.runtime.clock import NS, Clock, LiveClock, ManualClock
from vjserver.runtime.installed import installed
from vjserver.runtime.picture import write_picture
from vjserver.show.bank import Bank
from vjserver.show.desk import Desk
from vjserver.show.looks import enter
from vjserver.show.preset import Preset
from vjserver.show.state import ShowState
from vjserver.sources.file import FileOptions, FileSource
from vjserver.sources.song import demo_song
from vjserver.stages.ear.analysis import Analysis
from vjserver.stages.offline.performance import heard, moments
from vjserver.types.audio import AudioBlock, Float32
from vjserver.types.errors import DeviceError
from vjserver.types.events import Beat, Drum, EarEvent, Onset, Silence, Tempo, event_name
from vjserver.types.frames import Pixels

FOREVER_NS = 2**62


@dataclass(slots=True)
class Record:
    """What the ear went through, block by block."""

    start_ns: int = 0
    times_s: list[float] = field(default_factory=list)
    wave: list[tuple[float, float]] = field(default_factory=list)
    beat: list[tuple[float, float]] = field(default_factory=list)
    drums: list[Float32] = field(default_factory=list)
    flux: list[float] = field(default_factory=list)
    bands: list[Float32] = field(default_factory=list)
    tempo: list[tuple[float, float, float, float]] = field(default_factory=list)
    events: list[EarEvent] = field(default_factory=list)

    def take(self, block: AudioBlock, analysis: Analysis, events: list[EarEvent], start_ns: int) -> None:
        """Note what the ear made of a block."""
        self.start_ns = start_ns
        tracker, grid = analysis.tracker, analysis.clock.grid
        self.times_s.append((block.t_ns - start_ns) / NS)
        self.wave.append((float(block.samples.min(initial=0.0)), float(block.samples.max(initial=0.0))))
        self.beat.append((tracker.activation, tracker.downbeat))
        self.drums.append(analysis.drum_surety.copy())
        self.flux.append(analysis.features.value("flux", block.t_ns))
        self.bands.append(analysis.features.bands)
        heard_bpm = 60.0 * tracker.frame_rate_hz / tracker.pointer.period
        self.tempo.append((grid.bpm or np.nan, heard_bpm, grid.confidence, tracker.trust()))
        self.events += events


def hear_file(path: Path, options: EarOptions, record: Record | None = None) -> Iterator[dict[str, Any]]:
    """Yield what the ear hears in a file, in the order in which it would have been sent; fill ``record``.

    ``t_s`` is the time in the file that an event speaks of, ``sent_s`` the time at which it would have been sent.
    Raises DeviceError for a missing, damaged or empty file.
    """
    clock = ManualClock()
    source = FileSource(FileOptions(path=path, loop=False, block=HOP), clock)
    source.open()
    try:
        analysis = Analysis(source.rate_hz, options)
        for event, sent_ns in hear(analysis, blocks(source, clock, FOREVER_NS), record):
            yield _row(event, sent_ns, 0)
    finally:
        source.close()


def hear_device(
    device: str | int | None, seconds: float, options: EarOptions, record: Record | None = None
) -> Iterator[dict[str, Any]]:
    """Yield what the ear hears at an audio input for so many seconds, as it happens. Raises DeviceError."""
    clock = LiveClock()
    source = find("sources", "device")(options_of("sources", {"kind": "device", "name": device}), clock)
    source.open()
    try:
        analysis, start_ns = Analysis(source.rate_hz, options), clock.now_ns()
        for event, sent_ns in hear(analysis, blocks(source, clock, start_ns + round(seconds * NS)), record, start_ns):
            yield _row(event, sent_ns, start_ns)
    finally:
        source.close()


def hear(
    analysis: Analysis, blocks: Iterable[AudioBlock], record: Record | None = None, start_ns: int = 0
) -> Iterator[tuple[EarEvent, int]]:
    """Yield what the ear hears in blocks and when it would have been sent, oldest first.

    On stage, the ear wakes at the very time of a beat that it knows ahead, though no block ends then; one that it comes
    to know late goes out with the block.
    """
    last_ns = 0
    for block in blocks:
        events = [*analysis.hear(block), *analysis.advance(block.t_ns)]
        for event in events:
            sent_ns = min(max(event.t_ns, last_ns), event.heard_ns) if isinstance(event, Beat) else event.heard_ns
            yield event, sent_ns
        if record is not None:
            record.take(block, analysis, events, start_ns)
        last_ns = block.t_ns


def blocks(source: Source, clock: Clock, until_ns: int) -> Iterator[AudioBlock]:
    """Yield a source's blocks until it ends or ``until_ns``."""
    while clock.now_ns() < until_ns:
        try:
            block = source.read(until_ns)
        except DeviceError as error:
            if "has ended" in str(error):
                return
            raise
        if block is not None:
            yield block


def _row(event: EarEvent, sent_ns: int, start_ns: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "event": event_name(event),
        "t_s": round((event.t_ns - start_ns) / NS, 4),
        "sent_s": round((sent_ns - start_ns) / NS, 4),
    }
    if isinstance(event, Beat):
        row |= {"beat": True, "count": event.count, "position": event.bar_position, "bpm": round(event.bpm, 2)}
    if isinstance(event, (Drum, Onset)):
        row["strength"] = round(event.strength, 3)
    if isinstance(event, (Beat, Tempo)):
        row["confidence"] = round(event.confidence, 3)
    if isinstance(event, Tempo):
        row["bpm"] = round(event.bpm, 2)
    if isinstance(event, Silence):
        row["on"] = event.on
    return row


def draw_preset(preset: Preset, path: Path, seconds: float = 10.0, size: tuple[int, int] = (1280, 720)) -> None:
    """Render a preset to a part of the demo's song and write the last frame as PNG (or JPEG) to ``path``."""
    *_, pixels = render_preset(preset, seconds, size)
    write_picture(path, pixels)


def render_preset(
    preset: Preset, seconds: float, size: tuple[int, int], fps: int = 30, skip_s: float = 35.0
) -> Iterator[Pixels]:
    """Yield the frames of a preset played to the demo's song from ``skip_s`` on. Raises GeneratorError."""
    registry = installed()

    def make(spec: GeneratorSpec) -> Generator:
        model = {"model": spec.model} if spec.model else {}
        generator: Generator = open_door("generators", {"kind": spec.kind, **model})
        generator.warm_up(*size, [prompt.text for prompt in preset.prompts])
        return generator

    images = ImageSource({}, registry.infos, ManualClock(), _tell)
    renderer, memory = Renderer(registry, WaitingPool(make), images, _tell), RenderMemory()
    desk = Desk(Bank([("it", preset)]), enter(ShowState(), 0, preset, registry), registry=registry)
    frames = round((skip_s + seconds) * fps)
    try:
        for moment in moments(desk, heard(demo_song(), 48000), Fraction(fps), size, frames):
            if moment.t_ns < skip_s * NS:
                continue
            rendered, memory = renderer.render(moment, memory)
            assert rendered is not None  # its pool raises
            for notice in rendered.frame.notices:
                _tell(notice.what, notice.why, notice.recovered)
            yield np.asarray(rendered.frame.pixels)
    finally:
        renderer.close()


def _tell(what: str, why: str, _recovered: bool) -> None:
    """Say on the terminal what a show would announce."""
    print(f"{what}: {why}", file=sys.stderr)
