"""Outputs as part of the show: text from a controller goes in, rows that say what is sent where come out."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument

MAX_OUTPUTS = 16
RECORD = "record"
OURS = frozenset({"page"})
"""Labels of outputs that are there whatever the show says."""
_WORDS: dict[str, Argument] = {"true": True, "on": True, "false": False, "off": False}


@dataclass(frozen=True, slots=True)
class OutputRow:
    """An output: ``label`` names it, ``config`` is its door as in a show file, ``{"kind": ..., option: value}``."""

    label: str
    config: Mapping[str, Argument] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return the text that :func:`row_of` takes."""
        options = [f"{key}={shlex.quote(str(value))}" for key, value in self.config.items() if key != "kind"]
        return " ".join((str(self.config["kind"]), *options))


def rows_of(doors: Iterable[Mapping[str, Argument]]) -> tuple[OutputRow, ...]:
    """Return rows for the outputs of a show file; those without a label are called by their kind, numbered."""
    rows: dict[str, OutputRow] = {}
    for door in doors:
        wanted = str(door.get("label") or door["kind"])
        label, number = wanted, 1
        while label in rows:
            number += 1
            label = f"{wanted}{number}"
        rows[label] = OutputRow(label, dict(door))
    return tuple(rows.values())


def row_of(label: str, text: str) -> OutputRow:
    """Return the row for ``KIND option=value ...``; values with spaces stand in quotes. Raises ConfigError."""
    try:
        words = split(text)
    except ConfigError as error:
        raise ConfigError(f"output {label[:40]!r}: {error}") from None
    return row_of_words(label, words)


def split(text: str) -> list[str]:
    """Return the words of a text; one with spaces stands in quotes. Raises ConfigError for a quote without its end."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{error}: got {text[:60]!r}") from None


def row_of_words(label: str, words: Sequence[str]) -> OutputRow:
    """Return the row for the words ``KIND``, ``option=value`` ... Raises ConfigError."""
    if not label or len(label) > 40 or not label.replace("-", "").replace("_", "").isalnum():
        raise ConfigError(f"an output's label is up to 40 letters, digits, - and _: got {label[:60]!r}")
    if label in OURS:
        raise ConfigError(f"an output cannot be labelled {label!r}: that one is vjserver's own")
    if not words or "=" in words[0]:
        raise ConfigError(f"output {label!r}: KIND option=value ... expected: got {' '.join(words)[:60]!r}")
    config: dict[str, Argument] = {"kind": words[0]}
    for word in words[1:]:
        key, sign, value = word.partition("=")
        if not key or not sign:
            raise ConfigError(f"output {label!r}: option=value expected: got {word[:60]!r}")
        config[key] = _value(value)
    return OutputRow(label, config)


def _value(text: str) -> Argument:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def added(rows: tuple[OutputRow, ...], row: OutputRow) -> tuple[OutputRow, ...]:
    """Return ``rows`` with ``row`` in the place of the one of its label, or at the end. Raises ConfigError if full."""
    if any(r.label == row.label for r in rows):
        return tuple(row if r.label == row.label else r for r in rows)
    if len(rows) >= MAX_OUTPUTS:
        raise ConfigError(f"there are {MAX_OUTPUTS} outputs, and no more can be; remove one first")
    return (*rows, row)


def removed(rows: tuple[OutputRow, ...], label: str) -> tuple[OutputRow, ...]:
    """Return ``rows`` without that of ``label``. Raises ConfigError naming those that are there."""
    if not any(row.label == label for row in rows):
        known = ", ".join(row.label for row in rows) or "none"
        raise ConfigError(f"no output {label[:60]!r}; there are: {known}")
    return tuple(row for row in rows if row.label != label)
