"""A soundtrack: blocks of sound with times, as they come, go in; one stretch without gap or overlap comes out.

A file's times may only rise. So what is missing becomes silence, what comes too late for its place is left out and
counted, and a sound card whose clock is a little fast or slow is stretched by as little as it takes.
"""

import numpy as np

from vjserver.types.audio import Float32

APART_S = 0.025
"""A block so far from its place is not stretched there: silence fills the gap, or its beginning is left out."""
NEAR_S, THERE_S = 0.001, 0.0002
"""Beyond ``NEAR_S`` the sound is stretched, until it is within ``THERE_S`` of its place."""
MOST_STRETCH = 0.002


class Soundtrack:
    """Puts stereo sound of ``rate_hz`` in its place, sample by sample. ``told`` is how many samples came out so far.

    ``late_s`` is how much was left out because it came too late, ``silence_s`` how much silence was put in.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self.told = 0
        self.late_s = self.silence_s = 0.0
        self._bends, self._phase = False, 0.0
        self._edge = np.zeros((1, 2), np.float32)  # the last sample that came in

    def __call__(self, samples: Float32, begins: float) -> Float32:
        """Return what is to be written for a block of float32 ``(n, 2)``; ``begins`` is its place, in samples."""
        apart = begins - self.told
        if apart > APART_S * self._rate_hz:
            gap = self.silent_until(round(begins))
            return np.concatenate((gap, self._put(samples, 0.0)))
        if apart < -APART_S * self._rate_hz:
            late = min(round(-apart), len(samples))
            self.late_s += late / self._rate_hz
            samples, apart = samples[late:], 0.0
        return self._put(samples, apart)

    def silent_until(self, place: int) -> Float32:
        """Return silence up to a place, in samples; nothing where that is past."""
        count = max(0, place - self.told)
        self.told += count
        self.silence_s += count / self._rate_hz
        self._edge, self._phase = np.zeros((1, 2), np.float32), 0.0
        return np.zeros((count, 2), np.float32)

    def _put(self, samples: Float32, apart: float) -> Float32:
        """Return samples as they are, or stretched a little towards where they belong."""
        if not len(samples):
            return samples
        self._bends = abs(apart) > (THERE_S if self._bends else NEAR_S) * self._rate_hz
        out = samples
        if self._bends:
            wish = apart / self._rate_hz  # of the distance, as much a second
            out = self._stretched(samples, 1.0 + min(MOST_STRETCH, max(-MOST_STRETCH, wish)))
        else:
            self._phase = 0.0
        self._edge = samples[-1:].copy()
        self.told += len(out)
        return out

    def _stretched(self, samples: Float32, ratio: float) -> Float32:
        """Return ``ratio`` times as many samples, by linear interpolation that goes on across the edges of blocks."""
        row = np.concatenate((self._edge, samples))
        at = np.arange(self._phase + 1.0 / ratio, len(samples) + 1e-9, 1.0 / ratio)
        self._phase = (float(at[-1]) if len(at) else self._phase) - len(samples)
        places = np.arange(len(row))
        return np.stack([np.interp(at, places, row[:, side]) for side in (0, 1)], axis=1).astype(np.float32)
