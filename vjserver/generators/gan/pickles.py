"""Pickled checkpoints: a file goes in, tensors come out; nothing that the file carries is run.

What a pickle asks for by name is looked up in a short list; all else is refused, by name. Classes of networks become
plain holders of what they kept. Only :mod:`convert` reads such files, in a process of its own.
"""

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vjserver.types.errors import ConfigError

DEEPEST = 40
MOST_TENSORS = 20_000
MOST_MODULES = 20_000
KINDS = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"))
"""Number formats of numpy's that arrays may have."""
LARGEST_TENSOR = 1 << 31
"""Bytes that one tensor may have; the largest of a known model has a fiftieth of it."""


class RefusedError(ConfigError):
    """A pickle asks for what it may not have."""


@dataclass(eq=False)
class Held:
    """Stands for an object of a network's class: what it kept."""

    state: dict[str, Any]
    name: str = ""


def _held(meta: object) -> Held:
    """Stand for an object that brought its own source: that is not looked at."""
    if not isinstance(meta, dict) or not isinstance(meta.get("state"), dict):
        raise RefusedError("a network in it is kept in an unknown way")
    return Held(meta["state"], str(meta.get("class_name", "")))


class _Attributes(dict[str, Any]):
    """Stands for a dictionary that can be asked by attributes."""

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.update(state)


class _Module:
    """Stands for a module of torch, or for one of TensorFlow's networks."""

    def __init__(self, *_args: object, **_named: object) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.state = state


class TensorFlowNetwork(_Module):
    """Stands for a network of dnnlib's TensorFlow version."""


def _storage(data: bytes) -> Any:
    """Return the storage that lies within a pickle as a small file of torch's own."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: object) -> Tensor:
    """Return a tensor over a storage. Raises RefusedError where it claims more than is there."""
    source = storage if isinstance(storage, Tensor) else torch.empty(0, dtype=storage.dtype).set_(storage)
    source = source.reshape(-1) if source.is_contiguous() else source.flatten()
    count = math.prod(size)
    last = offset + sum((int(n) - 1) * int(step) for n, step in zip(size, stride, strict=True)) if count else offset
    _check_size(count * source.element_size())
    negative = min(*size, *stride, offset, 0) < 0
    if negative or last >= max(1, source.numel()) or count > source.numel():
        raise RefusedError(f"a tensor of {tuple(size)} is claimed, and its file has {source.numel()} numbers for it")
    return torch.as_strided(source, tuple(size), tuple(stride), offset).clone()


def _check_size(count: int) -> None:
    if count > LARGEST_TENSOR:
        raise RefusedError(f"a tensor of {count} bytes is in it: at most {LARGEST_TENSOR} are taken")


def _parameter(data: Any, *_rest: object) -> Any:
    return data


class _Kind:
    """Stands for a number format of numpy's: only its name is kept, and it can be asked for nothing else."""

    def __init__(self, name: object = None, *_rest: object) -> None:
        if not isinstance(name, str) or name not in KINDS:
            raise RefusedError(f"an array of {str(name)[:20] if isinstance(name, str) else 'something'} is in it")
        self.name, self.order = name, "="

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", "|", ">", "=") or any(state[2:5]):
            raise RefusedError("an array of an unknown kind is in it")
        self.order = state[1]

    @property
    def plain(self) -> "np.dtype[Any]":
        """The format, as numpy has it."""
        return np.dtype(f"{self.order if self.order != '|' else '='}{self.name}")


class Array:
    """Stands for an array of numpy's: ``values`` is made of the bytes that are there, and of nothing else."""

    values: "np.ndarray[Any, Any]"

    def __setstate__(self, state: Any) -> None:
        _version, shape, kind, by_columns, data = state
        if not isinstance(kind, _Kind) or not isinstance(data, bytes) or not isinstance(shape, tuple):
            raise RefusedError("an array of an unknown kind is in it")
        if not all(isinstance(side, int) and 0 <= side < 1 << 40 for side in shape) or len(shape) > 8:
            raise RefusedError("an array of an unknown shape is in it")
        count = math.prod(shape) * kind.plain.itemsize
        _check_size(count)
        if len(data) != count:
            raise RefusedError(f"an array of {shape} is claimed, and {len(data)} bytes are there")
        self.values = np.frombuffer(data, kind.plain).reshape(shape, order="F" if by_columns else "C")


def _array(*_rest: object) -> Array:
    """Return an array without values, which its state brings."""
    return Array()


