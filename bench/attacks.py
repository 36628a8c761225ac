"""What the control surface stands: mutated packets, every address with every wrong value, and all at once.

    python -m bench.attacks [--json OUT.json] [--short]

A real server runs with its live display in a terminal. Nothing may fall, nothing may be lost, and a ping is answered.
"""

import argparse
import asyncio
import contextlib
import fcntl
import gc
import json
import os
import pty
import random
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.asyncio import client

from bench.control import Stage, figures, paced, stage
from bench.report import percentiles, row
from vjserver.app.preset_bank import load_bank
from vjserver.controls.osc import OscError, decode
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.installed import shipped
from vjserver.runtime.osc import bundle, message
from vjserver.runtime.store import Channels, pids_of
from vjserver.show.state import ShowState
from vjserver.stages.control.control import Control
from vjserver.stages.control.options import ControlOptions, OscLimits
from vjserver.stages.control.pipes import Pipes
from vjserver.stages.control.user_library import UserLibrary

BENCH = "attacks"
ADDRESSES = tuple(shipped().everything)
FLOOD_PER_S = 20_000


def attacks() -> list[bytes]:
    """Return the attacks on OSC parsers that are known to us, each a packet."""

    def text(words: bytes) -> bytes:
        return words + b"\0" * (4 - len(words) % 4)

    def nested(depth: int) -> bytes:
        packet = message("/a")
        for _ in range(depth):
            packet = bundle([packet])
        return packet

    return [
        b"#bundle\0" + b"\0" * 8 + struct.pack(">i", -4),
        nested(300),
        message("/" + "*" * 12 + "/x", 1.0),
        message("/vj/" + "*?" * 70, 1.0),
        message("/" + "*a" * 70, 1.0),
        message("/*/*/*/*", 0.5),
        message("/vj/{" + ",".join(["a"] * 32) + "}*" * 3, 1.0),
        bundle([message("/vj/seed", 1)], struct.pack(">Q", 2**64 - 1)),
        bundle([message("/vj/seed", 1)] * 200, struct.pack(">Q", int((time.time() + 2_208_988_801.5) * 2**32))),
        text(b"/vj/param/zoom") + text(b",f") + struct.pack(">f", float("nan")),
        text(b"/vj/prompt/1/text") + text(b",s") + text(b"x" * 7000),
        b"/\xff\xfe\0,i\0\0\0\0\0\1",
        b"",
        b"\0" * 8192,
    ]


def mutants() -> Iterator[bytes]:
    """Yield packets without end: sound ones and attacks, a few bytes changed, some cut short."""
    rng = random.Random(1)
    seeds = [
        bundle([message("/vj/prompt/1/text", "neon tunnel"), message("/vj/param/zoom", 0.5)]),
        message("/vj/preset/go", 3), message("/vj/param/*/inc", 0.01), message("/vj/seed/next"), *attacks(),
    ]  # fmt: skip
    while True:
        packet = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(0, 6) if packet else 0):
            packet[rng.randrange(len(packet))] = rng.randrange(256)
        yield bytes(packet[: len(packet) if rng.random() < 0.8 else rng.randrange(len(packet) + 1)])


def survive(one: Stage, packets: int) -> list[dict[str, Any]]:
    """Send mutated packets and every attack; after each lot a ping has to be answered."""
    made = mutants()
    before = figures(one.channels, "control")["osc_received"]
    pid = one.worker("control").pid
    lot, sent, waits = 100, 0, []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", one.osc))
        sock.settimeout(5.0)
        while sent < packets:
            for _ in range(min(lot, packets - sent)):
                sock.send(next(made))
                sent += 1
            t_ns = time.perf_counter_ns()
            sock.send(message("/vj/ping", sent))
            answered = False
            while not answered:
                answered = any(m.address == "/vj/pong" and m.args[:1] == (sent,) for m in decode(sock.recv(65536)))
            waits.append((time.perf_counter_ns() - t_ns) * 1e-6)
        slow = []
        for attack in attacks():
            sock.send(attack)
            t_ns = time.perf_counter_ns()
            sock.send(message("/vj/ping", "attack"))
            while not any(m.args[:1] == ("attack",) for m in decode(sock.recv(65536))):
                pass
            slow.append((time.perf_counter_ns() - t_ns) * 1e-6)
    time.sleep(1.0)
    received = figures(one.channels, "control")["osc_received"] - before
    return [
        row(BENCH, f"ping behind {lot} mutated packets", "ms", **percentiles(waits), worst=round(max(waits), 1),
            packets=sent, received=received - len(waits) - 2 * len(slow), same_process=one.worker("control").pid == pid,
            limit_worst=100.0),
        row(BENCH, "ping behind one attack", "ms", **percentiles(slow), worst=round(max(slow), 1), limit_worst=50.0),
    ]  # fmt: skip


