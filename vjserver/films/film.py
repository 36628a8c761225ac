"""A film: everything that it is made from, and the plan of its making.

The plan follows from the film alone, never from who makes it: *segments* of whole bars, each a file, and *stretches*
of segments that can be made without those before. A segment is named by a digest of every request that its pictures
answer, so what did not change is not made again.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from vjserver.films.codecs import Codec
from vjserver.films.images import FilmImages
from vjserver.films.versions import versions
from vjserver.ports import Generator, find
from vjserver.rendering.generator_pool import GeneratorSpec, WaitingPool, opened, own_model
from vjserver.rendering.renderer import Moment, Renderer, RenderMemory
from vjserver.runtime.picture import is_picture
from vjserver.show.cues import CueList
from vjserver.show.desk import Desk
from vjserver.show.expression import MARK, names_of, parse
from vjserver.show.preset import Bank, texts_of
from vjserver.show.registry import Registry
from vjserver.show.state import ShowState, at
from vjserver.show.take import Take
from vjserver.stages.offline.hearing import Hearing
from vjserver.stages.offline.performance import NS, Performance, time_of
from vjserver.types.errors import ConfigError
from vjserver.types.frames import Frame, FrameRequest

SEGMENT_S, STRETCH_S = 4.0, 60.0
"""A segment is as many whole bars as last so long; a stretch as many segments."""
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

        def make(part: GeneratorSpec) -> Generator:
            generator = opened(self.doors, part)
            generator.warm_up(*self.size, texts_of(p for _, p in self.bank.presets if p.generator == part.kind))
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
class Plan:
    """How a film is made."""

    stretches: tuple[Stretch, ...]
    looks: tuple[Look, ...]
    parts: tuple[GeneratorSpec, ...]
    whole: tuple[str, ...]
    """Generators within whose scenes no stretch can begin, in words."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, in order."""
        return tuple(segment for stretch in self.stretches for segment in stretch.segments)


class _Nobody:
    """Stands for a generator where only the request is wanted."""

    INFO = Options = None

    def render(self, request: FrameRequest, state: object) -> tuple[Frame, object]:
        """Make no picture."""
        raise NotImplementedError


class _AskingPool:
    """Opens nobody."""

    def __init__(self) -> None:
        self.playing = GeneratorSpec("")

    def choose(self, wanted: GeneratorSpec) -> Any:
        """Take note."""
        self.playing = wanted
        return _Nobody()

    def beside(self, part: GeneratorSpec | None) -> Any:
        """Take note."""
        return _Nobody() if part is not None else None

    def refuse(self, why: str) -> None:
        """Nobody is refused."""

    def close(self) -> None:
        """Nobody is open."""


def boundaries(film: Film) -> list[int]:
    """Return the frames at which segments may begin: bars, every few seconds where there are none, and scenes."""
    rate, length = film.rate, film.last
    bars = sorted({film.frame_at(g.t_ns) for g in film.hearing.beats if g.bar_position == 0 and g.t_ns >= 0})
    least = math.ceil(SEGMENT_S * rate)
    scenes = sorted(
        {film.frame_at(reset.t_ns) for reset in film.resets if film.first < film.frame_at(reset.t_ns) < length}
    )
    result = [film.first]
    for end in (*scenes, length):
        while end - result[-1] >= 2 * least:
            wanted = result[-1] + least
            place = int(np.searchsorted(bars, wanted))
            one = bars[place] if place < len(bars) and bars[place] < wanted + 2 * least else wanted
            one = max(result[-1] + film.every, one - one % film.every)
            if one > end - least // 2:
                break
            result.append(one)
        if end < length:
            result.append(end)
    return [*result, length]


