"""Quantised starts: a beat grid and a wish go in, the beat on which the wish comes true comes out."""

from collections.abc import Iterable
from dataclasses import dataclass

from vjserver.types.events import Argument, Beat
from vjserver.types.features import BeatGrid

NS = 1_000_000_000
BARS = {"bar": 1, "2bar": 2, "4bar": 4}
# What changes the whole look: of several that wait, the last counts.
WHOLE = ("/vj/preset/", "/vj/cue/", "/vj/snapshot/")


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


def outranked(pending: Iterable[Pending], address: str) -> list[Pending]:
    """Return what still waits when ``address`` is called: an older call is gone, and of whole looks the others."""
    whole = address.startswith(WHOLE)
    return [p for p in pending if p.address != address and not (whole and p.address.startswith(WHOLE))]


def fallen_due(pending: Iterable[Pending], newest: int | None, longest: int) -> list[Pending]:
    """Return what waits no longer on beat ``newest``: without a beat nothing does, nor where another clock counts."""
    return [p for p in pending if newest is None or newest >= p.count or p.count - newest > longest]


def beat_of(grid: BeatGrid, count: int, now_ns: int) -> Beat:
    """Return the beat ``count`` of a grid, told at ``now_ns``."""
    position = (grid.bar_position + count - grid.count) % grid.beats_per_bar
    t_ns = grid.t_ns + round((count - grid.count) * grid.period_s * NS)
    return Beat(t_ns, now_ns, count, position, grid.beats_per_bar, grid.bpm, grid.confidence)
