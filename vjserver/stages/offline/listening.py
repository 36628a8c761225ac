"""A whole song is heard: its samples go in, a hearing comes out."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjserver.dsp.hindsight import Beats, Frames, find_beats
from vjserver.dsp.options import EarOptions
from vjserver.dsp.structure import bar_rows, parts_of
from vjserver.easing.smoothing import smoothing
from vjserver.stages.ear.analysis import Analysis
from vjserver.stages.offline.hearing import (
    AT,
    COLUMNS,
    KINDS,
    N_BANDS,
    N_SCALARS,
    NS,
    STEP_NS,
    STEPS,
    EarMode,
    Grids,
    Happened,
    Hearing,
    Table,
    nothing,
)
from vjserver.types.audio import AudioBlock, Float32
from vjserver.types.errors import ConfigError
from vjserver.types.events import Drum, Onset, Section
from vjserver.types.features import N_SPECTRUM, BeatGrid


class Listener:
    """Hears a song block by block. ``rows`` takes the bytes of the table as they come."""

    def __init__(self, rate_hz: int, ear: EarOptions, mode: EarMode, rows: Callable[[bytes], object]) -> None:
        self._rate_hz, self._ear, self._mode, self._rows = rate_hz, ear, mode, rows
        self._analysis = Analysis(rate_hz, ear)
        self._frames = Frames()
        if mode == "hindsight":
            self._analysis.leave_for_later(self._frames)
        self._rest: list[Float32] = []
        self._waiting = 0
        self.samples = self._steps = 0
        self._events: list[tuple[int, int, float]] = []
        self._grids: list[tuple[int, BeatGrid]] = []
        self._levels: list[float] = []

    def hear(self, samples: Float32) -> None:
        """Take the next samples, float32 ``(n, channels)``."""
        self._rest.append(samples)
        self._waiting += len(samples)
        sound: Float32 | None = None
        at = 0
        while True:
            end = (self._steps + 1) * self._rate_hz // STEPS
            wanted = end - self.samples
            if self._waiting - at < wanted:
                break
            if sound is None:
                sound = self._rest[0] if len(self._rest) == 1 else np.concatenate(self._rest)
            self._step(sound[at : at + wanted])
            at += wanted
        if sound is not None:
            self._rest = [sound[at:]]
            self._waiting -= at

    def _step(self, samples: Float32) -> None:
        self.samples += len(samples)
        self._steps += 1
        t_ns = self.samples * NS // self._rate_hz
        analysis = self._analysis
        for event in (*analysis.hear(AudioBlock(samples, self._rate_hz, t_ns)), *analysis.advance(t_ns)):
            if isinstance(event, Drum):
                self._events.append((event.t_ns, KINDS.index(event.name), event.strength))
            elif isinstance(event, Onset):
                self._events.append((event.t_ns, KINDS.index("onset"), event.strength))
            elif isinstance(event, Section):
                self._events.append((event.t_ns, KINDS.index(event.name), 1.0))
        if self._mode == "live":
            grid = analysis.clock.grid
            if not self._grids or self._grids[-1][1] is not grid:
                self._grids.append((t_ns, grid))
        features = analysis.features
        self._levels.append(float(features.scalars[AT["level_db"]]))
        row = np.concatenate((features.scalars, features.bands, features.spectrum, features.chroma))
        self._rows(row.astype(np.float16).tobytes())

    def end(self, beats: "Beats | None" = None) -> tuple[Happened, Grids, float]:
        """Hear the rest; return what happened, where the beats lie, and the seconds of it all.

        ``beats`` overrule what is heard.
        """
        rest = sum(map(len, self._rest))
        seconds = (self.samples + rest) / self._rate_hz
        missing = (self._steps + 1) * self._rate_hz // STEPS - self.samples - rest
        if rest:
            channels = self._rest[0].shape[1:]
            self.hear(np.zeros((missing, *channels), np.float32))
        rows = sorted(self._events)
        happened = Happened(
            np.array([r[0] for r in rows], np.int64),
            np.array([r[1] for r in rows], np.uint8),
            np.array([r[2] for r in rows], np.float32),
        )
        if self._mode == "live":
            told = Grids(tuple(t for t, _ in self._grids), tuple(g for _, g in self._grids))
            return happened, told if beats is None else grids_of(beats), seconds
        if beats is None:
            beats = find_beats(self._frames, self._ear.tempo)
        return self._in_hindsight(happened, beats), grids_of(beats), seconds

    def _in_hindsight(self, happened: Happened, beats: Beats) -> Happened:
        """Put drops on the downbeat that they belong to, and hits where they sound, which is before the ear tells."""
        happened = without_false_drops(happened)
        t_ns = happened.t_ns.copy()
        ones = np.round(np.asarray(beats.times_s)[np.asarray(beats.positions, int) == 0] * NS).astype(np.int64)
        for i, kind in enumerate(happened.kind):
            if kind == KINDS.index("drop") and len(ones):
                nearest = int(ones[np.argmin(np.abs(ones - t_ns[i]))])
                if abs(nearest - int(t_ns[i])) < NS:
                    t_ns[i] = nearest
            elif kind < KINDS.index("break"):
                t_ns[i] = max(0, int(t_ns[i]) - LATE_NS[KINDS[kind]])
        order = np.argsort(t_ns, kind="stable")
        return Happened(t_ns[order], happened.kind[order], happened.strength[order])


FALSE_DROP_NS = 4 * NS


def without_false_drops(happened: Happened) -> Happened:
    """Return what happened without the drops that were none: no groove came, the break went on.

    Such a drop has fewer than two kicks before the next break, which begins within seconds. The drop is then where the
    groove does come.
    """
    kinds = [KINDS[kind] for kind in happened.kind]
    sections = [i for i, kind in enumerate(kinds) if kind in ("break", "groove", "drop")]
    dropped: set[int] = set()
    for i, j in pairwise(sections):
        length_ns = int(happened.t_ns[j] - happened.t_ns[i])
        if kinds[i] == "drop" and kinds[j] == "break" and length_ns < FALSE_DROP_NS and kinds[i:j].count("kick") < 2:
            dropped |= {i, j}
            following = next((k for k in sections if k > j), None)
            if following is not None and kinds[following] == "groove":
                kinds[following] = "drop"
    if not dropped:
        return happened
    kept = [i for i in range(len(kinds)) if i not in dropped]
    numbers = np.array([KINDS.index(kinds[i]) for i in kept], np.uint8)
    return Happened(happened.t_ns[kept], numbers, happened.strength[kept])


LATE_NS = {"kick": 10_700_000, "snare": 8_600_000, "hat": 6_300_000, "onset": 5_900_000}
"""How long after a hit the ear says so: medians over eight songs of the test band (four in five within 3 ms of it)."""


def grids_of(beats: Beats) -> Grids:
    """Return the grid on each beat: from its time on it holds, up to the next."""
    times, positions = beats.times_s, beats.positions
    rows = []
    for i, t_s in enumerate(times):
        period_s = times[i + 1] - t_s if i + 1 < len(times) else (t_s - times[i - 1] if i else 0.5)
        t_ns = round(t_s * NS)
        sure = beats.confidence[i]
        rows.append(BeatGrid(t_ns, i, float(period_s), int(positions[i]), int(beats.per_bar[i]), sure, True))
    return Grids(tuple(row.t_ns for row in rows), tuple(rows))


def whole_song(hearing: Hearing, table: Table) -> Hearing:
    """Return a hearing whose slow features know the whole song: energy, build-ups, and the song's parts."""
    energy = song_energy(table[:, AT["level_db"]])
    table[:, AT["energy"]] = energy
    _mark_breaks(table, hearing.happened)
    beats = hearing.beats
    if not beats:
        return hearing
    ones = [g.t_ns / NS for g in beats if g.bar_position == 0 and 0 <= g.t_ns / NS < hearing.seconds]
    bars = [0.0, *(t for t in ones if t > 0.25), hearing.seconds]
    spectrum = N_SCALARS + N_BANDS
    rows = bar_rows(table[:, N_SCALARS : spectrum + N_SPECTRUM], table[:, spectrum + N_SPECTRUM :], bars, STEPS)
    return replace(hearing, parts=parts_of(rows, bars, [_mean(energy, a, b) for a, b in pairwise(bars)]))


