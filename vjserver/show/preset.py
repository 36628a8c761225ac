"""Presets: a look and how sound moves it, as one TOML file. Text goes in, a checked ``Preset`` comes out."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Rows
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from vjserver.show.addresses import (
    FALLBACK_GENERATOR,
    MAX_NAME,
    MAX_SEED,
    MAX_TEXT,
    N_MACROS,
    N_PROMPTS,
    PARAM,
    size_of,
)
from vjserver.show.expression import MARK, parse
from vjserver.show.registry import COMMON_ONLY, Registry
from vjserver.types.errors import ConfigError, UnknownNameError, nearest
from vjserver.types.events import Argument
from vjserver.types.features import READERS

Model = TypeVar("Model", bound=BaseModel)
Curve = Literal["linear", "square", "cube", "sqrt", "smooth", "invert"]


class Strict(BaseModel):
    """What a file holds: unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


def registry_of(info: ValidationInfo) -> Registry:
    """Return the registry against which a file is checked: that of :func:`parse_toml`, else the common knobs alone."""
    return info.context["registry"] if isinstance(info.context, dict) and "registry" in info.context else COMMON_ONLY


def known_address(address: str, info: ValidationInfo) -> str:
    """Return an address that there is, for a model's field. Raises ValueError naming the nearest.

    A knob of a generator that is not installed may be named: what leads to it lies idle.
    """
    registry = registry_of(info)
    try:
        registry.lookup(address)
    except ConfigError as error:
        if not registry.absent(address):
            raise ValueError(str(error)) from None
    return address


def _mappable(address: str, info: ValidationInfo) -> str:
    known_address(address, info)
    registry = registry_of(info)
    own_value = registry.absent(address) and address.count("/") == 4
    if not (registry.key_of(address) or own_value or address.endswith("/weight")):
        raise ValueError(f"a mapping drives /vj/param/NAME or /vj/prompt/N/weight: got {address!r}")
    return address


def known_param(name: str, info: ValidationInfo) -> str:
    """Return a knob's key or former name that there is, for a model's field. Raises ValueError naming the nearest."""
    registry = registry_of(info)
    key = registry.aliases.get(name, name)
    if key not in registry.parameters and not registry.absent(f"{PARAM}{key}"):
        known = [f"{PARAM}{one}" for one in registry.parameters]
        raise ValueError(f"unknown address '{PARAM}{key}'{nearest(f'{PARAM}{key}', known)}")
    return name


def is_source(name: str) -> bool:
    """Tell whether a mapping may come from this: a feature, or an expression behind ``=``."""
    try:
        return name in READERS or (name.startswith(MARK) and bool(parse(name[len(MARK) :])))
    except ConfigError:
        return False


def _feature(name: str) -> str:
    if name.startswith(MARK):
        try:
            parse(name[len(MARK) :])
        except ConfigError as error:
            raise ValueError(str(error)) from None
    elif name not in READERS:
        raise ValueError(f"unknown feature {name!r}{nearest(name, READERS)}")
    return name


class Prompt(Strict):
    """A prompt and how much it counts."""

    text: str = Field(max_length=MAX_TEXT)
    weight: float = Field(1.0, ge=0.0, le=1.0)


class Mapping(Strict):
    """A feature that moves an address: ``range[0]`` at 0, ``range[1]`` at 1, on the address's 0..1 scale.

    ``from = "= 1 + 0.2 * sin(pi * beat)"`` is an expression: it puts the knob, in its own unit, where it says.
    """

    source: Annotated[str, AfterValidator(_feature)] = Field(alias="from")
    to: Annotated[str, AfterValidator(_mappable)]
    range: tuple[float, float] = (0.0, 1.0)
    curve: Curve = "linear"
    mode: Literal["add", "set", "multiply"] = "add"
    attack_s: float = Field(0.0, ge=0.0, le=60.0)
    release_s: float = Field(0.0, ge=0.0, le=60.0)


