"""The GANs once more, as plain operations out of the papers: one thing after another, slow, in float64."""

import math

import torch
import torch.nn.functional as F


def normed(z):
    return z / (z.square().mean(-1, keepdim=True) + 1e-8).sqrt()


def dense(t, name, x, rate=1.0):
    weight = t[f"{name}.weight"].double()
    return x @ (weight * rate / math.sqrt(weight.shape[1])).t() + t[f"{name}.bias"].double() * rate


def lrelu(x):
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2.0)


def mapping(t, z, label=None):
    x = normed(z.double())
    if label is not None:
        x = torch.cat([x, normed(dense(t, "mapping.embed", label.double()))], -1)
    for i in range(sum(name.startswith("mapping.fc") for name in t) // 2):
        x = lrelu(dense(t, f"mapping.fc{i}", x, 0.01))
    return x


def zeros_between(x, up):
    """Put ``up - 1`` zeros behind every sample of (channels, h, w)."""
    c, h, w = x.shape
    result = torch.zeros(c, h * up, w * up, dtype=x.dtype)
    result[:, ::up, ::up] = x
    return result


def filtered(x, kernel, low=(0, 0), high=(0, 0)):
    """Convolve each channel with a kernel (n, n), after so many zeros in front and behind (y, x)."""
    x = F.pad(x, (low[1], high[1], low[0], high[0]))
    return F.conv2d(x[:, None], kernel.flip(0, 1)[None, None].to(x.dtype))[:, 0]


def modulated(t, name, w, demodulate):
    """Return the weights that a style gives: equations 1 to 3 of arXiv 1912.04958."""
    weight, style = t[f"{name}.weight"].double(), dense(t, f"{name}.affine", w)
    if not demodulate:
        style = style / math.sqrt(weight[0].numel())
    weight = weight * style[None, :, None, None]
    if demodulate:
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    return weight


def stylegan2(t, ws, noise=1.0):
    """Return the picture (3, h, w) of styles (L, w)."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
    fir = torch.outer(taps, taps) / 64.0
    x, picture, place, size = t["synthesis.b4.const"].double(), None, 0, 4
    while f"synthesis.b{size}.conv1.weight" in t:
        block = f"synthesis.b{size}"
        for conv in ("conv1",) if size == 4 else ("conv0", "conv1"):
            name = f"{block}.{conv}"
            weight = modulated(t, name, ws[place].double(), True)
            if conv == "conv0":
                # each sample is spread by the kernel, as it is stored, on the doubled grid; then all is filtered
                spread = F.pad(zeros_between(x, 2), (2, 1, 2, 1))
                x = F.conv2d(spread[None], weight.flip(2, 3))[0]
                x = filtered(x, 4.0 * fir, (1, 1), (1, 1))
            else:
                x = F.conv2d(x[None], weight, padding=1)[0]
            x = x + t[f"{name}.noise_const"].double() * t[f"{name}.noise_strength"].double() * noise
            x = lrelu(x + t[f"{name}.bias"].double()[:, None, None])
            place += 1
        colours = F.conv2d(x[None], modulated(t, f"{block}.torgb", ws[place].double(), False))[0]
        colours = colours + t[f"{block}.torgb.bias"].double()[:, None, None]
        picture = (
            colours if picture is None else colours + filtered(zeros_between(picture, 2), 4.0 * fir, (2, 2), (1, 1))
        )
        size *= 2
    return picture


def stylegan3(t, ws, transform=None):
    """Return the picture (3, h, w) of styles (L, w): appendix B to D of arXiv 2106.12423."""
    names = sorted((n for n in t if n.startswith("synthesis.L") and n.count(".") == 2 and n.endswith(".weight")),
                   key=lambda n: int(n.split(".")[1].split("_")[0][1:]))  # fmt: skip
    sizes = [int(n.split("_")[1]) for n in names]
    resolution = sizes[-1]
    rates = [resolution if s == resolution else s - 20 for s in sizes]
    transform = torch.eye(3, dtype=torch.float64) if transform is None else transform.double()
    a = dense(t, "synthesis.input.affine", ws[0].double())
    a = a / a[:2].norm()
    back = torch.tensor([[a[0], -a[1], 0.0], [a[1], a[0], 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    shift = torch.tensor([[1.0, 0.0, -a[2]], [0.0, 1.0, -a[3]], [0.0, 0.0, 1.0]], dtype=torch.float64)
    whole = back @ shift @ transform
    freqs, phases = t["synthesis.input.freqs"].double(), t["synthesis.input.phases"].double()
    size, rate = sizes[0], rates[0]
    x = torch.zeros(len(phases), size, size, dtype=torch.float64)
    for row in range(size):
        for column in range(size):
            at = torch.tensor(
                [(column + 0.5 - size / 2) / rate, (row + 0.5 - size / 2) / rate, 1.0], dtype=torch.float64
            )
            x[:, row, column] = torch.sin(2 * math.pi * (freqs @ (whole[:2] @ at) + phases))
    turned = (freqs @ whole[:2, :2]).norm(dim=1)
    x = x * (1.0 - (turned - 2.0) / (rate / 2 - 2.0)).clamp(0.0, 1.0)[:, None, None]
    weight = t["synthesis.input.weight"].double()
    x = torch.einsum("oi,ihw->ohw", weight / math.sqrt(weight.shape[1]), x)
    for i, name in enumerate(n.removesuffix(".weight") for n in names):
        last = i == len(names) - 1
        weight = modulated(t, name, ws[i + 1].double(), not last) / t[f"{name}.magnitude_ema"].double().sqrt()
        x = F.conv2d(x[None], weight, padding=weight.shape[-1] - 1)[0] + t[f"{name}.bias"].double()[:, None, None]
        if last:
            break
        between = 2 * max(rates[max(0, i - 1)], rates[i])
        up, down = between // rates[max(0, i - 1)], between // rates[i]
        taps = [t[f"{name}.{kind}_filter"].double() for kind in ("up", "down")]
        taps = [torch.outer(k, k) if k.ndim == 1 else k for k in taps]
        n, m = (len(k) for k in taps)
        total = (sizes[i] - 1) * down + 1 - x.shape[-1] * up + n + m - 2
        low = (total + up) // 2
        x = filtered(zeros_between(x, up), taps[0] * up**2, (low,) * 2, (total - low,) * 2)
        x = filtered(lrelu(x), taps[1])[:, ::down, ::down]
    return 0.25 * x
