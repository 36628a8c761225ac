"""Storyboards: scenes in a TOML file go in, placed on a song; a score take comes out, which film and stage can play.

A scene begins at a time, a bar, a part of the song, or after the one before it. It has a look (a preset, or a
generator), prompts in which names of a cast stand for how they look, a camera of keys and expressions, and a way in.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from vjserver.films.film import Reset, Title
from vjserver.films.places import FORMS, Places, clock, seconds_of
from vjserver.runtime.files import slug_of
from vjserver.show.addresses import FALLBACK_GENERATOR, MAX_NAME, MAX_SEED, MAX_TEXT, N_PROMPTS, PARAM
from vjserver.show.casting import span, told
from vjserver.show.expression import MARK, parse
from vjserver.show.preset import (
    Bank,
    Prompt,
    Strict,
    TravelTime,
    check_raw,
    flat,
    known_param,
    parse_toml,
    registry_of,
    settings_of,
)
from vjserver.show.registry import Registry
from vjserver.show.state import FEEDBACK, Look, MappingRow, ShowState, Travel, look_of, look_of_preset
from vjserver.show.take import Played, Take
from vjserver.stages.offline.hearing import NS
from vjserver.types.errors import ConfigError, UnknownNameError, nearest

LARGEST = 8 << 20
MOST_SCENES, MOST_KEYS = 2000, 100_000
KEYS_A_ROW = 90
"""An expression holds so many keys of a camera; the row after it goes on."""
ON_DROP_S = 16.0
"""A transition on the drop looks for one so near."""
REFERENCE_STRENGTH = 0.65
GOES_ON = "/vj/redo"
"""What brings a look in a score without beginning it anew."""
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


# -- on a song ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Placed:
    """A scene on the song."""

    number: int
    title: str
    begin_s: float
    end_s: float
    look: Look
    scene: Scene


@dataclass(frozen=True)
class Board:
    """A storyboard on a song: the state it begins in, and the score that plays it."""

    state: ShowState
    take: Take
    resets: tuple[Reset, ...]
    titles: tuple[Title, ...]
    inputs: dict[str, Path]
    scenes: tuple[Placed, ...]
    notes: tuple[str, ...]
    title: str = ""


def compiled(
    board: Storyboard, path: Path, places: Places, bank: Bank, registry: Registry, state: ShowState,
    on_stage: bool = False,
) -> Board:  # fmt: skip
    """Place a storyboard on a song. Raises ConfigError for scenes that overlap, or are at no place of the song.

    ``on_stage`` a look morphs where in a film pictures fade over: two scenes are not drawn at once there.
    """
    notes: list[str] = []
    begins = _begins(board, path, places, notes)
    inputs: dict[str, Path] = {}
    placed: list[Placed] = []
    for i, (scene, begin) in enumerate(zip(board.scenes, begins, strict=True)):
        end = begins[i + 1] if i + 1 < len(begins) else places.seconds
        with _where(path, i, scene):
            look = _look(board, scene, path, bank, registry, state, inputs)
        placed.append(Placed(i + 1, scene.name or f"Scene {i + 1}", begin, end, look, scene))
    rows, fades = _rows(placed, places, registry, ("morph", "crossfade") if on_stage else ("morph",), notes)
    first = replace(state, **{name: getattr(placed[0].look, name) for name in Look.__dataclass_fields__})
    if rows and rows[0].t_ns == 0 and rows[0].look is not None:
        first = replace(first, mappings=rows[0].look.mappings)
    titles = tuple(
        Title(round((one.begin_s + t.at) * NS), round((one.begin_s + t.at + t.lasts) * NS), t.text)
        for one in placed
        for t in one.scene.titles
    )
    notes += [
        f"scene {one.number}: its title {t.text[:40]!r} begins after the song's end"
        for one in placed
        for t in one.scene.titles
        if one.begin_s + t.at >= places.seconds
    ]
    names = tuple(Look.__dataclass_fields__)
    take = Take(first, tuple(rows), score=True, seed=board.seed, names=names)
    return Board(first, take, tuple(fades), titles, inputs, tuple(placed), tuple(notes), board.title)


class _where:  # noqa: N801 - reads as what it is: with _where(...)
    """Say of which scene a fault is told."""

    def __init__(self, path: Path, number: int, scene: Scene) -> None:
        self._head = f"{path}: scene {number + 1}" + (f" ({scene.name})" if scene.name else "")

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ConfigError):
            hint = "; a show's own presets come with --show FILE" if isinstance(error, UnknownNameError) else ""
            raise ConfigError(f"{self._head}: {error}{hint}") from None


def _begins(board: Storyboard, path: Path, places: Places, notes: list[str]) -> list[float]:
    """Return when each scene begins, in seconds."""
    begins: list[float] = []
    for i, scene in enumerate(board.scenes):
        with _where(path, i, scene):
            before = board.scenes[i - 1] if i else None
            end = _end(before, begins[-1], places) if before is not None and before.lasts else None
            if scene.at:
                begin = places.find(scene.at)
                if end is not None and begin < end - 1e-3:
                    raise ConfigError(
                        f"it begins at {clock(begin)}, and the scene before it lasts until {clock(end)}: they overlap"
                    )
            elif before is None:
                begin = 0.0
            elif end is None:
                raise ConfigError(f"when does it begin? Give it an `at` ({FORMS}), or `lasts` to the scene before it")
            else:
                begin = end
            begin = _on(scene, begin, places, notes, i)
            if begins and begin <= begins[-1] + 1e-6:
                raise ConfigError(f"it begins at {clock(begin)}, and the scene before it at {clock(begins[-1])}")
            if begin >= places.seconds:
                raise ConfigError(f"it begins at {clock(begin)}, and the song ends at {clock(places.seconds)}")
            begins.append(begin)
    return begins


def _end(scene: Scene, begin: float, places: Places) -> float:
    seconds = seconds_of(scene.lasts)
    if seconds is not None:
        return begin + seconds
    count, unit = scene.lasts.split()
    if unit.startswith("beat"):
        return places.beats_after(begin, float(count))
    bar = places.bar_at(begin)
    if bar and abs(places.bars[bar - 1] - begin) < 0.02 and float(count).is_integer():
        last = bar - 1 + int(count)
        if last < len(places.bars):
            return places.bars[last]
    return places.beats_after(begin, 4 * float(count))


def _on(scene: Scene, begin: float, places: Places, notes: list[str], number: int) -> float:
    if scene.transition.on == "bar":
        return places.nearest_bar(begin)
    if scene.transition.on == "drop":
        drop = places.nearest("drop", begin, ON_DROP_S)
        if drop is None:
            notes.append(f"scene {number + 1}: no drop within {ON_DROP_S:g} s of {clock(begin)}: it begins there")
        return begin if drop is None else drop
    return begin


def _look(
    board: Storyboard, scene: Scene, path: Path, bank: Bank, registry: Registry, state: ShowState,
    inputs: dict[str, Path],
) -> Look:  # fmt: skip
    """Return how a scene looks."""
    wanted = scene.preset if scene.preset is not None else board.preset
    look = look_of_preset(*bank.find(wanted), registry) if wanted is not None else look_of(state)
    changes: dict[str, Any] = {}
    if scene.generator is not None:
        kinds = [*registry.infos]
        if scene.generator not in registry.infos:
            raise ConfigError(f"unknown generator {scene.generator!r}{nearest(scene.generator, kinds)}; there are: "
                              f"{', '.join(kinds)}")  # fmt: skip
        changes |= {"generator": scene.generator, "model": ""}
    if scene.model is not None:
        changes["model"] = scene.model
    cast = [name for name in board.cast if any(span(name, prompt.text) for prompt in scene.prompts)]
    if scene.prompts:
        looks = {name: member.look for name, member in board.cast.items()}
        texts = [told(prompt.text, looks, board.style) for prompt in scene.prompts]
        rest = N_PROMPTS - len(texts)
        changes["texts"] = (*texts, *[""] * rest)
        changes["weights"] = (*(prompt.weight for prompt in scene.prompts), *[0.0] * rest)
    negative = scene.negative if scene.negative is not None else board.negative
    changes["negative"] = negative or look.negative
    if scene.travel is not None:
        changes["travel"] = Travel(**scene.travel.model_dump())
    elif scene.transition.kind == "cut":
        changes["travel"] = Travel()
    seed = scene.seed if scene.seed is not None else board.seed
    if seed is not None:
        changes["seed"] = seed
    knobs = settings_of(scene.params, scene.raw, registry)
    source, strength = scene.input, scene.strength
    if source is None:
        source = next((str(board.cast[n].picture) for n in cast if board.cast[n].picture is not None), None)
        strength = REFERENCE_STRENGTH if strength is None and source is not None else strength
    if source is not None:
        changes["input"] = _input(source, path, registry, inputs)
    if strength is not None:
        knobs["strength"] = registry.parameters["strength"].norm(strength)
    if scene.preset is None and scene.generator is not None:
        changes |= {"preset_name": scene.name or scene.generator}
    return replace(look, **changes, params=registry.bounded({**look.params, **knobs}))


def _input(name: str, path: Path, registry: Registry, inputs: dict[str, Path]) -> str:
    """Return the name of what a scene starts from: a generator, the last picture, or a file that is shown."""
    if name in registry.infos or name in (FEEDBACK, "", FALLBACK_GENERATOR):
        return name
    try:
        file = path.parent / Path(name).expanduser()
        there = file.is_file()
    except (OSError, RuntimeError, ValueError):
        there, file = False, Path(name[:80])
    if not there:
        raise ConfigError(f"no such picture or film to start from: {file}")
    known = next((called for called, one in inputs.items() if one == file), None)
    if known is None:
        known, number = slug_of(file.stem) or "picture", 1
        while known in inputs:
            number += 1
            known = f"{slug_of(file.stem) or 'picture'}-{number}"
        inputs[known] = file
    return known


# -- the score ---------------------------------------------------------------------------------------------------


def _rows(
    placed: list[Placed], places: Places, registry: Registry, morphs: tuple[str, ...], notes: list[str]
) -> tuple[list[Played], list[Reset]]:
    rows: list[Played] = []
    fades: list[Reset] = []
    for one in placed:
        t_ns, way = round(one.begin_s * NS), one.scene.transition
        end_s = places.beats_after(one.begin_s, way.beats) if way.beats else one.begin_s + way.seconds
        lasts_s = end_s - one.begin_s if t_ns else 0.0
        if lasts_s > one.end_s - one.begin_s:
            lasts_s = one.end_s - one.begin_s
            notes.append(f"scene {one.number}: its {way.kind} is cut to {lasts_s:.2f} s, as long as the scene lasts")
        if way.kind != "morph" and t_ns:
            fades.append(Reset(t_ns, t_ns + (round(lasts_s * NS) if way.kind == "crossfade" else 0)))
        parts = _camera(one.scene, registry)
        for i, (after_s, mappings) in enumerate(parts):
            look = replace(one.look, mappings=(*_moved(one.look.mappings, mappings), *mappings))
            at_ns = round((one.begin_s + after_s) * NS)
            if i and after_s >= one.end_s - one.begin_s:
                break
            if i:  # the camera goes on: the scene does not begin again
                rows.append(Played(at_ns, GOES_ON, (), look))
                continue
            rows.append(Played(at_ns, "/vj/morph/beats", (0.0,)))
            rows.append(Played(at_ns, "/vj/morph/seconds", (lasts_s if way.kind in morphs else 0.0,)))
            rows.append(Played(at_ns, "/vj/snapshot/recall", (1,), look))
    return rows, fades


def _moved(rows: tuple[MappingRow, ...], camera: tuple[MappingRow, ...]) -> tuple[MappingRow, ...]:
    """Return a preset's mappings, but for the knobs that a camera holds."""
    held = {row.to for row in camera}
    return tuple(row for row in rows if row.to not in held)


