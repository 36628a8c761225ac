"""GANs with random weights in the layouts of the real ones: full-size for speed, tiny for tests.

The layouts are those in which the official PyTorch versions keep ``G_ema``, and huggingface BigGAN-deep.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor


def _channels(size: int, base: int, most: int) -> int:
    return min(base // size, most)


class _Draw:
    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.tensors: dict[str, Tensor] = {}

    def normal(self, name: str, *shape: int, spread: float = 1.0, mean: float = 0.0) -> None:
        self.tensors[name] = torch.randn(shape, generator=self.generator) * spread + mean

    def dense(self, name: str, out: int, into: int, bias: float = 0.0, spread: float = 1.0) -> None:
        self.normal(f"{name}.weight", out, into, spread=spread)
        self.tensors[f"{name}.bias"] = torch.full((out,), bias)

    def mapping(self, layers: int, z: int, w: int, classes: int) -> None:
        if classes:
            self.dense("mapping.embed", w, classes)
        for i in range(layers):
            self.dense(f"mapping.fc{i}", w, (z + (w if classes else 0)) if i == 0 else w, spread=100.0)
            self.normal(f"mapping.fc{i}.bias", w, spread=10.0)
        self.normal("mapping.w_avg", w, spread=0.2)


def stylegan2(
    resolution: int = 256, base: int = 16384, most: int = 512, z: int = 512, w: int = 512, classes: int = 0,
    seed: int = 0, layers: int = 8,
) -> dict[str, Tensor]:  # fmt: skip
    """Return StyleGAN2's ``G_ema``."""
    draw = _Draw(seed)
    size, into = 4, _channels(4, base, most)
    draw.normal("synthesis.b4.const", into, 4, 4)
    while size <= resolution:
        out, block = _channels(size, base, most), f"synthesis.b{size}"
        for conv, have in (("conv0", into), ("conv1", out)):
            if size == 4 and conv == "conv0":
                continue
            name = f"{block}.{conv}"
            draw.normal(f"{name}.weight", out, have, 3, 3)
            draw.normal(f"{name}.bias", out, spread=0.1)
            draw.normal(f"{name}.noise_const", size, size)
            draw.normal(f"{name}.noise_strength", spread=0.1)
            draw.dense(f"{name}.affine", have, w, bias=1.0)
        draw.normal(f"{block}.torgb.weight", 3, out, 1, 1)
        draw.normal(f"{block}.torgb.bias", 3, spread=0.1)
        draw.dense(f"{block}.torgb.affine", out, w, bias=1.0)
        size, into = 2 * size, out
    draw.mapping(layers, z, w, classes)
    return draw.tensors


def low_pass(taps: int, cutoff: float, width: float, rate: float, radial: bool = False) -> Tensor:
    """Return a low-pass: a sinc in a Kaiser window, as "Alias-Free GANs" (arXiv 2106.12423), appendix C.1, says."""
    decibels = 2.285 * (taps - 1) * math.pi * width / (rate / 2.0) + 7.95
    beta = 0.1102 * (decibels - 8.7) if decibels > 50 else (
        0.5842 * (decibels - 21) ** 0.4 + 0.07886 * (decibels - 21) if decibels > 21 else 0.0
    )  # fmt: skip
    t = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2.0) / rate
    window = torch.special.i0(beta * (1.0 - (2.0 * t / ((taps - 1) / rate)) ** 2).clamp(min=0.0).sqrt())
    if radial:
        r = (t[:, None].square() + t[None].square()).sqrt()
        x = 2.0 * cutoff * r
        kernel = torch.where(x == 0, math.pi / 4.0, torch.special.bessel_j1(math.pi * x) / (2.0 * x)) * torch.outer(
            window, window
        )
    else:
        kernel = torch.sinc(2.0 * cutoff * t) * window
    return (kernel / kernel.sum()).float()


