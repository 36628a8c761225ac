"""A GAN out of a folder: tensors go in, a network comes out, on its device and in its precision."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vjserver.generators.captured import choose_device, choose_dtype
from vjserver.generators.gan.biggan import BigGAN
from vjserver.generators.gan.classes import labels_of
from vjserver.generators.gan.layers import Drive, Grid, Network
from vjserver.generators.gan.options import GanOptions
from vjserver.generators.gan.stylegan2 import StyleGAN2
from vjserver.generators.gan.stylegan3 import StyleGAN3
from vjserver.types.errors import ConfigError, GeneratorError

NETWORKS: dict[str, Any] = {one.kind: one for one in (StyleGAN2, StyleGAN3, BigGAN)}
HALVED = ("weight", "bias", "fir")
"""What is kept in half precision of a layer that convolves; what styles, statistics and colours hang on is not."""


@dataclass(frozen=True)
class Gan:
    """A network that can draw, where it lies, and what its classes are called."""

    network: Any
    folder: Path
    device: torch.device
    dtype: torch.dtype
    labels: tuple[str, ...] = field(default=(), repr=False)


def network_of(kind: str, tensors: Mapping[str, Tensor]) -> Network:
    """Return the network of tensors. Raises ConfigError for tensors that do not fit together."""
    make = NETWORKS.get(kind)
    if make is None:
        raise ConfigError(f"{kind} is not played: {', '.join(NETWORKS)} are")
    try:
        network: Network = make(tensors).eval()
        return network
    except KeyError as error:
        raise ConfigError(f"it is not whole: {error.args[0]} is missing") from None
    except (ValueError, IndexError, RuntimeError, ZeroDivisionError, TypeError) as error:
        raise ConfigError(f"its tensors do not fit together: {str(error).splitlines()[0]}") from None


def check_shapes(kind: str, tensors: Mapping[str, Tensor]) -> None:
    """Draw without computing, to see that all tensors fit together. Raises ConfigError."""
    meta = torch.device("meta")
    network: Any = network_of(kind, {name: value.to(meta) for name, value in tensors.items()})
    shadow = network.to(meta)
    sizes = ((2, network.z_dim), (network.classes,), (network.styles,), (network.styles,), (), (), (3, 3))
    z, label, psi, mix, noise, truncation, transform = (torch.zeros(size, device=meta) for size in sizes)
    drive = Drive(z, label, psi, mix, noise, truncation, transform)
    for grid in (Grid(), Grid(4, 7)):
        width, height = network.size(grid)
        try:
            shape = tuple(shadow(drive, grid).shape)
        except (ValueError, IndexError, RuntimeError, ZeroDivisionError) as error:
            raise ConfigError(f"its tensors do not fit together: {str(error).splitlines()[0]}") from None
        if shape != (1, 3, height, width):
            raise ConfigError(f"its tensors do not fit together: they draw {shape[1:]}, not {(3, height, width)}")


def load(folder: Path, options: GanOptions) -> Gan:
    """Return the GAN of a folder that ``models convert`` wrote. Raises GeneratorError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "model.safetensors")
        kind = str(about.get("_class_name"))
        check_shapes(kind, tensors)
        network: Any = network_of(kind, tensors)
    except (OSError, ValueError, AttributeError, RecursionError, SafetensorError, ConfigError) as error:
        raise GeneratorError(f"{folder} is no GAN that can be played: {error}") from None
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device)
    if device.type == "cuda" and hasattr(network, "fold"):
        network.fold()
    network = halved(network, dtype).to(device)
    return Gan(network, folder, device, dtype, labels_of(folder, network.classes))


def halved(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Keep the weights of convolutions, and what is added to their results, in another precision."""
    for module in network.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim == 4:
            for name in HALVED:
                value = getattr(module, name, None)
                if isinstance(value, Tensor):
                    value = value.to(dtype)
                    setattr(
                        module, name, value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value
                    )
    return network
