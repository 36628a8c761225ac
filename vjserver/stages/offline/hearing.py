"""Hearing: what the ear makes of a whole song, to be asked for any moment of it.

On stage the ear knows only what was; a film's knows the whole song. Both fill the same table: a row of features every
10 ms, what happened (drums, onsets, sections) and where the beats lie. With ``live`` it holds what the stage would have
shown; else (``hindsight``) beats and bars are those that explain the whole song best, and hits stand where they sound.
"""

import contextlib
import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vjserver.dsp.structure import Part
from vjserver.types.audio import Float32
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
AT = {name: i for i, name in enumerate(_NAMES)}
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
            scalars[AT["silence"]], scalars[AT["level_db"]] = 1.0, -120.0
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
                scalars[AT[name]] = np.exp(-since_ns * 1e-9 / tau_s)
        for name in open_kinds.values():
            scalars[AT[name]] = 0.0

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


def nothing() -> Table:
    """Return a table without rows."""
    return np.zeros((0, COLUMNS), np.float16)


def _event(t_ns: int, name: str, strength: float) -> EarEvent:
    if name == "onset":
        return Onset(t_ns, t_ns, strength)
    if name in ("kick", "snare", "hat"):
        return Drum(t_ns, t_ns, name, strength)  # type: ignore[arg-type]
    return Section(t_ns, t_ns, name)  # type: ignore[arg-type]
