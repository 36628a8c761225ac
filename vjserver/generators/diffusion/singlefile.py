"""A checkpoint in one .safetensors file, as most sites offer it, becomes a folder in the diffusers layout.

Which family it is of is read off the header, before torch is imported; the weights are read by diffusers. What a file
does not hold is written here: the configurations (those of the families' published ``config.json`` files) and the
vocabulary, which is one for all of them: it comes from a model that is here, or is fetched (1.6 MB).
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vjserver.types.errors import ConfigError

FIRST = "model.diffusion_model.input_blocks.0.0.weight"
VOCABULARY = "stabilityai/sd-turbo"
TYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """A family's configurations: what differs from diffusers' defaults."""

    what: str
    unet: Config
    vae: Config
    texts: Sequence[Config]


_FOUR = {"down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
         "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
         "block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2, "sample_size": 64}  # fmt: skip
_VAE = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4, "sample_size": 512,
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
        "scaling_factor": 0.18215}  # fmt: skip
_CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 12,
           "hidden_act": "quick_gelu", "projection_dim": 768}  # fmt: skip
_CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "num_hidden_layers": 23,
           "hidden_act": "gelu", "projection_dim": 512}  # fmt: skip
_CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 20, "num_hidden_layers": 32,
           "hidden_act": "gelu", "projection_dim": 1280}  # fmt: skip

FAMILIES = {
    "sd15": Family(
        "Stable Diffusion 1", {**_FOUR, "cross_attention_dim": 768, "attention_head_dim": 8}, _VAE, [_CLIP_L]
    ),
    "sd21": Family(
        "Stable Diffusion 2",
        {**_FOUR, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True},
        _VAE,
        [_CLIP_H],
    ),
    "sdxl": Family(
        "Stable Diffusion XL",
        {"down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
         "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), "layers_per_block": 2,
         "block_out_channels": (320, 640, 1280), "transformer_layers_per_block": (1, 2, 10), "sample_size": 128,
         "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20), "use_linear_projection": True,
         "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
         "projection_class_embeddings_input_dim": 2816},
        {**_VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
        [_CLIP_L, _CLIP_G],
    ),
}  # fmt: skip


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file: type and shape of each tensor, and ``__metadata__``."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        rows: dict[str, Any] = json.loads(stream.read(length))
    return rows


def family_of(path: Path, header: Mapping[str, Any]) -> str:
    """Return the family (a key of :data:`FAMILIES`) of a checkpoint. Raises ConfigError for what cannot be played."""
    if FIRST not in header:
        if any("lora" in name or ".hada_" in name or ".lokr_" in name for name in header):
            raise ConfigError(f"{path} is a LoRA, not a model: name it in [generators.diffusion] loras")
        if any(name.startswith(("decoder.", "first_stage_model.")) for name in header):
            raise ConfigError(f"{path} is a decoder (VAE) alone, not a model")
        raise ConfigError(
            f"{path} is no checkpoint of Stable Diffusion 1, 2 or XL: it has no {FIRST}; a file for ComfyUI may hold "
            "the UNet alone"
        )
    check_channels(path, header[FIRST]["shape"][1])
    if "conditioner.embedders.1.model.positional_embedding" in header:
        return "sdxl"
    if "conditioner.embedders.0.model.positional_embedding" in header:
        raise ConfigError(f"{path} is the refiner of SDXL: it makes no pictures of its own")
    if "cond_stage_model.model.positional_embedding" in header:
        return "sd21"
    if any(name.startswith("cond_stage_model.transformer.") for name in header):
        return "sd15"
    raise ConfigError(f"{path} has no text encoder: prompts cannot be read; take the whole checkpoint")


def check_channels(path: Path, channels: int) -> None:
    """Raise ConfigError for a model whose UNet takes more than a latent."""
    if channels != 4:
        kind = {8: "an editing model (InstructPix2Pix)", 9: "an inpainting model"}.get(
            channels, "another kind of model"
        )
        raise ConfigError(f"{path} is {kind}: its UNet takes {channels} channels, and 4 are played")


def predicts_v(path: Path, header: Mapping[str, Any]) -> bool:
    """Tell whether a checkpoint says that it predicts velocity: in itself, or in the .yaml that lies beside it."""
    if "v_pred" in header:
        return True
    told = header.get("__metadata__") or {}
    if str(told.get("modelspec.prediction_type", told.get("modelspec.predict_key", ""))).startswith("v"):
        return True
    beside = path.with_suffix(".yaml")
    text = beside.read_text(encoding="utf-8", errors="replace") if beside.is_file() else ""
    return 'parameterization: "v"' in text or "parameterization: v" in text


def unpack(path: Path, target: Path, vocabularies: Sequence[Path]) -> list[str]:
    """Write a checkpoint to ``target`` in the diffusers layout; return sentences on what was assumed.

    ``vocabularies`` are folders that may hold CLIP's (``vocab.json`` and ``merges.txt``). Raises ConfigError.
    """
    header = read_header(path)
    family = family_of(path, header)
    remarks = []
    velocity = predicts_v(path, header)
    if family == "sd21" and not velocity:
        remarks.append(
            "the file does not say what it predicts; noise is assumed, as in 2.1-base. If pictures are brown mush, it "
            f"is a 768-v model: put its .yaml beside it ({path.with_suffix('.yaml').name}) and add it again"
        )
    layout = target.with_name(f"{target.name}.layout")
    shutil.rmtree(layout, ignore_errors=True)
    try:
        write_layout(layout, family, velocity)
        for folder in ("tokenizer", *(("tokenizer_2",) if family == "sdxl" else ())):
            _write_tokenizer(layout / folder, vocabularies, pad="!" if folder == "tokenizer_2" else "<|endoftext|>")
        _convert(path, target, layout, family, TYPES.get(header[FIRST]["dtype"], "float32"))
    finally:
        shutil.rmtree(layout, ignore_errors=True)
    return remarks


def _convert(path: Path, target: Path, layout: Path, family: str, dtype: str) -> None:
    try:
        import diffusers
        import torch
    except ImportError as error:
        raise ConfigError(
            f"a single file is read with diffusers: pip install 'vjserver[diffusion]' ({error})"
        ) from None
    kind = diffusers.StableDiffusionXLPipeline if family == "sdxl" else diffusers.StableDiffusionPipeline
    more = {} if family == "sdxl" else {"safety_checker": None, "feature_extractor": None}
    try:
        pipeline = kind.from_single_file(
            str(path), config=str(layout), local_files_only=True, torch_dtype=getattr(torch, dtype), **more
        )
        pipeline.save_pretrained(target, safe_serialization=True)
    except Exception as error:  # noqa: BLE001 - whatever diffusers does not like about a foreign file
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ConfigError(f"{path} cannot be taken apart as {FAMILIES[family].what}: {reason}") from None


def write_layout(folder: Path, family: str, velocity: bool) -> None:
    """Write the configurations of a model of a family, without weights and vocabulary."""
    row = FAMILIES[family]
    parts: dict[str, Any] = {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
                             "scheduler": ["diffusers", "EulerDiscreteScheduler"],
                             "tokenizer": ["transformers", "CLIPTokenizer"]}  # fmt: skip
    _write(folder / "unet" / "config.json", {"_class_name": "UNet2DConditionModel", **row.unet})
    _write(folder / "vae" / "config.json", {"_class_name": "AutoencoderKL", **row.vae})
    for number, text in enumerate(row.texts):
        end = "" if number == 0 else f"_{number + 1}"
        kind = "CLIPTextModelWithProjection" if number else "CLIPTextModel"
        parts |= {f"text_encoder{end}": ["transformers", kind], f"tokenizer{end}": ["transformers", "CLIPTokenizer"]}
        specials = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407, "max_position_embeddings": 77}
        _write(
            folder / f"text_encoder{end}" / "config.json",
            {"architectures": [kind], "model_type": "clip_text_model", **specials, **text},
        )
    scheduler = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
                 "num_train_timesteps": 1000, "timestep_spacing": "trailing",
                 "prediction_type": "v_prediction" if velocity else "epsilon"}  # fmt: skip
    _write(folder / "scheduler" / "scheduler_config.json", {"_class_name": "EulerDiscreteScheduler", **scheduler})
    pipeline = "StableDiffusionXLPipeline" if family == "sdxl" else "StableDiffusionPipeline"
    absent = {} if family == "sdxl" else {"safety_checker": [None, None], "feature_extractor": [None, None]}
    _write(folder / "model_index.json", {"_class_name": pipeline, **parts, **absent})


def _write(path: Path, row: Config) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(row, indent=1), encoding="utf-8")


def _write_tokenizer(folder: Path, vocabularies: Sequence[Path], pad: str) -> None:
    """Write CLIP's vocabulary into a folder: of a model that is here, else fetched."""
    names = ("vocab.json", "merges.txt")
    found = next((one for one in vocabularies if all((one / name).is_file() for name in names)), None)
    if found is None:
        try:
            from huggingface_hub import snapshot_download

            found = Path(snapshot_download(VOCABULARY, allow_patterns=["tokenizer/*"])) / "tokenizer"
        except Exception as error:  # noqa: BLE001 - its HTTP library, and so its errors, change with its version
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(
                f"CLIP's vocabulary is not in the file, no model here has it, and {VOCABULARY} cannot be reached: "
                f"{reason}; once with a network: vjserver models pull sd-turbo"
            ) from None
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(found / name, folder / name)
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": pad, "bos_token": "<|startoftext|>",
         "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
    )  # fmt: skip
