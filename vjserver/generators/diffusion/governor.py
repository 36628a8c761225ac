"""The governor: frame times go in, how much may be asked of the GPU comes out.

It steps down at once when frames come too late for the rate that is wanted, and up again only when there has been room
for the larger step for a while: steps first, then size, then decks. How long a level takes it knows from measuring it:
a GPU that is bound by launches is no faster at a smaller size, and what was compiled may be faster than less work that
was not.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median

WINDOW = 12
LATE = 1.08
ROOM = 0.85
CALM_S = 3.0
LONGER_S = 240.0
GAIN = 0.95  # less work that takes more than this share of the time gains nothing
AREA = 512 * 512
WIDE = (768, 432)  # what 16:9 is thought of at unless told otherwise; others get about AREA
SMALLEST_AREA = 256 * 256
SHRINK = 0.8
SIDE = 64  # three times halved by the UNet at an eighth of the size: sides of this multiple are never padded


@dataclass(frozen=True, slots=True, order=True)
class Effort:
    """What a frame costs: its size in pixels, steps and decks."""

    width: int
    height: int
    steps: int = 1
    decks: int = 1

    @property
    def work(self) -> float:
        """The cost next to another's, roughly."""
        return float(self.width * self.height * self.steps * self.decks)

    def __str__(self) -> str:
        steps = f"{self.steps} step{'s' * (self.steps > 1)}"
        return f"{self.width}x{self.height}, {steps}" + (f", {self.decks} decks" if self.decks > 1 else "")


def inference_size(asked: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """Return the size at which a picture ``width`` x ``height`` is thought of; ``asked`` is one, or (0, 0) for none."""
    if asked != (0, 0):
        return asked
    if abs(width / height - 16 / 9) < 0.02 and width >= WIDE[0]:
        return WIDE
    scale = min(1.0, math.sqrt(AREA / (width * height)))
    return max(64, math.ceil(width * scale / 8) * 8), max(64, math.ceil(height * scale / 8) * 8)


def _fitting(side: float) -> int:
    return max(1, int(side / SIDE + 0.5)) * SIDE


@lru_cache(64)
def efforts(asked: Effort) -> tuple[Effort, ...]:
    """Return what may be tried, from ``asked`` down; sides below it are multiples of :data:`SIDE`, shaped alike."""
    levels = [Effort(asked.width, asked.height, steps, asked.decks) for steps in range(asked.steps, 0, -1)]
    scale = SHRINK
    while asked.width * asked.height * scale * scale > SMALLEST_AREA / 2:
        width = _fitting(asked.width * scale)
        height = _fitting(width * asked.height / asked.width)
        if SMALLEST_AREA <= width * height < levels[-1].width * levels[-1].height:
            levels.append(Effort(width, height, 1, asked.decks))
        scale *= SHRINK
    if asked.decks > 1:
        levels.append(Effort(levels[-1].width, levels[-1].height, levels[-1].steps, 1))
    return tuple(levels)


@dataclass(slots=True)
class Governor:
    """Chooses among efforts, most first, so that frames take no longer than ``1 / target_fps``; a target of 0 is off.

    ``level`` 0 is what was asked. A level that proved too high is tried again later each time. ``known_s`` has the
    seconds of each level that was measured.
    """

    target_fps: float
    level: int = 0
    known_s: dict[Effort, float] = field(default_factory=dict)
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _asked: Effort | None = None
    _calm_s: float = 0.0
    _wait_s: float = CALM_S
    _since_up_s: float = LONGER_S

    def choose(self, asked: Effort) -> Effort:
        """Return what to render where ``asked`` is wanted."""
        if asked != self._asked:
            if self._asked is not None and self.level:
                # As much work as was found to be possible for what was asked before.
                can = efforts(self._asked)[self.level]
                levels = efforts(asked)
                fits = (i for i, level in enumerate(levels) if level.work <= can.work or self._holds(level))
                self.level = next(fits, len(levels) - 1)
            self._asked = asked
            self._forget()
        levels = efforts(asked)
        self.level = min(self.level, len(levels) - 1)
        return levels[self.level]

    def hear(self, frame_s: float) -> str:
        """Take the time of one frame; return a sentence when the level changed, else an empty text."""
        if self.target_fps <= 0.0 or self._asked is None:
            return ""
        self._times.append(frame_s)
        self._since_up_s += frame_s
        if len(self._times) < WINDOW:
            return ""
        levels, budget_s, now_s = efforts(self._asked), 1.0 / self.target_fps, median(self._times)
        self._measure(levels[self.level], now_s)
        if now_s > LATE * budget_s:
            self._calm_s = 0.0
            below = self._below(levels, now_s, budget_s)
            if below == self.level:
                return ""
            if self._since_up_s < LONGER_S:
                self._wait_s = min(2.0 * self._wait_s, LONGER_S)
            return self._move(below, now_s)
        if not self.level:
            return ""
        above = next((i for i in range(self.level) if self._holds(levels[i])), self.level - 1)
        holds = self._holds(levels[above]) if levels[above] in self.known_s else None
        by_work_s = now_s * levels[above].work / levels[self.level].work
        there_is_room = holds or by_work_s < ROOM * budget_s
        self._calm_s = self._calm_s + max(frame_s, budget_s) if there_is_room else 0.0
        # One that was measured as too slow may have met a bad moment: it is tried again, but seldom.
        if self._calm_s < (LONGER_S if holds is False else self._wait_s):
            return ""
        self._since_up_s = 0.0
        return self._move(above, now_s)

    def know(self, effort: Effort, frame_s: float) -> None:
        """Take the time of a level that was measured before the show."""
        self.known_s[effort] = frame_s

    def _measure(self, here: Effort, now_s: float) -> None:
        """Note the time of a level; if the machine has become slower or faster since, it has so for all of them."""
        pace = now_s / self.known_s.get(here, now_s)
        for effort in self.known_s:
            self.known_s[effort] *= pace
        self.known_s[here] = now_s

    def _holds(self, level: Effort) -> bool:
        """Tell whether a level is known to be quick enough."""
        return level in self.known_s and self.known_s[level] * self.target_fps <= ROOM

    def _below(self, levels: tuple[Effort, ...], now_s: float, budget_s: float) -> int:
        """Return the next level below that is quick enough, as far as is known.

        Where none is, or less work has gained nothing, it is the largest of about the quickest that are known.
        """
        known = {i: self.known_s[level] for i, level in enumerate(levels) if level in self.known_s}
        if now_s <= GAIN * known.get(self.level - 1, math.inf):
            for i in range(self.level + 1, len(levels)):
                if known.get(i, 0.0) <= budget_s:
                    return i
        return next(i for i in sorted(known) if known[i] * GAIN <= min(known.values()))

    def step_down(self) -> bool:
        """Step down now (memory ran out); return False where there is nothing below."""
        if self._asked is None or self.level + 1 >= len(efforts(self._asked)):
            return False
        self.level += 1
        self._wait_s = LONGER_S  # the level above would fail again
        self._forget()
        return True

    def _move(self, level: int, now_s: float) -> str:
        assert self._asked is not None
        way = "down" if level > self.level else "up"
        self.level = level
        self._forget()
        return (
            f"{way} to {efforts(self._asked)[level]}: a frame took {now_s * 1e3:.1f} ms, "
            f"{self.target_fps:g} a second need {1e3 / self.target_fps:.1f} ms"
        )

    def _forget(self) -> None:
        self._times.clear()
        self._calm_s = 0.0
