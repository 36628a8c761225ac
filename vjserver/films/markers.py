"""Markers: named times of a film go in; a list for other programs comes out: CSV, EDL, FCP7 XML, chapters."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from xml.sax.saxutils import escape

from vjserver.types.errors import ConfigError

HOUR = 3600
"""A timeline of editing programs begins at one hour."""
COLOURS = {"scene": "Blue", "part": "Green", "drop": "Red", "bar": "Cyan"}


@dataclass(frozen=True)
class Marker:
    """A time in seconds, how long it lasts, what it is (``scene``, ``part``, ``drop``, ``bar``), and a name."""

    at_s: float
    lasts_s: float
    kind: str
    name: str


def write(markers: Sequence[Marker], path: Path, title: str, rate: Fraction) -> tuple[str, int]:
    """Return a list of markers as the file's ending asks for it, and how many are in it.

    Raises ConfigError for another ending.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise ConfigError(
            f"markers are written as .csv, .edl (Resolve), .xml (Premiere) or .txt (chapters): got {path.name!r}"
        )
    rows = sorted(markers, key=lambda m: (m.at_s, m.kind))
    if writer is _chapters:  # chapters are of one kind, one after another
        kind = "scene" if any(m.kind == "scene" for m in rows) else "part"
        rows = [m for m in rows if m.kind == kind]
    return writer(rows, title, rate), len(rows)


def timecode(frame: int, rate: Fraction, begin_s: int = HOUR) -> str:
    """Return the timecode of a frame, drop-frame (``;``) at 29.97 and 59.94, the first frame being at ``begin_s``."""
    nominal = round(rate)
    frame += begin_s * nominal
    drops = nominal // 15 if rate.denominator == 1001 and nominal % 30 == 0 else 0
    if drops:
        frame -= begin_s // 60 * drops - begin_s // 600 * drops  # the hour before has its own dropped numbers
        tens, rest = divmod(frame, 600 * nominal - 9 * drops)
        frame += 9 * drops * tens + (drops * ((rest - drops) // (60 * nominal - drops)) if rest >= drops else 0)
    seconds, frames = divmod(frame, nominal)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{';' if drops else ':'}{frames:02d}"


def _frame(seconds: float, rate: Fraction) -> int:
    return round(seconds * rate)


def _csv(markers: Sequence[Marker], _title: str, rate: Fraction) -> str:
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(("seconds", "frame", "timecode", "lasts", "kind", "name"))
    for m in markers:
        frame = _frame(m.at_s, rate)
        rows.writerow((f"{m.at_s:.6f}", frame, timecode(frame, rate, 0), f"{m.lasts_s:.6f}", m.kind, m.name))
    return file.getvalue()


def _edl(markers: Sequence[Marker], title: str, rate: Fraction) -> str:
    drop = rate.denominator == 1001 and round(rate) % 30 == 0
    lines = [f"TITLE: {_line(title)}", f"FCM: {'DROP FRAME' if drop else 'NON-DROP FRAME'}", ""]
    for number, m in enumerate(markers, 1):
        frame = _frame(m.at_s, rate)
        begin, end = timecode(frame, rate), timecode(frame + 1, rate)
        lasts = max(1, _frame(m.lasts_s, rate))
        lines += [
            f"{number:03d}  001      V     C        {begin} {end} {begin} {end}",
            f" |C:ResolveColor{COLOURS.get(m.kind, 'Blue')} |M:{_line(m.name)} |D:{lasts}",
            "",
        ]
    return "\r\n".join(lines) + "\r\n"


def _line(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


def _xml(markers: Sequence[Marker], title: str, rate: Fraction) -> str:
    base = (
        f"<rate><timebase>{round(rate)}</timebase><ntsc>{'TRUE' if rate.denominator == 1001 else 'FALSE'}</ntsc></rate>"
    )
    length = max((_frame(m.at_s + m.lasts_s, rate) for m in markers), default=1)
    rows = [
        f"  <marker><name>{escape(m.name)}</name><comment>{escape(m.kind)}</comment>"
        f"<in>{_frame(m.at_s, rate)}</in><out>-1</out></marker>"
        for m in markers
    ]
    return "\n".join((
        '<?xml version="1.0" encoding="UTF-8"?>', "<!DOCTYPE xmeml>", '<xmeml version="5">', " <sequence>",
        f"  <name>{escape(title)}</name>", f"  <duration>{length}</duration>", f"  {base}", "  <media><video/></media>",
        *rows, " </sequence>", "</xmeml>", "",
    ))  # fmt: skip


def _chapters(markers: Sequence[Marker], _title: str, _rate: Fraction) -> str:
    rows = []
    for m in markers:
        minutes, seconds = divmod(round(m.at_s), 60)
        hours, minutes = divmod(minutes, 60)
        rows.append(
            f"{hours}:{minutes:02d}:{seconds:02d} {_line(m.name)}"
            if hours
            else f"{minutes}:{seconds:02d} {_line(m.name)}"
        )
    return "\n".join((*rows, ""))


WRITERS = {".csv": _csv, ".edl": _edl, ".xml": _xml, ".txt": _chapters}
