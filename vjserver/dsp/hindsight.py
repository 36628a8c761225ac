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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjserver.dsp.chroma import WINDOW
from vjserver.dsp.network import BEAT_DELAY_FRAMES
from vjserver.dsp.options import TempoPrior
from vjserver.dsp.tempo import EVIDENCE, HARMONY, OTHER, BarTracker
from vjserver.types.audio import Float32

Float64 = NDArray[np.float64]
LAG_S = 0.6 * WINDOW / 44100
"""So long after a change the spectrum shows more of what is new than of what was."""
TEMPO_STEP = 0.015
"""The logarithmic step from one tempo to the next."""
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
EARLY_S = 0.001
LEVEL_WEIGHTS = np.array([5.6, -3.0, -2.2, -5.2, -5.2, 1.5, 0.4, -0.2, -4.7, 4.4])
"""Fitted by a logistic choice on songs that no score is told of: see :func:`_level_row` for what they weigh."""
HEARD_OVER, HEARD_HALF, HEARD_SLOPE = 16, 0.25, 14.0
HEARD_LEAST = 0.2
"""So surely the first and the last beat are heard; what lies before and after goes on evenly."""
MUSIC = 0.5
"""From which confidence on the beats of a song are believed."""


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
    def sound(self) -> "_Sound":
        """All of it, as arrays."""
        tones = np.frombuffer(bytes(self._tones), np.float16).reshape(-1, 12)
        return _Sound(np.array(self._t), np.array(self._beat), np.array(self._downbeat), np.array(self._tones_t), tones)


@dataclass(frozen=True)
class _Sound:
    t: Float64
    beat: NDArray[np.float32]
    downbeat: NDArray[np.float32]
    tones_t: Float64
    tones: NDArray[np.float16]

    def cut(self, begin_s: float, end_s: float) -> "_Sound":
        a, b = np.searchsorted(self.t, (begin_s, end_s))
        c, d = np.searchsorted(self.tones_t, (begin_s, end_s))
        return _Sound(self.t[a:b], self.beat[a:b], self.downbeat[a:b], self.tones_t[c:d], self.tones[c:d])

    @property
    def rate_hz(self) -> float:
        return (len(self.t) - 1) / float(self.t[-1] - self.t[0])

    def times(self, frames: Float64) -> Float64:
        """Return when the beats at such frames sounded: the networks tell of them some frames later."""
        return np.asarray(self.t[0] + (frames - BEAT_DELAY_FRAMES) / self.rate_hz)


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
    change = _harmony(sound, times)
    positions, per_bar = _bars(_peak(sound.downbeat, at, 3), change)
    sure = _confidence(level)
    if float(sure.max()) < MUSIC:
        return Beats()
    return _whole(times - EARLY_S, positions, per_bar, sure, float(sound.t[-1]))


def _joined(sound: _Sound, prior: TempoPrior) -> tuple[Float64, Float64]:
    """Return the beats (s) of all windows, joined amid each overlap, and how sure the networks were of each."""
    windows = list(_windows(float(sound.t[0]), float(sound.t[-1])))
    choices = [_levels(sound.cut(begin, end), prior) for begin, end in windows]
    times, levels = np.zeros(0), np.zeros(0)
    for (begin, _), choice in zip(windows, _chosen(windows, choices), strict=True):
        if choice is None:
            continue
        seam = begin + OVERLAP_S / 2 if begin > windows[0][0] else -math.inf
        old, new = times < seam, choice.times >= seam
        if old.any() and new.any():
            first = int(np.flatnonzero(new)[0])
            if choice.times[first] - times[old][-1] < 0.5 * choice.period_s:
                new[first] = False  # one beat, told twice
        times = np.concatenate((times[old], choice.times[new]))
        levels = np.concatenate((levels[old], choice.level[new]))
    return times, levels


def _windows(begin_s: float, end_s: float) -> Iterator[tuple[float, float]]:
    while end_s - begin_s > 1.5 * WINDOW_S:
        yield begin_s, begin_s + WINDOW_S
        begin_s += WINDOW_S - OVERLAP_S
    yield begin_s, end_s + 1.0


