"""Captured frames: what every engine shares that computes a frame of one shape again and again on one device.

On CUDA a frame is captured once as a graph and replayed; nothing is allocated in it and nobody waits, until the
finished picture lies in pinned memory. Without CUDA the same functions run as they are.
"""

import gc
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vjserver.types.errors import GeneratorError, OutOfMemoryError

CANVASES = 10
WARM = 3
"""So often a frame runs as it is before it is captured: libraries make what they need, and compile."""
TIMED = 5
LOOK_EVERY = 30  # frames between two looks at the GPU's memory
LATER = 2000  # frames until a capture that had no room is tried again
_STREAMS: list[Any] = []
"""Streams that no engine has now. cuBLAS keeps 32 MiB and more for each that there ever was, so few are made."""
BROKEN_OFF = ("error during capture", "stream is capturing")
"""A capture that another thread broke off; nothing else is lost."""
OUT_OF_MEMORY = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
LUMA = (0.2126, 0.7152, 0.0722)  # ITU-R BT.709


class GpuFaultError(GeneratorError):
    """The GPU failed in a way after which this process can compute nothing more on it."""


class Turns:
    """Who may have the whole device wait: a capture breaks off where another thread of the process does so.

    What runs for the first time does, to try ways and to compile, and so does memory that is given back: any number of
    such at once, or one capture.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waits = 0
        self._searches = 0
        self._captures = False

    @contextmanager
    def whole(self, search: bool = False) -> Iterator[None]:
        """Let what is done meanwhile wait for the whole device, and cuDNN try its ways; a capture is waited for."""
        with self._changed:
            self._changed.wait_for(lambda: not self._captures)
            self._waits += 1
            self._search(search)
        try:
            yield
        finally:
            with self._changed:
                self._waits -= 1
                self._search(-search)
                self._changed.notify_all()

    @contextmanager
    def capture(self, wait: bool = True) -> Iterator[bool]:
        """Keep others off; tell whether that was possible, which it is in the end where it may ``wait``."""
        with self._changed:
            if wait:
                self._changed.wait_for(self._free)
            mine = self._free()
            self._captures |= mine
        try:
            yield mine
        finally:
            if mine:
                with self._changed:
                    self._captures = False
                    self._changed.notify_all()

    def _free(self) -> bool:
        return not self._waits and not self._captures

    def _search(self, more: int) -> None:
        self._searches += more
        torch.backends.cudnn.benchmark = self._searches > 0


TURNS = Turns()


@dataclass(slots=True)
class Program:
    """What computes one kind of frame on one canvas: ``run`` as it is, or ``replay`` once it is captured."""

    run: Callable[[], None]
    replay: Callable[[], None] | None = None
    runs: int = 0


class Canvas(Protocol):
    """The static buffers of one shape, and the frames captured on them."""

    programs: dict[Any, Program]
    kept: bool
    """Made ready before the show: it stays when room is needed for another."""


class Captured:
    """Computes frames on one device. Every call belongs to one thread at a time; ``lock`` guards captures."""

    def __init__(self, device: torch.device, lock: "threading.Lock | None" = None) -> None:
        self.device = device
        self._canvases: dict[Any, Any] = {}
        self._newest: Any = None
        self._lock = lock or threading.Lock()
        self._cuda = device.type == "cuda"
        # One pool for all captured frames: they never run at once, and what outlives them lies in the canvases.
        self._pool: Any = None
        # All of an engine's work is on one stream, which goes before what others have the device do: their loading
        # holds no frame up, and cuBLAS's workspace of the stream is made by the first frames, outside the pool.
        self._stream: Any = None
        self._frames = 0
        self._held: dict[str, float] = {}

    @property
    def captures(self) -> bool:
        """Whether frames are captured, which they are on CUDA."""
        return self._cuda

    def memory_mib(self) -> int:
        """Return how much of the GPU's memory this process holds, MiB; 0 on other devices."""
        return round(torch.cuda.memory_reserved() / 2**20) if self.device.type == "cuda" else 0

    def figures(self) -> dict[str, float]:
        """Return what there is to tell of the device: asked now and then, since it costs a little."""
        if self._frames % LOOK_EVERY == 0:
            held = self.memory_mib()
            self._held = {"gpu_memory_mib": held} if held else {}
        self._frames += 1
        return self._held

    def free(self) -> None:
        """Give all buffers and captured frames back."""
        for canvas in self._canvases.values():
            canvas.programs.clear()  # they refer to their canvas, whose memory is wanted now and not some day
        self._canvases.clear()
        self._newest = None
        self._pool = None  # a pool whose graphs are all gone may not be captured into again
        if self._cuda:
            with TURNS.whole(), suppress(RuntimeError):  # after a fault of the GPU this process ends anyway
                torch.cuda.empty_cache()

    def close(self) -> None:
        """Give everything back; the next engine goes on with the stream of this one."""
        self.free()
        if self._stream is not None:
            _STREAMS.append(self._stream)
            self._stream = None

    @torch.inference_mode()
    def picture(self) -> Tensor:
        """Return the newest picture, RGBA8 ``(height, width, 4)``, a copy on the device.

        It is finished: whoever takes it works on another stream, which waits for nothing of this one.
        """
        assert self._newest is not None
        with self._turn():
            rgba: Tensor = self._newest.rgba
            copy = (rgba[0] if rgba.ndim == 4 else rgba).clone()
            if self._cuda:
                self._stream.synchronize()
            return copy

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Have the device work for this engine, on its stream; faults are told apart."""
        with told(self):
            if not self._cuda:
                yield
                return
            if self._stream is None:
                self._stream = _STREAMS.pop() if _STREAMS else torch.cuda.Stream(self.device, priority=-1)  # type: ignore[no-untyped-call]
                self._stream.wait_stream(torch.cuda.current_stream())  # the model was loaded there
            with torch.cuda.stream(self._stream):
                yield

    def _canvas_of(self, shape: Hashable, make: Callable[[], Any]) -> Any:
        """Return the canvas of a shape, which is the last to go; the oldest goes where there are too many."""
        canvas = self._canvases.pop(shape, None)
        if canvas is None:
            if len(self._canvases) >= CANVASES:
                oldest = min(self._canvases, key=lambda one: self._canvases[one].kept)
                self._canvases.pop(oldest).programs.clear()
            canvas = make()
        self._canvases[shape] = canvas  # the newest is the last to go
        return canvas

    def _play(self, program: Program) -> None:
        """Replay what was captured; what was not yet runs as it is, and is captured once it ran often enough.

        So a new size costs the show a few slower frames and no stall. Who encodes a prompt is not waited for, nor who
        gets another model ready.
        """
        if self._cuda and program.replay is None and program.runs >= WARM and self._lock.acquire(blocking=False):
            try:
                with TURNS.capture(wait=False) as mine:
                    program.replay = self._captured(program.run) if mine else None
            except RuntimeError as error:
                if not is_out_of_memory(error) and not any(sign in str(error) for sign in BROKEN_OFF):
                    raise
                program.runs = -LATER  # the frame itself was well, so it plays on as it is
            finally:
                self._lock.release()
        if program.replay is not None:
            program.replay()
        else:
            with TURNS.whole() if self._cuda else nullcontext():
                program.run()
        program.runs += 1

    def _prepare(self, program: Program, warm: int = 0) -> float:
        """Run, compile and capture, whatever that takes; return how long a replay takes, in seconds.

        ``warm`` is how often what is not captured runs.
        """
        if not self._cuda:
            for _ in range(warm):
                program.run()
            return 0.0
        if program.replay is None:
            with TURNS.whole(search=True):
                for _ in range(WARM):
                    program.run()
                torch.cuda.empty_cache()  # what the runs took lies beside the graphs' pool
            with self._lock, TURNS.capture():
                program.replay = self._captured(program.run)
        times = []
        for _ in range(TIMED):
            self._stream.synchronize()
            began_s = time.perf_counter()
            program.replay()
            self._stream.synchronize()
            times.append(time.perf_counter() - began_s)
        return median(times)

    def _captured(self, run: Callable[[], None]) -> Callable[[], None]:
        """Return ``run`` as a CUDA graph of the work on this engine's stream; nothing is computed meanwhile."""
        collects = gc.isenabled()
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        try:
            gc.disable()  # what it finds might give the device something back
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                run()
            except BaseException:
                with suppress(RuntimeError):  # it says that a capture broke off; why is what was raised first
                    graph.capture_end()
                raise
            graph.capture_end()
        finally:
            if collects:
                gc.enable()
        return graph.replay


