"""Quantised starts: a beat grid and a wish go in, the beat on which the wish comes true comes out."""

from dataclasses import dataclass

from vjserver.types.events import Argument
from vjserver.types.features import BeatGrid

BARS = {"bar": 1, "2bar": 2, "4bar": 4}


@dataclass(frozen=True, slots=True)
class Pending:
    """An accepted message that waits for beat ``count``; ``origin`` says who sent it."""

    count: int
    address: str
    args: tuple[Argument, ...]
    origin: str


def boundary(grid: BeatGrid, t_ns: int, quantise: str) -> int | None:
    """Return the count of the first beat after ``t_ns`` on which a change may start, or None where none is waited for.

    ``quantise`` is one of ``addresses.QUANTISE``. Bars are counted from the grid's downbeats; without a tempo nothing
    can be waited for.
    """
    if quantise == "none" or not grid.running:
        return None
    count = grid.count_at(t_ns) + 1
    if quantise == "beat":
        return count
    per = grid.beats_per_bar * BARS[quantise]
    downbeat = (grid.count - grid.bar_position) % grid.beats_per_bar
    return count + (downbeat - count) % per
