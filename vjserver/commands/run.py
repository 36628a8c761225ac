"""``vjserver run``: a show file goes in, the show runs until it is ended."""

import argparse
import sys
from pathlib import Path

from pydantic import ValidationError

from vjserver.app.lan import lan_of
from vjserver.app.run import run_show
from vjserver.app.show import Show, load_show, own_show, shifted
from vjserver.commands.options import seconds
from vjserver.sources.device import choose, devices
from vjserver.types.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver run`` takes."""
    parser.add_argument(
        "show", nargs="?", type=Path, metavar="SHOW.toml", help="the show file (default: yours, see init, or none)"
    )
    show_options(parser)


def show_options(parser: argparse.ArgumentParser) -> None:
    """Add what stands in for the show file's words."""
    parser.add_argument("--device", metavar="NAME", help="listen to this audio input (part of its name, or its index)")
    parser.add_argument(
        "--source", choices=("device", "click"), help="listen to the default device, or to a click track"
    )
    parser.add_argument("--preset", help="begin with this preset (name or number)")
    parser.add_argument("--size", metavar="WxH", help="picture size, such as 1280x720")
    parser.add_argument("--seconds", type=seconds, metavar="N", help="stop after N seconds")
    parser.add_argument("--json", action="store_true", help="print a summary as the last line")
    parser.add_argument(
        "--port-base", type=int, metavar="N", help="move all ports so that OSC is at N, beside another server"
    )
    parser.add_argument(
        "--lan",
        metavar="INTERFACE",
        help="let other devices of this network play: by OSC, and by the panel with a token",
    )


def run(args: argparse.Namespace) -> int:
    """Run the show."""
    path = args.show or own_show()
    if path is not None and args.show is None:
        print(f"show: {path}", file=sys.stderr)
    return play(load_show(path), args)


def play(show: Show, args: argparse.Namespace) -> int:
    """Run a show with the command line's options in place of its own; return the exit code. Raises VJError."""
    return run_show(
        _overridden(show, args), args.seconds, args.json, lan_of(args.lan) if args.lan is not None else None
    )


def _overridden(show: Show, args: argparse.Namespace) -> Show:
    """Return the show with the command line's options in place of the file's. Raises ConfigError."""
    if args.port_base is not None:
        show = shifted(show, args.port_base)
    changed = show.model_dump()
    if args.device is not None:
        changed["source"] = {"kind": "device", "name": args.device}
    elif args.source is not None:
        changed["source"] = {"kind": args.source}
    if args.preset is not None:
        changed["preset"] = args.preset
    if args.size is not None:
        width, _, height = args.size.lower().partition("x")
        if not (width.isdigit() and height.isdigit()):
            raise ConfigError(f"--size must be WIDTHxHEIGHT, such as 1280x720: got {args.size!r}")
        changed["video"] |= {"width": int(width), "height": int(height)}
    try:
        found = type(show).model_validate(changed)
    except ValidationError as error:
        fault = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}: got {fault['input']!r}") from None
    if args.device is not None:
        choose(devices(), args.device)  # an audio input that was typed and is not there is told, with what there is
    return found
