"""``vjserver presets``: list, check and show presets."""

import argparse
import json
from pathlib import Path

from vjserver.app.preset_bank import check_preset, load_bank
from vjserver.commands.options import run_action
from vjserver.runtime.installed import installed
from vjserver.show.preset import Preset
from vjserver.types.errors import VJError

run = run_action


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver presets`` takes."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list all presets")
    listing.add_argument("--folder", type=Path, help="also those of this folder")
    listing.set_defaults(action=_list)
    check = actions.add_parser("check", help="check preset files (default: ours)")
    check.add_argument("files", nargs="*", type=Path)
    check.set_defaults(action=_check)
    actions.add_parser("schema", help="print the JSON schema of preset files").set_defaults(action=_schema)
    show = actions.add_parser("show", help="print a preset, and draw it with --png")
    show.add_argument("name")
    show.add_argument("--folder", type=Path, help="look in this folder too")
    show.add_argument("--png", type=Path, metavar="OUT.png", help="draw four seconds into it, at 124 bpm")
    show.set_defaults(action=_show)


def _list(args: argparse.Namespace) -> int:
    for number, (slug, preset) in enumerate(load_bank(args.folder).presets, start=1):
        print(f"{number:3d}  {slug:24s} {preset.name:22s} {preset.description}")
    return 0


def _schema(_args: argparse.Namespace) -> int:
    print(json.dumps(Preset.model_json_schema(by_alias=True), indent=2))
    return 0


def _check(args: argparse.Namespace) -> int:
    if not args.files:
        bank = load_bank()
        idle = [f"{slug}: {row}" for slug, preset in bank.presets for row in preset.idle(installed())]
        print("\n".join([*bank.faults.values(), *idle, f"{len(bank.presets)} presets have no faults"]))
        return 1 if bank.faults else 0
    faults = 0
    for path in args.files:
        try:
            preset = check_preset(path)
        except VJError as error:
            faults += 1
            print(error)
        else:
            print("\n".join([f"{path}: no faults ({preset.name})", *(f"  {row}" for row in preset.idle(installed()))]))
    return 1 if faults else 0


def _show(args: argparse.Namespace) -> int:
    number, preset = load_bank(args.folder).find(args.name)
    print(f"{number + 1}  {preset.name}: {preset.description}\n  generator {preset.generator}, seed {preset.seed}")
    for prompt in preset.prompts:
        print(f"  prompt  {prompt.weight:4.2f}  {prompt.text}")
    for name, value in preset.params.items():
        print(f"  param   {value:4.2f}  {name}")
    for name, value in preset.raw.items():
        print(f"  raw     {value:g}  {name}")
    for m in preset.mappings:
        print(f"  mapping {m.source} -> {m.to} [{m.range[0]:g}, {m.range[1]:g}] {m.curve} {m.mode}")
    for t in preset.triggers:
        print(f"  trigger every {t.every} {t.on}: {t.do} {' '.join(map(str, t.args))}")
    if args.png is not None:
        from vjserver.app.offline import draw_preset

        draw_preset(preset, args.png)
        print(f"drawn into {args.png}")
    return 0
