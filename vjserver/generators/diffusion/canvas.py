"""The canvas of a frame: the static buffers of one shape, and the numbers that go into them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vjserver.generators.captured import LUMA, Program
from vjserver.generators.diffusion.info import N_DIRECTIONS as DIRECTIONS
from vjserver.generators.diffusion.model import Parts
from vjserver.generators.diffusion.sampler import MAX_STEPS, Schedule
from vjserver.generators.diffusion.text import Encoded, blend
from vjserver.types.frames import Pixels

DIRECTION_SEED = 1_000_003
BANK = 64  # prompts that may be blended in one frame: eight slots, each on its way from several texts, and a negative
NOISES = MAX_STEPS + 1
Float32 = NDArray[np.float32]
Weighted = Sequence[tuple[Encoded, float]]

# The control vector: name -> how many numbers. A frame reads all of them, and they are uploaded at once.
CONTROLS = {
    "schedule": 2 + 4 * MAX_STEPS,  # see sampler.Schedule.numbers
    "guidance": 1,
    "noise": 2,  # weights of the two noises between which the seed walks
    "latent_offset": DIRECTIONS + 1,  # weights of fixed directions in noise, and what keeps the sum's spread at 1
    "warp": 6,  # where a point of the picture was in the last one
    "last": 1,  # share of the last picture in the picture to start from
    "match": 1,  # how far the last picture's colours are brought back to the anchor's
    "hold": 1,  # how far this frame's colours are brought to the anchor's
    "anchor": 1,  # how far the anchor moves to the colours of this frame; 1 drops it there
    "fader": 1,  # deck A 0 .. 1 deck B
    "grade": 5,  # saturation, contrast, brightness, flash, hue in turns
}
_ENDS = np.cumsum(list(CONTROLS.values()))
PLACE = {name: slice(int(end) - count, int(end)) for (name, count), end in zip(CONTROLS.items(), _ENDS, strict=True)}
NEUTRAL = {
    "noise": (1.0, 0.0),
    "latent_offset": (0.0,) * DIRECTIONS + (1.0,),
    "warp": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "grade": (1.0, 1.0, 1.0, 0.0, 0.0),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a canvas is made for: the size at which the model thinks, the picture's size, and how many decks."""

    width: int
    height: int
    out_width: int
    out_height: int
    decks: int = 1


@dataclass(slots=True)
class Inputs:
    """Everything of one frame.

    ``prompts`` has one row of (prompt, weight) a deck; ``negative`` counts where guidance works by a negative prompt.
    ``noise`` are two arrays ``(5, 1, 4, height / 8, width / 8)`` of which the frame takes a weighted sum; ``image`` is
    RGBA8 at the canvas's size, a tensor where it lies on the device, or None; ``feed`` tells that the last picture is
    started from. ``controls`` are named as in :data:`CONTROLS`; those not given are neutral. ``film`` tells that
    nothing may depend on earlier frames but what they hand on.
    """

    prompts: Sequence[Weighted]
    schedule: Schedule
    noise: tuple[Float32, Float32]
    negative: Encoded | None = None
    guidance: float = 1.0
    loras: Sequence[float] = ()
    image: Pixels | Tensor | None = None
    feed: bool = False
    eps: Float32 | None = None
    controls: dict[str, Sequence[float]] = field(default_factory=dict)
    film: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """A finished frame: ``pixels`` uint8 ``(outputs, height, width, 4)``, and what was measured in it.

    With two decks, output 0 is the program and 1 the preview. ``finite`` is false where a number was none;
    ``brightness`` is the mean of the picture before grading and ``jump`` the mean difference to the frame before, 0..1;
    ``unsafe`` is the safety filter's score.
    """

    pixels: Pixels
    finite: bool
    brightness: float
    jump: float
    unsafe: float