class Message(Strict):
    """A message that is sent: an address and its arguments."""

    do: Annotated[str, AfterValidator(known_address)]
    args: tuple[float | int | str | bool, ...] = ()

    @model_validator(mode="after")
    def _known(self, info: ValidationInfo) -> "Message":
        registry = registry_of(info)
        try:
            if not registry.absent(self.do):
                registry.accept(self.do, self.args)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return self


class Trigger(Message):
    """Something that happens on every ``every``-th event."""

    on: Literal["beat", "downbeat", "bar", "kick", "snare", "hat", "onset", "break", "groove", "drop"]
    every: int = Field(1, ge=1, le=4096)


class Move(Strict):
    """What a macro does to one address: ``range[0]`` at 0, ``range[1]`` at 1, on the address's 0..1 scale."""

    to: Annotated[str, AfterValidator(_mappable)]
    range: tuple[float, float] = (0.0, 1.0)
    curve: Curve = "linear"


class Macro(Strict):
    """One fader for several knobs."""

    number: int = Field(ge=1, le=N_MACROS)
    name: str = Field("", max_length=MAX_NAME)
    moves: tuple[Move, ...] = Field(max_length=16)


def _default_macro(number: int, name: str, *moves: tuple[str, float, float]) -> Macro:
    rows = tuple(Move(to=f"/vj/param/{knob}", range=(low, high)) for knob, low, high in moves)
    return Macro(number=number, name=name, moves=rows)


# For presets that say nothing of macros: eight handles that do something good to any look.
DEFAULT_MACROS = (
    _default_macro(1, "Motion", ("speed", 0.0, 0.7)),
    _default_macro(2, "Flight", ("zoom", 0.5, 0.85)),
    _default_macro(3, "Liquid", ("warp", 0.0, 0.9)),
    _default_macro(4, "Detail", ("detail", 0.0, 1.0), ("morph", 0.1, 0.8)),
    _default_macro(5, "Trails", ("feedback", 0.0, 0.95)),
    _default_macro(6, "Glow", ("bloom", 0.0, 1.0), ("brightness", 0.45, 0.62)),
    _default_macro(7, "Colour", ("palette", 0.0, 1.0)),
    _default_macro(8, "Mirrors", ("symmetry", 0.0, 1.0)),
)


class TravelTime(Strict):
    """How long a change of prompts or seed is on its way: beats, or seconds where beats is 0."""

    beats: float = Field(0.0, ge=0.0, le=64.0)
    seconds: float = Field(0.0, ge=0.0, le=60.0)
    ease: Literal["linear", "smooth", "in", "out"] = "smooth"


