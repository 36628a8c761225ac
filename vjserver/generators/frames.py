"""How many frames a video model can be asked for, and how a shot's clock runs through what came.

Models make frames in blocks: another count is cut down in silence, or fails. So only counts that are allowed are asked
for, what comes is counted, and the shot is sampled from it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Rule:
    """Counts of frames that a model makes: ``step`` x k + ``first``, ``least`` to ``most``; ``fps`` is its own rate."""

    step: int
    first: int
    least: int
    most: int
    fps: float

    def allows(self, count: int) -> bool:
        """Tell whether a count is one of them."""
        return self.least <= count <= self.most and (count - self.first) % self.step == 0

    def at_least(self, count: int) -> int:
        """Return the smallest allowed count that is not below ``count``; the greatest where there is none."""
        blocks = max(0, math.ceil((count - self.first) / self.step))
        found = blocks * self.step + self.first
        while found < self.least:
            found += self.step
        greatest = (self.most - self.first) // self.step * self.step + self.first
        return min(found, greatest)

    def counts(self, seconds: float) -> tuple[int, ...]:
        """Return what to ask for, clip by clip, to cover a time: each goes on from the last frame of the one before.

        A clip of n frames lasts n - 1 of its own frames' time.
        """
        steps = max(1, math.ceil(seconds * self.fps - 1e-6))
        clips = max(1, math.ceil(steps / (self.at_least(self.most) - 1)))
        return (self.at_least(math.ceil(steps / clips) + 1),) * clips


RULES = {
    "LTX": Rule(8, 1, 9, 257, 24.0),
    "Wan": Rule(4, 1, 5, 81, 16.0),
    "CogVideoX": Rule(8, 1, 9, 49, 8.0),
    "CogVideoX 1.5": Rule(16, 1, 17, 161, 16.0),
    "AnimateDiff": Rule(1, 0, 8, 32, 8.0),
}
"""What each family's makers say of it (and of Wan: beyond 81 its colours shift)."""


def accents(motion: NDArray[np.float64], fps: float, most: int = 8) -> list[float]:
    """Return when a clip moves most, in seconds, in order: peaks of ``motion``, one number for each step of a frame.

    A peak stands out of the clip's middle by its spread, and is a quarter of a second from another one.
    """
    if len(motion) < 3 or not np.isfinite(motion).all():
        return []
    least = float(np.median(motion) + motion.std())
    peaks = [
        i for i in range(1, len(motion) - 1)
        if motion[i] > least and motion[i] >= motion[i - 1] and motion[i] > motion[i + 1]
    ]  # fmt: skip
    kept: list[int] = []
    for i in sorted(peaks, key=lambda i: -motion[i]):
        if len(kept) < most and all(abs(i - other) >= 0.25 * fps for other in kept):
            kept.append(i)
    return sorted((i + 0.5) / fps for i in kept)


def retimed(
    times: Sequence[float], beats: Sequence[float], lasts: float, most: float = 1.6
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a clock for a clip: at the shot's times (first array) it shows the clip's (second), from 0 to ``lasts``.

    Each accent in ``times`` falls on the beat that is nearest to it, as far as no stretch has to run faster than
    ``most`` or slower than 1 / ``most``; one that cannot stays where it is.
    """
    shown, at = [0.0], [0.0]
    for time in sorted(times):
        free = [beat for beat in beats if at[-1] < beat < lasts]
        if not free or not shown[-1] < time < lasts:
            continue
        beat = min(free, key=lambda beat: abs(beat - time))
        before, after = (time - shown[-1]) / (beat - at[-1]), (lasts - time) / (lasts - beat)
        if all(1.0 / most <= rate <= most for rate in (before, after)):
            shown.append(time)
            at.append(beat)
    return np.array([*at, lasts]), np.array([*shown, lasts])
