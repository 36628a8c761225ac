"""The similar-image filter: thumbnails of inputs go in; whether the last frame may be shown once more comes out."""

import random

import cv2
import numpy as np

from vjserver.latent.noise import Array
from vjserver.types.frames import Pixels

SIDE = 32
LONGEST_SKIP = 10
"""So many frames in a row may be the last one again."""


def thumbnail(image: Pixels) -> Array:
    """Return a picture of 32 x 32, float32."""
    return cv2.resize(image[..., :3], (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


class SimilarFilter:
    """Draws lots, always the same ones."""

    def __init__(self) -> None:
        self._chance = random.Random(0)

    def skips(self, similar: float, now: Array | None, before: Array | None, skipped: int) -> bool:
        """Tell whether a frame may be skipped: its input hardly changed.

        P(skip) = max(0, 1 - (1 - cos) / (1 - threshold)), as in StreamDiffusion (arXiv 2312.12491), with the cosine of
        thumbnails taken on the CPU, where the input comes from: nothing waits for the GPU. ``similar``, 0..1, is how
        unlike it may be; ``skipped`` is how many were skipped in a row.
        """
        threshold = 1.0 - 0.1 * similar
        if threshold >= 1.0 or now is None or before is None or skipped >= LONGEST_SKIP:
            return False
        lengths = float(np.linalg.norm(now) * np.linalg.norm(before))
        cosine = float(np.vdot(now, before)) / lengths if lengths else 1.0
        return self._chance.random() < max(0.0, 1.0 - (1.0 - cosine) / (1.0 - threshold))
