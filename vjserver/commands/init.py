"""``vjserver init``: a show file with everything that can be set, as comments: nothing changes until it is edited.

It is read off the show's own models: what is new there is new here.
"""

import argparse
import textwrap
from pathlib import Path
from typing import Any

import tomlkit
from pydantic import BaseModel

from vjserver.app.show import SHOW_FILE, Show, config_folder
from vjserver.ports import Room, find
from vjserver.runtime.files import at_home
from vjserver.runtime.installed import shipped
from vjserver.types.errors import ConfigError

HEAD = """\
# The show file of vjserver. Every line that begins with "# " is as it is without this file: take the "# " away from
# what you want otherwise. Paths go by the folder of this file; ~ is your home; write C:/folder/file on Windows.
# Run it with:  vjserver run
"""
DOORS: tuple[tuple[str, Room, str], ...] = (
    ("source", "sources", "device"),
    ("record", "outputs", "record"),
)
OUTPUTS = """\
# -- where pictures go: as many as you like; without this, these three -------------------------------------------------
# [[outputs]]
# kind = "sharedmem"
# [[outputs]]
# kind = "zmq"
# [[outputs]]
# kind = "ndi"
# name = "vjserver"

# -- pictures that come in: /vj/input NAME starts from one -------------------------------------------------------------
# [inputs.camera]
# kind = "ndi"
# name = "MACHINE (sender)"

# -- what /vj/cue/go calls, one after another --------------------------------------------------------------------------
# [[cues]]
# id = "1"
# preset = 3
# follow_bars = 16
"""
FILLED_IN = ("sound", "needed")
"""Options that the server sets by itself."""
LATER = ("source", "generators", "inputs", "outputs", "record", "cues")


def show_text() -> str:
    """Return the text of the file."""
    parts = [HEAD]
    plain = [name for name, f in Show.model_fields.items() if name not in LATER and not _is_table(f.annotation)]
    parts.append("".join(_line(Show, name) for name in plain))
    for name, f in Show.model_fields.items():
        if _is_table(f.annotation):
            assert isinstance(f.annotation, type)
            parts.append(_table(name, f.annotation))
    models = [(f"generators.{kind}", "generators", kind) for kind, info in shipped().infos.items() if info.takes_model]
    for name, room, kind in (*DOORS, *models):
        head = f'kind = "{kind}"\n' if name == "source" else ""
        parts.append(_table(name, find(room, kind).Options, head))
    return "\n".join([*parts, OUTPUTS])


def _is_table(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _table(name: str, model: type[BaseModel], head: str = "") -> str:
    plain = [key for key, f in model.model_fields.items() if not _is_table(f.annotation) and key not in FILLED_IN]
    lines = [head, *(_line(model, key) for key in plain)]
    inner = [_table(f"{name}.{key}", f.annotation) for key, f in model.model_fields.items() if _is_table(f.annotation)]  # type: ignore[arg-type]
    about = (model.__doc__ or "").strip().splitlines()[0]
    return "\n".join([f"# -- {about}\n[{name}]\n{''.join(lines)}", *inner])


def _line(model: type[BaseModel], key: str) -> str:
    """Return a field as a comment that becomes a setting once its sign is taken away."""
    f = model.model_fields[key]
    about = "".join(f"#   {row}\n" for row in textwrap.wrap(f.description or "", 110))
    value = f.get_default(call_default_factory=True) if not f.is_required() else None
    text = _toml(value)
    return f"{about}# {key} = {text}\n" if text is not None else f"{about}# {key} =\n"


def _toml(value: Any) -> str | None:
    """Return a value as TOML, None where it is none (TOML has no word for that)."""
    if value is None or isinstance(value, BaseModel):
        return None
    if isinstance(value, Path):
        home = Path.home()
        value = f"~/{value.relative_to(home).as_posix()}" if value.is_relative_to(home) else value.as_posix()
    if isinstance(value, dict):
        return _inline([value])[1:-1]
    if isinstance(value, tuple):
        rows = [row.model_dump() if isinstance(row, BaseModel) else row for row in value]
        return _inline(rows) if any(isinstance(row, dict) for row in rows) else str(tomlkit.item(rows).as_string())
    return str(tomlkit.item(value).as_string())


def _inline(rows: list[dict[str, Any]]) -> str:
    tables = []
    for row in rows:
        table = tomlkit.inline_table()
        table.update({key: value for key, value in row.items() if value is not None})
        tables.append(table.as_string())
    return f"[{', '.join(tables)}]"


def write_show(path: Path | None) -> Path:
    """Write the file; one that is there already stays. Return where it is. Raises ConfigError."""
    target = at_home(path or config_folder() / SHOW_FILE)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8") as file:
            file.write(show_text())
    except FileExistsError:
        raise ConfigError(f"{target} is there already, and stays as it is: edit it, or name another file") from None
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {error.strerror}") from None
    return target


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver init`` takes."""
    parser.add_argument("path", nargs="?", type=Path, metavar="SHOW.toml", help="where to (default: your own, for run)")


def run(args: argparse.Namespace) -> int:
    """Write the file, and say what to do with it."""
    path = write_show(args.path)
    print(f"{path}\nEdit it in any text editor, then: vjserver run" + (f" {path}" if args.path else ""))
    return 0
