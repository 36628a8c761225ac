"""The mapping: features and state go in, a frame request comes out. It is evaluated right before each frame.

It has no memory of its own: what the next frame has to know goes out with the request and comes in again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from vjserver.easing.smoothing import follow
from vjserver.show.addresses import COMMON, N_PROMPTS, size_of
from vjserver.show.expression import MARK, Now, names_of, parse
from vjserver.show.looks import at
from vjserver.show.registry import Registry
from vjserver.show.state import CURVES, FEEDBACK, MappingRow, ShowState, Travel
from vjserver.show.travel import Shares, TravelMemory, spread, travelled
from vjserver.types.errors import ConfigError
from vjserver.types.features import Features
from vjserver.types.frames import FrameRequest, TextConditioning

AHEAD = 4  # prompts of the queue that are made ready
DEEPEST = 9  # morphs that were broken off by the next one, and are still heard
DECK_SLOTS = N_PROMPTS // 2  # deck A has the first four prompts, deck B the others
# Features that are not 0..1 by themselves, and what makes them so.
SCALES = {"level_db": (-60.0, 0.0), "pitch_hz": (0.0, 2000.0), "bpm": (60.0, 180.0)}
COMBINE: dict[str, Callable[[float, float], float]] = {
    "add": lambda base, moved: base + moved,
    "set": lambda _base, moved: moved,
    "multiply": lambda base, moved: base * moved,
}


Slots = tuple[tuple[Shares, float], ...]
"""Of each prompt the shares of its texts, and its weight."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One set of mappings at work, how far each smoothed feature has come, and its share over the layers below."""

    rows: tuple[MappingRow, ...] = ()
    values: tuple[float, ...] = ()
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class MapperMemory:
    """What one frame's mapping hands to the next.

    ``layers`` are the mappings at work, the newest last: more than one while a morph is on its way, and where it was
    broken off by another. ``glide_ns`` says which morph that is; ``travel`` is where each prompt is.
    """

    layers: tuple[Layer, ...] = (Layer(),)
    glide_ns: int = -1
    travel: TravelMemory = field(default_factory=TravelMemory)


@dataclass(slots=True)
class _Driven:
    """What is heard at one moment, and the knobs (by key) and prompt weights that it moves."""

    features: Features
    t_ns: int
    seconds: float
    params: dict[str, float]
    weights: list[float]
    names: Now


def moved(
    state: ShowState, features: Features, t_ns: int, seconds: float, memory: MapperMemory, registry: Registry
) -> MapperMemory:
    """Return what the mapping hands on after a moment for which no picture is asked: all but the request of it."""
    return _worked_out(at(state, t_ns), features, t_ns, seconds, memory, registry)[-1]


def mapped(
    state: ShowState,
    features: Features,
    t_ns: int,
    seconds: float,
    size: tuple[int, int],
    memory: MapperMemory,
    registry: Registry,
) -> tuple[FrameRequest, dict[str, float], MapperMemory]:
    """Return the request for a frame of ``size`` (width, height) at ``t_ns``, ``seconds`` after the last one.

    With it comes where every knob of the registry stands, 0..1 by key, whatever else the state carries: what
    :func:`own_of` takes a generator's own knobs from.
    """
    state = at(state, t_ns)
    driven, slots, travel, lasts_s, memory = _worked_out(state, features, t_ns, seconds, memory, registry)
    params = driven.params
    weighted = [(shares, weight) for (shares, _), weight in zip(slots, driven.weights, strict=True)]
    request = FrameRequest(
        t_ns=t_ns,
        width=size[0],
        height=size[1],
        text=TextConditioning(
            prompts=spread(weighted),
            decks=(spread(weighted[:DECK_SLOTS]), spread(weighted[DECK_SLOTS:])),
            negative=state.negative,
            ahead=state.queue[:AHEAD],
        ),
        inference_size=size_of(state.size),
        feedback=state.input == FEEDBACK,
        travel_s=lasts_s,
        ease=travel.ease,
        params={name: knob.raw(params[name]) for name, knob in COMMON.items()},
        seed=state.seed,
        seconds=seconds,
        bpm=features.grid.bpm,
        beat_count=features.grid.count_at(t_ns),
        beat_phase=features.grid.beat_phase(t_ns),
        bar_phase=features.grid.bar_phase(t_ns),
        audio_ns=features.t_ns,
    )
    return request, params, memory


