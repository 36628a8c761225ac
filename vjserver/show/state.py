"""The state of the show: accepted messages go in, a new immutable state comes out.

Only the control process holds the master copy. Everybody else gets whole states, newest first.
"""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Any, TypeVar

from vjserver.easing.ease import EASES, ease
from vjserver.show.addresses import FALLBACK_GENERATOR, MAX_NAME, MAX_QUEUE, MAX_TEXT, N_MACROS, N_PROMPTS
from vjserver.show.fields import STORED
from vjserver.show.outputs import RECORD, OutputRow
from vjserver.show.preset import is_source
from vjserver.show.registry import Registry
from vjserver.types.errors import ConfigError
from vjserver.types.text import clean

TEMPO = "/vj/tempo/"
MOST_PRESETS = 1_000_000
# Shapes of a movement from 0 to 1.
CURVES: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "square": lambda x: x * x,
    "cube": lambda x: x * x * x,
    "sqrt": math.sqrt,
    "smooth": EASES["smooth"],
    "invert": lambda x: 1.0 - x,
}
FEEDBACK = "feedback"  # the input that is the last picture itself


@dataclass(frozen=True, slots=True)
class MappingRow:
    """A preset's mapping, flat, as it travels; see ``preset.Mapping``."""

    source: str
    to: str
    low: float
    high: float
    curve: str
    mode: str
    attack_s: float
    release_s: float


@dataclass(frozen=True, slots=True)
class MacroRow:
    """What macro ``number`` does to the address ``to``; see ``preset.Macro``."""

    number: int
    to: str
    low: float
    high: float
    curve: str


@dataclass(frozen=True, slots=True)
class Travel:
    """How long a change of prompts or seed is on its way: beats, or seconds where beats is 0; and its ease."""

    beats: float = 0.0
    seconds: float = 0.0
    ease: str = "smooth"

    def lasts_s(self, period_s: float) -> float:
        """Return its length in seconds where a beat lasts ``period_s``."""
        return self.beats * period_s if self.beats > 0.0 else self.seconds


@dataclass(frozen=True, slots=True)
class Deliver:
    """How pictures are delivered: ``fps`` a second, what is shown ``between`` two of them, and how they come ``back``.

    ``returns`` counts how often the operator asked them back after the safe loop.
    """

    fps: float = 60.0
    between: str = "repeat"
    back: str = "bar"
    returns: int = 0


@dataclass(frozen=True, slots=True)
class Sync:
    """Who keeps the beat (``source``), whether Ableton Link is followed or led, and whether MIDI clock is sent.

    ``midi_from`` is part of the name of the port whose clock is followed; empty: the first that plays.
    """

    source: str = "auto"
    link: str = "off"
    midi_clock: bool = False
    midi_from: str = ""


@dataclass(frozen=True, slots=True)
class Sound:
    """Which audio input is heard, and which of its channels; empty texts leave it to the show file."""

    device: str = ""
    channels: str = ""


@dataclass(frozen=True, slots=True)
class Speech:
    """Who is listened to, and what becomes of what is said.

    ``mode``: all the time (``open``), or while ``talk`` is held (``push``). ``source``: a microphone of its own, or
    what the ear hears (``music``). ``bars``: so long a phrase fades where ``policy`` is ``blend``; after ``hold_s``
    without a new one the typed prompt is back (0: it stays). ``crowd``: what comes from the page waits for approval.
    """

    on: bool = False
    mode: str = "open"
    talk: bool = False
    source: str = "microphone"
    policy: str = "replace"
    language: str = "auto"
    bars: int = 8
    hold_s: float = 60.0
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class Autopilot:
    """Whether another preset is chosen every ``bars`` bars."""

    on: bool = False
    bars: int = 16


