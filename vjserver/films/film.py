"""A film: everything that it is made from, and the plan of its making.

The plan follows from the film alone, never from who makes it: *segments* of whole bars, each a file, and *stretches*
of segments that can be made without those before. A segment is named by a digest of every request that its pictures
answer, so what did not change is not made again.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec

from vjserver.films.codecs import Codec
from vjserver.films.images import FilmImages
from vjserver.films.versions import versions
from vjserver.ports import Generator
from vjserver.rendering.generator_pool import GeneratorSpec, WaitingPool, opened, own_model
from vjserver.rendering.renderer import Moment, Renderer
from vjserver.show.bank import Bank
from vjserver.show.cues import CueList
from vjserver.show.desk import Desk
from vjserver.show.preset import texts_of
from vjserver.show.registry import Registry
from vjserver.show.state import ShowState
from vjserver.show.take import Take
from vjserver.stages.offline.hearing import Hearing
from vjserver.stages.offline.performance import NS, Performance, time_of

Between = Literal["hold", "crossfade", "flow"]
Tell = Callable[[str, str, bool], None]
"""Is told what a show would announce: what, why, and whether it has recovered."""


@dataclass(frozen=True, slots=True)
class Reset:
    """A scene begins anew at ``t_ns``: nothing of the one before is left; it fades over until ``until_ns``."""

    t_ns: int
    until_ns: int


@dataclass(frozen=True, slots=True)
class Title:
    """A text over the picture, from ``t_ns`` to ``until_ns``."""

    t_ns: int
    until_ns: int
    text: str


@dataclass(frozen=True)
class Film:
    """What a film is made from; it travels to every worker as it is.

    Frames ``first`` to ``last`` (exclusive) of the song are made, ``rate`` a second, at ``size``. ``every``-th frames
    are generated, and those ``between`` made of them. ``doors`` are options of generators, ``inputs`` pictures to start
    from; ``folder`` is where the song's hearing lies, ``stems`` that of single tracks.
    """

    folder: Path
    rate: Fraction
    size: tuple[int, int]
    first: int
    last: int
    codec: Codec
    registry: Registry
    bank: Bank
    state: ShowState
    seed: int = 1
    take: Take | None = None
    cues: CueList = field(default_factory=CueList)
    doors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inputs: Mapping[str, Path] = field(default_factory=dict)
    resets: tuple[Reset, ...] = ()
    titles: tuple[Title, ...] = ()
    every: int = 1
    between: Between = "crossfade"
    stems: Mapping[str, Path] = field(default_factory=dict)

    @cached_property
    def hearing(self) -> Hearing:
        """The song as it was heard."""
        stems = {role: Hearing.load(folder) for role, folder in self.stems.items()}
        return replace(Hearing.load(self.folder), stems=stems)

    def __getstate__(self) -> dict[str, Any]:
        """Travel without what is read from the disk."""
        return {key: value for key, value in self.__dict__.items() if key not in ("hearing", "scene_frames")}

    def performance(self) -> Performance:
        """Return the performance from the beginning."""
        desk = Desk(self.bank, self.state, self.cues, seed=self.seed, registry=self.registry)
        if self.take is not None:
            desk.play(self.take, 0)
        return Performance(desk, self.hearing, frozenset(reset.t_ns for reset in self.resets))

    def moment(self, performance: Performance, number: int, step: int) -> Moment:
        """Return the moment of a frame, the last one that was drawn being ``step`` frames before."""
        moment = performance.moment(number, time_of(number, self.rate), self.rate, self.size)
        return replace(moment, seconds=moment.seconds * step)

    @cached_property
    def scene_frames(self) -> frozenset[int]:
        """The frames at which scenes begin anew."""
        return frozenset(self.frame_at(reset.t_ns) for reset in self.resets)

    def draws(self, number: int) -> bool:
        """Tell whether a frame is drawn: one of every n, and the first of each scene."""
        return number % self.every == 0 or number in self.scene_frames

    def frame_at(self, t_ns: int) -> int:
        """Return the first frame that is not before a time."""
        return math.ceil(Fraction(t_ns, NS) * self.rate)

    def fingerprint(self) -> bytes:
        """Return what every picture hangs on besides what is asked for."""
        codec = (self.codec.name, self.codec.encoder, self.codec.pixel_format, dict(self.codec.options))
        doors = {
            kind: {key: str(one) for key, one in sorted(door.items())} for kind, door in sorted(self.doors.items())
        }
        images = {name: _mark(path) for name, path in sorted(self.inputs.items())}
        rows = (versions(), self.folder.name, {role: one.name for role, one in self.stems.items()}, str(self.rate),
                self.size, codec, doors, images, self.every, self.between)  # fmt: skip
        return msgspec.msgpack.encode(rows)

    def renderer(self, tell: Tell) -> tuple[Renderer, FilmImages]:
        """Return a renderer with generators of its own, which are waited for, and its pictures to start from."""

        def make(spec: GeneratorSpec) -> Generator:
            generator = opened(self.doors, spec)
            generator.warm_up(*self.size, texts_of(p for _, p in self.bank.presets if p.generator == spec.kind))
            return generator

        images = FilmImages(self.inputs)
        return Renderer(self.registry, WaitingPool(make), images, tell, cache(self.own_model)), images

    def own_model(self, kind: str) -> str:
        """Return the model that the show names for a generator, or the one that it would take."""
        return own_model(self.doors, kind)


def _mark(path: Path) -> tuple[int, int] | None:
    """Return by what a changed file is known; None for one that is not there, which is told when it is asked for."""
    try:
        return path.stat().st_size, path.stat().st_mtime_ns
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Segment:
    """Frames ``first`` to ``last`` (exclusive); ``digest`` names what they are made from."""

    number: int
    first: int
    last: int
    digest: str

    @property
    def frames(self) -> int:
        """How many."""
        return self.last - self.first


@dataclass(frozen=True, slots=True)
class Stretch:
    """Segments that are made one after another.

    Nothing is handed on to the first of them but where its generators have come to since the frame ``anew``, and what
    ``lead`` frames before it leave behind.
    """

    number: int
    anew: int
    lead: int
    segments: tuple[Segment, ...]

    @property
    def first(self) -> int:
        """Its first frame."""
        return self.segments[0].first

    @property
    def last(self) -> int:
        """The frame behind its last."""
        return self.segments[-1].last


@dataclass(frozen=True, slots=True)
class Look:
    """What plays from a frame on: for the report and the sheet."""

    frame: int
    preset: str
    generator: str
    model: str
    prompts: tuple[str, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class FilmPlan:
    """How a film is made."""

    stretches: tuple[Stretch, ...]
    looks: tuple[Look, ...]
    specs: tuple[GeneratorSpec, ...]
    whole: tuple[str, ...]
    """Generators within whose scenes no stretch can begin, in words."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, in order."""
        return tuple(segment for stretch in self.stretches for segment in stretch.segments)
