"""vjserver render: a song and a look (preset, show, storyboard or take) go in, a film comes out."""

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import vjserver
from vjserver.app.show import Show, first_state, load_bank, load_show
from vjserver.dsp.options import EarOptions
from vjserver.films import hearings, join, report
from vjserver.films.beats import read_beats
from vjserver.films.codecs import Codec, codec_of
from vjserver.films.film import Between, Film, Plan, planned
from vjserver.films.places import Places, clock, rate_of
from vjserver.films.render import Made, files, forget, frames_made, opened, render
from vjserver.films.segment import is_made
from vjserver.films.sheet import undrawable
from vjserver.films.song import Song
from vjserver.films.storyboard import Board, compiled, read_storyboard
from vjserver.films.versions import versions
from vjserver.runtime.installed import installed
from vjserver.show.addresses import MAX_SEED
from vjserver.show.cues import CueList
from vjserver.show.preset import Bank, Preset
from vjserver.show.registry import Registry
from vjserver.show.state import enter
from vjserver.show.take import Take, parse
from vjserver.stages.control.takes import SOUND
from vjserver.stages.control.takesound import join_pieces
from vjserver.stages.offline.hearing import NS, EarMode, Hearing
from vjserver.stages.offline.performance import frames_of
from vjserver.types.errors import ConfigError, DeviceError
from vjserver.types.features import STEMS

_STEM = re.compile(rf"\b({'|'.join(STEMS)})[/_]\w")
SIZE, FPS = (1280, 720), "30"
FIRST = 10
"""So many frames are drawn before it is told how long the rest will take."""
DRAFT_SIDE, DRAFT_EVERY = 384, 3
CHOOSE = ("/vj/generator", "/vj/model", "/vj/input", "/vj/size")
LARGEST_SIDE, MOST_WORKERS = 8192, 256
LONGEST_NAME = 200
ROOM_A_FRAME = 1 << 14
"""So many bytes are asked of the disk for each frame: who has less would be cut off in the middle."""


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


def render_film(order: Order, say: Callable[[str], None]) -> dict[str, Any]:
    """Make a film; return what ``--json`` prints. Raises VJError: one sentence, and no file that looks whole."""
    ready = prepared(order, say)
    film, output = ready.film, order.output
    for note in ready.notes:
        say(note)
    said: dict[str, None] = {}

    def tell(what: str, why: str, mended: bool) -> None:
        row = f"{what}: {why}"
        if not mended and row not in said:
            said[row] = None
            say(row)

    say("planning ...")
    plan = planned(film, tell)
    _say_plan(plan, film, say)
    folder = parts_folder(order)
    _check_room(folder, film)
    meter = Meter(say)
    title = ready.board.title if ready.board is not None else ""
    frames = film.last - film.first
    sound = join.Sound(ready.song, ready.begin, Fraction(frames) / film.rate)
    with opened(folder, plan, film), sound.encoded_ahead(film.codec, folder):
        there = sum(is_made(folder, segment, film.codec) for segment in plan.segments)
        if there:
            say(f"{there} of {len(plan.segments)} segments are there")
        if order.ray is not None:
            from vjserver.films.ray import render_on_ray

            made = render_on_ray(film, plan, folder, order.ray, tell, meter)
        else:
            made = render(film, plan, folder, order.workers, tell, meter)
        assert frames_made(plan, folder) == frames
        say("joining ...")
        chapters = _chapters(ready, float(ready.begin), frames)
        join.join(files(plan, folder, film), output, film.codec, film.rate, sound, chapters, title)
        summary = _summary(ready, plan, made, frames)
        report.write(output, film, plan, folder, _told(ready, order, plan, summary, list(said)), title,
                     _shown(ready, plan))  # fmt: skip
        forget(plan, folder)
    say(f"{output}: {frames} frames, {clock(float(frames / film.rate))}, made in {clock(meter.seconds)}")
    return summary


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


def parts_folder(order: Order) -> Path:
    """Return where the segments of a film lie: they stay, so that a change makes only what it changes."""
    return order.output.with_name(f"{order.output.name}{'.draft' if order.draft else ''}.parts")


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


def _check_room(folder: Path, film: Film) -> None:
    free = shutil.disk_usage(folder.absolute().parent).free
    needed = (film.last - film.first) * ROOM_A_FRAME * film.size[0] * film.size[1] // (1280 * 720) // 8
    if free < needed:
        raise ConfigError(
            f"there is no room for the film in {folder.absolute().parent}: at least {needed / 2**20:.0f} MiB are "
            f"needed, and {free / 2**20:.0f} are free"
        )


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


def _say_plan(plan: Plan, film: Film, say: Callable[[str], None]) -> None:
    count, stretches = len(plan.segments), len(plan.stretches)
    frames = film.last - film.first
    about = f"{stretches} of them can be begun at once" if stretches > 1 else "they are made one after another"
    say(f"{frames} frames at {film.rate} a second, {film.size[0]}x{film.size[1]}, in {count} segments; {about}")
    for why in plan.whole:
        say(f"not everywhere can the film be split: {why}")


