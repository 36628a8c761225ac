"""The renderer: a moment of the show goes in, a picture comes out. It knows no clock, no ring and no file.

Who calls it decides the rest: the stage with measured time, generators that are opened in the background and a
fallback; a film with exact time, generators that are waited for and no way past an error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any, Protocol

from vjserver.ports import Generator
from vjserver.rendering.images import ImageSource
from vjserver.rendering.pool import Part
from vjserver.show.addresses import COMMON, GRADE
from vjserver.show.mapping import MapperMemory, mapped, own_of
from vjserver.show.registry import Registry
from vjserver.show.state import ShowState, at
from vjserver.types.errors import GeneratorError, VJError, WorkerFault
from vjserver.types.features import Features
from vjserver.types.frames import Frame, FrameInfo, FrameRequest, Mode

CHAIN_AREA = 640 * 360
"""Pixels of a picture that another generator starts from, at most."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a picture is made of: the state and the sound, for ``t_ns``, ``seconds`` after the last picture.

    ``number`` counts pictures, ``size`` is (width, height).
    """

    state: ShowState
    features: Features
    t_ns: int
    seconds: float
    number: int
    size: tuple[int, int]
    mode: Mode = "live"


@dataclass(frozen=True, slots=True)
class RenderMemory:
    """What one picture hands to the next: the mapping's, and each generator's by its part and place in the chain."""

    mapper: MapperMemory = field(default_factory=MapperMemory)
    generators: Mapping[tuple[Part, int], Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture, what was asked for, and the picture that it was made of, where there was one."""

    frame: Frame
    request: FrameRequest
    source: Frame | None = None


class Pool(Protocol):
    """Who can play. See :mod:`vjserver.rendering.pool`."""

    playing: Part

    def choose(self, wanted: Part) -> Generator:
        """Return who plays now where ``wanted`` shall."""

    def beside(self, part: Part) -> Generator | None:
        """Return a generator that makes pictures for another one, None while it is not ready."""

    def refuse(self, why: str) -> None:
        """Do without who plays, or raise GeneratorError."""

    def close(self) -> None:
        """Close everyone."""


class Renderer:
    """Renders moments with the generators of a pool.

    ``own_model`` says which model the show names for a kind; ``only`` is a kind that draws everything, whatever the
    state asks for.
    """

    def __init__(
        self,
        registry: Registry,
        pool: Pool,
        images: ImageSource,
        announce: Callable[[str, str, bool], None],
        own_model: Callable[[str], str] = lambda _kind: "",
        only: str = "",
    ) -> None:
        self.pool, self.images = pool, images
        self._registry, self._announce, self._own_model = registry, announce, own_model
        self._only, self._left_out = only, ""

    def close(self) -> None:
        """Close every generator and input."""
        self.pool.close()
        self.images.close()

    def choose(self, state: ShowState, t_ns: int) -> Part:
        """Return who plays at ``t_ns``, having asked for who should."""
        self.pool.choose(self._part_of(at(state, t_ns)))
        return self.pool.playing

    def render(self, moment: Moment, memory: RenderMemory) -> tuple[Rendered | None, RenderMemory]:
        """Return the picture, None where its generator failed and another takes its place; and the memory.

        Raises WorkerFault where only a new process can go on, GeneratorError where the pool knows no other way.
        """
        now = at(moment.state, moment.t_ns)
        generator = self.pool.choose(self._part_of(now))
        part = self.pool.playing
        request, knobs, mapper = mapped(
            moment.state, moment.features, moment.t_ns, moment.seconds, moment.size, memory.mapper, self._registry
        )
        request = replace(request, number=moment.number, mode=moment.mode)
        source, left = self._image_for(part, now.input, request, knobs, memory)
        if source is not None:
            request = replace(request, image=source.pixels)
        request = replace(request, own=own_of(self._registry, part.kind, knobs))
        kept = RenderMemory(mapper, left)
        try:
            frame, after = generator.render(request, memory.generators.get((part, len(left))))
        except WorkerFault:
            raise
        except GeneratorError as error:
            self.pool.refuse(str(error))
            return None, kept
        except Exception as error:  # noqa: BLE001 - a stranger's generator may raise anything; the picture goes on
            self.pool.refuse(f"{part.kind} fell: {type(error).__name__}: {str(error)[:300]}")
            return None, kept
        return Rendered(frame, request, source), RenderMemory(mapper, {**left, (part, len(left)): after})

    def _part_of(self, state: ShowState) -> Part:
        """Return who shall play: a model's name reaches a generator that takes one, and the show's own is no other."""
        if self._only:
            return Part(self._only)
        kind, model = state.generator, state.model
        info = self._registry.infos.get(kind)
        if model and info is not None and not info.takes_model:
            self._leave_out(f"{kind} takes no model: {model!r} is left out")
            return Part(kind)
        self._leave_out("")
        return Part(kind, "" if model and model == self._own_model(kind) else model)

    def _leave_out(self, why: str) -> None:
        if why != self._left_out:
            mended, self._left_out = not why, why
            self._announce("model", why or "the model is one that the generator takes", mended)

    def _image_for(
        self, part: Part, name: str, request: FrameRequest, knobs: Mapping[str, float], memory: RenderMemory
    ) -> tuple[Frame | None, dict[tuple[Part, int], Any]]:
        """Return the picture to start from, if any, and what the generator that made it hands on."""
        info = self._registry.infos.get(part.kind)
        if info is None or not info.accepts_image:
            return None, {}
        if name not in self._registry.infos or name in self.images.names or name == part.kind:
            return self.images.get(name), {}
        self.images.get("")
        first = Part(name)
        generator = self.pool.beside(first)
        if generator is None:
            return None, {}
        scale = min(1.0, sqrt(CHAIN_AREA / (request.width * request.height)))
        width, height = (max(2, round(side * scale / 2) * 2) for side in (request.width, request.height))
        params = {**request.params, **{grade: COMMON[grade].default for grade in GRADE}}  # the last one grades
        own = own_of(self._registry, name, knobs)
        asked = replace(request, width=width, height=height, params=params, own=own)
        try:
            frame, after = generator.render(asked, memory.generators.get((first, 0)))
        except WorkerFault:
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's generator may raise anything; the picture goes on
            self.images.tell(str(error) if isinstance(error, VJError) else f"{name} fell: {type(error).__name__}")
            return None, {}
        frame = replace(frame, info=FrameInfo(width, height))  # of the same moment: no source of its own
        return frame, {(first, 0): after}
