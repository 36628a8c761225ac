"""The registry: every address there is, with the knobs that generators bring. An address and arguments from anywhere
go in; the address as it is called here, and typed and clamped arguments, come out.

What the show has by itself stands in ``show/addresses.py``; what a generator adds is told by its ``GeneratorInfo``.
"""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeGuard

from vjserver.show.addresses import COMMON, CUE_GO, MAX_NAME, PARAM, ArgumentSpec, Entry, entries
from vjserver.show.pattern import WILD, is_pattern, matching
from vjserver.types.errors import ConfigError, UnknownNameError
from vjserver.types.events import Argument
from vjserver.types.knobs import MOST_KNOBS, NAME, TAKEN, GeneratorInfo, Parameter
from vjserver.types.text import clean

_SWITCHES = {"true": 1, "on": 1, "yes": 1, "false": 0, "off": 0, "no": 0}
_CUE = CUE_GO.split("{id}")
MOST_PARAMS = 512
"""So many knobs may a state hold, those of generators that are not installed among them."""
Verb = Literal["", "raw", "inc", "reset"]
VERBS: tuple[Verb, ...] = ("", "raw", "inc", "reset")


class Accepted(NamedTuple):
    """A message that was checked, once, where it came in: nothing behind that door checks it again."""

    address: str
    args: tuple[Argument, ...]


