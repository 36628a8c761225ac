"""PDF: cards, or pages of a journal, go in; a document with pictures, captions and notes comes out, its fonts in it.

A caption gets the room that it needs: letters shrink to a readable least, then the picture gives way; nothing overlaps.
"""

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vjserver.documents.fonts import FONTS, Font, base_font, choose, signs_of, weight_of
from vjserver.types.errors import ConfigError, OutputError

GRIDS = {1: (1, 1), 2: (2, 1), 4: (2, 2), 6: (3, 2), 9: (3, 3)}
"""Columns and rows of a page, by how many cards it has."""
PAGE = (297.0, 210.0)
"""A4, lying, in millimetres."""
MARGIN, GUTTER, HEAD, FOOT = 12.0, 6.0, 10.0, 7.0
SIZES = (6.0, 24.0)
LEAST_POINTS = 5.0
LEAST_PICTURE = 0.38
"""A picture keeps so much of its cell's height."""
LINE = 1.32
MM = 25.4 / 72.0
FINE, COARSE, MANY = 170, 96, 400
"""Dots an inch of pictures; of many pictures they are coarser, so that the file can be sent."""
_SHAPED = 0x0590
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cell:
    """A card on paper: a short head (its number), its caption, action and notes, and its picture (JPEG, or nothing)."""

    head: str
    caption: str
    notes: str = ""
    picture: Callable[[], bytes] = lambda: b""


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture above a text: its caption, and its file (JPEG or PNG)."""

    caption: str
    picture: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """A page of a journal: title, a line about it, the text, and pictures."""

    title: str
    about: str
    text: str
    shown: Sequence[Shown] = ()


class Paper:
    """A PDF that is written: fonts, and texts that fit. Raises ConfigError where fpdf2 or fonts are missing."""

    def __init__(self, title: str, texts: Iterable[str], say: Say, upright: bool = False) -> None:
        try:
            from fpdf import FPDF
        except ImportError:
            raise ConfigError(f"PDFs need fpdf2: {FONTS}") from None
        self.pdf = FPDF("portrait" if upright else "landscape", "mm", "A4")
        self.pdf.set_auto_page_break(False)
        self.pdf.set_title(title)
        self.pdf.set_creator("vjserver")
        base = base_font()
        self.pdf.add_font("base", "", weight_of(base, 400))
        self.pdf.add_font("base", "B", weight_of(base, 650))
        more, warnings = choose(texts)
        for warning in warnings:
            say(warning)
        for font in more:
            self.pdf.add_font(font.name, "", font.path, collection_font_number=font.number)
            self.pdf.add_font(font.name, "B", font.path, collection_font_number=font.number)
        self.pdf.set_fallback_fonts([font.name for font in more], exact_match=False)
        self._signs = frozenset().union(*(signs_of(font) for font in (Font(base), *more)))

    def text(self, text: str) -> str:
        """Return a text without the signs that no font here can write."""
        return "".join(sign for sign in text if ord(sign) in self._signs or sign in " \n\u200d\u200c")

    def style(self, points: float, bold: bool = False, grey: int = 20) -> None:
        """Choose how the next texts look."""
        self.pdf.set_font("base", "B" if bold else "", points)
        self.pdf.set_text_color(grey)

    def lines(self, text: str, width: float) -> list[str]:
        """Return a text broken into lines of a width, in mm, as it is set now."""
        if not text:
            return []
        self.pdf.set_text_shaping(any(ord(sign) >= _SHAPED for sign in text))
        lines: Any = self.pdf.multi_cell(width, None, text, dry_run=True, output="LINES", align="L", padding=0)
        return list(lines)

    def write(self, lines: Sequence[str], left: float, top: float, width: float, points: float) -> float:
        """Write lines from the upper left on; return where they end, in mm."""
        for line in lines:
            right = _is_right(line)
            self.pdf.set_text_shaping(any(ord(sign) >= _SHAPED for sign in line))
            self.pdf.set_xy(left, top)
            self.pdf.cell(width, points * MM * LINE, line, align="R" if right else "L")
            top += points * MM * LINE
        return top

    def save(self, path: Path) -> None:
        """Write the file. Raises OutputError."""
        try:
            self.pdf.output(str(path))
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from None


def _is_right(text: str) -> bool:
    """Tell whether a line is written from right to left: by its first letter, as Unicode has it."""
    import unicodedata

    for sign in text:
        kind = unicodedata.bidirectional(sign)
        if kind in ("L", "R", "AL"):
            return kind != "L"
    return False


def write_cards(
    path: Path, title: str, cells: Sequence[Cell], per_page: int = 6, points: float = 10.0, say: Say = lambda _: None
) -> int:
    """Write cards, ``per_page`` (1, 2, 4, 6 or 9) on each page; return how many pages. ConfigError, OutputError."""
    if per_page not in GRIDS:
        raise ConfigError(f"a page has {', '.join(map(str, GRIDS))} cards: got {per_page}")
    if not SIZES[0] <= points <= SIZES[1]:
        raise ConfigError(f"a font's size is in {SIZES[0]:g}..{SIZES[1]:g} points: got {points:g}")
    columns, rows = GRIDS[per_page]
    texts = (text for cell in cells for text in (cell.caption, cell.notes, cell.head))
    paper = Paper(title, [title, *texts], say)
    width = (PAGE[0] - 2 * MARGIN - (columns - 1) * GUTTER) / columns
    height = (PAGE[1] - 2 * MARGIN - HEAD - FOOT - (rows - 1) * GUTTER) / rows
    pages = max(1, -(-len(cells) // per_page))
    dots = FINE if len(cells) <= MANY else COARSE
    for page in range(pages):
        paper.pdf.add_page()
        paper.style(11, bold=True)
        head = paper.lines(paper.text(title), PAGE[0] - 2 * MARGIN - 30)
        paper.write(head[:1], MARGIN, MARGIN - 3, PAGE[0] - 2 * MARGIN - 30, 11)
        paper.style(8, grey=120)
        paper.pdf.set_text_shaping(False)
        paper.pdf.set_xy(PAGE[0] - MARGIN - 30, MARGIN - 3)
        paper.pdf.cell(30, 5, f"{page + 1} / {pages}", align="R")
        for i, cell in enumerate(cells[page * per_page : (page + 1) * per_page]):
            row, column = divmod(i, columns)
            left = MARGIN + column * (width + GUTTER)
            top = MARGIN + HEAD + row * (height + GUTTER)
            _draw(paper, cell, (left, top, width, height), points, dots)
    paper.save(path)
    return pages


def _draw(paper: Paper, cell: Cell, box: tuple[float, float, float, float], points: float, dots: int) -> None:
    left, top, width, height = box
    caption, notes = paper.text(cell.caption), paper.text(cell.notes)
    head = 8.0 * MM * LINE
    size = points
    while True:
        paper.style(size, bold=True)
        over = paper.lines(caption, width)
        paper.style(size * 0.85)
        under = paper.lines(notes, width)
        text = (len(over) * size + len(under) * size * 0.85) * MM * LINE + head + 1.5
        if text <= height * (1 - LEAST_PICTURE) or size <= LEAST_POINTS:
            break
        size = max(LEAST_POINTS, size * 0.9)
    room = height * (1 - LEAST_PICTURE) - head - 1.5
    over, under = _cut(over, under, room, size)
    text = (len(over) * size + len(under) * size * 0.85) * MM * LINE + head + 1.5
    high = min(width * 9 / 16, height - text)
    _picture(paper, cell.picture(), left, top, width, high, dots)
    top += high + 1.5
    paper.style(8, grey=120)
    top = paper.write([cell.head], left, top, width, 8.0)
    paper.style(size, bold=True)
    top = paper.write(over, left, top, width, size)
    paper.style(size * 0.85, grey=70)
    paper.write(under, left, top, width, size * 0.85)


def _cut(over: list[str], under: list[str], room: float, size: float) -> tuple[list[str], list[str]]:
    """Leave out lines that do not fit even at the least size; the caption goes before the notes."""
    fits = int(room / (size * MM * LINE))
    if len(over) > fits:
        return [*over[: fits - 1], f"{over[fits - 1][:-2]} …"], []
    left = int((room - len(over) * size * MM * LINE) / (size * 0.85 * MM * LINE) + 1e-6)
    if len(under) > left:
        under = [*under[: left - 1], f"{under[left - 1][:-2]} …"] if left else []
    return over, under


def _picture(paper: Paper, data: bytes, left: float, top: float, width: float, high: float, dots: int) -> None:
    pdf = paper.pdf
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        pdf.set_fill_color(236)
        pdf.rect(left, top, width, high, style="F")
        return
    scale = min(width / image.shape[1], high / image.shape[0])
    wide, tall = image.shape[1] * scale, image.shape[0] * scale
    size = (max(1, round(wide / 25.4 * dots)), max(1, round(tall / 25.4 * dots)))
    if size[0] < image.shape[1]:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
    pdf.image(io.BytesIO(jpeg), left + (width - wide) / 2, top, wide, tall)


# -- a journal -------------------------------------------------------------------------------------------------

COLUMN = 150.0
"""How wide the text of a journal is, in mm: some seventy letters."""
PICTURE_HIGH = 62.0


def write_entries(path: Path, title: str, entries: Sequence[Entry], points: float, say: Say) -> int:
    """Write pages of a journal, upright; short entries share one. Return how many. ConfigError, OutputError."""
    if not SIZES[0] <= points <= SIZES[1]:
        raise ConfigError(f"a font's size is in {SIZES[0]:g}..{SIZES[1]:g} points: got {points:g}")
    captions = (shown.caption for entry in entries for shown in entry.shown)
    paper = Paper(
        title, [title, *captions, *(t for one in entries for t in (one.title, one.about, one.text))], say, True
    )
    high, wide = PAGE
    left, bottom = (wide - COLUMN) / 2, high - 2 * MARGIN
    pages = 0

    def turn() -> float:
        nonlocal pages
        paper.pdf.add_page()
        pages += 1
        paper.style(8, grey=150)
        paper.write([str(pages)], left, high - MARGIN, COLUMN, 8.0)
        return 2 * MARGIN

    def flow(lines: Sequence[str], top: float, size: float, **style: Any) -> float:
        step = size * MM * LINE
        for line in lines:
            if top + step > bottom:
                top = turn()
            paper.style(size, **style)
            top = paper.write([line], left, top, COLUMN, size)
        return top

    top = turn()
    for i, entry in enumerate(entries):
        paper.style(points)
        lines = sum(len(paper.lines(paper.text(part), COLUMN)) + 0.5 for part in entry.text.split("\n"))
        whole = 28.0 + (PICTURE_HIGH * 0.6 + 20.0 if entry.shown else 0.0) + lines * points * MM * LINE
        if i:
            top = top + 12.0 if top + 12.0 + whole <= bottom else turn()
        paper.style(18, bold=True)
        top = flow(paper.lines(paper.text(entry.title), COLUMN), top, 18, bold=True) + 1.5
        paper.style(9, grey=120)
        top = flow(paper.lines(paper.text(entry.about), COLUMN), top, 9, grey=120) + 5.0
        if entry.shown:
            top = _row(paper, entry.shown, left, top)
        for paragraph in entry.text.split("\n"):
            paper.style(points)
            top = flow(paper.lines(paper.text(paragraph), COLUMN), top, points) + points * MM * 0.5
    paper.save(path)
    return pages


def _row(paper: Paper, shown: Sequence[Shown], left: float, top: float) -> float:
    """Draw pictures beside each other, each with its caption below; return where they end."""
    count = len(shown)
    width = (COLUMN - (count - 1) * GUTTER / 2) / count
    high = min(PICTURE_HIGH, width * 9 / 16)
    ends = [top]
    for i, one in enumerate(shown):
        at = left + i * (width + GUTTER / 2)
        _picture(paper, one.picture(), at, top, width, high, FINE)
        paper.style(8, grey=110)
        lines = paper.lines(paper.text(one.caption), width)[:4]
        ends.append(paper.write(lines, at, top + high + 1.0, width, 8.0))
    return max(ends) + 6.0
