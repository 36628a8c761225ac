"""What the GANs' networks are built of, and what the engine asks of a network.

Written from the papers: T. Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (arXiv 1912.04958),
"Training Generative Adversarial Networks with Limited Data" (2006.06676), "Alias-Free Generative Adversarial Networks"
(2106.12423); A. Brock et al., "Large Scale GAN Training" (1809.11096).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-8
LAST = -1
Tensors = Mapping[str, Tensor]
Bend = Callable[[int, Tensor], Tensor]
"""Is given a layer's place and its features, and returns them, moved."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How many rows and columns a network begins with, where a square one has ``4 x 4``: other shapes are wider."""

    rows: int = 4
    columns: int = 4

    @classmethod
    def of(cls, width: int, height: int) -> "Grid":
        """Return the grid whose shape is nearest to that of a picture; no side is more than three times the other."""
        if width >= height:
            return cls(4, min(12, max(4, round(4 * width / height))))
        return cls(min(12, max(4, round(4 * height / width))), 4)


@dataclass(slots=True)
class Drive:
    """Everything that moves one picture, as tensors on the device; ``L`` layers take a style.

    ``z`` float32 ``(2, z)`` are the latent, and one whose style is mixed in; ``label`` float32 ``(classes,)`` weighs
    classes; ``psi`` and ``mix`` float32 ``(L,)`` say how far each layer is truncated (1 leaves it), and how much of the
    second style it takes. ``noise`` ``()`` scales noise; ``truncation`` ``()`` is BigGAN's; ``transform`` float32
    ``(3, 3)`` moves what StyleGAN3 begins with.
    """

    z: Tensor
    label: Tensor
    psi: Tensor
    mix: Tensor
    noise: Tensor
    truncation: Tensor
    transform: Tensor


class Network(Protocol):
    """A generator network. Calling it returns a picture, ``(1, 3, height, width)``, -1..1."""

    kind: str
    z_dim: int
    styles: int
    classes: int
    resolution: int
    places: int
    """So many layers can be bent."""

    def __call__(self, drive: Drive, grid: Grid, bend: Bend | None = None) -> Tensor:
        """Draw."""

    def size(self, grid: Grid) -> tuple[int, int]:
        """Return width and height of its pictures."""


def normalised(x: Tensor) -> Tensor:
    """Return rows of length sqrt(n), as all that goes into a mapping has."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)


def leaky(x: Tensor) -> Tensor:
    """Return the activation of all StyleGANs, which keeps the spread of what it is given."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2.0)


class Dense(nn.Module):
    """A fully connected layer whose learning rate was equalised: the weights are stored for a rate of ``rate``."""

    weight: Tensor
    bias: Tensor

    def __init__(self, tensors: Tensors, name: str, rate: float = 1.0) -> None:
        super().__init__()
        weight = tensors[f"{name}.weight"].float()
        self.register_buffer("weight", weight * (rate / math.sqrt(weight.shape[1])))
        self.register_buffer("bias", tensors[f"{name}.bias"].float() * rate)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Mapping_(nn.Module):  # noqa: N801 - the field's word, which Python has too
    """The mapping network: latents and a label go in, styles in W come out, and what they are truncated to."""

    w_avg: Tensor

    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        count = sum(name.startswith("mapping.fc") and name.endswith(".weight") for name in tensors)
        self.layers = nn.ModuleList(Dense(tensors, f"mapping.fc{i}", 0.01) for i in range(count))
        self.embed = Dense(tensors, "mapping.embed") if "mapping.embed.weight" in tensors else None
        self.classes = self.embed.weight.shape[1] if self.embed is not None else 0
        width = self.embed.weight.shape[0] if self.embed is not None else 0
        self.z_dim = tensors["mapping.fc0.weight"].shape[1] - width
        self.register_buffer("w_avg", tensors["mapping.w_avg"].float())

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Return ``(rows, w)`` of ``z`` ``(rows, z)`` and ``label`` ``(classes,)``."""
        x = normalised(z)
        if self.embed is not None:
            y = normalised(self.embed(label[None])).expand(len(x), -1)
            x = torch.cat([x, y], 1) if self.z_dim else y
        for layer in self.layers:
            x = leaky(layer(x))
        return x

    def styles(self, drive: Drive) -> Tensor:
        """Return the style of each layer, ``(L, w)``: mixed, then truncated."""
        main, other = self(drive.z, drive.label).unbind()
        w = torch.lerp(main, other, drive.mix[:, None])
        return torch.lerp(self.w_avg, w, drive.psi[:, None])


def widened(x: Tensor, grid: Grid) -> Tensor:
    """Return what a square network begins with, ``(..., 4, 4)``, over a larger grid, mirrored beyond its sides."""
    return _spread(_spread(x, -2, grid.rows, 4, False), -1, grid.columns, 4, False)


def widened_noise(x: Tensor, grid: Grid) -> Tensor:
    """Return a square layer's noise ``(s, s)`` over a larger grid."""
    side = x.shape[-1]
    return _spread(_spread(x, -2, side * grid.rows // 4, side, True), -1, side * grid.columns // 4, side, True)


def _spread(x: Tensor, axis: int, count: int, size: int, twice: bool) -> Tensor:
    return x if count == size else x.index_select(axis, _places(count, size, twice, x.device))


@cache
def _places(count: int, size: int, twice: bool, device: torch.device) -> Tensor:
    """Return :func:`mirror` on a device: made once, since a captured frame can bring nothing there."""
    return torch.tensor(mirror(count, size, twice), device=device)


def mirror(count: int, size: int, twice: bool = False) -> list[int]:
    """Return which of ``size`` stands at each of ``count`` places, those in the middle being themselves.

    Beyond the ends the way goes back; ``twice`` says whether the ends are passed twice there.
    """
    turn = max(1, 2 * size if twice else 2 * size - 2)
    first = -((count - size) // 2)
    rows = [(first + i) % turn for i in range(count)]
    return [i if i < size else turn - i - int(twice) for i in rows]
