"""``vjserver touchdesigner``: the script that builds the patches inside TouchDesigner goes where the user wants it."""

import importlib
from pathlib import Path

from vjserver.runtime.files import at_home
from vjserver.runtime.installed import installed
from vjserver.types.errors import ConfigError

SCRIPT = "build_patch.py"
PAGES = "vjserver.touchdesigner"


def write_patch(folder: Path) -> Path:
    """Write the builder, with the knobs of all that is installed; return where it is. Raises ConfigError."""
    target = at_home(folder).resolve() / SCRIPT
    declared = importlib.import_module(f"{PAGES}.patches").patches(installed())
    text = importlib.import_module(f"{PAGES}.generate").build_patch(declared)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_bytes() != text.encode():
            target.write_bytes(text.encode())
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}") from None
    return target
