"""The path of beats through a song that explains its sound best: Viterbi over beats as states."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjserver.dsp.chroma import WINDOW
from vjserver.dsp.network import BEAT_DELAY_FRAMES
from vjserver.dsp.tempo import EVIDENCE, HARMONY, OTHER


def evidence(metre: int) -> float:
    """Return how much, in nats, another metre has to explain better before it is believed."""
    return 2.0 * EVIDENCE[metre] if metre == 2 else EVIDENCE[metre]


# -- beats -----------------------------------------------------------------------------------------------------


def log_odds(beat: NDArray[Any]) -> NDArray[np.float32]:
    """Return for each frame how much a beat there explains the frames about it, in nats."""
    sure = np.clip(np.asarray(beat, float), LEAST, MOST)
    off = (1.0 - sure) * CROSSING / (1.0 - CROSSING)
    result = np.zeros(len(sure))
    for k, share in zip(range(-2, 3), SHAPE, strict=True):
        gain = np.log(share * (sure - off) + off) - np.log(off)
        result[max(0, -k) : len(result) - max(0, k)] += gain[max(0, k) : len(result) - max(0, -k)]
    return result.astype(np.float32)


Float64 = NDArray[np.float64]
SHAPE = (0.12, 0.55, 1.0, 0.55, 0.12)
"""How far the frames about a beat belong to it."""
CROSSING, LEAST, MOST = 0.11, 0.01, 0.98
STIFFNESS, LEAK, SLACK, CUT, CUT_S = 400.0, -80.0, 3.0, -100.0, 0.25
"""In nats: a change of tempo (times its ratio), any change, a frame off the period, and a cut (and its shortest)."""
NEAR_TEMPO = 1.25
WINDOW_S, OVERLAP_S = 50.0, 12.0
SWITCH = 3.0
"""How much better another level must explain a window than the one that goes on with the window before."""
SLIP, NEW_METRE = 1e-4, 1e-6
SPAN_BEATS, USUAL_BEATS = 2, 33
REFINED_OVER = 4
MUSIC = 0.5
"""From which confidence on the beats of a song are believed."""


@dataclass(frozen=True)
class Sound:
    """What the networks say of a stretch of sound: times in seconds, and a row each."""

    t: Float64
    beat: NDArray[np.float32]
    downbeat: NDArray[np.float32]
    tones_t: Float64
    tones: NDArray[np.float16]

    def cut(self, begin_s: float, end_s: float) -> "Sound":
        """Return what lies between two times."""
        a, b = np.searchsorted(self.t, (begin_s, end_s))
        c, d = np.searchsorted(self.tones_t, (begin_s, end_s))
        return Sound(self.t[a:b], self.beat[a:b], self.downbeat[a:b], self.tones_t[c:d], self.tones[c:d])

    @property
    def rate_hz(self) -> float:
        """Rows a second."""
        return (len(self.t) - 1) / float(self.t[-1] - self.t[0])

    def times(self, frames: Float64) -> Float64:
        """Return when the beats at such frames sounded: the networks tell of them some frames later."""
        return np.asarray(self.t[0] + (frames - BEAT_DELAY_FRAMES) / self.rate_hz)


def decode(
    odds: NDArray[np.float32], rate_hz: float, low: float, high: float, hint: float, octaves: float
) -> tuple[Float64, Float64]:
    """Return the likeliest row of beats (frames), tempi being ``low`` to ``high`` bpm, and the periods before them."""
    count = math.ceil(math.log(high / low) / TEMPO_STEP) + 1
    periods = 60.0 * rate_hz / np.geomspace(high, low, count)
    wish = -0.5 * (np.log2(60.0 * rate_hz / periods / hint) / octaves) ** 2
    wish = (wish - np.log(np.exp(wish).sum()) - np.log(periods)).astype(np.float32)
    frames, whole = len(odds), np.round(periods).astype(int)
    jump = np.exp(-STIFFNESS * np.abs(periods / periods[:, None] - 1.0))
    jump = np.logaddexp(np.log(jump / jump.sum(1, keepdims=True) + 1e-300), LEAK).T.astype(np.float32).copy()
    ring, tempi, early = int(whole.max()) + 3, np.arange(count), np.array((0, -1, 1))
    where = np.stack([((r - whole - early[:, None]) % ring) * count + tempi for r in range(ring)])
    slack = (-SLACK * np.abs(early[:, None] + whole - periods)).astype(np.float32)
    reach = np.tile(wish, (ring, 1))  # how well a beat of a tempo is reached from one at a frame, in a ring of frames
    flat = reach.ravel()
    came, step = np.zeros((frames, count), np.uint8), np.zeros((frames, count), np.int8)
    ends = np.full((ring, count), -1e9, np.float32)
    top, top_at = np.full(frames, -1e9, np.float32), np.zeros(frames, np.uint8)
    cut_at = np.zeros(frames, np.int32)
    near, work = int(CUT_S * rate_hz), np.empty((count, count), np.float32)
    for t in range(frames):
        row = t % ring
        found = flat[where[row]]
        found += slack
        way = found.argmax(0)
        best, how = found[way, tempi], early[way]
        if t > near:  # after a cut any beat some time ago may go on in any tempo
            since = max(0, t - ring + 3)
            last = since + int(top[since : t - near + 1].argmax())
            fresh = wish + (top[last] + CUT)
            if (better := fresh > best).any():
                best, how = np.where(better, fresh, best), np.where(better, _CUT, how)
                cut_at[t] = last
        best = best + odds[t]
        step[t], ends[row] = how, best
        place = int(best.argmax())
        top[t], top_at[t] = best[place], place
        np.add(jump, best, out=work)
        came[t] = previous = work.argmax(1)
        reach[row] = work[tempi, previous]
    _, t, p = max(
        (float(ends[t % ring, p]), t, p) for p in range(count) for t in range(max(0, frames - whole[p]), frames)
    )
    beats, before = [], []
    while t >= 0:
        beats.append(t)
        before.append(periods[p])
        if step[t, p] == _CUT:
            t, p = int(cut_at[t]), int(top_at[cut_at[t]])
            continue
        t -= int(whole[p]) + int(step[t, p])
        if t >= 0:
            p = int(came[t, p])
    return np.array(beats[::-1], float), np.array(before[::-1])


_CUT = 9


def refined(beat: NDArray[Any], at: Float64) -> Float64:
    """Return beats between the frames: where the networks' surety is centred, and on a line with their neighbours."""
    middle = np.clip(at.astype(int), 2, len(beat) - 3)
    offsets = np.arange(-2, 3)
    sure = np.asarray(beat, float)[middle[:, None] + offsets] ** 2 + 1e-6
    raw, weight = middle + (sure * offsets).sum(1) / sure.sum(1), sure.sum(1) + 1e-3
    raw = np.where(np.abs(raw - at) < 3, raw, at)
    result = raw.copy()
    for j in range(len(at)):
        low, high = max(0, j - REFINED_OVER), min(len(at), j + REFINED_OVER + 1)
        x, gaps = np.arange(low, high) - j, np.diff(at[low:high])
        keep = _one_run(gaps, j - low)
        if keep.sum() < 3:
            continue
        w = weight[low:high] * keep * (1.0 - (x / (REFINED_OVER + 1.0)) ** 2)
        s0, s1, s2 = w.sum(), (w * x).sum(), (w * x * x).sum()
        determinant = s0 * s2 - s1 * s1
        if determinant > 1e-9 * s0 * s0:
            y = raw[low:high]
            result[j] = (s2 * (w * y).sum() - s1 * (w * x * y).sum()) / determinant
    return result


