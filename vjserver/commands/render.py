"""vjserver render: a song and a look (preset, show, storyboard or take) go in, a film comes out."""

import argparse
import contextlib
import json
import platform
import shutil
import signal
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import vjserver
from vjserver.app.film_order import Order, Ready, prepared
from vjserver.films import join, report
from vjserver.films.film import Film, FilmPlan
from vjserver.films.parts import is_made
from vjserver.films.places import clock
from vjserver.films.planning import planned
from vjserver.films.render import Made, files, forget, frames_made, opened, render
from vjserver.films.versions import versions
from vjserver.stages.offline.hearing import NS
from vjserver.types.errors import ConfigError

FIRST = 10
"""So many frames are drawn before it is told how long the rest will take."""
ROOM_A_FRAME = 1 << 14
"""So many bytes are asked of the disk for each frame: who has less would be cut off in the middle."""


def render_film(order: Order, say: Callable[[str], None]) -> dict[str, Any]:
    """Make a film; return what ``--json`` prints. Raises VJError: one sentence, and no file that looks whole."""
    ready = prepared(order, say)
    film, output = ready.film, order.output
    for note in ready.notes:
        say(note)
    said: dict[str, None] = {}

    def tell(what: str, why: str, recovered: bool) -> None:
        row = f"{what}: {why}"
        if not recovered and row not in said:
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


def parts_folder(order: Order) -> Path:
    """Return where the segments of a film lie: they stay, so that a change makes only what it changes."""
    return order.output.with_name(f"{order.output.name}{'.draft' if order.draft else ''}.parts")


def _check_room(folder: Path, film: Film) -> None:
    free = shutil.disk_usage(folder.absolute().parent).free
    needed = (film.last - film.first) * ROOM_A_FRAME * film.size[0] * film.size[1] // (1280 * 720) // 8
    if free < needed:
        raise ConfigError(
            f"there is no room for the film in {folder.absolute().parent}: at least {needed / 2**20:.0f} MiB are "
            f"needed, and {free / 2**20:.0f} are free"
        )


def _say_plan(plan: FilmPlan, film: Film, say: Callable[[str], None]) -> None:
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


def _summary(ready: Ready, plan: FilmPlan, made: Made, frames: int) -> dict[str, Any]:
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


def _told(ready: Ready, order: Order, plan: FilmPlan, summary: dict[str, Any], said: list[str]) -> dict[str, Any]:
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


def _shown(ready: Ready, plan: FilmPlan) -> list[report.Shown]:
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


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver render`` takes."""
    parser.add_argument("song", nargs="?", type=Path, metavar="SONG", help="a sound file (a take may have its own)")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="film.mp4, .mov, .mkv, a folder"
    )
    parser.add_argument("--preset", help="what plays: a preset's name or number (default: the show's, or the first)")
    parser.add_argument("--show", type=Path, metavar="FILE", help="take presets, generators and inputs of this show")
    parser.add_argument("--storyboard", type=Path, metavar="FILE", help="scenes: see vjserver storyboard")
    parser.add_argument("--take", type=Path, metavar="FILE", help="what was played, or a score")
    parser.add_argument("--size", metavar="WxH", help="default 1280x720")
    parser.add_argument("--fps", metavar="N[/D]", help="frames a second (default 30); 29.97 is 30000/1001")
    parser.add_argument("--from", dest="begin", metavar="T", help="from here on: 1:02.5, bar 9, part B, drop ...")
    parser.add_argument("--to", dest="end", metavar="T", help="until there")
    parser.add_argument(
        "--seed", type=int, metavar="N", help="fixes the random choices: the same number, the same film"
    )
    parser.add_argument("--stem", action="append", default=[], metavar="ROLE=FILE", help="drums, bass, vocals, other")
    parser.add_argument("--draft", action="store_true", help="small and quick, with the same cuts")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that draw (default 1)")
    parser.add_argument("--ray", metavar="ADDRESS", help="draw on a Ray cluster: auto, or HOST:PORT")
    parser.add_argument(
        "--codec", default="", metavar="C", help="h264, av1, prores, prores4444, ffv1, dxv, hap, png ..."
    )
    parser.add_argument(
        "--ear",
        choices=("hindsight", "live"),
        help="hindsight (default): knows the whole song; live: hears it as on stage",
    )
    parser.add_argument("--beats", type=Path, metavar="FILE", help="beats by hand: Audacity labels, CSV or JSON")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="draw every N-th frame (default 1) ...")
    parser.add_argument(
        "--between",
        choices=("hold", "crossfade", "flow"),
        default="crossfade",
        help="how the frames between are made (with --every)",
    )
    parser.add_argument("--json", action="store_true", help="print a summary as the last line")


def run(args: Any) -> int:
    """Run ``vjserver render``."""
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, _ended)
    try:
        summary = render_film(order_of(args), lambda row: print(row, file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        print(
            "\nstopped: what is made stays. Type the same command again, and it continues", file=sys.stderr, flush=True
        )
        raise
    if args.json:
        print(json.dumps(summary))
    return 0