def _latin(text: object, _coding: object = "latin1") -> bytes:
    """Return bytes, which older protocols keep as a text."""
    if not isinstance(text, str):
        raise RefusedError("a text in it is none")
    return text.encode("latin1")


def _number(kind: object, data: object = None) -> Any:
    """Return a number of numpy's out of its bytes."""
    if not isinstance(kind, _Kind) or not isinstance(data, bytes) or len(data) != kind.plain.itemsize:
        raise RefusedError("a number in it is none")
    return np.frombuffer(data, kind.plain)[0]


_ARRAY = object()
"""Stands for the class of arrays, which pickles name and nobody needs."""


def _allowed() -> dict[tuple[str, str], Any]:
    rows: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("_codecs", "encode"): _latin,
        ("builtins", "set"): set,
        ("__builtin__", "set"): set,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): _parameter,
        ("torch", "Size"): torch.Size,
        ("torch", "device"): torch.device,
        ("torch.storage", "_load_from_bytes"): _storage,
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): _held,
        ("dnnlib.util", "EasyDict"): _Attributes,
        ("dnnlib", "EasyDict"): _Attributes,
        ("dnnlib.tflib.network", "Network"): TensorFlowNetwork,
        ("numpy", "dtype"): _Kind,
        ("numpy", "ndarray"): _ARRAY,
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        rows[module, "_reconstruct"] = _array
        rows[module, "scalar"] = _number
    return rows


class _Reader(pickle.Unpickler):
    """An unpickler with a short list of names."""

    names = _allowed()

    def find_class(self, module: str, name: str) -> Any:
        found = self.names.get((module, name))
        if found is not None:
            return found
        if module == "torch.nn" or module.startswith(("torch.nn.modules.", "pytorch_lightning.")):
            return _Module
        raise RefusedError(f"it asks for {f'{module}.{name}'[:80]}, which no checkpoint needs: it is not opened")

    def persistent_load(self, _pid: object) -> Any:
        raise RefusedError("it refers to something outside of itself")


def read(path: Path) -> Any:
    """Return what a checkpoint holds. Raises ConfigError: what is wrong, in a sentence."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if zipfile.is_zipfile(path) or head[:2] == b"PK":
            return _zipped(path)
        try:
            with path.open("rb") as file:
                return _Reader(file).load()
        except RefusedError as error:
            return _legacy(path, error)
    except RefusedError as error:
        raise ConfigError(f"{path.name}: {error}") from None
    except Exception as error:  # noqa: BLE001 - a file that somebody made up makes unpicklers raise anything
        raise ConfigError(f"{path.name} is damaged, or no checkpoint: {_first_line(error)}") from None


def _zipped(path: Path) -> Any:
    """Read a file of torch's; what Lightning's objects kept beside the tensors is held, and of no use."""
    asked = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    held: list[Any] = [(_Module, name) for name in asked if name.startswith("pytorch_lightning.")]
    with torch.serialization.safe_globals(held):
        return torch.load(path, map_location="cpu", weights_only=True)


def _legacy(path: Path, refused: RefusedError) -> Any:
    """Read a file that torch wrote in its older way, which begins with a number of its own."""
    with path.open("rb") as file:
        if torch.serialization.MAGIC_NUMBER.to_bytes(10, "little") not in file.read(64):
            raise refused
    return torch.load(path, map_location="cpu", weights_only=True)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


def tensors_of(held: object) -> dict[str, Tensor]:
    """Return the parameters and buffers of a network that was read, by their dotted names. Raises ConfigError."""
    result: dict[str, Tensor] = {}
    for name, value in _walk(held, "", 0, [MOST_MODULES]):
        result[name] = value.detach()
        if len(result) > MOST_TENSORS:
            raise ConfigError(f"it has more than {MOST_TENSORS} tensors")
    return result


def _walk(held: object, prefix: str, depth: int, left: list[int]) -> Iterator[tuple[str, Tensor]]:
    left[0] -= 1
    if depth > DEEPEST or left[0] < 0:
        raise ConfigError(f"its modules lie more than {DEEPEST} deep in each other, or are more than {MOST_MODULES}")
    state = getattr(held, "state", None)
    if not isinstance(state, dict):
        return
    for kind in ("_parameters", "_buffers"):
        for name, value in _items(state.get(kind)):
            if isinstance(value, Tensor):
                yield prefix + name, value
    for name, value in _items(state.get("_modules")):
        yield from _walk(value, f"{prefix}{name}.", depth + 1, left)


def _items(rows: object) -> Iterator[tuple[str, Any]]:
    if isinstance(rows, dict):
        yield from ((name, value) for name, value in rows.items() if isinstance(name, str))
