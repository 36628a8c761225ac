"""``vjserver touchdesigner``: the script that builds the patches inside TouchDesigner goes where the user wants it."""

import shutil
from pathlib import Path

from vjserver.app.show import shipped
from vjserver.types.errors import ConfigError

SCRIPT = "build_patch.py"


def write_patch(folder: Path) -> Path:
    """Copy the builder into ``folder``; return where it is. Raises ConfigError if that cannot be."""
    ours, target = shipped("touchdesigner") / SCRIPT, folder.expanduser().resolve() / SCRIPT
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.exists() and target.samefile(ours)):
            shutil.copyfile(ours, target)
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}") from None
    return target
