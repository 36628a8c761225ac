"""StyleGAN2's generator (also of StyleGAN2-ADA): styles go in, a picture comes out, in the form that is quick.

A convolution whose weights are modulated by a style is the plain one of a modulated input, demodulated behind it; so
one set of weights serves every picture. Weights are kept at length 1 for each output, and styles at most at 1, which
demodulation makes up for: nothing overflows in half precision.
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
    leaky,
    widened,
    widened_noise,
)

CLAMP = 256.0 * math.sqrt(2.0)
"""Beyond this activations are cut off: only half precision ever comes near it."""
FIR = (1.0, 3.0, 3.0, 1.0)


def fir(channels: int) -> Tensor:
    """Return the low-pass of up-sampling for each channel, ``(channels, 1, 4, 4)``, of sum 4: three in four are new."""
    taps = torch.tensor(FIR) / sum(FIR)
    return (4.0 * torch.outer(taps, taps)).expand(channels, 1, 4, 4).contiguous()


class Conv(nn.Module):
    """A 3x3 convolution that a style modulates; ``up`` doubles the size before."""

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
        self.register_buffer("bias", tensors[f"{name}.bias"].float()[:, None, None])
        self.register_buffer("noise", tensors[f"{name}.noise_const"].float())
        self.register_buffer("strength", tensors[f"{name}.noise_strength"].float().reshape(()))
        self.register_buffer("fir", fir(len(weight)) if up else torch.zeros(0))
        self.affine = Dense(tensors, f"{name}.affine")

    def forward(self, x: Tensor, w: Tensor, noise: Tensor, grid: Grid) -> Tensor:
        style = self.affine(w)
        style = style / (style.abs().amax() + 1e-12)
        again = torch.rsqrt(F.linear(style.square(), self.power) + EPS)
        x = x * style.to(x.dtype)[:, None, None]
        if self.up:
            x = F.conv_transpose2d(x, self.weight, stride=2)
            x = F.conv2d(x, self.fir, padding=1, groups=x.shape[1])
        else:
            x = F.conv2d(x, self.weight, padding=1)
        x = x * again.to(x.dtype)[:, None, None]
        x = x + (widened_noise(self.noise, grid) * (self.strength * noise)).to(x.dtype) + self.bias
        return leaky(x).clamp(-CLAMP, CLAMP)


class ToRGB(nn.Module):
    """Colours of features, by a style."""

    weight: Tensor
    bias: Tensor
    fir: Tensor

    def __init__(self, tensors: Tensors, name: str) -> None:
        super().__init__()
        weight = tensors[f"{name}.weight"].float()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", tensors[f"{name}.bias"].float()[:, None, None])
        self.register_buffer("fir", fir(len(weight)))
        self.affine = Dense(tensors, f"{name}.affine")
        self.gain = 1.0 / math.sqrt(weight.shape[1])

    def forward(self, x: Tensor, w: Tensor, before: Tensor | None) -> Tensor:
        style = self.affine(w) * self.gain
        colours = F.conv2d(x * style.to(x.dtype)[:, None, None], self.weight) + self.bias
        colours = colours.float().clamp(-CLAMP, CLAMP)
        if before is None:
            return colours
        return colours + F.conv_transpose2d(before, self.fir.float(), stride=2, padding=1, groups=len(self.fir))


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
