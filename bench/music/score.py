"""Scores: a plan of bars and sounds goes in; notes in seconds and the exact truth about beats and drums come out.

A plan is data: step patterns as strings, programs, sections, a tempo line. The same :func:`write` turns the written
plans of the test band and the random ones of the training pool into notes, so truth and sound come from one place.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
DRUM_NOTES = {"kick": (35, 36), "snare": (37, 38, 39, 40), "hat": (42, 44, 46)}
LOUDNESS = {".": 0, "g": 38, "x": 92, "X": 118, "o": 92, "O": 112}
_STRUCK = (*DRUM_NOTES["kick"], *DRUM_NOTES["snare"])
GHOST_VELOCITY = 60
_SHORTEST_BREAK_S = 4.0
MODES = {"minor": (0, 2, 3, 5, 7, 8, 10), "major": (0, 2, 4, 5, 7, 9, 11), "dorian": (0, 2, 3, 5, 7, 9, 10)}


@dataclass(frozen=True, slots=True)
class Sounds:
    """General MIDI programs (0-127) and drum kit (bank 128 program), and which drum keys are struck."""

    kit: int = 0
    kick: int = 36
    snare: int = 38
    hat: int = 42
    bass: int = 33
    chords: int = 4
    lead: int = 80
    pad: int = 89


@dataclass(frozen=True, slots=True)
class Plan:
    """A song to be written.

    Patterns have one letter a step, ``division`` steps a beat: ``x`` hit, ``X`` accent, ``g`` ghost, ``o``/``O`` open
    hat, ``.`` nothing; a tuple of bars is cycled. Bass, chords and lead use digits: scale degrees from the chord's
    root, ``-`` holds on. ``sections`` are (bars, parts): ``k`` kick, ``s`` snare, ``h`` hat, ``e`` extra percussion,
    ``b`` bass, ``c`` chords, ``l`` lead, ``p`` pad, ``r`` snare roll, ``f`` a fill in the last bar.
    ``tempo`` are (bar, bpm) points between which the tempo runs straight.
    """

    name: str
    style: str
    bpm: float
    kick: tuple[str, ...] = ()
    snare: tuple[str, ...] = ()
    hat: tuple[str, ...] = ()
    extra: Mapping[int, str] = field(default_factory=dict)
    bass: tuple[str, ...] = ()
    chords: tuple[str, ...] = ()
    lead: tuple[str, ...] = ()
    sections: tuple[tuple[int, str], ...] = ((16, "kshebclp"),)
    beats_per_bar: int = 4
    division: int = 4
    swing: float = 0.5
    human_ms: float = 0.0
    drift: float = 0.0
    tempo: tuple[tuple[float, float], ...] = ()
    key: int = 45
    mode: str = "minor"
    progression: tuple[int, ...] = (0, 5, 3, 4)
    sounds: Sounds = Sounds()


@dataclass(frozen=True, slots=True)
class Note:
    """A note in seconds; ``pitch`` and ``velocity`` are MIDI's."""

    t_s: float
    length_s: float
    pitch: int
    velocity: int


@dataclass(frozen=True, slots=True)
class Score:
    """A written song: notes by part, and the truth. Times are seconds from the song's start.

    ``drops`` are where the kick comes back after four seconds or more.
    """

    plan: Plan
    parts: Mapping[str, list[Note]]
    beats: Float64
    downbeats: Float64
    drumless: tuple[tuple[float, float], ...]
    drops: Float64
    seconds: float

    def hits(self, name: str) -> Float64:
        """Return the times of ``kick``, ``snare`` or ``hat``, sorted, seconds."""
        keys = DRUM_NOTES[name]
        return np.array(sorted({n.t_s for n in self.parts["drums"] if n.pitch in keys}))

    @property
    def ghosts(self) -> Float64:
        """Times of the kicks and snares that are struck so softly that they may go unheard, seconds."""
        struck = [n for n in self.parts["drums"] if n.pitch in _STRUCK]
        loud = {n.t_s for n in struck if n.velocity >= GHOST_VELOCITY}
        return np.array(sorted({n.t_s for n in struck} - loud))

    @property
    def onsets(self) -> Float64:
        """Times of all notes of all parts, merged within 10 ms, seconds."""
        times = np.array(sorted(n.t_s for part in self.parts.values() for n in part))
        return times[np.concatenate(([True], np.diff(times) > 0.010))] if len(times) else times


