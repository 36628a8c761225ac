"""The painter: a grid of numbers goes in, and comes out a stroke closer to its prompts.

VQGAN makes a picture of the grid; CLIP looks at pieces of it and tells how far they are from the prompts; Adam moves
the grid. After K. Crowson et al., "VQGAN-CLIP", arXiv 2204.08583. A canvas is never changed: a stroke
returns a new one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vjserver.generators.captured import bent, choose_device, is_out_of_memory
from vjserver.generators.layout import read_json
from vjserver.types.errors import GeneratorError, OutOfMemoryError

Rgb = NDArray[np.uint8]
Target = tuple[Tensor, float]
"""What is painted towards, as CLIP knows it, and its weight: below 0 it is fled."""
BETAS, EPSILON = (0.9, 0.999), 1e-8
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
GRAIN = 0.1  # noise in the pieces that CLIP looks at: it is not to be fooled by single pixels
MOST_TEXTS = 512


@dataclass(frozen=True, slots=True)
class Canvas:
    """A picture in the making: the grid ``z`` (1, channels, rows, columns), Adam's two means, strokes, its seed."""

    z: Tensor
    mean: Tensor
    square: Tensor
    strokes: int
    seed: int


class Painter:
    """Paints with one VQGAN and one CLIP. Every call belongs to one thread at a time."""

    def __init__(self, vqgan: Any, clip: Any, tokenizer: Any, device: torch.device) -> None:
        self.device = device
        self._vqgan, self._clip, self._tokenizer = vqgan, clip, tokenizer
        for model in (vqgan, clip):
            model.eval().requires_grad_(False).to(device)
        codes = vqgan.quantize.embedding.weight
        self._codes = codes
        self._low, self._high = (codes.amin(0)[:, None, None], codes.amax(0)[:, None, None])
        self.multiple = 2 ** (len(vqgan.config.block_out_channels) - 1)
        self._looks = int(clip.config.vision_config.image_size)
        self._mean, self._std = (torch.tensor(row, device=device)[:, None, None] for row in (CLIP_MEAN, CLIP_STD))
        self._texts: dict[str, Tensor] = {}

    # -- canvases ------------------------------------------------------------------------------------------

    @torch.no_grad()
    def blank(self, seed: int, width: int, height: int) -> Canvas:
        """Return a canvas of patches that ``seed`` draws; the sides are multiples of :attr:`multiple`."""
        chance = torch.Generator().manual_seed(seed)
        rows, columns = height // self.multiple, width // self.multiple
        picked = torch.randint(len(self._codes), (rows, columns), generator=chance).to(self.device)
        return self._fresh(self._codes[picked].permute(2, 0, 1)[None].contiguous(), seed)

    @torch.no_grad()
    def of_picture(self, image: Rgb, seed: int) -> Canvas:
        """Return a canvas that shows a picture, uint8 ``(height, width, 3)``, as closely as the VQGAN can."""
        return self._fresh(self._encode(self._tensor(image)), seed)

    def _fresh(self, z: Tensor, seed: int) -> Canvas:
        return Canvas(z, torch.zeros_like(z), torch.zeros_like(z), 0, seed)

    @torch.no_grad()
    def picture(self, canvas: Canvas) -> Rgb:
        """Return what a canvas shows, uint8 ``(height, width, 3)``."""
        picture = torch.nan_to_num(self._decode(canvas.z)[0]).clamp(0.0, 1.0)
        shown: Rgb = (picture * 255.0).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
        return shown

    @torch.no_grad()
    def flown(self, canvas: Canvas, matrix: NDArray[np.float32]) -> Canvas:
        """Return a canvas whose every point was where ``matrix`` (2, 3) says: see ``generators.camera.warp``."""
        there = torch.from_numpy(matrix).to(self.device)
        z = self._encode(bent(self._decode(canvas.z).clamp(0.0, 1.0), there))
        mean, square = (bent(one, there) for one in (canvas.mean, canvas.square))
        return replace(canvas, z=z, mean=mean, square=square.clamp_min(0.0))

    @torch.no_grad()
    def towards(self, canvas: Canvas, image: Rgb, amount: float) -> Canvas:
        """Return a canvas moved ``amount`` (0..1) of the way to a picture of its size."""
        return replace(canvas, z=torch.lerp(canvas.z, self._encode(self._tensor(image)), amount))

    # -- strokes -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def target(self, text: str) -> Tensor:
        """Return what CLIP makes of a text, ``(d,)``, of length 1. The last ones are remembered."""
        if text not in self._texts:
            if len(self._texts) >= MOST_TEXTS:
                self._texts.clear()
            config = self._clip.config.text_config
            ids = self._tokenizer(text, truncation=True, max_length=config.max_position_embeddings, return_tensors="pt")
            found = self._clip.text_model(input_ids=ids["input_ids"].to(self.device)).pooler_output
            self._texts[text] = F.normalize(self._clip.text_projection(found)[0].float(), dim=-1)
        return self._texts[text]

    def distance(self, canvas: Canvas, targets: Sequence[Target], cutouts: int, smallest: float) -> float:
        """Return how far a canvas is from its targets: the loss of its next stroke."""
        with torch.no_grad():
            return float(self._loss(canvas.z, canvas, targets, cutouts, smallest))

    def stroke(self, canvas: Canvas, targets: Sequence[Target], rate: float, cutouts: int, smallest: float) -> Canvas:
        """Return the canvas after a step of Adam. Raises OutOfMemoryError."""
        if not targets:
            return replace(canvas, strokes=canvas.strokes + 1)
        try:
            with torch.enable_grad():
                z = canvas.z.detach().requires_grad_(True)
                loss = self._loss(z, canvas, targets, cutouts, smallest)
                (slope,) = torch.autograd.grad(loss, z)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise OutOfMemoryError(f"GPU memory ran out: {str(error).splitlines()[0]}; fewer cutouts") from None
            raise
        with torch.no_grad():
            slope = torch.nan_to_num(slope)
            strokes = canvas.strokes + 1
            mean = torch.lerp(slope, canvas.mean, BETAS[0])
            square = torch.lerp(slope.square(), canvas.square, BETAS[1])
            way = (mean / (1 - BETAS[0] ** strokes)) / ((square / (1 - BETAS[1] ** strokes)).sqrt() + EPSILON)
            moved = torch.minimum(torch.maximum(canvas.z - rate * way, self._low), self._high)
            return Canvas(moved, mean, square, strokes, canvas.seed)

    def _loss(self, z: Tensor, canvas: Canvas, targets: Sequence[Target], cutouts: int, smallest: float) -> Tensor:
        chance = torch.Generator().manual_seed((canvas.seed * 1_000_003 + canvas.strokes) & 0x7FFFFFFF)
        pieces = (self._pieces(self._decode(z), cutouts, smallest, chance) - self._mean) / self._std
        seen = self._clip.visual_projection(self._clip.vision_model(pixel_values=pieces).pooler_output)
        seen = F.normalize(seen.float(), dim=-1)
        total = z.new_zeros(())
        for target, weight in targets:
            half = ((seen - target).norm(dim=-1) / 2.0).clamp(max=1.0 - 1e-6)
            total = total + weight * (2.0 * half.asin().square()).mean()
        return total

    def _pieces(self, picture: Tensor, count: int, smallest: float, chance: torch.Generator) -> Tensor:
        """Return square pieces of a picture, of all sizes, some mirrored, with grain: ``(count, 3, side, side)``."""
        height, width = picture.shape[-2:]
        most = min(height, width)
        rows = []
        draws = torch.rand(count, 4, generator=chance).tolist()
        for share, right, down, mirrored in draws:
            side = max(1, round(most * (smallest + (1.0 - smallest) * share)))
            left, top = int(right * (width - side + 1)), int(down * (height - side + 1))
            cut = picture[..., top : top + side, left : left + side]
            cut = F.adaptive_avg_pool2d(cut, self._looks) if side >= self._looks else F.interpolate(
                cut, size=(self._looks, self._looks), mode="bilinear", align_corners=False
            )  # fmt: skip
            rows.append(cut.flip(-1) if mirrored < 0.5 else cut)
        pieces = torch.cat(rows)
        grain = torch.randn(pieces.shape, generator=chance).to(pieces.device)
        amount = torch.rand(count, 1, 1, 1, generator=chance).to(pieces.device) * GRAIN
        return pieces + amount * grain

    # -- between grid and picture ----------------------------------------------------------------------------

    def _decode(self, z: Tensor) -> Tensor:
        """Return the picture of a grid, 0..1 and a little beyond; slopes pass its nearest patches as if not there."""
        made: Tensor = self._vqgan.decode(z).sample
        return made * 0.5 + 0.5

    def _encode(self, picture: Tensor) -> Tensor:
        made: Tensor = self._vqgan.encode(picture * 2.0 - 1.0).latents
        return made

    def _tensor(self, image: Rgb) -> Tensor:
        return torch.from_numpy(image).to(self.device).permute(2, 0, 1)[None].float() / 255.0


