"""Decks: words of the notebook go out as CSV, or as a package that Anki takes in, again and again."""

import csv
import html
import io
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from vjserver.keeping.words import Word
from vjserver.runtime.files import put
from vjserver.types.errors import ConfigError

LINE = "pip install 'vjserver[notebook]'"
COLUMNS = ("word", "lemma", "gloss", "count", "sentence", "learn", "own")
_FORMULAS = "=+-@\t\r"
_MODEL = 1740283919
_CSS = (
    ".card { font: 22px sans-serif; text-align: center; } .sentence { color: #777; font-size: 16px; margin-top: 1em; }"
)


def write_csv(path: Path, words: Sequence[Word]) -> None:
    """Write words as CSV, UTF-8 with a mark, as spreadsheets want it; no cell begins a formula. Raises OutputError."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(COLUMNS)
    for word in words:
        sentence = word.seen[-1].sentence if word.seen else ""
        cells = (word.word, word.lemma, word.gloss, str(word.count), sentence, word.learn, word.own)
        rows.writerow([inert(cell) for cell in cells])
    put(path, text.getvalue().encode("utf-8-sig"))


def inert(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell[:1] and cell[0] in _FORMULAS else cell


def write_anki(path: Path, words: Sequence[Word], media: Callable[[str], Path | None]) -> None:
    """Write a package for Anki; each word has a number of its own there, so that it is taken in once and then updated.

    Raises ConfigError.
    """
    try:
        import genanki
    except ImportError:
        raise ConfigError(f"packages for Anki need genanki: {LINE}") from None
    if not words:
        raise ConfigError("there are no words yet")
    model = genanki.Model(
        _MODEL, "vjserver word", fields=[{"name": name} for name in ("Word", "Gloss", "Sentence", "Picture", "Sound")],
        templates=[{
            "name": "Card", "qfmt": '{{Word}}<div class="sentence">{{Sentence}}</div>{{Picture}}',
            "afmt": '{{FrontSide}}<hr id="answer">{{Gloss}}{{Sound}}',
        }], css=_CSS,
    )  # fmt: skip
    decks: dict[str, genanki.Deck] = {}
    files: list[str] = []
    for word in words:
        name = f"vjserver::{word.learn} for {word.own}"
        deck = decks.setdefault(name, genanki.Deck(1_700_000_000 + zlib.crc32(name.encode()) % 100_000_000, name))
        seen = word.seen[-1] if word.seen else None
        fields = [html.escape(word.word), html.escape(word.gloss), html.escape(seen.sentence if seen else "")]
        for kept, form in ((word.picture, '<img src="{}">'), (seen.sound if seen else "", "[sound:{}]")):
            place = media(kept)
            fields.append(form.format(place.name) if place is not None else "")
            files += [str(place)] if place is not None else []
        deck.add_note(genanki.Note(model=model, fields=fields, guid=word.guid, tags=[f"{word.learn}-{word.own}"]))
    package = genanki.Package(list(decks.values()))
    package.media_files = files
    with tempfile.TemporaryDirectory(prefix="vjserver-deck-") as folder:
        part = Path(folder) / "deck.apkg"
        package.write_to_file(str(part))
        put(path, part.read_bytes())
