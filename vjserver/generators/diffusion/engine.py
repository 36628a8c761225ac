"""The engine: everything that is live is a number or a buffer that one captured frame reads.

    encode (or the last latent) -> noise -> UNet, one to four times -> decode -> grade, crossfade -> RGBA8

A :class:`Canvas` holds the static buffers of one size, number of decks and steps; its frame is captured once as a CUDA
graph and replayed. Nothing is allocated in it and nobody waits, until the finished picture lies in pinned memory. What
stays while prompts, timesteps, guidance and LoRA weights stay (:class:`Conditions`) is computed apart, when it changes.

Without CUDA the same functions run as they are, on the CPU and on MPS.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vjserver.generators.captured import Captured, Program
from vjserver.generators.diffusion.canvas import (
    BANK,
    NEUTRAL,
    NOISES,
    PLACE,
    Canvas,
    Float32,
    Inputs,
    Result,
    Shape,
    Weighted,
)
from vjserver.generators.diffusion.layout import carry_over, held, keep, keeping, noise_of, show, start
from vjserver.generators.diffusion.model import Parts
from vjserver.generators.diffusion.sampler import MAX_STEPS
from vjserver.generators.diffusion.text import Encoded


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
            with keeping(canvas):
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
        fused = shape in self.fused_shapes
        canvas: Canvas = self._canvas_of(shape, lambda: Canvas(self.parts, self.bank, self.pooled, shape, fused))
        if self._newest is not None and self._newest is not canvas:
            carry_over(self._newest, canvas)
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
            noise = noise_of(canvas)
            base = encode(start(canvas), canvas.eps) if from_picture else canvas.latent
            latent = self._denoise(canvas, unet, base, noise, steps)
            picture = decode(latent.contiguous(memory_format=torch.channels_last))  # one layout: compiled once
            keep(canvas, latent, held(canvas, picture) if from_picture else picture)
            show(canvas, self._classify)

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
