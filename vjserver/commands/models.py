"""``vjserver models``: list, fetch, convert, take in and verify models."""

import argparse
from pathlib import Path

from vjserver.commands.options import run_action
from vjserver.generators.gan.classes import classes_of
from vjserver.generators.gan.convert import convert
from vjserver.generators.shelves import FAMILIES, GANS, KNOWN
from vjserver.generators.store import add, models, pull, store_folder, verify
from vjserver.types.errors import ConfigError, nearest

run = run_action


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver models`` takes."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="list what is here and what can be fetched").set_defaults(action=_list)
    verb = actions.add_parser("pull", help="fetch a known model; one that was broken off goes on")
    verb.add_argument("name")
    verb.set_defaults(action=_pull)
    verb = actions.add_parser(
        "add", help="take in a checkpoint: a .safetensors file, a folder in the diffusers layout, or a converted one"
    )
    verb.add_argument("path", type=Path)
    verb.add_argument("--name", default="", help="what to call it (default: its own name)")
    verb.add_argument("--licence", default="", help="its licence, if the folder does not tell")
    verb.set_defaults(action=_add)
    verb = actions.add_parser("verify", help="compare every file with its SHA-256")
    verb.add_argument("names", nargs="*")
    verb.set_defaults(action=_verify)

    verb = actions.add_parser(
        "convert", help="make a folder of safetensors of a GAN's or VQGAN's checkpoint (.pkl, .pt, .bin, .ckpt)"
    )
    verb.add_argument("file", type=Path, metavar="FILE")
    verb.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="a folder that is not there")
    verb.set_defaults(action=_convert)
    verb = actions.add_parser("classes", help="list what a GAN can draw by name")
    verb.add_argument("model", metavar="NAME|FOLDER")
    verb.add_argument("words", nargs="*", help="only classes that are called so")
    verb.set_defaults(action=_classes)


def _list(_args: argparse.Namespace) -> int:
    here = models()
    for model in here:
        ran = "has run here" if model.has_run else "has not run here yet"
        row = f"here  {model.name:20s} {model.size / 1e9:6.2f} GB  {model.licence:32s} {model.kind}, {ran}"
        print(f"{row}; {model.source}")
    for name, known in KNOWN.items():
        if name not in {model.name for model in here}:
            print(f"pull  {name:20s} {known.gigabytes:6.2f} GB  {known.licence:32s} {known.what}")
    for name, family in FAMILIES.items():
        print(f"\n{name} ({family.plays}): {family.what}")
        print(f"    licence: {family.licence}. For money? {family.commercial}")
        print(f"    about {family.gigabytes:g} GB of a card; from {family.where}")
        converted = "vjserver models convert FILE -o FOLDER, and " if name in (*GANS, "VQGAN") else ""
        print(f"    then: {converted}vjserver models add FOLDER")
    print(f"in {store_folder()}")
    return 0


def _pull(args: argparse.Namespace) -> int:
    if args.name in KNOWN:
        known = KNOWN[args.name]
        print(f"{args.name}: about {known.gigabytes:g} GB from {known.repository}, licence: {known.licence}")
    model = pull(args.name)
    print(f"{model.name} is here: {model.size / 1e9:.2f} GB, {len(model.files)} files, in {model.folder}")
    return 0


def _add(args: argparse.Namespace) -> int:
    model, remarks = add(args.path, args.name, args.licence)
    for remark in remarks:
        print(remark)
    print(f"{model.name} is here: {model.size / 1e9:.2f} GB, licence: {model.licence}, in {model.folder}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    here = {model.name: model for model in models()}
    for name in args.names:
        if name not in here:
            raise ConfigError(f"no model {name!r} is here{nearest(name, here)}; here: {', '.join(here) or 'none'}")
    faults = 0
    for name in args.names or here:
        found = verify(here[name])
        faults += len(found)
        print("\n".join(found) if found else f"{name}: whole, {len(here[name].files)} files")
    return 1 if faults else 0


def _convert(args: argparse.Namespace) -> int:
    print(f"{args.output}: {convert(args.file, args.output)}")
    print(
        f'play it as it is, [generators.gan] model = "{args.output}", or take it in: vjserver models add {args.output}'
    )
    return 0


def _classes(args: argparse.Namespace) -> int:
    for number, name in classes_of(args.model, " ".join(args.words)):
        print(f"{number:4d}  {name}")
    return 0
