"""Prompt travel: what the slots say now goes in, what they show on their way from before comes out.

Each slot travels by itself: its old texts fade while its new one rises, so a blend of prompts moves through the space
of what the model knows. A change on the way starts from where the slot is. Faders are not smoothed: hands are quick
enough; only the weights that a preset brings travel with its texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vjserver.easing.ease import ease
from vjserver.show.state import ShowState

FAINT = 1e-3
MOST_TEXTS = 4  # that one slot may be on its way from


Shares = dict[str, float]
"""How much of each text a slot shows, summing to 1."""


@dataclass(frozen=True, slots=True)
class SlotTravel:
    """A slot on its way: ``start`` shares by text and weight, to a text (and, from a preset, a weight)."""

    lasts_s: float
    how: str
    start: Shares
    weight: float
    text: str
    gone_s: float


@dataclass(frozen=True, slots=True)
class TravelMemory:
    """Where each slot is: what one frame hands to the next."""

    preset: tuple[int, str] = (0, "")
    slots: tuple[SlotTravel | None, ...] = ()
    texts: tuple[str, ...] = ()
    now: tuple[tuple[Shares, float], ...] = ()


def travelled(
    state: ShowState, seconds: float, lasts_s: float, how: str, memory: TravelMemory
) -> tuple[tuple[tuple[Shares, float], ...], TravelMemory]:
    """Return for each slot the shares of its texts and its weight, ``seconds`` after the last call; and the memory.

    A travel takes ``lasts_s`` from now, eased as ``how`` says; 0 arrives at once.
    """
    preset = (state.preset, state.preset_name)
    slots = list(memory.slots)
    if slots:
        for i, text in enumerate(state.texts):
            if text != memory.texts[i] and lasts_s > 0.0:
                shares, weight = memory.now[i]
                from_weight = weight if preset != memory.preset else state.weights[i]
                slots[i] = SlotTravel(lasts_s, how, _most(shares), from_weight, text, -seconds)
            elif text != memory.texts[i]:
                slots[i] = None
    else:
        slots = [None] * len(state.texts)
    now = []
    for i, (text, weight) in enumerate(zip(state.texts, state.weights, strict=True)):
        slots[i], place = _stepped(slots[i], text, weight, seconds)
        now.append(place)
    places = tuple(now)
    return places, TravelMemory(preset, tuple(slots), state.texts, places)


def _stepped(
    slot_travel: SlotTravel | None, text: str, weight: float, seconds: float
) -> tuple[SlotTravel | None, tuple[Shares, float]]:
    if slot_travel is None:
        return None, ({text: 1.0}, weight)
    slot_travel = replace(slot_travel, gone_s=slot_travel.gone_s + seconds)
    share = ease(slot_travel.gone_s / slot_travel.lasts_s, slot_travel.how)
    shares = {old: part * (1.0 - share) for old, part in slot_travel.start.items()}
    shares[text] = shares.get(text, 0.0) + share
    return (slot_travel if share < 1.0 else None), (shares, slot_travel.weight + (weight - slot_travel.weight) * share)


def _most(shares: Shares) -> Shares:
    """Return the heaviest shares, summing to 1: a slot that is changed all the time must not gather texts for ever."""
    rows = sorted(shares.items(), key=lambda row: -row[1])[:MOST_TEXTS]
    total = sum(share for _, share in rows)
    return {text: share / total for text, share in rows}


def spread(slots: Sequence[tuple[Shares, float]]) -> tuple[tuple[str, float], ...]:
    """Return the texts of slots with their weights; what is blank or has (almost) no weight is left out."""
    sums: dict[str, float] = {}
    for shares, weight in slots:
        for text, share in shares.items():
            if text.strip():
                sums[text] = sums.get(text, 0.0) + share * weight
    return tuple((text, weight) for text, weight in sums.items() if weight > FAINT)