def each_packet(packets: int) -> list[dict[str, Any]]:
    """How long one mutated packet takes from the socket's bytes to the state, in a control of our own, by itself."""
    name, bank, late = f"vjbench-{os.getpid()}", load_bank(), []
    channels = Channels(name)
    segments = channels.create()
    try:
        library, limits = UserLibrary(lambda: bank, shipped()), OscLimits((), 1 << 40)
        options = ControlOptions(shipped(), bank, ShowState(), library, limits=limits)
        control = Control(options, LiveClock(), Pipes.of(channels), None, lambda _: None)
        gc.collect()
        gc.freeze()  # as the control process does
        for packet, _ in zip(mutants(), range(packets), strict=False):
            t_ns = time.perf_counter_ns()
            control.server.take(packet, ("127.0.0.1", 9))
            control.settle()
            late.append((time.perf_counter_ns() - t_ns) * 1e-6)
    finally:
        for segment in segments:
            segment.close()
        channels.remove()
    return [row(BENCH, "one mutated packet", "ms", **percentiles(late), worst=round(max(late), 2), limit_worst=50.0)]


# -- every address with every kind of wrong value ------------------------------------------------------------


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (4 - len(data) % 4)


TEXTS = (
    b"", b" ", b"[/x]", b"[bold red]x[/]", b"[link=http://x]y", b"\x1b[2J\x1b[31mGONE\x07", b"\x1b]0;title\x07",
    "\u202egnp.exe".encode(), "\u0000".encode(), b"\r\n\t\x7f", "na\xefve \U0001f525".encode(),
    "na\xefve".encode("latin-1"), "prompt".encode("utf-16"), b"\xff\xfe\xfd", b"{0.__class__}", b"%s%n%x",
    b"../../etc/passwd", b"~", b"/", b"null", b"nan", b"1e999", b"true", b"-0", b"0x10", b"1,5", b"x" * 300,
    b"x" * 60_000, "\u0301".encode() * 2_000,
)  # fmt: skip
NUMBERS = (
    b",i" + b"\0" * 2 + struct.pack(">i", -(2**31)), b",i" + b"\0" * 2 + struct.pack(">i", 2**31 - 1),
    b",f" + b"\0" * 2 + struct.pack(">f", float("nan")), b",f" + b"\0" * 2 + struct.pack(">f", float("inf")),
    b",f" + b"\0" * 2 + struct.pack(">f", -1e38), b",f" + b"\0" * 2 + struct.pack(">f", 1e-45),
    b",d" + b"\0" * 2 + struct.pack(">d", 1e308), b",h" + b"\0" * 2 + struct.pack(">q", 2**63 - 1),
    b",t" + b"\0" * 2 + struct.pack(">Q", 2**64 - 1), b",T\0\0", b",F\0\0", b",N\0\0", b",I\0\0", b",\0\0\0",
    b",b" + b"\0" * 2 + struct.pack(">i", 8) + b"\xff" * 8, b",b" + b"\0" * 2 + struct.pack(">i", -1),
    b",r" + b"\0" * 2 + b"\1\2\3\4", b",c" + b"\0" * 2 + struct.pack(">i", 0x1B), b",m" + b"\0" * 2 + b"\0\x90\x40\x7f",
    b",[ii]\0\0\0" + struct.pack(">ii", 1, 2), b",iiii\0\0\0" + struct.pack(">iiii", 1, 2, 3, 4), b",q\0\0", b"",
)  # fmt: skip
ENDINGS = ("", "", "", "", "?", "/inc", "/toggle", "/x", "/*", "/")


def structured() -> Iterator[bytes]:
    """Yield messages without end: each address of ours with each kind of value that it does not take, or does."""
    rng = random.Random(2)
    while True:
        for address in ADDRESSES:
            where = _padded((address + rng.choice(ENDINGS)).encode())
            text = rng.choice(TEXTS) if rng.random() < 0.99 else rng.choice(TEXTS[-2:])
            if rng.random() < 0.5:
                yield where + rng.choice(NUMBERS)
            elif len(text) > 1_000 and rng.random() < 0.95:  # the long ones seldom: they are most of the bytes
                continue
            elif rng.random() < 0.7:
                yield where + b",s\0\0" + _padded(text)
            else:
                yield where + b",ss\0" + _padded(text) + _padded(rng.choice(TEXTS[:-2]))


def withstand(one: Stage, messages: int, pings: int) -> list[dict[str, Any]]:
    """Send structured messages in lots, a ping behind each; then look how soon pings alone are answered."""
    before, t_s = pids_of(one.process.pid), time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", one.osc))
        sock.settimeout(5.0)
        behind = []
        made = structured()
        for sent in range(0, messages, 100):
            for _ in range(100):
                sock.send(next(made))
            behind.append(_ping(sock, sent))
        took_s = time.monotonic() - t_s
        time.sleep(2.0)
        after = []
        for i in range(pings):
            after.append(_ping(sock, i))
            time.sleep(0.01)
    log = (one.folder / "log" / "vjserver.log").read_text(errors="replace")
    fell = sum(before.get(name) != pid for name, pid in pids_of(one.process.pid).items())
    return [
        row(BENCH, "ping behind 100 structured messages", "ms", **percentiles(behind), worst=round(max(behind), 1),
            messages=messages, per_s=round(messages / took_s)),
        row(BENCH, f"ping after {messages:,} structured messages, live display on", "ms", **percentiles(after),
            worst=round(max(after), 1), limit_p99=50.0, fell=fell, tracebacks=log.count("Traceback")),
    ]  # fmt: skip


