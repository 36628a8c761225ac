"""Prompt travel: what the slots say now goes in, what they show on their way from before comes out.

Each slot travels by itself: its old texts fade while its new one rises, so a blend of prompts moves through the space
of what the model knows. A change on the way starts from where the slot is. Faders are not smoothed: hands are quick
enough; only the weights that a preset brings travel with its texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vjserver.show.state import ShowState
from vjserver.walk.slerp import ease

FAINT = 1e-3
MOST_TEXTS = 4  # that one slot may be on its way from


@dataclass(frozen=True, slots=True)
class _Leg:
    """A slot on its way: ``start`` shares by text and weight, to a text (and, from a preset, a weight)."""

    lasts_s: float
    how: str
    start: dict[str, float]
    weight: float
    text: str
    gone_s: float


@dataclass(slots=True)
class PromptTravel:
    """Remembers where each slot is."""

    _preset: tuple[int, str] | None = None
    _legs: list[_Leg | None] = field(default_factory=list)
    _texts: tuple[str, ...] = ()
    _weights: tuple[float, ...] = ()
    _now: list[tuple[dict[str, float], float]] = field(default_factory=list)

    def __call__(
        self, state: ShowState, seconds: float, lasts_s: float, how: str = "smooth"
    ) -> list[tuple[dict[str, float], float]]:
        """Return for each slot the shares of its texts (summing to 1) and its weight, ``seconds`` after the last call.

        A travel takes ``lasts_s`` from now, eased as ``how`` says; 0 arrives at once.
        """
        preset = (state.preset, state.preset_name)
        if not self._legs:
            self._legs = [None] * len(state.texts)
            self._texts, self._preset = state.texts, preset
        for i, text in enumerate(state.texts):
            if text != self._texts[i] and lasts_s > 0.0:
                shares, weight = self._now[i]
                from_weight = weight if preset != self._preset else state.weights[i]
                self._legs[i] = _Leg(lasts_s, how, _most(shares), from_weight, text, -seconds)
            elif text != self._texts[i]:
                self._legs[i] = None
        self._texts, self._preset = state.texts, preset
        self._now = [
            self._step(i, text, weight, seconds)
            for i, (text, weight) in enumerate(zip(state.texts, state.weights, strict=True))
        ]
        return self._now

    def _step(self, i: int, text: str, weight: float, seconds: float) -> tuple[dict[str, float], float]:
        leg = self._legs[i]
        if leg is None:
            return {text: 1.0}, weight
        leg = replace(leg, gone_s=leg.gone_s + seconds)
        share = ease(leg.gone_s / leg.lasts_s, leg.how)
        self._legs[i] = leg if share < 1.0 else None
        shares = {old: part * (1.0 - share) for old, part in leg.start.items()}
        shares[text] = shares.get(text, 0.0) + share
        return shares, leg.weight + (weight - leg.weight) * share


def _most(shares: dict[str, float]) -> dict[str, float]:
    """Return the heaviest shares, summing to 1: a slot that is changed all the time must not gather texts for ever."""
    rows = sorted(shares.items(), key=lambda row: -row[1])[:MOST_TEXTS]
    total = sum(share for _, share in rows)
    return {text: share / total for text, share in rows}


def spread(slots: Sequence[tuple[dict[str, float], float]]) -> tuple[tuple[str, float], ...]:
    """Return the texts of slots with their weights; what is blank or has (almost) no weight is left out."""
    sums: dict[str, float] = {}
    for shares, weight in slots:
        for text, share in shares.items():
            if text.strip():
                sums[text] = sums.get(text, 0.0) + share * weight
    return tuple((text, weight) for text, weight in sums.items() if weight > FAINT)