def _mark_breaks(table: Table, happened: Happened) -> None:
    """Let the table tell of breaks what the events tell."""
    row, inside = 0, False
    for t_ns, kind in zip(happened.t_ns, happened.kind, strict=True):
        if KINDS[kind] in ("break", "groove", "drop"):
            until = int(t_ns) // STEP_NS
            table[row:until, AT["break"]] = inside
            row, inside = until, KINDS[kind] == "break"
    table[row:, AT["break"]] = inside


def song_energy(level_db: NDArray[Any]) -> Float32:
    """Return loudness over a second or so, both ways in time, in the range of the whole song: 0..1."""
    power = 10.0 ** (np.asarray(level_db, np.float64) / 10.0)
    keep = 1.0 - smoothing(1.0 / STEPS, 1.0)
    smooth = _one_pole(_one_pole(power, keep)[::-1], keep)[::-1]
    decibels = 10.0 * np.log10(smooth + 1e-12)
    heard = decibels[decibels > -60.0]
    if not len(heard):
        return np.zeros(len(decibels), np.float32)
    low, high = np.percentile(heard, (5, 98))
    return np.asarray(np.clip((decibels - low) / max(high - low, 10.0), 0.0, 1.0), np.float32)


def _one_pole(values: NDArray[np.float64], keep: float) -> NDArray[np.float64]:
    """Return a one-pole low pass of values (block by block, so that nothing overflows)."""
    result = np.empty_like(values)
    state = float(values[0]) if len(values) else 0.0
    block = 512
    powers = keep ** np.arange(1, block + 1)
    for start in range(0, len(values), block):
        part = values[start : start + block]
        n = len(part)
        sums = np.cumsum(part / powers[:n]) * powers[:n] * (1.0 - keep)
        result[start : start + n] = sums + powers[:n] * state
        state = float(result[start + n - 1])
    return result


