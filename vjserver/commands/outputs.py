"""``vjserver outputs``: what the running server sends, and every kind of output."""

import argparse
from collections.abc import Iterator

from vjserver.commands.osc import ask_outputs
from vjserver.ports import find, kinds


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver outputs`` takes."""
    parser.add_argument("--port", type=int, default=9010, help="where the server listens to OSC (default 9010)")


def run(args: argparse.Namespace) -> int:
    """List them; return 1 where no server answers."""
    running = ask_outputs(args.port)
    for label, state, fps, drops, receivers, tally, config in running:
        known = f"{receivers} receiver(s)" if receivers >= 0 else ""
        print(f"{label:12s} {state:6s} {fps:6.1f} frames/s  {drops} dropped  {known} {tally}  {config}".rstrip())
    if not running:
        print(f"no server answers at port {args.port}: start one with vjserver run, or name its OSC --port")
    print("\nkinds (open one live: vjserver osc send /vj/output/add LABEL 'KIND option=value ...'):")
    for kind, here, options in output_kinds():
        print(f"  {kind:10s} {here:32s} {options}")
    return 0 if running else 1


def output_kinds() -> Iterator[tuple[str, str, str]]:
    """Yield each kind of output, whether it can be opened here, and its options."""
    for kind in kinds("outputs"):
        door = find("outputs", kind)
        options = ", ".join(name for name in door.Options.model_fields if name != "sound")
        yield kind, _here(kind), options


def _here(kind: str) -> str:
    """Try an output's library, not its name or its file: they may be in use."""
    module = {"ndi": "NDIlib", "spout": "SpoutGL", "syphon": "syphon", "record": "av"}.get(kind)
    if kind == "touchshm":
        import sys

        return "works" if sys.platform == "win32" else "Windows only"
    if module is None:
        return "works"
    try:
        __import__(module)
    except ImportError:
        return f"pip install 'vjserver[{kind}]'" + {"spout": " (Windows)", "syphon": " (macOS)"}.get(kind, "")
    return "works"
