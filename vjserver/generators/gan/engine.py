"""The GAN's engine: latents, a camera and a grade go in, an RGBA8 picture comes out; a frame is captured on CUDA.

    latents -> mapping -> layers (one of them bent) -> camera -> grade -> RGBA8

All that is live is a number in one vector that a frame reads.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vjserver.generators.camera import STILL
from vjserver.generators.captured import LUMA, Captured, Program, bent, covering, graded
from vjserver.generators.gan.layers import Bend, Drive, Grid
from vjserver.generators.gan.model import Gan
from vjserver.types.frames import Pixels

NEUTRAL_GRADE = (1.0, 1.0, 1.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a canvas is made for: the network's grid, and the picture's size."""

    grid: Grid
    out_width: int
    out_height: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything of one frame.

    ``z`` float32 ``(2, z)``: the latent, and one whose style is mixed in as ``mix`` ``(styles,)`` says; ``psi``
    ``(styles,)`` is how far each layer's style is truncated, 1 leaves it. ``label`` ``(classes,)`` weighs classes.
    ``camera`` are the first two rows of the matrix that finds a point of the new picture in the old, in halves of the
    picture's sides; ``bend`` is like it, for the features of layer ``bend_layer`` (from 1; 0 is none).
    """

    z: np.ndarray[Any, Any]
    psi: Sequence[float]
    mix: Sequence[float]
    label: Sequence[float] = ()
    noise: float = 1.0
    truncation: float = 1.0
    camera: Sequence[float] = STILL
    bend: Sequence[float] = STILL
    bend_layer: int = 0
    grade: Sequence[float] = NEUTRAL_GRADE


@dataclass(frozen=True, slots=True)
class Result:
    """A finished frame: ``pixels`` uint8 ``(height, width, 4)``, whether all numbers were some, and the mean, 0..1."""

    pixels: Pixels
    finite: bool
    brightness: float


class Canvas:
    """The static buffers of one shape, and the frames captured on them."""

    def __init__(self, engine: "Engine", shape: Shape) -> None:
        device, pinned = engine.device, engine.device.type == "cuda"
        self.shape = shape
        self.numbers = torch.zeros(engine.count, device=device)
        self.luma = torch.tensor([LUMA] * 3, device=device)
        self.rgba = torch.zeros(shape.out_height, shape.out_width, 4, dtype=torch.uint8, device=device)
        self.rgba[..., 3].fill_(255)
        self.report = torch.zeros(2, device=device)
        self.drawn = torch.zeros(0, device=device)
        self.host_numbers = torch.zeros(engine.count, pin_memory=pinned)
        self.host = [torch.zeros_like(self.rgba, device="cpu", pin_memory=pinned) for _ in range(2)]
        self.host_report = torch.zeros(2, pin_memory=pinned)
        self.programs: dict[int, Program] = {}
        self.turn = 0
        self.kept = False


class Engine(Captured):
    """Renders frames of one GAN. Every call belongs to one thread at a time."""

    def __init__(self, gan: Gan) -> None:
        super().__init__(gan.device)
        self.gan = gan
        network = gan.network
        sizes = {
            "z": 2 * network.z_dim, "psi": network.styles, "mix": network.styles, "label": network.classes, "noise": 1,
            "truncation": 1, "camera": 6, "bend": 6, "grade": 5,
        }  # fmt: skip
        self._places: dict[str, slice] = {}
        begin = 0
        for name, size in sizes.items():
            self._places[name] = slice(begin, begin + size)
            begin += size
        self.count = begin

    @torch.inference_mode()
    def ready(self, shape: Shape) -> float:
        """Make and capture the frames of a shape; return how long one takes where it is captured, in seconds.

        Raises OutOfMemoryError, GpuFaultError.
        """
        with self._turn():
            canvas = self._canvas(shape)
            canvas.kept = True
            return self._prepare(self._program(canvas, 0))

    @torch.inference_mode()
    def render(self, shape: Shape, inputs: Inputs) -> Result:
        """Render a frame. The pixels stay valid until the frame after the next.

        Raises OutOfMemoryError, GpuFaultError.
        """
        with self._turn():
            canvas = self._canvas(shape)
            self._lay(canvas, inputs)
            self._play(self._program(canvas, min(inputs.bend_layer, self.gan.network.places)))
            return self._fetch(canvas)

    def _canvas(self, shape: Shape) -> Canvas:
        canvas: Canvas = self._canvas_of(shape, lambda: Canvas(self, shape))
        self._newest = canvas
        return canvas

    def _lay(self, canvas: Canvas, inputs: Inputs) -> None:
        numbers = canvas.host_numbers.numpy()
        for name, place in self._places.items():
            numbers[place] = np.asarray(getattr(inputs, name), np.float32).reshape(-1)
        canvas.numbers.copy_(canvas.host_numbers, non_blocking=self._cuda)

    def _program(self, canvas: Canvas, bend_layer: int) -> Program:
        if bend_layer not in canvas.programs:
            canvas.programs[bend_layer] = Program(self._frame_of(canvas, bend_layer))
        return canvas.programs[bend_layer]

    def _frame_of(self, canvas: Canvas, bend_layer: int) -> Callable[[], None]:
        network, shape = self.gan.network, canvas.shape
        part: Mapping[str, Tensor] = {name: canvas.numbers[place] for name, place in self._places.items()}
        camera, bend = part["camera"].view(2, 3), part["bend"].view(2, 3)
        moves_input = network.kind == "StyleGAN3"
        last = torch.tensor([[0.0, 0.0, 1.0]], device=self.device)
        width, height = network.size(shape.grid)
        # the camera is in halves of the sides, what StyleGAN3 begins with in heights of a square picture
        sides = torch.tensor(
            [width / network.resolution / 2.0, height / network.resolution / 2.0, 1.0], device=self.device
        )

        def moved(place: int, x: Tensor) -> Tensor:
            return bent(x, bend) if place == bend_layer - 1 else x

        hook: Bend | None = moved if bend_layer else None

        def frame() -> None:
            whole = torch.cat([camera, last])
            drive = Drive(
                part["z"].view(2, -1), part["label"], part["psi"], part["mix"], part["noise"][0], part["truncation"][0],
                whole * sides[:, None] / sides if moves_input else whole,
            )  # fmt: skip
            picture = network(drive, shape.grid, hook)
            if not moves_input:
                picture = bent(picture, camera)
            finite = torch.isfinite(picture.mean())
            picture = torch.nan_to_num(picture, 0.0, 0.0, 0.0) * 0.5 + 0.5
            canvas.report[0].copy_(finite)
            canvas.report[1].copy_(picture.mean())
            if (shape.out_width, shape.out_height) != (width, height):
                picture = covering(picture, shape.out_width, shape.out_height)
            picture = graded(picture.clamp(0.0, 1.0), part["grade"], canvas.luma)
            canvas.rgba[..., :3].copy_((picture[0] * 255.0).round_().permute(1, 2, 0))

        return frame

    def _fetch(self, canvas: Canvas) -> Result:
        canvas.turn = 1 - canvas.turn
        host = canvas.host[canvas.turn]
        host.copy_(canvas.rgba, non_blocking=self._cuda)
        canvas.host_report.copy_(canvas.report, non_blocking=self._cuda)
        if self._cuda:
            torch.cuda.current_stream().synchronize()
        finite, brightness = canvas.host_report.tolist()
        return Result(host.numpy(), finite > 0.5, brightness)
