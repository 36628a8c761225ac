"""``vjserver speech``: a sound file or a microphone goes in, what is said comes out."""

import argparse
import json
from pathlib import Path

from vjserver.app.show import load_show
from vjserver.app.speech import hear_device, hear_file
from vjserver.commands.options import listening
from vjserver.types.errors import ConfigError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver speech`` takes."""
    listening(parser, 60.0)
    parser.add_argument("--language", default="", metavar="L", help="such as en or es (default: it is found out)")
    parser.add_argument("--model", default="", metavar="M", help="base, tiny.en, or a folder of CTranslate2's")
    parser.add_argument("--json", action="store_true", help="one JSON line an event")
    parser.add_argument("--show", type=Path, metavar="SHOW.toml", help="take the [speech] options of this show")


def run(args: argparse.Namespace) -> int:
    """Write down what is said."""
    if (args.file is None) == (args.device is None):
        raise ConfigError("speech takes a sound FILE or --device NAME, one of them")
    options = load_show(args.show).speech
    if args.model:
        options = options.model_copy(update={"recogniser": {**options.recogniser, "model": args.model}})
    language = args.language or options.language
    rows = (
        hear_file(args.file, options, language)
        if args.file is not None
        else hear_device(args.device, args.seconds, options, language)
    )
    for row in rows:
        if args.json:
            print(json.dumps(row, ensure_ascii=False), flush=True)
        else:
            phrase = f"   -> {row['phrase']}" if row["phrase"] else ""
            print(f"{row['sent_s']:8.2f} s  {row['event']:8s} {row['text']}{phrase}", flush=True)
    return 0