@dataclass(frozen=True)
class _Level:
    """A metrical level at which a window can be heard: beats (s), how sure the networks were, and how good it is."""

    times: Float64
    level: Float64
    period_s: float
    score: float


def _chosen(windows: Sequence[tuple[float, float]], choices: Sequence[list[_Level]]) -> list[_Level | None]:
    """Return one level for each window: those that explain all windows best, where a change must be worth it."""
    result: list[_Level | None] = [None] * len(choices)
    best: list[NDArray[Any]] = []
    back: list[NDArray[Any]] = []
    for i, levels in enumerate(choices):
        scores = np.array([level.score for level in levels])
        if i and len(levels) and len(best[-1]):
            begin, end = windows[i][0], windows[i][0] + OVERLAP_S
            costs = np.array([[0.0 if _agree(a, b, begin, end) else SWITCH for a in choices[i - 1]] for b in levels])
            ways = best[-1][None, :] - costs
            back.append(ways.argmax(axis=1))
            best.append(scores + ways.max(axis=1))
        else:
            back.append(np.zeros(len(levels), int))
            best.append(scores)
    place = -1
    for i in range(len(choices) - 1, -1, -1):
        if not choices[i]:
            place = -1
            continue
        place = int(best[i].argmax()) if place < 0 else place
        result[i] = choices[i][place]
        place = int(back[i][place]) if i and choices[i - 1] else -1
    return result


def _agree(a: _Level, b: _Level, begin_s: float, end_s: float) -> bool:
    """Tell whether two levels have the same beats from one time to another."""
    one = a.times[(a.times >= begin_s) & (a.times < end_s)]
    two = b.times[(b.times >= begin_s) & (b.times < end_s)]
    if not len(one) or not len(two) or abs(len(one) - len(two)) > 2 + 0.1 * len(one):
        return False
    near = np.abs(one[:, None] - two[None, :]).min(axis=1)
    return float(np.mean(near < 0.15 * a.period_s)) > 0.7


def _levels(sound: _Sound, prior: TempoPrior) -> list[_Level]:
    """Return the levels at which a window can be heard, from its likeliest row of beats."""
    if len(sound.t) < 4 * len(SHAPE):
        return []
    rate, odds = sound.rate_hz, _log_odds(sound.beat)
    low, high = prior.min_bpm * 0.92, prior.max_bpm * 1.04
    at, periods = _decode(odds, rate, low, high, prior.hint_bpm, prior.hint_octaves)
    if not len(at):
        return []
    octaves = np.log2(periods)
    usual = periods[int(np.argmax([periods[np.abs(octaves - one) < 0.15].sum() for one in octaves]))]
    main = 60.0 * rate / float(usual)
    first, _ = _decode(odds, rate, main / NEAR_TEMPO, main * NEAR_TEMPO, main, 0.7)
    if len(first) < 4:
        return []
    gap = np.diff(first)
    halves = np.sort(np.concatenate((first, first[:-1] + gap / 2)))
    thirds = np.sort(np.concatenate((first, first[:-1] + gap / 3, first[:-1] + 2 * gap / 3)))
    rows = [(1.0, first), (1.0, first[:-1] + gap / 2), (2.0, halves), (3.0, thirds)]
    rows += [(1 / k, first[i::k]) for k in (2, 3) for i in range(k)]
    found = []
    for times, row in rows:
        if not prior.min_bpm * 0.885 < main * times < prior.max_bpm * 1.03 or len(row) < 4:
            continue
        score, level = _score(sound, row, prior)
        refined = sound.times(_refined(sound.beat, row))
        found.append(_Level(refined, level, float(np.median(np.diff(row))) / rate, score))
    return found


