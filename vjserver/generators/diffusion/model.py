"""A model folder goes in; its parts, on the device and ready to compute, come out. Nothing here asks the network."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import diffusers
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vjserver.generators.captured import choose_device, choose_dtype
from vjserver.generators.diffusion.layers import Weights
from vjserver.generators.diffusion.lora import read_loras
from vjserver.generators.diffusion.options import DiffusionOptions
from vjserver.generators.diffusion.sampler import Sampler
from vjserver.generators.diffusion.text import TextEncoder
from vjserver.generators.diffusion.unet import UNet
from vjserver.generators.layout import check_layout, check_vae, plain_weights, read_json, variant_of
from vjserver.generators.store import find_decoder, find_model
from vjserver.types.errors import ConfigError, GeneratorError

for _library in (diffusers, transformers):  # what matters is told by us; their bars and hints would fill the terminal
    _library.utils.logging.set_verbosity_error()
    _library.utils.logging.disable_progress_bar()

# How guidance reaches a model: not at all, as an embedded number (LCM), or by a second, negative prompt.
Guidance = Literal["none", "embedded", "negative"]


class Decoder(nn.Module):
    """Latents to pictures and back, by TAESD or by the full KL autoencoder."""

    def __init__(self, vae: nn.Module, config: Mapping[str, Any], dtype: torch.dtype, upcast: bool = False) -> None:
        """``upcast``: a full autoencoder overflows in float16 and computes in float32 instead."""
        super().__init__()
        self.vae, self.scale = vae, float(config["scaling_factor"])
        self.samples = hasattr(vae, "quant_conv")
        self.dtype = torch.float32 if upcast and dtype == torch.float16 and self.samples else dtype

    def encode(self, picture: Tensor, eps: Tensor) -> Tensor:
        """Return the latent, float32, of a picture in -1..1; the full encoder takes its sample at ``eps``."""
        x = picture.to(self.dtype)
        vae: Any = self.vae
        if not self.samples:
            return (vae.encoder(x) * self.scale).float()
        moments = vae.encoder(x)
        if vae.quant_conv is not None:
            moments = vae.quant_conv(moments)
        mean, log_variance = moments.float().chunk(2, 1)
        return (mean + torch.exp(0.5 * log_variance.clamp(-30.0, 20.0)) * eps) * self.scale

    def decode(self, latent: Tensor) -> Tensor:
        """Return the picture, -1..1 or a little beyond, of a latent."""
        x = (latent / self.scale).to(self.dtype)
        vae: Any = self.vae
        if self.samples and vae.post_quant_conv is not None:
            x = vae.post_quant_conv(x)
        return vae.decoder(x)


@dataclass(slots=True)
class Parts:
    """All of a model. ``remarks`` are sentences on what could not be had as asked."""

    folder: Path
    unet: UNet
    decoder: Decoder
    text: TextEncoder
    sampler: Sampler
    guidance: Guidance
    sdxl: bool
    device: torch.device
    dtype: torch.dtype
    loras: int
    empty_is_zero: bool = False
    remarks: list[str] = field(default_factory=list)


def load(options: DiffusionOptions) -> Parts:
    """Load the model that ``options`` name. Raises GeneratorError naming the file that is missing or damaged."""
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device)
    folder = find_model(options.model)
    try:
        check_layout(folder)
    except ConfigError as error:
        raise GeneratorError(str(error)) from None
    if not (folder / "unet").is_dir():
        raise GeneratorError(f"{folder} has no unet folder: a decoder alone makes no pictures")
    config = read_json(folder / "unet" / "config.json")
    sdxl = config.get("addition_embed_type") == "text_time"
    tensors = read_tensors(folder / "unet")
    branches, remarks = read_loras(options.loras, tensors)
    unet: Any = UNet(config, Weights(tensors, branches))
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    sampler = Sampler(scheduler, None if options.sampler == "auto" else options.sampler)
    layout = torch.channels_last if device.type != "mps" else torch.contiguous_format
    decoder: Any
    decoder, remark = _decoder(folder, sdxl, options.decoder, device, dtype)
    index = read_json(folder / "model_index.json")
    return Parts(
        folder,
        unet.to(device=device, dtype=dtype, memory_format=layout).eval(),
        decoder.to(memory_format=layout).eval(),
        _text(folder, sdxl, device, dtype),
        sampler,
        _guidance(config, scheduler, sampler),
        sdxl,
        device,
        dtype,
        max(1, len(options.loras)),
        sdxl and bool(index.get("force_zeros_for_empty_prompt", True)),
        [*remarks, *([remark] if remark else [])],
    )


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of a part, full precision preferred. Raises GeneratorError naming a damaged file."""
    files = plain_weights(folder) or sorted(folder.glob("*.safetensors"))
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= load_file(file)
        except (OSError, SafetensorError) as error:
            raise GeneratorError(f"{file} is damaged: {error}") from None
    if not tensors:
        raise GeneratorError(f"{folder} has no .safetensors file")
    return tensors


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Turn whatever a library says of a part that it cannot read into a GeneratorError that names the damaged file."""
    try:
        yield
    except GeneratorError:
        raise
    except Exception as error:
        read_tensors(folder)
        raise GeneratorError(f"{folder} cannot be read: {str(error)[:400]}") from error


def _guidance(config: Mapping[str, Any], scheduler: Mapping[str, Any], sampler: Sampler) -> Guidance:
    if config.get("time_cond_proj_dim"):
        return "embedded"
    turbo = scheduler.get("timestep_spacing") == "trailing" and sampler.name != "lcm"
    return "none" if turbo else "negative"


def _text(folder: Path, sdxl: bool, device: torch.device, dtype: torch.dtype) -> TextEncoder:
    with _naming(folder / "text_encoder"):
        return TextEncoder(folder, sdxl, device, dtype)


def _decoder(folder: Path, sdxl: bool, asked: str, device: torch.device, dtype: torch.dtype) -> tuple[Decoder, str]:
    """Return the decoder that was asked for and a sentence if it is another."""
    fast, remark = find_decoder("sdxl" if sdxl else "sd"), ""
    name = "taesdxl" if sdxl else "taesd"
    own = read_json(folder / "vae" / "config.json")
    path = folder / "vae"
    if asked != "full" and own.get("_class_name") != "AutoencoderTiny":
        if fast is not None:
            path = fast
        elif asked == "taesd":
            raise GeneratorError(f"the fast decoder is not here yet: vjserver models pull {name}")
        else:
            remark = f"the full decoder plays, it is the slower one; for the fast one: vjserver models pull {name}"
    check_vae(path, GeneratorError)
    config = read_json(path / "config.json")
    kind = {"AutoencoderTiny": diffusers.AutoencoderTiny, "AutoencoderKL": diffusers.AutoencoderKL}.get(
        str(config.get("_class_name"))
    )
    if kind is None:
        raise GeneratorError(f"{path} is an AutoencoderTiny or AutoencoderKL: got {config.get('_class_name')!r}")
    with _naming(path):
        vae = kind.from_pretrained(str(path), local_files_only=True, use_safetensors=True, variant=variant_of(path))
    # Only what the file says counts: diffusers takes silence for yes, and SD1.5's and SD2.1's files are silent.
    decoder = Decoder(vae, vae.config, dtype, bool(config.get("force_upcast")))
    return decoder.to(device=device, dtype=decoder.dtype), remark
