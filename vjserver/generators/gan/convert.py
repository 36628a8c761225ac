"""Conversion: somebody's checkpoint goes in, a folder of safetensors with a manifest comes out.

The file is read in a process of its own that, on Linux, has a bounded memory and no network (where the system lets it
give that up); what comes out of it is tensors and nothing else.
"""

import contextlib
import ctypes
import json
import multiprocessing as mp
import re
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vjserver.generators.paint.convert import check_loads, is_taming, of_taming
from vjserver.runtime.files import at_home, remove
from vjserver.types.errors import ConfigError

WEIGHTS, CONFIG = "model.safetensors", "config.json"
PATIENCE_S = 900.0
SECONDS, SECONDS_A_GIB = 120, 120
"""So much computing a file may ask for, and more for each gibibyte of it."""
SPARE_BYTES = 6 << 30
TOO_LONG = "takes too long to read: it is no checkpoint"
TOO_LARGE = "wants more memory than a checkpoint of its size needs"
NEWNET, NEWUSER = 0x40000000, 0x10000000


@dataclass(frozen=True)
class Converted:
    """What a checkpoint turned out to be: a kind, its tensors, and the layout of a model that diffusers loads."""

    kind: str
    tensors: Mapping[str, Any]
    config: Mapping[str, Any] | None = None


def convert(path: Path, folder: Path) -> str:
    """Write a checkpoint's tensors into a new folder; return a sentence on what it is. Raises ConfigError."""
    path, folder = at_home(path), at_home(folder).absolute()
    part: Path | None = None
    try:
        if not path.is_file():
            raise ConfigError(f"no such file: {path}")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder} is there already: give a folder that is not")
        if not folder.parent.is_dir():
            raise ConfigError(f"there is no folder {folder.parent}")
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name[:40]}.", suffix=".part", dir=folder.parent))
        part.chmod(0o755)
        told = _apart(path, part)
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from None
    finally:
        if part is not None:
            remove(part)
    return told


