"""StyleGAN3's generator (T and R): styles go in, a picture comes out that moves as a whole, without stuck textures.

Every layer's signal is continuous in principle: it is sampled at a rate that its band allows, on a grid with a margin
of ten samples, and the non-linearity is applied at twice the rate between two low-pass filters, which are stored with
the weights. Sizes of layers follow from their names, rates from their sizes; so a wider picture is a wider grid.
"""

import math
import re
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjserver.generators.gan.layers import EPS, Bend, Dense, Drive, Grid, Mapping_, Tensors

MARGIN = 10
OUTPUT_SCALE = 0.25
FIRST_CUTOFF = 2.0
"""The band of what the network begins with, in periods over a picture's height."""
CLAMP = 256.0
_LAYER = re.compile(r"synthesis\.L(\d+)_(\d+)_(\d+)\.weight")


@dataclass(frozen=True, slots=True)
class Rates:
    """How a layer samples: sizes and rates of what it is given and gives, in samples over a square picture's side."""

    size_in: int
    size_out: int
    rate_in: int
    rate_out: int


def rate_of(size: int, resolution: int) -> int:
    """Return the sampling rate of a layer's grid, which has a margin, but for the last ones."""
    return resolution if size == resolution else size - 2 * MARGIN


def plan(tensors: Tensors) -> list[tuple[str, Rates]]:
    """Return each layer's name and rates, in order."""
    rows = sorted((int(m[1]), int(m[2]), m[0].removesuffix(".weight")) for name in tensors if (m := _LAYER.match(name)))
    resolution = rows[-1][1]
    result, size_in = [], rows[0][1]
    for _, size, name in rows:
        rates = Rates(size_in, size, rate_of(size_in, resolution), rate_of(size, resolution))
        result.append((name, rates))
        size_in = size
    return result


class Input(nn.Module):
    """What the network begins with: waves of fixed frequencies, moved and turned as the style and the hand say."""

    weight: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, tensors: Tensors, size: int, rate: int) -> None:
        super().__init__()
        weight = tensors["synthesis.input.weight"].float()
        self.register_buffer("weight", weight / math.sqrt(weight.shape[1]))
        self.register_buffer("freqs", tensors["synthesis.input.freqs"].float())
        self.register_buffer("phases", tensors["synthesis.input.phases"].float())
        self.affine = Dense(tensors, "synthesis.input.affine")
        self.size, self.rate = size, rate

    def forward(self, w: Tensor, transform: Tensor, width: int, height: int) -> Tensor:
        t = self.affine(w)
        cos, sin, x, y = (t / t[:2].square().sum().sqrt()).unbind()
        one, nil = torch.ones_like(x), torch.zeros_like(x)
        turned = torch.stack([cos, -sin, nil, sin, cos, nil, nil, nil, one]).reshape(3, 3)
        moved = torch.stack([one, nil, -x, nil, one, -y, nil, nil, one]).reshape(3, 3)
        whole = turned @ moved @ transform
        phases = self.phases + self.freqs @ whole[:2, 2]
        freqs = self.freqs @ whole[:2, :2]
        # what the transform brought beyond the band fades away, instead of folding back
        length = freqs.square().sum(1).sqrt()
        amplitudes = (1.0 - (length - FIRST_CUTOFF) / (self.rate / 2.0 - FIRST_CUTOFF)).clamp(0.0, 1.0)
        columns, rows = (_centres(count, self.rate, w) for count in (width, height))
        angles = rows[:, None, None] * freqs[:, 1] + columns[None, :, None] * freqs[:, 0]
        waves = torch.sin((angles + phases) * (2.0 * math.pi)) * amplitudes
        return (waves @ self.weight.t()).permute(2, 0, 1)[None]


def _centres(count: int, rate: int, like: Tensor) -> Tensor:
    """Return where samples lie, 0 being the picture's middle and 1 its height."""
    return (torch.arange(count, device=like.device, dtype=torch.float32) + (0.5 - count / 2.0)) / rate


