"""Folders of a board: pictures and a JSON that says everything, to take away and to bring back; and Storyboarder's."""

import base64
import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np

from vjserver.keeping.boards import MOST_CARDS, Boards
from vjserver.keeping.cards import Board, Card, Version
from vjserver.keeping.folders import read_json, write_folder
from vjserver.keeping.pictures import read
from vjserver.show.addresses import FALLBACK_GENERATOR
from vjserver.types.errors import ConfigError, VJError

FORMAT, FORMAT_VERSION = "vjserver board", 1
STORYBOARDER = "3.0.0"
SECONDS = 2.0
LARGEST = 64 << 20
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,80}\.(jpg|png|flac)")


class _Card(msgspec.Struct):
    text: str
    said: str = ""
    notes: str = ""
    heard: str = "made"
    who: str = ""
    language: str = ""
    t_s: float = 0.0
    star: bool = False
    sound: str = ""
    sound_s: float = 0.0
    chosen: int = -1
    versions: list[dict[str, Any]] = []


class _Board(msgspec.Struct):
    format: str
    version: int
    name: str = ""
    style: str = ""
    negative: str = ""
    made_s: float = 0.0
    cast: list[dict[str, str]] = []
    cards: list[_Card] = []


# -- pictures and JSON ------------------------------------------------------------------------------------------


def export_pictures(boards: Boards, board: Board, folder: Path) -> None:
    """Write a board as a folder: ``board.json``, and its pictures and sounds. Raises VJError."""
    write_folder(folder, lambda part: _fill(boards, board, part))


def _fill(boards: Boards, board: Board, folder: Path) -> None:
    def put(name: str, as_name: str) -> str:
        path = boards.media.path(name)
        if path is None:
            return ""
        if path.suffix == ".flac":
            shutil.copyfile(path, folder / f"{as_name}.flac")
            return f"{as_name}.flac"
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            return ""
        _put(folder / f"{as_name}.png", image)
        return f"{as_name}.png"

    cards = []
    for number, card in enumerate(boards.cards(board.id), 1):
        versions = []
        made = [one for one in card.versions if one.making == "made"]
        for i, one in enumerate(made):
            row = {key: value for key, value in asdict(one).items() if key in _VERSION_KEYS}
            row["look"] = base64.b64encode(one.look).decode()
            versions.append(row | {"picture": put(one.picture, f"card-{number:05}-{chr(97 + i % 26)}{i // 26 or ''}")})
        chosen = next((i for i, one in enumerate(made) if one.id == card.version), -1)
        row = {key: value for key, value in asdict(card).items() if key in _CARD_KEYS}
        sound = put(card.sound, f"card-{number:05}-sound")
        cards.append(row | {"sound": sound, "versions": versions, "chosen": chosen})
    cast = [
        {"name": one.name, "look": one.look, "picture": put(one.picture, f"cast-{i:02}")}
        for i, one in enumerate(board.cast, 1)
    ]
    whole = {
        "format": FORMAT, "version": FORMAT_VERSION, "name": board.name, "style": board.style,
        "negative": board.negative, "made_s": board.made_s, "cast": cast, "cards": cards,
    }  # fmt: skip
    (folder / "board.json").write_text(json.dumps(whole, ensure_ascii=False, indent=1), encoding="utf-8")


_VERSION_KEYS = ("prompt", "negative", "seed", "generator", "model", "licence", "t_s")
_CARD_KEYS = ("text", "said", "notes", "heard", "who", "language", "t_s", "star", "sound_s")


def import_pictures(boards: Boards, folder: Path) -> Board:
    """Take in a folder that :func:`export_pictures` wrote, as a new board. Raises VJError; then nothing is left."""
    path = folder / "board.json"
    whole = read_json(path, _Board, FORMAT, FORMAT_VERSION, LARGEST)
    if len(whole.cards) > MOST_CARDS:
        raise ConfigError(f"{path} has {len(whole.cards)} cards: {MOST_CARDS} at most")
    board = boards.make(whole.name or folder.name, whole.style, whole.negative)
    try:
        for member in whole.cast:
            data = _data(folder, member.get("picture", ""))
            boards.cast(board.id, member.get("name", ""), member.get("look", ""), data or None, "jpg")
        for card in whole.cards:
            _take(boards, board, card, folder)
    except (VJError, TypeError, ValueError) as error:
        boards.delete_board(board.id)
        if isinstance(error, VJError):
            raise
        raise ConfigError(f"{path} is no board: {error}") from None
    return boards.board(board.id)