def _chapters(ready: Ready, begin_s: float, frames: int) -> list[tuple[float, float, str]]:
    """Return the chapters of a film: its scenes, else the parts of the song."""
    length = frames / float(ready.film.rate)
    if ready.board is not None:
        rows = [(scene.begin_s, scene.end_s, scene.title) for scene in ready.board.scenes]
    else:
        rows = [(part.begin_s, part.end_s, f"Part {part.label}") for part in ready.hearing.parts]
    cut = [(max(0.0, a - begin_s), min(length, b - begin_s), title) for a, b, title in rows]
    kept = [row for row in cut if row[1] - row[0] > 0.05]
    ends = [*(row[0] for row in kept[1:]), length][: len(kept)]  # without a gap: mp4 takes none
    return [(begin, end, title) for (begin, _, title), end in zip(kept, ends, strict=True)]


def _beats(ready: Ready) -> list[int]:
    rate = ready.film.rate
    begin_ns, end_ns = ready.begin * 10**9, ready.film.last / rate * 10**9
    return [g.t_ns for g in ready.hearing.beats if begin_ns <= g.t_ns < end_ns]


def _summary(ready: Ready, plan: Plan, made: Made, frames: int) -> dict[str, Any]:
    rate = ready.film.rate
    return {
        "frames": frames,
        "fps": str(rate) if rate.denominator > 1 else f"{rate.numerator}/1",
        "seconds": round(float(frames / rate), 6),
        "beats": len(_beats(ready)),
        "segments": len(plan.segments),
        "made": made.made,
        "sha256": made.sha256,
    }


def _told(ready: Ready, order: Order, plan: Plan, summary: dict[str, Any], said: list[str]) -> dict[str, Any]:
    """Return what the report says besides what the film itself tells."""
    film = ready.film
    rate = float(film.rate)
    scenes = [
        {
            "seconds": round(look.frame / rate, 6), "frame": look.frame - film.first, "preset": look.preset,
            "generator": look.generator, "model": look.model, "prompts": look.prompts, "seed": look.seed,
        }
        for look in plan.looks
    ]  # fmt: skip
    presets = {look.preset for look in plan.looks}
    hashes = {
        preset.name: sha256(preset.model_dump_json().encode()).hexdigest()
        for _, preset in film.bank.presets
        if preset.name in presets
    }
    return {
        **summary,
        "title": ready.board.title if ready.board is not None else "",
        "song": {"file": ready.song.path.name, "sha256": ready.song.digest, "codec": ready.song.codec,
                 "rate_hz": ready.song.rate_hz, "channels": ready.song.channels,
                 "seconds": float(ready.song.seconds)},
        "ear": {"mode": ready.hearing.mode, "beats": [round(t / 1e9, 6) for t in _beats(ready)],
                "parts": [[p.label, p.begin_s, p.end_s, round(p.energy, 3)] for p in ready.hearing.parts]},
        "scenes": scenes,
        "presets": hashes,
        "seed": film.seed,
        "size": list(film.size),
        "codec": report.codec_row(film.codec),
        "every": film.every,
        "between": film.between if film.every > 1 else None,
        "storyboard": _digest(order.storyboard),
        "take": _digest(order.take),
        "stems": dict(row.partition("=")[::2] for row in order.stems),
        "models": report.models(plan, film),
        "versions": {**versions(), "system": platform.platform()},
        "said": said,
        "vjserver": vjserver.__version__,
    }  # fmt: skip


def _shown(ready: Ready, plan: Plan) -> list[report.Shown]:
    """Return what the contact sheet shows: the scenes of a storyboard, else each look."""
    if ready.board is None:
        return [report.Shown(look.frame, look.preset or look.generator, look.prompts) for look in plan.looks]
    return [
        report.Shown(ready.film.frame_at(round(scene.begin_s * NS)), scene.title, tuple(filter(None, scene.look.texts)))
        for scene in ready.board.scenes
    ]


def _digest(path: Path | None) -> dict[str, str] | None:
    return {"file": path.name, "sha256": sha256(path.read_bytes()).hexdigest()} if path is not None else None


class Meter:
    """Says how far it is, and how long it will take."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._began = say, time.monotonic()
        self._told = self._began - 4.0
        self._live = sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """How long it has taken by now."""
        return time.monotonic() - self._began

    def __call__(self, done: int, total: int) -> None:
        """Take note of a frame."""
        now = time.monotonic()
        if now - self._told < (0.5 if self._live else 5.0) and done < total:
            return
        self._told = now
        speed = done / max(now - self._began, 1e-6)
        row = f"frame {done} of {total}, {speed:.1f} a second, {clock((total - done) / speed)} left"
        if done < FIRST and done < total:  # what is got ready before the first says nothing of those after it
            row = f"frame {done} of {total}"
        if self._live:
            print(f"\r\x1b[K{row}", end="\n" if done >= total else "", file=sys.__stderr__, flush=True)
        else:
            self._say(row)


def order_of(args: Any) -> Order:
    """Return the order of a command line."""
    song, show = args.song, args.show
    return Order(
        song, args.output, args.preset, show, args.storyboard, args.take, args.size, args.fps, args.begin, args.end,
        args.seed, tuple(args.stem), args.draft, args.workers, args.ray, args.codec, args.ear, args.beats,
        args.every, args.between,
    )  # fmt: skip


def _ended(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt(143)


def run(args: Any) -> int:
    """Run ``vjserver render``."""
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, _ended)
    try:
        summary = render_film(order_of(args), lambda row: print(row, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        print("\nbroken off: what is made stays, and the same command goes on", file=sys.stderr, flush=True)
        raise
    if args.json:
        print(json.dumps(summary))
    return 0