def stylegan3(
    resolution: int = 256, base: int = 32768, most: int = 512, z: int = 512, w: int = 512, radial: bool = False,
    seed: int = 0, layers: int = 14, last_stopband: float = 2.0**0.3,
) -> dict[str, Tensor]:  # fmt: skip
    """Return StyleGAN3's ``G_ema``: T, or R where ``radial`` (then with 1x1 convolutions)."""
    draw = _Draw(seed)
    critical = 2
    places = [min(i / (layers - critical), 1.0) for i in range(layers + 1)]
    cutoffs = [2.0 * (resolution / 2 / 2.0) ** place for place in places]
    stopbands = [2.0**2.1 * (resolution / 2 * last_stopband / 2.0**2.1) ** place for place in places]
    rates = [2 ** math.ceil(math.log2(min(2 * stop, resolution))) for stop in stopbands]
    widths = [max(stop, rate / 2) - cutoff for stop, rate, cutoff in zip(stopbands, rates, cutoffs, strict=True)]
    sizes = [rate + 20 for rate in rates]
    sizes[-2:] = [resolution] * 2
    channels = [round(min(base / 2 / cutoff, most)) for cutoff in cutoffs]
    channels[-1] = 3
    into = channels[0]
    draw.normal("synthesis.input.weight", into, into)
    draw.tensors["synthesis.input.transform"] = torch.eye(3)
    freqs = torch.randn(into, 2, generator=draw.generator)
    radii = freqs.square().sum(1, keepdim=True).sqrt()
    freqs = freqs / (radii * radii.square().exp() ** 0.25) * cutoffs[0]
    draw.tensors["synthesis.input.freqs"] = freqs
    draw.tensors["synthesis.input.phases"] = torch.rand(into, generator=draw.generator) - 0.5
    draw.dense("synthesis.input.affine", 4, w, spread=0.1)
    draw.tensors["synthesis.input.affine.bias"] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    for i in range(layers + 1):
        before, last = max(i - 1, 0), i == layers
        out, kernel = channels[i], 1 if last or radial else 3
        name = f"synthesis.L{i}_{sizes[i]}_{out}"
        draw.normal(f"{name}.weight", out, into, kernel, kernel)
        draw.normal(f"{name}.bias", out, spread=0.1)
        draw.tensors[f"{name}.magnitude_ema"] = torch.rand((), generator=draw.generator) + 0.5
        draw.dense(f"{name}.affine", into, w, bias=1.0)
        if not last:
            between = 2 * max(rates[before], rates[i])
            up, down = between // rates[before], between // rates[i]
            draw.tensors[f"{name}.up_filter"] = low_pass(6 * up, cutoffs[before], widths[before] * 2, between)
            is_critical = i >= layers - critical
            draw.tensors[f"{name}.down_filter"] = low_pass(
                6 * down, cutoffs[i], widths[i] * 2, between, radial and not is_critical
            )
        into = out
    draw.mapping(2, z, w, 0)
    return draw.tensors


BIGGAN_MULTIPLES = {
    128: (16, 16, 16, 16, 8, 8, 4, 4, 2, 2, 1),
    256: (16, 16, 16, 16, 8, 8, 8, 8, 4, 4, 2, 2, 1),
    512: (16, 16, 16, 16, 8, 8, 8, 8, 4, 4, 2, 2, 1, 1, 1),
}
"""Channels before and behind each block, in units of the narrowest; attention comes before the ninth."""


def biggan(
    resolution: int = 256, width: int = 128, z: int = 128, classes: int = 1000, seed: int = 0
) -> dict[str, Tensor]:
    """Return BigGAN-deep as huggingface keeps it, spectral normalisation apart."""
    draw = _Draw(seed)

    def spectral(name: str, *shape: int, bias: bool = True) -> None:
        draw.normal(f"{name}.weight_orig", *shape)
        rows = shape[0]
        columns = math.prod(shape[1:])
        matrix = draw.tensors[f"{name}.weight_orig"].reshape(rows, columns)
        u = torch.nn.functional.normalize(torch.randn(rows, generator=draw.generator), dim=0)
        for _ in range(2):
            v = torch.nn.functional.normalize(matrix.t() @ u, dim=0)
            u = torch.nn.functional.normalize(matrix @ v, dim=0)
        draw.tensors[f"{name}.weight_u"], draw.tensors[f"{name}.weight_v"] = u, v
        if bias:
            draw.normal(f"{name}.bias", rows, spread=0.1)

    def norm(name: str, channels: int, conditional: bool = True) -> None:
        draw.normal(f"{name}.running_means", 51, channels, spread=0.1)
        draw.tensors[f"{name}.running_vars"] = torch.rand(51, channels, generator=draw.generator) + 0.5
        if conditional:
            spectral(f"{name}.scale", channels, z + 128, bias=False)
            spectral(f"{name}.offset", channels, z + 128, bias=False)
        else:
            draw.normal(f"{name}.weight", channels, spread=0.1, mean=1.0)
            draw.normal(f"{name}.bias", channels, spread=0.1)

    multiples = BIGGAN_MULTIPLES[resolution]
    draw.normal("embeddings.weight", 128, classes, spread=0.5)
    spectral("generator.gen_z", 16 * width * multiples[0], z + 128)
    place = 0
    for i, (before, behind) in enumerate(pairwise(multiples)):
        name = f"generator.layers.{place}"
        if i == 8:
            channels = before * width
            for part, shape in (
                ("theta", (channels // 8, channels, 1, 1)), ("phi", (channels // 8, channels, 1, 1)),
                ("g", (channels // 2, channels, 1, 1)), ("o_conv", (channels, channels // 2, 1, 1)),
            ):  # fmt: skip
                spectral(f"{name}.snconv1x1_{part}", *shape, bias=False)
            draw.tensors[f"{name}.gamma"] = torch.full((1,), 0.5)
            place += 1
            name = f"generator.layers.{place}"
        into, out = before * width, behind * width
        middle = into // 4
        for k, (channels, wide, deep, side) in enumerate(
            (
                (into, into, middle, 1),
                (middle, middle, middle, 3),
                (middle, middle, middle, 3),
                (middle, middle, out, 1),
            )
        ):
            norm(f"{name}.bn_{k}", channels)
            spectral(f"{name}.conv_{k}", deep, wide, side, side)
        place += 1
    norm("generator.bn", width, conditional=False)
    spectral("generator.conv_to_rgb", width, width, 3, 3)
    return draw.tensors
