"""The diffusion generator's door: a frame request goes in, numbers and buffers for the engine are made of it.

torch is imported when a model is opened, not before: a show file can be checked without it.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vjserver.generators.camera import ViewTransform, place
from vjserver.generators.diffusion.checks import FrameChecks
from vjserver.generators.diffusion.coherence import FrameCoupling, controls, frame_coupling
from vjserver.generators.diffusion.decks import ready_prompts, weighted
from vjserver.generators.diffusion.governor import Effort, Governor, efforts, inference_size
from vjserver.generators.diffusion.info import INFO, N_LORAS
from vjserver.generators.diffusion.options import DiffusionOptions
from vjserver.generators.diffusion.similar import SimilarFilter, thumbnail
from vjserver.generators.diffusion.state import DiffusionState, read, written
from vjserver.generators.store import find_model, mark_run, marked, models
from vjserver.latent.noise import Array, NoiseWalk, begin, step
from vjserver.latent.walks import walked
from vjserver.runtime.picture import covering
from vjserver.show.addresses import size_of
from vjserver.types.errors import GeneratorError, OutOfMemoryError, WorkerFault
from vjserver.types.frames import Frame, FrameInfo, FrameRequest, OnDevice, Pixels, Prompts, on_host

if TYPE_CHECKING:
    from torch import Tensor

    from vjserver.generators.diffusion.canvas import Inputs, Result, Shape
    from vjserver.generators.diffusion.engine import Engine
    from vjserver.generators.diffusion.text import Encoded
    from vjserver.generators.diffusion.text import Prompts as PromptCache

JUMPS_S = 2.0
LEVELS_READY = 2  # sizes below that are compiled and captured beforehand: each takes a card about a minute at first
POINTS_KEPT = 24
WALKED = -1
"""The points of a walk that is worked out anew for each frame."""


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
        self._serial = 0
        self._drawn: dict[tuple[int, tuple[int, int]], Array] = {}
        self._checks = FrameChecks(options.safety)
        self._similar = SimilarFilter()
        self._tell = self._checks.tell

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
            wanted += efforts(Effort(*size))[1 : 1 + LEVELS_READY]
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
        thumb = thumbnail(on_host(request.image)) if request.image is not None and own["similar"] > 0.0 else None
        if state is not None and self._similar.skips(own["similar"], thumb, state.thumb, state.skipped):
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
        prompts = ready_prompts(request, () if state is None else state.prompts, effort.decks, cache)
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

        engine, cache = self._opened()
        p, own = request.params, request.own
        came = request.image is not None
        feed = state is not None and coupling.picture > 0.0
        again = state is not None and coupling.latent > 0.0
        strength = p["strength"] if came else 1.0 + coupling.latent * (p["strength"] - 1.0)
        changed = state is None or state.noise.seed != request.seed or prompts != state.prompts
        return Inputs(
            [weighted(row, cache) for row in prompts],
            engine.parts.sampler.schedule(effort.steps, strength, came or feed or again),
            (noise.a, noise.b),
            negative=self._negative(request.text.negative),
            guidance=own["guidance"] if engine.parts.guidance != "none" else 1.0,
            loras=[own[f"lora_{i}"] for i in range(1, N_LORAS + 1)],
            image=self._fitted(request.image, effort.width, effort.height),
            feed=feed,
            film=request.mode == "film",
            controls=controls(request, noise, coupling, before, feed, changed),
        )

    # -- what outlives the process ---------------------------------------------------------------------------

    def checkpoint(self, state: DiffusionState) -> bytes:
        """Return a state, and what the device keeps with it, as bytes. Raises GeneratorError for an older state."""
        engine, _ = self._opened()
        if state.serial != self._serial:
            raise GeneratorError("only the state of the last frame can be written down")
        return written(state, engine)

    def resume(self, data: bytes) -> DiffusionState:
        """Return the state of such bytes. Raises GeneratorError for another version or model."""
        engine, _ = self._opened()
        state = read(data, engine, self._serial + 1)
        self._serial = state.serial
        return state

    def _fitted(self, image: "Pixels | OnDevice | None", width: int, height: int) -> "Pixels | Tensor | None":
        """Return a picture to start from at the size of the canvas, where it lies."""
        if image is None or isinstance(image, np.ndarray):
            return covering(image, width, height) if image is not None else None
        return self._opened()[0].fitted(image, width, height)

    # -- prompts -------------------------------------------------------------------------------------------

    def _negative(self, text: str) -> "Encoded | None":
        engine, cache = self._opened()
        if engine.parts.guidance != "negative":
            if text.strip():
                self._checks.tell_once("negative prompt", f"{engine.parts.folder.name} takes none: it is left out")
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
        fault = self._checks.fault(result, request.own["safety"])
        if fault:
            held = _blank(request) if before is None or self._checks.blanks(fault) else before.last
            # The pixels are the engine's, which writes over them two frames on: what is held needs its own.
            here = replace(here, last=replace(held, pixels=held.pixels.copy(), preview=None))
            return self._dressed(here.last, here, effort), here
        now_s = (here.jumps[-1][0] if here.jumps else 0.0) + request.seconds
        kept = [(t, jump) for t, jump in here.jumps if t > now_s - JUMPS_S]
        here = replace(here, jumps=(*kept, (now_s, result.jump)) if before is not None else ())
        return self._dressed(here.last, here, effort), here

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
            **self._checks.counts,
            **self._opened()[0].figures(),
        }
        return replace(frame, notices=self._checks.taken(), figures=figures)

    def _again(self, state: DiffusionState) -> tuple[Frame, DiffusionState]:
        """Return the last frame once more."""
        self._checks.counts["skipped_frames"] += 1
        return replace(state.last, notices=self._checks.taken(), figures=dict(self._checks.counts)), state

    # -- small things --------------------------------------------------------------------------------------

    def _opened(self) -> "tuple[Engine, PromptCache]":
        if self._engine is None or self._prompts is None:
            raise GeneratorError("the diffusion generator is not open")
        return self._engine, self._prompts

    def _inference_size(self, asked: tuple[int, int], width: int, height: int) -> tuple[int, int]:
        wanted = asked if asked != (0, 0) or self._options.size == "auto" else size_of(self._options.size)
        return inference_size(wanted, width, height)

    def _shape(self, effort: Effort, width: int, height: int) -> "Shape":
        from vjserver.generators.diffusion.canvas import Shape

        return Shape(effort.width, effort.height, width, height, effort.decks)


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