def load(vqgan: Path, clip: Path, device: str) -> Painter:
    """Return a painter out of two folders. Raises GeneratorError."""
    try:
        import diffusers
        from transformers import AutoTokenizer, CLIPModel
    except ImportError as error:
        raise GeneratorError(f"painting needs diffusers: pip install 'vjserver[diffusion]' ({error})") from None
    for folder in (vqgan, clip):
        if not any(folder.glob("*.safetensors")):
            raise GeneratorError(f"{folder} has no .safetensors file")
    if "vision_config" not in read_json(clip / "config.json"):
        raise GeneratorError(f"{clip} is the text half of a CLIP: the whole one is needed, with its eyes")
    where = choose_device(device)
    library: Any = diffusers
    given: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
    try:
        model = library.VQModel.from_pretrained(str(vqgan), **given)
        eyes: Any = CLIPModel.from_pretrained(str(clip), **given)
        tokenizer = AutoTokenizer.from_pretrained(str(clip), local_files_only=True)
        return Painter(model.float(), eyes.float(), tokenizer, where)
    except Exception as error:  # whatever those libraries do not like about a foreign folder
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise OutOfMemoryError(f"memory does not hold {vqgan.name} and {clip.name}") from None
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise GeneratorError(f"{vqgan.name} with {clip.name} cannot be loaded: {first}") from error


def size_for(width: int, height: int, multiple: int, area: int) -> tuple[int, int]:
    """Return a size of about ``area`` pixels, shaped like ``width`` x ``height``."""
    scale = math.sqrt(area / (width * height))
    wide, high = (max(2, round(side * scale / multiple)) * multiple for side in (width, height))
    return wide, high
