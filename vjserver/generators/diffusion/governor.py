"""The governor: frame times go in, how much may be asked of the GPU comes out.

It steps down at once when frames come too late for the rate that is wanted, and up again only when there has been room
for the larger step for a while: steps first, then size, then decks.
"""

from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median

WINDOW = 12
LATE = 1.08
ROOM = 0.85
CALM_S = 3.0
LONGER_S = 240.0
SMALLEST_AREA = 256 * 256
SHRINK = 0.8


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


@lru_cache(64)
def ladder(asked: Effort) -> tuple[Effort, ...]:
    """Return what may be tried, from ``asked`` down."""
    rungs = [Effort(asked.width, asked.height, steps, asked.decks) for steps in range(asked.steps, 0, -1)]
    while True:
        last = rungs[-1]
        width, height = (max(8, round(side * SHRINK / 8) * 8) for side in (last.width, last.height))
        if width * height < SMALLEST_AREA or width * height >= last.width * last.height:
            break
        rungs.append(Effort(width, height, last.steps, last.decks))
    if asked.decks > 1:
        rungs.append(Effort(rungs[-1].width, rungs[-1].height, rungs[-1].steps, 1))
    return tuple(rungs)


@dataclass(slots=True)
class Governor:
    """Chooses a rung of the ladder so that frames take no longer than ``1 / target_fps``; a target of 0 is off.

    ``rung`` 0 is what was asked. A rung that proved too high is tried again later each time.
    """

    target_fps: float
    rung: int = 0
    _times: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _asked: Effort | None = None
    _calm_s: float = 0.0
    _wait_s: float = CALM_S
    _since_up_s: float = LONGER_S

    def choose(self, asked: Effort) -> Effort:
        """Return what to render where ``asked`` is wanted."""
        if asked != self._asked:
            if self._asked is not None and self.rung:
                # As much work as was found to be possible for what was asked before.
                can = ladder(self._asked)[self.rung].work
                works = [rung.work for rung in ladder(asked)]
                self.rung = next((i for i, work in enumerate(works) if work <= can), len(works) - 1)
            self._asked = asked
            self._forget()
        rungs = ladder(asked)
        self.rung = min(self.rung, len(rungs) - 1)
        return rungs[self.rung]

    def hear(self, frame_s: float) -> str:
        """Take the time of one frame; return a sentence when the rung changed, else an empty text."""
        if self.target_fps <= 0.0 or self._asked is None:
            return ""
        self._times.append(frame_s)
        self._since_up_s += frame_s
        if len(self._times) < WINDOW:
            return ""
        rungs, budget_s, now_s = ladder(self._asked), 1.0 / self.target_fps, median(self._times)
        if now_s > LATE * budget_s:
            self._calm_s = 0.0
            if self.rung + 1 == len(rungs):
                return ""
            if self._since_up_s < LONGER_S:
                self._wait_s = min(2.0 * self._wait_s, LONGER_S)
            return self._move(self.rung + 1, now_s)
        if not self.rung:
            return ""
        higher = now_s * rungs[self.rung - 1].work / rungs[self.rung].work
        self._calm_s = self._calm_s + max(frame_s, budget_s) if higher < ROOM * budget_s else 0.0
        if self._calm_s < self._wait_s:
            return ""
        self._since_up_s = 0.0
        return self._move(self.rung - 1, now_s)

    def step_down(self) -> bool:
        """Step down now (memory ran out); return False where there is nothing below."""
        if self._asked is None or self.rung + 1 >= len(ladder(self._asked)):
            return False
        self.rung += 1
        self._wait_s = LONGER_S  # the rung above would fail again
        self._forget()
        return True

    def _move(self, rung: int, now_s: float) -> str:
        assert self._asked is not None
        way = "down" if rung > self.rung else "up"
        self.rung = rung
        self._forget()
        return (
            f"{way} to {ladder(self._asked)[rung]}: a frame took {now_s * 1e3:.1f} ms, "
            f"{self.target_fps:g} a second need {1e3 / self.target_fps:.1f} ms"
        )

    def _forget(self) -> None:
        self._times.clear()
        self._calm_s = 0.0