def _ping(sock: socket.socket, token: int) -> float:
    """Return how long an answer took, in ms. Raises TimeoutError after five seconds without any."""
    t_ns = time.perf_counter_ns()
    sock.send(message("/vj/ping", token))
    while True:
        with contextlib.suppress(OscError):
            if any(m.address == "/vj/pong" and m.args[:1] == (token,) for m in decode(sock.recv(65536))):
                return (time.perf_counter_ns() - t_ns) * 1e-6


@contextlib.contextmanager
def terminal() -> Iterator[int]:
    """Give a terminal of 120 x 40 whose output is read and thrown away."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))

    def read() -> None:
        with contextlib.suppress(OSError):
            while os.read(ours, 65536):
                pass

    threading.Thread(target=read, daemon=True).start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        os.close(ours)


# -- all at once ---------------------------------------------------------------------------------------------


class Spectator:
    """Takes the panel's pictures as a browser does, in a thread of its own."""

    def __init__(self, port: int) -> None:
        self.pictures = 0
        self._on = True
        self._thread = threading.Thread(target=lambda: asyncio.run(self._take(port)), daemon=True)
        self._thread.start()

    async def _take(self, port: int) -> None:
        async with client.connect(f"ws://127.0.0.1:{port}/ws", max_size=None, compression=None) as ws:
            while self._on:
                with contextlib.suppress(TimeoutError):
                    if isinstance(await asyncio.wait_for(ws.recv(), 0.5), bytes):
                        self.pictures += 1
                        await ws.send("drawn")

    def close(self) -> None:
        self._on = False
        self._thread.join(2.0)


def together(one: Stage, seconds: float) -> list[dict[str, Any]]:
    """Play with the panel open, a recording, NDI and morphs, without and with a flood of OSC beside."""
    rows = []
    hand, far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with hand, far:
        far.connect(("127.0.0.1", one.osc))
        hand.connect(("127.0.0.1", one.osc))
        hand.settimeout(5.0)
        hand.send(message("/vj/morph/seconds", 1.0))
        hand.send(message("/vj/record", 1))
        panel = Spectator(one.web)

        zooms = [message("/vj/param/zoom", i * 1e-3) for i in range(1000)]

        def flood(i: int) -> None:
            far.send(zooms[i % 1000])

        time.sleep(3.0)
        for per_s in (0, FLOOD_PER_S):
            waits: list[float] = []
            seen, made, got = panel.pictures, figures(one.channels, "generate")["frames"], _received(one)
            next_s = [time.monotonic(), time.monotonic()]

            def play(next_s: list[float] = next_s, waits: list[float] = waits) -> None:
                now_s = time.monotonic()
                if now_s >= next_s[0]:
                    next_s[0] = now_s + 2.0
                    hand.send(message("/vj/preset/go", random.randint(1, 8)))
                if now_s >= next_s[1]:
                    next_s[1] = now_s + 0.05
                    waits.append(_ping(hand, len(waits)))

            t_s = time.monotonic()
            if per_s:
                paced(flood, per_s, seconds, play)
            else:
                while time.monotonic() - t_s < seconds:
                    play()
                    time.sleep(0.0002)
            took_s = time.monotonic() - t_s
            time.sleep(0.6)  # figures are written twice a second
            per = 1.0 / (took_s + 0.6)
            frames = (figures(one.channels, "generate")["frames"] - made) * per
            rows.append(
                row(BENCH, f"ping with panel, recording, NDI, morphs and {per_s:,} messages/s", "ms",
                    **percentiles(waits), limit_p95=100.0, pictures_per_s=round(frames, 1), limit_pictures=38.0,
                    panel_per_s=round((panel.pictures - seen) * per, 1), received=_received(one) - got - len(waits))
            )  # fmt: skip
        hand.send(message("/vj/record", 0))
        time.sleep(1.0)
        panel.close()
    return rows


def _received(one: Stage) -> int:
    return int(figures(one.channels, "control")["osc_received"])


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure everything; return the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--short", action="store_true", help="a tenth of everything: does it run?")
    options = parser.parse_args(arguments or [])
    less = 10 if options.short else 1
    rows = each_packet(200_000 // less)
    with terminal() as tty, stage(stdout=tty) as one:
        rows += survive(one, 1_000_000 // less)
    with terminal() as tty, stage(f'[record]\nfolder = "{Path.cwd()}"', stdout=tty) as one:
        rows += withstand(one, 1_000_000 // less, 1000 // less)
    with stage(fps=40, outputs=', {kind = "ndi", name = "bench"}') as one:
        rows += together(one, 20 / less)
    if options.json:
        options.json.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return rows


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