def planned(film: Film, tell: Tell) -> Plan:
    """Return the plan of a film: what is asked for each frame is worked out, and nothing drawn.

    Raises ConfigError for an expression that is no number somewhere.
    """
    renderer = Renderer(film.registry, _AskingPool(), FilmImages(film.inputs), tell, cache(film.own_model))
    performance, memory = film.performance(), RenderMemory()
    begins = boundaries(film)
    scenes = {film.frame_at(reset.t_ns): reset for reset in film.resets}
    stretches: list[Stretch] = []
    segments: list[Segment] = []
    looks: list[Look] = []
    parts: dict[GeneratorSpec, None] = {}
    whole: dict[str, None] = {}
    heads = film.fingerprint()
    told, leaving = hashlib.sha256(heads), b""
    fading_until = anew = before_anew = stretch_anew = lead = place = 0
    left_stuck, stays, last = "", "", _Asked([], "")
    longest = math.ceil(max((info.lead_in_s for info in film.registry.infos.values()), default=0.0) * film.rate)
    began, ended = film.first, -1

    @cache
    def mark(part: GeneratorSpec) -> str:
        """Return what changes when the files of a part's model do."""
        told_by = getattr(find("generators", part.kind), "mark_of", None)
        return told_by(part.model or film.own_model(part.kind)) if told_by is not None else ""

    def end_segment() -> None:
        nonlocal place, ended
        first, last = begins[place], ended
        rows = (told.digest(), leaving if first < fading_until else b"", first, began, stretch_anew, lead,
                [(t.t_ns, t.until_ns, t.text) for t in film.titles if _is_seen(t, first, last, film.rate)])  # fmt: skip
        digest = hashlib.sha256(msgspec.msgpack.encode(rows)).hexdigest()[:32]
        segments.append(Segment(place, first, last, digest))
        place, ended = place + 1, -1

    for number in range(film.last):
        moment = film.moment(performance, number, film.every)
        _check_expressions(moment)
        chain = renderer.asked(moment, memory)
        image = renderer.input_of(moment)
        hands = moment.state.freeze, moment.state.blackout, moment.state.fade
        asked = b"".join(msgspec.msgpack.encode((part, mark(part), request, image, hands)) for part, request in chain)
        scene = scenes.get(number)
        if ended == number:
            if scene is None:  # the last pictures before are made of this one, too
                told.update(asked)
            end_segment()
        if scene is not None:
            before_anew = anew
            left_stuck = "three scenes are seen at once" if number < fading_until else stays or _stuck(last, film)
            leaving, anew, fading_until, stays = told.digest(), number, film.frame_at(scene.until_ns), ""
            told = hashlib.sha256(heads)
        last = _Asked(chain, image)
        stays = stays or _stays(last, film)
        if number >= film.first:
            if number == begins[place]:
                is_time = number == anew or (number - began >= STRETCH_S * film.rate and number >= fading_until)
                if segments and is_time and not moment.state.freeze:
                    left = left_stuck if number < fading_until else ""  # what fades away would be moved to here
                    if why_not := left if number == anew else stays or _stuck(last, film):
                        whole[why_not] = None
                    else:
                        stretches.append(Stretch(len(stretches), stretch_anew, lead, tuple(segments)))
                        segments = []
                if not segments:
                    began, stretch_anew, lead = number, anew, 0
                    if number < fading_until:  # who fades away begins where its own scene does
                        stretch_anew, lead = before_anew, min(number - before_anew, number - anew + longest)
                    elif stays:
                        lead = number - anew
                    elif number != anew:
                        lead = min(number - anew, math.ceil(_lead_in_s(film, chain) * film.rate))
            parts |= dict.fromkeys(part for part, _ in chain)
            _note_look(looks, moment, chain)
        told.update(asked)
        if number + 1 in begins[place + 1 : place + 2]:
            ended = number + 1
            if film.every == 1 or ended == film.last:
                end_segment()
    stretches.append(Stretch(len(stretches), stretch_anew, lead, tuple(segments)))
    for why in performance.refused:
        tell("not played", why, False)
    return Plan(tuple(stretches), tuple(looks), tuple(parts), tuple(whole))


def _is_seen(title: Title, first: int, last: int, rate: Fraction) -> bool:
    return title.t_ns <= time_of(last - 1, rate) and title.until_ns > time_of(first, rate)


def _check_expressions(moment: Moment) -> None:
    """Raise ConfigError for an expression that is no number now: on stage it would be passed over."""
    state = at(moment.state, moment.t_ns)
    for row in state.mappings:
        if row.source.startswith(MARK):
            names = names_of(moment.features, moment.t_ns, state.since_ns, state.since_beat)
            try:
                parse(row.source[len(MARK) :])(names)
            except ConfigError as error:
                raise ConfigError(f"{row.to}: {error} ({moment.t_ns / NS:.3f} s into the song)") from None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked of whom for a frame, and from which image it starts."""

    chain: list[tuple[GeneratorSpec, FrameRequest]]
    image: str


def _stuck(asked: _Asked, film: Film) -> str:
    """Tell why what draws cannot be moved without drawing; nothing where it can."""
    image = asked.image
    for part, request in asked.chain:
        if not _can_move(part.kind):
            return f"{part.kind} cannot be moved without drawing"
        if request.feedback:
            return f"{part.kind} starts from its last picture"
    if image in film.inputs and not is_picture(film.inputs[image]):
        return f"{image} is a film, which is read from its beginning"
    return ""


def _stays(asked: _Asked, film: Film) -> str:
    """Tell why what draws can never be moved past this frame; nothing where it can."""
    for part, request in asked.chain:
        stays = getattr(find("generators", part.kind), "stays", None)
        if stays is not None and (why := stays(request, part.model or film.own_model(part.kind))):
            return str(why)
    return ""


def _can_move(kind: str) -> bool:
    return isinstance(find("generators", kind), type) and hasattr(find("generators", kind), "advance")


def _lead_in_s(film: Film, chain: list[tuple[GeneratorSpec, FrameRequest]]) -> float:
    return max(
        (film.registry.infos[part.kind].lead_in_s for part, _ in chain if part.kind in film.registry.infos), default=0.0
    )


def _note_look(looks: list[Look], moment: Moment, chain: list[tuple[GeneratorSpec, FrameRequest]]) -> None:
    part, request = chain[-1]
    prompts = tuple(text for text, _ in request.text.prompts)
    one = Look(moment.number, moment.state.preset_name, part.kind, part.model, prompts, moment.state.seed)
    last = looks[-1] if looks else None
    if last is None or (last.preset, last.generator, last.model, set(last.prompts)) != (
        one.preset, one.generator, one.model, set(prompts),
    ):  # fmt: skip
        looks.append(one)
