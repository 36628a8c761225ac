"""Hindsight: what the networks said of a whole song goes in; its beats, and their places in the bar, come out.

On stage the bar pointer runs forwards only. Here the same model is solved for the whole song (Viterbi), in its
semi-Markov form: only beats are states (frame x tempo), a beat is worth the log-odds of the frames about it, and the
tempo changes from beat to beat; after N. Whiteley, A. T. Cemgil and S. Godsill, "Bayesian modelling of temporal
structure in musical audio" (ISMIR 2006). The metrical level (every beat, every other, ...) is chosen for a window at a
time, so that it holds within a song and may change in a mix; so memory is bounded, too, however long the song.
"""

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vjserver.dsp.beatpath import (
    MUSIC,
    OVERLAP_S,
    SHAPE,
    USUAL_BEATS,
    WINDOW_S,
    Float64,
    Sound,
    harmony,
    peak,
    placed,
)
from vjserver.dsp.levels import HEARD_HALF, HEARD_LEAST, HEARD_OVER, HEARD_SLOPE, chosen, levels
from vjserver.dsp.network import BEAT_DELAY_FRAMES
from vjserver.dsp.options import TempoPrior
from vjserver.dsp.tempo import BarTracker
from vjserver.types.audio import Float32

EARLY_S = 0.001


@dataclass(frozen=True)
class Beats:
    """The beats of a song: ``times_s``, the place of each in its bar (0 is the downbeat) and the bar's length.

    ``confidence`` says how surely each is one, 0..1.
    """

    times_s: Sequence[float] = ()
    positions: Sequence[int] = ()
    per_bar: Sequence[int] = ()
    confidence: Sequence[float] = ()


class Frames:
    """What the networks say of each frame, and the pitch classes that are heard, as they come."""

    def __init__(self) -> None:
        self._t, self._beat, self._downbeat = array("d"), array("f"), array("f")
        self._tones_t, self._tones = array("d"), bytearray()

    def add(self, t_ns: int, beat: float, downbeat: float) -> None:
        """Take how surely the frame that ended at ``t_ns`` is a beat and a downbeat."""
        self._t.append(t_ns * 1e-9)
        self._beat.append(beat)
        self._downbeat.append(downbeat)

    def hear(self, t_ns: int, tones: Float32) -> None:
        """Take the pitch classes of the spectrum that ended at ``t_ns``, float32 ``(12,)``."""
        self._tones_t.append(t_ns * 1e-9)
        self._tones += tones.astype(np.float16).tobytes()

    @property
    def sound(self) -> "Sound":
        """All of it, as arrays."""
        tones = np.frombuffer(bytes(self._tones), np.float16).reshape(-1, 12)
        return Sound(np.array(self._t), np.array(self._beat), np.array(self._downbeat), np.array(self._tones_t), tones)


def find_beats(frames: Frames, prior: TempoPrior) -> Beats:
    """Return the beats of a song; none where nothing in it sounds like any."""
    sound = frames.sound
    if len(sound.t) < 4 * max(BEAT_DELAY_FRAMES, len(SHAPE)):
        return Beats()
    times, level = _joined(sound, prior)
    heard = np.flatnonzero(level >= HEARD_LEAST)
    if len(heard):  # before the first beat that is heard and after the last, beats go on evenly
        times, level = times[heard[0] : heard[-1] + 1], level[heard[0] : heard[-1] + 1]
    if len(times) < 4:
        return Beats()
    at = (times - sound.t[0]) * sound.rate_hz + BEAT_DELAY_FRAMES
    change = harmony(sound, times)
    positions, per_bar = _bars(peak(sound.downbeat, at, 3), change)
    sure = _confidence(level)
    if float(sure.max()) < MUSIC:
        return Beats()
    return _whole(times - EARLY_S, positions, per_bar, sure, float(sound.t[-1]))


def _joined(sound: Sound, prior: TempoPrior) -> tuple[Float64, Float64]:
    """Return the beats (s) of all windows, joined amid each overlap, and how sure the networks were of each."""
    windows = list(_windows(float(sound.t[0]), float(sound.t[-1])))
    choices = [levels(sound.cut(begin, end), prior) for begin, end in windows]
    times, heights = np.zeros(0), np.zeros(0)
    for (begin, _), choice in zip(windows, chosen(windows, choices), strict=True):
        if choice is None:
            continue
        seam = begin + OVERLAP_S / 2 if begin > windows[0][0] else -math.inf
        old, new = times < seam, choice.times >= seam
        if old.any() and new.any():
            first = int(np.flatnonzero(new)[0])
            if choice.times[first] - times[old][-1] < 0.5 * choice.period_s:
                new[first] = False  # one beat, told twice
        times = np.concatenate((times[old], choice.times[new]))
        heights = np.concatenate((heights[old], choice.level[new]))
    return times, heights


def _windows(begin_s: float, end_s: float) -> Iterator[tuple[float, float]]:
    while end_s - begin_s > 1.5 * WINDOW_S:
        yield begin_s, begin_s + WINDOW_S
        begin_s += WINDOW_S - OVERLAP_S
    yield begin_s, end_s + 1.0


def _bars(downbeat: Float64, change: Float64) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the likeliest place of each beat in its bar, and the bar's length; that may change within a mix."""
    places, metres, _ = placed(downbeat, change, BarTracker.METRES)
    return places, metres


def _usual_gap(times: Float64) -> float:
    """Return the gap of beats that are rather even: the median over half as many beats as there are."""
    half = max(1, len(times) // 2)
    return float(np.median(times[half:] - times[:-half])) / half


# -- the whole -------------------------------------------------------------------------------------------------


def _confidence(level: Float64) -> Float64:
    """Return how surely each beat is one, 0..1: by what the networks said of it and its neighbours."""
    count = min(HEARD_OVER, len(level))
    ones = np.ones(count)
    mean = np.convolve(level, ones, "same") / np.convolve(np.ones(len(level)), ones, "same")
    return np.asarray(1.0 / (1.0 + np.exp(-HEARD_SLOPE * (mean - HEARD_HALF))))


def _whole(
    times: Float64, positions: NDArray[np.intp], per_bar: NDArray[np.intp], sure: Float64, end_s: float
) -> Beats:
    """Return the beats from the song's first moment to its last: before and after what was found they go on evenly."""
    first, last = _usual_gap(times[:USUAL_BEATS]), _usual_gap(times[-USUAL_BEATS:])
    before = max(0, math.floor((times[0] + 0.02) / first))
    after = max(0, math.floor((end_s - times[-1]) / last))
    early = times[0] - first * np.arange(before, 0, -1)
    late = times[-1] + last * np.arange(1, after + 1)
    places = [(int(positions[0]) - k) % int(per_bar[0]) for k in range(before, 0, -1)]
    places += [int(p) for p in positions]
    places += [(int(positions[-1]) + k) % int(per_bar[-1]) for k in range(1, after + 1)]
    lengths = [int(per_bar[0])] * before + [int(m) for m in per_bar] + [int(per_bar[-1])] * after
    shares = [float(sure[0])] * before + [float(s) for s in sure] + [float(sure[-1])] * after
    whole = np.maximum(np.concatenate((early, times, late)), 0.0)
    return Beats(whole.tolist(), places, lengths, shares)