def _worked_out(
    state: ShowState, features: Features, t_ns: int, seconds: float, memory: MapperMemory, registry: Registry
) -> tuple[_Driven, Slots, Travel, float, MapperMemory]:
    """Return what is driven, where the prompts are, their travel and its length in seconds, and what is handed on.

    ``state`` is that of ``t_ns``.
    """
    layers, glide_ns = _taken_up(state, t_ns, memory)
    travel = Travel(0.0, state.glide.lasts_s, state.glide.ease) if state.glide is not None else state.travel
    lasts_s = travel.lasts_s(features.grid.period_s)
    slots, travels = travelled(state, seconds, lasts_s, travel.ease, memory.travel)
    params = {key: state.params.get(key, start) for key, start in registry.starts.items()}
    names = names_of(features, t_ns, state.since_ns, state.since_beat)
    driven = _Driven(features, t_ns, seconds, params, [weight for _, weight in slots], names)
    layers = _move(layers, driven, registry)
    return driven, slots, travel, lasts_s, MapperMemory(layers, glide_ns, travels)


def own_of(registry: Registry, kind: str, knobs: Mapping[str, float]) -> dict[str, float]:
    """Return a generator's own knobs by their bare names, in their own units."""
    if kind not in registry.infos:
        return {}
    return {name: knob.raw(knobs[f"{kind}/{name}"]) for name, knob in registry.knobs(kind).items()}


def _taken_up(state: ShowState, t_ns: int, memory: MapperMemory) -> tuple[tuple[Layer, ...], int]:
    """Return the mappings that are at work now; a morph comes from what was, which may be one that it breaks off."""
    glide, layers = state.glide, memory.layers
    newest = layers[-1]
    if glide is None:
        now = newest if newest.rows == state.mappings else _begun(state.mappings)
        return (replace(now, share=1.0),), memory.glide_ns
    if len(layers) == 1 or glide.t_ns != memory.glide_ns or newest.rows != state.mappings:
        layers = (*layers[-DEEPEST:], _begun(state.mappings, newest))
    return (*layers[:-1], replace(layers[-1], share=glide.share(t_ns))), glide.t_ns


def _move(layers: tuple[Layer, ...], driven: _Driven, registry: Registry) -> tuple[Layer, ...]:
    """Move what is driven, each layer over those below it for its share; return how far they have come."""
    still, below, moved = driven, driven, []
    for i, layer in enumerate(layers):
        now = replace(still, params=dict(still.params), weights=list(still.weights))
        moved.append(_move_one(layer, now, registry))
        if i:
            now.params = {k: old + (now.params[k] - old) * layer.share for k, old in below.params.items()}
            now.weights = [old + (new - old) * layer.share for old, new in zip(below.weights, now.weights, strict=True)]
        below = now
    driven.params, driven.weights = below.params, below.weights
    return tuple(moved)


def _move_one(layer: Layer, driven: _Driven, registry: Registry) -> Layer:
    """Move by one set of mappings; one that leads to a knob that is not there lies idle."""
    values = []
    for row, came in zip(layer.rows, layer.values, strict=True):
        if row.source.startswith(MARK):
            values.append(_by_expression(row, came, driven, registry))
            continue
        heard = driven.features.value(row.source, driven.t_ns)
        low, high = SCALES.get(row.source, (0.0, 1.0))
        heard = min(1.0, max(0.0, (heard - low) / (high - low)))
        value = follow(came, heard, driven.seconds, row.attack_s, row.release_s)
        values.append(value)
        amount = row.low + (row.high - row.low) * CURVES[row.curve](min(1.0, max(0.0, value)))
        key = registry.key_of(row.to)
        if key:
            driven.params[key] = _unit(COMBINE[row.mode](driven.params[key], amount))
        elif row.to.startswith("/vj/prompt/"):
            place = int(row.to.split("/")[3]) - 1
            driven.weights[place] = _unit(COMBINE[row.mode](driven.weights[place], amount))
    return replace(layer, values=tuple(values))


def _by_expression(row: MappingRow, came: float, driven: _Driven, registry: Registry) -> float:
    """Put a knob, in its own unit, or a prompt's weight where an expression says; return that, for the next frame.

    Where that is no number it stays where it was. (A film's plan asks before: there it is an error.)
    """
    try:
        value = parse(row.source[len(MARK) :])(driven.names)
    except ConfigError:
        value = came
    key = registry.key_of(row.to)
    if key:
        driven.params[key] = registry.parameters[key].norm(value)
    elif row.to.startswith("/vj/prompt/"):
        driven.weights[int(row.to.split("/")[3]) - 1] = _unit(value)
    return value


def _begun(rows: tuple[MappingRow, ...], like: Layer | None = None) -> Layer:
    """Return mappings that begin to work: as far as ``like`` has come with the same ones, else from nothing."""
    return Layer(rows, like.values if like is not None and like.rows == rows else (0.0,) * len(rows))


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))