@dataclass(frozen=True, slots=True)
class Morph:
    """A morph on its way since ``t_ns``: where its knobs come from, and what switches at its end.

    ``switches`` holds generator, model, input and size as they were; ``held`` the knobs that are not eased: they stand
    there until the end.
    """

    t_ns: int
    lasts_s: float
    ease: str
    params: Mapping[str, float]
    switches: tuple[str, str, str, str]
    held: Mapping[str, float] = field(default_factory=dict)

    def share(self, t_ns: int) -> float:
        """Return how far it has come, 0..1, eased."""
        return ease((t_ns - self.t_ns) * 1e-9 / self.lasts_s, self.ease)

    def over(self, t_ns: int) -> bool:
        """Tell whether it has arrived."""
        return (t_ns - self.t_ns) * 1e-9 >= self.lasts_s


@dataclass(frozen=True, slots=True)
class Look:
    """What a preset sets; master, tempo and outputs are not of it. ``texts`` and ``weights`` have one row a prompt.

    ``params`` are 0..1 by key; which there are, the registry says: one that is missing stands at its start.
    """

    texts: tuple[str, ...] = ("",) * N_PROMPTS
    weights: tuple[float, ...] = (1.0,) + (0.0,) * (N_PROMPTS - 1)
    params: Mapping[str, float] = field(default_factory=dict)
    seed: int = 1
    generator: str = FALLBACK_GENERATOR
    model: str = ""
    input: str = ""
    size: str = "auto"
    negative: str = ""
    spoken: str = "{phrase}"
    travel: Travel = field(default_factory=Travel)
    preset: int = 0
    preset_name: str = ""
    mappings: tuple[MappingRow, ...] = ()
    macros: tuple[float, ...] = (0.0,) * N_MACROS
    macro_rows: tuple[MacroRow, ...] = ()
    macro_names: tuple[str, ...] = ("",) * N_MACROS


LOOK = tuple(row.name for row in fields(Look))
LookT = TypeVar("LookT", bound=Look)


@dataclass(frozen=True, slots=True)
class ShowState(Look):
    """Everything that the show is now: the look, and what presets leave alone.

    The look began at ``since_ns`` and ``since_beat`` (a count of beats): expressions count from there.
    """

    t_ns: int = 0
    revision: int = 0
    since_ns: int = 0
    since_beat: float = 0.0
    glide: Morph | None = None
    morph: Travel = field(default_factory=Travel)
    quantise: str = "none"
    queue: tuple[str, ...] = ()
    bank: str = ""
    cue: str = ""
    autopilot: Autopilot = field(default_factory=Autopilot)
    sync: Sync = field(default_factory=Sync)
    sound: Sound = field(default_factory=Sound)
    speech: Speech = field(default_factory=Speech)
    keep: bool = True
    take: bool = False
    lookahead_ms: float = -1.0
    blackout: bool = False
    freeze: bool = False
    fade: float = 1.0
    safe: bool = False
    deliver: Deliver = field(default_factory=Deliver)
    outputs: tuple[OutputRow, ...] = ()

    @property
    def record(self) -> bool:
        """Whether the show is recorded."""
        return any(row.label == RECORD for row in self.outputs)

    @property
    def prompts(self) -> tuple[tuple[str, float], ...]:
        """The prompts that count, (text, weight)."""
        return tuple((t, w) for t, w in zip(self.texts, self.weights, strict=True) if w > 0.0 and t.strip())

    @property
    def heaviest(self) -> str:
        """The text of the heaviest prompt, or ``""``."""
        return max(self.prompts, key=lambda p: p[1], default=("", 0.0))[0]


def prompt_hash(prompts: tuple[tuple[str, float], ...]) -> int:
    """Return a number that is the same for the same prompts and weights, on every machine."""
    return zlib.crc32(repr(prompts).encode())


def look_of(state: ShowState) -> Look:
    """Return what makes the look: it is kept, recalled, undone and saved as a whole."""
    return Look(**{name: getattr(state, name) for name in LOOK})


