"""The command line: a table of commands. Each is a module of ``commands/``, imported when it is typed.

Such a module has ``arguments(parser)``, which declares what it takes, and ``run(args)``, which does it.
"""

import argparse
import importlib
import io
import re
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from vjserver import __version__
from vjserver.types.errors import VJError
from vjserver.types.text import visible

COMMANDS = {
    "run": "run a show: live sound in, beats and pictures out",
    "init": "write a show file with everything that can be set, and what it means",
    "demo": "play the built-in song and show everything",
    "ear": "say, and draw, what the ear hears in a sound file or at an audio input",
    "speech": "write down what is said in a sound file or at a microphone",
    "devices": "list the audio inputs",
    "presets": "list, check or show presets",
    "models": "list, fetch, convert, take in or verify models",
    "frame": "make one picture",
    "render": "make a film of a song: a preset, a storyboard or a take plays to it",
    "loop": "make clips of presets that go on where they began, for VJ programs",
    "storyboard": "make, check, draw and score storyboards of films",
    "board": "cards of what was said or typed: list, add, draw, export, open the page",
    "notebook": "words that you miss in a language that you learn: note, review",
    "dream": "a private journal of dreams: write, hear, search, take away",
    "sources": "list who sends pictures: NDI, Spout, Syphon, shared memory",
    "outputs": "list what the running server sends, and every kind of output",
    "frames": "look at frames as they arrive",
    "touchdesigner": "write the script that builds the patches in TouchDesigner",
    "doctor": "what works here, what is missing, and the line that installs it",
    "osc": "watch or send OSC, or print the reference of all addresses",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 well, 1 an error that was told, 2 a wrong command line."""
    plain_streams()
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser_of(words[:1]).parse_args(words)
    try:
        return int(args.run(args))
    except VJError as error:
        print(f"vjserver: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as end:
        return int(end.args[0]) if end.args else 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has left; Python would complain at exit
        return 0
    except OSError as error:
        if error.filename is not None:
            raise
        print(f"vjserver: what is printed cannot be written: {error.strerror}", file=sys.stderr)
        return 1


def parser_of(typed: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser that knows every command's name, and what the commands that are ``typed`` take."""
    parser = argparse.ArgumentParser(
        prog="vjserver", description="Hears the beat, makes the picture, feeds TouchDesigner."
    )
    parser.add_argument("-v", "--version", action="version", version=f"vjserver {__version__}")
    parser.set_defaults(run=_help)
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, what in COMMANDS.items():
        command = commands.add_parser(name, help=what)
        if name in typed:
            module = importlib.import_module(f"vjserver.commands.{name}")
            module.arguments(command)
            command.set_defaults(run=module.run)
    completion = commands.add_parser("completion", help="print what lets a shell complete our commands")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    completion.set_defaults(run=_completion)
    help_ = commands.add_parser("help", help="say what can be typed, or more of one command")
    help_.add_argument("command", nargs="*", metavar="COMMAND")
    help_.set_defaults(run=_help)
    return parser


def _help(args: argparse.Namespace) -> int:
    """Print what can be typed; with a command, what that takes."""
    words = getattr(args, "command", [])
    parser = parser_of(words[:1])
    if words:
        parser.parse_args([*words, "--help"])  # prints, and ends: with 2 where there is no such command
    parser.print_help()
    print("\nbegin with:  vjserver demo      then:  vjserver doctor, vjserver init, vjserver run")
    return 0


def _completion(args: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(parser_of(list(COMMANDS)), shell=args.shell))
    return 0


class Plain:
    """A stream that shows what is written as text: controls are made visible, signs it cannot say are escaped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, lines as lines."""
        if text.isprintable():
            self._stream.write(text)
        else:
            self._stream.write("".join(part if part in "\n\t" else visible(part) for part in _WHITE.split(text)))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_WHITE = re.compile(r"([\n\t])")


def plain_streams() -> None:
    """Print nothing but text from now on, on a console of any encoding: no foreign word steers the terminal."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, Plain(stream))


if __name__ == "__main__":
    raise SystemExit(main())
