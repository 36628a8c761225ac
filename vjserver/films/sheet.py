"""Sheets: small pictures and what they are go in, a page comes out (PNG, or PDF with its text as text)."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vjserver.types.errors import ConfigError, OutputError
from vjserver.types.frames import Pixels

COLUMNS, ROWS_A_PAGE = 4, 3
MOST_CELLS = 120
PAPER, INK, DIM, EMPTY = "#101014", "#f2efe8", "#9a968c", "#1c1c22"
LINES, SIGNS, HEAD = 4, 50, 38


@dataclass(frozen=True)
class Cell:
    """A picture (RGB, or None where there is none), a line in bold, and a text."""

    pixels: Pixels | None
    head: str
    text: str = ""


def draw(path: Path, title: str, cells: Sequence[Cell]) -> None:
    """Draw a sheet: one long picture (.png), or pages (.pdf). Raises ConfigError, OutputError."""
    if path.suffix.lower() not in (".png", ".pdf"):
        raise ConfigError(f"a sheet is a .png or a .pdf: got {path.name!r}")
    import matplotlib
    from matplotlib.backends.backend_pdf import PdfPages

    shown = cells[:: max(1, -(-len(cells) // MOST_CELLS))]
    style: Any = {"font.family": ["DejaVu Sans"], "pdf.fonttype": 42, "figure.facecolor": PAPER}
    try:
        with matplotlib.rc_context(style):
            if path.suffix.lower() == ".png":
                figure = _page(title, shown, max(1, -(-len(shown) // COLUMNS)))
                figure.savefig(path, dpi=100)
                return
            with PdfPages(path, metadata={"Title": title, "Creator": "vjserver"}) as pages:
                step = COLUMNS * ROWS_A_PAGE
                for i in range(0, max(1, len(shown)), step):
                    pages.savefig(_page(title, shown[i : i + step], ROWS_A_PAGE))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None


def _page(title: str, cells: Sequence[Cell], rows: int) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    shape = next((c.pixels.shape for c in cells if c.pixels is not None), (9, 16, 3))
    wide, gap, margin, head, below = 3.6, 0.2, 0.45, 0.75, 1.05
    high = wide * shape[0] / shape[1]
    width = 2 * margin + COLUMNS * wide + (COLUMNS - 1) * gap
    height = head + rows * (high + below) + margin / 2
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    figure.text(margin / width, 1 - 0.5 / height, _plain(title), color=INK, fontsize=17, fontweight="bold", va="center")
    for i, cell in enumerate(cells):
        row, column = divmod(i, COLUMNS)
        left = margin + column * (wide + gap)
        top = height - head - row * (high + below)
        axes = figure.add_axes((left / width, (top - high) / height, wide / width, high / height))
        axes.set_axis_off()
        if cell.pixels is not None:
            axes.imshow(cell.pixels, aspect="auto", interpolation="lanczos")
        else:
            axes.add_patch(Rectangle((0, 0), 1, 1, color=EMPTY))
        bold = _plain(textwrap.shorten(cell.head, HEAD, placeholder=" ..."))
        place = left / width, (top - high - 0.2) / height
        figure.text(*place, bold, color=INK, fontsize=9.5, fontweight="bold", va="center")
        figure.text(
            left / width, (top - high - 0.36) / height, _wrapped(cell.text), color=DIM, fontsize=8, va="top",
            linespacing=1.35,
        )  # fmt: skip
    return figure


def _plain(text: str) -> str:
    """Return a text as it is drawn: no formula, and no half signs, as names of files may have."""
    return text.encode("utf-8", "replace").decode().replace("$", "\\$")


def _wrapped(text: str) -> str:
    lines = textwrap.wrap(text, SIGNS) or [""]
    kept = lines[:LINES]
    if len(lines) > LINES:
        kept[-1] = f"{kept[-1][: SIGNS - 2]} ..."
    return _plain("\n".join(kept))


def picture(data: bytes) -> Pixels | None:
    """Return a JPEG as RGB, None for what is none."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8) if image is not None else None
