"""Front end: mono hops of sound go in, what the ear's two networks see comes out.

Two spectra, both through aubio's FFT: a *fast* one every 128 samples, whose window leans on the newest
samples so that an attack shows within two hops, and a *slow* one every 512 samples that tells a bass note from a kick.
Levels are in dB below a loudness that follows peaks at once and sinks by 2 dB a second, so a quiet master looks like a
loud one; 50 dB are mapped to 0..1. The rises of the slow features, in which the beat is heard, are brought up to what
they usually are where a master is compressed or reverberant. Training sees its songs through these very classes.
"""

import math

import aubio
import numpy as np

from vjserver.dsp.filterbank import FilterBank
from vjserver.types.audio import Float32

HOP = 128
SLOW_EVERY = 4
FAST_BANDS, SLOW_BANDS = 24, 40
FAST_SIZE = 2 * FAST_BANDS
SLOW_SIZE = 2 * SLOW_BANDS + FAST_BANDS
_FAST_WINDOW, _SLOW_WINDOW = 512, 2048
RANGE_DB, _FLOOR_DB, _SINK_DB_S = 50.0, -62.0, 2.0
_USUAL_RISE, _MOST_GAIN, _GAIN_S = 0.02, 3.0, 4.0
_ZERO, _TOP = np.float32(0.0), np.float32(1.2)


def warped_bands(count: int, knee_hz: float, window: int, rate_hz: int) -> Float32:
    """Return ``count`` triangles, linear below ``knee_hz`` and logarithmic above, from 30 Hz to 16 kHz.

    float32 ``(count, window // 2 + 1)``; rows sum to one, and to nothing beyond the Nyquist frequency.
    """
    edges = knee_hz * np.expm1(np.linspace(math.log1p(30.0 / knee_hz), math.log1p(16000.0 / knee_hz), count + 2))
    bin_hz = rate_hz / window
    bins_hz = np.arange(window // 2 + 1) * bin_hz
    rows = []
    for low, centre, high in zip(edges, edges[1:], edges[2:], strict=False):
        rise, fall = max(centre - low, bin_hz), max(high - centre, bin_hz)
        rows.append(np.clip(np.minimum((bins_hz - centre) / rise + 1.0, (centre - bins_hz) / fall + 1.0), 0.0, None))
    weights = np.array(rows)
    totals = weights.sum(axis=1, keepdims=True)
    normal: Float32 = np.divide(weights, totals, out=np.zeros_like(weights), where=totals > 0).astype(np.float32)
    return normal


def leaning_window(size: int, fall: int) -> Float32:
    """Return a window that rises as half a Hann over ``size - fall`` samples and falls over the newest ``fall``."""
    rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(size - fall) + 0.5) / (size - fall))
    sink = 0.5 + 0.5 * np.cos(np.pi * (np.arange(fall) + 0.5) / fall)
    return np.concatenate((rise, sink)).astype(np.float32)


class _Bands:
    """The newest ``window`` samples as powers of bands, in dB re full scale."""

    def __init__(self, weights: Float32, window: Float32) -> None:
        self._window = window
        self._fft = aubio.fft(len(window))
        self._bank = FilterBank(weights)
        self._scale = np.float32((2.0 / window.sum()) ** 2)

    def __call__(self, samples: Float32) -> Float32:
        power = self._bank(self._fft(samples * self._window))
        power *= self._scale
        power += np.float32(1e-12)
        decibels: Float32 = np.float32(10.0) * np.log10(power)
        return decibels


class FrontEnd:
    """The ear's two views of a signal at ``rate_hz``, 32 to 64 kHz."""

    def __init__(self, rate_hz: int) -> None:
        self._fast = _Bands(warped_bands(FAST_BANDS, 500.0, _FAST_WINDOW, rate_hz), leaning_window(_FAST_WINDOW, 96))
        hann = np.hanning(_SLOW_WINDOW + 2)[1:-1].astype(np.float32)
        self._slow = _Bands(warped_bands(SLOW_BANDS, 200.0, _SLOW_WINDOW, rate_hz), hann)
        self._buffer = np.zeros(_SLOW_WINDOW, np.float32)
        self._loudness_db = _FLOOR_DB
        self._sink_db = _SINK_DB_S * HOP / rate_hz
        self._hops = 0
        self._fast_past = [np.zeros(FAST_BANDS, np.float32)] * 2
        self._slow_past = np.zeros(SLOW_BANDS, np.float32)
        self._rises = np.zeros(FAST_BANDS, np.float32)
        self._mean_rise = _USUAL_RISE
        self._new_share = -math.expm1(-SLOW_EVERY * HOP / (rate_hz * _GAIN_S))
        self.fast = np.zeros(FAST_SIZE, np.float32)
        self.slow = np.zeros(SLOW_SIZE, np.float32)

    def __call__(self, samples: Float32) -> bool:
        """Take a hop, mono float32 ``(128,)``; :attr:`fast` is new, and :attr:`slow` too where True is returned.

        ``fast`` is float32 ``(48,)``: band levels, then their rise over two hops. ``slow`` is float32 ``(104,)``: band
        levels, their rise over 512 samples, and the steepest rises of the fast bands within them, both with a gain of
        1 to 3 that makes up for rises that have been smaller than usual for some seconds.
        """
        buffer = self._buffer
        buffer[:-HOP] = buffer[HOP:]
        buffer[-HOP:] = samples
        levels_db = self._fast(buffer[-_FAST_WINDOW:])
        self._loudness_db = max(self._loudness_db - self._sink_db, float(levels_db.max()), _FLOOR_DB)
        levels = self._scaled(levels_db)
        fast, past = self.fast, self._fast_past
        fast[:FAST_BANDS] = levels
        rise = fast[FAST_BANDS:]
        np.subtract(levels, past[0], out=rise)
        np.maximum(rise, _ZERO, out=rise)
        np.maximum(self._rises, rise, out=self._rises)
        self._fast_past = [past[1], levels]
        self._hops += 1
        if self._hops % SLOW_EVERY:
            return False
        slow = self.slow
        slow[:SLOW_BANDS] = self._scaled(self._slow(buffer))
        change = slow[SLOW_BANDS : 2 * SLOW_BANDS]
        np.subtract(slow[:SLOW_BANDS], self._slow_past, out=change)
        np.maximum(change, _ZERO, out=change)
        slow[2 * SLOW_BANDS :] = self._rises
        rises = slow[SLOW_BANDS:]
        self._mean_rise += self._new_share * (float(np.add.reduce(rises)) / len(rises) - self._mean_rise)
        if self._mean_rise < _USUAL_RISE:
            rises *= np.float32(min(_USUAL_RISE / max(self._mean_rise, 1e-6), _MOST_GAIN))
        self._slow_past = slow[:SLOW_BANDS].copy()
        self._rises[:] = 0.0
        return True

    def _scaled(self, levels_db: Float32) -> Float32:
        levels_db -= np.float32(self._loudness_db - RANGE_DB)
        levels_db *= np.float32(1.0 / RANGE_DB)
        np.maximum(levels_db, _ZERO, out=levels_db)
        np.minimum(levels_db, _TOP, out=levels_db)
        return levels_db
