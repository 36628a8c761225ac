"""The layers of a U-Net, written so that a frame allocates nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjserver.generators.diffusion.lora import Branch
from vjserver.types.errors import GeneratorError


@dataclass(slots=True)
class Weights:
    """Tensors by name, with the LoRA branches of each layer; remembers which were used, so that none is forgotten."""

    tensors: Mapping[str, Tensor]
    branches: Mapping[str, tuple[Branch, ...]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def has(self, name: str) -> bool:
        """Tell whether there is a tensor ``name``."""
        return name in self.tensors

    def take(self, name: str) -> Tensor:
        """Return a tensor. Raises GeneratorError where it is missing."""
        if name not in self.tensors:
            raise GeneratorError(f"the UNet's weights lack {name!r}")
        self.used.add(name)
        return self.tensors[name]

    def optional(self, name: str) -> Tensor | None:
        """Return a tensor, or None where it is missing."""
        return self.take(name) if self.has(name) else None


class Dense(nn.Module):
    """One matrix product for one or several layers of the same input, with their LoRA branches."""

    def __init__(self, weights: Weights, *names: str) -> None:
        super().__init__()
        matrices = [weights.take(f"{name}.weight") for name in names]
        matrices = [m.flatten(1) for m in matrices]  # a 1x1 convolution is a matrix too
        self.weight = nn.Parameter(torch.cat(matrices), requires_grad=False)
        biases = [weights.optional(f"{name}.bias") for name in names]
        known = [b for b in biases if b is not None]
        self.bias = nn.Parameter(torch.cat(known), requires_grad=False) if known else None
        self.down: Tensor | None
        self.up: Tensor | None
        self.which: Tensor | None
        self._lay_branches(weights, names, [len(m) for m in matrices])

    def _lay_branches(self, weights: Weights, names: tuple[str, ...], heights: list[int]) -> None:
        """Stack the branches of all layers: ``down`` (rank, in), ``up`` (out, rank), ``which`` LoRA each rank is of."""
        downs, ups, which, top = [], [], [], 0
        for name, height in zip(names, heights, strict=True):
            for branch in weights.branches.get(name, ()):
                up = self.weight.new_zeros(sum(heights), branch.rank)
                up[top : top + height] = branch.up.flatten(1)
                downs.append(branch.down.flatten(1))
                ups.append(up)
                which += [branch.index] * branch.rank
            top += height
        self.register_buffer("down", torch.cat(downs) if downs else None)
        self.register_buffer("up", torch.cat(ups, 1) if ups else None)
        self.register_buffer("which", torch.tensor(which) if which else None)

    def forward(self, x: Tensor, lora: Tensor) -> Tensor:
        """Return ``(batch, tokens, out)`` for ``(batch, tokens, in)``; ``lora`` (batch, LoRAs) are their weights."""
        y = F.linear(x, self.weight, self.bias)
        if self.down is None or self.up is None:
            return y
        scale = lora[:, self.which].unsqueeze(1)
        return y + F.linear(F.linear(x, self.down) * scale, self.up)


class Conv(nn.Module):
    """A convolution with its LoRA branches."""

    def __init__(self, weights: Weights, name: str, stride: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(weights.take(f"{name}.weight"), requires_grad=False)
        bias = weights.optional(f"{name}.bias")
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.stride, self.padding = stride, self.weight.shape[-1] // 2
        branches = weights.branches.get(name, ())
        self.down: Tensor | None
        self.up: Tensor | None
        self.which: Tensor | None
        which = [b.index for b in branches for _ in range(b.rank)]
        self.register_buffer("down", torch.cat([b.down for b in branches]) if branches else None)
        self.register_buffer("up", torch.cat([b.up for b in branches], 1) if branches else None)
        self.register_buffer("which", torch.tensor(which) if which else None)

    def forward(self, x: Tensor, lora: Tensor) -> Tensor:
        """Return the convolved ``(batch, channels, height, width)``."""
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        if self.down is None or self.up is None:
            return y
        scale = lora[:, self.which, None, None]
        return y + F.conv2d(F.conv2d(x, self.down, None, self.stride, self.padding) * scale, self.up)


class Norm(nn.Module):
    """Group or layer normalisation: ``groups`` 0 is the latter."""

    def __init__(self, weights: Weights, name: str, groups: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weights.take(f"{name}.weight"), requires_grad=False)
        self.bias = nn.Parameter(weights.take(f"{name}.bias"), requires_grad=False)
        self.groups, self.eps = groups, eps

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` normalised."""
        if self.groups:
            return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class Places:
    """Hands out the columns in which a layer finds its share of what was computed for all layers at once."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.width = 0

    def reserve(self, names: tuple[str, ...], width: int) -> slice:
        """Return the columns of the layers ``names``, ``width`` together."""
        self.names += names
        self.width += width
        return slice(self.width - width, self.width)


@dataclass(slots=True)
class Plan:
    """What every block is built from."""

    weights: Weights
    config: Mapping[str, Any]
    times: Places = field(default_factory=Places)
    prompts: Places = field(default_factory=Places)

    @property
    def groups(self) -> int:
        """Groups of the group normalisations."""
        return int(self.config.get("norm_num_groups", 32))

    @property
    def eps(self) -> float:
        """What keeps group normalisations from dividing by nothing."""
        return float(self.config.get("norm_eps", 1e-5))


class Residual(nn.Module):
    """A residual block: two convolutions, the timestep's bias between them."""

    def __init__(self, plan: Plan, name: str) -> None:
        super().__init__()
        w, eps = plan.weights, plan.eps
        self.norm1, self.conv1 = Norm(w, f"{name}.norm1", plan.groups, eps), Conv(w, f"{name}.conv1")
        self.norm2, self.conv2 = Norm(w, f"{name}.norm2", plan.groups, eps), Conv(w, f"{name}.conv2")
        self.shortcut = Conv(w, f"{name}.conv_shortcut") if w.has(f"{name}.conv_shortcut.weight") else None
        self.time = plan.times.reserve((f"{name}.time_emb_proj",), self.conv1.weight.shape[0])

    def forward(self, x: Tensor, times: Tensor, lora: Tensor) -> Tensor:
        """Return the block's output; ``times`` (batch, all blocks' channels)."""
        h = self.conv1(F.silu(self.norm1(x)), lora) + times[:, self.time, None, None]
        h = self.conv2(F.silu(self.norm2(h)), lora)
        return h + (x if self.shortcut is None else self.shortcut(x, lora))


