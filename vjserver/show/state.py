"""The state of the show: accepted messages go in, a new immutable state comes out.

Only the control process holds the master copy. Everybody else gets whole states, newest first.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vjserver.show.outputs import RECORD, OutputRow, added, removed, row_of
from vjserver.show.preset import Bank, Preset
from vjserver.show.registry import MAX_SEED, N_PROMPTS, PARAMS
from vjserver.types.events import Argument, EarEvent, event_name

DEFAULT_PARAMS = {name: p.norm(p.default) for name, p in PARAMS.items()}
TEMPO = "/vj/tempo/"
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
class ShowState:
    """Everything that the show is now. ``texts`` and ``weights`` have one row a prompt; ``params`` are 0..1."""

    t_ns: int = 0
    revision: int = 0
    texts: tuple[str, ...] = ("",) * N_PROMPTS
    weights: tuple[float, ...] = (1.0,) + (0.0,) * (N_PROMPTS - 1)
    params: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_PARAMS))
    seed: int = 1
    generator: str = "pattern"
    model: str = ""
    input: str = ""
    size: str = "auto"
    negative: str = ""
    travel: Travel = field(default_factory=Travel)
    preset: int = 0
    preset_name: str = ""
    mappings: tuple[MappingRow, ...] = ()
    blackout: bool = False
    freeze: bool = False
    fade: float = 1.0
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


def enter(state: ShowState, place: int, preset: Preset) -> ShowState:
    """Return ``state`` with ``preset`` playing. Master and tempo are the performer's and stay."""
    texts = [p.text for p in preset.prompts] + [""] * (N_PROMPTS - len(preset.prompts))
    weights = [p.weight for p in preset.prompts] + [0.0] * (N_PROMPTS - len(preset.prompts))
    rows = tuple(
        MappingRow(m.source, m.to, *m.range, m.curve, m.mode, m.attack_s, m.release_s) for m in preset.mappings
    )
    return replace(
        state,
        texts=tuple(texts),
        weights=tuple(weights),
        params={**DEFAULT_PARAMS, **preset.settings},
        seed=preset.seed,
        generator=preset.generator,
        model=preset.model,
        input=preset.input,
        size=preset.size,
        negative=preset.negative,
        travel=Travel(preset.travel.beats, preset.travel.seconds, preset.travel.ease),
        preset=place,
        preset_name=preset.name,
        mappings=rows,
    )


def _set_prompt(state: ShowState, address: str, args: tuple[Argument, ...]) -> ShowState:
    number, name = address.split("/")[3:5]
    i = int(number) - 1
    if name == "text":
        return replace(state, texts=(*state.texts[:i], str(args[0]), *state.texts[i + 1 :]))
    return replace(state, weights=(*state.weights[:i], float(args[0]), *state.weights[i + 1 :]))


def _set_param(state: ShowState, address: str, args: tuple[Argument, ...], home: Mapping[str, float]) -> ShowState:
    name, _, verb = address.removeprefix("/vj/param/").partition("/")
    value = {
        "": lambda: float(args[0]),
        "raw": lambda: PARAMS[name].norm(float(args[0])),
        "inc": lambda: min(1.0, max(0.0, state.params[name] + float(args[0]))),
        "reset": lambda: home.get(name, DEFAULT_PARAMS[name]),
    }[verb]()
    return replace(state, params={**state.params, name: value})


def apply(state: ShowState, t_ns: int, address: str, args: tuple[Argument, ...], bank: Bank) -> ShowState:
    """Return the state after a message that ``registry.accept`` took. Raises ConfigError for an unknown preset."""
    simple: dict[str, Callable[[], ShowState]] = {
        "/vj/seed": lambda: replace(state, seed=int(args[0])),
        "/vj/seed/next": lambda: replace(state, seed=(state.seed + 1) & MAX_SEED),
        "/vj/generator": lambda: replace(state, generator=str(args[0]).strip()),
        "/vj/model": lambda: replace(state, model=str(args[0]).strip()),
        "/vj/input": lambda: replace(state, input=str(args[0]).strip()),
        "/vj/size": lambda: replace(state, size=str(args[0]).strip()),
        "/vj/negative": lambda: replace(state, negative=str(args[0])),
        "/vj/travel/beats": lambda: replace(state, travel=replace(state.travel, beats=float(args[0]))),
        "/vj/travel/seconds": lambda: replace(state, travel=replace(state.travel, seconds=float(args[0]))),
        "/vj/travel/ease": lambda: replace(state, travel=replace(state.travel, ease=str(args[0]))),
        "/vj/preset/go": lambda: enter(state, *bank.find(args[0])),
        "/vj/preset/next": lambda: _step(state, bank, 1),
        "/vj/preset/prev": lambda: _step(state, bank, -1),
        "/vj/master/blackout": lambda: replace(state, blackout=bool(args[0])),
        "/vj/master/freeze": lambda: replace(state, freeze=bool(args[0])),
        "/vj/master/fade": lambda: replace(state, fade=float(args[0])),
        "/vj/deliver/fps": lambda: _deliver(state, fps=float(args[0])),
        "/vj/deliver/between": lambda: _deliver(state, between=str(args[0])),
        "/vj/deliver/back": lambda: _deliver(state, back=str(args[0])),
        "/vj/deliver/return": lambda: _deliver(state, returns=state.deliver.returns + 1),
        "/vj/output/add": lambda: replace(state, outputs=added(state.outputs, row_of(str(args[0]), str(args[1])))),
        "/vj/output/remove": lambda: replace(state, outputs=removed(state.outputs, str(args[0]))),
        "/vj/record": lambda: _set_record(state, bool(args[0])),
    }
    if address in simple:
        new = simple[address]()
    elif address.startswith("/vj/prompt/"):
        new = _set_prompt(state, address, args)
    elif address.startswith("/vj/param/"):
        home = bank.presets[state.preset][1].settings if bank.presets else {}
        new = _set_param(state, address, args, home)
    else:
        return state  # tempo and ping are not of the state
    return replace(new, t_ns=t_ns, revision=state.revision + 1)


def _deliver(state: ShowState, **changes: Any) -> ShowState:
    return replace(state, deliver=replace(state.deliver, **changes))


def _set_record(state: ShowState, on: bool) -> ShowState:
    if on == state.record:
        return state
    rows = added(state.outputs, OutputRow(RECORD, {"kind": RECORD})) if on else removed(state.outputs, RECORD)
    return replace(state, outputs=rows)


def _step(state: ShowState, bank: Bank, by: int) -> ShowState:
    if not bank.presets:
        return state
    place = (state.preset + by) % len(bank.presets)
    return enter(state, place, bank.presets[place][1])


def read(state: ShowState, address: str) -> Argument | None:
    """Return the present value of a parameter's address, or None for an action."""
    parts = address.split("/")[2:]
    if parts[0] == "prompt":
        return (state.texts if parts[2] == "text" else state.weights)[int(parts[1]) - 1]
    if parts[0] == "param" and len(parts) == 2:
        return state.params[parts[1]]
    if parts[0] == "param" and parts[2] == "raw":
        return PARAMS[parts[1]].raw(state.params[parts[1]])
    owner = {"master": state, "travel": state.travel, "deliver": state.deliver}.get(parts[0])
    if owner is not None:
        value: Argument | None = getattr(owner, parts[1], None)
        return value
    if address in ("/vj/record", "/vj/seed", "/vj/generator", "/vj/model", "/vj/input", "/vj/size", "/vj/negative"):
        own: Argument = getattr(state, parts[0])
        return own
    return None


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
