"""Model folders with random weights in the exact layouts of the real ones: full-size for speed, tiny for tests.

Speed does not depend on what the weights say, and the arithmetic of a tiny model is that of a large one. The layouts
are those of the published ``config.json`` files.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from vjserver.generators.diffusion.singlefile import FAMILIES


@dataclass(frozen=True)
class Layout:
    """The configurations of a model's parts: what differs from diffusers' defaults."""

    unet: dict[str, Any]
    scheduler: tuple[str, dict[str, Any]]
    text: dict[str, Any]
    text2: dict[str, Any] | None = None
    sample_size: int = 64
    tiny_decoder: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


_BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
_FOUR: dict[str, Any] = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}


def _family(name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]:
    """Return the UNet and the text encoders of a family of the product."""
    row = FAMILIES[name]
    unet = {key: value for key, value in row.unet.items() if key != "sample_size"}
    texts = [dict(text) for text in row.texts]
    return unet, texts[0], texts[1] if len(texts) > 1 else None


_SD15, _CLIP_L, _ = _family("sd15")
_SD21, _CLIP_H, _ = _family("sd21")
_SDXL, _, _CLIP_G = _family("sdxl")

LAYOUTS = {
    "sd-turbo": Layout(_SD21, ("EulerDiscreteScheduler", {**_BETAS, "timestep_spacing": "trailing"}), _CLIP_H),
    "lcm": Layout(
        {**_SD15, "time_cond_proj_dim": 256}, ("LCMScheduler", {**_BETAS, "original_inference_steps": 50}), _CLIP_L
    ),
    "sdxs": Layout(
        {"block_out_channels": (320, 640, 1280), "layers_per_block": 1, "mid_block_type": None,
         "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
         "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "cross_attention_dim": 768,
         "attention_head_dim": (5, 10, 20), "use_linear_projection": True},
        ("EulerDiscreteScheduler", {**_BETAS, "timestep_spacing": "trailing"}),
        _CLIP_L,
        tiny_decoder=True,
    ),
    "sdxl-turbo": Layout(
        _SDXL, ("EulerAncestralDiscreteScheduler", {**_BETAS, "timestep_spacing": "trailing"}), _CLIP_L, _CLIP_G
    ),
    "sd15": Layout(_SD15, ("PNDMScheduler", {**_BETAS, "skip_prk_steps": True}), _CLIP_L),
}  # fmt: skip


def _tiny(layout: Layout) -> Layout:
    """Return the layout with every width a sixty-fourth or so; the same blocks, the same kinds of layers."""
    count = len(layout.unet["block_out_channels"])
    heads = layout.unet["attention_head_dim"]
    text = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3}
    unet = layout.unet | {
        "block_out_channels": tuple((8, 16, 32, 32)[:count]),
        "cross_attention_dim": 16 if layout.text2 is None else 32,
        "attention_head_dim": 2 if isinstance(heads, int) else (1, 2, 4, 4)[:count],
        "norm_num_groups": 4,
    }
    text2 = None
    if layout.text2 is not None:
        text2 = text | {"hidden_act": layout.text2["hidden_act"], "projection_dim": 16}
        unet |= {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 16 + 6 * 8,
                 "transformer_layers_per_block": (1, 1, 2)}  # fmt: skip
    return Layout(unet, layout.scheduler, text | {"hidden_act": layout.text["hidden_act"]}, text2, 8,
                  layout.tiny_decoder, {"decoder": (8, 8, 8, 8)})  # fmt: skip


def tokenizer(vocabulary: int, length: int) -> Any:
    """Return a byte-level CLIP tokenizer: 256 bytes, each also as the end of a word, and two specials; no merges."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    signs = list(bytes_to_unicode().values())
    words = signs + [f"{sign}</w>" for sign in signs]
    start = max(len(words), vocabulary - 2)
    table = {word: i for i, word in enumerate(words)} | {"<|startoftext|>": start, "<|endoftext|>": start + 1}
    return CLIPTokenizer(vocab=table, merges=[], model_max_length=length)


def make_model(
    folder: Path, name: str, full: bool = False, seed: int = 0, dtype: torch.dtype | None = None, device: str = "cpu"
) -> Path:
    """Write a model of layout ``name`` with random weights to ``folder`` and return it; ``device`` draws them."""
    with torch.device(device):
        pipeline = _pipeline(name, full, seed)
    if dtype is not None:
        pipeline.to(dtype=dtype)
    pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _pipeline(name: str, full: bool, seed: int) -> Any:
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(seed)
    layout = LAYOUTS[name] if full else _tiny(LAYOUTS[name])
    vocabulary = 49408 if full else 514

    def encoder(config: dict[str, Any], projects: bool) -> Any:
        kind = CLIPTextModelWithProjection if projects else CLIPTextModel
        start = vocabulary - 2
        return kind(CLIPTextConfig(vocab_size=vocabulary, bos_token_id=start, eos_token_id=start + 1, **config))

    with torch.device("cpu"):  # it computes its tables with numpy
        scheduler = getattr(diffusers, layout.scheduler[0])(**layout.scheduler[1])
    parts: dict[str, Any] = {
        "unet": diffusers.UNet2DConditionModel(sample_size=layout.sample_size, **layout.unet),
        "scheduler": scheduler,
        "text_encoder": encoder(layout.text, False),
        "tokenizer": tokenizer(vocabulary, 77),
    }
    if layout.tiny_decoder:
        parts["vae"] = make_taesd(full)
    elif full:
        parts["vae"] = diffusers.AutoencoderKL(block_out_channels=(128, 256, 512, 512), layers_per_block=2, **_FOUR)
    else:
        parts["vae"] = diffusers.AutoencoderKL(block_out_channels=(8,) * 4, norm_num_groups=4, **_FOUR)
        parts["vae"].encoder.conv_out.weight.data.mul_(5.0)  # or the latent would hardly depend on the picture
        parts["vae"].quant_conv.weight.data.mul_(3.0)
    if layout.text2 is not None:
        parts |= {"text_encoder_2": encoder(layout.text2, True), "tokenizer_2": tokenizer(vocabulary, 77)}
        return diffusers.StableDiffusionXLPipeline(**parts)
    kind = diffusers.LatentConsistencyModelPipeline if name == "lcm" else diffusers.StableDiffusionPipeline
    return kind(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def make_taesd(full: bool = False) -> Any:
    """Return a TAESD with random weights; a tiny one has fewer channels, the same blocks."""
    import diffusers

    if full:
        return diffusers.AutoencoderTiny()
    tiny: Any = diffusers.AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4)
    for layer in tiny.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data.mul_(1.9)  # or the picture would die away on its way through so few channels
    return tiny


def make_lora(folder: Path, name: str, weights: dict[str, torch.Tensor], rank: int = 4, seed: int = 1) -> Path:
    """Write a LoRA in PEFT's naming for the attention and feed-forward weights of a UNet; return its path."""
    from safetensors.torch import save_file

    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for key, weight in weights.items():
        layer = key.removesuffix(".weight")
        if not key.endswith(("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "net.2.weight",
                             "conv1.weight")):  # fmt: skip
            continue
        down, up = (rank, *weight.shape[1:]), (weight.shape[0], rank, *(1,) * (weight.dim() - 2))
        tensors[f"unet.{layer}.lora_A.weight"] = 0.3 * torch.randn(down, generator=random)
        tensors[f"unet.{layer}.lora_B.weight"] = 0.3 * torch.randn(up, generator=random)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    save_file(tensors, path, metadata={"format": json.dumps("pt")})
    return path
