"""vjserver loop: presets become clips that go on where they began, for Resolume, TouchDesigner and others."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vjserver
from vjserver.app.film_order import SIZE, file_inputs, sides_of
from vjserver.app.preset_bank import load_bank
from vjserver.app.show import Show, first_state, load_show
from vjserver.commands.render import Meter
from vjserver.films import join
from vjserver.films.codecs import CODECS, Codec, codec_of, is_here
from vjserver.films.loop import LoopFilm, Seam, Turn, closed, in_turn, make_loop, turn_of
from vjserver.films.places import rate_of
from vjserver.films.report import codec_row
from vjserver.runtime.files import put, remove, slug_of
from vjserver.runtime.installed import installed
from vjserver.show.addresses import MAX_SEED
from vjserver.show.bank import Bank
from vjserver.show.looks import enter
from vjserver.show.preset import Preset
from vjserver.show.registry import Registry
from vjserver.types.errors import ConfigError, GeneratorError, OutputError

FIRST = ("hap", "dxv")
"""What scrubs best, as far as it is here."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class LoopOrder:
    """What is asked for: the options of ``vjserver loop``, as they were typed."""

    presets: tuple[str, ...]
    output: Path
    bars: int = 8
    bpm: float = 120.0
    size: str | None = None
    fps: str = "30"
    codec: str = ""
    show: Path | None = None
    seed: int = 1


def make_loops(order: LoopOrder, say: Say) -> list[dict[str, Any]]:
    """Make a loop of each preset; return what is told of each. Raises VJError."""
    registry = installed()
    show = load_show(order.show, registry)
    bank = load_bank(show.presets, registry)
    rate = rate_of(order.fps)
    turn = turn_of(order.bars, order.bpm, rate)
    if not 0 <= order.seed <= MAX_SEED:
        raise ConfigError(f"--seed must be in 0..{MAX_SEED}: got {order.seed}")
    chosen = _chosen(order.presets, bank)
    single = bool(order.output.suffix) and len(chosen) == 1
    if order.output.suffix and not single:
        raise ConfigError(f"{len(chosen)} loops go into a folder: give -o one, not {order.output.name!r}")
    codec = codec_of(order.codec, order.output) if single and order.codec else _usual(order)
    size = _size(order, codec)
    if abs(turn.bpm - order.bpm) > 1e-9:
        say(f"{order.bars} bars are {turn.frames} whole frames: {turn.bpm:.3f} bpm")
    rows: list[dict[str, Any]] = []
    faults = []
    for place, preset in chosen:
        name = order.output.stem if single else slug_of(preset.name) or f"preset-{place + 1}"
        folder = order.output.parent if single else order.output
        ending = codec.suffix if codec.container else ""
        target = folder / f"{name}_{turn.bpm:.3f}bpm_{turn.bars}bars_{turn.beats}beats{ending}"
        try:
            rows.append(_make(order, show, bank, registry, turn, codec, size, place, preset, target, say))
        except GeneratorError as error:
            if len(chosen) == 1:
                raise
            faults.append(f"{preset.name}: {error}")
    if faults:
        raise GeneratorError("\n".join((f"{len(faults)} of {len(chosen)} loops were not made:", *faults)))
    return rows


def _make(
    order: LoopOrder, show: Show, bank: Bank, registry: Registry, turn: Turn, codec: Codec, size: tuple[int, int],
    place: int, preset: Preset, target: Path, say: Say,
) -> dict[str, Any]:  # fmt: skip
    preset = in_turn(preset, turn)
    bank = Bank([(slug, preset if i == place else one) for i, (slug, one) in enumerate(bank.presets)], bank.banks)
    state = closed(enter(first_state(show), place, preset, registry), turn, registry)
    film = LoopFilm(
        Path(), turn.rate, size, 0, turn.frames, codec, registry, bank, state, seed=order.seed,
        doors=dict(show.generators), turn=turn,
        inputs=file_inputs(show),
    )  # fmt: skip
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target.parent} cannot be written: {error.strerror}") from None
    part = target.with_name(f".{target.name}.{os.getpid()}.turn{codec.suffix if codec.container else ''}")
    meter = Meter(say)
    try:
        seam = make_loop(film, part, lambda what, why, recovered: None if recovered else say(f"{what}: {why}"),
                         lambda number: meter(number + 1, turn.frames))  # fmt: skip
        join.join([part], target, codec, turn.rate)
    finally:
        remove(part)
    row = _told(order, preset, turn, codec, size, seam, target)
    put(target.with_name(f"{target.name}.json"), json.dumps(row, indent=1).encode())
    say(f"{target}: {turn.frames} frames, {turn.bpm:.3f} bpm; over the seam {seam.step:.1f} levels, "
        f"at other bars up to {seam.largest:.1f}")  # fmt: skip
    return row


