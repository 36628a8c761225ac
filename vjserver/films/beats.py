"""Beats by hand: a file of labels goes in (Audacity, CSV, JSON), the beats of a song come out."""

import json
from bisect import bisect_left
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from vjserver.dsp.hindsight import Beats
from vjserver.types.errors import ConfigError

FORMS = (
    "Audacity labels (start, tab, end, tab, label), CSV (time, place in the bar) or JSON "
    '({"beats": [...], "downbeats": [...]})'
)
LARGEST = 32 << 20


def read_beats(path: Path) -> Beats:
    """Read beats. A label ``1`` (or a place of 1, or a downbeat) begins a bar; without any, bars are of four.

    Raises ConfigError with the file, the line and what is wrong.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} is too large for a file of beats")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from None
    rows = _of_json(path, text) if path.suffix.lower() == ".json" else _of_rows(path, text)
    times = [time for time, _ in rows]
    for number, (a, b) in enumerate(pairwise(times), 2):
        if b - a < 0.05:
            raise ConfigError(f"{path}: beat {number} is at {b:g} s, and the one before it at {a:g} s")
    if len(times) < 2:
        raise ConfigError(f"{path}: at least two beats are needed: got {len(times)}; it may be {FORMS}")
    positions, per_bar = _bars([one for _, one in rows])
    return Beats(times, positions, per_bar, [1.0] * len(times))


def _bars(ones: list[bool]) -> tuple[list[int], list[int]]:
    """Return the place of each beat in its bar and the bar's length, from where bars begin."""
    begins = [i for i, one in enumerate(ones) if one]
    if not begins:
        begins = list(range(0, len(ones), 4))
    lengths = [b - a for a, b in pairwise(begins)]
    usual = int(np.median(lengths)) if lengths else 4
    positions = [(i - begins[0]) % usual for i in range(begins[0])]
    per_bar = [usual] * begins[0]
    for begin, length in zip(begins, [*lengths, 0], strict=True):
        count = length or len(ones) - begin
        positions += list(range(count)) if length else [i % usual for i in range(count)]
        per_bar += [length or usual] * count
    return positions, per_bar


def _of_rows(path: Path, text: str) -> list[tuple[float, bool]]:
    labels = "\t" in text
    rows: list[tuple[float, bool]] = []
    sign, begun = "\t" if labels else ",", False
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip().strip('"') for cell in line.split(sign)]
        if not any(cells) or cells[0].startswith(("#", "\\")):
            continue
        try:
            time = float(cells[0])
        except ValueError:
            if not begun:  # a heading
                begun = True
                continue
            raise ConfigError(f"{path}:{number}: a time in seconds is needed: got {cells[0][:40]!r}") from None
        begun = True
        if not 0.0 <= time < 1e6:
            raise ConfigError(f"{path}:{number}: a time is in 0..1000000 s: got {time:g}")
        place = cells[-1] if len(cells) > 1 and not (labels and len(cells) == 2 and "." in cells[1]) else ""
        rows.append((time, place.partition(".")[0] == "1" or place.lower() in ("downbeat", "bar")))
    return sorted(rows)


def _of_json(path: Path, text: str) -> list[tuple[float, bool]]:
    try:
        data: Any = json.loads(text)
        beats = data if isinstance(data, list) else data["beats"]
        if beats and isinstance(beats[0], dict):
            places = [row.get("position", row.get("beat", 0)) for row in beats]
            beats = [row["time"] for row in beats]
        elif beats and isinstance(beats[0], list):
            places = [row[1] for row in beats]
            beats = [row[0] for row in beats]
        else:
            places = [] if isinstance(data, list) else list(data.get("beat_positions") or [])
        times = [float(beat) for beat in beats]
        downs = [] if isinstance(data, list) else [float(one) for one in data.get("downbeats", [])]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise ConfigError(f"{path}: beats are {FORMS}: {type(error).__name__}: {error}") from None
    if not all(0.0 <= time < 1e6 for time in times):
        raise ConfigError(f"{path}: a time is in 0..1000000 s")
    if len(places) == len(times):
        return sorted((time, place == 1) for time, place in zip(times, places, strict=True))
    downs.sort()
    return sorted((time, _is_near(time, downs)) for time in times)


def _is_near(time: float, rows: list[float]) -> bool:
    place = bisect_left(rows, time - 0.02)
    return place < len(rows) and rows[place] < time + 0.02