def _size(text: str) -> str:
    try:
        size_of(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return text


def check_raw(raw: Rows[str, float], registry: Registry) -> None:
    """Raise ValueError for a knob that is given beyond its range, in its own unit."""
    for name, value in raw.items():
        p = registry.parameters.get(registry.aliases.get(name, name))
        if p is not None and not p.low <= value <= p.high:
            raise ValueError(f"raw.{name} is in {p.low:g}..{p.high:g} {p.unit}".rstrip() + f": got {value:g}")


def settings_of(params: Rows[str, float], raw: Rows[str, float], registry: Registry) -> dict[str, float]:
    """Return knobs by key, 0..1, as ``[params]`` (0..1) and ``[raw]`` (in units) have them; of unknown ones not raw."""
    rows = {registry.aliases.get(name, name): value for name, value in params.items()}
    for name, value in raw.items():
        key = registry.aliases.get(name, name)
        if key in registry.parameters:
            rows[key] = registry.parameters[key].norm(value)
    return rows


class Preset(Strict):
    """A look: prompts, a generator, its knobs (those not named at their defaults), mappings and triggers.

    ``params`` are 0..1 by key; ``raw`` holds the same knobs in their own units. What belongs to one generator stands in
    a table of its own, ``[params.faces]``, or under the name that it had before: the spelling is kept.
    """

    name: str = Field(min_length=1, max_length=80)
    description: str = ""
    tags: tuple[str, ...] = ()
    generator: str = FALLBACK_GENERATOR
    model: str = Field("", max_length=MAX_NAME)
    input: str = Field("", max_length=MAX_NAME)
    size: Annotated[str, AfterValidator(_size)] = "auto"
    negative: str = Field("", max_length=MAX_TEXT)
    spoken: str = Field("{phrase}", max_length=MAX_TEXT, description="what a spoken phrase becomes as a prompt")
    travel: TravelTime = TravelTime()
    seed: int = Field(1, ge=0, le=MAX_SEED)
    prompts: tuple[Prompt, ...] = Field((), max_length=N_PROMPTS)
    params: dict[Annotated[str, AfterValidator(known_param)], Annotated[float, Field(ge=0.0, le=1.0)]] = {}
    raw: dict[Annotated[str, AfterValidator(known_param)], float] = {}
    mappings: tuple[Mapping, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    macros: tuple[Macro, ...] = Field((), max_length=N_MACROS)
    autopilot: float = Field(1.0, ge=0.0, le=100.0, description="how readily the autopilot chooses it; 0: never")

    @field_validator("params", "raw", mode="before")
    @classmethod
    def _flat(cls, rows: object) -> object:
        return flat(rows) if isinstance(rows, dict) else rows

    @model_validator(mode="after")
    def _in_range(self, info: ValidationInfo) -> "Preset":
        registry = registry_of(info)
        check_raw(self.raw, registry)
        for name in self.raw:
            if name in self.params:
                raise ValueError(f"{name} stands in both [params] and [raw]")
        keys = [registry.aliases.get(name, name) for name in (*self.params, *self.raw)]
        twice = next((key for key, count in Counter(keys).items() if count > 1), "")
        if twice:
            raise ValueError(f"{twice} stands there twice: also under its name of before")
        return self

    def settings(self, registry: Registry) -> dict[str, float]:
        """Return the knobs that are named, 0..1 by key; of a generator that is not here, those given in 0..1."""
        return settings_of(self.params, self.raw, registry)

    def idle(self, registry: Registry) -> tuple[str, ...]:
        """Return what lies idle because a generator is not installed, a sentence for each."""
        lost: dict[str, int] = {}
        for key in (*self.params, *self.raw):
            kind = registry.absent(f"{PARAM}{key}")
            if kind:
                lost[kind] = lost.get(kind, 0) + 1
        rows = [f"{kind} {registry.why_absent(kind)}: {knobs_of(count)}" for kind, count in lost.items()]
        ties = [m.to for m in self.mappings] + [t.do for t in self.triggers]
        ties += [move.to for macro in self.macros for move in macro.moves]
        for kind in dict.fromkeys(filter(None, map(registry.absent, ties))):
            count = sum(registry.absent(tie) == kind for tie in ties)
            rows.append(f"{kind} {registry.why_absent(kind)}: {count} of its mappings, triggers or macros lie idle")
        return tuple(rows)


def texts_of(presets: Iterable[Preset]) -> list[str]:
    """Return all texts of presets, negative ones too: what a generator may have to encode for them."""
    return [text for p in presets for text in (p.negative, *(prompt.text for prompt in p.prompts))]


def knobs_of(count: int) -> str:
    """Return that so many knobs are kept, in words."""
    return f"{count} knobs are kept as they are" if count != 1 else "1 knob is kept as it is"


def flat(rows: dict[str, Any]) -> dict[str, Any]:
    """Return knobs by key, a generator's own out of their table: ``{"faces": {"smile": 0.5}}`` has ``faces/smile``."""
    result: dict[str, Any] = {}
    for name, value in rows.items():
        result |= {f"{name}/{own}": one for own, one in value.items()} if isinstance(value, dict) else {name: value}
    return result


def nested(rows: dict[str, float]) -> dict[str, Any]:
    """Return knobs by key as a file holds them: the opposite of :func:`flat`."""
    result: dict[str, Any] = {}
    for key, value in rows.items():
        kind, _, own = key.rpartition("/")
        (result.setdefault(kind, {}) if kind else result)[own] = value
    return result


def parse_preset(text: str, where: str, registry: Registry) -> Preset:
    """Read a preset. Raises ConfigError with the file (``where``), line, key and what is allowed."""
    return parse_toml(Preset, text, where, registry)


class Bank:
    """Presets in playing order, in banks: found by number (from 1), name or slug.

    A slug is the file's name, whose number may be left out. ``banks`` names the bank of each preset; ``faults`` says of
    the files that were left out, by bank and slug, what is wrong with them.
    """

    def __init__(
        self,
        presets: Sequence[tuple[str, Preset]],
        banks: Sequence[str] = (),
        faults: dict[tuple[str, str], str] | None = None,
    ) -> None:
        self.presets = tuple(presets)
        self.banks = tuple(banks) or ("",) * len(self.presets)
        self.faults = faults or {}

    def repaired(self, before: "Bank") -> "Bank":
        """Return this bank with those presets of ``before`` whose files are broken now, each in its place."""
        rows = {(bank, slug): preset for bank, (slug, preset) in zip(self.banks, self.presets, strict=True)}
        old = {(bank, slug): preset for bank, (slug, preset) in zip(before.banks, before.presets, strict=True)}
        rows |= {key: old[key] for key in self.faults if key in old}
        order = {name: i for i, name in enumerate(dict.fromkeys((*self.banks, *before.banks)))}
        kept = sorted(rows.items(), key=lambda row: (order[row[0][0]], row[0][1]))
        return Bank([(slug, preset) for (_, slug), preset in kept], [bank for (bank, _), _ in kept], self.faults)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bank) and (self.presets, self.banks) == (other.presets, other.banks)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the banks, in order."""
        return tuple(dict.fromkeys(self.banks))

    def places(self, bank: str = "") -> list[int]:
        """Return the places (from 0) of a bank's presets, of all where it has no name. Raises ConfigError."""
        if bank and bank not in self.banks:
            raise ConfigError(f"unknown bank {bank[:60]!r}{nearest(bank, self.names)}; known: {', '.join(self.names)}")
        return [i for i, name in enumerate(self.banks) if not bank or name == bank]

    def find(self, key: Argument, bank: str = "") -> tuple[int, Preset]:
        """Return place (from 0) and preset; numbers count within ``bank``. Raises ConfigError naming the nearest."""
        places = self.places(bank)
        if isinstance(key, str) and not key.isdecimal():
            wanted = key.strip().lower()
            for i in (*places, *range(len(self.presets))):  # the same name may stand in two banks
                slug, preset = self.presets[i]
                if wanted in (slug.lower(), slug.lower().lstrip("0123456789-"), preset.name.lower()):
                    return i, preset
            broken = [why for (_, slug), why in self.faults.items() if wanted in (slug, slug.lstrip("0123456789-"))]
            if broken:
                raise ConfigError(f"preset {key[:60]!r} is left out: {broken[0].splitlines()[0]}")
            raise UnknownNameError(f"unknown preset {key[:60]!r}", wanted[:60], [slug for slug, _ in self.presets])
        number = int(key)
        if not places:
            raise ConfigError("there are no presets; `vjserver presets check` says why")
        if not 1 <= number <= len(places):
            raise ConfigError(f"preset number must be in 1..{len(places)}: got {number}")
        return places[number - 1], self.presets[places[number - 1]][1]

    def called(self, args: Sequence[Argument], bank: str = "") -> int:
        """Return the place that (preset,) in ``bank``, or (bank, preset), calls. Raises ConfigError."""
        return self.find(args[-1], str(args[0]) if len(args) > 1 else bank)[0]

    def step(self, place: int, by: int, bank: str = "") -> int:
        """Return the place ``by`` presets further in the bank, round and round."""
        places = self.places(bank)
        if place not in places:
            return places[0]
        return places[(places.index(place) + by) % len(places)]

    def number(self, place: int, bank: str = "") -> int:
        """Return the number (from 1) of a place within a bank, 0 if it is not in there."""
        places = self.places(bank if bank in self.banks else "")
        return places.index(place) + 1 if place in places else 0


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