class Registry:
    """What there is to be played, given the generators ``infos``. Immutable; it travels to every process as it is.

    A knob's *key* is its name in a state: ``zoom`` for a common one, ``faces/truncation`` for one of a generator's
    own. ``faults`` says which generators brought something that makes no sense: those have no knobs of their own.
    """

    def __init__(
        self, infos: Iterable[GeneratorInfo] = (), faults: Sequence[str] = (), knobless: Iterable[str] = ()
    ) -> None:
        self.infos: dict[str, GeneratorInfo] = {}
        self.faults = tuple(faults)
        self.knobless = frozenset(knobless)
        """Generators whose own knobs are not known, since what they told makes no sense: they are kept as they are."""
        for info in infos:
            fault = fault_of(info, self.infos)
            if info.kind in self.infos:
                self.faults += (f"{info.source or info.kind}: there is a generator {info.kind!r} already; left out",)
                continue
            if fault:
                self.faults += (f"{info.source or info.kind}: {fault}; its own knobs are left out",)
                self.knobless |= {info.kind}
                info = GeneratorInfo(info.kind, (), info.uses, info.accepts_image, info.takes_model,
                                     lead_in_s=info.lead_in_s, source=info.source)  # fmt: skip
            self.infos[info.kind] = info
        self.parameters: dict[str, Parameter] = dict(COMMON)
        self.aliases: dict[str, str] = {}
        """Keys from before by which a generator's own knob is still known, and the knob's key."""
        for info in self.infos.values():
            self.parameters |= {f"{info.kind}/{p.name}": p for p in info.parameters}
            self.aliases |= {alias: f"{info.kind}/{name}" for alias, name in info.aliases.items()}
        self.entries: dict[str, Entry] = {entry.address: entry for entry in entries(self.parameters)}
        """What is declared, by address, each knob once."""
        self.synonyms: dict[str, str] = {
            f"{PARAM}{alias}{'/' * bool(verb)}{verb}": f"{PARAM}{key}{'/' * bool(verb)}{verb}"
            for alias, key in self.aliases.items()
            for verb in VERBS
        }
        """Addresses from before, and what each is called now."""
        self.starts = {key: knob.start for key, knob in self.parameters.items()}
        """Where each knob stands that nobody has turned, 0..1."""
        self._turns = {
            f"{PARAM}{key}{'/' * bool(verb)}{verb}": (key, verb) for key in self.parameters for verb in VERBS
        }

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as infos; what follows from them is worked out anew."""
        return _again, (tuple(self.infos.values()), self.faults, self.knobless)

    # -- addresses -----------------------------------------------------------------------------------------

    def canonical(self, address: str) -> str:
        """Return an address as it is called here: an address from before becomes that of the generator's own knob."""
        return self.synonyms.get(address, address)

    def names(self, address: str) -> tuple[str, ...]:
        """Return every address of what an address is: as it is called here, then those from before."""
        canonical = self.canonical(address)
        return self._names.get(canonical, (canonical,))

    @cached_property
    def _names(self) -> dict[str, tuple[str, ...]]:
        names: dict[str, tuple[str, ...]] = {}
        for old, new in self.synonyms.items():
            names[new] = (*names.get(new, (new,)), old)
        return names

    def lookup(self, address: str) -> Entry:
        """Return what is declared under ``address``. Raises ConfigError naming the nearest known ones."""
        entry = self.entries.get(self.synonyms.get(address, address))
        if entry is None and cue_of(address):
            return self.entries[CUE_GO]
        if entry is None:
            absent = self.absent(address)
            if absent:
                raise ConfigError(f"{address[:80]}: generator {absent!r} {self.why_absent(absent)}")
            raise UnknownNameError(f"unknown address {address[:80]!r}", address[:80], self.entries)
        return entry

    def absent(self, address: str) -> str:
        """Return the generator that is not installed whose knob an address would be, an empty text for any other."""
        parts = address.removeprefix(PARAM).split("/") if address.startswith(PARAM) else []
        if len(parts) == 3 and parts[2] in TAKEN:
            parts = parts[:2]
        if len(parts) != 2 or parts[1] in TAKEN or not all(map(NAME.fullmatch, parts)):
            return ""
        kind = parts[0]
        known = kind in COMMON or kind in self.aliases or (kind in self.infos and kind not in self.knobless)
        return "" if known else kind

    def why_absent(self, kind: str) -> str:
        """Return why a generator's own knobs are not here."""
        return "has no knobs, for what it tells of itself makes no sense" if kind in self.infos else "is not installed"

    def turn_of(self, address: str) -> tuple[str, Verb] | None:
        """Return the key of the knob that a canonical address turns, and how; None for an address that turns none."""
        return self._turns.get(address)

    def key_of(self, address: str) -> str:
        """Return the key of the knob whose 0..1 value an address is, an empty text for any other address."""
        key, verb = self._turns.get(self.canonical(address), ("", ""))
        return "" if verb else key

    @cached_property
    def told(self) -> tuple[str, ...]:
        """The addresses of all values, in order, those from before last; a knob's value in its own unit is left out."""
        own = [a for a, e in self.entries.items() if e.kind == "parameter" and not a.endswith("/raw")]
        return (*own, *(f"{PARAM}{alias}" for alias in self.aliases))

    @cached_property
    def everything(self) -> dict[str, Entry]:
        """What is declared, by every address: also those from before, whose entries name the new one."""
        return self.entries | {old: self.entries[new] for old, new in self.synonyms.items()}

    def meant(self, address: str) -> tuple[str, ...]:
        """Return the addresses that one means that came in: itself, or what a pattern reaches. Raises ConfigError."""
        if not is_pattern(address) or address in self.entries:
            return (address,)
        reached = self.reached(address)
        if not reached:
            raise ConfigError(f"no address is meant by the pattern {address[:80]!r}")
        return reached

    def reached(self, pattern: str) -> tuple[str, ...]:
        """Return the addresses that a pattern with ``*?[]{}`` means. Raises ConfigError for a broken one.

        It reaches values, and the steps and resets of knobs: deeds are called by their whole names, so that no star
        panics or closes an output. A generator's own knobs are reached where the pattern names the generator.
        """
        parts = pattern.split("/")
        kind = parts[3] if len(parts) > 3 and pattern.startswith(PARAM) and WILD.isdisjoint(parts[3]) else ""
        return matching(pattern, self._own_reach.get(kind, self._reach))

    @cached_property
    def _reach(self) -> tuple[str, ...]:
        """What a pattern reaches that names no generator: values of all kinds, and the knobs that everybody knows."""
        return tuple(
            address
            for address, entry in self.everything.items()
            if (entry.kind == "parameter" or self._turns.get(self.canonical(address), ("", ""))[1])
            and "/" not in self._turns.get(address, ("", ""))[0]
        )

    @cached_property
    def _own_reach(self) -> dict[str, tuple[str, ...]]:
        return {
            kind: tuple(address for address, (key, _) in self._turns.items() if key.startswith(f"{kind}/"))
            for kind in self.infos
        }

    # -- knobs ---------------------------------------------------------------------------------------------

    def knobs(self, kind: str = "") -> dict[str, Parameter]:
        """Return a generator's own knobs by their bare names; without a kind the common ones."""
        if not kind:
            return COMMON
        return {p.name: p for p in self.infos[kind].parameters} if kind in self.infos else {}

    def settled(self, params: Mapping[str, object]) -> dict[str, float]:
        """Return what came from outside as the knobs of a state, 0..1: every one there is, and those unknown here.

        Names from before become those of now (one that stands under both keeps the new one's value), what is missing
        stands at its start, what is no finite number is left out, at most :data:`MOST_PARAMS` are kept.
        """
        known = dict(self.starts)
        unknown: dict[str, float] = {}
        ordered = sorted(params.items(), key=lambda row: row[0] not in self.aliases)  # those of now have the last word
        for name, value in ordered:
            key = self.aliases.get(name, name)
            if not is_number(value) or not math.isfinite(value) or isinstance(value, bool):
                continue
            number = min(1.0, max(0.0, float(value)))
            if key in known:
                known[key] = number
            elif is_key(key) and len(known) + len(unknown) < MOST_PARAMS:
                unknown[key] = number
        return known | unknown

    def bounded(self, params: dict[str, float]) -> dict[str, float]:
        """Return at most :data:`MOST_PARAMS` knobs: of those that nobody knows the newest, which stand last."""
        spare = len(params) - MOST_PARAMS
        if spare <= 0:
            return params
        gone = [key for key in params if key not in self.parameters][:spare]
        return {key: value for key, value in params.items() if key not in gone}

    # -- messages ------------------------------------------------------------------------------------------

    def accept(self, address: str, args: Sequence[object]) -> Accepted:
        """Return the canonical address, and ``args`` typed and clamped as it declares.

        A number out of range is clamped; what is plain to a person is taken: "0.75" and "on" for a number, 1984 for a
        text, a text in several pieces, the first of two values where one is taken. A number that is no number, another
        type or too few arguments raise ConfigError. A button may send its 1 or nothing to what takes nothing, or only
        a text that may be left out.
        """
        entry = self.lookup(address)
        canonical = self.synonyms.get(address, address)
        if not entry.arguments or (_is_button(entry) and not (args and isinstance(args[0], str))):
            return Accepted(canonical, ())
        least = sum(not a.optional for a in entry.arguments)
        if len(args) < least:
            raise ConfigError(f"{address} takes {len(entry.arguments)} argument(s): got {len(args)}")
        args = self._by_label(canonical, _as_many(entry, args))
        accepted = tuple(_typed(address, a, value) for a, value in zip(entry.arguments, args, strict=False))
        if entry.choices and accepted[0] not in entry.choices:
            raise ConfigError(f"{address} takes {', '.join(entry.choices)}: got {str(accepted[0])[:40]!r}")
        if entry.check is not None:
            entry.check(accepted)
        return Accepted(canonical, accepted)

    def _by_label(self, address: str, args: Sequence[object]) -> Sequence[object]:
        """Return arguments in which a choice that was called by its label is a number."""
        key, verb = self._turns.get(address, ("", ""))
        labels = [label.lower() for label in self.parameters[key].choices] if key and verb != "inc" else []
        if labels and isinstance(args[0], str) and args[0].strip().lower() in labels:
            place = labels.index(args[0].strip().lower())
            return (place if verb == "raw" else place / (len(labels) - 1), *args[1:])
        return args

    def is_release(self, address: str, args: Sequence[object]) -> bool:
        """Tell whether a message is only the 0 that a button sends when it is let go."""
        if len(args) != 1 or args[0] not in (0, 0.0, False):
            return False
        entry = self.entries[CUE_GO] if cue_of(address) else self.entries.get(self.canonical(address))
        return entry is not None and _is_button(entry)