def _take(boards: Boards, board: Board, row: _Card, folder: Path) -> None:
    heard: Any = row.heard if row.heard in ("said", "typed", "made") else "made"
    card = boards.add(
        board.id,
        Card(text=row.text, said=row.said, notes=row.notes, heard=heard, who=row.who, language=row.language,
             t_s=row.t_s, star=row.star),
    )  # fmt: skip
    numbers = []
    for one in row.versions:
        values: Mapping[str, Any] = {key: one[key] for key in _VERSION_KEYS if key in one}
        version = msgspec.convert(dict(values), _Values)
        picture = read(_data(folder, str(one.get("picture", ""))))
        look = base64.b64decode(str(one.get("look", "")), validate=True)
        fields = {key: getattr(version, key) for key in _VERSION_KEYS}
        numbers.append(boards.put(card.id, replace(Version(**fields), look=look), picture).version)
    if 0 <= row.chosen < len(numbers):
        boards.write(card.id, version=numbers[row.chosen])
    sound = _data(folder, row.sound)
    if sound:
        boards.keep_sound(card.id, sound, row.sound_s)


class _Values(msgspec.Struct):
    prompt: str = ""
    negative: str = ""
    seed: int = 0
    generator: str = FALLBACK_GENERATOR
    model: str = ""
    licence: str = ""
    t_s: float = 0.0


def _data(folder: Path, name: str) -> bytes:
    """Return a file of the folder; one that lies elsewhere is none. Raises ConfigError."""
    if not name:
        return b""
    if not _PLAIN.fullmatch(name):
        raise ConfigError(f"{name[:60]!r} is no name of a picture or sound of a board")
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ConfigError(f"{folder / name} cannot be read: {error.strerror}") from None


# -- Storyboarder -----------------------------------------------------------------------------------------------


def export_storyboarder(boards: Boards, board: Board, folder: Path, name: str) -> None:
    """Write a board as a folder that Wonder Unit's Storyboarder opens. Raises VJError."""
    write_folder(folder, lambda part: _fill_storyboarder(boards, board, part, name))


def _fill_storyboarder(boards: Boards, board: Board, folder: Path, name: str) -> None:
    images = folder / "images"
    images.mkdir()
    rows, time_ms = [], 0
    edited = round(time.time() * 1000)
    for number, card in enumerate(boards.cards(board.id), 1):
        uid = _uid(number)
        url = f"board-{number}-{uid}"
        duration = round(max(SECONDS, card.sound_s) * 1000)
        row: dict[str, Any] = {
            "uid": uid, "url": f"{url}.png", "newShot": True, "lastEdited": edited, "number": number,
            "shot": f"{number}A", "time": time_ms, "duration": duration, "action": card.text,
            "dialogue": card.said if card.said != card.text else "", "notes": card.notes, "layers": {},
        }  # fmt: skip
        chosen = card.chosen
        data = boards.media.read(chosen.picture) if chosen is not None else b""
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if image is not None:
            row["layers"] = {"reference": {"url": f"{url}-reference.png", "opacity": 1}}
            full = _fitted(image, 1600, 900)
            _put(images / f"{url}-reference.png", full)
            _put(images / f"{url}-posterframe.jpg", full)
            _put(images / f"{url}-thumbnail.png", cv2.resize(full, (107, 60), interpolation=cv2.INTER_AREA))
        sound = boards.media.path(card.sound)
        if sound is not None:
            row["audio"] = {"filename": f"{uid}-audio-{edited}.wav", "duration": round(card.sound_s * 1000)}
            _put_wav(sound, images / f"{uid}-audio-{edited}.wav")
        rows.append(row)
        time_ms += duration
    whole = {
        "version": STORYBOARDER, "aspectRatio": 16 / 9, "fps": 24, "defaultBoardTiming": round(SECONDS * 1000),
        "boards": rows,
    }  # fmt: skip
    (folder / f"{name}.storyboarder").write_text(json.dumps(whole, ensure_ascii=False, indent=2), encoding="utf-8")


def _uid(number: int) -> str:
    """Return five capitals and digits, another for each number."""
    signs = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    value, text = number * 7919 + 1679616, ""
    for _ in range(5):
        value, digit = divmod(value, 36)
        text = signs[digit] + text
    return text


def _fitted(image: Any, width: int, height: int) -> Any:
    """Return a picture within a size, black beside it."""
    scale = min(width / image.shape[1], height / image.shape[0])
    wide, high = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    whole = np.zeros((height, width, 3), np.uint8)
    top, left = (height - high) // 2, (width - wide) // 2
    whole[top : top + high, left : left + wide] = cv2.resize(image, (wide, high), interpolation=cv2.INTER_AREA)
    return whole


def _put(path: Path, image: Any) -> None:
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def _put_wav(sound: Path, path: Path) -> None:
    import soundfile

    samples, rate = soundfile.read(sound, dtype="int16", always_2d=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")
