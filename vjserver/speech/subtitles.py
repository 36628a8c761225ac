"""Subtitles: what was said goes in, an SRT file comes out cue by cue, counted from the recording's zero.

A cue is told once: it waits for the better text (``revised``) for three seconds, then it stands. Lines have 42 signs
and cues two lines at most, as the BBC's subtitle guidelines have it; longer talk is cut where its words lie.
"""

import textwrap
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vjserver.types.events import Speech

NS = 1_000_000_000
Place = Callable[[int], float]
LINE, LINES = 42, 2
WAITS_NS = 3 * NS
LINGERS_NS = 4 * NS
"""So long after a recording's end its last sentence may still come."""
LEAST_S = 1.0
AFTER_S = 0.6
"""A cue stays so long after its last word, where nothing follows."""


@dataclass(frozen=True, slots=True)
class Cue:
    """A text and its time, seconds from the recording's zero."""

    begin_s: float
    end_s: float
    text: str


def stamp(seconds: float) -> str:
    """Return a time as SRT writes it: 01:02:03,456."""
    ms = max(0, round(seconds * 1000))
    return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


def cues_of(said: Speech, place: Place) -> list[Cue]:
    """Return the cues of what was said; what lies before the recording's zero is left out."""
    text, begin_s = said.text, place(said.begin_ns)
    end_s = max(place(said.t_ns), begin_s + LEAST_S)
    if end_s <= 0.0 or not text.strip():
        return []
    pieces = textwrap.wrap(text, LINE * LINES - 4, break_long_words=True, break_on_hyphens=False)
    times = _times(said, [len(piece.split()) for piece in pieces], begin_s, end_s)
    return [
        Cue(max(0.0, begin), end + (AFTER_S if i == len(pieces) - 1 else 0.0), "\n".join(textwrap.wrap(piece, LINE)))
        for i, (piece, (begin, end)) in enumerate(zip(pieces, times, strict=True))
        if end > 0.0
    ]


def _times(said: Speech, counts: Sequence[int], begin_s: float, end_s: float) -> list[tuple[float, float]]:
    """Return begin and end of each piece of so many words: where its words lie, else in proportion."""
    times, at, whole = [], 0, sum(counts)
    for count in counts:
        if len(said.words) == whole:
            first, last = said.words[at], said.words[at + count - 1]
            times.append((begin_s + first.begin_s, max(begin_s + last.end_s, begin_s + first.begin_s + 0.2)))
        else:
            span = end_s - begin_s
            times.append((begin_s + span * at / whole, begin_s + span * (at + count) / whole))
        at += count
    return times


class Subtitles:
    """The subtitles of one recording; ``place`` returns where a time (ns) lies in it, in seconds, pauses left out.

    ``count`` is how many cues its file has already.
    """

    def __init__(self, place: Place, count: int = 0) -> None:
        self._place = place
        self._waiting: dict[int, tuple[Speech, int]] = {}
        self._ends_ns: int | None = None
        self._told: deque[int] = deque(maxlen=64)
        self._told_s = 0.0
        self._count = count

    def end(self, t_ns: int) -> None:
        """Take nothing that was begun from now on: the recording has ended. What was said before it may still come."""
        self._ends_ns = t_ns

    def hear(self, said: Speech, now_ns: int) -> None:
        """Take what was said; partials and commands are no subtitles."""
        if said.kind == "partial" or said.wake or (self._ends_ns is not None and said.begin_ns >= self._ends_ns):
            return
        if said.number not in self._told:
            self._waiting[said.number] = (said, now_ns)

    def due(self, now_ns: int, ends: bool = False) -> str:
        """Return what is to be added to the file now, ``""`` for nothing; all of it where the recording ``ends``."""
        lines = []
        for number, (said, heard_ns) in sorted(self._waiting.items(), key=lambda row: row[1][0].begin_ns):
            if not ends and said.kind == "final" and now_ns - heard_ns < WAITS_NS:
                break  # in order: who spoke later waits too
            del self._waiting[number]
            self._told.append(number)
            for cue in cues_of(said, self._place):
                begin_s = max(cue.begin_s, self._told_s)
                end_s = max(cue.end_s, begin_s + LEAST_S)
                self._told_s = end_s
                self._count += 1
                lines.append(f"{self._count}\n{stamp(begin_s)} --> {stamp(end_s)}\n{cue.text}\n\n")
        return "".join(lines)
