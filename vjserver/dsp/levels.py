"""Metrical levels: which of the beats that the networks hear a song counts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjserver.dsp.beatpath import (
    NEAR_TEMPO,
    OVERLAP_S,
    SHAPE,
    SWITCH,
    Float64,
    Sound,
    decode,
    evidence,
    harmony,
    log_odds,
    one_metre,
    peak,
    refined,
)
from vjserver.dsp.options import TempoPrior
from vjserver.dsp.tempo import BarTracker

LEVEL_WEIGHTS = np.array([5.6, -3.0, -2.2, -5.2, -5.2, 1.5, 0.4, -0.2, -4.7, 4.4])
"""Fitted by a logistic choice on songs that no score is told of: see :func:`_level_row` for what they weigh."""
HEARD_OVER, HEARD_HALF, HEARD_SLOPE = 16, 0.25, 14.0
HEARD_LEAST = 0.2
"""So surely the first and the last beat are heard; what lies before and after goes on evenly."""


@dataclass(frozen=True)
class _Level:
    """A metrical level at which a window can be heard: beats (s), how sure the networks were, and how good it is."""

    times: Float64
    level: Float64
    period_s: float
    score: float


def chosen(windows: Sequence[tuple[float, float]], choices: Sequence[list[_Level]]) -> list[_Level | None]:
    """Return one level for each window: those that explain all windows best, where a change must be worth it."""
    result: list[_Level | None] = [None] * len(choices)
    best: list[NDArray[Any]] = []
    back: list[NDArray[Any]] = []
    for i, rows in enumerate(choices):
        scores = np.array([level.score for level in rows])
        if i and len(rows) and len(best[-1]):
            begin, end = windows[i][0], windows[i][0] + OVERLAP_S
            costs = np.array([[0.0 if _agree(a, b, begin, end) else SWITCH for a in choices[i - 1]] for b in rows])
            ways = best[-1][None, :] - costs
            back.append(ways.argmax(axis=1))
            best.append(scores + ways.max(axis=1))
        else:
            back.append(np.zeros(len(rows), int))
            best.append(scores)
    place = -1
    for i in range(len(choices) - 1, -1, -1):
        if not choices[i]:
            place = -1
            continue
        place = int(best[i].argmax()) if place < 0 else place
        result[i] = choices[i][place]
        place = int(back[i][place]) if i and choices[i - 1] else -1
    return result


def _agree(a: _Level, b: _Level, begin_s: float, end_s: float) -> bool:
    """Tell whether two levels have the same beats from one time to another."""
    one = a.times[(a.times >= begin_s) & (a.times < end_s)]
    two = b.times[(b.times >= begin_s) & (b.times < end_s)]
    if not len(one) or not len(two) or abs(len(one) - len(two)) > 2 + 0.1 * len(one):
        return False
    near = np.abs(one[:, None] - two[None, :]).min(axis=1)
    return float(np.mean(near < 0.15 * a.period_s)) > 0.7


def levels(sound: Sound, prior: TempoPrior) -> list[_Level]:
    """Return the levels at which a window can be heard, from its likeliest row of beats."""
    if len(sound.t) < 4 * len(SHAPE):
        return []
    rate, odds = sound.rate_hz, log_odds(sound.beat)
    low, high = prior.min_bpm * 0.92, prior.max_bpm * 1.04
    at, periods = decode(odds, rate, low, high, prior.hint_bpm, prior.hint_octaves)
    if not len(at):
        return []
    octaves = np.log2(periods)
    usual = periods[int(np.argmax([periods[np.abs(octaves - one) < 0.15].sum() for one in octaves]))]
    main = 60.0 * rate / float(usual)
    first, _ = decode(odds, rate, main / NEAR_TEMPO, main * NEAR_TEMPO, main, 0.7)
    if len(first) < 4:
        return []
    gap = np.diff(first)
    halves = np.sort(np.concatenate((first, first[:-1] + gap / 2)))
    thirds = np.sort(np.concatenate((first, first[:-1] + gap / 3, first[:-1] + 2 * gap / 3)))
    rows = [(1.0, first), (1.0, first[:-1] + gap / 2), (2.0, halves), (3.0, thirds)]
    rows += [(1 / k, first[i::k]) for k in (2, 3) for i in range(k)]
    found = []
    for times, row in rows:
        if not prior.min_bpm * 0.885 < main * times < prior.max_bpm * 1.03 or len(row) < 4:
            continue
        score, level = _score(sound, row, prior)
        at_s = sound.times(refined(sound.beat, row))
        found.append(_Level(at_s, level, float(np.median(np.diff(row))) / rate, score))
    return found


def _score(sound: Sound, at: Float64, prior: TempoPrior) -> tuple[float, Float64]:
    """Return how well beats at such frames explain a window, and how sure the networks were of each."""
    gap, level = np.diff(at), peak(sound.beat, at, 2)
    mean = max(float(level.mean()), 1e-3)

    def between(share: float) -> float:
        return float(peak(sound.beat, at[:-1] + share * gap, 2).mean()) / mean

    change = harmony(sound, sound.times(at))
    told = {metre: one_metre(peak(sound.downbeat, at, 3), change, metre) for metre in BarTracker.METRES}
    metre = max(told, key=lambda one: told[one][1] - evidence(one))
    one = told[metre][0] == 0
    two, three = sorted(level[i::2].mean() for i in range(2)), sorted(level[i::3].mean() for i in range(3))
    octaves = math.log2(60.0 * sound.rate_hz / float(np.median(gap)) / prior.hint_bpm)
    row = (
        told[metre][1] - evidence(metre),                  # how well bars explain the downbeats
        min(1.0, between(1 / 2)),                           # what lies between the beats, in halves
        min(1.0, (between(1 / 3) + between(2 / 3)) / 2),    # and in thirds
        1.0 - two[0] / max(two[1], 1e-3),                   # how much weaker every other beat is
        1.0 - (three[0] + three[1]) / 2 / max(three[2], 1e-3),
        -0.5 * (octaves / prior.hint_octaves) ** 2,         # how usual the tempo is
        math.log(mean),
        metre == 2,
        metre == 3,
        float(change[one].mean() - change[~one].mean()) if one.any() and not one.all() else 0.0,
    )  # fmt: skip
    return float(LEVEL_WEIGHTS @ np.array(row, float)), level
