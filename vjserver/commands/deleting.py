"""What the commands that delete share: one thing by its name, or, when somebody says yes, all of them."""

import argparse
import sys
from collections.abc import Callable

from vjserver.types.errors import ConfigError


def arguments(parser: argparse.ArgumentParser, kind: str, listing: str) -> None:
    """Declare which ``kind`` of thing is deleted; the command ``listing`` tells which there are."""
    parser.set_defaults(listing=listing)
    parser.add_argument("which", metavar=kind.upper(), nargs="?", default="")
    parser.add_argument("--everything", action="store_true", help=f"all {kind}s")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(
    args: argparse.Namespace, kind: str, count: int, delete_all: Callable[[], None], delete: Callable[[str], str]
) -> int:
    """Delete; ``delete`` takes the name of one and returns what is to be said. Raises ConfigError.

    Before all of them go, whoever sits at a terminal is asked.
    """
    if args.everything:
        many = f"{count} {kind}{'' if count == 1 else 's'}"
        ask = f"Delete {many} and every recording for good? yes/no: "
        if sys.stdin.isatty() and not args.yes and not _says_yes(ask):
            print("nothing is deleted")
            return 1
        delete_all()
        print(f"{many} {'is' if count == 1 else 'are'} deleted: nothing is left of {'it' if count == 1 else 'them'}")
    elif args.which:
        print(delete(args.which))
    else:
        raise ConfigError(f"which {kind}? `{args.listing}` tells them; --everything deletes all {kind}s")
    return 0


def _says_yes(question: str) -> bool:
    try:
        return input(question).strip() == "yes"
    except EOFError:
        return False