def _told(
    order: LoopOrder, preset: Preset, turn: Turn, codec: Codec, size: tuple[int, int], seam: Seam, target: Path
) -> dict[str, Any]:
    return {
        "file": target.name, "preset": preset.name, "frames": turn.frames,
        "fps": f"{turn.rate.numerator}/{turn.rate.denominator}", "seconds": float(turn.seconds), "bars": turn.bars,
        "beats": turn.beats, "beats_per_bar": turn.beats // turn.bars, "bpm": round(turn.bpm, 6),
        "bpm_wanted": order.bpm, "size": list(size), "codec": codec_row(codec), "seed": order.seed,
        "seam": {"step": round(seam.step, 3), "largest_at_bars": round(seam.largest, 3)},
        "vjserver": vjserver.__version__,
    }  # fmt: skip


def _chosen(names: tuple[str, ...], bank: Bank) -> list[tuple[int, Preset]]:
    """Return the presets that are named; ``bank:NAME`` are all of a bank."""
    chosen: list[tuple[int, Preset]] = []
    for name in names:
        if name.startswith("bank:"):
            chosen += [(i, bank.presets[i][1]) for i in bank.places(name.removeprefix("bank:"))]
        else:
            chosen.append(bank.find(name))
    return chosen


def _usual(order: LoopOrder) -> Codec:
    """Return the codec that is asked for, else the first of those that scrub and are here."""
    if order.codec:
        codec = CODECS.get(order.codec)
        return codec_of(order.codec, Path(f"x{codec.suffix if codec is not None and codec.container else ''}"))
    if order.output.suffix and order.output.suffix.lower() != ".mov":
        return codec_of("", order.output)
    found = next((CODECS[name] for name in FIRST if is_here(CODECS[name])), None)
    return found if found is not None else codec_of("prores", Path("x.mov"))


def _size(order: LoopOrder, codec: Codec) -> tuple[int, int]:
    size = sides_of(order.size, SIZE)
    codec.check(size)
    return size


def arguments(loop: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver loop`` takes."""
    loop.add_argument(
        "preset", nargs="+", metavar="PRESET", help="a preset's name or number, or bank:NAME for all of it"
    )
    loop.add_argument("--bars", type=int, default=8, metavar="N", help="default 8")
    loop.add_argument(
        "--bpm",
        type=float,
        default=120.0,
        metavar="N",
        help="default 120, changed a little so that a loop has whole frames",
    )
    loop.add_argument("--size", metavar="WxH", help="default 1280x720")
    loop.add_argument("--fps", default="30", metavar="N[/D]", help="default 30")
    loop.add_argument("--codec", default="", metavar="C", help="default hap or dxv, which scrub; prores4444 has alpha")
    loop.add_argument("--show", type=Path, metavar="FILE", help="take presets and generators of this show")
    loop.add_argument("--seed", type=int, default=1, metavar="N")
    loop.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a clip.mov, or a folder")
    loop.add_argument("--json", action="store_true", help="print what was made as the last line")


def run(args: argparse.Namespace) -> int:
    """Run ``vjserver loop``."""
    order = LoopOrder(
        tuple(args.preset), args.output, args.bars, args.bpm, args.size, args.fps, args.codec, args.show, args.seed
    )
    rows = make_loops(order, lambda row: print(row, file=sys.stderr, flush=True))
    if args.json:
        print(json.dumps(rows))
    return 0