class Conditions:
    """What the UNet needs of prompts, timesteps, guidance and LoRA weights, row by row; kept until one changes."""

    def __init__(self, parts: Parts, bank: Tensor, pooled: Tensor | None, rows: int, ids: tuple[float, ...]) -> None:
        unet, device = parts.unet, parts.device
        self._parts, self._bank, self._pooled = parts, bank, pooled
        self.mix = torch.zeros(rows, BANK, device=device)
        self.lora = torch.zeros(rows, parts.loras, device=device, dtype=parts.dtype)
        self.timesteps = torch.zeros(MAX_STEPS, device=device)
        self.guidance = torch.ones(1, device=device)
        self._ids = torch.tensor([ids] * (rows * MAX_STEPS), device=device) if parts.sdxl else None
        self.keys_values = torch.zeros(rows, 77, unet.prompts.weight.shape[0], device=device, dtype=parts.dtype)
        self.times = torch.zeros(MAX_STEPS, rows, unet.times.weight.shape[0], device=device, dtype=parts.dtype)

    def compute(self) -> None:
        """Fill ``keys_values`` and ``times``."""
        unet, rows = self._parts.unet, len(self.mix)
        tokens = blend(self._bank, self.mix)
        self.keys_values.copy_(unet.keys_values(tokens.to(self._parts.dtype), self.lora))
        pooled = None
        if self._pooled is not None:
            pooled = blend(self._pooled, self.mix)[:, 0].repeat(MAX_STEPS, 1)
        timesteps = self.timesteps.repeat_interleave(rows)
        guidance, lora = self.guidance.expand(rows * MAX_STEPS), self.lora.repeat(MAX_STEPS, 1)
        self.times.copy_(unet.time_biases(timesteps, guidance, pooled, self._ids, lora).unflatten(0, (MAX_STEPS, rows)))


class Canvas:
    """The static buffers of one shape, and the frames captured on them; ``fused`` tells whether they are compiled."""

    def __init__(self, parts: Parts, bank: Tensor, pooled: Tensor | None, shape: Shape, fused: bool) -> None:
        device = parts.device
        h, w, decks = shape.height // 8, shape.width // 8, shape.decks
        self.shape = shape
        rows = decks * (2 if parts.guidance == "negative" else 1)
        ids = (shape.height, shape.width, 0.0, 0.0, shape.height, shape.width)
        self.conditions = Conditions(parts, bank, pooled, rows, tuple(map(float, ids)))
        self.controls = torch.zeros(int(_ENDS[-1]), device=device)
        self.noise_a, self.noise_b = torch.zeros(2, NOISES, 1, 4, h, w, device=device)
        draw = torch.Generator("cpu").manual_seed(DIRECTION_SEED)
        self.directions = torch.randn(DIRECTIONS, 4, h, w, generator=draw).to(device)
        self.eps = torch.zeros(1, 4, h, w, device=device)
        self.image = torch.zeros(1, shape.height, shape.width, 4, dtype=torch.uint8, device=device)
        self.latent = torch.zeros(decks, 4, h, w, device=device)
        self.last = torch.zeros(decks, 3, shape.height, shape.width, device=device, dtype=parts.decoder.dtype)
        self.anchor = torch.zeros(decks, 2, 3, device=device)
        self.luma = torch.tensor([LUMA] * 3, device=device)
        self.nothing, self.half = torch.zeros((), device=device), torch.full((), 0.5, device=device)
        self.decoded = torch.zeros(decks, 3, shape.height, shape.width, device=device)
        self.rgba = torch.zeros(decks, shape.out_height, shape.out_width, 4, dtype=torch.uint8, device=device)
        self.rgba[..., 3].fill_(255)
        self.report = torch.zeros(4, device=device)
        pinned = device.type == "cuda"
        self.host = [torch.zeros_like(self.rgba, device="cpu", pin_memory=pinned) for _ in range(2)]
        self.host_report = torch.zeros(4, pin_memory=pinned)
        self.host_controls = torch.zeros(len(self.controls), pin_memory=pinned)
        self.host_image = torch.zeros_like(self.image, device="cpu", pin_memory=pinned)
        self.condition = Program(self.conditions.compute)
        self.programs: dict[tuple[bool, int], Program] = {}
        self.laid: tuple[Any, ...] = ()
        self.noises: tuple[Float32 | None, Float32 | None] = (None, None)
        self.turn = 0
        self.fused = fused
        self.kept = False
        """Made ready before the show: it stays when room is needed for another."""
