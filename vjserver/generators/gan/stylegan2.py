"""StyleGAN2's generator (also of StyleGAN2-ADA): styles go in, a picture comes out, in the form that is quick.

A convolution whose weights are modulated by a style is the plain one of a modulated input, demodulated behind it:
whichever of the two has fewer numbers is modulated. Weights are kept at length 1 for each output, and styles at most at
1, which demodulation makes up for: nothing overflows in half precision.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjserver.generators.gan.layers import (
    EPS,
    Bend,
    Dense,
    Drive,
    Grid,
    Mapping_,
    Tensors,
    widened,
    widened_noise,
)

CLAMP = 256.0 * math.sqrt(2.0)
"""Beyond this activations are cut off: only half precision ever comes near it."""
FIR = (1.0, 3.0, 3.0, 1.0)
SQRT2 = math.sqrt(2.0)


def fir(channels: int) -> Tensor:
    """Return the low-pass of up-sampling for each channel, ``(channels, 1, 4, 4)``, of sum 4: three in four are new."""
    taps = torch.tensor(FIR) / sum(FIR)
    return (4.0 * torch.outer(taps, taps)).expand(channels, 1, 4, 4).contiguous()


def phases(weight: Tensor, taps: Tensor) -> Tensor:
    """Return a 3x3 convolution whose results, shuffled, are what an up-sampling one gives behind its low-pass.

    ``weight`` ``(in, out, 3, 3)`` spreads its input on a grid of twice the size, ``taps`` ``(4, 4)`` smooth that. Both
    together have 6x6 weights, of which each of the four new samples of a place sees a quarter: ``(4 out, in, 3, 3)``.
    """
    into, out = weight.shape[:2]
    whole = F.conv2d(weight.reshape(-1, 1, 3, 3), taps[None, None], padding=3).reshape(into, out, 6, 6)
    rows = [whole[:, :, [4 + a, 2 + a, a]][:, :, :, [4 + b, 2 + b, b]] for a in (0, 1) for b in (0, 1)]
    return torch.stack(rows, 2).permute(1, 2, 0, 3, 4).reshape(4 * out, into, 3, 3)


class Conv(nn.Module):
    """A 3x3 convolution that a style modulates; ``up`` doubles the size before.

    On a GPU one that doubles is :func:`phases`: four times the products, of which it has plenty, and half the memory's
    traffic.
    """

    weight: Tensor
    power: Tensor
    bias: Tensor
    noise: Tensor
    strength: Tensor
    fir: Tensor

    def __init__(self, tensors: Tensors, name: str, up: bool) -> None:
        super().__init__()
        weight = tensors[f"{name}.weight"].float()
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True).sqrt() + 1e-12)
        self.up = up
        self.register_buffer("power", weight.square().sum((2, 3)))
        self.register_buffer("weight", weight.transpose(0, 1).contiguous() if up else weight)
        self.register_buffer("bias", SQRT2 * tensors[f"{name}.bias"].float()[:, None, None])
        self.register_buffer("noise", tensors[f"{name}.noise_const"].float())
        self.register_buffer("strength", tensors[f"{name}.noise_strength"].float().reshape(()))
        self.register_buffer("fir", fir(len(weight)) if up else torch.zeros(0))
        self.affine = Dense(tensors, f"{name}.affine")
        self.folds = False

    def fold(self) -> None:
        """Double by :func:`phases` from now on."""
        if self.up and not self.folds:
            self.weight = phases(self.weight.float(), self.fir[0, 0].float()).to(self.weight.dtype)
            self.folds = True

    def forward(self, x: Tensor, w: Tensor, noise: Tensor, grid: Grid) -> Tensor:
        style = self.affine(w)
        style = style / (style.abs().amax() + 1e-12)
        again = SQRT2 * torch.rsqrt(F.linear(style.square(), self.power) + EPS)
        weight, spreads = self.weight, self.up and not self.folds
        if x.numel() > weight.numel():  # whichever has fewer numbers is modulated
            out = again.repeat_interleave(4) if self.folds else again
            scale = torch.outer(style, out) if spreads else torch.outer(out, style)
            x = self._spread(x, weight * scale.to(x.dtype)[:, :, None, None])
        else:
            x = self._spread(x * style.to(x.dtype)[:, None, None], weight) * again.to(x.dtype)[:, None, None]
        x = x + (widened_noise(self.noise, grid) * (self.strength * noise * SQRT2)).to(x.dtype) + self.bias
        return F.leaky_relu(x, 0.2).clamp(-CLAMP, CLAMP)

    def _spread(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.folds:
            return F.pixel_shuffle(F.conv2d(x, weight, padding=1), 2)
        if self.up:
            x = F.conv_transpose2d(x, weight, stride=2)
            return F.conv2d(x, self.fir, padding=1, groups=x.shape[1])
        return F.conv2d(x, weight, padding=1)


class ToRGB(nn.Module):
    """Colours of features, by a style."""

    weight: Tensor
    bias: Tensor

    def __init__(self, tensors: Tensors, name: str) -> None:
        super().__init__()
        weight = tensors[f"{name}.weight"].float()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", tensors[f"{name}.bias"].float()[:, None, None])
        self.affine = Dense(tensors, f"{name}.affine")
        self.gain = 1.0 / math.sqrt(weight.shape[1])

    def forward(self, x: Tensor, w: Tensor, before: Tensor | None) -> Tensor:
        style = self.affine(w) * self.gain
        colours = F.conv2d(x * style.to(x.dtype)[:, None, None], self.weight) + self.bias
        colours = colours.float().clamp(-CLAMP, CLAMP)
        if before is None:
            return colours
        return colours + doubled(before)


def doubled(x: Tensor) -> Tensor:
    """Return a picture at twice the size, behind the low-pass [1, 3, 3, 1]; beyond its sides is nothing."""
    return F.interpolate(F.pad(x, (1, 1, 1, 1)), scale_factor=2.0, mode="bilinear", align_corners=False)[
        ..., 2:-2, 2:-2
    ]


class StyleGAN2(nn.Module):
    """The generator of one model; ``tensors`` are laid out as its authors' PyTorch version names them."""

    const: Tensor
    kind = "StyleGAN2"

    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        self.mapping = Mapping_(tensors)
        self.register_buffer("const", tensors["synthesis.b4.const"].float())
        sizes = sorted(int(name.split(".")[1][1:]) for name in tensors if name.endswith(".torgb.weight"))
        self.resolution = sizes[-1]
        self.convs, self.colours = nn.ModuleList(), nn.ModuleList()
        for size in sizes:
            block = f"synthesis.b{size}"
            if size > 4:
                self.convs.append(Conv(tensors, f"{block}.conv0", up=True))
            self.convs.append(Conv(tensors, f"{block}.conv1", up=False))
            self.colours.append(ToRGB(tensors, f"{block}.torgb"))
        self.z_dim, self.classes = self.mapping.z_dim, self.mapping.classes
        self.styles = len(self.convs) + 1
        self.places = len(sizes)

    def fold(self) -> None:
        """Get ready for a GPU."""
        for conv in self.convs:
            assert isinstance(conv, Conv)
            conv.fold()

    def size(self, grid: Grid) -> tuple[int, int]:
        """Return width and height of its pictures."""
        return self.resolution * grid.columns // 4, self.resolution * grid.rows // 4

    def forward(self, drive: Drive, grid: Grid, bend: Bend | None = None) -> Tensor:
        """Draw. Layer ``i`` takes style ``i``; the colours of a block take the one behind it."""
        styles = self.mapping.styles(drive)
        first = self.convs[0]
        assert isinstance(first, Conv)
        x = widened(self.const, grid)[None].to(first.weight.dtype)
        picture: Tensor | None = None
        place = 0
        for block, colours in enumerate(self.colours):
            for _ in range(1 if block == 0 else 2):
                x = self.convs[place](x, styles[place], drive.noise, grid)
                place += 1
            if bend is not None:
                x = bend(block, x)
            picture = colours(x, styles[place], picture)
        assert picture is not None
        return picture
