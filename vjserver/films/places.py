"""Places of a song: what somebody types (``1:02.5``, ``bar 9``, ``part B``, ``drop 2``) goes in, seconds come out."""

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction

from vjserver.stages.offline.hearing import KINDS, NS, Hearing
from vjserver.types.errors import ConfigError

FORMS = "12.5, 1:02.5, bar 9, bar 9.2, beat 33, part 3, part B, part B 2, drop, drop 2, break 1, end"
RATES = {Fraction(2997, 100): Fraction(30000, 1001), Fraction(23976, 1000): Fraction(24000, 1001),
         Fraction(2398, 100): Fraction(24000, 1001), Fraction(5994, 100): Fraction(60000, 1001),
         Fraction(11988, 100): Fraction(120000, 1001)}  # fmt: skip
_CLOCK = re.compile(r"(?:(\d{1,9}):)?(?:(\d{1,9}):)?(\d{1,9}(?:\.\d+)?)\s*s?")
_NAMED = re.compile(
    r"(bar|beat|part|drop|break|groove)(?:\s+([A-Za-z]+|\d{1,9}(?:\.\d{1,9})?))?(?:(?<=[A-Za-z])\s+(\d{1,9}))?"
)
_RATE = re.compile(r"\s*\d{1,7}(\.\d{1,6}|/\d{1,7})?\s*")


def rate_of(text: str) -> Fraction:
    """Return frames a second of ``30``, ``29.97`` (which means 30000/1001) or ``24000/1001``. Raises ConfigError."""
    try:
        rate = Fraction(text.strip() if _RATE.fullmatch(text) else "")
    except (ValueError, ZeroDivisionError):
        raise ConfigError(f"--fps is frames a second, such as 30, 29.97 or 30000/1001: got {text[:40]!r}") from None
    rate = RATES.get(rate, rate)
    if not 1 <= rate <= 240 or rate.numerator > 1_000_000:
        raise ConfigError(f"--fps must be in 1..240: got {text[:40]!r}")
    return rate


def seconds_of(text: str) -> float | None:
    """Return the seconds of a time such as ``12.5``, ``1:02.5`` or ``1:00:00``; None for what is no time."""
    found = _CLOCK.fullmatch(text.strip())
    if found is None:
        return None
    first, second, last = found.groups()
    if first is None:
        return float(last)
    if second is None:
        return 60 * int(first) + float(last)
    return 3600 * int(first) + 60 * int(second) + float(last)


class Places:
    """The places of a song that was heard."""

    def __init__(self, hearing: Hearing) -> None:
        self.seconds = hearing.seconds
        self.parts = hearing.parts
        beats = hearing.beats
        self.beats = tuple(g.t_ns / NS for g in beats)
        self._positions = tuple(g.bar_position for g in beats)
        self.bars = tuple(g.t_ns / NS for g in beats if g.bar_position == 0)
        happened = hearing.happened
        self._happened = {
            name: tuple(float(t) / NS for t, k in zip(happened.t_ns, happened.kind, strict=True) if KINDS[k] == name)
            for name in ("drop", "break", "groove")
        }

    @property
    def drops(self) -> tuple[float, ...]:
        """When the drops come, in seconds."""
        return self._happened["drop"]

    def find(self, text: str) -> float:
        """Return the seconds of a place. Raises ConfigError with what is allowed, or what the song has."""
        found = self._find(text)
        if found > self.seconds + 1e-6:
            raise ConfigError(f"{text!r} is beyond the end of the song, which lasts {clock(self.seconds)}")
        return found

    def _find(self, text: str) -> float:
        text = text.strip()
        seconds = seconds_of(text)
        if seconds is None and text.lower() == "end":
            seconds = self.seconds
        if seconds is not None:
            if seconds > self.seconds + 1e-6:
                raise ConfigError(f"{text!r} is beyond the end of the song, which lasts {clock(self.seconds)}")
            return min(seconds, self.seconds)
        found = _NAMED.fullmatch(text.replace("section", "part"))
        if found is None:
            raise ConfigError(f"no such place: {text[:40]!r}; places are: {FORMS}")
        kind, which, again = found.groups()
        if kind == "part":
            return self._part(text, which or "1", int(again or 1))
        if kind in self._happened:
            return self._numbered(kind, self._happened[kind], which or "1")
        if which is None:
            raise ConfigError(f"which {kind}? Such as: {kind} 9")
        if kind == "beat":
            return self._numbered(kind, self.beats, which)
        whole, _, beat = which.partition(".")
        begin = self._numbered("bar", self.bars, whole)
        at = bisect_right(self.beats, begin + 1e-6) - 1 + (int(beat) - 1 if beat else 0)
        if beat and not 0 < int(beat) <= self._length(begin):
            raise ConfigError(f"bar {whole} has {self._length(begin)} beats: got {text!r}")
        return self.beats[min(at, len(self.beats) - 1)]

    def _length(self, begin: float) -> int:
        first = bisect_right(self.beats, begin + 1e-6) - 1
        rest = self._positions[first + 1 :]
        return 1 + next((i for i, position in enumerate(rest) if position == 0), len(rest))

    def _part(self, text: str, which: str, again: int) -> float:
        if which.isdigit():
            return self._numbered("part", tuple(part.begin_s for part in self.parts), which)
        found = [part.begin_s for part in self.parts if part.label == which.upper()]
        if not 1 <= again <= len(found):
            there = " ".join(part.label for part in self.parts)
            raise ConfigError(f"there is no {text!r}; the parts of the song are: {there or 'none'}")
        return found[again - 1]

    def _numbered(self, kind: str, rows: Sequence[float], which: str) -> float:
        number = int(which) if which.isdigit() else 0
        if not 1 <= number <= len(rows):
            there = f"it has {len(rows)}" if rows else "none was heard in it"
            raise ConfigError(f"the song has no {kind} {which}: {there}")
        return rows[number - 1]

    def beats_after(self, begin_s: float, beats: float) -> float:
        """Return when so many beats have gone by; 120 a minute where no beat is heard."""
        if len(self.beats) < 2:
            return begin_s + 0.5 * beats
        place = bisect_right(self.beats, begin_s + 1e-6) - 1
        place = max(0, min(place, len(self.beats) - 2))
        gap = self.beats[place + 1] - self.beats[place]
        at = place + (begin_s - self.beats[place]) / gap + beats
        low = max(0, math.floor(at + 1e-9))
        if low >= len(self.beats) - 1:
            gap = self.beats[-1] - self.beats[-2]
            return self.beats[-1] + (at - len(self.beats) + 1) * gap
        return self.beats[low] + (at - low) * (self.beats[low + 1] - self.beats[low])

    def bar_at(self, seconds: float) -> int:
        """Return the number of the bar (from 1) at a time, 0 before the first."""
        return bisect_right(self.bars, seconds + 1e-6)

    def nearest_bar(self, seconds: float) -> float:
        """Return when the bar begins that begins nearest to a time; the time itself where no bar is heard."""
        return min(self.bars, key=lambda bar: abs(bar - seconds), default=seconds)

    def nearest(self, kind: str, seconds: float, within_s: float) -> float | None:
        """Return the drop (or break, groove) nearest to a time, None where there is none so near."""
        found = min(self._happened[kind], key=lambda t: abs(t - seconds), default=None)
        return found if found is not None and abs(found - seconds) <= within_s else None


def clock(seconds: float) -> str:
    """Return a time as people read it: ``1:02.5``."""
    minutes, rest = divmod(round(seconds * 10), 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{rest / 10:04.1f}"
