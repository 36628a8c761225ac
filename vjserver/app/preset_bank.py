"""The bank: preset files go in, the presets of a show come out; where what we ship lies."""

import os
from pathlib import Path

import vjserver
from vjserver.app.show import read_file
from vjserver.runtime.files import data_folder
from vjserver.runtime.installed import installed
from vjserver.show.bank import Bank
from vjserver.show.preset import Preset
from vjserver.show.presettext import parse_preset
from vjserver.show.registry import Registry
from vjserver.stages.control.user_library import MINE
from vjserver.types.errors import ConfigError


def load_bank(folder: Path | None = None, registry: Registry | None = None) -> Bank:
    """Return our presets, then those of ``folder``, then the user's own, each in the order of their file names.

    Each folder is a bank: ours is ``vjserver``, the user's ``mine``; folders inside ``folder`` are banks too. A broken
    file is left out, and named in the bank's ``faults``. Raises ConfigError where ``folder`` is none.
    """
    banks = [("vjserver", shipped("presets"))]
    if folder is not None:
        if not folder.is_dir():
            raise ConfigError(f"no such folder of presets: {folder}")
        banks += [(path.name, path) for path in (folder.resolve(), *sorted(p for p in folder.iterdir() if p.is_dir()))]
    mine = data_folder() / "presets"
    if os.path.isdir(mine) and mine.resolve() not in [path.resolve() for _, path in banks]:
        banks.append((MINE, mine))
    presets, names, faults = [], [], {}
    for bank, path in [(bank, path) for bank, inside in banks for path in sorted(inside.glob("*.toml"))]:
        read = _preset_of(path, registry or installed())
        if isinstance(read, Preset):
            presets.append((path.stem, read))
            names.append(bank)
        else:
            faults[bank, path.stem] = read
    return Bank(presets, names, faults)


def _preset_of(path: Path, registry: Registry) -> Preset | str:
    """Return a preset, or what is wrong with its file; one that has not changed is not read again."""
    try:
        about = path.stat()
        mark = (about.st_mtime_ns, about.st_size, about.st_ino, id(registry))
        known = _READ.get(path)
        if known is None or known[0] != mark:
            _READ[path] = known = (mark, parse_preset(read_file(path), path.name, registry))
        return known[1]
    except ConfigError as error:
        _READ[path] = (mark, str(error))
        return str(error)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"


_READ: dict[Path, tuple[tuple[int, ...], Preset | str]] = {}


def shipped(name: str) -> Path:
    """Return a folder that comes with us: in the package once installed, at the top of a checkout."""
    package = Path(vjserver.__file__).parent
    return package / name if (package / name).is_dir() else package.parent / name


def check_preset(path: Path, registry: Registry | None = None) -> Preset:
    """Read one preset file. Raises ConfigError."""
    return parse_preset(read_file(path), str(path), registry or installed())