def _one_run(gaps: Float64, here: int) -> NDArray[np.bool_]:
    """Tell which neighbours are in one run of even beats with the one that is ``here``."""
    keep = np.ones(len(gaps) + 1, bool)
    even = np.abs(gaps / np.median(gaps) - 1.0) <= 0.08 if len(gaps) else np.zeros(0, bool)
    for i in range(here, len(gaps)):
        if not even[i]:
            keep[i + 1 :] = False
            break
    for i in range(here - 1, -1, -1):
        if not even[i]:
            keep[: i + 1] = False
            break
    return keep


def peak(row: NDArray[Any], at: Float64, width: int) -> Float64:
    """Return the highest value within ``width`` frames of each place."""
    places = np.clip(np.round(at).astype(int), width, len(row) - width - 1)
    return np.asarray(np.max([row[places + k] for k in range(-width, width + 1)], axis=0), float)


# -- bars ------------------------------------------------------------------------------------------------------


def harmony(sound: Sound, times: Float64) -> Float64:
    """Return how much the harmony changes on each beat, 0..3, where 1 is usual."""
    if len(times) < 3 or not len(sound.tones_t):
        return np.ones(len(times))
    sums = np.vstack([np.zeros(12), np.cumsum(sound.tones, axis=0, dtype=float)])
    gap = np.gradient(times)

    def mean(begin: Float64, end: Float64) -> tuple[Float64, NDArray[np.bool_]]:
        i, j = np.searchsorted(sound.tones_t, begin, "right"), np.searchsorted(sound.tones_t, end, "right")
        return (sums[j] - sums[i]) / np.maximum(j - i, 1)[:, None], j > i

    after, told = mean(times + LAG_S, times + LAG_S + SPAN_BEATS * gap)
    before, told_before = mean(times + LAG_S - SPAN_BEATS * gap, times)
    told = told & told_before
    change = np.linalg.norm(after - before, axis=1) * told
    count = min(USUAL_BEATS, len(times)) | 1
    ones = np.ones(count)
    heard = np.convolve(np.pad(told.astype(float), count // 2), ones, "valid")
    usual = np.convolve(np.pad(change, count // 2), ones, "valid") / np.maximum(heard, 1.0)
    return np.where(told, np.minimum(change / np.maximum(usual[: len(times)], 0.05), 3.0), 1.0)


def _of_ones(downbeat: Float64, change: Float64) -> tuple[Float64, Float64]:
    """Return the log-likelihood of each beat as a downbeat, and as any other."""
    sure = np.clip(downbeat, 0.02, 0.95)
    odds = sure / (1.0 - sure) * np.exp(HARMONY * (change - 1.0))
    sure = np.clip(odds / (1.0 + odds), 0.02, 0.95)
    return np.log(sure), np.log((1.0 - sure) * OTHER)


def one_metre(downbeat: Float64, change: Float64, metre: int) -> tuple[NDArray[np.intp], float]:
    """Return the likeliest place of each beat in bars of ``metre``, and the log-likelihood a beat."""
    places, _, score = placed(downbeat, change, (metre,))
    return places, score


LAG_S = 0.6 * WINDOW / 44100
"""So long after a change the spectrum shows more of what is new than of what was."""
TEMPO_STEP = 0.015
"""The logarithmic step from one tempo to the next."""


def placed(
    downbeat: Float64, change: Float64, metres: Sequence[int]
) -> tuple[NDArray[np.intp], NDArray[np.intp], float]:
    """Return places, bars' lengths and the log-likelihood a beat, by Viterbi over (length, place)."""
    one, other = _of_ones(downbeat, change)
    lengths = np.repeat(metres, metres)
    places = np.concatenate([np.arange(metre) for metre in metres])
    first = np.flatnonzero(places == 0)
    before = np.concatenate([first[i] + (np.arange(metre) - 1) % metre for i, metre in enumerate(metres)])
    bias = np.array([-evidence(metre) if len(metres) > 1 else 0.0 for metre in lengths])
    starts = places == 0
    score = -np.log(lengths.astype(float)) - math.log(len(metres))
    back = np.zeros((len(one), len(places)), np.intp)
    stay, slip = math.log(1.0 - SLIP), np.log(SLIP / lengths)
    anew = math.log(NEW_METRE) - np.log(lengths)
    for i in range(len(one)):
        if i:
            best = [int(f + score[f : f + metre].argmax()) for f, metre in zip(first, metres, strict=True)]
            own = np.array([best[k] for k, metre in enumerate(metres) for _ in range(metre)])
            likeliest = int(score.argmax())
            ways = np.stack((score[before] + stay, score[own] + slip, np.full(len(places), score[likeliest]) + anew))
            way = ways.argmax(axis=0)
            back[i] = np.choose(way, (before, own, np.full(len(places), likeliest)))
            score = ways.max(axis=0)
        score = score + np.where(starts, one[i], other[i]) + bias
    state = int(score.argmax())
    likelihood = float(score[state]) / max(len(one), 1)
    path = np.zeros(len(one), np.intp)
    for i in range(len(one) - 1, -1, -1):
        path[i] = state
        state = int(back[i, state])
    return places[path], lengths[path], likelihood
