"""Presets: a look and how sound moves it, as one TOML file. Text goes in, a checked ``Preset`` comes out."""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping as Rows
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
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
from vjserver.types.errors import ConfigError, nearest
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
