"""The journal on paper and to take away: a folder with JSON, pictures and sound that comes back equal; PDF; a mint."""

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from vjserver.documents.pdf import Entry, Shown, write_entries
from vjserver.keeping import pictures
from vjserver.keeping.cards import Card, Picture, Version
from vjserver.keeping.dreams import Dream, Dreams, checked
from vjserver.keeping.folders import read_json, write_folder
from vjserver.keeping.recordings import unpacked
from vjserver.keeping.texts import kept_text
from vjserver.show.addresses import FALLBACK_GENERATOR, MAX_TEXT
from vjserver.types.errors import ConfigError, VJError

FORMAT, FORMAT_VERSION = "vjserver dream", 1
LARGEST, LARGEST_SOUND = 16 << 20, 1 << 30
PICTURES = 3
"""So many pictures stand above a dream on paper."""
_NUMBER = re.compile(r"[0-9a-f]{12}")
_VERSION = ("prompt", "negative", "seed", "generator", "model", "licence", "t_s")


class _Version(msgspec.Struct):
    picture: str
    prompt: str = ""
    negative: str = ""
    seed: int = 0
    generator: str = FALLBACK_GENERATOR
    model: str = ""
    licence: str = ""
    t_s: float = 0.0
    chosen: bool = False


class _Card(msgspec.Struct):
    sentence: str
    versions: list[_Version] = []


class _File(msgspec.Struct):
    format: str
    version: int
    dream: Dream
    pictures: list[_Card] = []


# -- a folder --------------------------------------------------------------------------------------------------


def export(dreams: Dreams, folder: Path) -> int:
    """Write every entry, its pictures and its sound into a new folder; return how many entries. Raises VJError."""
    found = dreams.dreams()

    def fill(part: Path) -> None:
        for dream in found:
            name = f"{datetime.fromtimestamp(dream.t_s):%Y-%m-%d}-{dream.id}"
            (part / f"{name}.json").write_bytes(_packed(dreams, dream, part, name))

    write_folder(folder, fill)
    return len(found)


def _packed(dreams: Dreams, dream: Dream, part: Path, name: str) -> bytes:
    """Return an entry as JSON; its pictures and sound go into a folder, with names that begin with ``name``."""
    sound = dreams.media.read(dream.sound)
    if sound:
        (part / f"{name}.flac").write_bytes(sound)
    cards = []
    for i, card in enumerate(dreams.cards(dream.id), 1):
        versions = []
        for k, one in enumerate((one for one in card.versions if one.making == "made"), 1):
            file = f"{name}-{i}-{k}{Path(one.picture).suffix}"
            (part / file).write_bytes(dreams.pictures.media.read(one.picture))
            row = {key: getattr(one, key) for key in _VERSION}
            versions.append({"picture": file, **row, "chosen": one.id == card.version})
        cards.append({"sentence": card.text, "versions": versions})
    told = asdict(replace(dream, sound=f"{name}.flac" if sound else ""))
    whole = {"format": FORMAT, "version": FORMAT_VERSION, "dream": told, "pictures": cards}
    return json.dumps(whole, ensure_ascii=False, indent=1).encode()