def is_key(key: str) -> bool:
    """Tell whether a text may be a knob's key: ``name`` or ``kind/name``."""
    parts = key.split("/")
    return len(parts) <= 2 and all(map(NAME.fullmatch, parts))


def fault_of(info: GeneratorInfo, others: Mapping[str, GeneratorInfo] = {}) -> str:
    """Return what about an info makes no sense beside ``others``, an empty text where all does."""
    taken = {name for other in others.values() for name in (other.kind, *other.aliases)}
    names = [p.name for p in info.parameters]
    unknown = [name for name in info.uses if name not in COMMON]
    rows = (
        (not NAME.fullmatch(info.kind), f"a kind is a-z, 0-9 and _, at most 40 signs: got {info.kind[:50]!r}"),
        (info.kind in COMMON or info.kind in taken, f"the kind {info.kind!r} is the name of something else"),
        (len(names) > MOST_KNOBS, f"a generator has at most {MOST_KNOBS} knobs of its own: got {len(names)}"),
        (len(set(names)) < len(names), "two of its knobs have one name"),
        (not TAKEN.isdisjoint(names), f"no knob may be called {', '.join(sorted(TAKEN))}"),
        (bool(unknown), f"it uses a common knob that is none: {', '.join(map(repr, unknown))}"),
        (any(name not in names for name in info.aliases.values()), "an alias stands for a knob that it does not have"),
        (any(a in COMMON or a in taken or not NAME.fullmatch(a) for a in info.aliases), "an alias is taken"),
    )
    return next((why for wrong, why in rows if wrong), "")


def _again(*parts: Any) -> Registry:
    return Registry(*parts)


COMMON_ONLY = Registry()
"""What there is without any generator: enough for what names common knobs only."""


def cue_of(address: str) -> str:
    """Return the id in ``/vj/cue/{id}/go``, or an empty text for any other address."""
    if not (address.startswith(_CUE[0]) and address.endswith(_CUE[1])):
        return ""
    name = address[len(_CUE[0]) : -len(_CUE[1])]
    return name if name and "/" not in name and len(name) <= MAX_NAME else ""


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


def _typed(address: str, argument: ArgumentSpec, value: object) -> Argument:
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
