"""What a film is made from: an order as it was typed goes in, a film that can be made comes out."""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vjserver.app.preset_bank import load_bank
from vjserver.app.show import Show, first_state, load_show
from vjserver.dsp.options import EarOptions
from vjserver.films import hearings, join
from vjserver.films.beats import read_beats
from vjserver.films.codecs import Codec, codec_of
from vjserver.films.compiled import Board, compiled
from vjserver.films.film import Between, Film
from vjserver.films.places import Places, rate_of
from vjserver.films.sheet import undrawable
from vjserver.films.song import Song
from vjserver.films.storyboard import read_storyboard
from vjserver.runtime.installed import installed
from vjserver.show.addresses import MAX_SEED
from vjserver.show.bank import Bank
from vjserver.show.cues import CueList
from vjserver.show.looks import enter
from vjserver.show.preset import Preset
from vjserver.show.registry import Registry
from vjserver.show.take import Take, parse
from vjserver.stages.control.takes import SOUND
from vjserver.stages.control.takesound import join_pieces
from vjserver.stages.offline.hearing import EarMode, Hearing
from vjserver.stages.offline.performance import frames_of
from vjserver.types.errors import ConfigError, DeviceError
from vjserver.types.features import STEMS

_STEM = re.compile(rf"\b({'|'.join(STEMS)})[/_]\w")
SIZE, FPS = (1280, 720), "30"
DRAFT_SIDE, DRAFT_EVERY = 384, 3
CHOOSE = ("/vj/generator", "/vj/model", "/vj/input", "/vj/size")
LARGEST_SIDE, MOST_WORKERS = 8192, 256
LONGEST_NAME = 200


@dataclass(frozen=True)
class Order:
    """What is asked for: the options of ``vjserver render``, as they were typed."""

    song: Path | None
    output: Path
    preset: str | None = None
    show: Path | None = None
    storyboard: Path | None = None
    take: Path | None = None
    size: str | None = None
    fps: str | None = None
    begin: str | None = None
    end: str | None = None
    seed: int | None = None
    stems: tuple[str, ...] = ()
    draft: bool = False
    workers: int = 1
    ray: str | None = None
    codec: str = ""
    ear: EarMode | None = None
    beats: Path | None = None
    every: int = 1
    between: Between = "crossfade"


@dataclass(frozen=True)
class Ready:
    """A film that can be made, and what it is made with."""

    film: Film
    song: Song
    hearing: Hearing
    begin: Fraction
    board: Board | None
    notes: tuple[str, ...]


