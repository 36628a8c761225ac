"""The renderer: a moment of the show goes in, a picture comes out. It knows no clock, no ring and no file.

Who calls it decides the rest: the stage with measured time, generators that are opened in the background and a
fallback; a film with exact time, generators that are waited for and no way past an error.
"""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import sqrt
from typing import Any, Protocol

import msgspec
import numpy as np

from vjserver.ports import Advances, Generator, Resumable
from vjserver.rendering.generator_pool import GeneratorSpec
from vjserver.rendering.image_source import ImageSource
from vjserver.runtime import log
from vjserver.show.addresses import COMMON, GRADE
from vjserver.show.looks import at
from vjserver.show.mapping import MapperMemory, mapped, own_of
from vjserver.show.registry import Registry
from vjserver.show.state import ShowState
from vjserver.types.errors import GeneratorError, VJError, WorkerFault
from vjserver.types.features import Features
from vjserver.types.frames import Frame, FrameInfo, FrameRequest, Mode, Notice, OnDevice, Pixels

CHAIN_AREA = 640 * 360
"""Pixels of a picture that another generator starts from, at most."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What a picture is made of: the state and the sound, for ``t_ns``, ``seconds`` after the last picture.

    ``number`` counts pictures, ``size`` is (width, height). In a film the mapping moves in steps of its own: ``mapper``
    is where it stood ``since_s`` before.
    """

    state: ShowState
    features: Features
    t_ns: int
    seconds: float
    number: int
    size: tuple[int, int]
    mode: Mode = "live"
    mapper: MapperMemory | None = None
    since_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RenderMemory:
    """What one picture hands to the next: the mapping's, and each generator's by its part and place in the chain.

    Places are counted from the end, so that who plays keeps its own when another is put before it.
    """

    mapper: MapperMemory = field(default_factory=MapperMemory)
    generators: Mapping[tuple[GeneratorSpec, int], Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture, what was asked for, and the picture that it was made of, where there was one."""

    frame: Frame
    request: FrameRequest
    source: Frame | None = None


Link = tuple[GeneratorSpec, Generator, FrameRequest]
"""One of a chain: who, and what is asked for."""
CHECKPOINT = 1
"""The version of a film's checkpoints; another one is refused."""


class _Checkpoint(msgspec.Struct):
    version: int
    size: tuple[int, int]
    mapper: MapperMemory
    generators: list[tuple[str, str, int, bytes]]


class Pool(Protocol):
    """Who can play. See :mod:`vjserver.rendering.generator_pool`."""

    playing: GeneratorSpec

    def choose(self, wanted: GeneratorSpec) -> Generator:
        """Return who plays now where ``wanted`` shall."""

    def beside(self, spec: GeneratorSpec | None) -> Generator | None:
        """Return a generator that makes pictures for another one, None while it is not ready, or where none shall."""

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
        self._chosen: tuple[ShowState, Generator] | None = None

    def close(self) -> None:
        """Close every generator and input."""
        self.pool.close()
        self.images.close()

    def choose(self, state: ShowState, t_ns: int) -> GeneratorSpec:
        """Return who plays at ``t_ns``, having asked for who should; it draws the next picture of this state."""
        self._chosen = state, self.pool.choose(self._spec_of(at(state, t_ns)))
        return self.pool.playing

    def render(self, moment: Moment, memory: RenderMemory) -> tuple[Rendered | None, RenderMemory]:
        """Return the picture, None where its generator failed and another takes its place; and the memory.

        Raises WorkerFault where only a new process can go on, GeneratorError where the pool knows no other way.
        """
        chain, name, mapper = self._asked(moment, memory)
        source = self.images.get(name) if name is not None else None
        image: Pixels | OnDevice | None = source.pixels if source is not None else None
        left: dict[tuple[GeneratorSpec, int], Any] = {}
        for i, (spec, generator, request) in enumerate(chain):
            place = len(chain) - 1 - i
            if image is not None:
                request = replace(request, image=image)
            if place:
                request = replace(request, where="device")
            try:
                frame, after = generator.render(request, memory.generators.get((spec, place)))
                check(frame, spec, request)
            except WorkerFault:
                raise
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's may raise anything: the picture goes on
                told = isinstance(error, VJError)
                if not told:
                    log.write_fault("generate", f"{spec.kind} fell", error)
                why = str(error) if told else f"{spec.kind} fell: {in_words(error)}"
                if not place:
                    self.pool.refuse(why)
                    return None, RenderMemory(mapper, left)
                self.images.tell(why)  # it would have been started from
                continue
            left[spec, place] = after
            if not place:
                return Rendered(frame, request, source), RenderMemory(mapper, left)
            self.images.tell(f"{spec.kind} makes pictures again", recovered=True)
            source = replace(frame, info=FrameInfo(request.width, request.height))  # of this moment: it has no age
            image = frame.device if frame.device is not None else frame.pixels
        raise AssertionError("a chain has a last one")

    def asked(self, moment: Moment, memory: RenderMemory) -> list[tuple[GeneratorSpec, FrameRequest]]:
        """Return who would be asked for a moment's picture, and for what, the last one last; nothing is drawn."""
        return [(spec, request) for spec, _, request in self._asked(moment, memory)[0]]

    def input_of(self, moment: Moment) -> str:
        """Return the name of the show's input that a moment's picture starts from, empty for none."""
        return at(moment.state, moment.t_ns).input

    # -- a film's beginning in the middle --------------------------------------------------------------------

    def advance(self, moment: Moment, memory: RenderMemory) -> RenderMemory:
        """Return the memory after a moment of which no picture is wanted.

        A generator that can move without drawing is moved; of another one nothing is handed on.
        """
        chain, _, mapper = self._asked(moment, memory)
        left: dict[tuple[GeneratorSpec, int], Any] = {}
        for i, (spec, generator, request) in enumerate(chain):
            place = len(chain) - 1 - i
            if isinstance(generator, Advances):
                left[spec, place] = generator.advance(request, memory.generators.get((spec, place)))
        return RenderMemory(mapper, left)

    def checkpoint(self, memory: RenderMemory, size: tuple[int, int]) -> bytes:
        """Return a memory as bytes. Raises GeneratorError where a generator cannot write its own down."""
        rows: list[tuple[str, str, int, bytes]] = []
        for (spec, place), state in memory.generators.items():
            player = self.pool.beside(spec)
            if not isinstance(player, Resumable):
                raise GeneratorError(f"{spec.kind} cannot be resumed: the film begins anew")
            rows.append((spec.kind, spec.model, place, player.checkpoint(state)))
        return msgspec.msgpack.encode(_Checkpoint(CHECKPOINT, size, memory.mapper, rows))

    def resume(self, data: bytes, size: tuple[int, int]) -> RenderMemory:
        """Return the memory of such bytes. Raises GeneratorError for another version, model or size."""
        try:
            row = msgspec.msgpack.decode(data, type=_Checkpoint)
        except msgspec.MsgspecError as error:
            raise GeneratorError(f"this is no checkpoint: {error}") from None
        if (row.version, row.size) != (CHECKPOINT, size):
            raise GeneratorError(
                f"a checkpoint of version {CHECKPOINT} at {size[0]}x{size[1]} is needed: "
                f"got version {row.version} at {row.size[0]}x{row.size[1]}"
            )
        generators: dict[tuple[GeneratorSpec, int], Any] = {}
        for kind, model, place, kept in row.generators:
            spec = GeneratorSpec(kind, model)
            player = self.pool.beside(spec)
            if not isinstance(player, Resumable):
                raise GeneratorError(f"{kind} cannot be resumed: the film begins anew")
            generators[spec, place] = player.resume(kept)
        return RenderMemory(row.mapper, generators)

    # -- who is asked, and for what --------------------------------------------------------------------------

    def _spec_of(self, state: ShowState) -> GeneratorSpec:
        """Return who shall play: a model's name reaches a generator that takes one, and the show's own is no other."""
        if self._only:
            return GeneratorSpec(self._only)
        kind, model = state.generator, state.model
        info = self._registry.infos.get(kind)
        if model and info is not None and not info.takes_model:
            self._leave_out(f"{kind} takes no model: {model!r} is left out")
            return GeneratorSpec(kind)
        self._leave_out("")
        return GeneratorSpec(kind, "" if model and model == self._own_model(kind) else model)

    def _leave_out(self, why: str) -> None:
        if why != self._left_out:
            recovered, self._left_out = not why, why
            self._announce("model", why or "the model is one that the generator takes", recovered)

    def _asked(self, moment: Moment, memory: RenderMemory) -> tuple[list[Link], str | None, MapperMemory]:
        """Return the chain that makes a moment's picture, each with what it is asked for, and the mapping's memory.

        Between them stands the input of the show that it starts from; None where who plays starts from no picture.
        """
        now = at(moment.state, moment.t_ns)
        chosen, self._chosen = self._chosen, None
        known = chosen is not None and chosen[0] is moment.state
        generator = chosen[1] if chosen is not None and known else self.pool.choose(self._spec_of(now))
        spec = self.pool.playing
        before, since_s = (memory.mapper, moment.seconds) if moment.mapper is None else (moment.mapper, moment.since_s)
        request, knobs, mapper = mapped(
            moment.state, moment.features, moment.t_ns, since_s, moment.size, before, self._registry
        )
        request = replace(request, number=moment.number, mode=moment.mode, seconds=moment.seconds)
        last = spec, generator, replace(request, own=own_of(self._registry, spec.kind, knobs))
        info = self._registry.infos.get(spec.kind)
        name = now.input
        chained = name in self._registry.infos and name not in self.images.names
        if info is None or not info.accepts_image or not chained:
            self.pool.beside(None)
            return [last], name if info is not None and info.accepts_image else None, mapper
        if name == spec.kind:
            self.images.tell(f"{name} cannot start from itself; it starts from noise")
            return [last], "", mapper
        first = GeneratorSpec(name)
        other = self.pool.beside(first)
        if other is None:
            return [last], "", mapper
        scale = min(1.0, sqrt(CHAIN_AREA / (request.width * request.height)))
        width, height = (max(2, round(side * scale / 2) * 2) for side in (request.width, request.height))
        params = {**request.params, **{grade: COMMON[grade].default for grade in GRADE}}  # the last one grades
        own = own_of(self._registry, name, knobs)
        return [(first, other, replace(request, width=width, height=height, params=params, own=own)), last], "", mapper


def in_words(error: BaseException) -> str:
    """Return what a stranger's code raised, and the line of it."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({last[0].filename.rpartition('/')[2]}:{last[0].lineno})" if last else ""
    return f"{type(error).__name__}: {str(error)[:300]}{where}"


def check(frame: object, spec: GeneratorSpec, request: FrameRequest) -> None:
    """Raise GeneratorError for what is no frame of the size that was asked for."""
    if isinstance(frame, Frame):
        numbers = all(isinstance(value, (int, float)) for value in frame.figures.values())
        if not numbers or not all(isinstance(notice, Notice) for notice in frame.notices):
            raise GeneratorError(f"{spec.kind}: figures are numbers, and notices are of the type Notice")
        if frame.device is not None and tuple(frame.device.shape) != (request.height, request.width, 4):
            raise GeneratorError(f"{spec.kind}: the picture on the device is {tuple(frame.device.shape)}")
    pixels = frame.pixels if isinstance(frame, Frame) else None
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.shape != (request.height, request.width, 4)
    ):
        got = f"{pixels.dtype} {pixels.shape}" if isinstance(pixels, np.ndarray) else type(frame).__name__
        raise GeneratorError(f"{spec.kind} makes frames of uint8 {(request.height, request.width, 4)}: got {got}")
