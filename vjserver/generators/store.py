"""The model store: folders of safetensors, each with a manifest of SHA-256 sums.

    DATA/models/NAME/...                the files as their maker laid them out (diffusion), or as convert wrote them
    DATA/models/NAME/vjserver.json      where they came from, licence, size and sum of each
    DATA/models/NAME/.ran               it has made pictures here

DATA is the user's data folder (platformdirs), or ``$VJSERVER_DATA``. Nothing here imports torch.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from vjserver.generators.diffusion.singlefile import unpack
from vjserver.generators.layout import (
    FOLDERS,
    PICKLES,
    WHY_NOT_PICKLES,
    check_layout,
    check_weights,
    files_of,
    kind_of,
    player_of,
)
from vjserver.generators.shelves import GANS, KNOWN
from vjserver.runtime.files import at_home, data_folder
from vjserver.types.errors import ConfigError, GeneratorError, nearest

MANIFEST, RAN, CLASSES = "vjserver.json", ".ran", "classes.txt"
KEPT = (".safetensors", ".json", ".txt", ".model", ".md", ".jinja")


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is here: where, since when, under which licence, with which files (name -> size and SHA-256)."""

    name: str
    folder: Path
    source: str
    licence: str
    files: dict[str, dict[str, Any]] = field(repr=False)

    @property
    def kind(self) -> str:
        """What it is: ``diffusion``, ``decoder``, or the name of a GAN's family."""
        return kind_of(self.folder)

    @property
    def has_run(self) -> bool:
        """Whether it has made pictures here."""
        return (self.folder / RAN).exists()

    @property
    def size(self) -> int:
        """Size of all files, bytes."""
        return sum(row["size"] for row in self.files.values())


def store_folder() -> Path:
    """Return the folder of all models; it may not be there yet."""
    return data_folder() / "models"


def models() -> list[Model]:
    """Return what is in the store, by name. A folder whose manifest cannot be read is left out."""
    found = []
    for manifest in sorted(store_folder().glob(f"*/{MANIFEST}")):
        with contextlib.suppress(OSError, ValueError, msgspec.MsgspecError, RecursionError):
            row = msgspec.json.decode(manifest.read_bytes(), type=_Manifest)
            files = {name: {"size": one.size, "sha256": one.sha256} for name, one in row.files.items() if _within(name)}
            found.append(Model(manifest.parent.name, manifest.parent, row.source, row.licence, files))
    return found


class _Listed(msgspec.Struct):
    """A file in a manifest."""

    size: int
    sha256: str


class _Manifest(msgspec.Struct):
    """A manifest, as it is on the disk."""

    source: str
    licence: str
    files: dict[str, _Listed]


def _within(name: str) -> bool:
    """Tell whether a file that a manifest names lies in the manifest's folder."""
    return (
        0 < len(name) < 256
        and not name.startswith("/")
        and not {"..", ""} & set(re.split(r"[/\\]", name))
        and ":" not in name
    )


def mark_run(folder: Path) -> None:
    """Keep in mind that a model of the store has made pictures here."""
    if (folder / MANIFEST).is_file() and not (folder / RAN).exists():
        with contextlib.suppress(OSError):
            (folder / RAN).touch()


