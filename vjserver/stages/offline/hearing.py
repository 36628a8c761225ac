"""Hearing: what the ear makes of a whole song, to be asked for any moment of it.

On stage the ear knows only what was; a film's knows the whole song. Both fill the same table: a row of features every
10 ms, what happened (drums, onsets, sections) and where the beats lie. With ``live`` it holds what the stage would have
shown; else (``hindsight``) beats and bars are those that explain the whole song best, and hits stand where they sound.
"""

import contextlib
import json
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vjserver.dsp.hindsight import Beats, Frames, find_beats
from vjserver.dsp.options import EarOptions
from vjserver.dsp.structure import Part, bar_rows, parts_of
from vjserver.easing.smoothing import smoothing
from vjserver.stages.ear.analysis import Analysis
from vjserver.types.audio import AudioBlock, Float32
from vjserver.types.errors import ConfigError
from vjserver.types.events import Drum, EarEvent, Onset, Section
from vjserver.types.features import BAND_NAMES, N_SPECTRUM, PITCH_CLASSES, SCALARS, BeatGrid, Features

NS = 1_000_000_000
STEP_NS = 10_000_000
"""A row of features every so often."""
STEPS = NS // STEP_NS
NEAR_NS = 2_000
VERSION = 3
EarMode = Literal["hindsight", "live"]
_NAMES = tuple(SCALARS)
_AT = {name: i for i, name in enumerate(_NAMES)}
N_SCALARS, N_BANDS, N_CHROMA = len(_NAMES), len(BAND_NAMES), len(PITCH_CLASSES)
COLUMNS = N_SCALARS + N_BANDS + N_SPECTRUM + N_CHROMA
KINDS = ("kick", "snare", "hat", "onset", "break", "groove", "drop")
_GLOWS = ("kick", "snare", "hat", "onset", "drop")
ROW_BYTES = 2 * COLUMNS
Table = NDArray[np.float16]


class RowFile:
    """A table on the disk, a row at a time: a night's would count as memory if it were mapped."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._rows = path.stat().st_size // ROW_BYTES

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, row: int) -> NDArray[np.float16]:
        os.lseek(self._descriptor, row * ROW_BYTES, os.SEEK_SET)
        return np.frombuffer(os.read(self._descriptor, ROW_BYTES), np.float16)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        rows = [self[i] for i in range(len(self))]
        return np.array(rows, dtype if dtype is not None else np.float16).reshape(-1, COLUMNS)

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened in a song, in order: times in ns, the place of each in ``KINDS``, and its strength, 0..1."""

    t_ns: NDArray[np.int64]
    kind: NDArray[np.uint8]
    strength: Float32


@dataclass(frozen=True, slots=True)
class Grids:
    """Where the beats lie: from each ``since_ns`` on, a grid."""

    since_ns: tuple[int, ...]
    grids: tuple[BeatGrid, ...]

    def at(self, t_ns: int) -> BeatGrid:
        """Return the grid that holds at a time."""
        place = bisect_right(self.since_ns, t_ns) - 1
        return self.grids[max(0, place)] if self.grids else BeatGrid()


