"""The text of a preset: TOML goes in, a preset or a sentence about its mistake comes out."""

import re
import tomllib
from collections.abc import Sequence

from pydantic import (
    BaseModel,
    ValidationError,
)

from vjserver.show.preset import Model, Preset
from vjserver.show.registry import COMMON_ONLY, Registry
from vjserver.types.errors import ConfigError, nearest


def parse_preset(text: str, where: str, registry: Registry) -> Preset:
    """Read a preset. Raises ConfigError with the file (``where``), line, key and what is allowed."""
    return parse_toml(Preset, text, where, registry)


DEEPEST_KEY = 32
_DEEP = re.compile(rf"""(?m)^[ \t]*\[*(?:[\w"'-]+[ \t]?\.[ \t]?){{{DEEPEST_KEY}}}""")


def parse_toml(
    model: type[Model], text: str, where: str, registry: Registry = COMMON_ONLY, columns: bool = False
) -> Model:
    """Read TOML into ``model``; addresses in it are those of ``registry``.

    Raises ConfigError, one line a fault: ``file:line: key: what is wrong``; with ``columns`` ``file:line:column: ...``.
    """
    if _DEEP.search(text):
        raise ConfigError(f"{where}: not valid TOML: a key of more than {DEEPEST_KEY} parts")
    try:
        data = tomllib.loads(text)
    except ValueError as error:  # also a number of thousands of digits
        hint = _backslash_hint(text, str(error))
        raise ConfigError(f"{where}: not valid TOML: {str(error)[:300]}{hint}") from None
    except RecursionError:
        raise ConfigError(f"{where}: not valid TOML: it is nested too deeply") from None
    odd = _odd_paths(text)
    if odd:
        raise ConfigError(f"{where}:{odd[0]}: {odd[1]}")
    try:
        return model.model_validate(data, context={"registry": registry})
    except ValidationError as error:
        faults = [_fault(model, text, where, fault, columns) for fault in error.errors()]
        raise ConfigError("\n".join(faults)) from None


BACKSLASH = "a \\ in double quotes begins a special sign: write C:/folder/file, or 'C:\\folder\\file' in single quotes"


def _backslash_hint(text: str, said: str) -> str:
    """Return what is to be done where a Windows path is the fault."""
    found = re.search(r"at line (\d+)", said)
    lines = text.splitlines()
    row = lines[int(found.group(1)) - 1] if found and int(found.group(1)) <= len(lines) else ""
    return f"; {BACKSLASH}" if "\\" in row else ""


def _odd_paths(text: str) -> tuple[int, str] | None:
    """Return line and reason where a Windows path was read as something else: C:\\new is C:, a newline, ew."""
    for number, row in enumerate(text.splitlines(), start=1):
        if re.search(r"""=\s*"[A-Za-z]:\\[bfnrtu"\\]""", row) and "\\\\" not in row:
            return number, BACKSLASH
    return None


def _fault(model: type[BaseModel], text: str, where: str, fault: object, columns: bool) -> str:
    assert isinstance(fault, dict)
    location = [part for part in fault["loc"] if part != "[key]"]
    if location[:1] in (["params"], ["raw"]) and len(location) > 1:
        location[1:2] = str(location[1]).split("/")  # a generator's own knob stands in a table of its own
    path = [str(part) for part in location]
    key = ".".join(path) or "(file)"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        allowed = _allowed_keys(model, location[:-1])
        message = f"unknown key{nearest(path[-1], allowed)}; allowed: {', '.join(allowed)}"
    elif fault["type"] not in ("value_error", "missing"):
        message = f"{_PLAIN.get(fault['type'], message)}: got {fault['input']!r}"
        if fault["type"] == "tuple_type" and isinstance(fault["input"], dict):
            message = f"there may be several: each begins with [[{key}]], in two brackets"
    line = line_of(text, location)
    place = f"{line}:{_column(text, line, path)}" if columns else f"{line}"
    return f"{where}:{place}: {key}: {message}"


_PLAIN = {
    "model_type": "must be a table, such as { key = value } or a [section] of its own",
    "model_attributes_type": "must be a table, such as { key = value } or a [section] of its own",
    "dict_type": "must be a table, such as { key = value } or a [section] of its own",
    "tuple_type": "must be a list, such as [1, 2]",
    "list_type": "must be a list, such as [1, 2]",
    "string_type": "must be a text in quotes",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}


def _column(text: str, line: int, path: Sequence[str]) -> int:
    """Return the column (from 1) on a line at which the value of its key stands."""
    row = text.splitlines()[line - 1] if 0 < line <= len(text.splitlines()) else ""
    last = next((part for part in reversed(path) if part and not part.isdecimal() and part in row), "")
    at = row.find(last) if last else len(row) - len(row.lstrip())
    found = re.match(r"""["']?\s*=\s*""", row[at + len(last) :]) if last else None
    return at + len(last) + found.end() + 1 if found else at + 1


def _allowed_keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Return the keys of the (nested) model at ``location``."""
    fields = model.model_fields
    for part in location:
        if isinstance(part, int):
            continue
        field = next((f for name, f in fields.items() if part in (name, f.alias)), None)
        inner = _inner_model(field.annotation) if field else None
        if inner is None:
            return []
        fields = inner.model_fields
    return [f.alias or name for name, f in fields.items()]


def _inner_model(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _inner_model(part)
        if found is not None:
            return found
    return None


def line_of(text: str, location: Sequence[str | int]) -> int:
    """Return the line (from 1) on which the key at ``location`` stands, or the nearest line known above it."""
    line, lines = 1, text.splitlines()
    start = 0
    for depth, part in enumerate(location):
        if isinstance(part, int):
            header = f"[[{'.'.join(str(p) for p in location[:depth] if isinstance(p, str))}]]"
            found = [i for i, row in enumerate(lines) if row.replace(" ", "").startswith(header)]
            start = found[part] if part < len(found) else start
        else:
            table = f"[{'.'.join(str(p) for p in location[: depth + 1] if isinstance(p, str))}]"
            for i in range(start, len(lines)):
                row = lines[i].strip()
                bare = row.split("=", 1)[0].strip().strip("\"'")
                if row.replace(" ", "").startswith((table, f"[{table}]")) or ("=" in row and bare == part):
                    start = i
                    break
        line = start + 1
    return line
