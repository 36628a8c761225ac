"""``vjserver sources``: who sends pictures on this machine and this network."""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from vjserver.ports import Input, open_door
from vjserver.runtime import ndi
from vjserver.runtime.ring import RingReader
from vjserver.types.errors import VJError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver sources`` takes."""
    parser.add_argument("streams", nargs="*", metavar="STREAM", help="shared-memory streams to look for besides")
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    """List them."""
    found, remarks = senders(tuple(args.streams))
    for sender in found:
        size = f"{sender.size[0]}x{sender.size[1]}" if sender.size[0] else "no picture"
        row = f"{sender.kind:10s} {sender.name:36s} {size:>11s} {sender.fps:6.1f} frames/s   {sender.how}"
        print(json.dumps(asdict(sender)) if args.json else row)
    for remark in remarks:
        print(remark, file=sys.stderr)
    if not found and not args.json:
        print("nobody sends pictures here")
    return 0


LOOK_S = 1.5
STREAMS = ("program", "preview", "input", "small")
"""Where shared memory has no list, these are looked for."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Somebody who sends frames: ``size`` is (0, 0) and ``fps`` 0 where none came."""

    kind: str
    name: str
    size: tuple[int, int]
    fps: float
    how: str
    """What a show file's input says to receive it."""


def senders(streams: tuple[str, ...] = ()) -> tuple[list[Sender], list[str]]:
    """Return who sends on this machine and this network, and what could not be looked for, and why."""
    found: list[Sender] = []
    remarks: list[str] = []
    for look in (_ndi_senders, _spout_senders, _syphon_senders):
        try:
            found += look()
        except VJError as error:
            remarks.append(str(error))
    found += _rings(streams)
    return found, remarks


def _ndi_senders() -> list[Sender]:
    finder = ndi.Finder()
    try:
        names = [source.ndi_name for source in finder.sources(LOOK_S)]
    finally:
        finder.close()
    return [_measured("ndi", name, {"name": name}) for name in names]


def _spout_senders() -> list[Sender]:
    try:
        import SpoutGL
    except ImportError:
        return []
    with SpoutGL.SpoutReceiver() as receiver:
        names = list(receiver.getSenderList())
    return [_measured("spout", name, {"name": name}) for name in names]


def _syphon_senders() -> list[Sender]:
    try:
        import syphon
    except ImportError:
        return []
    return [_measured("syphon", s.name, {"name": s.name}) for s in syphon.SyphonServerDirectory().servers]


def _rings(streams: tuple[str, ...]) -> list[Sender]:
    shm = Path("/dev/shm")
    names = {path.name.removeprefix("vjserver-") for path in shm.glob("vjserver-*")} if shm.is_dir() else set(STREAMS)
    names = {name for name in names if not name.startswith("vjs-")}  # a server's own, for its page
    found = []
    for stream in sorted(names | set(streams)):
        ring = RingReader(f"vjserver-{stream}")
        there = ring.get() is not None
        ring.close()
        if there:
            found.append(_measured("sharedmem", f"vjserver-{stream}", {"stream": stream}))
    return found


def _measured(kind: str, name: str, options: Mapping[str, str]) -> Sender:
    """Receive for a while and say what came."""
    how = f"{{kind = {kind!r}, {', '.join(f'{k} = {v!r}' for k, v in options.items())}}}".replace("'", '"')
    size, times = (0, 0), []
    try:
        door: Input = open_door("inputs", {"kind": kind, **options})
    except VJError:
        return Sender(kind, name, size, 0.0, how)
    deadline = time.monotonic() + LOOK_S
    while time.monotonic() < deadline:
        frame = door.read(0.1)
        if frame is not None:
            size = (frame.info.width, frame.info.height)
            times.append(time.monotonic())
    door.close()
    times = times[1:]  # the first one waited for us
    fps = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
    return Sender(kind, name, size, round(fps, 1), how)
