"""``vjserver touchdesigner``: the script that builds the patches inside TouchDesigner goes where the user wants it."""

import shutil
from pathlib import Path

import vjserver
from vjserver.types.errors import ConfigError

SCRIPT = "build_patch.py"


def write_patch(folder: Path) -> Path:
    """Copy the builder into ``folder``; return where it is. Raises ConfigError if that cannot be."""
    target = folder.expanduser().resolve() / SCRIPT
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.exists() and target.samefile(_ours())):
            shutil.copyfile(_ours(), target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}") from None
    return target


def _ours() -> Path:
    """Return our copy: in the package once installed, at the top of a checkout."""
    package = Path(vjserver.__file__).parent
    installed = package / "touchdesigner" / SCRIPT
    return installed if installed.exists() else package.parent / "touchdesigner" / SCRIPT
