"""``vjserver touchdesigner``: the script that builds the patches inside TouchDesigner goes where the user wants it."""

import argparse
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


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver touchdesigner`` takes."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path("."), help="where to (default: this folder)")


def run(args: argparse.Namespace) -> int:
    """Write it, and print the lines to paste."""
    path = write_patch(args.folder).as_posix()
    print(f"{path}\n\nIn TouchDesigner: Dialogs > Textport and DATs, paste one of these lines and press Enter:\n")
    print(f"  exec(open({path!r}).read())")
    for name in ("beat_compositor", "img2img_loop", "two_decks"):
        print(f"  PATCH = '{name}'; exec(open({path!r}).read())")
    return 0
