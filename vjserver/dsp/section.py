"""Section: levels and hits go in; where the track is (groove, break, build-up, drop) comes out.

A *break* begins when the low end has sunk well below what the track's loud part has and no kick has come for longer
than kicks are usually apart. In a break, brightness, loudness and density that climb over seconds make the *build-up*
rise towards 1. A *drop* is the moment at which the low end comes back with a kick, or with a jump, after a break.
Nothing here knows key, genre or tempo.
"""

import math
from dataclasses import dataclass
from typing import Literal

from vjserver.easing.smoothing import smoothing

SectionName = Literal["break", "groove", "drop"]
_SUNK_DB, _BACK_DB, _JUMP_DB = 8.0, 5.0, 14.0
_SHORTEST_BREAK_S, _WIDEST_GAP_S = 3.0, 2.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a step brings: low-band and whole levels in dB, brightness 0..1, and whether a kick or any onset came."""

    low_db: float
    level_db: float
    centroid: float
    kick: bool
    onset: bool


class SectionTracker:
    """Follows a track's form in steps of ``step_s`` seconds."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._fast, self._second, self._slow = (smoothing(step_s, s) for s in (0.25, 1.0, 6.0))
        self._learn, self._forget = smoothing(step_s, 2.0), 0.15 * step_s
        self._low_db, self._top_db, self._since_kick_s, self._kicks = -90.0, -90.0, 99.0, 0.0
        self._near = [0.0, 0.0, 0.0]
        self._far = [0.0, 0.0, 0.0]
        self._heard_s = self._in_break_s = self._sunk_s = self._gap_s = self._build = 0.0
        self.name: SectionName = "groove"

    @property
    def buildup(self) -> float:
        """How far a build-up has risen, 0..1."""
        return self._build

    @property
    def is_break(self) -> bool:
        """Whether the low end is away."""
        return self.name == "break"

    def __call__(self, heard: Heard, silent: bool) -> SectionName | None:
        """Take a step; return the section that begins with it, if any: a drop is told once and is a groove then."""
        step_s = self._step_s
        if heard.kick and self.name != "break":
            self._gap_s = max(min(self._since_kick_s, _WIDEST_GAP_S), 0.85 * self._gap_s)
        self._since_kick_s = 0.0 if heard.kick else self._since_kick_s + step_s
        self._sunk_s = self._sunk_s + step_s if self._low_db < self._top_db - _SUNK_DB else 0.0
        jump_db = heard.low_db - self._low_db
        self._low_db += self._fast * jump_db
        self._trend(heard)
        if silent:
            return None
        self._heard_s += step_s
        kicking = self._since_kick_s < max(1.2, 1.6 * self._gap_s)
        if kicking:  # how loud the low end is while the kick plays
            self._kicks += step_s
            gap = self._low_db - self._top_db
            self._top_db += gap * self._learn if gap > 0 else -self._forget
        if self.name != "break":
            known = self._kicks > 4.0 and self._heard_s > 5.0
            sunk = not kicking and self._low_db < self._top_db - _SUNK_DB
            if not known or not (sunk or self._since_kick_s > max(2.6, 2.2 * self._gap_s)):
                return None
            self.name, self._in_break_s = "break", 0.0
            return "break"
        self._in_break_s += step_s
        struck = self._since_kick_s < 0.25 or (jump_db > _JUMP_DB and self._sunk_s > 1.0)
        settled = self._in_break_s >= _SHORTEST_BREAK_S
        # At first the low end must be back to stay: one hit may be a fill, or the bass.
        if struck and (heard.low_db if settled else self._low_db) > self._top_db - _BACK_DB:
            self.name, self._since_kick_s = "groove", 0.0
            return "drop" if settled else "groove"
        return None

    def _trend(self, heard: Heard) -> None:
        """Compare the last second with the six before: louder, brighter and denser together is a build-up."""
        values = (max(heard.level_db, -70.0), heard.centroid, float(heard.onset) / self._step_s)
        for i, value in enumerate(values):
            self._near[i] += self._second * (value - self._near[i])
            self._far[i] += self._slow * (value - self._far[i])
        louder, brighter, denser = (near - far for near, far in zip(self._near, self._far, strict=True))
        climb = louder / 6.0 + brighter / 0.12 + denser / 4.0
        target = 1.0 / (1.0 + math.exp(-3.0 * (climb - 1.2))) if self._heard_s > 6.0 else 0.0
        if self.name != "break":
            target *= 0.3
        self._build += (self._second if target > self._build else self._fast) * (target - self._build)
