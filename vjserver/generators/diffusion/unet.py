"""The UNet of the SD1.5, SD2.1 and SDXL families, cut to what a live frame needs. It reads diffusers' weights.

What stays the same while prompt and timesteps stay is not computed in here: :meth:`UNet.keys_values` makes all
cross-attention keys and values of a prompt in one matrix product, :meth:`UNet.time_biases` what every residual block
adds for a timestep, in another. A frame then is ``unet(latent, time_biases, keys_values, lora)``: no text, no time.

A LoRA is a low-rank branch beside its weight, scaled by a tensor; its weight changes live, with nothing rebuilt.

Sources: Rombach et al. 2022 (arXiv 2112.10752), Podell et al. 2023 (2307.01952), Luo et al. 2023 (2310.04378) for the
guidance embedding, Hu et al. 2021 (2106.09685); the names and the configuration are those of diffusers.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vjserver.generators.diffusion.layers import Block, Conv, Dense, Norm, Plan, Weights
from vjserver.types.errors import GeneratorError

# What the configuration of a UNet may say besides sizes: key -> values that this file knows how to compute. Older
# configurations leave out what is diffusers' default; that is the first of each.
KNOWN: dict[str, tuple[Any, ...]] = {
    "act_fn": ("silu",),
    "addition_embed_type": (None, "text_time"),
    "attention_type": ("default",),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "cross_attention_norm": (None,),
    "downsample_padding": (1,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "mid_block_scale_factor": (1,),
    "mid_block_only_cross_attention": (None, False),
    "mid_block_type": ("UNetMidBlock2DCrossAttn", None),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "resnet_out_scale_factor": (1.0,),
    "resnet_skip_time_act": (False,),
    "resnet_time_scale_shift": ("default",),
    "time_embedding_act_fn": (None,),
    "time_embedding_dim": (None,),
    "time_embedding_type": ("positional",),
    "timestep_post_act": (None,),
}
GUIDANCE_SCALE = 1000.0


class UNet(nn.Module):
    """Predicts what is noise in a latent; see the head of this file."""

    down: Any
    up: Any

    def __init__(self, config: Mapping[str, Any], weights: Weights) -> None:
        """Build from diffusers' ``unet/config.json`` and tensors.

        Raises GeneratorError for a UNet of another family, or one whose weights do not fit its configuration.
        """
        super().__init__()
        _check(config)
        plan = Plan(weights, config)
        kinds = len(config["down_block_types"])
        heads = _heads(config, kinds)
        layers = config.get("layers_per_block", 2)
        layers = [layers] * kinds if isinstance(layers, int) else list(layers)
        self.head, self.tail = Conv(weights, "conv_in"), Conv(weights, "conv_out")
        self.norm = Norm(weights, "conv_norm_out", plan.groups, plan.eps)
        self.down = nn.ModuleList(
            Block(plan, f"down_blocks.{i}", layers[i], heads[i], "downsamplers") for i in range(kinds)
        )
        has_middle = weights.has("mid_block.resnets.0.norm1.weight")
        self.middle = Block(plan, "mid_block", 2, heads[-1]) if has_middle else None
        self.up = nn.ModuleList(
            Block(plan, f"up_blocks.{i}", layers[-1 - i] + 1, heads[-1 - i], "upsamplers") for i in range(kinds)
        )
        self.times = Dense(weights, *plan.times.names)
        self.prompts = Dense(weights, *plan.prompts.names)
        self.time1, self.time2 = (Dense(weights, f"time_embedding.linear_{i}") for i in (1, 2))
        guided = weights.has("time_embedding.cond_proj.weight")
        self.guided = Dense(weights, "time_embedding.cond_proj") if guided else None
        pooled = config.get("addition_embed_type") == "text_time"
        self.pooled1, self.pooled2 = (Dense(weights, f"add_embedding.linear_{i}") if pooled else None for i in (1, 2))
        self.config = dict(config)
        unused = set(weights.tensors) - weights.used
        if unused:
            raise GeneratorError(f"the UNet has {len(unused)} weights of no known use, such as {min(unused)!r}")

    # -- once a prompt, once a timestep --------------------------------------------------------------------

    def keys_values(self, embeddings: Tensor, lora: Tensor) -> Tensor:
        """Return all layers' keys and values ``(batch, tokens, all)`` for prompt embeddings ``(batch, tokens, width)``.

        Linear in the embeddings: those of a blend are the blend of those.
        """
        return self.prompts(embeddings, lora)

    def time_biases(
        self, timesteps: Tensor, guidance: Tensor, pooled: Tensor | None, ids: Tensor | None, lora: Tensor
    ) -> Tensor:
        """Return what each residual block adds, ``(batch, all blocks' channels)``.

        ``timesteps`` and ``guidance`` float32 ``(batch,)``; guidance counts where the model embeds it (LCM). SDXL takes
        ``pooled`` ``(batch, width)`` and ``ids`` ``(batch, 6)``: original size, crop, target size in pixels.
        """
        dtype = self.head.weight.dtype
        channels, shift = self.head.weight.shape[0], float(self.config.get("freq_shift", 0))
        flip = bool(self.config.get("flip_sin_to_cos", True))
        x = sinusoid(timesteps, channels, shift, flip).to(dtype).unsqueeze(1)
        lora = lora.to(dtype)
        if self.guided is not None:
            width = self.guided.weight.shape[1]
            x = x + self.guided(guidance_embedding(guidance, width).to(dtype).unsqueeze(1), lora)
        emb = self.time2(F.silu(self.time1(x, lora)), lora)
        if self.pooled1 is not None and self.pooled2 is not None:
            assert pooled is not None
            assert ids is not None
            width = int(self.config["addition_time_embed_dim"])
            sizes = sinusoid(ids.flatten(), width, shift, flip).reshape(len(ids), -1)
            added = torch.cat([pooled.float(), sizes], -1).to(dtype).unsqueeze(1)
            emb = emb + self.pooled2(F.silu(self.pooled1(added, lora)), lora)
        return self.times(F.silu(emb), lora).squeeze(1)

    # -- each frame ----------------------------------------------------------------------------------------

    def forward(self, latent: Tensor, times: Tensor, keys_values: Tensor, lora: Tensor) -> Tensor:
        """Return the prediction ``(batch, 4, height, width)`` for a latent of that shape.

        ``times`` are of :meth:`time_biases`, ``keys_values`` of :meth:`keys_values`, ``lora`` (batch, LoRAs) weights.
        """
        x = self.head(latent, lora)
        skips = [x]
        for block in self.down:
            for i, residual in enumerate(block.residuals):
                x = residual(x, times, lora)
                if block.attentions:
                    x = block.attentions[i](x, keys_values, lora)
                skips.append(x)
            if block.resize is not None:
                x = block.resize(x, lora)
                skips.append(x)
        if self.middle is not None:
            x = self.middle.residuals[0](x, times, lora)
            for attention in self.middle.attentions:
                x = attention(x, keys_values, lora)
            x = self.middle.residuals[1](x, times, lora)
        for block in self.up:
            for i, residual in enumerate(block.residuals):
                x = residual(torch.cat([x, skips.pop()], 1), times, lora)
                if block.attentions:
                    x = block.attentions[i](x, keys_values, lora)
            if block.resize is not None:
                x = block.resize(F.interpolate(x, size=skips[-1].shape[-2:], mode="nearest"), lora)
        return self.tail(F.silu(self.norm(x)), lora)


def sinusoid(values: Tensor, width: int, shift: float, flip: bool) -> Tensor:
    """Return the sinusoidal embedding ``(n, width)`` of float32 ``values`` ``(n,)`` (Vaswani et al. 2017)."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=values.device) * (-math.log(10000.0) / (half - shift)))
    angles = values.float()[:, None] * rates
    parts = (angles.cos(), angles.sin()) if flip else (angles.sin(), angles.cos())
    return torch.cat(parts, -1)


def guidance_embedding(guidance: Tensor, width: int) -> Tensor:
    """Return LCM's embedding ``(n, width)`` of the guidance scale; what is embedded is the scale less one."""
    return sinusoid((guidance - 1.0) * GUIDANCE_SCALE, width, 1.0, flip=False)


def _check(config: Mapping[str, Any]) -> None:
    for key, known in KNOWN.items():
        value = config.get(key, known[0])
        if value not in known:
            raise GeneratorError(
                f"a UNet of the SD1.5, SD2.1 or SDXL family has {key} = {' or '.join(map(repr, known))}: got {value!r}"
            )
    if config.get("in_channels", 4) != 4:
        raise GeneratorError(f"a UNet for text and image has 4 input channels: got {config['in_channels']}")


def _heads(config: Mapping[str, Any], blocks: int) -> list[int]:
    """Return the attention heads of each down block. diffusers calls them ``attention_head_dim``, by an old mistake."""
    heads = config.get("num_attention_heads") or config.get("attention_head_dim", 8)
    return [heads] * blocks if isinstance(heads, int) else list(heads)
