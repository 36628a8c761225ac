"""The mapping: features and state go in, a frame request comes out. It is evaluated right before each frame."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from vjserver.show.registry import N_PROMPTS, PARAMS, size_of
from vjserver.show.state import FEEDBACK, MappingRow, ShowState
from vjserver.show.travel import PromptTravel, spread
from vjserver.types.features import Features
from vjserver.types.frames import FrameRequest
from vjserver.walk.slerp import EASES
from vjserver.walk.smoothing import follow

CURVES: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "square": lambda x: x * x,
    "cube": lambda x: x * x * x,
    "sqrt": math.sqrt,
    "smooth": EASES["smooth"],
    "invert": lambda x: 1.0 - x,
}
DECK_SLOTS = N_PROMPTS // 2  # deck A has the first four prompts, deck B the others
# Features that are not 0..1 by themselves, and what makes them so.
SCALES = {"level_db": (-60.0, 0.0), "pitch_hz": (0.0, 2000.0), "bpm": (60.0, 180.0)}
COMBINE: dict[str, Callable[[float, float], float]] = {
    "add": lambda base, moved: base + moved,
    "set": lambda _base, moved: moved,
    "multiply": lambda base, moved: base * moved,
}


@dataclass(slots=True)
class Mapper:
    """Evaluates a state's mappings; remembers how far each smoothed feature has come, and each prompt's travel."""

    _rows: tuple[MappingRow, ...] = ()
    _values: list[float] = field(default_factory=list)
    _travel: PromptTravel = field(default_factory=PromptTravel)

    def __call__(
        self, state: ShowState, features: Features, t_ns: int, seconds: float, size: tuple[int, int]
    ) -> FrameRequest:
        """Return the request for a frame of ``size`` (width, height) at ``t_ns``, ``seconds`` after the last one."""
        if state.mappings != self._rows:
            self._rows, self._values = state.mappings, [0.0] * len(state.mappings)
        lasts_s = state.travel.lasts_s(features.grid.period_s)
        slots = self._travel(state, seconds, lasts_s)
        params, weights = dict(state.params), [weight for _, weight in slots]
        for i, row in enumerate(self._rows):
            heard = features.value(row.source, t_ns)
            low, high = SCALES.get(row.source, (0.0, 1.0))
            heard = min(1.0, max(0.0, (heard - low) / (high - low)))
            self._values[i] = follow(self._values[i], heard, seconds, row.attack_s, row.release_s)
            moved = row.low + (row.high - row.low) * CURVES[row.curve](min(1.0, max(0.0, self._values[i])))
            parts = row.to.split("/")
            if parts[2] == "param":
                params[parts[3]] = _unit(COMBINE[row.mode](params[parts[3]], moved))
            else:
                place = int(parts[3]) - 1
                weights[place] = _unit(COMBINE[row.mode](weights[place], moved))
        weighted = [(shares, weight) for (shares, _), weight in zip(slots, weights, strict=True)]
        return FrameRequest(
            t_ns=t_ns,
            width=size[0],
            height=size[1],
            prompts=spread(weighted),
            decks=(spread(weighted[:DECK_SLOTS]), spread(weighted[DECK_SLOTS:])),
            negative=state.negative,
            think_size=size_of(state.size),
            feedback=state.input == FEEDBACK,
            travel_s=lasts_s,
            ease=state.travel.ease,
            params={name: PARAMS[name].raw(value) for name, value in params.items()},
            seed=state.seed,
            seconds=seconds,
            bpm=features.grid.bpm,
            beat_count=features.grid.count_at(t_ns),
            beat_phase=features.grid.beat_phase(t_ns),
            bar_phase=features.grid.bar_phase(t_ns),
            audio_ns=features.t_ns,
        )


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))
