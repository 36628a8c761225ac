"""Storyboards: scenes in a TOML file go in, placed on a song; a score take comes out, which film and stage can play.

A scene begins at a time, a bar, a part of the song, or after the one before it. It has a look (a preset, or a
generator), prompts in which names of a cast stand for how they look, a camera of keys and expressions, and a way in.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from vjserver.films.places import seconds_of
from vjserver.show.addresses import MAX_NAME, MAX_SEED, MAX_TEXT, N_PROMPTS
from vjserver.show.expression import MARK, parse
from vjserver.show.preset import Prompt, Strict, TravelTime, check_raw, flat, known_param, registry_of
from vjserver.show.presettext import parse_toml
from vjserver.show.registry import Registry
from vjserver.types.errors import ConfigError

LARGEST = 8 << 20
MOST_SCENES, MOST_KEYS = 2000, 100_000
KEYS_A_ROW = 90
"""An expression holds so many keys of a camera; the row after it goes on."""
ON_DROP_S = 16.0
"""A transition on the drop looks for one so near."""
REFERENCE_STRENGTH = 0.65
LARGEST_VALUE = 1e9


def _camera_value(value: object) -> object:
    """Return what moves a knob: a number, an expression, or keys. Raises ValueError with what is allowed."""
    if isinstance(value, str):
        try:
            parse(value.removeprefix(MARK))
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value
    rows: list[Any] = value if isinstance(value, list) else [[0.0, value]]
    if not 0 < len(rows) <= MOST_KEYS:
        raise ValueError(f"1 to {MOST_KEYS} keys: got {len(rows)}")
    last = 0.0
    for row in rows:
        if not isinstance(row, list) or len(row) != 2 or not all(_is_number(one) for one in row):
            raise ValueError(f"a number, an expression, or keys [[seconds, value], ...]: got {str(row)[:60]}")
        if row[0] < last:
            raise ValueError(f"keys are [seconds, value], one after another in time: got {row[0]:g} after {last:g}")
        last = row[0]
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST_VALUE


def _length(text: str) -> str:
    words = text.split()
    counted = len(words) == 2 and words[1] in ("bar", "bars", "beat", "beats") and _number(words[0]) is not None
    if not counted and seconds_of(text) is None:
        raise ValueError(f"a length is 12.5 (seconds), 8 bars or 16 beats: got {text[:40]!r}")
    return text


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0.0 < value < 1e6 else None


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class Member(Strict):
    """Somebody, or a place, that scenes name: how it looks, and a picture to start from."""

    look: str = Field(min_length=1, max_length=MAX_TEXT)
    picture: Path | None = None


class Words(Strict):
    """A title: what is written over the picture, from so many seconds after the scene's beginning, for how long."""

    text: str = Field(min_length=1, max_length=300)
    at: float = Field(0.0, ge=0.0, le=86400.0)
    lasts: float = Field(4.0, gt=0.0, le=86400.0)


class Transition(Strict):
    """The way into a scene: a cut, a morph of the looks, or a crossfade of the pictures; on the drop if it shall."""

    kind: Literal["cut", "morph", "crossfade"] = "cut"
    beats: float = Field(0.0, ge=0.0, le=256.0)
    seconds: float = Field(0.0, ge=0.0, le=600.0)
    on: Literal["", "bar", "drop"] = ""


Text = Annotated[str, AfterValidator(_length)]
Knobs = dict[Annotated[str, AfterValidator(known_param)], Annotated[float, Field(ge=0.0, le=1.0)]]
Raw = dict[Annotated[str, AfterValidator(known_param)], float]
Moves = Annotated[float | str | list[tuple[float, float]], BeforeValidator(_camera_value)]
Camera = dict[Annotated[str, AfterValidator(known_param)], Moves]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]


class Scene(Strict):
    """A scene. What it does not say is as its preset has it, or as the storyboard says for all."""

    name: str = Field("", max_length=MAX_NAME)
    at: str = ""
    lasts: str = ""
    preset: str | int | None = None
    generator: str | None = None
    model: str | None = Field(None, max_length=MAX_NAME)
    prompts: tuple[Prompt, ...] = Field((), max_length=N_PROMPTS)
    negative: str | None = Field(None, max_length=MAX_TEXT)
    travel: TravelTime | None = None
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    input: str | None = Field(None, max_length=4096)
    strength: float | None = Field(None, ge=0.0, le=1.0)
    params: Knobs = Field(default_factory=dict)
    raw: Raw = Field(default_factory=dict)
    camera: Camera = Field(default_factory=dict)
    transition: Transition = Transition()
    titles: tuple[Words, ...] = Field((), max_length=32)

    @field_validator("at", mode="before")
    @classmethod
    def _place(cls, value: object) -> object:
        return _as_text(value)

    @field_validator("lasts", mode="before")
    @classmethod
    def _lasting(cls, value: object) -> object:
        value = _as_text(value)
        return _length(value) if isinstance(value, str) and value else value

    @field_validator("prompts", mode="before")
    @classmethod
    def _plain_prompts(cls, rows: object) -> object:
        rows = [rows] if isinstance(rows, str) else rows
        return [{"text": row} if isinstance(row, str) else row for row in rows] if isinstance(rows, list) else rows

    @field_validator("params", "raw", "camera", mode="before")
    @classmethod
    def _flat(cls, rows: object) -> object:
        return flat(rows) if isinstance(rows, dict) else rows

    @model_validator(mode="after")
    def _ranges(self, info: ValidationInfo) -> "Scene":
        check_raw(self.raw, registry_of(info))
        if self.preset is not None and self.generator is not None:
            raise ValueError("a scene has a preset or a generator: the preset says which generator plays")
        return self


class Storyboard(Strict):
    """A film's scenes, and what is the same in all of them: preset, style, negative prompt, seed, and the cast."""

    title: str = Field("", max_length=300)
    style: str = Field("", max_length=MAX_TEXT)
    negative: str = Field("", max_length=MAX_TEXT)
    preset: str | int | None = None
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    cast: dict[Name, Member] = Field(default_factory=dict)
    scenes: tuple[Scene, ...] = Field((), max_length=MOST_SCENES)

    @model_validator(mode="after")
    def _of_scenes(self) -> "Storyboard":
        if not self.scenes:
            raise ValueError("there are no scenes: [[scenes]] begins one")
        return self


def read_storyboard(path: Path, registry: Registry) -> Storyboard:
    """Read a storyboard. Raises ConfigError: file, line, column, key, and what is allowed."""
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} is too large for a storyboard: {LARGEST >> 20} MiB at most")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    return parse_toml(Storyboard, text, str(path), registry, columns=True)
