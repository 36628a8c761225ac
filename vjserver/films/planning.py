"""Planning: a film goes in, its segments and stretches come out; nothing is drawn."""

import hashlib
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import msgspec
import numpy as np

from vjserver.films.film import Film, FilmPlan, Look, Segment, Stretch, Tell, Title
from vjserver.films.images import FilmImages
from vjserver.ports import find
from vjserver.rendering.generator_pool import GeneratorSpec
from vjserver.rendering.renderer import Moment, Renderer, RenderMemory
from vjserver.runtime.picture import is_picture
from vjserver.show.expression import MARK, names_of, parse
from vjserver.show.looks import at
from vjserver.stages.offline.performance import NS, time_of
from vjserver.types.errors import ConfigError
from vjserver.types.frames import Frame, FrameRequest


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

    def beside(self, spec: GeneratorSpec | None) -> Any:
        """Take note."""
        return _Nobody() if spec is not None else None

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


def planned(film: Film, tell: Tell) -> FilmPlan:
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
    specs: dict[GeneratorSpec, None] = {}
    whole: dict[str, None] = {}
    heads = film.fingerprint()
    told, leaving = hashlib.sha256(heads), b""
    fading_until = anew = before_anew = stretch_anew = lead = place = 0
    left_stuck, stays, last = "", "", _Asked([], "")
    longest = math.ceil(max((info.lead_in_s for info in film.registry.infos.values()), default=0.0) * film.rate)
    began, ended = film.first, -1

    @cache
    def mark(spec: GeneratorSpec) -> str:
        """Return what changes when the files of its model do."""
        told_by = getattr(find("generators", spec.kind), "mark_of", None)
        return told_by(spec.model or film.own_model(spec.kind)) if told_by is not None else ""

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
        asked = b"".join(msgspec.msgpack.encode((spec, mark(spec), request, image, hands)) for spec, request in chain)
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
            specs |= dict.fromkeys(spec for spec, _ in chain)
            _note_look(looks, moment, chain)
        told.update(asked)
        if number + 1 in begins[place + 1 : place + 2]:
            ended = number + 1
            if film.every == 1 or ended == film.last:
                end_segment()
    stretches.append(Stretch(len(stretches), stretch_anew, lead, tuple(segments)))
    for why in performance.refused:
        tell("not played", why, False)
    return FilmPlan(tuple(stretches), tuple(looks), tuple(specs), tuple(whole))


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
    for spec, request in asked.chain:
        if not _can_move(spec.kind):
            return f"{spec.kind} cannot be moved without drawing"
        if request.feedback:
            return f"{spec.kind} starts from its last picture"
    if image in film.inputs and not is_picture(film.inputs[image]):
        return f"{image} is a film, which is read from its beginning"
    return ""


def _stays(asked: _Asked, film: Film) -> str:
    """Tell why what draws can never be moved past this frame; nothing where it can."""
    for spec, request in asked.chain:
        stays = getattr(find("generators", spec.kind), "stays", None)
        if stays is not None and (why := stays(request, spec.model or film.own_model(spec.kind))):
            return str(why)
    return ""


def _can_move(kind: str) -> bool:
    return isinstance(find("generators", kind), type) and hasattr(find("generators", kind), "advance")


def _lead_in_s(film: Film, chain: list[tuple[GeneratorSpec, FrameRequest]]) -> float:
    return max(
        (film.registry.infos[spec.kind].lead_in_s for spec, _ in chain if spec.kind in film.registry.infos), default=0.0
    )


def _note_look(looks: list[Look], moment: Moment, chain: list[tuple[GeneratorSpec, FrameRequest]]) -> None:
    spec, request = chain[-1]
    prompts = tuple(text for text, _ in request.text.prompts)
    one = Look(moment.number, moment.state.preset_name, spec.kind, spec.model, prompts, moment.state.seed)
    last = looks[-1] if looks else None
    if last is None or (last.preset, last.generator, last.model, set(last.prompts)) != (
        one.preset, one.generator, one.model, set(prompts),
    ):  # fmt: skip
        looks.append(one)


SEGMENT_S, STRETCH_S = 4.0, 60.0
"""A segment is as many whole bars as last so long; a stretch as many segments."""
