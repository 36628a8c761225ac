"""The diffusion generator's door: a frame request goes in, numbers and buffers for the engine are made of it.

torch is imported when a model is opened, not before: a show file can be checked without it.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import msgspec
import numpy as np

from vjserver.easing.smoothing import smoothing
from vjserver.generators.camera import ViewTransform, place, warp
from vjserver.generators.diffusion.coherence import FrameCoupling, frame_coupling
from vjserver.generators.diffusion.governor import Effort, Governor, ladder
from vjserver.generators.diffusion.info import INFO, N_DIRECTIONS, N_LORAS
from vjserver.generators.diffusion.options import DiffusionOptions
from vjserver.generators.store import find_model, mark_run, marked, models
from vjserver.latent.noise import Array, NoiseWalk, begin, step
from vjserver.latent.walks import walked
from vjserver.show.addresses import size_of
from vjserver.types.errors import GeneratorError, OutOfMemoryError, WorkerFault
from vjserver.types.frames import Frame, FrameInfo, FrameRequest, Notice, OnDevice, Pixels, Prompts, on_host

if TYPE_CHECKING:
    from torch import Tensor

    from vjserver.generators.diffusion.canvas import Inputs, Result, Shape
    from vjserver.generators.diffusion.engine import Engine
    from vjserver.generators.diffusion.text import Encoded
    from vjserver.generators.diffusion.text import Prompts as PromptCache

AREA = 512 * 512
WIDE = (768, 432)  # what 16:9 thinks at unless told otherwise; others get about AREA
COLOUR_MATCH = 0.5
COLOUR_HOLD = 0.8
"""In a film that starts from its last picture, how far each frame has the colours of the scene's first."""
ANCHOR_S = 20.0
BLACK = 1.0 / 255.0
JUMPS_S = 2.0
THUMB = 32
LONGEST_SKIP = 10
RUNGS_READY = 2  # sizes below that are compiled and captured beforehand: each takes a card about a minute at first
POINTS_KEPT = 24
WALKED = -1
"""The points of a walk that is worked out anew for each frame."""
VERSION = 1
"""Of a checkpoint; another one is refused."""
BAD_FRAME_LIMIT, FIRST_BAD_FRAME_LIMIT = (
    90,
    3,
)  # bad frames in a row that are borne; before there was a good one to show, fewer


@dataclass(frozen=True, slots=True)
class DiffusionState:
    """What one frame hands to the next, beside the latent and the picture that stay on the device.

    ``serial`` says which frame of the generator that was: a state of an older one begins anew.
    """

    serial: int
    noise: NoiseWalk
    size: tuple[int, int]
    place: ViewTransform
    prompts: tuple[Prompts, ...]
    last: Frame
    thumb: Array | None = None
    skipped: int = 0
    jumps: tuple[tuple[float, float], ...] = ()


Packed = tuple[tuple[int, ...], bytes]
"""An array of float32: its shape and its numbers."""


class _Kept(msgspec.Struct):
    """A checkpoint: what a frame hands to the next, and what the device keeps with it."""

    version: int
    model: str
    shape: tuple[int, ...]
    kept: list[Packed]
    seed: int
    a: Packed
    b: Packed
    angle: float
    share: float
    points: int
    travelled_s: float | None
    size: tuple[int, int]
    place: ViewTransform
    prompts: tuple[Prompts, ...]
    width: int
    height: int
    pixels: bytes


def _packed(values: Array) -> Packed:
    return values.shape, np.ascontiguousarray(values, np.float32).tobytes()


def _unpacked(packed: Packed) -> Array:
    return np.frombuffer(packed[1], np.float32).reshape(packed[0]).copy()


