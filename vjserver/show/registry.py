"""The registry at work: an address and arguments from anywhere go in, typed and clamped arguments come out.

What there is stands in ``show/addresses.py``.
"""

import sys
from collections.abc import Sequence
from typing import TypeGuard

from vjserver.show.addresses import CUE_GO, MAX_NAME, REGISTRY, Entry, Slot
from vjserver.types.errors import ConfigError, UnknownNameError
from vjserver.types.events import Argument
from vjserver.types.text import clean

_SWITCHES = {"true": 1, "on": 1, "yes": 1, "false": 0, "off": 0, "no": 0}
_CUE = CUE_GO.split("{id}")


def lookup(address: str) -> Entry:
    """Return what is declared under ``address``. Raises ConfigError naming the nearest known ones."""
    entry = REGISTRY.get(address)
    if entry is None and cue_of(address):
        return REGISTRY[CUE_GO]
    if entry is None:
        raise UnknownNameError(f"unknown address {address[:80]!r}", address[:80], REGISTRY)
    return entry


def cue_of(address: str) -> str:
    """Return the id in ``/vj/cue/{id}/go``, or an empty text for any other address."""
    if not (address.startswith(_CUE[0]) and address.endswith(_CUE[1])):
        return ""
    name = address[len(_CUE[0]) : -len(_CUE[1])]
    return name if name and "/" not in name and len(name) <= MAX_NAME else ""


def accept(address: str, args: Sequence[object]) -> tuple[Argument, ...]:
    """Return ``args`` typed and clamped as ``address`` declares.

    A number out of range is clamped; what is plain to a person is taken: "0.75" and "on" for a number, 1984 for a text,
    a text in several pieces, the first of two values where one is taken. A number that is no number, another type or
    too few arguments raise ConfigError. A button may send its 1 or nothing to what takes nothing, or only a text that
    may be left out.
    """
    entry = lookup(address)
    if _is_button(entry) and not (args and isinstance(args[0], str)):
        return ()
    if not entry.arguments:
        return ()
    least = sum(not a.optional for a in entry.arguments)
    if len(args) < least:
        raise ConfigError(f"{address} takes {len(entry.arguments)} argument(s): got {len(args)}")
    args = _as_many(entry, args)
    accepted = tuple(_typed(address, a, value) for a, value in zip(entry.arguments, args, strict=False))
    if entry.choices and accepted[0] not in entry.choices:
        raise ConfigError(f"{address} takes {', '.join(entry.choices)}: got {str(accepted[0])[:40]!r}")
    if entry.check is not None:
        entry.check(accepted)
    return accepted


def _as_many(entry: Entry, args: Sequence[object]) -> Sequence[object]:
    """Return as many arguments as an address takes: a text in pieces is one, of more numbers the first count."""
    most = len(entry.arguments)
    if len(args) <= most:
        return args
    if entry.arguments[-1].type in ("text", "name"):
        return [*args[: most - 1], " ".join(map(_as_text, args[most - 1 :]))]
    return args[:most]


def _as_text(value: object) -> str:
    """Return a value as a person would write it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return value if isinstance(value, str) else str(value)


def _is_button(entry: Entry) -> bool:
    return all(a.optional and a.type == "text" for a in entry.arguments)


def changed(args: Sequence[object], accepted: Sequence[Argument]) -> str:
    """Return what was clamped or cut off in accepted arguments, as ``given -> taken``, or an empty text."""
    rows = []
    if len(args) > len(accepted) > 0 and not isinstance(accepted[-1], str):
        rows.append(f"{len(args)} values -> the first{f' {len(accepted)}' * (len(accepted) > 1)}")
    for given, taken in zip(args, accepted, strict=False):
        if isinstance(given, str) and isinstance(taken, str) and len(taken) < len(given):
            rows.append(f"{len(given)} characters -> {len(taken)}")
        elif isinstance(given, (int, float)) and isinstance(taken, float) and abs(given - taken) > 1e-6 * abs(taken):
            rows.append(f"{given:g} -> {taken:g}")
    return ", ".join(rows)


def is_release(address: str, args: Sequence[object]) -> bool:
    """Tell whether a message is only the 0 that a button sends when it is let go."""
    if len(args) != 1 or args[0] not in (0, 0.0, False):
        return False
    entry = REGISTRY[CUE_GO] if cue_of(address) else REGISTRY.get(address)
    return entry is not None and _is_button(entry)


def _as_number(text: str) -> object:
    """Return the number that a text says, the text itself where it says none."""
    word = text.strip().lower()
    if len(word) > 40:
        return text
    if word in _SWITCHES:
        return _SWITCHES[word]
    try:
        return float(word.replace(",", ".") if word.count(",") == 1 and "." not in word else word)
    except ValueError:
        return text


def is_number(value: object) -> TypeGuard[float]:
    """Tell whether a value is a number that a float can carry: not NaN, not infinite, no JSON of 400 digits."""
    return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max


def _typed(address: str, argument: Slot, value: object) -> Argument:
    if argument.type in ("text", "name"):
        if isinstance(value, str):
            return clean(value[: argument.longest])
        if argument.type == "name" and is_number(value):
            return int(value)
        if is_number(value):
            return _as_text(value)
        raise ConfigError(f"{address} takes a text: got {str(value)[:40]!r}")
    if isinstance(value, bool):
        value = int(value)
    elif isinstance(value, str):
        value = _as_number(value)
    if not is_number(value):
        raise ConfigError(f"{address} takes a number in {argument.low:g}..{argument.high:g}: got {str(value)[:40]!r}")
    if argument.type == "bool":
        return value >= 0.5
    clamped = min(argument.high, max(argument.low, value))
    return int(clamped) if argument.type == "int" else float(clamped)
