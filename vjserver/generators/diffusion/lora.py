"""LoRA files: safetensors of kohya's, PEFT's or diffusers' naming go in, low-rank branches by layer come out.

What a LoRA changes in the text encoder is left out, and that is said: it would need every prompt encoded anew at each
change of weight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vjserver.types.errors import GeneratorError


@dataclass(frozen=True, slots=True)
class Branch:
    """What LoRA number ``index`` adds to a layer: ``up @ down``, already scaled by its alpha."""

    index: int
    down: Tensor
    up: Tensor

    @property
    def rank(self) -> int:
        """Its rank."""
        return int(self.down.shape[0])


def read_loras(paths: Sequence[Path], tensors: Mapping[str, Tensor]) -> tuple[dict[str, tuple[Branch, ...]], list[str]]:
    """Return the branches of every layer, and sentences on what was left out; ``tensors`` are the UNet's.

    Raises GeneratorError for a file that cannot be read, is no safetensors, or is of another family.
    """
    branches: dict[str, list[Branch]] = {}
    remarks: list[str] = []
    for index, path in enumerate(paths):
        pairs, others = _pairs(path)
        if others:
            remarks.append(f"LoRA {path.name}: {others} tensors are not of the UNet (text encoder) and are left out")
        for name, (down, up) in pairs.items():
            weight = tensors.get(f"{name}.weight")
            shape = None if weight is None else (up.shape[0], *down.shape[1:])
            if weight is None or shape != weight.shape:
                has = "no such layer" if weight is None else f"a weight of {tuple(weight.shape)}"
                raise GeneratorError(
                    f"LoRA {path} is of another family than this model: it changes {name!r} "
                    f"(as {shape or tuple(down.shape)}), the model has {has}"
                )
            branches.setdefault(name, []).append(Branch(index, down, up))
    return {name: tuple(rows) for name, rows in branches.items()}, remarks


def _pairs(path: Path) -> tuple[dict[str, tuple[Tensor, Tensor]], int]:
    """Return (down, up) by the UNet's layer, alpha worked into up, and how many tensors were not of the UNet."""
    state, alphas = _diffusers_names(path)
    downs, ups, others = {}, {}, 0
    for key, tensor in state.items():
        name, end = _split(key)
        if not name:
            others += 1
        elif end == "down":
            downs[name] = tensor.float()
        else:
            ups[name] = tensor.float()
    if not downs or downs.keys() != ups.keys():
        raise GeneratorError(f"{path} is no LoRA for a UNet: {len(downs)} down and {len(ups)} up matrices were found")
    scaled = {}
    for name, down in downs.items():
        alpha = alphas.get(name)
        scaled[name] = (down, ups[name] * (1.0 if alpha is None else alpha / down.shape[0]))
    return scaled, others


ENDS = {
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
}


# What is called a LoRA and is none: a part of their tensors' names, and what they are.
OTHER_KINDS = {
    "dora_scale": "DoRA (it also scales each row of a weight)",
    "magnitude_vector": "DoRA (it also scales each row of a weight)",
    "hada_w": "LoHa of LyCORIS",
    "lokr_w": "LoKr of LyCORIS",
    "oft_blocks": "OFT (it turns weights)",
    "oft_diag": "OFT (it turns weights)",
    ".diff": "file of whole differences (LyCORIS full, or a distilled model)",
}
HOW_TO_FLATTEN = "extract one from a merged model (kohya's extract_lora_from_models.py, or LyCORIS's tools)"


def _split(key: str) -> tuple[str, str]:
    """Return the UNet's layer and ``down`` or ``up`` for a key, or empty texts for what is not of the UNet."""
    if not key.startswith("unet."):
        return "", ""
    for ending, end in ENDS.items():
        if key.endswith(ending):
            name = key.removeprefix("unet.").removesuffix(ending).replace(".processor.to_", ".to_")
            return (name + ".0" if name.endswith(".to_out") else name), end
    return "", ""


def _diffusers_names(path: Path) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return the tensors under diffusers' names, and alphas by layer."""
    from diffusers.loaders import StableDiffusionLoraLoaderMixin
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix != ".safetensors":
        raise GeneratorError(f"a LoRA is a .safetensors file: got {path} (others can run code when they are opened)")
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise GeneratorError(f"no such LoRA: {path}") from None
    except (OSError, SafetensorError) as error:
        raise GeneratorError(f"LoRA {path} is damaged: {error}") from None
    state = {key.removeprefix("base_model.model."): tensor for key, tensor in state.items()}
    for sign, kind in OTHER_KINDS.items():
        if any(sign in key for key in state):
            raise GeneratorError(f"LoRA {path} is a {kind}, and plain LoRAs are played: {HOW_TO_FLATTEN}")
    own = {key: float(state.pop(key)) for key in list(state) if key.endswith(".alpha") and key.startswith("unet.")}
    try:
        named, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(state)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise GeneratorError(f"LoRA {path} is of a kind that cannot be read: {error}") from None
    if not any(key.startswith(("unet.", "text_encoder")) for key in named):
        named = {f"unet.{key}": tensor for key, tensor in named.items()}
    result = {}
    for key, alpha in {**own, **(alphas or {})}.items():
        stem = key.removesuffix(".alpha")
        name = _split(stem)[0] or _split(stem + ".lora_A.weight")[0]
        result[name] = float(alpha)
    return {key: torch.as_tensor(tensor) for key, tensor in named.items()}, result