def marked(name: str) -> str:
    """Return what changes when a model's files do: sums of its manifest, else sizes and times; empty where none is."""
    model = next((one for one in models() if one.name == name), None)
    rows: Any
    if model is not None:
        rows = sorted((key, row["sha256"]) for key, row in model.files.items())
        folder = model.folder
    else:
        folder = at_home(Path(name))
        if not name or not folder.is_dir():
            return ""
        rows = [(f.relative_to(folder).as_posix(), f.stat().st_size, f.stat().st_mtime_ns) for f in files_of(folder)]
    classes = folder / CLASSES
    if classes.is_file():
        rows = [*rows, sha256(classes)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def find_gan(name: str) -> Path:
    """Return the folder of a GAN given by its name in the store, or by its path.

    Raises GeneratorError: what it is instead, or how to get one.
    """
    return _found(name, "GAN", lambda folder: kind_of(folder) in GANS)


def find_part(name: str, family: str) -> Path:
    """Return the folder of a model of one family, given by its name in the store, or by its path.

    Raises GeneratorError: what it is instead, or how to get one.
    """
    return _found(name, family, lambda folder: kind_of(folder) == family)


def find_motion(name: str) -> Path:
    """Return the folder of a motion adapter of AnimateDiff, or its single file. Raises GeneratorError."""
    file = at_home(Path(name))
    if file.suffix == ".safetensors" and file.is_file():
        return file
    return _found(
        name, "motion adapter", lambda folder: kind_of(folder) == "AnimateDiff" and (folder / "config.json").is_file()
    )


def find_pipeline(name: str, player: str) -> Path:
    """Return the folder of a pipeline of diffusers that ``player`` can play: ``still``, ``shot`` or ``diffusion``.

    Key frames are made with models of ``diffusion`` too. Raises GeneratorError.
    """
    players = {"still": ("still", "diffusion")}.get(player, (player,))
    what = {"still": "model for key frames", "shot": "model for shots"}.get(player, "Stable Diffusion model")
    return _found(
        name, what, lambda place: (place / "model_index.json").is_file() and player_of(kind_of(place)) in players
    )


def _found(name: str, what: str, fits: Callable[[Path], bool]) -> Path:
    """Return the folder of a model that fits. Raises GeneratorError: what it is instead, and what there is."""
    here = {model.name: model.folder for model in models()}
    folder = here.get(name, at_home(Path(name)))
    if not name or not folder.is_dir():
        if folder.suffix.lower() in (*PICKLES, ".safetensors") and folder.is_file():
            raise GeneratorError(f"{folder} is a checkpoint; this makes a folder of it once: "
                                 f"vjserver models convert {folder} -o {folder.stem}")  # fmt: skip
        known = sorted(one for one, place in here.items() if fits(place))
        raise GeneratorError(
            f"unknown {what} {name!r}{nearest(name, known)}; here: {', '.join(known) or 'none'}, or a folder; "
            "to take one in: vjserver models add FOLDER (vjserver models list says where they are)"
        )
    if not fits(folder):
        kind = kind_of(folder)
        player = player_of(kind)
        other = f'; generator = "{player}" plays it' if player else ""
        raise GeneratorError(f"{name} is no {what}: it is {f'a {kind} model{other}' if kind else 'no model at all'}")
    return folder


def find_model(name: str) -> Path:
    """Return the folder of a model given by its name in the store, or by its path.

    Raises GeneratorError saying how to get one that is not here.
    """
    for model in models():
        if model.name == name:
            _check_player(name, model.kind)
            return model.folder
    path = at_home(Path(name))
    if path.suffix.lower() in PICKLES:
        raise GeneratorError(f"{path} is refused: {WHY_NOT_PICKLES}")
    if path.is_dir():
        _check_player(name, kind_of(path))
        return path
    if path.suffix == ".safetensors" and path.is_file():
        raise GeneratorError(f"{path} is a single file; this takes it in once: vjserver models add {path}")
    if name in KNOWN:
        raise GeneratorError(f"model {name!r} is not here yet: vjserver models pull {name}")
    known = sorted({model.name for model in models()} | set(KNOWN))
    raise GeneratorError(f"unknown model {name!r}{nearest(name, known)}; known: {', '.join(known)}, or a folder")


def _check_player(name: str, kind: str) -> None:
    if (player := player_of(kind)) not in ("", "diffusion"):
        family = "a GAN" if kind in GANS else "a model of another kind"
        raise GeneratorError(f'{name} is {family} ({kind}): generator = "{player}" plays it')


def find_decoder(family: str) -> Path | None:
    """Return the folder of the fast decoder of a family (``sd`` or ``sdxl``) if the store has it."""
    wanted = "taesdxl" if family == "sdxl" else "taesd"
    return next((model.folder for model in models() if model.name == wanted), None)


def add(path: Path, name: str = "", licence: str = "") -> tuple[Model, list[str]]:
    """Take a folder in the diffusers layout, or a checkpoint in one file, into the store.

    Return the model, and sentences on what was left behind or assumed. Files are linked where they can be, else copied;
    a single file is taken apart, which needs its size again. Raises ConfigError for what is no model, or a pickled one.
    """
    path = at_home(path)
    if path.suffix.lower() in PICKLES:
        raise ConfigError(f"{path} is refused: {WHY_NOT_PICKLES}")
    single = path.suffix == ".safetensors" and path.is_file()
    if single:
        check_weights(path)
    elif path.is_dir():
        check_layout(path)
    else:
        raise ConfigError(
            f"no such folder, and no such .safetensors file: {path}; of huggingface.co, fetch it first: "
            "hf download OWNER/NAME --local-dir FOLDER"
        )
    name = name or re.sub(r"[^\w.-]", "-", path.resolve().stem if single else path.resolve().name).lower()
    target = store_folder() / _checked_name(name)
    if target.exists():
        raise ConfigError(f"the store has a model {name!r} already: remove {target}, or choose another --name")
    passing = target.with_name(f".{name}.part")
    shutil.rmtree(passing, ignore_errors=True)
    try:
        if single:
            remarks = unpack(
                path, passing, [folder for model in models() for folder in model.folder.glob("tokenizer*")]
            )
            check_layout(passing)
        else:
            remarks = _link_all(path, passing)
            check_layout(passing)  # links to folders elsewhere stayed there
        _write_manifest(passing, str(path.resolve()), licence or _licence_told(path))
        passing.rename(target)
    except OSError as error:
        raise ConfigError(f"{name!r} cannot be taken into {target}: {error}") from None
    finally:
        shutil.rmtree(passing, ignore_errors=True)
    return next(model for model in models() if model.name == name), remarks


def pull(name: str) -> Model:
    """Fetch a known model with huggingface_hub: a progress bar, and what was broken off is taken up again.

    Raises ConfigError for an unknown name or a failed download.
    """
    if name not in KNOWN:
        raise ConfigError(f"unknown model {name!r}{nearest(name, KNOWN)}; pull knows: {', '.join(KNOWN)}")
    known = KNOWN[name]
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ImportError as error:
        raise ConfigError(
            f"models are fetched with huggingface_hub: pip install 'vjserver[diffusion]' ({error})"
        ) from None
    target = store_folder() / name
    try:
        info = HfApi().model_info(known.repository)
        wanted = _wanted([row.rfilename for row in info.siblings or ()], known.variant)
        snapshot_download(known.repository, revision=info.sha, local_dir=target, allow_patterns=wanted)
    except Exception as error:  # noqa: BLE001 - its HTTP library, and so its errors, change with its version
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"{name} could not be fetched from {known.repository}: {reason}; "
            f"run the same line again to go on where it stopped"
        ) from None
    shutil.rmtree(target / ".cache", ignore_errors=True)
    check_layout(target)
    _write_manifest(target, f"https://huggingface.co/{known.repository}/tree/{info.sha}", known.licence)
    return next(model for model in models() if model.name == name)


