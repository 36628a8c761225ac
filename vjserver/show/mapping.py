"""The mapping: features and state go in, a frame request comes out. It is evaluated right before each frame."""

from collections.abc import Callable
from dataclasses import dataclass, field

from vjserver.show.addresses import N_PROMPTS, PARAMS, size_of
from vjserver.show.state import CURVES, FEEDBACK, MappingRow, ShowState, Travel, at
from vjserver.show.travel import PromptTravel, spread
from vjserver.types.features import Features
from vjserver.types.frames import FrameRequest
from vjserver.walk.smoothing import follow

AHEAD = 4  # prompts of the queue that are made ready
DEEPEST = 8  # morphs that were broken off by the next one, and are still heard
DECK_SLOTS = N_PROMPTS // 2  # deck A has the first four prompts, deck B the others
# Features that are not 0..1 by themselves, and what makes them so.
SCALES = {"level_db": (-60.0, 0.0), "pitch_hz": (0.0, 2000.0), "bpm": (60.0, 180.0)}
COMBINE: dict[str, Callable[[float, float], float]] = {
    "add": lambda base, moved: base + moved,
    "set": lambda _base, moved: moved,
    "multiply": lambda base, moved: base * moved,
}


@dataclass(slots=True)
class _Moved:
    """One set of mappings at work: remembers how far each smoothed feature has come."""

    rows: tuple[MappingRow, ...] = ()
    values: list[float] = field(default_factory=list)

    def __call__(
        self, params: dict[str, float], weights: list[float], features: Features, t_ns: int, seconds: float
    ) -> None:
        """Move ``params`` and ``weights`` by what is heard."""
        for i, row in enumerate(self.rows):
            heard = features.value(row.source, t_ns)
            low, high = SCALES.get(row.source, (0.0, 1.0))
            heard = min(1.0, max(0.0, (heard - low) / (high - low)))
            self.values[i] = follow(self.values[i], heard, seconds, row.attack_s, row.release_s)
            moved = row.low + (row.high - row.low) * CURVES[row.curve](min(1.0, max(0.0, self.values[i])))
            parts = row.to.split("/")
            if parts[2] == "param":
                params[parts[3]] = _unit(COMBINE[row.mode](params[parts[3]], moved))
            else:
                place = int(parts[3]) - 1
                weights[place] = _unit(COMBINE[row.mode](weights[place], moved))


@dataclass(slots=True)
class _Mixed:
    """What a morph comes from and what it goes to, both at work; ``share`` stays where the morph is broken off."""

    before: "_Moved | _Mixed"
    now: _Moved
    share: float = 0.0

    def __call__(
        self, params: dict[str, float], weights: list[float], features: Features, t_ns: int, seconds: float
    ) -> None:
        """Move ``params`` and ``weights`` by both, and take each for its share."""
        old_params, old_weights = dict(params), list(weights)
        self.before(old_params, old_weights, features, t_ns, seconds)
        self.now(params, weights, features, t_ns, seconds)
        for name, old in old_params.items():
            params[name] = old + (params[name] - old) * self.share
        for i, old in enumerate(old_weights):
            weights[i] = old + (weights[i] - old) * self.share


@dataclass(slots=True)
class Mapper:
    """Evaluates a state's mappings, and during a morph also those it comes from; remembers each prompt's travel."""

    _moved: _Moved | _Mixed = field(default_factory=_Moved)
    _glide_ns: int = -1
    _travel: PromptTravel = field(default_factory=PromptTravel)

    def __call__(
        self, state: ShowState, features: Features, t_ns: int, seconds: float, size: tuple[int, int]
    ) -> FrameRequest:
        """Return the request for a frame of ``size`` (width, height) at ``t_ns``, ``seconds`` after the last one."""
        state = at(state, t_ns)
        self._take_up(state, t_ns)
        travel = Travel(0.0, state.glide.lasts_s, state.glide.ease) if state.glide is not None else state.travel
        lasts_s = travel.lasts_s(features.grid.period_s)
        slots = self._travel(state, seconds, lasts_s, travel.ease)
        params, weights = dict(state.params), [weight for _, weight in slots]
        self._moved(params, weights, features, t_ns, seconds)
        weighted = [(shares, weight) for (shares, _), weight in zip(slots, weights, strict=True)]
        return FrameRequest(
            t_ns=t_ns,
            width=size[0],
            height=size[1],
            prompts=spread(weighted),
            decks=(spread(weighted[:DECK_SLOTS]), spread(weighted[DECK_SLOTS:])),
            negative=state.negative,
            ahead=state.queue[:AHEAD],
            think_size=size_of(state.size),
            feedback=state.input == FEEDBACK,
            travel_s=lasts_s,
            ease=travel.ease,
            params={name: PARAMS[name].raw(value) for name, value in params.items()},
            seed=state.seed,
            seconds=seconds,
            bpm=features.grid.bpm,
            beat_count=features.grid.count_at(t_ns),
            beat_phase=features.grid.beat_phase(t_ns),
            bar_phase=features.grid.bar_phase(t_ns),
            audio_ns=features.t_ns,
        )

    def _take_up(self, state: ShowState, t_ns: int) -> None:
        """Take up new mappings; a morph comes from what is at work, which may be a morph that it breaks off."""
        glide, moved = state.glide, self._moved
        if glide is None:
            now = _newest(moved)
            self._moved = now if now.rows == state.mappings else _begun(state.mappings)
            return
        if not isinstance(moved, _Mixed) or glide.t_ns != self._glide_ns or moved.now.rows != state.mappings:
            moved = _Mixed(_shortened(moved, DEEPEST), _begun(state.mappings, _newest(moved)))
        moved.share = glide.share(t_ns)
        self._moved, self._glide_ns = moved, glide.t_ns


def _begun(rows: tuple[MappingRow, ...], like: _Moved | None = None) -> _Moved:
    """Return mappings that begin to work: as far as ``like`` has come with the same ones, else from nothing."""
    return _Moved(rows, list(like.values) if like is not None and like.rows == rows else [0.0] * len(rows))


def _newest(moved: _Moved | _Mixed) -> _Moved:
    return moved if isinstance(moved, _Moved) else moved.now


def _shortened(moved: _Moved | _Mixed, most: int) -> _Moved | _Mixed:
    """Return what is at work without the oldest of more than ``most`` morphs that were broken off."""
    if isinstance(moved, _Moved):
        return moved
    return _Mixed(_shortened(moved.before, most - 1), moved.now, moved.share) if most > 0 else moved.now


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))
