"""A screen for pictures that lie ready: two of them blended, seen by a camera, graded, as RGBA8; captured on CUDA."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vjserver.generators.camera import STILL, Matrix
from vjserver.generators.captured import LUMA, Captured, Program, bent, covering, graded
from vjserver.types.frames import Pixels

Rgb = NDArray[np.uint8]
NEUTRAL_GRADE = (1.0, 1.0, 1.0, 0.0, 0.0)
GRADE = ("saturation", "contrast", "brightness", "flash", "palette")
"""The common knobs that a grade is made of, in order."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a canvas is made for: the size of the pictures, and of what comes out."""

    width: int
    height: int
    out_width: int
    out_height: int


class Canvas:
    """The static buffers of one shape, and the frames captured on them."""

    def __init__(self, device: torch.device, shape: Shape) -> None:
        pinned = device.type == "cuda"
        self.numbers = torch.zeros(12, device=device)
        self.luma = torch.tensor([LUMA] * 3, device=device)
        self.pictures = torch.zeros(2, shape.height, shape.width, 3, dtype=torch.uint8, device=device)
        self.rgba = torch.zeros(shape.out_height, shape.out_width, 4, dtype=torch.uint8, device=device)
        self.rgba[..., 3].fill_(255)
        self.host_numbers = torch.zeros(12, pin_memory=pinned)
        self.host_pictures = torch.zeros_like(self.pictures, device="cpu", pin_memory=pinned)
        self.host = [torch.zeros_like(self.rgba, device="cpu", pin_memory=pinned) for _ in range(2)]
        self.names: list[Hashable] = [None, None]
        self.programs: dict[tuple[bool, bool], Program] = {}
        self.turn = 0
        self.kept = False


class Screen(Captured):
    """Shows pictures. Every call belongs to one thread at a time."""

    @torch.inference_mode()
    def show(
        self,
        pictures: Sequence[tuple[Hashable, Rgb]],
        size: tuple[int, int],
        blend: float = 0.0,
        camera: Matrix = STILL,
        grade: Sequence[float] = NEUTRAL_GRADE,
    ) -> Pixels:
        """Return one or two pictures of one size as RGBA8 of ``size`` (width, height): 0 the first, 1 the second.

        Each comes with a name: what is there under its name is not sent to the device again. The pixels stay valid
        until the frame after the next. Raises OutOfMemoryError, GpuFaultError.
        """
        with self._turn():
            height, width = pictures[0][1].shape[:2]
            shape = Shape(width, height, *size)
            canvas: Canvas = self._canvas_of(shape, lambda: Canvas(self.device, shape))
            self._newest = canvas
            for place, (name, picture) in enumerate(pictures):
                if canvas.names[place] != name:
                    canvas.host_pictures[place].numpy()[:] = picture
                    canvas.pictures[place].copy_(canvas.host_pictures[place], non_blocking=self._cuda)
                    canvas.names[place] = name
            seen = list(camera)
            for i in (2, 5):  # mirrored, it comes again after two pictures: near 0 its place is exact
                seen[i] = math.remainder(seen[i], 4.0)
            canvas.host_numbers.numpy()[:] = [*seen, *grade, blend]
            canvas.numbers.copy_(canvas.host_numbers, non_blocking=self._cuda)
            key = len(pictures) > 1 and blend > 0.0, camera != STILL
            if key not in canvas.programs:
                canvas.programs[key] = Program(_frame_of(canvas, shape, *key))
            self._play(canvas.programs[key])
            canvas.turn = 1 - canvas.turn
            host = canvas.host[canvas.turn]
            host.copy_(canvas.rgba, non_blocking=self._cuda)
            if self._cuda:
                torch.cuda.current_stream().synchronize()
            return host.numpy()


def _frame_of(canvas: Canvas, shape: Shape, blends: bool, moves: bool) -> Callable[[], None]:
    camera, grade, share = canvas.numbers[:6].view(2, 3), canvas.numbers[6:11], canvas.numbers[11]

    def frame() -> None:
        picture = canvas.pictures[0].float()
        if blends:
            picture = torch.lerp(picture, canvas.pictures[1].float(), share)
        picture = picture.permute(2, 0, 1)[None] / 255.0
        if moves:
            picture = bent(picture, camera)
        if (shape.out_width, shape.out_height) != (shape.width, shape.height):
            picture = covering(picture, shape.out_width, shape.out_height)
        picture = graded(picture.clamp(0.0, 1.0), grade, canvas.luma)
        canvas.rgba[..., :3].copy_((picture[0] * 255.0).round_().permute(1, 2, 0))

    return frame