def _mean(values: Float32, begin_s: float, end_s: float) -> float:
    part = values[round(begin_s * STEPS) : max(round(begin_s * STEPS) + 1, round(end_s * STEPS))]
    return float(part.mean()) if len(part) else 0.0


def hear_song(
    blocks: Iterable[Float32],
    rate_hz: int,
    ear: EarOptions | None = None,
    mode: EarMode = "hindsight",
    beats: Beats | None = None,
    folder: Path | None = None,
) -> Hearing:
    """Hear a song; ``blocks`` are float32 ``(n, channels)``. With a folder the table grows there, not in memory.

    Raises ConfigError where the folder cannot hold it.
    """
    ear = ear or EarOptions()
    kept = bytearray()
    try:
        file = (folder / "features.f16").open("wb") if folder is not None else None
        listener = Listener(rate_hz, ear, mode, file.write if file is not None else kept.extend)
        for block in blocks:
            listener.hear(block)
        happened, grids, seconds = listener.end(beats)
        if file is not None:
            file.close()
    except OSError as error:
        raise ConfigError(f"what is heard cannot be written into {folder}: {error.strerror}") from None
    if folder is None:
        table: Table = np.frombuffer(kept, np.float16).reshape(-1, COLUMNS)
    else:
        size = (folder / "features.f16").stat().st_size // (2 * COLUMNS)
        table = np.memmap(folder / "features.f16", np.float16, "r+", shape=(size, COLUMNS)) if size else nothing()
    by_hand = beats is not None
    hearing = Hearing(seconds, table, happened, grids, (), mode, ear.envelope_s, ear.drop_s, by_hand=by_hand)
    if mode == "hindsight" and len(table):
        hearing = whole_song(hearing, table)
    if folder is not None:
        hearing.save(folder)
        return Hearing.load(folder)
    return hearing
