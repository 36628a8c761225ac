"""What a frame begins from and leaves: noise, the last picture, flown through, held in its colours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

from vjserver.generators.captured import covering, graded
from vjserver.generators.diffusion.canvas import PLACE, Canvas
from vjserver.generators.diffusion.info import N_DIRECTIONS as DIRECTIONS

# -- the frame, step by step: every function reads and fills buffers of the canvas -----------------------------


def noise_of(canvas: Canvas) -> Tensor:
    """Return the frame's noises ``(5, 1, 4, h, w)``: between two seeds, and leaning where the music pulls."""
    c = canvas.controls
    (a, b), latent_offset = c[PLACE["noise"]].unbind(), c[PLACE["latent_offset"]]
    noise = a * canvas.noise_a + b * canvas.noise_b
    pulled = (canvas.directions * latent_offset[:DIRECTIONS, None, None, None]).sum(0)
    return torch.cat([((noise[0] + pulled) * latent_offset[DIRECTIONS])[None], noise[1:]])


def start(canvas: Canvas) -> Tensor:
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


def held(canvas: Canvas, picture: Tensor) -> Tensor:
    """Return a picture whose colours are brought to the anchor's, as far as ``hold`` says; at 0 it is as it was."""
    hold = canvas.controls[PLACE["hold"]]
    spread, mean = torch.std_mean(picture.float(), (2, 3))
    want_mean, want_spread = canvas.anchor[:, 0], canvas.anchor[:, 1]
    wider = want_spread / (spread + 1e-4)
    gain, shift = 1.0 + hold * (wider - 1.0), hold * (want_mean - mean * wider)
    return picture * gain[..., None, None].to(picture.dtype) + shift[..., None, None].to(picture.dtype)


def keep(canvas: Canvas, latent: Tensor, picture: Tensor) -> None:
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


def show(canvas: Canvas, classify: Callable[[Tensor], Tensor] | None) -> None:
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


def carry_over(old: Canvas, new: Canvas) -> None:
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
def keeping(canvas: Canvas) -> Iterator[None]:
    """Leave the buffers that carry one frame into the next as they were."""
    carried = (canvas.latent, canvas.last, canvas.anchor, canvas.rgba)
    before = [buffer.clone() for buffer in carried]
    yield
    for buffer, old in zip(carried, before, strict=True):
        buffer.copy_(old)
