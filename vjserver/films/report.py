"""What is written beside a film: a report (JSON) of all that it is made from, and a contact sheet (PNG)."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vjserver.films import sheet
from vjserver.films.codecs import Codec
from vjserver.films.film import Film, FilmPlan, Segment
from vjserver.films.parts import thumb_path
from vjserver.films.places import clock
from vjserver.ports import find
from vjserver.runtime.files import put
from vjserver.types.errors import VJError
from vjserver.types.frames import Pixels

MOST_CELLS = 16
"""So many pictures are on a contact sheet."""


def report_path(output: Path) -> Path:
    """Return where a film's report is."""
    return output.with_name(f"{output.name}.json")


def sheet_path(output: Path) -> Path:
    """Return where a film's contact sheet is."""
    return output.with_name(f"{output.name}.sheet.png")


@dataclass(frozen=True, slots=True)
class Shown:
    """What a film shows from a frame on: a name, and the prompts."""

    frame: int
    name: str
    prompts: tuple[str, ...]


def write(
    output: Path, film: Film, plan: FilmPlan, folder: Path, told: dict[str, Any], title: str, shown: Sequence[Shown]
) -> None:
    """Write report and contact sheet: a picture of all that is shown. Raises OutputError."""
    put(report_path(output), json.dumps(told, indent=1, ensure_ascii=False).encode())
    cells = []
    begins = [segment.first for segment in plan.segments]
    rows = [row for row in shown if row.frame < film.last]
    for i, row in enumerate(rows):
        begin = max(row.frame, film.first)
        end = rows[i + 1].frame if i + 1 < len(rows) else film.last
        if end <= begin:
            continue
        segment = plan.segments[max(0, bisect_right(begins, (begin + end) // 2) - 1)]
        head = f"{clock(begin / float(film.rate))}  {row.name}"
        cells.append(sheet.Cell(_thumb(folder, segment), head, _words(row.prompts)))
    if len(cells) == 1:  # one look: let the sheet show how it goes on
        cells = [
            sheet.Cell(
                _thumb(folder, one),
                clock((one.first + one.last) / 2 / float(film.rate)),
            )
            for one in plan.segments
        ]
    sheet.draw(sheet_path(output), title or output.stem, cells[:: max(1, -(-len(cells) // MOST_CELLS))])


def _thumb(folder: Path, segment: Segment) -> Pixels | None:
    path = thumb_path(folder, segment)
    return sheet.picture(path.read_bytes()) if path.exists() else None


def _words(prompts: tuple[str, ...]) -> str:
    return " · ".join(prompts)


def codec_row(codec: Codec) -> dict[str, Any]:
    """Return a codec as the report tells it; pictures come with straight alpha, never premultiplied."""
    return {
        "name": codec.name, "encoder": codec.encoder, "pixel_format": codec.pixel_format, "sound": codec.sound,
        "alpha": "straight" if codec.alpha else "none", "options": dict(codec.options),
        "colour": "BT.709, limited range" if codec.is_yuv else "BT.709, full range RGB",
    }  # fmt: skip


def models(plan: FilmPlan, film: Film) -> list[dict[str, str]]:
    """Return the models that drew, with their licences."""
    rows = []
    for spec in plan.specs:
        name = spec.model or film.own_model(spec.kind)
        try:
            licences = getattr(find("generators", spec.kind), "licence_of", None)
            rows.append({"generator": spec.kind, "model": name, "licence": licences(name) if licences else ""})
        except VJError:
            rows.append({"generator": spec.kind, "model": name, "licence": ""})
    return [row for row in rows if row["model"]]
