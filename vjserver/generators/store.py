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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from vjserver.generators.diffusion.singlefile import check_channels, unpack
from vjserver.runtime.files import at_home, data_folder
from vjserver.types.errors import ConfigError, GeneratorError, VJError, nearest

MANIFEST, RAN, CLASSES = "vjserver.json", ".ran", "classes.txt"
PICKLES = (".ckpt", ".pt", ".pth", ".pkl", ".bin")
KEPT = (".safetensors", ".json", ".txt", ".model", ".md", ".jinja")
PARTS = ("unet", "vae", "text_encoder", "text_encoder_2")
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
FOLDERS = (*PARTS, "tokenizer", "tokenizer_2", "scheduler")
WHY_NOT_PICKLES = (
    "such a file is a Python pickle, which can run any code when it is opened; "
    "take the .safetensors version; of a GAN this makes one and runs nothing: vjserver models convert FILE -o FOLDER; "
    "any other, convert once on a machine that you can lose (see docs/models.md)"
)


@dataclass(frozen=True, slots=True)
class Known:
    """A model that ``pull`` finds by name: its repository on huggingface.co, licence, rough size, and what it is."""

    repository: str
    licence: str
    gigabytes: float
    what: str
    variant: str = ""


KNOWN = {
    "sd-turbo": Known("stabilityai/sd-turbo", "Stability AI Community License", 2.6, "1 step, 512 px", "fp16"),
    "lcm-dreamshaper-v7": Known("SimianLuo/LCM_Dreamshaper_v7", "MIT", 4.0, "2 to 4 steps, guidance, 512 to 768 px"),
    "sdxl-turbo": Known("stabilityai/sdxl-turbo", "Stability AI Community License", 6.9, "1 step, 512 px, big", "fp16"),
    "sdxs-512": Known("IDKiro/sdxs-512-0.9", "CreativeML OpenRAIL++-M", 1.4, "1 step, 512 px, smallest"),
    "taesd": Known("madebyollin/taesd", "MIT", 0.01, "fast decoder of SD1.5 and SD2.1"),
    "taesdxl": Known("madebyollin/taesdxl", "MIT", 0.01, "fast decoder of SDXL"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models: who plays it, what it makes, under which terms, how much of a card it takes, where it is."""

    plays: str
    what: str
    licence: str
    commercial: str
    gigabytes: float
    where: str


_ASK, _YES = "its card says; ask its maker before you are paid", "yes, as Apache-2.0 and MIT allow"
FAMILIES = {
    "StyleGAN2": Family(
        "gan",
        "one kind of thing (faces, churches, paintings), 256 to 1024 px, no text", "NVIDIA Source Code License-NC",
        "the official models: no; one that you train: yours, with this program's own code", 1.0,
        "catalog.ngc.nvidia.com (stylegan2 and stylegan2-ada models), justinpinkney/awesome-pretrained-stylegan2",
    ),
    "StyleGAN3": Family(
        "gan",
        "as StyleGAN2, moves and turns without stuck textures, 256 to 1024 px", "NVIDIA Source Code License-NC",
        "the official models: no; one that you train: yours, with this program's own code", 1.5,
        "catalog.ngc.nvidia.com (stylegan3 models), justinpinkney/awesome-pretrained-stylegan3",
    ),
    "BigGAN-deep": Family(
        "gan",
        "the 1000 classes of ImageNet by name, 128 to 512 px", "MIT (huggingface's weights are of DeepMind's)",
        "the licence allows it; the pictures that it learnt from are others'", 1.0,
        "huggingface/pytorch-pretrained-BigGAN (biggan-deep-128, -256, -512)",
    ),
    "VQGAN": Family(
        "paint", "what paints: a picture out of a grid of learnt patches", "MIT (CompVis taming-transformers)", _YES,
        6.0, "CompVis/taming-transformers (vqgan_imagenet_f16_16384: last.ckpt), through models convert",
    ),
    "CLIP": Family(
        "paint", "what looks: how well a picture fits a prompt", "MIT (OpenAI)", _YES, 1.0,
        "huggingface.co/openai/clip-vit-base-patch32, with safetensors",
    ),
    "CogView3Plus": Family(
        "still", "key frames, 1024 px, 50 steps", "Apache-2.0", _YES, 16.0, "huggingface.co/zai-org/CogView3-Plus-3B",
    ),
    "CogView4": Family(
        "still", "key frames, 1024 px, 50 steps", "Apache-2.0", _YES, 30.0, "huggingface.co/zai-org/CogView4-6B",
    ),
    "SanaSprint": Family(
        "still", "key frames, 1024 px, 2 steps", "NVIDIA's own, see its card", _ASK, 8.0,
        "huggingface.co/Efficient-Large-Model (Sana_Sprint_..._diffusers)",
    ),
    "Flux2Klein": Family(
        "still", "key frames, 1024 px, 4 steps", "4B: Apache-2.0; 9B: FLUX Non-Commercial", "4B: yes; 9B: no", 13.0,
        "huggingface.co/black-forest-labs/FLUX.2-klein-4B",
    ),
    "ZImage": Family(
        "still", "key frames, 1024 px, Turbo 9 steps", "Apache-2.0", _YES, 16.0,
        "huggingface.co/Tongyi-MAI/Z-Image-Turbo",
    ),
    "StableDiffusion3": Family(
        "still", "key frames, 1024 px, 28 steps", "Stability AI Community License",
        "free up to a yearly revenue of a million dollars", 16.0,
        "huggingface.co/stabilityai/stable-diffusion-3.5-medium",
    ),
    "AnimateDiff": Family(
        "shot", "clips of 16 to 32 frames, of a Stable Diffusion 1.5", "Apache-2.0; Lightning: OpenRAIL-M", _YES, 6.0,
        "huggingface.co/guoyww/animatediff-motion-adapter-v1-5-3, ByteDance/AnimateDiff-Lightning",
    ),
    "LTX": Family(
        "shot", "clips up to 257 frames at 24 a second, of text or pictures", "Lightricks' own, see its card", _ASK,
        12.0, "huggingface.co/Lightricks/LTX-Video",
    ),
    "Wan": Family(
        "shot", "clips up to 81 frames at 16 a second, of text or pictures", "Apache-2.0", _YES, 10.0,
        "huggingface.co/Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    ),
    "CogVideoX": Family(
        "shot", "clips up to 49 frames at 8 a second (1.5: 161 at 16)", "2B: Apache-2.0; 5B: CogVideoX License",
        "2B: yes; 5B: " + _ASK, 12.0, "huggingface.co/zai-org/CogVideoX-2b",
    ),
}  # fmt: skip
"""Families of models by the name that their folders tell. Gigabytes are of a card's memory, as their makers or others
say; nobody here has measured them, but for the GANs."""
GANS = {name: family for name, family in FAMILIES.items() if family.plays == "gan"}
_PIPELINES = {
    "LTXPipeline": "LTX", "LTXImageToVideoPipeline": "LTX", "LTXConditionPipeline": "LTX", "WanPipeline": "Wan",
    "WanImageToVideoPipeline": "Wan", "CogVideoXPipeline": "CogVideoX", "CogVideoXImageToVideoPipeline": "CogVideoX",
    "AnimateDiffPipeline": "AnimateDiff",
}  # fmt: skip
PART = re.compile(r"\w[\w-]{0,99}")
UNUSED = ("safety_checker", "feature_extractor")
"""Parts of pipelines that are never loaded: what is made is not looked at."""
_CONFIGS = {"VQModel": "VQGAN", "MotionAdapter": "AnimateDiff", **{name: name for name in GANS}}


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
    return _CONFIGS.get(str(row.get("_class_name", "")), "decoder")


def player_of(kind: str) -> str:
    """Return which generator plays a kind of model; empty for a decoder, which plays along."""
    if kind in FAMILIES:
        return FAMILIES[kind].plays
    return {"diffusion": "diffusion", "decoder": "", "": ""}.get(kind, "still")


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
        rows = [(f.relative_to(folder).as_posix(), f.stat().st_size, f.stat().st_mtime_ns) for f in _files(folder)]
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
        if _has_weights(folder / part) and not any((folder / part).glob("*.safetensors")):
            raise fault(f"{folder / part} has no .safetensors file")


def _has_weights(part: Path) -> bool:
    """Tell whether a part of a pipeline is a network, and no tokenizer or scheduler."""
    return (part / "config.json").is_file()


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
        _check_weights(path)
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
    for file in _files(model.folder):
        relative = file.relative_to(model.folder).as_posix()
        if relative not in known:
            faults.append(f"{file} is not in the manifest")
    return faults


def check_layout(folder: Path) -> None:
    """Raise ConfigError unless ``folder`` is a whole model or decoder, with safetensors for every part."""
    index = folder / "model_index.json"
    kind = kind_of(folder)
    if index.is_file() and kind != "diffusion":
        row = read_json(index, ConfigError)
        check_pipeline(folder, row)
        parts: Sequence[Path] = [folder / part for part in row if PART.fullmatch(part) and _has_weights(folder / part)]
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
            _check_weights(file)
        if weights:
            continue
        pickle = next((file for file in _files(part) if file.suffix.lower() in PICKLES), None)
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


def _check_weights(file: Path) -> None:
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


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file() and ".cache" not in file.parts)


def _link_all(path: Path, target: Path) -> list[str]:
    """Link or copy a model's files; return sentences on those that were left behind."""
    remarks = []
    for file in _files(path):
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
        for file in _files(folder)
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
