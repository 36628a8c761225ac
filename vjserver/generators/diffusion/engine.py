"""The engine: everything that is live is a number or a buffer that one captured frame reads.

    encode (or the last latent) -> noise -> UNet, one to four times -> decode -> grade, crossfade -> RGBA8

A :class:`Canvas` holds the static buffers of one size, number of decks and steps; its frame is captured once as a CUDA
graph and replayed. Nothing is allocated in it and nobody waits, until the finished picture lies in pinned memory. What
stays while prompts, timesteps, guidance and LoRA weights stay (:class:`Conditions`) is computed apart, when it changes.

Without CUDA the same functions run as they are, on the CPU and on MPS.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vjserver.generators.captured import LUMA, Captured, Program, covering, graded
from vjserver.generators.diffusion.info import N_DIRECTIONS as DIRECTIONS
from vjserver.generators.diffusion.model import Parts
from vjserver.generators.diffusion.sampler import MAX_STEPS, Schedule
from vjserver.generators.diffusion.text import Encoded, blend
from vjserver.types.frames import Pixels

BANK = 64  # prompts that may be blended in one frame: eight slots, each on its way from several texts, and a negative
DIRECTION_SEED = 1_000_003
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
    """The static buffers of one shape, and the frames captured on them."""

    def __init__(self, engine: "Engine", shape: Shape) -> None:
        parts, device = engine.parts, engine.parts.device
        h, w, decks = shape.height // 8, shape.width // 8, shape.decks
        self.shape = shape
        rows = decks * (2 if parts.guidance == "negative" else 1)
        ids = (shape.height, shape.width, 0.0, 0.0, shape.height, shape.width)
        self.conditions = Conditions(parts, engine.bank, engine.pooled, rows, tuple(map(float, ids)))
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
        self.fused = shape in engine.fused_shapes
        self.kept = False
        """Made ready before the show: it stays when room is needed for another."""


class Engine(Captured):
    """Renders frames of one model. Every call belongs to one thread at a time; ``lock`` guards captures."""

    def __init__(
        self,
        parts: Parts,
        compile_frames: bool,
        lock: "threading.Lock | None" = None,
        classify: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(parts.device, lock)
        self.parts, self._classify = parts, classify
        device, width = parts.device, parts.unet.prompts.weight.shape[1]
        self.bank = torch.zeros(BANK, 77, width, device=device)
        self.pooled = torch.zeros(BANK, 1, self._pooled_width(), device=device) if parts.sdxl else None
        self._places: dict[str, int] = {}
        self._unet: Callable[..., Tensor] = parts.unet
        self._encode: Callable[..., Tensor] = parts.decoder.encode
        self._decode: Callable[..., Tensor] = parts.decoder.decode
        self.compiled = compile_frames
        self._fused: tuple[Callable[..., Tensor], ...] = (self._unet, self._encode, self._decode)
        self.fused_shapes: set[Shape] = set()
        if compile_frames:
            for limit in ("recompile_limit", "cache_size_limit"):  # every size and batch is a compilation of its own
                if hasattr(torch._dynamo.config, limit):
                    setattr(torch._dynamo.config, limit, 64)
            whole = partial(torch.compile, dynamic=False, fullgraph=True)
            self._fused = whole(parts.unet), whole(parts.decoder.encode), whole(parts.decoder.decode)

    def _pooled_width(self) -> int:
        unet = self.parts.unet
        assert unet.pooled1 is not None
        return int(unet.pooled1.weight.shape[1]) - 6 * int(unet.config["addition_time_embed_dim"])

    # -- from outside --------------------------------------------------------------------------------------

    def noise(self, seed: int, width: int, height: int) -> Float32:
        """Return the noise of a seed, ``(5, 1, 4, height / 8, width / 8)``: a frame's first, then one for each step.

        It is what diffusers draws with ``torch.Generator("cpu").manual_seed(seed)`` in float32.
        """
        return self.drawn(seed, width, height)[1]

    def drawn(self, seed: int, width: int, height: int, sampled: bool = False) -> tuple[Float32 | None, Float32]:
        """Return the noise of a seed, and before it, where ``sampled``, what the full encoder's sample takes."""
        generator = torch.Generator("cpu").manual_seed(seed)
        shape = (1, 4, height // 8, width // 8)
        eps = torch.randn(shape, generator=generator).numpy() if sampled else None
        return eps, np.stack([torch.randn(shape, generator=generator).numpy() for _ in range(NOISES)])

    @torch.inference_mode()
    def ready(self, shape: Shape, steps: int, pictures: Sequence[bool] = (False, True)) -> float:
        """Make, compile and capture the frames of a shape, so that none has to be made in the show.

        Returns the seconds of the slowest, 0 where nothing is captured. Only here cuDNN searches for the fastest way,
        and only what was made ready here is compiled: both take too long for the show, in which a frame of another
        shape runs as it is, and is captured soon. Raises OutOfMemoryError, GpuFaultError.
        """
        with self._turn():
            canvas = self._canvas(shape)
            canvas.kept = True
            canvas.fused = canvas.fused or (self.compiled and not canvas.programs)
            programs = [self._program(canvas, from_picture, steps) for from_picture in pictures]
            with _keeping(canvas):
                times = [self._prepare(program, int(self.compiled)) for program in (canvas.condition, *programs)]
            if canvas.fused:
                self.fused_shapes.add(shape)
            return max(times)

    @torch.inference_mode()
    def render(self, shape: Shape, inputs: Inputs) -> Result:
        """Render a frame. The pixels stay valid until the frame after the next.

        Raises OutOfMemoryError, GpuFaultError.
        """
        with self._turn():
            canvas = self._canvas(shape)
            self._lay_conditions(canvas, inputs)
            self._lay_inputs(canvas, inputs)
            from_picture = inputs.image is not None or inputs.feed
            self._play(self._program(canvas, from_picture, len(inputs.schedule.steps)))
            return self._fetch(canvas)

    def interpret(self) -> None:
        """Go on without torch.compile."""
        self.compiled = False
        self.fused_shapes.clear()
        self.free()

    @torch.inference_mode()
    def forget(self) -> None:
        """Let nothing of the past frames be in the next."""
        with self._turn():
            for canvas in self._canvases.values():
                for buffer in (canvas.latent, canvas.last, canvas.anchor):
                    buffer.zero_()

    @torch.inference_mode()
    def fitted(self, image: Any, width: int, height: int) -> Tensor:
        """Return a picture that lies on a device (DLPack) at another size; what sticks out at the sides is cut off."""
        with self._turn():
            came: Tensor = torch.utils.dlpack.from_dlpack(image).to(self.parts.device)
            scale = max(width / came.shape[1], height / came.shape[0])
            w, h = max(1, round(width / scale)), max(1, round(height / scale))
            left, top = (came.shape[1] - w) // 2, (came.shape[0] - h) // 2
            cut = came[top : top + h, left : left + w]
            if cut.shape[:2] == (height, width):
                return cut[None].contiguous()
            how = {"mode": "area"} if scale < 1.0 else {"mode": "bilinear", "align_corners": False}
            planes = F.interpolate(cut.permute(2, 0, 1)[None].float(), size=(height, width), **how)
            return planes.add_(0.5).clamp_(0.0, 255.0).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    @torch.inference_mode()
    def remembered(self) -> tuple[Shape, list[Float32]]:
        """Return what the device keeps of the last frame (latent, picture, colours), and its shape."""
        assert self._newest is not None
        with self._turn():
            canvas = self._newest
            kept = [buffer.float().cpu().numpy() for buffer in (canvas.latent, canvas.last, canvas.anchor)]
            return canvas.shape, kept

    @torch.inference_mode()
    def remember(self, shape: Shape, kept: Sequence[Float32]) -> None:
        """Take that for the last frame. Raises ValueError where it is of another shape."""
        with self._turn():
            canvas = self._canvas(shape)
            for buffer, values in zip((canvas.latent, canvas.last, canvas.anchor), kept, strict=True):
                if buffer.shape != values.shape:
                    raise ValueError(f"{tuple(buffer.shape)} is needed: got {values.shape}")
                buffer.copy_(torch.from_numpy(values).to(buffer.dtype))

    @property
    def decoded(self) -> Tensor:
        """The newest frame before grading, float32 ``(decks, 3, height, width)``, 0..1."""
        assert self._newest is not None
        return self._newest.decoded

    # -- what a frame is laid out with ---------------------------------------------------------------------

    def _canvas(self, shape: Shape) -> Canvas:
        canvas: Canvas = self._canvas_of(shape, lambda: Canvas(self, shape))
        if self._newest is not None and self._newest is not canvas:
            _carry_over(self._newest, canvas)
        self._newest = canvas
        return canvas

    def _lay_conditions(self, canvas: Canvas, inputs: Inputs) -> None:
        rows: list[Weighted] = list(inputs.prompts)
        if self.parts.guidance == "negative":
            assert inputs.negative is not None
            rows += [[(inputs.negative, 1.0)]] * len(rows)
        timesteps = [step.timestep for step in inputs.schedule.steps]
        loras = [*inputs.loras, *(0.0,) * self.parts.loras][: self.parts.loras]
        laid = (
            [[(prompt.text, weight) for prompt, weight in row] for row in rows],
            timesteps,
            inputs.guidance if self.parts.guidance == "embedded" else 1.0,
            loras,
        )
        if laid == canvas.laid:
            return
        canvas.laid = laid
        if inputs.film:  # where a prompt lies must not depend on what was asked for before
            self._places.clear()
            for prompt in sorted((p for row in rows for p, _ in row), key=lambda p: p.text):
                self._place(prompt, rows)
        mix = torch.zeros(len(rows), BANK)
        for i, row in enumerate(rows):
            for prompt, weight in row:
                mix[i, self._place(prompt, rows)] += weight
        c = canvas.conditions
        c.mix.copy_(mix)
        c.lora.copy_(torch.tensor([loras] * len(rows)))
        c.timesteps.copy_(torch.tensor([*timesteps, *[0] * (MAX_STEPS - len(timesteps))], dtype=torch.float32))
        c.guidance.fill_(laid[2])
        self._play(canvas.condition)

    def _place(self, prompt: Encoded, rows: Sequence[Weighted]) -> int:
        """Return the prompt's place in the bank, laying it there if it is new."""
        place = self._places.get(prompt.text)
        if place is None:
            if len(self._places) < BANK:
                place = len(self._places)
            else:
                wanted = {p.text for row in rows for p, _ in row}
                gone = next(text for text in self._places if text not in wanted)
                place = self._places.pop(gone)
            self._places[prompt.text] = place
            self.bank[place].copy_(prompt.tokens)
            if self.pooled is not None and prompt.pooled is not None:
                self.pooled[place, 0].copy_(prompt.pooled)
        return place

    def _lay_inputs(self, canvas: Canvas, inputs: Inputs) -> None:
        numbers = canvas.host_controls.numpy()
        numbers[:] = 0.0
        schedule = inputs.schedule.numbers()
        given = {**NEUTRAL, **inputs.controls, "schedule": schedule, "guidance": (inputs.guidance,)}
        if inputs.image is None:
            given["last"] = (1.0,)
        for name, values in given.items():
            numbers[PLACE[name]][: len(values)] = values
        canvas.controls.copy_(canvas.host_controls, non_blocking=self._cuda)
        for new, old, buffer in zip(inputs.noise, canvas.noises, (canvas.noise_a, canvas.noise_b), strict=True):
            if new is not old:
                buffer.copy_(torch.from_numpy(new))
        canvas.noises = inputs.noise
        if isinstance(inputs.image, Tensor):
            canvas.image.copy_(inputs.image)
        elif inputs.image is not None:
            canvas.host_image[0].numpy()[:] = inputs.image
            canvas.image.copy_(canvas.host_image, non_blocking=self._cuda)
        if inputs.eps is not None:
            canvas.eps.copy_(torch.from_numpy(inputs.eps))

    # -- what is captured ----------------------------------------------------------------------------------

    def _frame_of(self, canvas: Canvas, from_picture: bool, steps: int) -> Callable[[], None]:
        def frame() -> None:
            unet, encode, decode = self._fused if canvas.fused else (self._unet, self._encode, self._decode)
            noise = _noise(canvas)
            base = encode(_start(canvas), canvas.eps) if from_picture else canvas.latent
            latent = self._denoise(canvas, unet, base, noise, steps)
            picture = decode(latent.contiguous(memory_format=torch.channels_last))  # one layout: compiled once
            _keep(canvas, latent, _held(canvas, picture) if from_picture else picture)
            _show(canvas, self._classify)

        return frame

    def _denoise(self, canvas: Canvas, unet: Callable[..., Tensor], base: Tensor, noise: Tensor, steps: int) -> Tensor:
        """Return the latent after ``steps`` calls of the UNet; see ``sampler`` for the arithmetic."""
        c, decks, conditions = canvas.controls, canvas.shape.decks, canvas.conditions
        x = c[0] * base + c[1] * noise[0]
        x = x.expand(decks, -1, -1, -1)
        for i in range(steps):
            scale, keep, use, again = c[2 + 4 * i : 6 + 4 * i].unbind()
            given = (x * scale).to(self.parts.dtype).contiguous(memory_format=torch.channels_last)
            if self.parts.guidance == "negative":
                given = torch.cat([given, given])
            out = unet(given, conditions.times[i], conditions.keys_values, conditions.lora).float()
            if self.parts.guidance == "negative":
                wanted, unwanted = out.chunk(2)
                out = unwanted + c[PLACE["guidance"]] * (wanted - unwanted)
            x = keep * x + use * out + again * noise[i + 1]
        return x

    def _program(self, canvas: Canvas, from_picture: bool, steps: int) -> Program:
        key = from_picture, steps
        if key not in canvas.programs:
            canvas.programs[key] = Program(self._frame_of(canvas, from_picture, steps))
        return canvas.programs[key]

    def _fetch(self, canvas: Canvas) -> Result:
        canvas.turn = 1 - canvas.turn
        host = canvas.host[canvas.turn]
        host.copy_(canvas.rgba, non_blocking=self._cuda)
        canvas.host_report.copy_(canvas.report, non_blocking=self._cuda)
        if self._cuda:
            torch.cuda.current_stream().synchronize()
        finite, brightness, jump, unsafe = canvas.host_report.tolist()
        return Result(host.numpy(), finite > 0.5, brightness, jump, unsafe)


# -- the frame, step by step: every function reads and fills buffers of the canvas -----------------------------


def _noise(canvas: Canvas) -> Tensor:
    """Return the frame's noises ``(5, 1, 4, h, w)``: between two seeds, and leaning where the music pulls."""
    c = canvas.controls
    (a, b), latent_offset = c[PLACE["noise"]].unbind(), c[PLACE["latent_offset"]]
    noise = a * canvas.noise_a + b * canvas.noise_b
    pulled = (canvas.directions * latent_offset[:DIRECTIONS, None, None, None]).sum(0)
    return torch.cat([((noise[0] + pulled) * latent_offset[DIRECTIONS])[None], noise[1:]])


def _start(canvas: Canvas) -> Tensor:
    """Return the picture to start from, -1..1: the one that came in, the last one as it flew on, or both."""
    c, shape = canvas.controls, canvas.shape
    came = canvas.image[..., :3].permute(0, 3, 1, 2).float() / 127.5 - 1.0
    matrix = c[PLACE["warp"]].reshape(1, 2, 3).expand(shape.decks, 2, 3)
    grid = F.affine_grid(matrix, [shape.decks, 3, shape.height, shape.width], align_corners=False)
    last = canvas.last.float()
    # Bicubic, because bilinear blurs a little more with each frame; Metal has only the latter.
    mode = "bilinear" if last.device.type == "mps" else "bicubic"
    flown = F.grid_sample(last, grid, mode=mode, padding_mode="reflection", align_corners=False)
    mean, spread = flown.mean((2, 3), keepdim=True), flown.std((2, 3), keepdim=True) + 1e-4
    want_mean, want_spread = canvas.anchor[:, 0, :, None, None], canvas.anchor[:, 1, :, None, None]
    matched = (flown - mean) / spread * want_spread + want_mean
    flown = torch.lerp(flown, matched, c[PLACE["match"]])
    return torch.lerp(came, flown, c[PLACE["last"]]).clamp(-1.0, 1.0)


def _held(canvas: Canvas, picture: Tensor) -> Tensor:
    """Return a picture whose colours are brought to the anchor's, as far as ``hold`` says; at 0 it is as it was."""
    hold = canvas.controls[PLACE["hold"]]
    spread, mean = torch.std_mean(picture.float(), (2, 3))
    want_mean, want_spread = canvas.anchor[:, 0], canvas.anchor[:, 1]
    wider = want_spread / (spread + 1e-4)
    gain, shift = 1.0 + hold * (wider - 1.0), hold * (want_mean - mean * wider)
    return picture * gain[..., None, None].to(picture.dtype) + shift[..., None, None].to(picture.dtype)


def _keep(canvas: Canvas, latent: Tensor, picture: Tensor) -> None:
    """Keep what the next frame may start from; a number that is none goes no further than this frame."""
    spread, mean = torch.std_mean(picture.float(), (2, 3))
    finite = torch.isfinite(mean).all() & torch.isfinite(latent.sum())
    torch.where(finite, latent, canvas.nothing, out=canvas.latent)
    torch.where(finite, picture, canvas.nothing.to(picture.dtype), out=canvas.last)
    torch.add(canvas.half, canvas.last, alpha=0.5, out=canvas.decoded).clamp_(0.0, 1.0)
    colours = torch.where(finite, torch.stack([mean, spread], 1), canvas.anchor)
    canvas.anchor.copy_(torch.lerp(canvas.anchor, colours, canvas.controls[PLACE["anchor"]]))
    canvas.report[0].copy_(finite)
    canvas.report[1].copy_(canvas.decoded.mean())


def _show(canvas: Canvas, classify: Callable[[Tensor], Tensor] | None) -> None:
    """Grade and crossfade the decoded decks and write them as RGBA8 at the picture's size."""
    c, shape = canvas.controls, canvas.shape
    picture = graded(canvas.decoded, c[PLACE["grade"]], canvas.luma)
    if shape.decks == 2:
        fader = c[PLACE["fader"]]
        picture = torch.cat([torch.lerp(picture[:1], picture[1:], fader), torch.lerp(picture[1:], picture[:1], fader)])
    if (shape.out_width, shape.out_height) != (shape.width, shape.height):
        picture = covering(picture, shape.out_width, shape.out_height).clamp_(0.0, 1.0)
    if classify is not None:
        canvas.report[3].copy_(classify(picture[:1]))
    pixels = (picture * 255.0).round_().to(torch.uint8).permute(0, 2, 3, 1)
    coarse = (slice(0, 1), slice(None, None, 2), slice(None, None, 2))  # every other pixel tells as much of a jump
    change = pixels[coarse].float() - canvas.rgba[(*coarse, slice(0, 3))].float()
    canvas.report[2].copy_(change.abs_().mean() / 255.0)
    canvas.rgba[..., :3].copy_(pixels)


def _carry_over(old: Canvas, new: Canvas) -> None:
    """Bring what the next frame may start from to another canvas, so that a change of size is no cut."""
    decks = range(new.shape.decks)
    sources = [min(i, old.shape.decks - 1) for i in decks]
    size = new.last.shape[-2:]
    new.last.copy_(F.interpolate(old.last[sources].float(), size=size, mode="bilinear", align_corners=False))
    new.latent.copy_(F.interpolate(old.latent[sources], size=new.latent.shape[-2:], mode="nearest"))
    new.anchor.copy_(old.anchor[sources])
    if old.rgba.shape[1:] == new.rgba.shape[1:]:
        new.rgba[:1].copy_(old.rgba[:1])  # the program, which the jumpiness is measured against


@contextmanager
def _keeping(canvas: Canvas) -> Iterator[None]:
    """Leave the buffers that carry one frame into the next as they were."""
    carried = (canvas.latent, canvas.last, canvas.anchor, canvas.rgba)
    before = [buffer.clone() for buffer in carried]
    yield
    for buffer, old in zip(carried, before, strict=True):
        buffer.copy_(old)
