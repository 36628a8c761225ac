"""Structure: bars of a song go in, its parts (A, B, A ...) come out.

Each bar is a row of its sound: bands and how they vary, and its harmony. Where the bars before and after differ most,
seen along the diagonal of their self-similarity, a new part begins (J. Foote, "Automatic audio segmentation using a
measure of audio novelty", ICME 2000), rather every four bars than anywhere. Only a band along the diagonal is computed,
so a night costs no more memory than it has bars.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjserver.types.audio import Float32

HALF = 4
"""So many bars before and after are held against each other."""
GRID = 4
OFF_GRID = 0.6
LEAST_NOVELTY = 0.12
ALIKE = 0.55
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a song: from one second to another, ``label`` (the same letter sounds alike), ``energy`` 0..1."""

    begin_s: float
    end_s: float
    label: str
    energy: float


def bar_rows(levels: NDArray[Any], chroma: NDArray[Any], bars_s: Sequence[float], rate_hz: float) -> Float32:
    """Return one row for each bar, float32 ``(bars, 2 * bands + 12)``, every column normalised over the song.

    ``levels`` (rows, bands) and ``chroma`` (rows, 12) come ``rate_hz`` times a second; bars begin at ``bars_s``, whose
    last one is the end.
    """
    rows = []
    for begin, end in pairwise(bars_s):
        first = min(round(begin * rate_hz), len(levels) - 1)
        last = max(first + 1, round(end * rate_hz))
        part = levels[first:last].astype(np.float32)
        tone = chroma[first:last].astype(np.float32).mean(axis=0)
        rows.append(np.concatenate((part.mean(axis=0), part.std(axis=0), 1.5 * tone / (np.linalg.norm(tone) + 1e-6))))
    table = np.array(rows, np.float32)
    table -= table.mean(axis=0)
    table /= np.maximum(table.std(axis=0), 0.02)
    return np.asarray(table / np.sqrt(table.shape[1]), np.float32)


def novelty(rows: Float32, half: int = HALF) -> Float32:
    """Return how much each bar differs from what was before it, 0..1, float32 ``(bars,)``."""
    count = len(rows)
    padded = np.concatenate((rows[:half][::-1], rows, rows[-half:][::-1]))
    lags = range(2 * half)
    # distances[i, k] is that of bars i and i + k: a band along the diagonal
    distances = np.stack([_apart(padded, lag) for lag in lags], axis=1)
    scale = float(distances[:, 1:].mean()) + 1e-9
    alike = np.exp(-distances / scale)
    taper = np.exp(-0.5 * (np.arange(-half + 0.5, half) / (half / 2)) ** 2)
    sign = np.repeat((1.0, -1.0), half)
    found = np.zeros(count, np.float32)
    for row in range(2 * half):
        for column in range(row, 2 * half):
            weight = taper[row] * taper[column] * sign[row] * sign[column] * (2.0 if column > row else 1.0)
            found += weight * alike[row : row + count, column - row]
    found[0] = 0.0
    found = np.maximum(found, 0.0)
    return np.asarray(found / (found.max() + 1e-9), np.float32)


def _apart(rows: Float32, lag: int) -> Float32:
    """Return the squared distance of each row and the one ``lag`` later, as many as there are rows (the last: none)."""
    apart = np.full(len(rows), 4.0, np.float32)
    if lag == 0:
        apart[:] = 0.0
    elif lag < len(rows):
        apart[:-lag] = ((rows[lag:] - rows[:-lag]) ** 2).sum(axis=1)
    return apart


def boundaries(found: Float32) -> list[int]:
    """Return the bars at which parts begin: peaks of novelty, those on a grid of four bars first."""
    count = len(found)
    offset = max(range(GRID), key=lambda o: float(found[o::GRID].sum()))
    weighed = found * np.where((np.arange(count) - offset) % GRID == 0, 1.0, OFF_GRID)
    peaks = [
        i
        for i in range(2, count - 1)
        if weighed[i] >= LEAST_NOVELTY and weighed[i] == weighed[max(0, i - 3) : i + 4].max()
    ]
    return [0, *(b for a, b in zip([0, *peaks], peaks, strict=False) if b - a >= 2)]


def parts_of(rows: Float32, bars_s: Sequence[float], energy: Sequence[float]) -> tuple[Part, ...]:
    """Return a song's parts; ``energy`` is that of each bar, 0..1."""
    if len(rows) < 2 * HALF:
        return (Part(bars_s[0], bars_s[-1], LETTERS[0], float(np.mean(energy) if len(energy) else 0.0)),)
    begins = boundaries(novelty(rows))
    ends = [*begins[1:], len(rows)]
    means = [rows[a:b].mean(axis=0) for a, b in zip(begins, ends, strict=True)]
    labels = labelled(means)
    return tuple(
        Part(float(bars_s[a]), float(bars_s[b]), label, float(np.mean(energy[a:b])))
        for a, b, label in zip(begins, ends, labels, strict=True)
    )


def labelled(means: Sequence[Float32]) -> list[str]:
    """Return a letter for each part: the same one for those that sound alike."""
    apart = [float(np.linalg.norm(p - q)) for i, p in enumerate(means) for q in means[:i]]
    near = ALIKE * float(np.median(apart)) if apart else 0.0
    kinds: list[Float32] = []
    labels = []
    for mean in means:
        distances = [float(np.linalg.norm(mean - kind)) for kind in kinds]
        if distances and min(distances) < near:
            labels.append(int(np.argmin(distances)))
        else:
            kinds.append(mean)
            labels.append(len(kinds) - 1)
    return [
        LETTERS[i] if i < len(LETTERS) else f"{LETTERS[i // len(LETTERS) - 1]}{LETTERS[i % len(LETTERS)]}"
        for i in labels
    ]
