"""Loops: a preset, bars and a tempo go in, a clip comes out that goes on where it began.

Whole frames win: a loop is a whole number of them, so its tempo is a hair beside the one that was asked for. What a
preset hears is a plain beat, the same in every turn. The last bar fades over into the bar that was drawn before the
first frame, so that the step over the seam is one like all others, whatever the preset remembers.
"""

import contextlib
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from vjserver.dsp.hindsight import Beats
from vjserver.easing.ease import ease
from vjserver.films.codecs import writer
from vjserver.films.film import Film, Tell
from vjserver.films.segment import Sides
from vjserver.latent.walks import LOOP, STILL, WALK
from vjserver.runtime.files import move_over, remove
from vjserver.show.preset import Preset
from vjserver.show.registry import Registry
from vjserver.show.state import ShowState
from vjserver.stages.deliver.interpolation import blend
from vjserver.stages.offline.hearing import KINDS, NS, STEPS, Happened, Hearing
from vjserver.stages.offline.listening import grids_of
from vjserver.types.errors import ConfigError
from vjserver.types.features import N_SPECTRUM, PITCH_CLASSES, SCALARS
from vjserver.types.frames import Pixels

BEATS_A_BAR, TRIES, GOOD = 4, 4, 1.25
LEAST_LEAD_S = 2.0
ON, OFF = Fraction(0), Fraction(1, 2)
CHORDS = ((0, 4, 7), (9, 0, 4), (5, 9, 0), (7, 11, 2))


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a loop: so many bars in so many frames at ``rate``."""

    bars: int
    frames: int
    rate: Fraction

    @property
    def beats(self) -> int:
        """Its beats."""
        return self.bars * BEATS_A_BAR

    @property
    def seconds(self) -> Fraction:
        """How long it lasts."""
        return self.frames / self.rate

    @property
    def bpm(self) -> float:
        """Its tempo: that of whole frames."""
        return float(60 * self.beats / self.seconds)


def turn_of(bars: int, bpm: float, rate: Fraction) -> Turn:
    """Return the turn of a loop. Raises ConfigError for one of less than two frames a beat, or out of range."""
    if not 1 <= bars <= 256:
        raise ConfigError(f"--bars must be in 1..256: got {bars}")
    if not 20.0 <= bpm <= 400.0:
        raise ConfigError(f"--bpm must be in 20..400: got {bpm:g}")
    frames = math.floor(bars * BEATS_A_BAR * 60 * rate / Fraction(bpm).limit_denominator(10**6))
    if frames < 2 * bars * BEATS_A_BAR:
        raise ConfigError(f"a beat of {bpm:g} bpm has less than two frames at {float(rate):g} a second")
    return Turn(bars, frames, rate)


def pulse(turn: Turn, turns: int) -> Hearing:
    """Return a plain beat, the same in every turn: kicks on the beats, snares on 2 and 4, hats between, four chords."""
    count, period = turns * turn.beats + 1, turn.seconds / turn.beats
    positions = [i % BEATS_A_BAR for i in range(count)]
    beats = [_moment(i * period) / NS for i in range(count)]
    grids = grids_of(Beats(beats, positions, [BEATS_A_BAR] * count, [1.0] * count))
    hits = sorted(
        (_moment((i + late) * period), KINDS.index(kind))
        for i in range(count)
        for kind, late in (("kick", ON), ("onset", ON), ("hat", OFF), *([("snare", ON)] if i % 2 else []))
    )
    happened = Happened(
        np.array([t for t, _ in hits], np.int64), np.array([k for _, k in hits], np.uint8),
        np.ones(len(hits), np.float32),
    )  # fmt: skip
    rows = [_row(i / STEPS, turn) for i in range(math.ceil(turn.seconds * STEPS) + 1)]
    table = np.array(rows, np.float16)
    return Hearing(float(turn.seconds * turns), table, happened, grids, turn=turn.seconds)


def _moment(seconds: Fraction) -> int:
    """Return a time in ns, whole microseconds, that is not after the frame which shows it."""
    return math.floor(seconds * 10**6) * 1000


def _row(t_s: float, turn: Turn) -> list[float]:
    """Return what is heard at a time of a turn: levels that fall from each hit, and a chord a bar."""
    beat = t_s / float(turn.seconds) * turn.beats
    kick, hat = (math.exp(-((beat + late) % 1.0) * 4.0) for late in (0.0, 0.5))
    snare = math.exp(-((beat + 1.0) % 2.0) * 4.0)
    slow = 0.5 - 0.5 * math.cos(2.0 * math.pi * t_s / float(turn.seconds))
    bands = (kick, 0.35 + 0.6 * kick, 0.4, 0.3 + 0.5 * snare, 0.25 + 0.6 * max(hat, snare), 0.7 * hat)
    places = np.linspace(0.0, len(bands) - 1.0, N_SPECTRUM)
    spectrum = np.interp(places, np.arange(len(bands)), bands)
    chord = CHORDS[int(beat // BEATS_A_BAR) % len(CHORDS)]
    scalars = dict.fromkeys(SCALARS, 0.0) | {
        "level": 0.45 + 0.4 * kick, "level_db": -14.0 + 5.0 * kick, "centroid": 0.35 + 0.3 * max(hat, snare),
        "flux": 0.6 * max(kick, snare, hat), "energy": 0.6 + 0.3 * slow, "peak": 0.5 + 0.4 * kick,
    }  # fmt: skip
    return [*scalars.values(), *bands, *spectrum, *(1.0 if i in chord else 0.1 for i in range(len(PITCH_CLASSES)))]


def in_turn(preset: Preset, turn: Turn) -> Preset:
    """Return a preset with those triggers alone that come round twice in a turn: others would be seen at its seam."""
    counts = {"beat": turn.beats, "downbeat": turn.bars, "bar": turn.bars, "kick": turn.beats, "snare": turn.beats // 2,
              "hat": turn.beats, "onset": turn.beats}  # fmt: skip
    kept = tuple(one for one in preset.triggers if one.on in counts and counts[one.on] % (2 * one.every) == 0)
    return preset.model_copy(update={"triggers": kept})


def closed(state: ShowState, turn: Turn, registry: Registry) -> ShowState:
    """Return a state in which what walks through noise goes round once in a turn: then the clip closes by itself."""
    params = dict(state.params)
    for key, value in state.params.items():
        kind, _, name = key.rpartition("/")
        beats = registry.parameters.get(f"{kind}/walk_beats")
        knob = registry.parameters.get(key)
        if kind and name == WALK[0].name and knob is not None and beats is not None and round(knob.raw(value)) != STILL:
            params |= {key: knob.norm(LOOP), f"{kind}/walk_beats": beats.norm(turn.beats)}
    return replace(state, params=params)


@dataclass(frozen=True, kw_only=True)
class LoopFilm(Film):
    """A film that is one turn of a loop."""

    turn: Turn

    @cached_property
    def hearing(self) -> Hearing:
        """The plain beat, long enough for what comes before the first frame."""
        return pulse(self.turn, 3 + math.ceil(self.lead * 2 / self.turn.frames))

    @property
    def fade(self) -> int:
        """Frames over which the end fades into what came before the beginning: a bar."""
        return max(1, self.turn.frames // max(2, self.turn.bars))

    @property
    def lead(self) -> int:
        """Frames that are drawn before the first: what is faded to, and before it what nobody sees."""
        infos = [self.registry.infos.get(self.state.generator)]
        seconds = max([LEAST_LEAD_S, *(info.lead_in_s for info in infos if info is not None)])
        return self.fade + math.ceil(seconds * self.rate)


@dataclass(frozen=True, slots=True)
class Seam:
    """How far the picture changes over the seam, and at most at another bar line, in levels (means of 0..255).

    ``natural`` is what it was over the seam before the last picture was brought nearer to the first.
    """

    step: float
    largest: float
    natural: float

    @property
    def is_good(self) -> bool:
        """Whether little or nothing had to be done for it."""
        return self.natural <= GOOD * self.largest


def make_loop(film: LoopFilm, path: Path, tell: Tell, progress: Callable[[int], None]) -> Seam:
    """Draw a loop and write it, encoded, to ``path``; return how its seam is. Raises GeneratorError, OutputError.

    A seam over which more changes than at any other bar line is tried again at the next bars; the best one stays.
    """
    best: Seam | None = None
    other = path.with_name(f"{path.stem}-2{path.suffix}")
    for bar in range(min(TRIES, film.turn.bars)):
        try:
            seam = _turned(film, bar, path if best is None else other, tell, progress)
            if best is None or seam.natural * best.largest < best.natural * seam.largest:
                if best is not None:
                    remove(path)
                    move_over(other, path)
                best = seam
        finally:
            remove(other)
        if best.is_good:
            break
    assert best is not None
    return best


def _turned(film: LoopFilm, bar: int, path: Path, tell: Tell, progress: Callable[[int], None]) -> Seam:
    """Draw a loop that begins at a bar of its turn."""
    turn = film.turn
    wide, high = film.size
    begin = math.ceil(film.lead / turn.frames) * turn.frames + math.ceil(Fraction(turn.frames * bar, turn.bars))
    begins = [math.ceil(Fraction(turn.frames * (bar + i), turn.bars)) for i in range(turn.bars)]
    lines = {at - begins[0] for at in begins}
    steps: list[float] = []
    with contextlib.ExitStack() as stack:
        sides = stack.enter_context(contextlib.closing(Sides(film, tell)))
        performance = film.performance()
        before = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
        for number in range(begin - film.lead, begin):
            pixels = sides.draw(film.moment(performance, number, 1), performance)
            if number >= begin - film.fade:
                before.write(np.ascontiguousarray(pixels).data)
        out = writer(film.codec, path, film.size, film.rate)
        stack.callback(out.drop)
        before.seek(0)
        first = last = pixels
        for number in range(turn.frames):
            pixels = sides.draw(film.moment(performance, begin + number, 1), performance)
            late = number - (turn.frames - film.fade)
            if late >= 0:
                was = np.frombuffer(before.read(pixels.nbytes), np.uint8).reshape(high, wide, 4)
                pixels = blend(pixels, was, ease((late + 1) / (film.fade + 1), "smooth"))
            first = pixels if number == 0 else first
            if number in lines and number:
                steps.append(apart(last, pixels))
            if number == turn.frames - 1:
                natural = apart(pixels, first)
                pixels = _softened(pixels, first, natural, max(steps, default=natural))
            last = pixels
            out.send(pixels)
            progress(number)
        out.close()
    return Seam(apart(last, first), max(steps, default=natural), natural)


def _softened(last: Pixels, first: Pixels, step: float, most: float) -> Pixels:
    """Return the last picture, a little on its way to the first where the step between them is the largest of all."""
    return blend(last, first, 1.0 - most / step) if step > most > 0.0 else last


def apart(a: Pixels, b: Pixels) -> float:
    """Return how far two pictures are apart, in levels: the mean of all channels."""
    return float(np.mean(np.abs(a.astype(np.int16) - b.astype(np.int16))))