def take_in(dreams: Dreams, folder: Path) -> int:
    """Take in a folder that :func:`export` wrote: all of it, or nothing; return how many entries. Raises VJError."""
    found = [_read(path) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise ConfigError(f"{folder} holds no dreams")
    sounds = {one.dream.id: _sound(folder, one.dream.sound) for one in found if one.dream.sound}
    drawn = {one.dream.id: [_card(folder, card) for card in one.pictures] for one in found}
    there = {dream.id: dream for dream in dreams.dreams()}
    begun: list[str] = []
    try:
        for one in found:
            begun.append(one.dream.id)
            _take(dreams, one.dream, sounds.get(one.dream.id, b""), drawn[one.dream.id], one.dream.id in there)
    except BaseException:
        for number in begun:
            with contextlib.suppress(VJError):
                if number in there:
                    dreams.write(there[number])
                else:
                    dreams.delete(number)
        raise
    return len(found)


_Drawn = tuple[str, list[tuple[Version, Picture, bool]]]


def _take(dreams: Dreams, dream: Dream, sound: bytes, drawn: Sequence[_Drawn], is_there: bool) -> None:
    with dreams.media.kept((b"" if is_there else sound, "flac")) as names:
        dreams.write(replace(dream, sound=names[0]))
    if not drawn or dreams.cards(dream.id):
        return
    boards = dreams.pictures
    board = dreams.board_for(dream.id)
    for sentence, versions in drawn:
        card = boards.add(board, Card(text=sentence, t_s=dream.t_s))
        chosen = 0
        for version, picture, stands in versions:
            number = boards.put(card.id, version, picture).version
            chosen = number if stands else chosen
        if chosen:
            boards.write(card.id, version=chosen)


def _read(path: Path) -> _File:
    whole = read_json(path, _File, FORMAT, FORMAT_VERSION, LARGEST)
    if not _NUMBER.fullmatch(whole.dream.id):
        raise ConfigError(f"{path}: a dream's number is twelve hexadecimal digits: got {whole.dream.id[:40]!r}")
    whole.dream = checked(whole.dream)
    return whole


def _card(folder: Path, card: _Card) -> _Drawn:
    rows = []
    for one in card.versions:
        data = _data(folder, one.picture, pictures.LARGEST_FILE)
        ending = "png" if one.picture.endswith(".png") else "jpg"
        picture = replace(pictures.read(data), data=data, ending=ending)  # as it was, and surely a picture
        rows.append((Version(**{key: getattr(one, key) for key in _VERSION}), picture, one.chosen))
    return kept_text(card.sentence, MAX_TEXT, "a sentence", 1), rows


def _sound(folder: Path, name: str) -> bytes:
    data = _data(folder, name, LARGEST_SOUND)
    unpacked(data)
    return data


def _data(folder: Path, name: str, most: int) -> bytes:
    """Return a file of the folder; one that lies elsewhere is none. Raises ConfigError."""
    if not re.fullmatch(r"[A-Za-z0-9-]{1,80}\.(jpg|png|flac)", name):
        raise ConfigError(f"{name[:60]!r} is no name of a picture or sound of a dream")
    path = folder / name
    try:
        if path.exists() and (not path.is_file() or path.stat().st_size > most):
            raise ConfigError(f"{path} is no file, or too large: {most >> 20} MiB at most")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def mint(dreams: Dreams, number: str, folder: Path, licence: str) -> str:
    """Write one entry with its SHA-256, the time and a licence, so that it can be shown what was written when.

    Returns the digest. Raises VJError.
    """
    dream, digest = dreams.dream(number), ""

    def fill(part: Path) -> None:
        nonlocal digest
        whole = _packed(dreams, dream, part, "dream")
        (part / "dream.json").write_bytes(whole)
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(part.iterdir())}
        digest = files.pop("dream.json")
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        minted: dict[str, Any] = {"sha256": digest, "file": "dream.json", "minted": now, "licence": licence}
        if files:
            minted["files"] = files
        (part / "mint.json").write_text(json.dumps(minted, indent=1) + "\n", encoding="utf-8")
        (part / "LICENCE.txt").write_text(f"{licence}\n", encoding="utf-8")

    write_folder(folder, fill)
    return digest


# -- paper -----------------------------------------------------------------------------------------------------


def write_pdf(
    path: Path, dreams: Dreams, found: Sequence[Dream], title: str, points: float, say: Callable[[str], None]
) -> int:
    """Write entries as a PDF, the oldest first; return how many pages. Raises ConfigError, OutputError."""
    if not found:
        raise ConfigError("there is no dream to write")
    entries = [_entry(dreams, dream) for dream in sorted(found, key=lambda one: one.t_s)]
    return write_entries(path, title, entries, points, say)


def _entry(dreams: Dreams, dream: Dream) -> Entry:
    about = [f"{datetime.fromtimestamp(dream.t_s):%A, %d %B %Y, %H:%M}"]
    about += [dream.mood] * bool(dream.mood) + [f"lucidity {dream.lucidity} of 5"] * bool(dream.lucidity)
    about += [" ".join(f"#{tag}" for tag in dream.tags)] * bool(dream.tags)
    shown = [
        Shown(card.text, lambda name=card.chosen.picture: dreams.pictures.media.read(name))  # type: ignore[misc]
        for card in dreams.cards(dream.id)
        if card.chosen is not None
    ][:PICTURES]
    text = dream.text or f"({dream.title}: not written down yet)"
    return Entry(dream.title, " · ".join(about), text, shown)
