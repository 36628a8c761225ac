"""The layout of a model's folder: a folder goes in, what is missing or refused in it comes out."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vjserver.generators.diffusion.singlefile import check_channels
from vjserver.generators.shelves import FAMILIES, GANS
from vjserver.types.errors import ConfigError, GeneratorError, VJError

PICKLES = (".ckpt", ".pt", ".pth", ".pkl", ".bin")
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
FOLDERS = (*PARTS, "tokenizer", "tokenizer_2", "scheduler")
WHY_NOT_PICKLES = (
    "such a file is a Python pickle, which can run any code when it is opened; "
    "take the .safetensors version; of a GAN this makes one and runs nothing: vjserver models convert FILE -o FOLDER; "
    "any other, convert once on a machine that you can lose (see docs/models.md)"
)
CONFIGS = {"VQModel": "VQGAN", "MotionAdapter": "AnimateDiff", **{name: name for name in GANS}}


def has_weights(part: Path) -> bool:
    """Tell whether a part of a pipeline is a network, and no tokenizer or scheduler."""
    return (part / "config.json").is_file()


def check_layout(folder: Path) -> None:
    """Raise ConfigError unless ``folder`` is a whole model or decoder, with safetensors for every part."""
    index = folder / "model_index.json"
    kind = kind_of(folder)
    if index.is_file() and kind != "diffusion":
        row = read_json(index, ConfigError)
        check_pipeline(folder, row)
        parts: Sequence[Path] = [folder / part for part in row if PART.fullmatch(part) and has_weights(folder / part)]
    elif kind in FAMILIES:
        parts = [folder]
    elif not index.is_file():
        config = folder / "config.json"
        if not config.is_file():
            raise ConfigError(f"{folder} is no model: it has neither model_index.json nor config.json")
        parts = [folder]
    else:
        row = read_json(index, ConfigError)
        missing = [part for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler") if part not in row]
        if missing:
            raise ConfigError(f"{index} names no {missing[0]}: not a model of the Stable Diffusion families")
        parts = [folder / part for part in PARTS if isinstance(row.get(part), list) and row[part][0]]
        _check_parts(folder)
    for part in parts:
        weights = sorted(part.glob("*.safetensors"))
        for file in weights:
            check_weights(file)
        if weights:
            continue
        pickle = next((file for file in files_of(part) if file.suffix.lower() in PICKLES), None)
        if pickle is not None:
            raise ConfigError(f"{pickle} is refused: {WHY_NOT_PICKLES}")
        raise ConfigError(f"{part} has no .safetensors file")


def _check_parts(folder: Path) -> None:
    """Raise ConfigError for a model that can be taken in and never loaded: parts missing, or of another kind."""
    for part in ("unet", "vae", "text_encoder"):
        if not (folder / part / "config.json").is_file():
            raise ConfigError(f"{folder / part} has no config.json: the download is not whole")
    if not (folder / "scheduler" / "scheduler_config.json").is_file():
        raise ConfigError(f"{folder} has no scheduler/scheduler_config.json: the download is not whole")
    tokenizer = folder / "tokenizer"
    if not any(all((tokenizer / name).is_file() for name in names) for names in TOKENIZERS):
        raise ConfigError(
            f"{tokenizer} has neither tokenizer.json nor vocab.json and merges.txt: prompts cannot be read"
        )
    unet = read_json(folder / "unet" / "config.json", ConfigError)
    check_channels(folder, unet.get("in_channels", 4))
    check_vae(folder / "vae")


def check_vae(folder: Path, fault: type[VJError] = ConfigError) -> None:
    """Raise ``fault`` for an autoencoder whose latents are not those of the Stable Diffusion families."""
    config = read_json(folder / "config.json", fault)
    name = "encoder_" * (config.get("_class_name") == "AutoencoderTiny") + "block_out_channels"
    blocks = config.get(name, (0,) * 4)
    scale = 2 ** (len(blocks) - 1) if isinstance(blocks, (list, tuple)) else 0
    latents = config.get("latent_channels", 4)
    if scale != 8 or latents != 4:
        raise fault(
            f"{folder} makes latents of {latents} channels at 1/{scale} of the picture's size; 4 channels at 1/8 are "
            "played (SD 1.5, SD 2.1, SDXL and what is made of them)"
        )


def check_weights(file: Path) -> None:
    """Raise ConfigError for a file that holds no tensors: a pointer to one, or one that is cut off.

    Format: github.com/huggingface/safetensors: the length of the header (u64), the header (JSON), the data.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        if head.startswith(b"version "):
            raise ConfigError(f"{file} is only a pointer (Git LFS), not the file: git lfs pull, or download it again")
        length = int.from_bytes(head, "little")
        try:
            rows = json.loads(stream.read(length)) if 8 + length <= size else {}
            end = max((row["data_offsets"][1] for name, row in rows.items() if name != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            rows, end = {}, 0
    if not rows or not isinstance(end, int) or 8 + length + end > size:
        raise ConfigError(f"{file} is damaged or cut off: download it again")


def plain_weights(folder: Path) -> list[Path]:
    """Return the weights of a part that are in full precision, or in the only one there is a name for."""
    return [file for file in sorted(folder.glob("*.safetensors")) if ".fp16." not in file.name]


def variant_of(folder: Path) -> str | None:
    """Return what diffusers calls the variant of a part: ``fp16`` where it is in half precision only."""
    return None if plain_weights(folder) else "fp16"


def read_json(path: Path, fault: type[VJError] = GeneratorError) -> dict[str, Any]:
    """Return a configuration. Raises ``fault`` naming the file."""
    try:
        if path.exists() and not path.is_file():
            raise fault(f"{path} is no file")
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise fault(f"{path} cannot be read: {error}") from None
    if not isinstance(row, dict):
        raise fault(f"{path} is no JSON object")
    return row


_PIPELINES = {
    "LTXPipeline": "LTX", "LTXImageToVideoPipeline": "LTX", "LTXConditionPipeline": "LTX", "WanPipeline": "Wan",
    "WanImageToVideoPipeline": "Wan", "CogVideoXPipeline": "CogVideoX", "CogVideoXImageToVideoPipeline": "CogVideoX",
    "AnimateDiffPipeline": "AnimateDiff",
}  # fmt: skip
PART = re.compile(r"\w[\w-]{0,99}")


def kind_of(folder: Path) -> str:
    """Return what lies in a folder: ``diffusion``, ``decoder``, a family's or another pipeline's name, or nothing."""
    try:
        if (folder / "model_index.json").is_file():
            row = read_json(folder / "model_index.json", ConfigError)
            name = str(row.get("_class_name", ""))
            if name in _PIPELINES:
                return _PIPELINES[name]
            return "diffusion" if "unet" in row or not name else name.removesuffix("Pipeline")
        row = read_json(folder / "config.json", ConfigError)
    except ConfigError:
        return ""
    if row.get("model_type") == "clip":
        return "CLIP"
    return CONFIGS.get(str(row.get("_class_name", "")), "decoder")


def player_of(kind: str) -> str:
    """Return which generator plays a kind of model; empty for a decoder, which plays along."""
    if kind in FAMILIES:
        return FAMILIES[kind].plays
    return {"diffusion": "diffusion", "decoder": "", "": ""}.get(kind, "still")


def check_pipeline(folder: Path, index: dict[str, Any], fault: type[VJError] = ConfigError) -> None:
    """Raise ``fault`` unless every part that a pipeline names is there, and is of diffusers or transformers.

    A part of another library would be code that came with the weights.
    """
    if not isinstance(index.get("_class_name"), str):
        raise fault(f"{folder} names no pipeline of diffusers: it would bring its own code")
    for part, row in index.items():
        if not isinstance(row, list) or len(row) != 2 or row[0] is None:
            continue
        library, name = row
        if part in UNUSED:
            continue
        if not PART.fullmatch(part):
            raise fault(f"{folder} names a part {part[:60]!r}, which is no folder's name")
        if library not in ("diffusers", "transformers") or not isinstance(name, str):
            raise fault(f"{folder}: its {part} is of {str(library)[:60]!r}, which would be code that came with it")
        if not (folder / part).is_dir():
            raise fault(f"{folder} is not whole: its {part} ({name[:80]}) is missing")
        if has_weights(folder / part) and not any((folder / part).glob("*.safetensors")):
            raise fault(f"{folder / part} has no .safetensors file")


def files_of(folder: Path) -> Iterator[Path]:
    """Return the files of a model's folder, sorted, without caches."""
    return (file for file in sorted(folder.rglob("*")) if file.is_file() and ".cache" not in file.parts)


UNUSED = ("safety_checker", "feature_extractor")
"""Parts of pipelines that are never loaded: what is made is not looked at."""