class Layer(nn.Module):
    """A modulated convolution, and the activation between its two filters; the last one only makes colours."""

    weight: Tensor
    power: Tensor
    bias: Tensor
    up_filter: Tensor
    down_filter: Tensor
    gain: Tensor

    def __init__(self, tensors: Tensors, name: str, rates: Rates, is_last: bool) -> None:
        super().__init__()
        weight = tensors[f"{name}.weight"].float()
        self.kernel = weight.shape[-1]
        self.is_last = is_last
        if not is_last:
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True).sqrt() + 1e-12)
        self.register_buffer("weight", weight)
        self.register_buffer("power", weight.square().sum((2, 3)))
        self.register_buffer("bias", tensors[f"{name}.bias"].float()[:, None, None])
        self.register_buffer("gain", tensors[f"{name}.magnitude_ema"].float().reshape(()).rsqrt())
        self.affine = Dense(tensors, f"{name}.affine")
        self.rates = rates
        between = max(rates.rate_in, rates.rate_out) * (1 if is_last else 2)
        self.up, self.down = between // rates.rate_in, between // rates.rate_out
        taps = (tensors.get(f"{name}.up_filter"), tensors.get(f"{name}.down_filter"))
        up, down = (torch.ones(1) if one is None or is_last else one.float() for one in taps)
        self.register_buffer("up_filter", up * float(self.up**up.ndim))
        self.register_buffer("down_filter", down)
        self._products: dict[tuple[int, ...], tuple[Pairs, Pairs]] = {}

    def forward(self, x: Tensor, w: Tensor, width: int, height: int) -> Tensor:
        """Return what has ``height`` rows and ``width`` columns of what was given."""
        style = self.affine(w)
        if self.is_last:
            scale = (style / math.sqrt(self.weight.shape[1]) * self.gain).to(x.dtype)
            x = F.conv2d(x * scale[:, None, None], self.weight, padding=self.kernel - 1) + self.bias
            return x.float()
        style = style / (style.abs().amax() + 1e-12)
        again = torch.rsqrt(F.linear(style.square(), self.power) + EPS) * self.gain
        x = F.conv2d(x * style.to(x.dtype)[:, None, None], self.weight, padding=self.kernel - 1)
        x = x * again.to(x.dtype)[:, None, None] + self.bias
        ups, downs = self._filters(x, width, height)
        x = _filtered(x[0].permute(1, 2, 0), ups)
        x = (F.leaky_relu(x, 0.2) * math.sqrt(2.0)).clamp(-CLAMP, CLAMP)
        return _filtered(x, downs).permute(2, 0, 1)[None]

    def _filters(self, x: Tensor, width: int, height: int) -> "tuple[Pairs, Pairs]":
        """Return the filters up and down as products, for what is given and wanted: made once for a size."""
        key = *x.shape[2:], height, width
        if key not in self._products:
            taps, down = self.up_filter.shape[-1], self.down_filter.shape[-1]
            ups, downs = [], []
            for have, side in zip(x.shape[2:], (height, width), strict=True):
                between = (side - 1) * self.down + down
                low = _low_side(side, have, self.up, self.down, taps, down)
                ups.append(partial(up_matrix, up=self.up, low=low, have=have, wanted=between))
                downs.append(partial(down_matrix, down=self.down, have=between))
            self._products[key] = _pairs(self.up_filter, ups, x), _pairs(self.down_filter, downs, x)
        return self._products[key]


def _low_side(out: int, have: int, up: int, down: int, up_taps: int, down_taps: int) -> int:
    """Return how many samples are to be added before what was made ``up`` times as long by zeros.

    Both grids have one middle. The first of the zeros stands half of ``up - 1`` samples behind its own cell's middle.
    """
    total = (out - 1) * down + 1 - have * up + up_taps + down_taps - 2
    return (total + up) // 2


Block = tuple[int, Tensor]
"""Some rows of a filter's matrix ``(new, old)`` where they are not zero, and the first old sample that they see."""
Pairs = list[tuple[list[Block], list[Block]]]
"""A filter of two dimensions as a sum of products: each of one for rows and one for columns."""
BLOCK = 48
"""So many new samples a block has on a CPU; on a GPU, which has products to spare, one block has all."""
LEAST = 1e-6  # of a filter's largest part: what is smaller is rounding