def prepared(order: Order, say: Callable[[str], None], on_stage: bool = False) -> Ready:
    """Return the film that is asked for, the song having been heard. Raises VJError."""
    codec, registry = codec_of(order.codec, order.output), installed()
    show = load_show(order.show, registry)
    size = _size(order, show, codec)
    rate = rate_of(order.fps or (str(Fraction(show.video.fps).limit_denominator(1001)) if order.show else FPS))
    _check_numbers(order)
    _check_output(order, codec)
    bank = load_bank(show.presets, registry)
    take = _read_take(order.take, registry) if order.take is not None else None
    if take is not None and order.preset is not None:
        take, bank = played_by(take, bank, bank.find(order.preset)[1])
    song = Song.open(order.song or _sound_of_take(order.take))
    notes = [f"{song.path} is damaged: what cannot be read is silence"] if song.damaged else []
    notes += [f"of the take {take.idle}"] if take is not None and take.idle else []
    mode: EarMode = order.ear or ("live" if take is not None and not take.score else "hindsight")
    folder, hearing = _heard(song, show.ear, mode, order, say)
    if not hearing.beats and mode == "hindsight":
        notes.append("no beat was heard in the song: bars and beats do not move anything")
    places = Places(hearing)
    begin = Fraction(places.find(order.begin)).limit_denominator(10**6) if order.begin else Fraction(0)
    end = Fraction(places.find(order.end)).limit_denominator(10**6) if order.end else song.seconds
    first, last = frames_of(begin, rate), frames_of(end, rate)
    if last <= first:
        raise ConfigError(f"--from {order.begin} to --to {order.end} is no time: the end must come after the beginning")
    state = first_state(show)
    state = enter(state, *bank.find(order.preset if order.preset is not None else show.preset), registry)
    stems = {role: hearings.heard(Song.open(path), show.ear, "hindsight", None, _quiet)
             for role, path in _stems(order.stems).items()}  # fmt: skip
    film = Film(
        folder, rate, size, first, last, codec, registry, bank, state,
        seed=order.seed if order.seed is not None else 1, take=take, cues=CueList(show.cues),
        doors=dict(show.generators), inputs=file_inputs(show),
        every=max(order.every, DRAFT_EVERY if order.draft else 1),
        between="hold" if order.draft and order.every == 1 else order.between, stems=stems,
    )  # fmt: skip
    board = None
    if order.storyboard is not None:
        read = read_storyboard(order.storyboard, registry)
        board = compiled(read, order.storyboard, places, bank, registry, state, on_stage)
        film = with_board(film, board)
        notes += board.notes
        signs = undrawable("".join(title.text for title in board.titles))
        notes += [f"the font of titles has no {' '.join(signs)}: left out"] if signs else []
    if order.seed is not None and take is None:
        film = replace(film, state=replace(film.state, seed=order.seed))
    notes += _missing_stems(film)
    return Ready(film, song, hearing, Fraction(first) / rate, board, tuple(notes))


def _missing_stems(film: Film) -> list[str]:
    """Return what is to be said of tracks that mappings listen to, and that nobody gave."""
    rows = () if film.take is None else film.take.rows
    looks = [film.state, *(row.look for row in rows if row.look is not None)]
    named = {stem for look in looks for row in look.mappings for stem in _STEM.findall(row.source)}
    return [
        f"mappings listen to the {stem}, and nobody gave them: --stem {stem}=FILE; until then the whole song is heard"
        for stem in STEMS
        if stem in named and stem not in film.stems
    ]


def played_by(take: Take, bank: Bank, other: Preset) -> tuple[Take, Bank]:
    """Return a take, and the presets that it calls, with the generator, model and input of another preset.

    What was played stays: knobs, prompts, cues and hands; what chose a generator is left out.
    """
    own: Any = {name: getattr(other, name) for name in ("generator", "model", "input", "size")}
    rows = tuple(
        row if row.look is None else replace(row, look=replace(row.look, **own))
        for row in take.rows
        if row.address not in CHOOSE
    )
    presets = [(slug, preset.model_copy(update=own)) for slug, preset in bank.presets]
    return replace(take, state=replace(take.state, **own), rows=rows), Bank(presets, bank.banks)


def with_board(film: Film, board: Board) -> Film:
    """Return a film that plays a storyboard."""
    return replace(
        film, state=board.state, take=board.take, resets=board.resets, titles=board.titles,
        inputs={**film.inputs, **board.inputs},
    )  # fmt: skip


def _heard(
    song: Song, ear: EarOptions, mode: EarMode, order: Order, say: Callable[[str], None]
) -> tuple[Path, Hearing]:
    beats = read_beats(order.beats) if order.beats is not None else None
    last = [time.monotonic()]

    def progress(share: float) -> None:
        if time.monotonic() - last[0] > 2.0:
            last[0] = time.monotonic()
            say(f"listening ... {share:.0%}")

    folder = hearings.heard(song, ear, mode, beats, progress)
    return folder, Hearing.load(folder)


def _quiet(_share: float) -> None:
    """Say nothing."""


