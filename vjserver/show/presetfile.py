"""Presets as files that people edit: a look goes in, TOML text comes out, and what they wrote beside it stays."""

from dataclasses import asdict
from typing import Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from vjserver.show.fields import SAVED
from vjserver.show.preset import Preset, nested
from vjserver.show.registry import Registry
from vjserver.show.state import Look
from vjserver.types.errors import ConfigError


def preset_of(look: Look, name: str, before: Preset | None, registry: Registry) -> Preset:
    """Return a look as a preset of that name; what a look does not hold (triggers, tags ...) is as ``before``.

    It holds the common knobs, and those of the generators that it plays, or that ``before`` named; a knob keeps the
    name under which ``before`` wrote it.
    """
    last = max((i for i, text in enumerate(look.texts) if text or look.weights[i]), default=-1)
    spelled = {registry.aliases.get(n, n): n for n in ((*before.params, *before.raw) if before is not None else ())}
    in_units = before.raw if before is not None else {}
    kinds = {"", look.generator, look.input, *(key.split("/")[0] for key in spelled if "/" in key)}
    params, raw = {}, {}
    for key, value in look.params.items():
        knob, spelling = registry.parameters.get(key), spelled.get(key, key)
        if knob is not None and spelling in in_units:
            raw[spelling] = min(knob.high, max(knob.low, round(knob.raw(value), 5)))  # who wrote units reads units
        elif key in spelled or (value != (knob.start if knob else None) and key.rpartition("/")[0] in kinds):
            params[spelling] = round(value, 5)
    raw |= {name: value for name, value in in_units.items() if name not in raw}
    changes: dict[str, Any] = {
        **{name: getattr(look, name) for name in SAVED if "." not in name},
        "name": name,
        "travel": asdict(look.travel),
        "prompts": [{"text": look.texts[i], "weight": round(look.weights[i], 5)} for i in range(last + 1)],
        "params": params,
        "raw": raw,
    }
    kept = before.model_dump(by_alias=True) if before is not None else {}
    return Preset.model_validate({**kept, **changes}, context={"registry": registry})


def saved(text: str, preset: Preset) -> str:
    """Return the text of a preset's file: ``text`` (the file as it was, or nothing) with what changed put in.

    Comments, order and layout of what stays are kept. Raises ConfigError where ``text`` is not TOML.
    """
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"the file that is to be saved over is not valid TOML: {error}") from None
    data = preset.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for row in data.get("prompts", ()):
        row.setdefault("weight", 1.0)
    data |= {table: nested(data[table]) for table in ("params", "raw") if table in data}
    _put(document, data)
    return tomlkit.dumps(document)


def _put(table: TOMLDocument | Table, data: dict[str, Any]) -> None:
    """Make ``table`` hold exactly ``data``, touching only what differs."""
    for key in [key for key in table if key not in data]:
        del table[key]
    plain = table.unwrap()
    for key, value in data.items():
        if key in plain and plain[key] == value:
            continue
        if isinstance(value, dict) and isinstance(table.get(key), Table):
            _put(table[key], value)
        elif isinstance(value, list) and isinstance(table.get(key), AoT) and len(table[key]) == len(value):
            for inner, row in zip(table[key], value, strict=True):
                _put(inner, row)
        else:
            table[key] = _item(value)


def _item(value: Any) -> Any:
    """Return a value as TOML writes it best: rows of tables as ``[[rows]]``."""
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        rows = tomlkit.aot()
        for row in value:
            inner = tomlkit.table()
            for key, part in row.items():
                inner[key] = part
            rows.append(inner)
        return rows
    if isinstance(value, dict):
        inner = tomlkit.table()
        for key, part in value.items():
            inner[key] = part
        return inner
    return value