def _pairs(taps: Tensor, matrices: "list[partial[Tensor]]", like: Tensor) -> Pairs:
    """Return a filter as products. One that is a product itself is one pair, a round one a few."""
    taps = torch.ones(taps.shape) if taps.is_meta else taps.cpu()  # only shapes are asked for there
    if taps.ndim == 1:
        parts = [(taps, taps)]
    else:
        left, sizes, right = torch.linalg.svd(taps.double())
        kept = [i for i, size in enumerate(sizes.tolist()) if size > LEAST * float(sizes[0])]
        parts = [(left[:, i] * sizes[i].sqrt(), right[i] * sizes[i].sqrt()) for i in kept]
    of_rows, of_columns = matrices
    size = BLOCK if like.device.type == "cpu" else 1 << 30
    return [(_blocks(of_rows(a), size, like), _blocks(of_columns(b), size, like)) for a, b in parts]


def _blocks(matrix: Tensor, size: int, like: Tensor) -> list[Block]:
    rows = []
    for i in range(0, len(matrix), size):
        part = matrix[i : i + size]
        seen = part.any(0).nonzero().flatten() if size < len(matrix) else torch.arange(matrix.shape[1])
        first, last = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 1)
        rows.append((first, part[:, first:last].to(like).contiguous()))
    return rows


def up_matrix(taps: Tensor, up: int, low: int, have: int, wanted: int) -> Tensor:
    """Return the matrix ``(wanted, have)`` that puts ``up - 1`` zeros between samples and filters them.

    ``low`` zeros stand before the first sample.
    """
    matrix = torch.zeros(wanted, have, dtype=torch.float64)
    for i in range(have):
        first = low + i * up - (len(taps) - 1)
        begin, end = max(0, first), min(wanted, first + len(taps))
        if begin < end:
            matrix[begin:end, i] = taps[begin - first : end - first]
    return matrix


def down_matrix(taps: Tensor, down: int, have: int) -> Tensor:
    """Return the matrix that filters ``have`` samples and keeps each ``down``-th of those that see only such."""
    count = (have - len(taps)) // down + 1
    matrix = torch.zeros(count, have, dtype=torch.float64)
    for i in range(count):
        matrix[i, i * down : i * down + len(taps)] = taps
    return matrix


def _filtered(x: Tensor, pairs: Pairs) -> Tensor:
    """Return ``(rows, columns, channels)`` filtered along rows and columns: as matrix products, which are fastest."""
    total: Tensor | None = None
    for of_rows, of_columns in pairs:
        y = torch.cat([torch.matmul(part, x[:, first : first + part.shape[1]]) for first, part in of_columns], 1)
        flat = y.flatten(1)
        z = torch.cat([part @ flat[first : first + part.shape[1]] for first, part in of_rows])
        z = z.view(-1, *y.shape[1:])
        total = z if total is None else total + z
    assert total is not None
    return total


class StyleGAN3(nn.Module):
    """The generator of one model; ``tensors`` are laid out as its authors' PyTorch version names them."""

    kind = "StyleGAN3"

    def __init__(self, tensors: Tensors) -> None:
        super().__init__()
        self.mapping = Mapping_(tensors)
        rows = plan(tensors)
        first = rows[0][1]
        self.input = Input(tensors, first.size_in, first.rate_in)
        self.layers = nn.ModuleList(
            Layer(tensors, name, rates, is_last=i == len(rows) - 1) for i, (name, rates) in enumerate(rows)
        )
        self.resolution = rows[-1][1].size_out
        self.z_dim, self.classes = self.mapping.z_dim, self.mapping.classes
        self.styles = len(rows) + 1
        self.places = len(rows)

    def size(self, grid: Grid) -> tuple[int, int]:
        """Return width and height of its pictures."""
        return _side(self.resolution, self.resolution, grid.columns), _side(self.resolution, self.resolution, grid.rows)

    def forward(self, drive: Drive, grid: Grid, bend: Bend | None = None) -> Tensor:
        """Draw. The input takes the first style, layer ``i`` style ``i + 1``."""
        styles = self.mapping.styles(drive)
        width, height = (_side(self.input.size, self.input.rate, n) for n in (grid.columns, grid.rows))
        x: Tensor = self.input(styles[0], drive.transform, width, height)
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            rates = layer.rates
            width, height = (_side(rates.size_out, rates.rate_out, n) for n in (grid.columns, grid.rows))
            x = layer(x.to(layer.weight.dtype), styles[i + 1], width, height)
            if bend is not None:
                x = bend(i, x)
        return x * OUTPUT_SCALE


def _side(size: int, rate: int, count: int) -> int:
    """Return how many samples a grid has whose picture is ``count`` quarters of a square one's side."""
    return size + rate * (count - 4) // 4
