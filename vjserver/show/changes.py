"""What each address does: a state and accepted arguments go in, a new state comes out; and its present value."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from vjserver.show.addresses import MAX_QUEUE, MAX_SEED, N_MACROS, N_PROMPTS
from vjserver.show.bank import Bank
from vjserver.show.fields import STORED
from vjserver.show.looks import at, enter
from vjserver.show.outputs import RECORD, OutputRow, added, removed, row_of
from vjserver.show.registry import Registry, Verb
from vjserver.show.state import CURVES, ShowState
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument
from vjserver.types.knobs import Parameter

_Change = Callable[[ShowState, tuple[Argument, ...]], ShowState]


def _field(name: str, owner: str = "") -> tuple[_Change, Callable[[ShowState], Argument]]:
    """Return how a field of the state, or of its ``owner``, is set and read; texts that name things are stripped."""

    def stripped(value: Argument) -> Argument:
        return value.strip() if isinstance(value, str) and name != "negative" else value

    if not owner:
        return (lambda s, a: replace(s, **{name: stripped(a[0])})), (lambda s: getattr(s, name))
    return (
        lambda s, a: replace(s, **{owner: replace(getattr(s, owner), **{name: stripped(a[0])})}),
        lambda s: getattr(getattr(s, owner), name),
    )


FIELDS = {row.address: _field(*reversed(row.name.split("."))) for row in STORED}


def _row(name: str, i: int) -> tuple[_Change, Callable[[ShowState], Argument]]:
    def change(state: ShowState, args: tuple[Argument, ...]) -> ShowState:
        rows = getattr(state, name)
        changed: dict[str, Any] = {name: (*rows[:i], args[0], *rows[i + 1 :])}
        return replace(state, **changed)

    return change, lambda state: getattr(state, name)[i]


def _turn(state: ShowState, registry: Registry, key: str, verb: Verb, value: float) -> ShowState:
    """Return the state with a knob at a 0..1 value, at one in its own unit (``raw``), or moved by one (``inc``)."""
    knob = registry.parameters[key]
    if verb == "raw":
        value = knob.norm(value)
    elif verb == "inc":
        value += state.params.get(key, knob.start)
    glide = state.glide
    if glide is not None and (key in glide.params or key in glide.held):  # a hand on a knob outranks the morph
        eased, held = ({k: v for k, v in rows.items() if k != key} for rows in (glide.params, glide.held))
        glide = replace(glide, params=eased, held=held)
    return replace(state, params={**state.params, key: min(1.0, max(0.0, value))}, glide=glide)


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


def _move_macro(state: ShowState, registry: Registry, number: int, value: float) -> ShowState:
    """Return the state with a macro moved, and what is tied to it; a tie to what is not there lies idle."""
    state = replace(state, macros=(*state.macros[: number - 1], value, *state.macros[number:]))
    for row in state.macro_rows:
        if row.number == number:
            moved = row.low + (row.high - row.low) * CURVES[row.curve](value)
            change = _change_of(registry, row.to)
            state = change(state, (moved,)) if change is not None else state
    return state


MACROS = {f"/vj/macro/{n}": n for n in range(1, N_MACROS + 1)}


_OWN: dict[str, tuple[_Change, Callable[[ShowState], Argument]]] = {
    **FIELDS,
    **{f"/vj/prompt/{i + 1}/text": _row("texts", i) for i in range(N_PROMPTS)},
    **{f"/vj/prompt/{i + 1}/weight": _row("weights", i) for i in range(N_PROMPTS)},
    "/vj/prompt/queue": (lambda s, a: replace(s, queue=_lines(str(a[0]))), lambda s: "\n".join(s.queue)),
    "/vj/record": (lambda s, a: _set_record(s, bool(a[0])), lambda s: s.record),
    "/vj/tempo/source": (lambda s, a: _sync(s, str(a[0])), lambda s: s.sync.source),
    "/vj/tempo/link": (lambda s, a: _link(s, str(a[0])), lambda s: s.sync.link),
}
CHANGES: dict[str, _Change] = {
    **{address: change for address, (change, _) in _OWN.items()},
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
    **{address: partial(lambda n, s: s.macros[n - 1], n) for address, n in MACROS.items()},
}


def _change_of(registry: Registry, address: str) -> _Change | None:
    """Return what a canonical address does to the state, None for one that is not the state's alone."""
    turn = registry.turn_of(address)
    if turn is not None and turn[1] != "reset":
        key, verb = turn
        return lambda s, a: _turn(s, registry, key, verb, float(a[0]))
    if address in MACROS:
        return lambda s, a: _move_macro(s, registry, MACROS[address], float(a[0]))
    return CHANGES.get(address)


