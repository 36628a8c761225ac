"""Presets as files that people edit: a look goes in, TOML text comes out, and what they wrote beside it stays."""

from typing import Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from vjserver.show.addresses import PARAMS
from vjserver.show.preset import Preset
from vjserver.show.state import DEFAULT_PARAMS, Look
from vjserver.types.errors import ConfigError


def preset_of(look: Look, name: str, before: Preset | None) -> Preset:
    """Return a look as a preset of that name; what a look does not hold (triggers, tags ...) is as ``before``."""
    last = max((i for i, text in enumerate(look.texts) if text or look.weights[i]), default=-1)
    written, in_units = (before.params, before.raw) if before is not None else ({}, {})
    params = {k: round(v, 5) for k, v in look.params.items() if v != DEFAULT_PARAMS[k] or k in written}
    raw = {k: round(PARAMS[k].raw(look.params[k]), 5) for k in in_units}  # who wrote units reads units
    changes: dict[str, Any] = {
        "name": name,
        "generator": look.generator,
        "model": look.model,
        "input": look.input,
        "size": look.size,
        "negative": look.negative,
        "travel": {"beats": look.travel.beats, "seconds": look.travel.seconds, "ease": look.travel.ease},
        "seed": look.seed,
        "prompts": [{"text": look.texts[i], "weight": round(look.weights[i], 5)} for i in range(last + 1)],
        "params": {k: v for k, v in params.items() if k not in raw},
        "raw": raw,
    }
    kept = before.model_dump(by_alias=True) if before is not None else {}
    return Preset.model_validate({**kept, **changes})


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
