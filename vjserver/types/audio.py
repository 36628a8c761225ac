"""Audio as it arrives: samples with the time at which the last of them was heard."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """A stretch of sound.

    ``samples`` is float32 ``(frames, channels)`` in [-1, 1]; ``t_ns`` is the monotonic time of the last sample.
    """

    samples: Float32
    rate_hz: int
    t_ns: int