@dataclass(frozen=True, slots=True)
class Hearing:
    """A song as it was heard. ``seconds`` is its length; ``parts`` are its sections; ``stems`` single tracks of it."""

    seconds: float
    table: Table | RowFile
    happened: Happened
    grids: Grids
    parts: tuple[Part, ...] = ()
    mode: EarMode = "hindsight"
    envelope_s: float = 0.12
    drop_s: float = 2.0
    stems: Mapping[str, "Hearing"] = field(default_factory=dict)
    by_hand: bool = False
    turn: Fraction | None = None
    """After so many seconds the sound is the same again."""

    @property
    def knows_beats(self) -> bool:
        """Whether the grids stand on the beats, all of them: a live ear only has guesses that change."""
        return self.mode != "live" or self.by_hand

    @property
    def beats(self) -> tuple[BeatGrid, ...]:
        """Every beat of the song, as a grid that stands on it (empty for a live ear that was not told them)."""
        return tuple(g for g in self.grids.grids if g.running) if self.knows_beats else ()

    def features(self, t_ns: int) -> Features:
        """Return what is heard at a time, 0 being the song's first sample."""
        live = self.mode == "live"
        at_ns = t_ns if self.turn is None else _within(t_ns, self.turn)
        place = at_ns // STEP_NS - live
        last = len(self.table) - 1
        row = self.table[min(max(0, place), last)].astype(np.float32) if last >= 0 else np.zeros(COLUMNS, np.float32)
        scalars = row[:N_SCALARS]
        if place < 0 or place > last:  # before the song and after it there is silence
            row[:] = 0.0
            scalars[_AT["silence"]], scalars[_AT["level_db"]] = 1.0, -120.0
        if not live:
            # of a turn the second, where hits of the first still glow; a hit is on its frame, however both were rounded
            self._glow(scalars, at_ns if self.turn is None else at_ns + round(self.turn * NS) + NEAR_NS)
        spectrum = N_SCALARS + N_BANDS
        return Features(
            t_ns, scalars, row[N_SCALARS:spectrum], row[spectrum : spectrum + N_SPECTRUM],
            row[spectrum + N_SPECTRUM :], self._grid(t_ns, at_ns),
            {role: stem.features(t_ns) for role, stem in self.stems.items()},
        )  # fmt: skip

    def _grid(self, t_ns: int, at_ns: int) -> BeatGrid:
        """Return the grid at a time; of a turn it stands as far back in each of them, to the nanosecond."""
        if self.turn is None:
            return self.grids.at(t_ns)
        here, first = self.grids.at(t_ns + NEAR_NS), self.grids.at(at_ns + NEAR_NS)
        return replace(here, t_ns=t_ns - max(0, at_ns - first.t_ns), period_s=first.period_s)

    def _glow(self, scalars: Float32, t_ns: int) -> None:
        """Let each hit glow from the very moment at which it sounds."""
        happened = self.happened
        place = int(np.searchsorted(happened.t_ns, t_ns, side="right"))
        open_kinds = {KINDS.index(name): name for name in _GLOWS}
        longest_ns = round(8.0 * max(self.envelope_s, self.drop_s) * NS)
        while place > 0 and open_kinds:
            place -= 1
            since_ns = t_ns - int(happened.t_ns[place])
            if since_ns > longest_ns:
                break
            name = open_kinds.pop(int(happened.kind[place]), "")
            if name:
                tau_s = self.drop_s if name == "drop" else self.envelope_s
                scalars[_AT[name]] = np.exp(-since_ns * 1e-9 / tau_s)
        for name in open_kinds.values():
            scalars[_AT[name]] = 0.0

    def events(self, after_ns: int, until_ns: int) -> Iterator[tuple[int, EarEvent]]:
        """Yield what happened after one time and until another, with its time."""
        happened = self.happened
        first, last = np.searchsorted(happened.t_ns, (after_ns, until_ns), side="right")
        for i in range(int(first), int(last)):
            t_ns, name, strength = int(happened.t_ns[i]), KINDS[happened.kind[i]], float(happened.strength[i])
            yield t_ns, _event(t_ns, name, strength)

    # -- files ---------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write what is not in the folder yet: the table grew there."""
        happened, grids = self.happened, self.grids
        np.savez(folder / "events.npz", t_ns=happened.t_ns, kind=happened.kind, strength=happened.strength)
        rows = [[s, g.t_ns, g.count, g.period_s, g.bar_position, g.beats_per_bar, g.confidence, g.running]
                for s, g in zip(grids.since_ns, grids.grids, strict=True)]  # fmt: skip
        about = {
            "version": VERSION, "seconds": self.seconds, "mode": self.mode, "envelope_s": self.envelope_s,
            "drop_s": self.drop_s, "by_hand": self.by_hand, "grids": rows,
            "parts": [[p.begin_s, p.end_s, p.label, p.energy] for p in self.parts],
        }  # fmt: skip
        (folder / "about.json").write_text(json.dumps(about))

    @classmethod
    def load(cls, folder: Path) -> "Hearing":
        """Return what was saved; its table stays on the disk. Raises OSError, ValueError, KeyError."""
        about: dict[str, Any] = json.loads((folder / "about.json").read_text())
        if about["version"] != VERSION:
            raise ValueError(f"of version {about['version']}")
        with np.load(folder / "events.npz") as file:
            happened = Happened(file["t_ns"], file["kind"], file["strength"])
        table = RowFile(folder / "features.f16")
        grids = Grids(tuple(row[0] for row in about["grids"]), tuple(BeatGrid(*row[1:]) for row in about["grids"]))
        parts = tuple(Part(*row) for row in about["parts"])
        return cls(
            about["seconds"], table, happened, grids, parts, about["mode"], about["envelope_s"], about["drop_s"],
            by_hand=about["by_hand"],
        )  # fmt: skip


def _within(t_ns: int, turn: Fraction) -> int:
    """Return a time within a turn: to the microsecond, so that it is the same in each."""
    within = round(Fraction(t_ns, NS) % turn * 10**6)
    return 0 if within >= round(turn * 10**6) else within * 1000


def _none() -> Table:
    return np.zeros((0, COLUMNS), np.float16)


def _event(t_ns: int, name: str, strength: float) -> EarEvent:
    if name == "onset":
        return Onset(t_ns, t_ns, strength)
    if name in ("kick", "snare", "hat"):
        return Drum(t_ns, t_ns, name, strength)  # type: ignore[arg-type]
    return Section(t_ns, t_ns, name)  # type: ignore[arg-type]


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
        self._levels.append(float(features.scalars[_AT["level_db"]]))
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
    energy = song_energy(table[:, _AT["level_db"]])
    table[:, _AT["energy"]] = energy
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
            table[row:until, _AT["break"]] = inside
            row, inside = until, KINDS[kind] == "break"
    table[row:, _AT["break"]] = inside


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
        table = np.memmap(folder / "features.f16", np.float16, "r+", shape=(size, COLUMNS)) if size else _none()
    by_hand = beats is not None
    hearing = Hearing(seconds, table, happened, grids, (), mode, ear.envelope_s, ear.drop_s, by_hand=by_hand)
    if mode == "hindsight" and len(table):
        hearing = whole_song(hearing, table)
    if folder is not None:
        hearing.save(folder)
        return Hearing.load(folder)
    return hearing
