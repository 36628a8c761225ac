"""What generators share whose models are slower than the show: pictures are made ahead, and shown from a cache.

Live, nothing waits for a model: what is not ready is ordered, and what is there is shown. In a film it is waited for.
"""

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from vjserver.generators.camera import Camera
from vjserver.generators.clip_cache import Clip, ClipCache, Order, Workshop
from vjserver.generators.pipeline_kinds import Ask, Habit
from vjserver.generators.pipelines import text_of
from vjserver.generators.store import mark_run, marked, models
from vjserver.show.addresses import size_of
from vjserver.types.errors import GeneratorError, WorkerFault
from vjserver.types.frames import Frame, FrameInfo, FrameRequest, Notice, Pixels

if TYPE_CHECKING:
    from vjserver.generators.screen import Screen

VERSION = 1
"""Of checkpoints, and of what lies in the cache."""
MOST = 1e9  # what a number in a checkpoint may be


class Slow:
    """The part of a slow generator that has nothing to do with what it makes; ``what`` is that in plain words."""

    what = "pictures"

    def __init__(self, model: str, device: str, *more: str) -> None:
        """``more`` is what changes pictures besides: names of other models, number formats."""
        self._model, self._device, self._more = model, device, more
        self._screen: Screen | None = None
        self._shop = Workshop(ClipCache())
        self._mark = ""
        self._digests: dict[Any, str] = {}
        self._failed: dict[str, int] = {}
        self._notices: list[Notice] = []
        self._told: set[Hashable] = set()

    def _open_screen(self) -> None:
        from vjserver.generators.captured import choose_device
        from vjserver.generators.screen import Screen

        self._screen = Screen(choose_device(self._device))
        self._mark = "".join([marked(self._model), *map(marked, self._more)])

    def close(self) -> None:
        """Let go of the device's memory; what is being made is broken off."""
        self._shop.close()
        self._let_go()
        if self._screen is not None:
            self._screen.close()
        self._screen = None

    def _let_go(self) -> None:
        """Let go of the model."""

    @staticmethod
    def licence_of(model: str) -> str:
        """Return the licence of a model, as it was told when it was taken in."""
        return next((one.licence for one in models() if one.name == model), "")

    @staticmethod
    def mark_of(model: str) -> str:
        """Return what changes when a model's files do."""
        return marked(model)

    # -- what is shown ---------------------------------------------------------------------------------------

    def _show(
        self, request: FrameRequest, camera: Camera, row: Sequence[tuple[Hashable, Clip]], blend: float,
        figures: Mapping[str, float],
    ) -> Frame:  # fmt: skip
        """Return the frame of one picture, or of two blended. Raises WorkerFault where only a new process can go on."""
        from vjserver.generators.captured import GpuFaultError
        from vjserver.generators.screen import GRADE

        screen = self._screen
        if screen is None:
            raise GeneratorError(f"the generator of {self.what} is not open")
        height, width = row[0][1].shape[:2]
        size, matrix = (request.width, request.height), camera.matrix(request, width / height)
        try:
            pixels: Pixels = screen.show(row, size, blend, matrix, [request.params[name] for name in GRADE])
        except GpuFaultError as error:
            raise WorkerFault(str(error)) from error
        device: Any = screen.picture() if request.where == "device" else None
        notices, self._notices = tuple(self._notices), []
        told = {"width": width, "height": height, "making": float(self._shop.making), **figures, **screen.figures()}
        return Frame(pixels, FrameInfo(*size), notices=notices, figures=told, device=device)

    # -- what is written down ---------------------------------------------------------------------------------

    def _check(self, version: int, mark: str, asks: Sequence[Ask], *numbers: float) -> None:
        """Raise GeneratorError for a checkpoint of another version or model, or one that somebody made up."""
        if (version, mark) != (VERSION, self._mark):
            raise GeneratorError(f"a checkpoint of this model, version {VERSION}, is needed: got version {version}")
        sane = all(math.isfinite(one) and abs(one) < MOST for one in numbers) and all(
            8 <= ask.width <= 8192 and 8 <= ask.height <= 8192 and 0 <= ask.steps <= 1000 and 0 <= ask.seed < 1 << 63
            and abs(ask.guidance) < 1000.0 and 1 <= ask.frames <= 10_000
            for ask in asks
        )  # fmt: skip
        if not sane:
            raise GeneratorError(f"this is no checkpoint of {self.what}: its numbers make no sense")

    # -- what is made ----------------------------------------------------------------------------------------

    def _asked(self, request: FrameRequest, seed: int, habit: Habit, own_size: str, frames: int = 1) -> Ask:
        """Return what a model is asked for a request."""
        size = size_of(own_size)
        if not all(size):
            size = request.inference_size
        size = habit.rounded(*size) if all(size) else habit.size(request.width, request.height)
        steps, guidance = round(request.own["steps"]), request.own["guidance"]
        return Ask(text_of(request), request.text.negative, seed, *size, steps, guidance, frames)

    def _made(self, order: Order, waits: bool) -> Clip | None:
        """Return a clip; where it is not there it is waited for, or nothing is returned. Raises GeneratorError."""
        clip = self._shop.wait(*order) if waits else self._shop.cache.get(order[0])
        if clip is not None and "ran" not in self._told:
            self._told.add("ran")
            self._note_run()
        return clip

    def _have_made(self, line: int, wanted: Sequence[Order]) -> None:
        """Order what is missing; tell what could not be made, which is tried again on another ``line`` of the bars."""
        for digest, _ in wanted:
            fault = self._shop.fault(digest)
            if fault is not None:
                self._failed = {one: at for one, at in self._failed.items() if at == line} | {digest: line}
                self._tell(self.what, f"{fault}; what there is stays")
        missing = [one for one in wanted if self._failed.get(one[0]) != line and self._shop.cache.get(one[0]) is None]
        if self.what in self._told and all(self._shop.cache.get(digest) is not None for digest, _ in wanted):
            self._told.discard(self.what)
            self._notices.append(Notice(self.what, "made again", recovered=True))
        self._shop.order(*missing)

    def _digest(self, *row: Any) -> str:
        """Return the digest of a recipe made with this model."""
        known = self._digests.get(row)
        if known is None:
            if len(self._digests) > 4096:
                self._digests.clear()
            where = self._screen.device.type if self._screen is not None else ""
            told = msgspec.msgpack.encode((VERSION, self.what, self._mark, self._more, where, row))
            found = self._digests[row] = hashlib.sha256(told).hexdigest()[:40]
            return found
        return known

    def _note_run(self) -> None:
        """Keep in mind that the model has made pictures here."""
        folder = next((one.folder for one in models() if one.name == self._model), None)
        if folder is not None:
            mark_run(folder)

    def _tell(self, what: str, why: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._notices.append(Notice(what, why))