def _score(sound: _Sound, at: Float64, prior: TempoPrior) -> tuple[float, Float64]:
    """Return how well beats at such frames explain a window, and how sure the networks were of each."""
    gap, level = np.diff(at), _peak(sound.beat, at, 2)
    mean = max(float(level.mean()), 1e-3)

    def between(share: float) -> float:
        return float(_peak(sound.beat, at[:-1] + share * gap, 2).mean()) / mean

    change = _harmony(sound, sound.times(at))
    told = {metre: _one_metre(_peak(sound.downbeat, at, 3), change, metre) for metre in BarTracker.METRES}
    metre = max(told, key=lambda one: told[one][1] - _evidence(one))
    one = told[metre][0] == 0
    two, three = sorted(level[i::2].mean() for i in range(2)), sorted(level[i::3].mean() for i in range(3))
    octaves = math.log2(60.0 * sound.rate_hz / float(np.median(gap)) / prior.hint_bpm)
    row = (
        told[metre][1] - _evidence(metre),                  # how well bars explain the downbeats
        min(1.0, between(1 / 2)),                           # what lies between the beats, in halves
        min(1.0, (between(1 / 3) + between(2 / 3)) / 2),    # and in thirds
        1.0 - two[0] / max(two[1], 1e-3),                   # how much weaker every other beat is
        1.0 - (three[0] + three[1]) / 2 / max(three[2], 1e-3),
        -0.5 * (octaves / prior.hint_octaves) ** 2,         # how usual the tempo is
        math.log(mean),
        metre == 2,
        metre == 3,
        float(change[one].mean() - change[~one].mean()) if one.any() and not one.all() else 0.0,
    )  # fmt: skip
    return float(LEVEL_WEIGHTS @ np.array(row, float)), level


def _evidence(metre: int) -> float:
    return 2.0 * EVIDENCE[metre] if metre == 2 else EVIDENCE[metre]


# -- beats -----------------------------------------------------------------------------------------------------


def _log_odds(beat: NDArray[Any]) -> NDArray[np.float32]:
    """Return for each frame how much a beat there explains the frames about it, in nats."""
    sure = np.clip(np.asarray(beat, float), LEAST, MOST)
    off = (1.0 - sure) * CROSSING / (1.0 - CROSSING)
    result = np.zeros(len(sure))
    for k, share in zip(range(-2, 3), SHAPE, strict=True):
        gain = np.log(share * (sure - off) + off) - np.log(off)
        result[max(0, -k) : len(result) - max(0, k)] += gain[max(0, k) : len(result) - max(0, -k)]
    return result.astype(np.float32)


def _decode(
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


def _refined(beat: NDArray[Any], at: Float64) -> Float64:
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


def _peak(row: NDArray[Any], at: Float64, width: int) -> Float64:
    """Return the highest value within ``width`` frames of each place."""
    places = np.clip(np.round(at).astype(int), width, len(row) - width - 1)
    return np.asarray(np.max([row[places + k] for k in range(-width, width + 1)], axis=0), float)


# -- bars ------------------------------------------------------------------------------------------------------


def _harmony(sound: _Sound, times: Float64) -> Float64:
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


def _one_metre(downbeat: Float64, change: Float64, metre: int) -> tuple[NDArray[np.intp], float]:
    """Return the likeliest place of each beat in bars of ``metre``, and the log-likelihood a beat."""
    places, _, score = _placed(downbeat, change, (metre,))
    return places, score


def _bars(downbeat: Float64, change: Float64) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the likeliest place of each beat in its bar, and the bar's length; that may change within a mix."""
    places, metres, _ = _placed(downbeat, change, BarTracker.METRES)
    return places, metres


def _placed(
    downbeat: Float64, change: Float64, metres: Sequence[int]
) -> tuple[NDArray[np.intp], NDArray[np.intp], float]:
    """Return places, bars' lengths and the log-likelihood a beat, by Viterbi over (length, place)."""
    one, other = _of_ones(downbeat, change)
    lengths = np.repeat(metres, metres)
    places = np.concatenate([np.arange(metre) for metre in metres])
    first = np.flatnonzero(places == 0)
    before = np.concatenate([first[i] + (np.arange(metre) - 1) % metre for i, metre in enumerate(metres)])
    bias = np.array([-_evidence(metre) if len(metres) > 1 else 0.0 for metre in lengths])
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