def verify(model: Model) -> list[str]:
    """Return a sentence for each file that is missing or changed; none when the model is whole."""
    faults = []
    for relative, row in model.files.items():
        file = model.folder / relative
        try:
            if not file.is_file():
                faults.append(f"{file} is missing")
            elif file.stat().st_size != row["size"]:
                faults.append(f"{file} has {file.stat().st_size} bytes, the manifest says {row['size']}")
            elif sha256(file) != row["sha256"]:
                faults.append(f"{file} was changed: its SHA-256 is not the manifest's")
        except OSError as error:
            faults.append(f"{file} cannot be read: {error.strerror}")
    known = set(model.files) | {MANIFEST, RAN, CLASSES}
    for file in files_of(model.folder):
        relative = file.relative_to(model.folder).as_posix()
        if relative not in known:
            faults.append(f"{file} is not in the manifest")
    return faults


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _wanted(listed: Sequence[str], variant: str) -> list[str]:
    """Return the files of a repository to fetch: the layout's folders, in half precision where there is such."""
    whole = any(file.startswith("unet/") for file in listed)  # else a decoder alone
    rows = []
    for file in listed:
        folder, _, name = file.rpartition("/")
        if not name.endswith(KEPT) or folder not in ("", *FOLDERS):
            continue
        if name.endswith(".safetensors"):
            base, _, kind = name.removesuffix(".safetensors").partition(".")
            light = bool(variant) and f"{folder}/{base}.{variant}.safetensors" in listed
            if kind != (variant if light else "") or whole != bool(folder):
                continue
        rows.append(file)
    return rows


def _checked_name(name: str) -> str:
    if not name or name.startswith(".") or any(not (sign.isalnum() or sign in "._-") for sign in name):
        raise ConfigError(f"a model's name has letters, digits, '.', '_' and '-' only: got {name!r}")
    return name


def _link_all(path: Path, target: Path) -> list[str]:
    """Link or copy a model's files; return sentences on those that were left behind."""
    remarks = []
    for file in files_of(path):
        relative = file.relative_to(path).as_posix()
        if file.suffix in KEPT and file.name != MANIFEST:
            _link(file, target / relative)
        elif file.suffix.lower() in PICKLES:
            remarks.append(f"{relative} was left behind: {WHY_NOT_PICKLES.split(';', maxsplit=1)[0]}")
    return remarks


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)


def _write_manifest(folder: Path, source: str, licence: str) -> None:
    files = {
        file.relative_to(folder).as_posix(): {"size": file.stat().st_size, "sha256": sha256(file)}
        for file in files_of(folder)
        if file.name != MANIFEST
    }
    row = {"source": source, "licence": licence, "files": files}
    (folder / MANIFEST).write_text(json.dumps(row, indent=1), encoding="utf-8")


def _licence_told(folder: Path) -> str:
    """Return the licence that a model card names, or that none is known."""
    card = folder / "README.md"
    if card.is_file():
        for line in card.read_text(encoding="utf-8", errors="replace").splitlines()[:60]:
            key, _, value = line.partition(":")
            if key.strip() in ("license", "license_name") and value.strip():
                return value.strip().strip("\"'")
    return "not told: ask its maker"
