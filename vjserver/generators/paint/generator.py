"""The painter's door: prompts become targets; each frame is some strokes closer to them, and flown through meanwhile.

Live, as many strokes are made as there is time for, also less than one a frame; in a film exactly as many as the knob
says. torch is imported when a model is opened, not before.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import cv2
import msgspec
import numpy as np

from vjserver.generators.camera import STILL, ViewTransform, place, warp
from vjserver.generators.paint.info import INFO
from vjserver.generators.paint.options import PaintOptions
from vjserver.generators.store import find_part, mark_run, marked, models
from vjserver.show.addresses import size_of
from vjserver.types.errors import GeneratorError, WorkerFault
from vjserver.types.frames import Frame, FrameInfo, FrameRequest, Notice, on_host

if TYPE_CHECKING:
    from vjserver.generators.paint.painter import Canvas, Painter, Target
    from vjserver.generators.screen import Screen

VERSION = 1
"""Of a checkpoint."""
AREA = 400 * 400
SHARE = 0.7  # of a frame's time that strokes may take, live
PATIENCE = 4.0  # strokes that may be owed, live


@dataclass(frozen=True, slots=True)
class PaintState:
    """What one frame hands to the next: the canvas, where the knobs had put it, strokes owed (live)."""

    canvas: "Canvas"
    place: ViewTransform
    owed: float = 0.0


class _Kept(msgspec.Struct):
    """A checkpoint."""

    version: int
    mark: str
    shape: tuple[int, int, int]
    z: bytes
    mean: bytes
    square: bytes
    strokes: int
    seed: int
    place: tuple[float, float, float]


class PaintGenerator:
    """VQGAN and CLIP as a slow painter."""

    INFO = INFO
    Options = PaintOptions

    def __init__(self, options: PaintOptions) -> None:
        self._options = options
        self._painter: Painter | None = None
        self._screen: Screen | None = None
        self._mark = ""
        self._stroke_s = 0.0
        self._pictures = 0
        self._notices: list[Notice] = []
        self._told: set[str] = set()

    # -- coming and going ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Load VQGAN and CLIP. Raises GeneratorError: one missing, of another kind, no room."""
        options = self._options
        if not options.model:
            raise GeneratorError(
                'painting needs a VQGAN: [generators.paint] model = "NAME"; take one in with vjserver models convert'
            )
        size_of(options.size)
        vqgan = find_part(options.model, "VQGAN")
        clip = options.clip or next((one.name for one in models() if one.kind == "CLIP"), "")
        if not clip:
            raise GeneratorError(
                'painting needs a CLIP to look: [generators.paint] clip = "NAME|FOLDER"; see vjserver models list'
            )
        eyes = find_part(clip, "CLIP")
        try:
            from vjserver.generators.paint.painter import load
        except ImportError as error:
            raise GeneratorError(f"painting needs torch: pip install 'vjserver[diffusion]' ({error})") from None
        from vjserver.generators.screen import Screen

        self._painter = load(vqgan, eyes, options.device)
        self._screen = Screen(self._painter.device)
        self._mark = marked(options.model) + marked(clip)
        for folder in (vqgan, eyes):
            mark_run(folder)

    def warm_up(self, width: int, height: int, prompts: Sequence[str] = ()) -> None:
        """Paint a stroke, to know how long it takes. Raises GeneratorError."""
        painter, _ = self._opened()
        canvas = painter.blank(0, *self._size(width, height))
        targets: list[Target] = [(painter.target(prompts[0] if prompts else "a picture"), 1.0)]
        for _ in range(2):  # libraries make what they need in the first one
            self._stroke_s = 0.0
            self._painted(painter, canvas, targets, _DEFAULTS)

    def close(self) -> None:
        """Let go of the device's memory."""
        if self._screen is not None:
            self._screen.close()
        self._painter = self._screen = None

    @staticmethod
    def licence_of(model: str) -> str:
        """Return the licence of a model, as it was told when it was taken in."""
        return next((one.licence for one in models() if one.name == model), "")

    @staticmethod
    def mark_of(model: str) -> str:
        """Return what changes when a model's files do, or those of any CLIP in the store."""
        return marked(model) + "".join(marked(one.name) for one in models() if one.kind == "CLIP")

    # -- a frame -------------------------------------------------------------------------------------------

    def render(self, request: FrameRequest, state: PaintState | None) -> tuple[Frame, PaintState]:
        """Return the frame for ``request`` and the state for the next.

        Raises GeneratorError where nothing can be painted, WorkerFault where only a new process can.
        """
        from vjserver.generators.captured import GpuFaultError, told

        painter, screen = self._opened()
        try:
            with told(screen):
                return self._rendered(painter, screen, request, state)
        except GpuFaultError as error:
            raise WorkerFault(str(error)) from error

    def _rendered(
        self, painter: "Painter", screen: "Screen", request: FrameRequest, state: PaintState | None
    ) -> tuple[Frame, PaintState]:
        from vjserver.generators.screen import GRADE

        size = self._size(request.width, request.height)
        image = _fitted(request, size)
        if state is None or state.canvas.seed != request.seed or _sides(state.canvas, painter) != size:
            canvas = painter.blank(request.seed, *size) if image is None else painter.of_picture(image, request.seed)
            state = PaintState(canvas, place(request.params))
        else:
            matrix = warp(request, state.place)
            canvas = state.canvas
            if not np.allclose(matrix.reshape(-1), STILL, atol=1e-6):
                canvas = painter.flown(canvas, matrix)
            if image is not None and request.own["follow"] > 0.0:
                canvas = painter.towards(canvas, image, request.own["follow"])
        strokes, owed = self._strokes(request, state.owed)
        targets = self._targets(painter, request)
        for _ in range(strokes):
            canvas = self._painted(painter, canvas, targets, request.own)
        here = PaintState(canvas, place(request.params), owed)
        self._pictures += 1
        grade = [request.params[name] for name in GRADE]
        pixels = screen.show([(self._pictures, painter.picture(canvas))], (request.width, request.height), grade=grade)
        device: Any = screen.picture() if request.where == "device" else None
        notices, self._notices = tuple(self._notices), []
        figures = {"width": size[0], "height": size[1], "strokes": canvas.strokes, **screen.figures()}
        info = FrameInfo(request.width, request.height)
        return Frame(pixels, info, notices=notices, figures=figures, device=device), here

    def checkpoint(self, state: PaintState) -> bytes:
        """Return a state as bytes."""
        canvas = state.canvas
        z, mean, square = (one.float().cpu().numpy().tobytes() for one in (canvas.z, canvas.mean, canvas.square))
        _, channels, rows, columns = canvas.z.shape
        return msgspec.msgpack.encode(
            _Kept(VERSION, self._mark, (channels, rows, columns), z, mean, square, canvas.strokes, canvas.seed,
                  astuple(state.place))
        )  # fmt: skip

    def resume(self, data: bytes) -> PaintState:
        """Return the state of such bytes. Raises GeneratorError for another version or model."""
        import torch

        from vjserver.generators.paint.painter import Canvas

        painter, _ = self._opened()
        try:
            row = msgspec.msgpack.decode(data, type=_Kept)
        except msgspec.MsgspecError as error:
            raise GeneratorError(f"this is no checkpoint of the painter: {error}") from None
        count = math.prod(row.shape)
        kept = (row.z, row.mean, row.square)
        if (row.version, row.mark) != (VERSION, self._mark) or any(len(one) != 4 * count for one in kept):
            raise GeneratorError(f"a checkpoint of these models, version {VERSION}, is needed: got {row.version}")
        arrays = [np.frombuffer(one, np.float32) for one in kept]
        numbers = (row.strokes, row.seed, *row.place)
        sane = min(row.shape) > 0 and row.strokes >= 0 and all(np.isfinite(one).all() for one in arrays)
        if not sane or arrays[2].min() < 0.0 or not all(abs(one) < 1 << 40 for one in numbers):
            raise GeneratorError("this is no checkpoint of the painter: its numbers make no sense")
        if not all(abs(one) < 100.0 for one in row.place):
            raise GeneratorError("this is no checkpoint of the painter: its camera is nowhere")
        tensors = [torch.from_numpy(one.reshape(1, *row.shape).copy()).to(painter.device) for one in arrays]
        return PaintState(Canvas(tensors[0], tensors[1], tensors[2], row.strokes, row.seed), ViewTransform(*row.place))

    # -- what a frame is made of ---------------------------------------------------------------------------

    def _targets(self, painter: "Painter", request: FrameRequest) -> "list[Target]":
        rows = [(text, weight) for text, weight in request.text.prompts if text.strip() and weight != 0.0]
        total = sum(abs(weight) for _, weight in rows)
        targets: list[Target] = [(painter.target(text), weight / total) for text, weight in rows]
        if request.text.negative.strip() and request.own["away"] > 0.0:
            targets.append((painter.target(request.text.negative), -request.own["away"]))
        if not targets:
            self._tell_once("prompt", "there is no prompt to paint towards: the picture stays")
        return targets

    def _strokes(self, request: FrameRequest, owed: float) -> tuple[int, float]:
        """Return how many strokes this frame has, and what is owed to the next: live, by what a stroke takes."""
        most = max(1, round(request.own["steps"]))
        if request.mode == "film":
            return most, 0.0
        owed = min(PATIENCE, owed + SHARE * request.seconds / max(1e-4, self._stroke_s))
        count = min(most, int(owed))
        return count, min(owed - count, PATIENCE)

    def _painted(self, painter: "Painter", canvas: "Canvas", targets: "list[Target]", own: Any) -> "Canvas":
        from vjserver.generators.captured import TURNS

        began = perf_counter()
        with TURNS.whole():
            new = painter.stroke(canvas, targets, own["rate"], round(own["cutouts"]), own["smallest"])
        if painter.device.type == "cuda":
            import torch

            torch.cuda.current_stream().synchronize()
        took = perf_counter() - began
        self._stroke_s = took if self._stroke_s == 0.0 else 0.8 * self._stroke_s + 0.2 * took
        return new

    def _size(self, width: int, height: int) -> tuple[int, int]:
        from vjserver.generators.paint.painter import size_for

        painter, _ = self._opened()
        asked = size_of(self._options.size)
        if all(asked):
            return size_for(*asked, painter.multiple, asked[0] * asked[1])
        return size_for(width, height, painter.multiple, AREA)

    def _opened(self) -> "tuple[Painter, Screen]":
        if self._painter is None or self._screen is None:
            raise GeneratorError("the painter is not open")
        return self._painter, self._screen

    def _tell_once(self, what: str, why: str) -> None:
        if what not in self._told:
            self._told.add(what)
            self._notices.append(Notice(what, why))


_DEFAULTS = {knob.name: knob.default for knob in INFO.parameters}


def _sides(canvas: "Canvas", painter: "Painter") -> tuple[int, int]:
    rows, columns = canvas.z.shape[-2:]
    return columns * painter.multiple, rows * painter.multiple


def _fitted(request: FrameRequest, size: tuple[int, int]) -> "np.ndarray[Any, np.dtype[np.uint8]] | None":
    """Return the input's picture at the painter's size, RGB8."""
    if request.image is None:
        return None
    image = np.ascontiguousarray(on_host(request.image)[..., :3])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