def apply(
    state: ShowState,
    t_ns: int,
    address: str,
    args: tuple[Argument, ...],
    bank: Bank,
    registry: Registry,
    period_s: float = 0.5,
) -> ShowState:
    """Return the state after a message that ``registry.accept`` took, ``state`` itself for one that is not of it.

    ``period_s`` is how long a beat lasts, for morphs counted in beats. Raises ConfigError for what cannot be: an
    unknown preset, an empty queue, one output too many.
    """
    change = _change_of(registry, address)
    if address == "/vj/preset/bank":
        bank.places(str(args[0]).strip())
    if change is not None:
        new = change(state, args)
    elif address.startswith("/vj/preset/"):
        new = _go(state, t_ns, address, args, bank, registry, period_s)
    elif address.endswith("/reset"):
        new = _reset(state, address.removesuffix("/reset"), bank, registry)
    else:
        return state
    if new is not state:  # it was made just now and nobody else has it: another copy would double the cost of a message
        object.__setattr__(new, "t_ns", t_ns)
        object.__setattr__(new, "revision", state.revision + 1)
    return new


def _reset(state: ShowState, address: str, bank: Bank, registry: Registry) -> ShowState:
    """Put a knob, a prompt's weight or a macro back to where the preset that plays has it."""
    preset = bank.presets[state.preset][1] if state.preset < len(bank.presets) else None
    turn, change = registry.turn_of(address), _change_of(registry, address)
    if turn is not None:
        key = turn[0]
        value: Argument = (preset.settings(registry) if preset else {}).get(key, registry.parameters[key].start)
    elif preset is not None:
        value = _READERS[address](enter(state, state.preset, preset, registry))
    else:
        value = registry.entries[address].default or 0.0
    return change(state, (value,)) if change is not None else state


def _go(
    state: ShowState,
    t_ns: int,
    address: str,
    args: tuple[Argument, ...],
    bank: Bank,
    registry: Registry,
    period_s: float,
) -> ShowState:
    if address == "/vj/preset/go":
        place = bank.called(args, state.bank)
    elif address in ("/vj/preset/next", "/vj/preset/prev") and bank.presets:
        place = bank.step(state.preset, 1 if address.endswith("next") else -1, state.bank)
    else:
        return state
    return enter(state, place, bank.presets[place][1], registry, t_ns, state.morph.lasts_s(period_s))


def _set_record(state: ShowState, on: bool) -> ShowState:
    if on == state.record:
        return state
    rows = added(state.outputs, OutputRow(RECORD, {"kind": RECORD})) if on else removed(state.outputs, RECORD)
    return replace(state, outputs=rows)


def read(state: ShowState, address: str, registry: Registry) -> Argument | None:
    """Return the present value of a parameter's address, or None for what has none."""
    turn = registry.turn_of(registry.canonical(address))
    if turn is not None:
        knob = registry.parameters[turn[0]]
        value = state.params.get(turn[0], knob.start)
        return value if not turn[1] else _in_unit(knob, value) if turn[1] == "raw" else None
    reader = _READERS.get(address)
    return reader(state) if reader is not None else None


def _in_unit(knob: Parameter, value: float) -> Argument:
    raw = knob.raw(value)
    return raw if knob.type == "float" else int(raw)


def values(state: ShowState, t_ns: int, registry: Registry) -> dict[str, Argument]:
    """Return every value that surfaces show, by address, as it is at ``t_ns``; under addresses from before as well."""
    now = at(state, t_ns)
    rows: dict[str, Argument] = {}
    for address in registry.told:
        turn = registry.turn_of(registry.synonyms.get(address, address))
        if turn is None:
            rows[address] = _READERS[address](now)
        else:
            rows[address] = now.params.get(turn[0], registry.starts[turn[0]])
    return rows
