"""Checkpoints of taming-transformers: a VQGAN's tensors go in; those of diffusers' VQModel, and its layout, come out.

The names are those that github.com/CompVis/taming-transformers gives its first stage.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vjserver.types.errors import ConfigError

PARTS = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")
_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}


def is_taming(names: set[str]) -> bool:
    """Tell whether tensors of such names are a VQGAN's, whole."""
    return {"quantize.embedding.weight", "encoder.conv_in.weight", "decoder.conv_in.weight"} <= names


def of_taming(tensors: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the layout of a VQModel, and its tensors by their names there. Raises ConfigError."""
    kept = {name: value for name, value in tensors.items() if name.startswith(PARTS)}
    levels = 1 + max((int(m[1]) for name in kept if (m := re.match(r"encoder\.down\.(\d+)\.", name))), default=-1)
    blocks = sum(f"encoder.down.0.block.{i}.conv1.weight" in kept for i in range(64))
    if levels < 1 or blocks < 1:
        raise ConfigError("it is not whole: its encoder has no levels")
    for name in ("quant_conv.weight", "post_quant_conv.weight", "encoder.conv_out.weight", "decoder.conv_out.weight"):
        if name not in kept:
            raise ConfigError(f"it is not whole: {name} is missing")
    for i in range(levels):
        if f"encoder.down.{i}.block.{blocks - 1}.conv2.weight" not in kept:
            raise ConfigError(f"it is not whole: a block of level {i} is missing")
    sizes = [int(kept[f"encoder.down.{i}.block.{blocks - 1}.conv2.weight"].shape[0]) for i in range(levels)]
    looks = [f"encoder.down.{i}.attn.0.q.weight" in kept for i in range(levels)]
    if any(f"decoder.up.{i}.attn.0.q.weight" in kept for i in range(levels)) != any(looks):
        raise ConfigError("its encoder and decoder look at different sizes, which is not taken")
    table, rgb = kept["quantize.embedding.weight"], (kept["encoder.conv_in.weight"], kept["decoder.conv_out.weight"])
    if table.ndim != 2 or not table.numel() or any(one.ndim != 4 for one in rgb):
        raise ConfigError("it is a VQGAN of another layout than taming-transformers': its weights have other shapes")
    if rgb[0].shape[1] != 3 or rgb[1].shape[0] != 3:
        raise ConfigError("it is a VQGAN of pictures that are not red, green and blue")
    codes, width = (int(side) for side in table.shape)
    config = {
        "_class_name": "VQModel", "in_channels": int(kept["encoder.conv_in.weight"].shape[1]),
        "out_channels": int(kept["decoder.conv_out.weight"].shape[0]), "block_out_channels": sizes,
        "down_block_types": [f"{'Attn' * look}DownEncoderBlock2D" for look in looks],
        "up_block_types": [f"{'Attn' * look}UpDecoderBlock2D" for look in reversed(looks)],
        "layers_per_block": blocks, "latent_channels": int(kept["encoder.conv_out.weight"].shape[0]),
        "num_vq_embeddings": codes, "vq_embed_dim": width, "norm_num_groups": 32 if sizes[0] % 32 == 0 else 4,
        "act_fn": "silu", "sample_size": 256,
    }  # fmt: skip
    result = {}
    for name, value in kept.items():
        new = renamed(name, levels)
        is_product = re.search(r"\.(to_[qkv]|to_out\.0)\.weight$", new) is not None
        result[new] = (value.reshape(value.shape[:2]) if is_product else value).float().contiguous().clone()
    return config, result


def renamed(name: str, levels: int) -> str:
    """Return what a tensor of taming-transformers is called in diffusers; ``levels`` count its pictures' sizes."""
    rules = (
        (r"\.down\.(\d+)\.block\.(\d+)\.", r".down_blocks.\1.resnets.\2."),
        (r"\.down\.(\d+)\.attn\.(\d+)\.", r".down_blocks.\1.attentions.\2."),
        (r"\.down\.(\d+)\.downsample\.", r".down_blocks.\1.downsamplers.0."),
        (r"\.mid\.block_(\d+)\.", lambda m: f".mid_block.resnets.{int(m[1]) - 1}."),
        (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
        (r"\.up\.(\d+)\.block\.(\d+)\.", lambda m: f".up_blocks.{levels - 1 - int(m[1])}.resnets.{m[2]}."),
        (r"\.up\.(\d+)\.attn\.(\d+)\.", lambda m: f".up_blocks.{levels - 1 - int(m[1])}.attentions.{m[2]}."),
        (r"\.up\.(\d+)\.upsample\.", lambda m: f".up_blocks.{levels - 1 - int(m[1])}.upsamplers.0."),
        (r"\.norm_out\.", ".conv_norm_out."),
        (r"\.nin_shortcut\.", ".conv_shortcut."),
    )
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return re.sub(r"(\.attentions\.\d+)\.(norm|q|k|v|proj_out)\.", lambda m: f"{m[1]}.{_ATTENTION[m[2]]}.", name)


def check_loads(folder: Path) -> None:
    """Raise ConfigError unless diffusers can load what was written, with every tensor where it belongs."""
    import diffusers
    import torch

    library: Any = diffusers
    library.utils.logging.set_verbosity_error()
    try:
        model, told = library.VQModel.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # noqa: BLE001 - whatever diffusers does not like about a foreign layout
        first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ConfigError(f"it is a VQGAN of another layout than taming-transformers': {first}") from None
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if told.get(key):
            name = str(sorted(told[key])[0])[:80]
            raise ConfigError(f"it is a VQGAN of another layout than taming-transformers': {name!r}")
    codes = model.quantize.embedding.weight
    with torch.no_grad():
        shown = model.decode(codes[:4].t().reshape(1, -1, 2, 2) if len(codes) >= 4 else codes[:1].t()[..., None, None])
    if not torch.isfinite(shown.sample).all():
        raise ConfigError("it is damaged: what it draws is no picture")