def _apart(path: Path, part: Path) -> str:
    """Have another process convert a file; return what it says. Raises ConfigError with what it says is wrong."""
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(str(path), str(part), theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(PATIENCE_S):
            raise ConfigError(f"{path.name} {TOO_LONG}")
        well, told = ours.recv()
    except EOFError:
        process.join(10.0)
        if process.exitcode == -24:  # SIGXCPU
            raise ConfigError(f"{path.name} {TOO_LONG}") from None
        raise ConfigError(
            f"{path.name}: the process that read it ended by itself (exit code {process.exitcode}): "
            "it is damaged, or wants more memory than there is"
        ) from None
    finally:
        if process.is_alive():
            process.join(10.0)
            process.kill()
        process.join()
    if not well:
        raise ConfigError(str(told))
    return str(told)


def _work(path: str, part: str, out: Any) -> None:
    """Convert, in a process of its own."""
    _give_up_network()
    _end_with_parent()
    try:
        import torch  # before the memory is bounded: its libraries take much address space

        torch.set_num_threads(1)
        _bound(Path(path))
        out.send((True, write(recognised(Path(path)), Path(part))))
    except ConfigError as error:
        out.send((False, str(error)))
    except ImportError as error:
        out.send((False, f"checkpoints are read with torch: pip install 'vjserver[diffusion]' ({error})"))
    except MemoryError:
        out.send((False, f"{Path(path).name} {TOO_LARGE}"))
    except OSError as error:
        out.send((False, f"{error.filename or path} cannot be read or written: {error.strerror or error}"))
    except Exception as error:  # noqa: BLE001 - what somebody made up lets libraries raise anything
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        told = TOO_LARGE if "allocate memory" in why else f"is damaged, or no checkpoint: {why}"
        out.send((False, f"{Path(path).name} {told}"))


def _give_up_network() -> None:
    """Leave the network, for good: on Linux, where the system lets us."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(NEWNET):
                libc.unshare(NEWUSER | NEWNET)


def _end_with_parent() -> None:
    """End when the process that started us does, however that ends: on Linux."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _bound(path: Path) -> None:
    """Bound computing and, on Linux, memory, by what the file really holds: holes in it count for nothing."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        about = path.stat()
        size = min(about.st_size, 512 * about.st_blocks)
        seconds = int(time.process_time()) + SECONDS + SECONDS_A_GIB * size // 2**30
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        most = now + 6 * size + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def recognised(path: Path) -> Converted:
    """Return what a checkpoint is. Raises ConfigError: which kind it is, if it is one that is not taken."""
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        return of_tensors(path, load_file(path))
    from vjserver.generators.gan import pickles

    found = pickles.read(path)
    if isinstance(found, tuple) and len(found) == 3 and isinstance(found[2], pickles.TensorFlowNetwork):
        return _of_tensorflow(path, found[2])
    if isinstance(found, Mapping):
        network = found.get("G_ema")
        if hasattr(network, "state"):
            return of_tensors(path, pickles.tensors_of(network))
        for key in ("g_ema", "state_dict", "model"):
            if isinstance(found.get(key), Mapping):
                return of_tensors(path, _flat(found[key], found))
        return of_tensors(path, _flat(found, found))
    raise ConfigError(f"{path.name} holds no generator: a {type(found).__name__} is in it")


def _flat(rows: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    tensors = {name: value for name, value in rows.items() if isinstance(name, str) and isinstance(value, torch.Tensor)}
    if isinstance(whole.get("latent_avg"), torch.Tensor):
        tensors["latent_avg"] = whole["latent_avg"]
    return tensors


def of_tensors(path: Path, tensors: Mapping[str, Any]) -> Converted:
    """Return what named tensors are, by their names. Raises ConfigError."""
    for name, value in tensors.items():
        _check(name, value)
    names = set(tensors)
    if "generator.gen_z.weight_orig" in names or "generator.gen_z.weight" in names:
        return _biggan(tensors)
    if "synthesis.input.freqs" in names:
        return _stylegan(tensors, "StyleGAN3")
    if "synthesis.b4.const" in names:
        if any(".pre_0.weight" in name or ".affine_0.weight" in name for name in names):
            raise ConfigError(f"{path.name} is Lafite, StyleGAN2 with a text, which is not played yet")
        return _stylegan(tensors, "StyleGAN2")
    if "input.input" in names and "conv1.conv.weight" in names:
        return _rosinality(tensors)
    if is_taming(names):
        config, kept = of_taming(tensors)
        return Converted("VQGAN", kept, config)
    raise ConfigError(f"{path.name} is no GAN that is known: {told_kind(names)}")


def _check(name: str, value: Any) -> None:
    """Raise ConfigError for a tensor that is no plain array of real numbers, or claims more than its file holds."""
    import torch

    plain = value.layout == torch.strided and not value.is_quantized and value.device.type == "cpu"
    if not plain or value.is_complex():
        raise ConfigError(f"{name[:80]} is no plain array of real numbers")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise ConfigError(f"{name[:80]} is claimed to be {tuple(value.shape)}, and its file holds less")


def told_kind(names: set[str]) -> str:
    """Say what a checkpoint seems to be that is none of ours."""
    signs = (
        ("model.diffusion_model.", "it is a diffusion checkpoint: vjserver models add takes its .safetensors"),
        ("lora_", "it is a LoRA: loras = [...] in [generators.diffusion] takes its .safetensors"),
        ("quantize.embed", "it is a VQGAN, or a part of one, in another layout than taming-transformers'"),
        ("decoder.conv_in", "it is an autoencoder"),
        ("visual.", "it is CLIP"),
        ("progression.", "it is StyleGAN1, which is not taken"),
        ("discriminator", "it is a discriminator, without a generator"),
        ("linear.weight", "it is a BigGAN of another layout; huggingface's biggan-deep-* is taken"),
    )  # fmt: skip
    for sign, told in signs:
        if any(name.startswith(sign) or f".{sign}" in name for name in names):
            return told
    some = ", ".join(sorted(names)[:3])
    return f"its tensors are called {some}" if some else "it has no tensors"


def _plain(tensors: Mapping[str, Any], prefixes: tuple[str, ...]) -> dict[str, Any]:
    return {
        name: value.float().contiguous().clone()
        for name, value in tensors.items()
        if name.startswith(prefixes) and not name.endswith("resample_filter")
    }


def _stylegan(tensors: Mapping[str, Any], kind: str) -> Converted:
    kept = _plain(tensors, ("mapping.", "synthesis."))
    _need(kept, "mapping.w_avg", "mapping.fc0.weight")
    return Converted(kind, kept)


def _need(tensors: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if name not in tensors:
            raise ConfigError(f"it is not whole: {name} is missing")


def _biggan(tensors: Mapping[str, Any]) -> Converted:
    """Work spectral normalisation into the weights: each is divided by its largest stretch, u W v."""
    kept: dict[str, Any] = {}
    for name, value in _plain(tensors, ("embeddings.", "generator.")).items():
        if name.endswith("_orig"):
            base = name.removesuffix("_orig")
            _need(tensors, f"{base}_u", f"{base}_v")
            matrix = value.reshape(len(value), -1)
            stretch = tensors[f"{base}_u"].float() @ matrix @ tensors[f"{base}_v"].float()
            kept[base] = value / stretch
        elif not name.endswith(("_u", "_v", "num_batches_tracked")):
            kept[name] = value
    _need(kept, "embeddings.weight", "generator.conv_to_rgb.weight", "generator.bn.running_means")
    return Converted("BigGAN-deep", kept)


def _rosinality(tensors: Mapping[str, Any]) -> Converted:
    """Rename what github.com/rosinality/stylegan2-pytorch keeps; its weights have a row for the batch before."""
    kept: dict[str, Any] = {"synthesis.b4.const": tensors["input.input"][0]}
    if "latent_avg" not in tensors:
        raise ConfigError("it has no latent_avg, the average style that truncation needs")
    kept["mapping.w_avg"] = tensors["latent_avg"].reshape(-1)
    for name, value in tensors.items():
        if m := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
            kept[f"mapping.fc{int(m[1]) - 1}.{m[2]}"] = value
    blocks = [("conv1", "synthesis.b4.conv1", 0), ("to_rgb1", "synthesis.b4.torgb", None)]
    count = len({name.split(".")[1] for name in tensors if name.startswith("convs.")})
    for i in range(count):
        size = 8 << (i // 2)
        blocks.append((f"convs.{i}", f"synthesis.b{size}.conv{i % 2}", i + 1))
        if i % 2:
            blocks.append((f"to_rgbs.{i // 2}", f"synthesis.b{size}.torgb", None))
    for theirs, ours, noise in blocks:
        _need(tensors, f"{theirs}.conv.weight", f"{theirs}.conv.modulation.weight")
        kept[f"{ours}.weight"] = tensors[f"{theirs}.conv.weight"][0]
        for part in ("weight", "bias"):
            kept[f"{ours}.affine.{part}"] = tensors[f"{theirs}.conv.modulation.{part}"]
        if noise is None:
            kept[f"{ours}.bias"] = tensors[f"{theirs}.bias"].reshape(-1)
            continue
        kept[f"{ours}.bias"] = tensors[f"{theirs}.activate.bias"].reshape(-1)
        kept[f"{ours}.noise_strength"] = tensors[f"{theirs}.noise.weight"].reshape(())
        kept[f"{ours}.noise_const"] = tensors[f"noises.noise_{noise}"][0, 0]
    return Converted("StyleGAN2", {name: value.float().contiguous().clone() for name, value in kept.items()})


def _of_tensorflow(path: Path, network: Any) -> Converted:
    """Rename what StyleGAN2's TensorFlow version keeps: weights lie (height, width, in, out), styles begin at 0.

    Kernels that spread what they are given are turned by half a turn there.
    """
    import numpy as np
    import torch

    rows: dict[str, Any] = {}
    _collect_tensorflow(network, rows)
    if not any(name.endswith("mod_weight") for name in rows):
        raise ConfigError(f"{path.name} is a TensorFlow pickle of StyleGAN1 or older, which is not taken")
    kept: dict[str, Any] = {}

    def put(name: str, values: Any) -> None:
        kept[name] = torch.from_numpy(np.array(values, np.float32, order="C"))

    for name, values in rows.items():
        if m := re.fullmatch(r"Dense(\d+)/(weight|bias)", name):
            put(f"mapping.fc{m[1]}.{m[2]}", values.T if m[2] == "weight" else values)
        elif name == "LabelConcat/weight":
            raise ConfigError(f"{path.name}: a TensorFlow model with classes is not taken")
        elif name == "dlatent_avg":
            put("mapping.w_avg", values)
        elif name == "4x4/Const/const":
            put("synthesis.b4.const", values[0])
        elif m := re.fullmatch(r"(\d+)x\d+/(Conv|Conv0_up|Conv1|ToRGB)/(\w+)", name):
            part = {"Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb"}[m[2]]
            where = f"synthesis.b{m[1]}.{part}"
            if m[3] == "weight":
                put(f"{where}.weight", (values[::-1, ::-1] if part == "conv0" else values).transpose(3, 2, 0, 1))
            elif m[3] == "mod_weight":
                put(f"{where}.affine.weight", values.T)
            elif m[3] == "mod_bias":
                put(f"{where}.affine.bias", values + 1.0)
            elif m[3] in ("bias", "noise_strength"):
                put(f"{where}.{m[3]}", values)
        elif m := re.fullmatch(r"noise(\d+)", name):
            number = int(m[1])
            put(f"synthesis.b{4 << ((number + 1) // 2)}.conv{1 if number == 0 else (number + 1) % 2}.noise_const",
                values[0, 0])  # fmt: skip
    _need(kept, "mapping.w_avg", "mapping.fc0.weight", "synthesis.b4.const")
    return Converted("StyleGAN2", kept)


def _collect_tensorflow(network: Any, rows: dict[str, Any]) -> None:
    """Gather the variables of a network and of its parts."""
    from vjserver.generators.gan.pickles import Array, TensorFlowNetwork

    parts = network.state.get("components")
    inner = [one for one in parts.values() if isinstance(one, TensorFlowNetwork)] if isinstance(parts, dict) else []
    for one in (network, *inner[:16]):
        variables = one.state.get("variables")
        for row in variables if isinstance(variables, (list, tuple)) else ():
            if isinstance(row, (tuple, list)) and len(row) == 2 and isinstance(row[0], str):
                values = row[1].values if isinstance(row[1], Array) else row[1]
                if hasattr(values, "shape"):
                    rows[row[0]] = values


def write(found: Converted, folder: Path) -> str:
    """Write what was found into a folder; return a sentence on it. Raises ConfigError for what cannot draw."""
    import torch
    from safetensors.torch import save_file

    from vjserver.generators.gan.model import check_shapes, network_of

    bad = next((name for name, value in found.tensors.items() if not torch.isfinite(value).all()), None)
    if bad is not None:
        raise ConfigError(f"it is damaged: {bad} has numbers that are none")
    count = sum(value.numel() for value in found.tensors.values()) / 1e6
    if found.config is not None:
        save_file(dict(found.tensors), folder / "diffusion_pytorch_model.safetensors")
        (folder / CONFIG).write_text(json.dumps(found.config, indent=1), encoding="utf-8")
        check_loads(folder)
        codes, scale = found.config["num_vq_embeddings"], 2 ** (len(found.config["block_out_channels"]) - 1)
        return f"VQGAN, {codes} patches of {scale}x{scale}, {count:.1f} million numbers"
    network = network_of(found.kind, found.tensors)
    check_shapes(found.kind, found.tensors)
    about = {
        "_class_name": found.kind, "resolution": network.resolution, "z_dim": network.z_dim,
        "styles": network.styles, "classes": network.classes,
    }  # fmt: skip
    save_file(dict(found.tensors), folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(about, indent=1), encoding="utf-8")
    classes = f", {network.classes} classes" if network.classes else ""
    return f"{found.kind}, {network.resolution}x{network.resolution}{classes}, {count:.1f} million numbers"