def write(plan: Plan, seed: int = 0, lead_in_s: float = 0.25) -> Score:
    """Return the score of a plan. The same plan and seed give the same score."""
    return _Writer(plan, np.random.default_rng(seed), lead_in_s).write()


class _Writer:
    def __init__(self, plan: Plan, rng: np.random.Generator, lead_in_s: float) -> None:
        self._plan, self._rng = plan, rng
        self._bars = sum(bars for bars, _ in plan.sections)
        beats = self._bars * plan.beats_per_bar
        self._beats = lead_in_s + np.concatenate(([0.0], np.cumsum(60.0 / self._bpm(beats))))
        self._parts: dict[str, list[Note]] = {"drums": [], "bass": [], "chords": [], "lead": [], "pad": []}

    def _bpm(self, beats: int) -> Float64:
        plan = self._plan
        points = plan.tempo or ((0.0, plan.bpm),)
        bar, bpm = zip(*points, strict=True)
        line = np.interp(np.arange(beats) / plan.beats_per_bar, bar, bpm)
        if plan.drift:  # a human's tempo wanders: a slow, mean-reverting walk
            walk, at = np.zeros(beats), 0.0
            for i in range(beats):
                at = 0.93 * at + self._rng.normal(0.0, plan.drift)
                walk[i] = at
            line = line * (1.0 + walk)
        return np.asarray(line)

    def write(self) -> Score:
        plan, bar, drumless, drops = self._plan, 0, [], []
        kicked_s: float | None = None
        for bars, parts in plan.sections:
            if not set(parts) & set("ksher"):
                drumless.append((self._time(bar * plan.beats_per_bar), self._time((bar + bars) * plan.beats_per_bar)))
            if "k" in parts:
                begin_s = self._time(bar * plan.beats_per_bar)
                if kicked_s is not None and begin_s - kicked_s > _SHORTEST_BREAK_S:
                    drops.append(begin_s)
                kicked_s = self._time((bar + bars) * plan.beats_per_bar)
            for i in range(bars):
                self._bar(bar, parts, last=i == bars - 1)
                bar += 1
        count = self._bars * plan.beats_per_bar
        for part in self._parts.values():
            part.sort(key=lambda n: (n.t_s, n.pitch))
        return Score(
            plan=plan,
            parts=self._parts,
            beats=self._beats[:count],
            downbeats=self._beats[: count : plan.beats_per_bar],
            drumless=tuple(drumless),
            drops=np.array(drops),
            seconds=float(self._beats[-1]) + 0.5,
        )

    def _time(self, beat: float) -> float:
        return float(np.interp(beat, np.arange(len(self._beats)), self._beats))

    def _step(self, bar: int, step: float) -> float:
        """Return the time of a step (with its fraction); the second of each pair comes late with swing."""
        plan = self._plan
        whole = int(step)
        if plan.swing != 0.5 and plan.division == 4:
            pair = step // 2 * 2
            step = (
                pair + (2 * plan.swing if whole % 2 else 0.0) + (step - whole) * (1.0 if whole % 2 else 2 * plan.swing)
            )
        return self._time(bar * plan.beats_per_bar + step / plan.division)

    def _play(self, part: str, bar: int, step: float, length: float, pitch: int, velocity: int) -> None:
        t_s = self._step(bar, step)
        if self._plan.human_ms:
            t_s += float(np.clip(self._rng.normal(0.0, 1.0), -2.5, 2.5)) * self._plan.human_ms * 1e-3
            velocity += int(self._rng.normal(0.0, 7.0))
        end_s = self._step(bar, step + length)
        velocity = int(np.clip(velocity + self._rng.integers(-4, 5), 1, 127))
        self._parts[part].append(Note(max(t_s, 0.01), max(end_s - t_s, 0.03), pitch, velocity))

    def _bar(self, bar: int, parts: str, last: bool) -> None:
        plan, sounds = self._plan, self._plan.sounds
        steps = plan.beats_per_bar * plan.division
        fill = "f" in parts and last
        for letter, lines, key in (("k", plan.kick, sounds.kick), ("s", plan.snare, sounds.snare)):
            if letter in parts and lines and not (fill and letter == "s"):
                self._drum_line(bar, lines[bar % len(lines)], key)
        if "h" in parts and plan.hat:
            self._drum_line(bar, plan.hat[bar % len(plan.hat)], sounds.hat)
        if "e" in parts:
            for key, line in plan.extra.items():
                self._drum_line(bar, line, key)
        if "r" in parts:
            thick = 1 if last else 2
            for step in range(0, steps, thick):
                self._play("drums", bar, step, 1, sounds.snare, 50 + 60 * step // steps)
        if fill:
            for step in range(steps - 2 * plan.division, steps):
                if self._rng.random() < 0.75:
                    key = int(self._rng.choice([sounds.snare, 45, 47, 50, 43]))
                    self._play("drums", bar, step, 1, key, 70 + 4 * (step % 8))
        if parts and bar and last is False and "k" in parts and bar % 8 == 0 and self._rng.random() < 0.6:
            self._play("drums", bar, 0, 4, 49, 90)
        self._tonal(bar, parts)

    def _drum_line(self, bar: int, line: str, key: int) -> None:
        steps = self._plan.beats_per_bar * self._plan.division
        scale = steps / len(line)  # a line may be finer or coarser than the bar's steps
        for i, letter in enumerate(line):
            if letter == ".":
                continue
            pitch = 46 if letter in "oO" and key in (42, 44) else key
            self._play("drums", bar, i * scale, 1, pitch, LOUDNESS[letter])

    def _tonal(self, bar: int, parts: str) -> None:
        plan = self._plan
        root = plan.progression[bar % len(plan.progression)]
        if "b" in parts and plan.bass:
            for step, length, degree in _runs(plan.bass[bar % len(plan.bass)]):
                self._play("bass", bar, step, length * 0.9, self._pitch(root + degree) - 12, 95)
        if "c" in parts and plan.chords:
            for step, length, degree in _runs(plan.chords[bar % len(plan.chords)]):
                for third in (0, 2, 4, 6)[: 3 + (plan.mode == "dorian")]:
                    self._play("chords", bar, step, length * 0.95, self._pitch(root + degree + third) + 12, 78)
        if "l" in parts and plan.lead:
            for step, length, degree in _runs(plan.lead[bar % len(plan.lead)]):
                self._play("lead", bar, step, length * 0.9, self._pitch(root + degree) + 24, 84)
        if "p" in parts:
            steps = plan.beats_per_bar * plan.division
            for third in (0, 2, 4, 7):
                self._play("pad", bar, 0, steps, self._pitch(root + third) + 12, 64)

    def _pitch(self, degree: int) -> int:
        scale = MODES[self._plan.mode]
        return self._plan.key + 12 * (degree // 7) + scale[degree % 7]


def _runs(line: str) -> list[tuple[int, int, int]]:
    """Return (step, length, degree) of a line such as ``"0--.4..."``."""
    runs: list[tuple[int, int, int]] = []
    for step, letter in enumerate(line):
        if letter.isdigit():
            runs.append((step, 1, int(letter)))
        elif letter == "-" and runs and runs[-1][0] + runs[-1][1] == step:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1, runs[-1][2])
    return runs
