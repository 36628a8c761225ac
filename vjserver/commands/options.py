"""Options that several commands take."""

import argparse
from collections.abc import Callable
from pathlib import Path


def run_action(args: argparse.Namespace) -> int:
    """Run the action of a command that has several: each is declared with ``set_defaults(action=...)``."""
    action: Callable[[argparse.Namespace], int] = args.action
    return action(args)


def seconds(text: str) -> float:
    """Return a length of time above 0. Raises ArgumentTypeError."""
    length_s = float(text)
    if not length_s > 0.0:
        raise argparse.ArgumentTypeError(f"must be above 0: got {text}")
    return length_s


def listening(parser: argparse.ArgumentParser, default_s: float) -> None:
    """Add a sound file, or an audio input and how long it is listened to."""
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--device", metavar="NAME", help="listen to this audio input (part of its name, or its index)")
    parser.add_argument("--seconds", type=seconds, default=default_s, metavar="N", help="listen so long to --device")


def microphone(parser: argparse.ArgumentParser) -> None:
    """Add which microphone, and how long it is recorded at most."""
    parser.add_argument("--device", metavar="NAME", help="which microphone: part of its name, or its number")
    parser.add_argument(
        "--seconds", type=seconds, default=3600.0, metavar="N", help="at most so long (default: an hour)"
    )


def pages(parser: argparse.ArgumentParser) -> None:
    """Add what the private pages take."""
    parser.add_argument("--port", type=int, default=9023, metavar="N")
    parser.add_argument("--keep-sound", action="store_true", help="keep recordings when they are written down")
    parser.add_argument("--show", type=Path, metavar="SHOW.toml", help="take the generators of this show")


def generator(parser: argparse.ArgumentParser) -> None:
    """Add which generator draws, with which model."""
    parser.add_argument(
        "--generator", default="", metavar="KIND", help="which generator draws (default: patterns from the words)"
    )
    parser.add_argument("--model", default="", metavar="NAME")


def drawing(parser: argparse.ArgumentParser) -> None:
    """Add how pictures of cards are made."""
    parser.add_argument("--size", metavar="WxH", help="default: that of the show")
    parser.add_argument("--show", type=Path, metavar="SHOW.toml", help="take the generators of this show")