def _camera(scene: Scene, registry: Registry) -> list[tuple[float, tuple[MappingRow, ...]]]:
    """Return the mappings of a scene's camera: from when on, in seconds of the scene, which."""
    keys = {name: simplified(value) for name, value in scene.camera.items() if isinstance(value, list)}
    begins = sorted({0.0, *(rows[i][0] for rows in keys.values() for i in range(KEYS_A_ROW, len(rows), KEYS_A_ROW))})
    result = []
    for begin in begins:
        mappings = []
        for name, value in scene.camera.items():
            if name in keys:
                text = _ramp(keys[name], begin)
            else:
                text = str(value).removeprefix(MARK) if isinstance(value, str) else repr(float(value))  # type: ignore[arg-type]
            to = registry.canonical(f"{PARAM}{registry.aliases.get(name, name)}")
            mappings.append(MappingRow(f"{MARK}{text}", to, 0.0, 1.0, "linear", "set", 0.0, 0.0))
        result.append((begin, tuple(mappings)))
    return result


def _ramp(keys: list[tuple[float, float]], begin_s: float) -> str:
    """Return the expression of keys from a time on."""
    first = max((i for i, (t, _) in enumerate(keys) if t <= begin_s), default=0)
    part = keys[first : first + KEYS_A_ROW + 2]
    if len(part) == 1:
        return repr(float(part[0][1]))
    return f"ramp(t, {', '.join(f'{t:.6g}, {v:.6g}' for t, v in part)})"


def simplified(keys: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return keys without those that lie on the line between their neighbours."""
    kept = [keys[0]]
    for i in range(1, len(keys) - 1):
        (t0, v0), (t1, v1), (t2, v2) = kept[-1], keys[i], keys[i + 1]
        line = v0 + (v2 - v0) * (t1 - t0) / (t2 - t0) if t2 > t0 else v0
        if abs(line - v1) > 1e-6 * max(1.0, abs(v1)):
            kept.append(keys[i])
    return [*kept, keys[-1]] if len(keys) > 1 else kept
