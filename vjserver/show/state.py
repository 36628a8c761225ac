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
from vjserver.show.addresses import FALLBACK_GENERATOR, MAX_NAME, MAX_QUEUE, MAX_TEXT, N_MACROS, N_PROMPTS, PARAM
from vjserver.show.fields import SAVED, STORED, SWITCHES
from vjserver.show.outputs import RECORD, OutputRow
from vjserver.show.preset import DEFAULT_MACROS, Preset, is_source
from vjserver.show.registry import Registry
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument, EarEvent, event_name
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


def at(state: ShowState, t_ns: int) -> ShowState:
    """Return the state as it is at ``t_ns``: a morph that is on its way is part of it, one that arrived is gone."""
    glide = state.glide
    if glide is None:
        return state
    if glide.over(t_ns):
        return replace(state, glide=None)
    share = glide.share(t_ns)
    params = dict(state.params)
    for name, start in glide.params.items():
        if name in params:
            params[name] = start + (params[name] - start) * share
    params |= glide.held
    held: dict[str, Any] = dict(zip(SWITCHES, glide.switches, strict=True))
    return replace(state, params=params, **held)


def change_look(state: ShowState, t_ns: int, look: Look, lasts_s: float, registry: Registry) -> ShowState:
    """Return ``state`` on its way to ``look``, which it reaches in ``lasts_s``: knobs eased, switches at the end.

    Knobs that the look does not hold stay. Of a generator's own knobs only those are eased of one that plays before
    and after: a leaving one's stand until the end, a coming one's are set. Whole numbers and choices switch at the end.
    """
    now = at(state, t_ns)
    params = registry.bounded({k: v for k, v in state.params.items() if k not in look.params} | dict(look.params))
    new = replace(state, glide=None, **{name: getattr(look, name) for name in LOOK if name != "params"}, params=params)
    if lasts_s <= 0.0:
        return new
    switches = now.generator, now.model, now.input, now.size
    before, after = {now.generator, now.input}, {new.generator, new.input}
    eased: dict[str, float] = {}
    held: dict[str, float] = {}
    for name, value in now.params.items():
        kind = name.split("/")[0] if "/" in name else ""
        if value == params.get(name, value) or (kind and kind not in before):
            continue
        knob = registry.parameters.get(name)
        eases = (not kind or kind in after) and (knob is None or knob.type == "float")
        (eased if eases else held)[name] = value
    return replace(new, glide=Morph(t_ns, lasts_s, state.morph.ease, eased, switches, held))


def look_of_preset(place: int, preset: Preset, registry: Registry) -> Look:
    """Return the look of a preset, which has its ``place`` (from 0) in the bank.

    Its knobs are the common ones, and those of the generators that it plays or names; the others keep theirs.
    """
    texts = [p.text for p in preset.prompts] + [""] * (N_PROMPTS - len(preset.prompts))
    weights = [p.weight for p in preset.prompts] + [0.0] * (N_PROMPTS - len(preset.prompts))
    called = registry.canonical
    rows = tuple(
        MappingRow(m.source, called(m.to), *m.range, m.curve, m.mode, m.attack_s, m.release_s) for m in preset.mappings
    )
    named = preset.settings(registry)
    kinds = {preset.generator, preset.input, *(key.split("/")[0] for key in named if "/" in key)}
    starts = {key: start for key, start in registry.starts.items() if "/" not in key or key.split("/")[0] in kinds}
    params = starts | named
    macros = preset.macros or DEFAULT_MACROS
    macro_rows = tuple(MacroRow(m.number, called(move.to), *move.range, move.curve) for m in macros for move in m.moves)
    names = [""] * N_MACROS
    for macro in macros:
        names[macro.number - 1] = macro.name
    plain: dict[str, Any] = {name: getattr(preset, name) for name in SAVED if "." not in name}
    return Look(
        texts=tuple(texts),
        weights=tuple(weights),
        params=params,
        travel=Travel(**preset.travel.model_dump()),
        preset=place,
        preset_name=preset.name,
        mappings=rows,
        macros=tuple(_standing(n, macro_rows, params) for n in range(1, N_MACROS + 1)),
        macro_rows=macro_rows,
        macro_names=tuple(names),
        **plain,
    )


def _standing(number: int, rows: tuple[MacroRow, ...], params: Mapping[str, float]) -> float:
    """Return where a macro's fader stands when a preset begins: where the first knob it moves stands in its range."""
    for row in rows:
        name = row.to.removeprefix(PARAM)
        if row.number == number and name in params and row.low != row.high and row.curve == "linear":
            return min(1.0, max(0.0, (params[name] - row.low) / (row.high - row.low)))
    return 0.0


def enter(
    state: ShowState, place: int, preset: Preset, registry: Registry, t_ns: int = 0, lasts_s: float = 0.0
) -> ShowState:
    """Return ``state`` with ``preset`` playing, or on its way there. Master and tempo are the performer's and stay."""
    return change_look(state, t_ns, look_of_preset(place, preset, registry), lasts_s, registry)


class Triggers:
    """Counts what is heard and says what a preset wants done: ``on`` an event, ``every`` N of them."""

    def __init__(self, preset: Preset | None = None) -> None:
        self._rows = preset.triggers if preset else ()
        self._counts = [0] * len(self._rows)

    def hear(self, event: EarEvent) -> list[tuple[str, tuple[Argument, ...]]]:
        """Return the (address, args) that fall due with this event."""
        name = event_name(event)
        names = {name, "beat", "bar"} if name == "downbeat" else {name}
        due = []
        for i, row in enumerate(self._rows):
            if row.on in names:
                self._counts[i] += 1
                if self._counts[i] % row.every == 0:
                    due.append((row.do, tuple(row.args)))
        return due