def sides_of(text: str | None, usual: tuple[int, int]) -> tuple[int, int]:
    """Return the width and height that ``--size`` says, the usual ones where it says none. Raises ConfigError."""
    if text is None:
        return usual
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ConfigError(f"--size must be WIDTHxHEIGHT, such as 1920x1080: got {text[:40]!r}")
    size = int(width), int(height)
    if any(not 16 <= side <= LARGEST_SIDE for side in size):
        raise ConfigError(f"--size: a side is in 16..{LARGEST_SIDE}: got {size[0]}x{size[1]}")
    return size


def _size(order: Order, show: Show, codec: Codec) -> tuple[int, int]:
    size = sides_of(order.size, (show.video.width, show.video.height) if order.show is not None else SIZE)
    codec.check(size)
    if not order.draft:
        return size
    scale = min(1.0, DRAFT_SIDE / max(size))
    step = max(8, *codec.sides)
    return max(step, round(size[0] * scale / step) * step), max(step, round(size[1] * scale / step) * step)


def _check_numbers(order: Order) -> None:
    if not 1 <= order.workers <= MOST_WORKERS:
        raise ConfigError(f"--workers must be in 1..{MOST_WORKERS}: got {order.workers}")
    if not 1 <= order.every <= 60:
        raise ConfigError(f"--every must be in 1..60: got {order.every}")
    if order.seed is not None and not 0 <= order.seed <= MAX_SEED:
        raise ConfigError(f"--seed must be in 0..{MAX_SEED}: got {order.seed}")
    given = [name for name in ("preset", "storyboard", "take") if getattr(order, name) is not None]
    if order.storyboard is not None and order.take is not None:
        raise ConfigError("--storyboard and --take both say what plays when: give one of them")
    if "preset" in given and "storyboard" in given:
        raise ConfigError("a storyboard says its presets itself: leave --preset out")
    if order.song is None and order.take is None:
        raise ConfigError("a film needs a SONG: vjserver render SONG -o FILM.mp4")


def _check_output(order: Order, codec: Codec) -> None:
    """Raise ConfigError for a place where no film can be."""
    output = order.output
    if not output.name or output.name in (".", "..") or len(os.fsencode(output.name)) > LONGEST_NAME:
        raise ConfigError(f"-o is the name of a film, of {LONGEST_NAME} bytes at most: got {str(output)[:80]!r}")
    if output.is_dir() and output.suffix:
        raise ConfigError(f"{output} is a folder")
    if not codec.container:
        join.check_folder(output)
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {output.absolute().parent}")
    check_not_source(output, order.song, order.take, order.storyboard, order.show)


def check_not_source(output: Path, *sources: Path | None) -> None:
    """Raise ConfigError for an output that is what it is made from."""
    if any(one is not None and one.exists() and output.exists() and one.samefile(output) for one in sources):
        raise ConfigError(f"{output} is what it is made from: give another name behind -o")


def _read_take(path: Path, registry: Registry) -> Take:
    try:
        with path.open("rb") as file:
            return parse(file, str(path), registry)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _sound_of_take(path: Path | None) -> Path:
    assert path is not None
    sound = path.with_suffix(SOUND)
    try:
        join_pieces(sound)
    except (OSError, RuntimeError) as error:
        raise DeviceError(f"{sound} cannot be put together: {error}") from None
    if not sound.is_file():
        raise DeviceError(f"{path.name} has no sound beside it ({sound.name}): vjserver render SONG --take {path}")
    return sound


def _stems(rows: tuple[str, ...]) -> dict[str, Path]:
    result: dict[str, Path] = {}
    for row in rows:
        role, sign, path = row.partition("=")
        if role not in STEMS or not sign or not path:
            raise ConfigError(f"--stem is ROLE=FILE, and a role is {', '.join(STEMS)}: got {row[:60]!r}")
        if role in result:
            raise ConfigError(f"--stem {role} is there twice")
        result[role] = Path(path)
    return result


def file_inputs(show: Show) -> dict[str, Path]:
    """Return the inputs of a show that are files: a film reads no others."""
    return {name: Path(door["path"]) for name, door in show.inputs.items() if door["kind"] == "file"}