# -- where and how precisely ------------------------------------------------------------------------------------


def choose_device(asked: str) -> torch.device:
    """Return the device to compute on. Raises GeneratorError where the one asked for is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked == "auto":
        return torch.device(next(name for name, is_there in there.items() if is_there))
    if not there[asked]:
        remedy = "see 'Use your GPU' in the README" if asked == "cuda" else "it needs a Mac with Apple silicon"
        raise GeneratorError(f"this torch ({torch.__version__}) finds no {asked} device: {remedy}")
    return torch.device(asked)


def choose_dtype(asked: str, device: torch.device) -> torch.dtype:
    """Return the number format: float16 on a GPU, float32 on the CPU.

    A step from pure noise multiplies the UNet's rounding by a sigma of 14.6. SD-Turbo's layout with random weights
    rounds to 0.13 % of its prediction in float16 and to 1.1 % in bfloat16, which would be grain one can see.
    """
    if asked != "auto":
        return DTYPES[asked]
    return torch.float32 if device.type == "cpu" else torch.float16


# -- the end of a frame ----------------------------------------------------------------------------------------


def graded(picture: Tensor, grade: Tensor, luma: Tensor) -> Tensor:
    """Return the picture graded: hue turned about the grey axis, then saturation, contrast, brightness and flash.

    All of it is one affine map of the colours: a matrix product over the pixels. ``luma`` is a 3 x 3 matrix whose rows
    are the weights of grey.
    """
    saturation, contrast, brightness, flash, turns = grade.unbind()
    angle = turns * (2.0 * torch.pi)
    cos, sin = torch.cos(angle), torch.sin(angle) * 3.0**-0.5
    third = (1.0 - cos) / 3.0
    same, next_, before = cos + third, third + sin, third - sin
    hue = torch.stack([same, before, next_, next_, same, before, before, next_, same]).reshape(3, 3)
    matrix = torch.lerp(luma @ hue, hue, saturation) * (contrast * brightness)
    offset = (0.5 - 0.5 * contrast) * brightness + flash
    return (torch.matmul(matrix, picture.flatten(2)) + offset).clamp_(0.0, 1.0).reshape(picture.shape)


def bent(x: Tensor, matrix: Tensor) -> Tensor:
    """Return features whose every point was where ``matrix`` ``(2, 3)`` says, in halves of the sides; mirrored."""
    grid = F.affine_grid(matrix[None].float(), [1, *x.shape[1:]], align_corners=False)  # half is too coarse for places
    moved = F.grid_sample(x.float(), grid, padding_mode="reflection", align_corners=False)
    return moved.to(x.dtype)


def covering(picture: Tensor, width: int, height: int) -> Tensor:
    """Return the picture at its output's size; where the shapes differ the sides that stick out are cut off."""
    have_height, have_width = picture.shape[-2:]
    scale = max(width / have_width, height / have_height)
    wide, high = round(width / scale), round(height / scale)
    left, top = (have_width - wide) // 2, (have_height - high) // 2
    cut = picture[..., top : top + high, left : left + wide]
    softens = scale < 0.95 and picture.device.type != "mps"  # Metal has no filter of that kind
    return F.interpolate(cut, size=(height, width), mode="bicubic", align_corners=False, antialias=softens)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether torch has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY)


@contextmanager
def told(engine: Captured) -> Iterator[None]:
    """Tell torch's faults apart: memory that ran out is freed; what CUDA itself reports ends the process."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            engine.free()
            raise OutOfMemoryError(f"GPU memory ran out: {str(error).splitlines()[0]}") from error
        if "CUDA error" in str(error):
            raise GpuFaultError(f"the GPU failed: {str(error).splitlines()[0]}") from error
        raise
