"""A VQGAN as taming-transformers names it: tiny random tensors, and its decoder as plain operations of its paper."""

import torch
import torch.nn.functional as F

LEVELS, BLOCKS, CHANNELS, LATENT, CODES = 3, 1, (8, 16, 16), 4, 32


def tensors(seed=0):
    """Return random tensors under taming's names: three sizes, attention at the smallest."""
    torch.manual_seed(seed)
    rows = {}

    def put(name, out, into, side):
        rows[f"{name}.weight"] = torch.randn(out, into, side, side) / (into * side * side) ** 0.5
        rows[f"{name}.bias"] = 0.1 * torch.randn(out)

    def norm(name, width):
        rows[f"{name}.weight"], rows[f"{name}.bias"] = 1 + 0.2 * torch.randn(width), 0.1 * torch.randn(width)

    def block(name, into, out):
        norm(f"{name}.norm1", into)
        put(f"{name}.conv1", out, into, 3)
        norm(f"{name}.norm2", out)
        put(f"{name}.conv2", out, out, 3)
        if into != out:
            put(f"{name}.nin_shortcut", out, into, 1)

    def attention(name, width):
        norm(f"{name}.norm", width)
        for part in ("q", "k", "v", "proj_out"):
            put(f"{name}.{part}", width, width, 1)

    def middle(name, width):
        block(f"{name}.mid.block_1", width, width)
        attention(f"{name}.mid.attn_1", width)
        block(f"{name}.mid.block_2", width, width)

    put("encoder.conv_in", CHANNELS[0], 3, 3)
    width = CHANNELS[0]
    for level, out in enumerate(CHANNELS):
        for i in range(BLOCKS):
            block(f"encoder.down.{level}.block.{i}", width, out)
            width = out
            if level == LEVELS - 1:
                attention(f"encoder.down.{level}.attn.{i}", out)
        if level < LEVELS - 1:
            put(f"encoder.down.{level}.downsample.conv", out, out, 3)
    middle("encoder", width)
    norm("encoder.norm_out", width)
    put("encoder.conv_out", LATENT, width, 3)
    put("quant_conv", LATENT, LATENT, 1)
    rows["quantize.embedding.weight"] = torch.randn(CODES, LATENT)
    put("post_quant_conv", LATENT, LATENT, 1)
    put("decoder.conv_in", width, LATENT, 3)
    middle("decoder", width)
    for level in reversed(range(LEVELS)):
        for i in range(BLOCKS + 1):
            block(f"decoder.up.{level}.block.{i}", width, CHANNELS[level])
            width = CHANNELS[level]
            if level == LEVELS - 1:
                attention(f"decoder.up.{level}.attn.{i}", width)
        if level:
            put(f"decoder.up.{level}.upsample.conv", width, width, 3)
    norm("decoder.norm_out", width)
    put("decoder.conv_out", 3, width, 3)
    rows["loss.discriminator.main.0.weight"] = torch.zeros(3)
    return rows


def decoded(t, z):
    """Return the picture of a grid, nearest patches first: plain, in float64."""
    t = {name: value.double() for name, value in t.items()}

    def conv(name, x):
        weight = t[f"{name}.weight"]
        return F.conv2d(x, weight, t[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def norm(name, x):
        return F.group_norm(x, 4, t[f"{name}.weight"], t[f"{name}.bias"], 1e-6)

    def block(name, x):
        h = conv(f"{name}.conv1", F.silu(norm(f"{name}.norm1", x)))
        h = conv(f"{name}.conv2", F.silu(norm(f"{name}.norm2", h)))
        return h + (conv(f"{name}.nin_shortcut", x) if f"{name}.nin_shortcut.weight" in t else x)

    def attention(name, x):
        h = norm(f"{name}.norm", x)
        q, k, v = (conv(f"{name}.{part}", h).flatten(2) for part in "qkv")
        weights = (q.transpose(1, 2) @ k / q.shape[1] ** 0.5).softmax(-1)
        return x + conv(f"{name}.proj_out", (v @ weights.transpose(1, 2)).reshape(x.shape))

    codes = t["quantize.embedding.weight"]
    flat = z.double().permute(0, 2, 3, 1).reshape(-1, LATENT)
    nearest = ((flat[:, None] - codes) ** 2).sum(-1).argmin(-1)
    x = codes[nearest].reshape(1, *z.shape[2:], LATENT).permute(0, 3, 1, 2)
    x = conv("decoder.conv_in", conv("post_quant_conv", x))
    x = block("decoder.mid.block_2", attention("decoder.mid.attn_1", block("decoder.mid.block_1", x)))
    for level in reversed(range(LEVELS)):
        for i in range(BLOCKS + 1):
            x = block(f"decoder.up.{level}.block.{i}", x)
            if f"decoder.up.{level}.attn.{i}.q.weight" in t:
                x = attention(f"decoder.up.{level}.attn.{i}", x)
        if level:
            x = conv(f"decoder.up.{level}.upsample.conv", F.interpolate(x, scale_factor=2.0, mode="nearest"))
    return conv("decoder.conv_out", F.silu(norm("decoder.norm_out", x)))
