"""BigGAN-deep's generator: a latent and a class go in, a picture comes out (A. Brock et al., arXiv 1809.11096).

The layout is that of huggingface's pytorch-pretrained-biggan, with spectral normalisation worked into the weights.
Statistics of batch normalisation were kept at 51 truncations, 0 to 1; between them they are blended.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjserver.generators.gan.layers import Bend, Drive, Grid, Tensors, widened

EPS = 1e-4


class Norm(nn.Module):
    """Batch normalisation, as a gain and an offset of each channel, which hang on latent, class and truncation."""

    means: Tensor
    variances: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(self, tensors: Tensors, name: str) -> None:
        super().__init__()
        self.register_buffer("means", tensors[f"{name}.running_means"].float())
        self.register_buffer("variances", tensors[f"{name}.running_vars"].float())
        self.conditional = f"{name}.scale.weight" in tensors
        scale, offset = ("scale.weight", "offset.weight") if self.conditional else ("weight", "bias")
        self.register_buffer("scale", tensors[f"{name}.{scale}"].float())
        self.register_buffer("offset", tensors[f"{name}.{offset}"].float())

    def forward(self, x: Tensor, truncation: Tensor, condition: Tensor) -> Tensor:
        place = truncation * (len(self.means) - 1)
        low = place.floor().clamp(0, len(self.means) - 2)
        rows, share = low.long()[None], place - low
        mean = torch.lerp(self.means[rows], self.means[rows + 1], share)[0]
        variance = torch.lerp(self.variances[rows], self.variances[rows + 1], share)[0]
        if self.conditional:
            scale, offset = 1.0 + F.linear(condition, self.scale), F.linear(condition, self.offset)
        else:
            scale, offset = self.scale, self.offset
        gain = scale * torch.rsqrt(variance + EPS)
        shift = offset - mean * gain
        return F.relu(x * gain.to(x.dtype)[:, None, None] + shift.to(x.dtype)[:, None, None])


class Conv(nn.Module):
    """A plain convolution."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, tensors: Tensors, name: str) -> None:
        super().__init__()
        self.register_buffer("weight", tensors[f"{name}.weight"].float())
        self.register_buffer("bias", tensors[f"{name}.bias"].float() if f"{name}.bias" in tensors else None)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)


class Block(nn.Module):
    """Four convolutions, the middle two at a quarter of the channels; ``up`` doubles the size."""

    def __init__(self, tensors: Tensors, name: str, up: bool) -> None:
        super().__init__()
        self.up = up
        self.norms = nn.ModuleList(Norm(tensors, f"{name}.bn_{i}") for i in range(4))
        self.convs = nn.ModuleList(Conv(tensors, f"{name}.conv_{i}") for i in range(4))

    def forward(self, x: Tensor, truncation: Tensor, condition: Tensor) -> Tensor:
        before = x
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            x = norm(x, truncation, condition)
            x = conv(F.interpolate(x, scale_factor=2, mode="nearest") if i == 1 and self.up else x)
        before = before[:, : x.shape[1]]
        return x + (F.interpolate(before, scale_factor=2, mode="nearest") if self.up else before)


class Attention(nn.Module):
    """Self-attention, whose keys and values are of half the size (H. Zhang et al., "SAGAN", arXiv 1805.08318)."""

    gamma: Tensor

    def __init__(self, tensors: Tensors, name: str) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (
            Conv(tensors, f"{name}.snconv1x1_{part}") for part in ("theta", "phi", "g", "o_conv")
        )
        self.register_buffer("gamma", tensors[f"{name}.gamma"].float())

    def forward(self, x: Tensor, _truncation: Tensor, _condition: Tensor) -> Tensor:
        query = self.query(x).flatten(2).transpose(1, 2)
        key, value = (F.max_pool2d(conv(x), 2).flatten(2) for conv in (self.key, self.value))
        found = F.scaled_dot_product_attention(query, key.transpose(1, 2), value.transpose(1, 2), scale=1.0)
        more: Tensor = self.out(found.transpose(1, 2).reshape(len(x), -1, *x.shape[2:]))
        return x + self.gamma.to(x.dtype) * more


class BigGAN(nn.Module):
    """The generator of one model; ``tensors`` are named as huggingface's, ``_orig`` and its vectors being gone."""

    kind = "BigGAN-deep"
    classes_table: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        self.register_buffer("classes_table", tensors["embeddings.weight"].float())
        self.register_buffer("weight", tensors["generator.gen_z.weight"].float())
        self.register_buffer("bias", tensors["generator.gen_z.bias"].float())
        count = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("generator.layers."))
        self.layers = nn.ModuleList()
        doubled = 0
        for i in range(count):
            name = f"generator.layers.{i}"
            if f"{name}.gamma" in tensors:
                self.layers.append(Attention(tensors, name))
                continue
            blocks = sum(isinstance(layer, Block) for layer in self.layers)
            up = blocks % 2 == 1  # a block that keeps the size, then one that doubles it
            doubled += up
            self.layers.append(Block(tensors, name, up))
        self.norm = Norm(tensors, "generator.bn")
        self.colours = Conv(tensors, "generator.conv_to_rgb")
        self.colours.weight, self.colours.bias = self.colours.weight[:3], _first(self.colours.bias)
        self.resolution = 4 * 2**doubled
        self.classes = self.classes_table.shape[1]
        self.z_dim = self.weight.shape[1] - len(self.classes_table)
        self.styles = self.places = count

    def size(self, grid: Grid) -> tuple[int, int]:
        """Return width and height of its pictures."""
        return self.resolution * grid.columns // 4, self.resolution * grid.rows // 4

    def forward(self, drive: Drive, grid: Grid, bend: Bend | None = None) -> Tensor:
        """Draw. The layers that ``mix`` names take the second latent; all have the same class."""
        label = F.linear(drive.label, self.classes_table)
        main, other = (torch.cat([z, label]) for z in truncated_normal(drive.z) * drive.truncation)
        x = F.linear(main, self.weight, self.bias).reshape(4, 4, -1).permute(2, 0, 1)
        x = widened(x, grid)[None].to(self.colours.weight.dtype)
        for i, layer in enumerate(self.layers):
            x = layer(x, drive.truncation, torch.lerp(main, other, drive.mix[i]))
            if bend is not None:
                x = bend(i, x)
        x = self.norm(x, drive.truncation, main)
        return torch.tanh(self.colours(x).float())


def truncated_normal(z: Tensor) -> Tensor:
    """Return Gaussian numbers as those of a Gaussian that is cut off at two spreads: the order stays."""
    most = math.erf(2.0 / math.sqrt(2.0))
    return math.sqrt(2.0) * torch.erfinv(most * torch.erf(z / math.sqrt(2.0)))


def _first(bias: Tensor | None) -> Tensor | None:
    return bias[:3] if bias is not None else None