class Layer(nn.Module):
    """A transformer layer: the picture looks at itself, at the prompt, and thinks."""

    def __init__(self, plan: Plan, name: str, heads: int) -> None:
        super().__init__()
        w = plan.weights
        self.norm1, self.norm2, self.norm3 = (Norm(w, f"{name}.norm{i}", 0, 1e-5) for i in (1, 2, 3))
        self.qkv = Dense(w, *[f"{name}.attn1.to_{x}" for x in "qkv"])
        self.out1 = Dense(w, f"{name}.attn1.to_out.0")
        self.query, self.out2 = Dense(w, f"{name}.attn2.to_q"), Dense(w, f"{name}.attn2.to_out.0")
        self.grow, self.shrink = Dense(w, f"{name}.ff.net.0.proj"), Dense(w, f"{name}.ff.net.2")
        self.heads = heads
        width = self.query.weight.shape[0]
        self.prompt = plan.prompts.reserve((f"{name}.attn2.to_k", f"{name}.attn2.to_v"), 2 * width)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (q, k, v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor, keys_values: Tensor, lora: Tensor) -> Tensor:
        """Return ``(batch, tokens, channels)``."""
        x = x + self.out1(self._attend(*self.qkv(self.norm1(x), lora).chunk(3, -1)), lora)
        q = self.query(self.norm2(x), lora)
        x = x + self.out2(self._attend(q, *keys_values[..., self.prompt].chunk(2, -1)), lora)
        h, gate = self.grow(self.norm3(x), lora).chunk(2, -1)
        return x + self.shrink(h * F.gelu(gate), lora)


class Attention(nn.Module):
    """A stack of transformer layers over the pixels of a feature map."""

    def __init__(self, plan: Plan, name: str, heads: int) -> None:
        super().__init__()
        w = plan.weights
        self.norm = Norm(w, f"{name}.norm", plan.groups, 1e-6)
        self.enter, self.leave = Dense(w, f"{name}.proj_in"), Dense(w, f"{name}.proj_out")
        count = 0
        while w.has(f"{name}.transformer_blocks.{count}.norm1.weight"):
            count += 1
        self.layers = nn.ModuleList(Layer(plan, f"{name}.transformer_blocks.{i}", heads) for i in range(count))

    def forward(self, x: Tensor, keys_values: Tensor, lora: Tensor) -> Tensor:
        """Return the feature map, changed."""
        height, width = x.shape[-2:]
        h = self.enter(self.norm(x).flatten(2).transpose(1, 2), lora)
        for layer in self.layers:
            h = layer(h, keys_values, lora)
        return x + self.leave(h, lora).transpose(1, 2).unflatten(2, (height, width))


class Block(nn.Module):
    """Residual blocks, each with its attention where the family has one, then a change of size."""

    residuals: Any
    attentions: Any

    def __init__(self, plan: Plan, name: str, residuals: int, heads: int, resize: str = "") -> None:
        super().__init__()
        w = plan.weights
        attends = w.has(f"{name}.attentions.0.norm.weight")
        self.residuals = nn.ModuleList(Residual(plan, f"{name}.resnets.{i}") for i in range(residuals))
        places = [i for i in range(residuals) if attends and w.has(f"{name}.attentions.{i}.norm.weight")]
        self.attentions = nn.ModuleList(Attention(plan, f"{name}.attentions.{i}", heads) for i in places)
        stride = 2 if resize == "downsamplers" else 1
        resizes = bool(resize) and w.has(f"{name}.{resize}.0.conv.weight")
        self.resize = Conv(w, f"{name}.{resize}.0.conv", stride) if resizes else None