def settled_look(look: LookT, registry: Registry) -> LookT:
    """Return a look that came from outside as what there is now understands it.

    Knobs and addresses are those of now; what has the wrong length is filled up or cut; what makes no sense stands as
    at the start, a mapping or a macro that makes none is left out.
    """
    start = type(look)()
    plain: dict[str, Any] = {}
    for row in STORED:
        owner, _, name = row.name.rpartition(".")
        if hasattr(look, owner or name):
            value = _accepted(row.address, look, start, row.name, registry)
            if owner:
                plain[owner] = replace(plain.get(owner, getattr(look, owner)), **{name: value})
            else:
                plain[name] = value
    return replace(
        look,
        **plain,
        texts=_filled([clean(t[:MAX_TEXT]) for t in look.texts], start.texts),
        weights=_filled([_unit(w, 0.0) for w in look.weights], start.weights),
        macros=_filled([_unit(m, 0.0) for m in look.macros], start.macros),
        macro_names=_filled([clean(n[:MAX_NAME]) for n in look.macro_names], start.macro_names),
        preset=min(max(0, look.preset), MOST_PRESETS),
        preset_name=look.preset_name[:MAX_NAME],
        params=registry.settled(look.params),
        mappings=tuple(m for row in look.mappings if (m := _settled_mapping(row, registry)) is not None),
        macro_rows=tuple(tie for row in look.macro_rows if (tie := _settled_macro(row, registry)) is not None),
    )


def _accepted(address: str, look: Look, start: Look, name: str, registry: Registry) -> object:
    """Return a field as its address would take it, or as it is at the start."""
    field_of = attrgetter(name)
    try:
        return registry.accept(address, (field_of(look),))[1][0]
    except (ConfigError, IndexError):
        return field_of(start)


def _filled(rows: list[Any], start: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*rows[: len(start)], *start[len(rows) :])


def _unit(value: float, otherwise: float) -> float:
    return min(1.0, max(0.0, value)) if math.isfinite(value) else otherwise


def _settled_mapping(row: MappingRow, registry: Registry) -> MappingRow | None:
    numbers = (row.low, row.high, row.attack_s, row.release_s)
    known = is_source(row.source) and row.curve in CURVES and row.mode in ("add", "set", "multiply")
    if not known or not all(map(math.isfinite, numbers)) or min(row.attack_s, row.release_s) < 0.0:
        return None
    return replace(row, to=registry.canonical(row.to)) if _is_driven(row.to, registry) else None


def _settled_macro(row: MacroRow, registry: Registry) -> MacroRow | None:
    sound = row.curve in CURVES and math.isfinite(row.low) and math.isfinite(row.high)
    return replace(row, to=registry.canonical(row.to)) if sound and _is_driven(row.to, registry) else None


def _is_driven(address: str, registry: Registry) -> bool:
    """Tell whether an address is one that mappings and macros may move, or would be if its generator were here."""
    weight = address.startswith("/vj/prompt/") and address.endswith("/weight") and address in registry.entries
    return bool(registry.key_of(address) or registry.absent(address) or weight)


def settled(state: ShowState, registry: Registry) -> ShowState:
    """Return a state that came from outside, as what there is now understands it; a morph on its way comes along."""
    state = settled_look(state, registry)
    state = replace(state, cue=state.cue[:MAX_NAME], queue=tuple(clean(t[:MAX_TEXT]) for t in state.queue[:MAX_QUEUE]))
    glide = state.glide
    if glide is not None:
        eased, held = (_settled_part(rows, registry) for rows in (glide.params, glide.held))
        sound = 0.0 < glide.lasts_s < math.inf and glide.ease in EASES and abs(glide.t_ns) < 2**62
        state = replace(state, glide=replace(glide, params=eased, held=held) if sound else None)
    return state


def _settled_part(params: Mapping[str, float], registry: Registry) -> dict[str, float]:
    """Return some of a state's knobs, settled; what is missing stays missing."""
    names = {registry.aliases.get(name, name) for name in params}
    return {name: value for name, value in registry.settled(params).items() if name in names}
