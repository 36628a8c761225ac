"""``vjserver ear``: a sound file or an audio input goes in, what the ear hears is said and drawn."""

import argparse
import json
from pathlib import Path

from vjserver.app.offline import Record, hear_device, hear_file
from vjserver.app.show import load_show
from vjserver.commands.ear_plot import check_plot, plot
from vjserver.commands.options import listening
from vjserver.types.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver ear`` takes."""
    listening(parser, 20.0)
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw it (.png, .svg, .pdf or .html)")
    parser.add_argument("--json", action="store_true", help="one JSON line an event")
    parser.add_argument("--show", type=Path, metavar="SHOW.toml", help="take the [ear] options of this show")


def run(args: argparse.Namespace) -> int:
    """Say what is heard."""
    if (args.file is None) == (args.device is None):
        raise ConfigError("ear takes a sound FILE or --device NAME, one of them")
    if args.plot is not None:
        check_plot(args.plot)
    record = Record() if args.plot is not None else None
    options = load_show(args.show).ear
    if args.file is not None:
        rows, title = hear_file(args.file, options, record), args.file.name
    else:
        rows, title = hear_device(args.device, args.seconds, options, record), f"audio input {args.device}"
    for row in rows:
        if args.json:
            print(json.dumps(row))
        else:
            rest = "  ".join(f"{k} {v}" for k, v in row.items() if k not in ("event", "t_s", "sent_s", "beat"))
            print(f"{row['t_s']:9.3f} s  {row['event']:9s} {rest}", flush=args.device is not None)
    if record is not None:
        plot(record, title, args.plot)
    return 0
