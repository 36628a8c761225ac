"""Sheets: small pictures and what they are go in, a page comes out (PNG, or PDF with its text as text)."""

import importlib.util
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
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
DPI = 100
WIDE, GAP, MARGIN, TOP, BELOW = 3.6, 0.2, 0.45, 0.75, 1.05
"""In inches: a cell's width, what is between cells, around them, over them, and under each for its text."""


@dataclass(frozen=True)
class Cell:
    """A picture (RGB, or None where there is none), a line in bold, and a text."""

    pixels: Pixels | None
    head: str
    text: str = ""


@dataclass(frozen=True)
class _Page:
    """Where things are on a page, in inches from its left and upper edge."""

    cells: int
    rows: int
    shape: tuple[int, int]

    @property
    def high(self) -> float:
        """How high a cell's picture is."""
        return WIDE * self.shape[0] / self.shape[1]

    @property
    def size(self) -> tuple[float, float]:
        """The page's width and height."""
        return 2 * MARGIN + COLUMNS * WIDE + (COLUMNS - 1) * GAP, TOP + self.rows * (self.high + BELOW) + MARGIN / 2

    def corner(self, i: int) -> tuple[float, float]:
        """Return where the picture of a cell begins."""
        row, column = divmod(i, COLUMNS)
        return MARGIN + column * (WIDE + GAP), TOP + row * (self.high + BELOW)


def draw(path: Path, title: str, cells: Sequence[Cell]) -> None:
    """Draw a sheet: one long picture (.png), or pages (.pdf). Raises ConfigError, OutputError."""
    if path.suffix.lower() not in (".png", ".pdf"):
        raise ConfigError(f"a sheet is a .png or a .pdf: got {path.name!r}")
    shown = cells[:: max(1, -(-len(cells) // MOST_CELLS))]
    try:
        if path.suffix.lower() == ".png":
            _picture(title, shown).save(path)
        else:
            _write_pdf(path, title, shown)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None


@cache
def font_file(bold: bool) -> Path:
    """Return the font of sheets and titles, DejaVu Sans, which matplotlib brings: it knows most alphabets."""
    found = importlib.util.find_spec("matplotlib")
    if found is None or not found.submodule_search_locations:
        raise ConfigError("films need matplotlib's fonts: pip install 'vjserver[film]'")
    fonts = Path(found.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
    return fonts / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")


def _picture(title: str, cells: Sequence[Cell]) -> Any:
    """Return a sheet as a picture of Pillow's."""
    from PIL import Image, ImageDraw, ImageFont

    page = _Page(len(cells), max(1, -(-len(cells) // COLUMNS)), _shape(cells))
    picture = Image.new("RGB", _dots(*page.size), PAPER)
    pen = ImageDraw.Draw(picture)

    def write(at: tuple[float, float], text: str, points: float, ink: str, bold: bool, anchor: str) -> None:
        font = ImageFont.truetype(font_file(bold), points * DPI / 72)
        pen.text(_dots(*at), text, ink, font, anchor, spacing=points * DPI / 72 * 0.25)

    write((MARGIN, 0.5), drawable(title), 17, INK, True, "lm")
    for i, cell in enumerate(cells):
        left, top = page.corner(i)
        box = _dots(WIDE, page.high)
        if cell.pixels is None:
            pen.rectangle((*_dots(left, top), *_dots(left + WIDE, top + page.high)), EMPTY)
        else:
            picture.paste(Image.fromarray(cell.pixels).resize(box, Image.Resampling.LANCZOS), _dots(left, top))
        write((left, top + page.high + 0.2), _head(cell), 9.5, INK, True, "lm")
        write((left, top + page.high + 0.36), _wrapped(cell.text), 8, DIM, False, "la")
    return picture


def _dots(*inches: float) -> Any:
    return tuple(round(one * DPI) for one in inches)


def _write_pdf(path: Path, title: str, cells: Sequence[Cell]) -> None:
    import matplotlib
    from matplotlib.backends.backend_pdf import PdfPages

    style: Any = {"font.family": ["DejaVu Sans"], "pdf.fonttype": 42, "figure.facecolor": PAPER}
    with matplotlib.rc_context(style), PdfPages(path, metadata={"Title": title, "Creator": "vjserver"}) as pages:
        step = COLUMNS * ROWS_A_PAGE
        for i in range(0, max(1, len(cells)), step):
            pages.savefig(_figure(title, cells[i : i + step], _shape(cells)))


def _figure(title: str, cells: Sequence[Cell], shape: tuple[int, int]) -> Any:
    """Return a page as a figure of matplotlib's, whose texts stay texts."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    page = _Page(len(cells), ROWS_A_PAGE, shape)
    width, height = page.size
    figure = Figure(figsize=page.size, facecolor=PAPER)

    def write(at: tuple[float, float], text: str, points: float, **look: Any) -> None:
        figure.text(at[0] / width, 1 - at[1] / height, text.replace("$", "\\$"), fontsize=points, **look)

    write((MARGIN, 0.5), drawable(title), 17, color=INK, fontweight="bold", va="center")
    for i, cell in enumerate(cells):
        left, top = page.corner(i)
        axes = figure.add_axes((
            left / width, 1 - (top + page.high) / height, WIDE / width, page.high / height,
        ))  # fmt: skip
        axes.set_axis_off()
        if cell.pixels is not None:
            axes.imshow(cell.pixels, aspect="auto", interpolation="lanczos")
        else:
            axes.add_patch(Rectangle((0, 0), 1, 1, color=EMPTY))
        write((left, top + page.high + 0.2), _head(cell), 9.5, color=INK, fontweight="bold", va="center")
        write((left, top + page.high + 0.36), _wrapped(cell.text), 8, color=DIM, va="top", linespacing=1.35)
    return figure


def _shape(cells: Sequence[Cell]) -> tuple[int, int]:
    found = next((c.pixels for c in cells if c.pixels is not None), None)
    return (9, 16) if found is None else (found.shape[0], found.shape[1])


def _head(cell: Cell) -> str:
    return drawable(textwrap.shorten(cell.head, HEAD, placeholder=" ..."))


@cache
def _signs() -> frozenset[str]:
    """Return what the font can draw."""
    from matplotlib.ft2font import FT2Font

    return frozenset(map(chr, FT2Font(str(font_file(bold=True))).get_charmap()))


def drawable(text: str) -> str:
    """Return a text without the signs that the font does not have."""
    return "".join(sign for sign in text if sign in _signs() or sign.isspace())


def undrawable(text: str) -> str:
    """Return the signs of a text that the font does not have, each once."""
    return "".join(dict.fromkeys(sign for sign in text if sign not in _signs() and not sign.isspace()))


def _wrapped(text: str) -> str:
    lines = textwrap.wrap(text, SIGNS) or [""]
    kept = lines[:LINES]
    if len(lines) > LINES:
        kept[-1] = f"{kept[-1][: SIGNS - 2]} ..."
    return drawable("\n".join(kept))


def picture(data: bytes) -> Pixels | None:
    """Return a JPEG as RGB, None for what is none."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8) if image is not None else None
