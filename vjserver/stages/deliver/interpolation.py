"""Between two generated pictures: the last one again, a blend of the last two, or one moved along their optical flow.

A blend and a flow need both pictures, so each is shown one interval of the generator later than it could be.
"""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vjserver.types.frames import Frame, Pixels

FLOW_WIDTH = 256
"""Pictures are made so narrow before their flow is looked for: it is smooth, and 40 times as much work in full."""
LONGEST_NS = 500_000_000
"""Two pictures that are further apart are not blended: the second is shown at once."""

Flow = NDArray[np.float32]


class Between:
    """Takes generated frames and says what is shown at any time from then on."""

    def __init__(self) -> None:
        self.mode = "repeat"
        self.hurried = False
        """There is no time for optical flow: a crossfade is shown in its place."""
        self._last: Frame | None = None
        self._before: Frame | None = None
        self._came_ns = 0
        self._interval_ns = 0
        self._flows: tuple[Flow, Flow] | None = None

    def take(self, frame: Frame, now_ns: int) -> None:
        """Take a frame that came at ``now_ns``."""
        apart_ns = now_ns - self._came_ns
        blends = self.mode != "repeat" and self._last is not None and apart_ns < LONGEST_NS
        self._before = self._last if blends else None
        if self._before is not None and self._before.pixels.shape != frame.pixels.shape:
            self._before = None
        # The mean of late: generators do not keep step.
        self._interval_ns = (3 * self._interval_ns + apart_ns) // 4 if self._interval_ns and blends else apart_ns
        self._last, self._came_ns = frame, now_ns
        self._flows = None
        if self.mode == "flow" and not self.hurried and self._before is not None:
            self._flows = flows(self._before.pixels, frame.pixels)

    def at(self, now_ns: int) -> Frame | None:
        """Return what is shown at ``now_ns``, or None before the first frame."""
        if self._last is None or self._before is None or self.mode == "repeat":
            return self._last
        place = (now_ns - self._came_ns) / max(self._interval_ns, 1)
        if place >= 1.0:
            return self._last
        place = max(place, 0.0)
        if self._flows is None:
            pixels = blend(self._before.pixels, self._last.pixels, place)
        else:
            pixels = along(self._before.pixels, self._last.pixels, self._flows, place)
        return replace(self._last, pixels=pixels)


@cache
def _dis() -> cv2.DISOpticalFlow:
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)


def flows(before: Pixels, after: Pixels) -> tuple[Flow, Flow]:
    """Return the flows there and back, float32 ``(h, w, 2)``, in pixels of the size at which they were found."""
    height, width = before.shape[:2]
    size = (min(FLOW_WIDTH, width), max(16, round(height * min(FLOW_WIDTH, width) / width)))
    small = [
        cv2.cvtColor(cv2.resize(p, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGBA2GRAY) for p in (before, after)
    ]
    there, back = np.zeros((2, *small[0].shape, 2), np.float32)  # OpenCV begins with what is in there
    _dis().calc(small[0], small[1], there)
    _dis().calc(small[1], small[0], back)
    return there, back


def blend(before: Pixels, after: Pixels, place: float) -> Pixels:
    """Return ``before`` at 0, ``after`` at 1, and a mixture between."""
    return np.asarray(cv2.addWeighted(before, 1.0 - place, after, place, 0.0), np.uint8)


def along(before: Pixels, after: Pixels, flows: tuple[Flow, Flow], place: float) -> Pixels:
    """Return both pictures moved towards each other and blended: what moves is seen once, on its way."""
    height, width = before.shape[:2]
    there, back = flows
    scale = np.array([width / there.shape[1], height / there.shape[0]], np.float32)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    moved = []
    for picture, flow, share in ((before, there, place), (after, back, 1.0 - place)):
        shift = cv2.resize(flow * (scale * np.float32(share)), (width, height), interpolation=cv2.INTER_LINEAR)
        moved.append(
            cv2.remap(picture, x - shift[..., 0], y - shift[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        )
    return blend(np.asarray(moved[0], np.uint8), np.asarray(moved[1], np.uint8), place)
