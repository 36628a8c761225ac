"""The door to key frames: bars go by, pictures of the prompts are made ahead, and what lies between them is shown.

    asks -> workshop (a thread; in a film: at once) -> bank -> two pictures, blended -> camera -> grade -> RGBA8

Live, a picture that is not ready on its bar is waited for until the next one is due; the last one stays.
torch is imported when a model is opened, not before.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace

import msgspec
import numpy as np

from vjserver.generators.bars import Bars, beginning
from vjserver.generators.camera import CENTRE, Camera
from vjserver.generators.clip_cache import Clip, Order
from vjserver.generators.pipeline_kinds import Ask
from vjserver.generators.pipelines import PicturePipeline, open_pictures
from vjserver.generators.slow import VERSION, Slow
from vjserver.generators.still.info import INFO
from vjserver.generators.still.options import StillOptions
from vjserver.generators.store import find_pipeline
from vjserver.latent.noise import MASK
from vjserver.show.addresses import size_of
from vjserver.types.errors import GeneratorError
from vjserver.types.frames import Frame, FrameRequest, TextConditioning

Named = tuple[str, Clip]
_DEFAULTS = {knob.name: knob.default for knob in INFO.parameters}


@dataclass(frozen=True, slots=True)
class StillState:
    """What one frame hands to the next: where in the bars it is, which picture stands and which one comes.

    ``line`` counts the times that a picture was due, the last of them with bar ``since``, and ``number`` those that
    came. ``begun``: it is time for the one that comes to show through; ``morphs``: it was ready then. ``strength`` is
    that of what is drawn between the two.
    """

    bars: Bars
    shown: Ask
    coming: Ask
    line: int = 0
    number: int = 0
    since: int = 0
    begun: bool = False
    morphs: bool = False
    strength: float = 0.5
    camera: Camera = CENTRE


class _Kept(msgspec.Struct):
    """A checkpoint."""

    version: int
    mark: str
    bars: tuple[int, float, int, int]
    shown: Ask
    coming: Ask
    line: int
    number: int
    since: int
    begun: bool
    morphs: bool
    strength: float
    camera: tuple[float, float, float]


class StillGenerator(Slow):
    """Any text-to-image pipeline as key frames."""

    INFO = INFO
    Options = StillOptions
    what = "key frames"

    def __init__(self, options: StillOptions) -> None:
        super().__init__(options.model, options.device, options.dtype)
        self._options = options
        self._pipeline: PicturePipeline | None = None
        self._last: Named | None = None

    # -- coming and going ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Load the model. Raises GeneratorError: nothing named, of another kind, parts missing, no room."""
        options = self._options
        if not options.model:
            raise GeneratorError('key frames need a model: [generators.still] model = "NAME"; see vjserver models list')
        size_of(options.size)
        find_pipeline(options.model, "still")  # torch is large, and not needed to say that a model is not here
        self._pipeline = open_pictures(options.model, options.device, options.dtype, options.offload)
        self._open_screen()

    def warm_up(self, width: int, height: int, prompts: Sequence[str] = ()) -> None:
        """Make a first picture, so that there is one when this generator is shown. Raises GeneratorError."""
        text = TextConditioning(tuple((prompt, 1.0) for prompt in prompts[:1]))
        order = self._order(self._ask(FrameRequest(0, width, height, text, {}, 0, 0.0, own=_DEFAULTS), 0))
        self._last = order[0], self._shop.wait(*order)[0]

    def _let_go(self) -> None:
        if self._pipeline is not None:
            self._pipeline.close()
        self._pipeline = None

    # -- a frame -------------------------------------------------------------------------------------------

    def render(self, request: FrameRequest, state: StillState | None) -> tuple[Frame, StillState]:
        """Return the frame for ``request`` and the state for the next. Live it never waits for a model.

        Raises GeneratorError where a film's picture cannot be made, WorkerFault where only a new process can go on.
        """
        waits = request.mode == "film"
        here = self._moved(request, state, waits)
        if not waits:
            ways = self._ways(request, here)
            self._have_made(here.line, [self._order(here.shown), self._order(here.coming), *ways])
        row, blend = self._pictures(request, here, waits)
        return self._show(request, here.camera, row, blend, {"pictures": here.number + 1}), here

    def advance(self, request: FrameRequest, state: StillState | None) -> StillState:
        """Return the state after ``request``: nothing hangs on pictures."""
        return self._moved(request, state, True)

    def checkpoint(self, state: StillState) -> bytes:
        """Return a state as bytes."""
        bars, camera = astuple(state.bars), astuple(state.camera)
        return msgspec.msgpack.encode(
            _Kept(VERSION, self._mark, bars, state.shown, state.coming, state.line, state.number, state.since,
                  state.begun, state.morphs, state.strength, camera)
        )  # fmt: skip

    def resume(self, data: bytes) -> StillState:
        """Return the state of such bytes. Raises GeneratorError for another version or model."""
        try:
            row = msgspec.msgpack.decode(data, type=_Kept)
        except msgspec.MsgspecError as error:
            raise GeneratorError(f"this is no checkpoint of key frames: {error}") from None
        counts = (row.line, row.number, row.since, *row.bars)
        self._check(row.version, row.mark, [row.shown, row.coming], *counts, *row.camera, row.strength)
        if min(counts) < 0:
            raise GeneratorError("this is no checkpoint of key frames: it counts below 0")
        return StillState(
            Bars(*row.bars), row.shown, row.coming, row.line, row.number, row.since, row.begun, row.morphs,
            row.strength, Camera(*row.camera),
        )  # fmt: skip

    # -- which picture stands, and which one comes ----------------------------------------------------------

    def _moved(self, request: FrameRequest, state: StillState | None, waits: bool) -> StillState:
        """Return the state after ``request``; what is waited for is as good as ready."""
        if state is None:
            return StillState(
                beginning(request), self._ask(request, 0), self._ask(request, 1), strength=_strength(request)
            )

        def is_ready(ask: Ask) -> bool:
            return waits or self._shop.cache.get(self._order(ask)[0]) is not None

        bars, morph = state.bars.moved(request), request.own["morph"]
        here = replace(state, bars=bars, camera=state.camera.moved(request))
        if bars.whole > state.bars.whole and bars.whole - state.since >= max(1, round(request.own["bars"])):
            here = replace(here, line=state.line + 1, since=bars.whole, begun=False, morphs=False,
                           strength=_strength(request))  # fmt: skip
            if is_ready(state.coming):
                here = replace(here, shown=state.coming, number=state.number + 1)
        if not here.morphs:
            wanted = self._ask(request, here.number + 1)
            if here.line != state.line or not _will_do(here.coming, wanted):
                here = replace(here, coming=wanted)
        if not here.begun and morph > 0.0 and _share(here, request) >= 1.0 - morph:
            here = replace(here, begun=True, morphs=is_ready(here.coming))
        return here

    def _ask(self, request: FrameRequest, number: int) -> Ask:
        seed = (request.seed + (number if round(request.own["vary"]) else 0)) & MASK
        return self._asked(request, seed, self._opened().habit, self._options.size)

    def _pictures(self, request: FrameRequest, here: StillState, waits: bool) -> tuple[list[Named], float]:
        """Return the picture to show; or two, and how far it is from the first to the second."""
        first = self._picture(self._order(here.shown), waits)
        if first is None:
            if self._last is None:
                raise GeneratorError("the first picture is not made yet")
            return [self._last], 0.0
        self._last = first
        last = self._picture(self._order(here.coming), waits) if here.morphs else None
        if last is None or last[1].shape != first[1].shape:
            return [first], 0.0
        ways = [self._picture(order, waits) for order in self._ways(request, here)]
        stops = [first, *(way for way in ways if way is not None and None not in ways), last]
        share = (_share(here, request) - 1.0) / max(1e-6, request.own["morph"]) + 1.0
        way = eased(min(1.0, max(0.0, share))) * (len(stops) - 1)
        place = min(int(way), len(stops) - 2)
        return stops[place : place + 2], way - place

    def _picture(self, order: Order, waits: bool) -> Named | None:
        clip = self._made(order, waits)
        return None if clip is None else (order[0], clip[0])

    # -- what is made ----------------------------------------------------------------------------------------

    def _order(self, ask: Ask) -> Order:
        pipeline = self._opened()

        def make(breathe: Callable[[], None]) -> Clip:
            return pipeline.picture(ask, breathe)[None]

        return self._digest(ask), make

    def _ways(self, request: FrameRequest, here: StillState) -> list[Order]:
        """Return what lies between two pictures: each drawn over a blend of them, after the nearer one's prompt."""
        pipeline, count = self._opened(), round(request.own["between"])
        shown, coming, strength = here.shown, here.coming, here.strength
        if not count or (shown.width, shown.height) != (coming.width, coming.height):
            return []
        if not pipeline.varies:
            self._tell("between", f"{pipeline.folder.name} draws over no picture: pictures crossfade")
            return []
        rows: list[Order] = []
        for i in range(1, count + 1):
            share = i / (count + 1)
            nearer = shown if share < 0.5 else coming

            def make(breathe: Callable[[], None], share: float = share, nearer: Ask = nearer) -> Clip:
                a, b = (self._shop.wait(*self._order(one), breathe)[0] for one in (shown, coming))
                start = np.rint(a * (1.0 - share) + b * share).astype(np.uint8)
                return pipeline.over(nearer, start, strength, breathe)[None]

            rows.append((self._digest(shown, coming, i, count, strength), make))
        return rows

    def _opened(self) -> PicturePipeline:
        if self._pipeline is None:
            raise GeneratorError("the generator of key frames is not open")
        return self._pipeline


def _share(here: StillState, request: FrameRequest) -> float:
    """Return how far it is to the time that a picture is due next, 0..1."""
    return min(1.0, max(0.0, (here.bars.position - here.since) / max(1, round(request.own["bars"]))))


def _strength(request: FrameRequest) -> float:
    return round(min(1.0, max(0.05, request.params["strength"])), 2)


def _will_do(have: Ask, wanted: Ask) -> bool:
    """Tell whether an ask differs in numbers alone, which sound may move all the time: it is made to its end."""
    return replace(wanted, steps=have.steps, guidance=have.guidance) == have


def eased(share: float) -> float:
    """Return a way from 0 to 1 that begins and ends slowly."""
    return share * share * (3.0 - 2.0 * share)
