"""What each address does: a state and accepted arguments go in, a new state comes out; and its present value."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from vjserver.show.addresses import MAX_QUEUE, MAX_SEED, N_MACROS, N_PROMPTS, PARAMS, REGISTRY
from vjserver.show.outputs import RECORD, OutputRow, added, removed, row_of
from vjserver.show.preset import Bank
from vjserver.show.state import CURVES, DEFAULT_PARAMS, SWITCHES, ShowState, at, enter
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument

_Change = Callable[[ShowState, tuple[Argument, ...]], ShowState]


def _field(name: str, owner: str = "") -> tuple[_Change, Callable[[ShowState], Argument]]:
    """Return how a field of the state, or of its ``owner``, is set and read; texts that name things are stripped."""

    def clean(value: Argument) -> Argument:
        return value.strip() if isinstance(value, str) and name != "negative" else value

    if not owner:
        return (lambda s, a: replace(s, **{name: clean(a[0])})), (lambda s: getattr(s, name))
    return (
        lambda s, a: replace(s, **{owner: replace(getattr(s, owner), **{name: clean(a[0])})}),
        lambda s: getattr(getattr(s, owner), name),
    )


FIELDS = {
    "/vj/seed": _field("seed"),
    **{f"/vj/{name}": _field(name) for name in SWITCHES},
    "/vj/negative": _field("negative"),
    **{f"/vj/travel/{name}": _field(name, "travel") for name in ("beats", "seconds", "ease")},
    **{f"/vj/morph/{name}": _field(name, "morph") for name in ("beats", "seconds", "ease")},
    "/vj/quantise": _field("quantise"),
    "/vj/preset/bank": _field("bank"),
    "/vj/autopilot": _field("on", "autopilot"),
    "/vj/autopilot/bars": _field("bars", "autopilot"),
    "/vj/lookahead": _field("lookahead_ms"),
    **{f"/vj/master/{name}": _field(name) for name in ("blackout", "freeze", "fade", "safe")},
    **{f"/vj/deliver/{name}": _field(name, "deliver") for name in ("fps", "between", "back")},
    "/vj/midi/clock": _field("midi_clock", "sync"),
    "/vj/midi/clock/from": _field("midi_from", "sync"),
    "/vj/take/record": _field("take"),
    "/vj/sound/device": _field("device", "sound"),
    "/vj/sound/channels": _field("channels", "sound"),
}


def _row(name: str, i: int) -> tuple[_Change, Callable[[ShowState], Argument]]:
    def change(state: ShowState, args: tuple[Argument, ...]) -> ShowState:
        rows = getattr(state, name)
        changed: dict[str, Any] = {name: (*rows[:i], args[0], *rows[i + 1 :])}
        return replace(state, **changed)

    return change, lambda state: getattr(state, name)[i]


def _param(name: str) -> dict[str, _Change]:
    p = PARAMS[name]

    def put(state: ShowState, value: float) -> ShowState:
        glide = state.glide
        if glide is not None and name in glide.params:  # a hand on a knob outranks the morph
            glide = replace(glide, params={key: start for key, start in glide.params.items() if key != name})
        return replace(state, params={**state.params, name: min(1.0, max(0.0, value))}, glide=glide)

    return {
        f"/vj/param/{name}": lambda s, a: put(s, float(a[0])),
        f"/vj/param/{name}/raw": lambda s, a: put(s, p.norm(float(a[0]))),
        f"/vj/param/{name}/inc": lambda s, a: put(s, s.params[name] + float(a[0])),
    }


def _seed_far(seed: int) -> int:
    """Return another seed (D. H. Lehmer's generator, 1951, with the modulus 2^31 - 1 and the factor 48271)."""
    return (seed % (MAX_SEED - 1) + 1) * 48271 % MAX_SEED


def _sync(state: ShowState, source: str) -> ShowState:
    link = "follow" if source == "link" else "off" if state.sync.link == "follow" else state.sync.link
    return replace(state, sync=replace(state.sync, source=source, link=link))


def _link(state: ShowState, link: str) -> ShowState:
    source = "link" if link == "follow" else "auto" if state.sync.source == "link" else state.sync.source
    return replace(state, sync=replace(state.sync, source=source, link=link))


def _push(state: ShowState, text: str) -> ShowState:
    if not text.strip():
        return state
    if len(state.queue) >= MAX_QUEUE:
        raise ConfigError(f"/vj/prompt/push: the queue holds {MAX_QUEUE} prompts; /vj/prompt/next or /vj/prompt/clear")
    return replace(state, queue=(*state.queue, text.strip()))


def _next_prompt(state: ShowState) -> ShowState:
    if not state.queue:
        raise ConfigError("/vj/prompt/next: the queue is empty; fill it with /vj/prompt/push")
    weights = state.weights if state.weights[0] > 0.0 else (1.0, *state.weights[1:])
    return replace(state, texts=(state.queue[0], *state.texts[1:]), weights=weights, queue=state.queue[1:])


def _lines(text: str) -> tuple[str, ...]:
    rows = tuple(line.strip() for line in text.splitlines() if line.strip())
    if len(rows) > MAX_QUEUE:
        raise ConfigError(f"/vj/prompt/queue: the queue holds {MAX_QUEUE} prompts: got {len(rows)}")
    return rows


def _move_macro(state: ShowState, number: int, value: float) -> ShowState:
    macros = (*state.macros[: number - 1], value, *state.macros[number:])
    state = replace(state, macros=macros)
    for row in state.macro_rows:
        if row.number == number:
            state = CHANGES[row.to](state, (row.low + (row.high - row.low) * CURVES[row.curve](value),))
    return state


def _macro(number: int) -> tuple[_Change, Callable[[ShowState], Argument]]:
    return (lambda s, a: _move_macro(s, number, float(a[0]))), (lambda s: s.macros[number - 1])


def _knob(name: str, state: ShowState) -> Argument:
    return state.params[name]


def _raw_knob(name: str, state: ShowState) -> Argument:
    return PARAMS[name].raw(state.params[name])


_OWN: dict[str, tuple[_Change, Callable[[ShowState], Argument]]] = {
    **FIELDS,
    **{f"/vj/prompt/{i + 1}/text": _row("texts", i) for i in range(N_PROMPTS)},
    **{f"/vj/prompt/{i + 1}/weight": _row("weights", i) for i in range(N_PROMPTS)},
    **{f"/vj/macro/{n}": _macro(n) for n in range(1, N_MACROS + 1)},
    "/vj/prompt/queue": (lambda s, a: replace(s, queue=_lines(str(a[0]))), lambda s: "\n".join(s.queue)),
    "/vj/record": (lambda s, a: _set_record(s, bool(a[0])), lambda s: s.record),
    "/vj/tempo/source": (lambda s, a: _sync(s, str(a[0])), lambda s: s.sync.source),
    "/vj/tempo/link": (lambda s, a: _link(s, str(a[0])), lambda s: s.sync.link),
}
CHANGES: dict[str, _Change] = {
    **{address: change for address, (change, _) in _OWN.items()},
    **{address: change for name in PARAMS for address, change in _param(name).items()},
    "/vj/seed/next": lambda s, _: replace(s, seed=(s.seed + 1) & MAX_SEED),
    "/vj/seed/prev": lambda s, _: replace(s, seed=(s.seed - 1) & MAX_SEED),
    "/vj/seed/random": lambda s, _: replace(s, seed=_seed_far(s.seed)),
    "/vj/prompt/push": lambda s, a: _push(s, str(a[0])),
    "/vj/prompt/next": lambda s, _: _next_prompt(s),
    "/vj/prompt/clear": lambda s, _: replace(s, queue=()),
    "/vj/deliver/return": lambda s, _: replace(
        s, safe=False, deliver=replace(s.deliver, returns=s.deliver.returns + 1)
    ),
    "/vj/output/add": lambda s, a: replace(s, outputs=added(s.outputs, row_of(str(a[0]), str(a[1])))),
    "/vj/output/remove": lambda s, a: replace(s, outputs=removed(s.outputs, str(a[0]))),
    "/vj/master/panic": lambda s, _: replace(
        s, safe=True, blackout=False, freeze=False, fade=1.0, glide=None, autopilot=replace(s.autopilot, on=False)
    ),
}
_READERS: dict[str, Callable[[ShowState], Argument]] = {
    **{address: reader for address, (_, reader) in _OWN.items()},
    **{f"/vj/param/{name}": partial(_knob, name) for name in PARAMS},
    **{f"/vj/param/{name}/raw": partial(_raw_knob, name) for name in PARAMS},
}


def apply(
    state: ShowState, t_ns: int, address: str, args: tuple[Argument, ...], bank: Bank, period_s: float = 0.5
) -> ShowState:
    """Return the state after a message that ``registry.accept`` took, ``state`` itself for one that is not of it.

    ``period_s`` is how long a beat lasts, for morphs counted in beats. Raises ConfigError for what cannot be: an
    unknown preset, an empty queue, one output too many.
    """
    change = CHANGES.get(address)
    if address == "/vj/preset/bank":
        bank.places(str(args[0]).strip())
    if change is not None:
        new = change(state, args)
    elif address.startswith("/vj/preset/"):
        new = _go(state, t_ns, address, args, bank, period_s)
    elif address.endswith("/reset"):
        new = _reset(state, address.removesuffix("/reset"), bank)
    else:
        return state
    if new is not state:  # it was made just now and nobody else has it: another copy would double the cost of a message
        object.__setattr__(new, "t_ns", t_ns)
        object.__setattr__(new, "revision", state.revision + 1)
    return new


def _reset(state: ShowState, address: str, bank: Bank) -> ShowState:
    """Put a knob, a prompt's weight or a macro back to where the preset that plays has it."""
    preset = bank.presets[state.preset][1] if state.preset < len(bank.presets) else None
    name = address.removeprefix("/vj/param/")
    if name in PARAMS:
        value: Argument = (preset.settings if preset else {}).get(name, DEFAULT_PARAMS[name])
    elif preset is not None:
        value = _READERS[address](enter(state, state.preset, preset))
    else:
        value = REGISTRY[address].default or 0.0
    return CHANGES[address](state, (value,))


def _go(
    state: ShowState, t_ns: int, address: str, args: tuple[Argument, ...], bank: Bank, period_s: float
) -> ShowState:
    if address == "/vj/preset/go":
        place = bank.called(args, state.bank)
    elif address in ("/vj/preset/next", "/vj/preset/prev") and bank.presets:
        place = bank.step(state.preset, 1 if address.endswith("next") else -1, state.bank)
    else:
        return state
    return enter(state, place, bank.presets[place][1], t_ns, state.morph.lasts_s(period_s))


def _set_record(state: ShowState, on: bool) -> ShowState:
    if on == state.record:
        return state
    rows = added(state.outputs, OutputRow(RECORD, {"kind": RECORD})) if on else removed(state.outputs, RECORD)
    return replace(state, outputs=rows)


def read(state: ShowState, address: str) -> Argument | None:
    """Return the present value of a parameter's address, or None for what has none."""
    reader = _READERS.get(address)
    return reader(state) if reader is not None else None


TOLD = tuple(a for a, e in REGISTRY.items() if e.kind == "parameter" and not a.endswith("/raw"))


def values(state: ShowState, t_ns: int) -> dict[str, Argument]:
    """Return every value that surfaces show, by address, as it is at ``t_ns``."""
    now = at(state, t_ns)
    return {address: _READERS[address](now) for address in TOLD}
