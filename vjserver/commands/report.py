"""``vjserver doctor --report``: what the doctor found and what the log says, in one file that can be given away.

Nothing of what was written as a prompt is in it, and no name of the user's folders.
"""

import getpass
import json
import os
import re
import socket
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

from vjserver.app.display import versions
from vjserver.commands.check import Check
from vjserver.runtime import log
from vjserver.runtime.files import data_folder
from vjserver.types.errors import ConfigError

MOST_LOG = 1 << 20


def private(text: str) -> str:
    """Return a text without the user's folders, name and machine, and without what stands in quotation marks."""
    return re.sub(r"'[^'\n]*'", "'...'", nameless(text))


def nameless(text: str) -> str:
    """Return a text without the user's folders, name and machine."""
    homes = {str(Path.home()), str(data_folder()), os.path.expanduser("~"), str(Path.cwd())}
    for home in sorted(filter(lambda one: len(one) > 1, homes), key=len, reverse=True):
        for form in {home, home.replace("\\", "/"), home.replace("\\", "\\\\")}:
            text = text.replace(form, "~")
    for name, sign in ((_user(), "USER"), (socket.gethostname(), "MACHINE")):
        if len(name) > 2:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", sign, text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


def write_report(checks: Sequence[Check], by_hand: str = "", folder: Path | None = None) -> Path:
    """Write the report into ``folder`` (here, or the user's) and return where it is. Raises ConfigError.

    ``by_hand`` is the list that somebody filled in, if there is one.
    """
    name = f"vjserver-report-{time.strftime('%Y-%m-%d-%H%M%S')}.zip"
    logs = sorted(log.log_folder().glob("vjserver.log*"))
    pages = {
        "doctor.json": private(json.dumps([check.as_row() for check in checks], indent=1)),
        "versions.txt": private(versions()),
        **({"by-hand.txt": nameless(by_hand)} if by_hand else {}),
        **{path.name + ("" if path.suffix == ".log" else ".txt"): private(_tail(path)) for path in logs},
    }
    for place in (folder or Path.cwd(), data_folder()):
        try:
            place.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(place / name, "w", zipfile.ZIP_DEFLATED) as bundle:
                for page, text in pages.items():
                    bundle.writestr(page, text)
        except OSError:
            continue
        return place / name
    raise ConfigError(f"the report can be written neither here nor into {data_folder()}")


def _tail(path: Path) -> str:
    """Return the end of a log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST_LOG))
            return file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"cannot be read: {error.strerror}"
