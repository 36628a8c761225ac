"""A storyboard is compiled: scenes and the song's places go in, a score comes out."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vjserver.films.film import Reset, Title
from vjserver.films.places import FORMS, Places, clock, seconds_of
from vjserver.films.storyboard import KEYS_A_ROW, ON_DROP_S, REFERENCE_STRENGTH, Scene, Storyboard
from vjserver.runtime.files import slug_of
from vjserver.show.addresses import FALLBACK_GENERATOR, N_PROMPTS, PARAM
from vjserver.show.bank import Bank
from vjserver.show.casting import span, told
from vjserver.show.expression import MARK
from vjserver.show.looks import look_of_preset
from vjserver.show.preset import settings_of
from vjserver.show.registry import Registry
from vjserver.show.state import FEEDBACK, Look, MappingRow, ShowState, Travel, look_of
from vjserver.show.take import Played, Take
from vjserver.stages.offline.hearing import NS
from vjserver.types.errors import ConfigError, UnknownNameError, nearest

GOES_ON = "/vj/redo"
"""What brings a look in a score without beginning it anew."""


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