class DiffusionGenerator:
    """SD-Turbo, LCM and their kin as a live instrument."""

    INFO = INFO
    Options = DiffusionOptions

    def __init__(self, options: DiffusionOptions) -> None:
        self._options = options
        self._governor = Governor(options.target_fps)
        self._engine: Engine | None = None
        self._prompts: PromptCache | None = None
        self._zero: Encoded | None = None
        self._notices: list[Notice] = []
        self._serial = 0
        self._drawn: dict[tuple[int, tuple[int, int]], Array] = {}
        self._counts = {"black_frames": 0, "broken_frames": 0, "unsafe_frames": 0, "skipped_frames": 0}
        self._troubled: set[str] = set()
        self._chance = random.Random(0)
        self._bad_frames, self._bad_frame_limit = 0, FIRST_BAD_FRAME_LIMIT

    # -- coming and going ----------------------------------------------------------------------------------

    def open(self) -> None:
        """Load the model. Raises GeneratorError: torch missing, model missing or damaged, no such device, no room."""
        find_model(self._options.model)  # torch is large, and not needed to say that a model is not here
        try:
            import torch

            from vjserver.generators.diffusion.engine import Engine
            from vjserver.generators.diffusion.model import load
            from vjserver.generators.diffusion.safety import Classifier
            from vjserver.generators.diffusion.text import Prompts as PromptCache
        except ImportError as error:
            raise GeneratorError(f"diffusion needs torch: pip install 'vjserver[diffusion]' ({error})") from None
        try:
            parts = load(self._options)
        except torch.OutOfMemoryError as error:
            why = str(error).splitlines()[0]
            raise OutOfMemoryError(f"GPU memory does not hold model {self._options.model!r}: {why}") from error
        safety = self._options.safety
        classify = Classifier(safety.model, safety.labels, parts.device, parts.dtype) if safety else None
        self._prompts = PromptCache(parts.text, self._options.prompts_kept)
        cuda = parts.device.type == "cuda"
        wanted = self._options.compile == "on" or (self._options.compile == "auto" and cuda and _has_triton())
        self._engine = Engine(parts, wanted, self._prompts.lock, classify)
        if cuda and not wanted and self._options.compile == "auto":
            self._tell("diffusion speed", "Triton is not installed: frames are captured but not fused, and slower")
        for remark in parts.remarks:
            self._tell(f"model {parts.folder.name}", remark)

    def warm_up(self, width: int, height: int, prompts: Sequence[str] = ()) -> None:
        """Encode ``prompts``, then make and capture what the show will ask for, and the governor where it is too slow.

        That are one step and two, one deck and two, at the size that a picture of this size asks for; and the
        governor's next sizes below. Raises GeneratorError.
        """
        engine, cache = self._opened()
        for text in ("", *prompts):
            cache.encode(text)
        size = self._inference_size((0, 0), width, height)
        wanted = [Effort(*size, steps, decks) for decks in (1, 2) for steps in (1, 2)]
        if self._options.target_fps and (engine.compiled or engine.captures):
            wanted += ladder(Effort(*size))[1 : 1 + RUNGS_READY]
        ready: list[Effort] = []
        for effort in wanted:
            try:
                self._make_ready(effort, width, height)
                ready.append(effort)
            except RuntimeError as error:
                self._interpret(error)
            except OutOfMemoryError as error:
                if not ready:
                    raise
                self._tell("GPU memory", f"{error}; {effort} is not made ready")
                for one in ready:  # all went when memory was given back
                    self._make_ready(one, width, height)

    def _make_ready(self, effort: Effort, width: int, height: int) -> None:
        engine, _ = self._opened()
        frame_s = engine.ready(self._shape(effort, width, height), effort.steps)
        if frame_s:
            self._governor.know(effort, frame_s)

    def close(self) -> None:
        """Let go of the device's memory."""
        if self._prompts is not None:
            self._prompts.close()
        if self._engine is not None:
            self._engine.close()
        self._engine = self._prompts = None

    # -- a frame -------------------------------------------------------------------------------------------

    def render(self, request: FrameRequest, state: DiffusionState | None) -> tuple[Frame, DiffusionState]:
        """Return the frame for ``request`` and the state for the next.

        Raises GeneratorError where nothing can be rendered, WorkerFault where only a new process can.
        """
        engine, _ = self._opened()
        own, decks = request.own, round(request.params["decks"])
        asked = Effort(
            *self._inference_size(request.inference_size, request.width, request.height), round(own["steps"]), decks
        )
        if state is not None and not self._goes_on(state, request):
            state = None
        if state is None:
            engine.forget()
        if request.mode == "film":
            return self._render(request, state, asked, None)
        thumb = _thumb(on_host(request.image)) if request.image is not None and own["similar"] > 0.0 else None
        if state is not None and self._may_skip(request, state, thumb):
            return self._again(replace(state, skipped=state.skipped + 1))
        while True:
            effort = self._governor.choose(asked)
            try:
                return self._render(request, state, effort, thumb)
            except (GeneratorError, RuntimeError) as error:
                self._overcome(error)
            engine.free()  # not before: the error held on to the buffers of the frame that failed

    def _goes_on(self, state: DiffusionState, request: FrameRequest) -> bool:
        """Tell whether a state is the last frame's, and of the same size."""
        info = state.last.info
        return state.serial == self._serial and (info.width, info.height) == (request.width, request.height)

    def _overcome(self, error: GeneratorError | RuntimeError) -> None:
        """Find a way past what went wrong in a frame, or raise."""
        from vjserver.generators.captured import GpuFaultError

        if isinstance(error, GpuFaultError):
            raise WorkerFault(str(error)) from error
        if isinstance(error, OutOfMemoryError):
            if not self._governor.step_down():
                raise GeneratorError(f"{error}; there is no smaller size to try") from error
            self._tell("GPU memory", f"{error}; stepping down")
            return
        self._interpret(error)

    def _interpret(self, error: GeneratorError | RuntimeError) -> None:
        """Go on without torch.compile, if that may be what failed; else raise."""
        engine, _ = self._opened()
        if not engine.compiled or not isinstance(error, RuntimeError):
            raise error
        engine.interpret()
        self._governor.known_s.clear()
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        self._tell("diffusion speed", f"torch.compile failed, frames are captured but not fused: {why}")

    def _render(
        self, request: FrameRequest, state: DiffusionState | None, effort: Effort, thumb: Array | None
    ) -> tuple[Frame, DiffusionState]:
        engine, cache = self._opened()
        p, own, size = request.params, request.own, (effort.width, effort.height)
        coupling = frame_coupling(own["coherence"], own["turn"], request.seconds)
        if request.feedback:
            coupling = replace(coupling, picture=1.0, latent=1.0)
        noise = self._walk(request, state, size, coupling)
        before = place(p) if state is None else state.place
        prompts = self._ready_prompts(request, state, effort.decks)
        shape = self._shape(effort, request.width, request.height)
        inputs = self._inputs(request, state, effort, coupling, noise, before, prompts)
        began_s = time.perf_counter()
        result = engine.render(shape, inputs)
        device: Any = engine.picture() if request.where == "device" else None
        told = self._governor.hear(time.perf_counter() - began_s) if request.mode == "live" else ""
        if told:
            self._tell("frame rate", told, self._governor.level == 0)
        for remark in cache.remarks():
            self._tell("prompt", remark)
        self._serial += 1
        if self._serial == 1 and result.finite:
            mark_run(engine.parts.folder)
        here = DiffusionState(
            self._serial, noise, size, place(p), prompts, _frame(request, result), thumb,
            jumps=() if state is None else state.jumps,
        )  # fmt: skip
        frame, here = self._checked(request, result, state, here, effort)
        good = frame.pixels is result.pixels[0] or np.shares_memory(frame.pixels, result.pixels)
        return (replace(frame, device=device) if good else frame), here

    def _walk(
        self, request: FrameRequest, state: DiffusionState | None, size: tuple[int, int], coupling: FrameCoupling
    ) -> NoiseWalk:
        engine, _ = self._opened()

        def draw(seed: int) -> Array:
            return engine.noise(seed, *size)

        there = walked(request.own, request.seed, request.beat_count + request.beat_phase, self._points(size))
        if there is not None:
            return NoiseWalk(request.seed, there, there, 0.0, points=WALKED)
        if state is None or state.noise.points == WALKED:
            return begin(request.seed, draw)
        walk = state.noise
        if size != state.size:
            walk = begin(walk.seed, draw)
        turn = math.radians(coupling.turn_deg)
        return step(walk, request.seed, turn, request.seconds, request.travel_s, request.ease, draw)

    @staticmethod
    def _anchor(request: FrameRequest, changed: bool, feed: bool) -> float:
        """Return how far the colours that are kept become those of this frame: in a film they are its first one's."""
        if changed and not feed:
            return 1.0
        return 0.0 if request.mode == "film" and feed else smoothing(request.seconds, ANCHOR_S)

    @staticmethod
    def licence_of(model: str) -> str:
        """Return the licence of a model, as it was told when it was taken in."""
        return next((one.licence for one in models() if one.name == model), "")

    @staticmethod
    def mark_of(model: str) -> str:
        """Return what changes when a model's files do."""
        return marked(model)

    def _points(self, size: tuple[int, int]) -> Callable[[int], Array]:
        """Return what draws the noise of a seed, and remembers the last ones: a walk passes them again and again."""
        engine, _ = self._opened()

        def draw(seed: int) -> Array:
            if (seed, size) not in self._drawn:
                if len(self._drawn) >= POINTS_KEPT:
                    self._drawn.clear()
                self._drawn[seed, size] = engine.noise(seed, *size)
            return self._drawn[seed, size]

        return draw

    def _inputs(
        self, request: FrameRequest, state: DiffusionState | None, effort: Effort, coupling: FrameCoupling,
        noise: NoiseWalk, before: ViewTransform, prompts: tuple[Prompts, ...],
    ) -> "Inputs":  # fmt: skip
        from vjserver.generators.diffusion.canvas import Inputs

        engine, _ = self._opened()
        p, own = request.params, request.own
        came = request.image is not None
        feed = state is not None and coupling.picture > 0.0
        again = state is not None and coupling.latent > 0.0
        strength = p["strength"] if came else 1.0 + coupling.latent * (p["strength"] - 1.0)
        latent_offset = [own[f"latent_{i}"] for i in range(1, N_DIRECTIONS + 1)]
        changed = state is None or state.noise.seed != request.seed or prompts != state.prompts
        grade = [p[name] for name in ("saturation", "contrast", "brightness", "flash", "palette")]
        return Inputs(
            [self._weighted(row) for row in prompts],
            engine.parts.sampler.schedule(effort.steps, strength, came or feed or again),
            (noise.a, noise.b),
            negative=self._negative(request.text.negative),
            guidance=own["guidance"] if engine.parts.guidance != "none" else 1.0,
            loras=[own[f"lora_{i}"] for i in range(1, N_LORAS + 1)],
            image=self._fitted(request.image, effort.width, effort.height),
            feed=feed,
            film=request.mode == "film",
            controls={
                "noise": noise.weights,
                "latent_offset": (*latent_offset, 1.0 / math.sqrt(1.0 + sum(x * x for x in latent_offset))),
                "warp": warp(request, before).ravel().tolist(),
                "last": (0.6 * coupling.picture if feed else 0.0,),
                "match": (COLOUR_MATCH if feed else 0.0,),
                "hold": (COLOUR_HOLD if feed and request.mode == "film" else 0.0,),
                "anchor": (self._anchor(request, changed, feed),),
                "fader": (p["crossfade"],),
                "grade": grade,
            },
        )

    # -- what outlives the process ---------------------------------------------------------------------------

    def checkpoint(self, state: DiffusionState) -> bytes:
        """Return a state, and what the device keeps with it, as bytes. Raises GeneratorError for an older state."""
        engine, _ = self._opened()
        if state.serial != self._serial:
            raise GeneratorError("only the state of the last frame can be written down")
        shape, kept = engine.remembered()
        walk, pixels = state.noise, state.last.pixels
        row = _Kept(
            VERSION, str(engine.parts.folder.name), astuple(shape), [_packed(values) for values in kept], walk.seed,
            _packed(walk.a), _packed(walk.b), walk.angle, walk.share, walk.points, walk.travelled_s, state.size,
            state.place, state.prompts, pixels.shape[1], pixels.shape[0], np.ascontiguousarray(pixels).tobytes(),
        )  # fmt: skip
        return msgspec.msgpack.encode(row)

    def resume(self, data: bytes) -> DiffusionState:
        """Return the state of such bytes. Raises GeneratorError for another version or model."""
        from vjserver.generators.diffusion.canvas import Shape

        engine, _ = self._opened()
        try:
            row = msgspec.msgpack.decode(data, type=_Kept)
        except msgspec.MsgspecError as error:
            raise GeneratorError(f"this is no checkpoint of the diffusion generator: {error}") from None
        if (row.version, row.model) != (VERSION, engine.parts.folder.name):
            raise GeneratorError(
                f"a checkpoint of version {VERSION} with model {engine.parts.folder.name!r} is needed: "
                f"got version {row.version} with {row.model!r}"
            )
        try:
            engine.forget()
            engine.remember(Shape(*row.shape), [_unpacked(values) for values in row.kept])
            a = _unpacked(row.a)
            b = a if row.b == row.a else _unpacked(row.b)
            pixels = np.frombuffer(row.pixels, np.uint8).reshape(row.height, row.width, 4).copy()
        except (ValueError, TypeError) as error:
            raise GeneratorError(f"this checkpoint does not fit: {error}") from None
        walk = NoiseWalk(row.seed, a, b, row.angle, row.share, row.points, row.travelled_s)
        last = Frame(pixels, FrameInfo(row.width, row.height))
        self._serial += 1
        return DiffusionState(self._serial, walk, row.size, row.place, row.prompts, last)

    def _fitted(self, image: "Pixels | OnDevice | None", width: int, height: int) -> "Pixels | Tensor | None":
        """Return a picture to start from at the size of the canvas, where it lies."""
        if image is None or isinstance(image, np.ndarray):
            return _fitted(image, width, height) if image is not None else None
        return self._opened()[0].fitted(image, width, height)

    # -- prompts -------------------------------------------------------------------------------------------

    def _ready_prompts(self, request: FrameRequest, state: DiffusionState | None, decks: int) -> tuple[Prompts, ...]:
        """Return the prompts of each deck that are encoded; the others are asked for, the newest first.

        A deck none of whose prompts is ready keeps what it had.
        """
        _, cache = self._opened()
        rows = request.text.decks if decks == 2 else (request.text.prompts,)
        if request.mode == "film":  # a prompt is waited for
            for text in (request.text.negative, *(text for row in rows for text, _ in row)):
                cache.encode(text)
        missing: list[str] = []
        if request.text.negative and cache.get(request.text.negative) is None:
            missing.append(request.text.negative)
        result = []
        for i, row in enumerate(rows):
            ready = tuple((text, weight) for text, weight in row if cache.get(text) is not None)
            missing += [text for text, _ in row if cache.get(text) is None]
            if row and not ready and state is not None:
                ready = state.prompts[min(i, len(state.prompts) - 1)]
            result.append(ready or (("", 1.0),))
        missing += [text for text in request.text.ahead if cache.get(text) is None]
        if missing and request.mode == "live":  # another thread's sums may end in other digits
            cache.want(missing)
        return tuple(result)

    def _weighted(self, row: Prompts) -> "list[tuple[Encoded, float]]":
        _, cache = self._opened()
        return [(cache.encode(text), weight) for text, weight in row]

    def _negative(self, text: str) -> "Encoded | None":
        engine, cache = self._opened()
        if engine.parts.guidance != "negative":
            if text.strip():
                self._tell_once("negative prompt", f"{engine.parts.folder.name} takes none: it is left out")
            return None
        if not text and engine.parts.empty_is_zero:
            self._zero = self._zero or engine.parts.text.negative("", empty_is_zero=True)
            return self._zero
        return cache.get(text) or cache.encode("")

    # -- what comes out ------------------------------------------------------------------------------------

    def _checked(
        self, request: FrameRequest, result: "Result", before: DiffusionState | None, here: DiffusionState,
        effort: Effort,
    ) -> tuple[Frame, DiffusionState]:  # fmt: skip
        """Return the frame if it may be shown, else the last good one."""
        for what, why, is_bad in (
            ("broken_frames", "numbers that are none; the last good frame stays", not result.finite),
            ("black_frames", "a black frame; the last good one stays", result.brightness < BLACK),
            ("unsafe_frames", "the safety filter held a frame back", self._is_unsafe(request, result)),
        ):
            name = what.replace("_", " ")
            if is_bad:
                self._counts[what] += 1
                if what not in self._troubled:
                    self._troubled.add(what)
                    self._tell(name, why)
                if what != "unsafe_frames":
                    self._tolerate(why)
                held = _blank(request) if before is None or self._blanks(what) else before.last
                # The pixels are the engine's, which writes over them two frames on: what is held needs its own.
                here = replace(here, last=replace(held, pixels=held.pixels.copy(), preview=None))
                return self._dressed(here.last, here, effort), here
            if what in self._troubled:
                self._troubled.discard(what)
                self._tell(name, f"good frames again, {self._counts[what]} were held back", True)
        self._bad_frames, self._bad_frame_limit = 0, BAD_FRAME_LIMIT
        now_s = (here.jumps[-1][0] if here.jumps else 0.0) + request.seconds
        kept = [(t, jump) for t, jump in here.jumps if t > now_s - JUMPS_S]
        here = replace(here, jumps=(*kept, (now_s, result.jump)) if before is not None else ())
        return self._dressed(here.last, here, effort), here

    def _tolerate(self, why: str) -> None:
        """Bear one more bad frame. Raises GeneratorError when there were too many in a row: somebody else must play."""
        self._bad_frames += 1
        if self._bad_frames >= self._bad_frame_limit:
            raise GeneratorError(
                f"{self._bad_frames} frames in a row: {why}; try another dtype in [generators.diffusion]"
            )

    def _blanks(self, what: str) -> bool:
        safety = self._options.safety
        return what == "unsafe_frames" and safety is not None and safety.fallback == "blank"

    def _is_unsafe(self, request: FrameRequest, result: "Result") -> bool:
        return self._options.safety is not None and result.unsafe > request.own["safety"]

    def _dressed(self, frame: Frame, here: DiffusionState, effort: Effort) -> Frame:
        """Return the frame with what there is to tell."""
        jumps = [jump for _, jump in here.jumps]
        figures = {
            "jumpiness_mean": round(float(np.mean(jumps)), 4) if jumps else 0.0,
            "jumpiness_max": round(max(jumps), 4) if jumps else 0.0,
            "width": effort.width,
            "height": effort.height,
            "steps": effort.steps,
            "decks": effort.decks,
            **self._counts,
            **self._opened()[0].figures(),
        }
        notices, self._notices = tuple(self._notices), []
        return replace(frame, notices=notices, figures=figures)

    def _again(self, state: DiffusionState) -> tuple[Frame, DiffusionState]:
        """Return the last frame once more."""
        self._counts["skipped_frames"] += 1
        notices, self._notices = tuple(self._notices), []
        return replace(state.last, notices=notices, figures=dict(self._counts)), state

    def _may_skip(self, request: FrameRequest, state: DiffusionState, thumb: Array | None) -> bool:
        """Tell whether this frame may be the last one again: its input hardly changed.

        P(skip) = max(0, 1 - (1 - cos) / (1 - threshold)), as in StreamDiffusion (arXiv 2312.12491), with the cosine of
        thumbnails taken on the CPU, where the input comes from: nothing waits for the GPU.
        """
        threshold = 1.0 - 0.1 * request.own["similar"]
        if threshold >= 1.0 or thumb is None or state.thumb is None or state.skipped >= LONGEST_SKIP:
            return False
        lengths = float(np.linalg.norm(thumb) * np.linalg.norm(state.thumb))
        cosine = float(np.vdot(thumb, state.thumb)) / lengths if lengths else 1.0
        return self._chance.random() < max(0.0, 1.0 - (1.0 - cosine) / (1.0 - threshold))

    # -- small things --------------------------------------------------------------------------------------

    def _opened(self) -> "tuple[Engine, PromptCache]":
        if self._engine is None or self._prompts is None:
            raise GeneratorError("the diffusion generator is not open")
        return self._engine, self._prompts

    def _inference_size(self, asked: tuple[int, int], width: int, height: int) -> tuple[int, int]:
        """Return the size at which to think of a picture ``width`` x ``height``."""
        if asked == (0, 0) and self._options.size != "auto":
            asked = size_of(self._options.size)
        if asked != (0, 0):
            return asked
        if abs(width / height - 16 / 9) < 0.02 and width >= WIDE[0]:
            return WIDE
        scale = min(1.0, math.sqrt(AREA / (width * height)))
        return max(64, math.ceil(width * scale / 8) * 8), max(64, math.ceil(height * scale / 8) * 8)

    def _shape(self, effort: Effort, width: int, height: int) -> "Shape":
        from vjserver.generators.diffusion.canvas import Shape

        return Shape(effort.width, effort.height, width, height, effort.decks)

    def _tell(self, what: str, why: str, recovered: bool = False) -> None:
        self._notices.append(Notice(what, why, recovered))

    def _tell_once(self, what: str, why: str) -> None:
        if what not in self._troubled:
            self._troubled.add(what)
            self._tell(what, why)


def _has_triton() -> bool:
    import importlib.util

    return importlib.util.find_spec("triton") is not None


def _frame(request: FrameRequest, result: "Result") -> Frame:
    preview = result.pixels[1] if len(result.pixels) == 2 else None
    return Frame(result.pixels[0], FrameInfo(request.width, request.height), preview)


def _blank(request: FrameRequest) -> Frame:
    pixels = np.zeros((request.height, request.width, 4), np.uint8)
    pixels[..., 3] = 255
    return Frame(pixels, FrameInfo(request.width, request.height))


def _thumb(image: Pixels) -> Array:
    return cv2.resize(image[..., :3], (THUMB, THUMB), interpolation=cv2.INTER_AREA).astype(np.float32)


def _fitted(image: Pixels, width: int, height: int) -> Pixels:
    """Return a picture at another size; what sticks out at the sides is cut off."""
    scale = max(width / image.shape[1], height / image.shape[0])
    w, h = max(1, round(width / scale)), max(1, round(height / scale))
    left, top = (image.shape[1] - w) // 2, (image.shape[0] - h) // 2
    cut = image[top : top + h, left : left + w]
    if cut.shape[:2] == (height, width):
        return cut
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(cut, (width, height), interpolation=how), np.uint8)
