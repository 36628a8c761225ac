"""The control surface under load: how soon a hand reaches the state and the picture, and what it stands.

A real server runs with all four processes: ear on a click track, pattern generator, outputs. Messages go in over UDP;
the state is read where the workers read it, in shared memory, and pictures are read from the rings. Beside each figure
of OSC stands the same way through a bare process: receive a datagram, write a number into shared memory.

    python -m bench.control [--json OUT.json] [--short]
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil

from bench.report import percentiles, row, server
from vjserver.runtime import shared
from vjserver.runtime.osc import message
from vjserver.runtime.ring import RingReader
from vjserver.runtime.roles import ROLES
from vjserver.runtime.slot import SlotReader, size_of
from vjserver.runtime.status import StatusReader
from vjserver.runtime.store import Channels, StateReader, pids_of
from vjserver.types.errors import VJError

BENCH = "control"
NS = 1_000_000_000
BARE = """
import socket, struct, sys
from vjserver.runtime.slot import SlotWriter
slot = SlotWriter(sys.argv[2])
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
sock.bind(("127.0.0.1", int(sys.argv[1])))
while True:
    slot.put(sock.recv(2048)[-4:])
"""


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Stage:
    """A running server: its OSC and web ports, its pipes, its process, and its folder of data."""

    osc: int
    web: int
    channels: Channels
    process: psutil.Process
    stream: str
    folder: Path

    def worker(self, name: str) -> psutil.Process:
        """Return the process of a worker."""
        return psutil.Process(pids_of(self.process.pid)[name])


@contextmanager
def stage(
    *more: str, size: tuple[int, int] = (640, 360), fps: int = 30, outputs: str = "", stdout: int = subprocess.DEVNULL
) -> Iterator[Stage]:
    """Run a server while the block runs; wait until it makes pictures. ``more`` goes into its show file."""
    osc, web = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_STREAM)
    with tempfile.TemporaryDirectory() as folder:
        show = Path(folder) / "show.toml"
        stream = f"bench{osc}"
        show.write_text(
            f'outputs = [{{kind = "sharedmem", stream = "{stream}"}}{outputs}]\n[source]\nkind = "click"\nbpm = 120\n'
            f"[video]\nwidth = {size[0]}\nheight = {size[1]}\nfps = {fps}\n"
            f"[osc]\nport = {osc}\nmost_per_s = 100000000\n[web]\nport = {web}\n" + "\n".join(more)
        )
        env = {**os.environ, "VJSERVER_DATA": folder}
        with server("run", str(show), env=env, stdout=stdout) as process:
            channels = Channels(f"vjs-{process.pid}")
            wait(lambda: figures(channels, "generate").get("frames", 0) > 30, 90)
            time.sleep(2.0)
            yield Stage(osc, web, channels, psutil.Process(process.pid), stream, Path(folder))


def figures(channels: Channels, worker: str) -> dict[str, Any]:
    kind = next(role.status for role in ROLES if role.name == worker)
    try:
        told: dict[str, Any] = msgspec.to_builtins(StatusReader(channels.status(worker), kind).get())
    except (VJError, OSError):
        return {}
    return told


def wait(what: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.01)
    raise SystemExit("the benchmark waited in vain")


def paced(send: Callable[[int], None], per_s: int, seconds: float, poll: Callable[[], None]) -> None:
    """Call ``send(i)`` ``per_s`` times a second, and ``poll`` in between."""
    began = time.perf_counter()
    total, i = round(per_s * seconds), 0
    while i < total:
        due = min(total, int((time.perf_counter() - began) * per_s))
        while i < due:
            i += 1
            send(i)
        poll()
        time.sleep(0.0002)


# -- OSC to the state ----------------------------------------------------------------------------------------


def arrivals(
    port: int, newest: Callable[[], int], per_s: int, seconds: float, address: str
) -> tuple[list[float], bool]:
    """Send rising numbers; return how late each was seen in shared memory (ms), and whether they rose all the way."""
    sent: dict[int, int] = {}
    late: list[float] = []
    seen, rising = 0, True
    base = random.randrange(1 << 20) * 1000

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))

        def send(i: int) -> None:
            sent[i] = time.perf_counter_ns()
            sock.send(message(address, base + i))

        def poll() -> None:
            nonlocal seen, rising
            now = newest() - base
            if not 0 <= now < 1 << 24 or now == seen:
                return
            rising = rising and now > seen
            t_ns = time.perf_counter_ns()
            late.extend((t_ns - sent.pop(i)) * 1e-6 for i in range(seen + 1, now + 1) if i in sent)
            seen = now

        paced(send, per_s, seconds, poll)
        deadline = time.monotonic() + 1.0
        while sent and time.monotonic() < deadline:
            poll()
            time.sleep(0.0002)
    return late, rising


def osc_to_state(one: Stage, seconds: float) -> list[dict[str, Any]]:
    state = StateReader(one.channels.state)
    late, _ = arrivals(one.osc, lambda: state.get().seed, 1000, seconds, "/vj/seed")
    rows = [row(BENCH, "OSC to state, 1,000 messages/s", "ms", **percentiles(late), limit_p99=5.0)]
    port, name = free_port(socket.SOCK_DGRAM), f"vjbare{os.getpid()}"
    segment = shared.create(name, size_of(64))
    bare = subprocess.Popen([sys.executable, "-c", BARE, str(port), name])
    try:
        time.sleep(1.0)
        slot, newest = SlotReader(name), [0]

        def read() -> int:
            data = slot.get()
            if data is not None:
                newest[0] = struct.unpack(">i", data)[0]
            return newest[0]

        late, _ = arrivals(port, read, 1000, seconds, "/vj/seed")
        rows.append(row(BENCH, "the same through a bare process", "ms", **percentiles(late)))
    finally:
        bare.kill()
        bare.wait()
        shared.remove(segment)
    return rows


def osc_to_frame(one: Stage, trials: int) -> list[dict[str, Any]]:
    """From a datagram to the next picture that was begun with it: as long as until the next one begins, and is made."""
    ring, late = RingReader(one.channels.generated), []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", one.osc))
        for i in range(trials):
            time.sleep(random.uniform(0.05, 0.12))
            seed, t_ns = 1_000_000 + i, time.perf_counter_ns()
            sock.send(message("/vj/seed", seed))
            while time.perf_counter_ns() - t_ns < NS:
                frame = ring.get()
                if frame is not None and frame.info.seed == seed:
                    late.append((frame.info.t_generated_ns - t_ns) * 1e-6)
                    break
                time.sleep(0.001)
    made = figures(one.channels, "generate")
    return [
        row(BENCH, "OSC to a picture made with it", "ms", **percentiles(late), of=trials,
            frame_ms=round(1e3 / made["fps"], 1), render_p50=made["render"]["p50"]),
    ]  # fmt: skip


def burst(one: Stage, per_s: int, seconds: float) -> list[dict[str, Any]]:
    state, before = StateReader(one.channels.state), figures(one.channels, "control")["osc_received"]
    late, rising = arrivals(one.osc, lambda: state.get().seed, per_s, seconds, "/vj/seed")
    total = round(per_s * seconds)
    time.sleep(1.5)
    received = figures(one.channels, "control")["osc_received"] - before
    return [
        row(BENCH, f"{per_s:,} messages/s for {seconds:g} s", "ms to the state", **percentiles(late),
            sent=total, received=received, in_order=rising),
    ]  # fmt: skip


# -- on the beat, and black ----------------------------------------------------------------------------------


def quantised(one: Stage, trials: int) -> list[dict[str, Any]]:
    """How far from the bar's beginning the first picture of a preset is that was asked for within the bar."""
    ring, off, frame_ms = RingReader(one.channels.generated), [], 1e3 / 30
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", one.osc))
        sock.send(message("/vj/quantise", "bar"))
        time.sleep(0.2)
        for i in range(trials):
            number = 1 + i % 2
            sock.send(message("/vj/preset/go", number))
            wanted, last = {1: 7, 2: 3}[number], None  # their seeds
            while True:
                frame = ring.get()
                if frame is None:
                    time.sleep(0.001)
                    continue
                if frame.info.seed == wanted and last is not None:
                    # the bar began between the last picture of the old preset and the first of the new one, or beside
                    bar_ms = 4 * 60e3 / frame.info.bpm
                    phase = frame.info.bar_phase
                    off.append((phase if phase < 0.5 else phase - 1.0) * bar_ms)
                    break
                last = frame
            time.sleep(random.uniform(0.1, 1.2))
        sock.send(message("/vj/quantise", "none"))
    inside = sum(-frame_ms <= value <= frame_ms * 1.5 for value in off)
    return [
        row(BENCH, "first picture of a preset, after the bar's beginning", "ms", **percentiles(off),
            within_a_frame=inside, of=trials, frame_ms=round(frame_ms, 1)),
    ]  # fmt: skip


def blackout(one: Stage, trials: int) -> list[dict[str, Any]]:
    """From the datagram to a black picture in the output ring, while the generator's process is stopped."""
    ring, late, frames = RingReader(f"vjserver-{one.stream}"), [], []
    generator = one.worker("generate")
    generator.send_signal(signal.SIGSTOP)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", one.osc))
            for _ in range(trials):
                time.sleep(random.uniform(0.1, 0.2))
                while ring.get() is not None:
                    pass
                t_ns, count = time.perf_counter_ns(), 0
                sock.send(message("/vj/master/blackout", 1))
                while time.perf_counter_ns() - t_ns < NS:
                    frame = ring.get()
                    if frame is None:
                        time.sleep(0.0005)
                        continue
                    count += 1
                    if frame.pixels[..., :3].max() == 0:
                        late.append((time.perf_counter_ns() - t_ns) * 1e-6)
                        frames.append(count)
                        break
                sock.send(message("/vj/master/blackout", 0))
    finally:
        generator.send_signal(signal.SIGCONT)
    return [
        row(BENCH, "blackout with the generator stopped", "ms", **percentiles(late), of=trials,
            output_frames_worst=max(frames, default=0), limit_frames=2),
    ]  # fmt: skip


# -- the panel, MIDI -----------------------------------------------------------------------------------------


def panel(seconds: float) -> list[dict[str, Any]]:
    """Pictures of 512x512 in a real browser: how many a second, and how long from encoding to the canvas."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return [row(BENCH, "panel: not measured, chromium is not installed", "ms", n=0)]
    from playwright.sync_api import sync_playwright

    with stage(size=(512, 512)) as one, sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"http://127.0.0.1:{one.web}/")
        page.wait_for_selector(".picture canvas[data-frames]")
        time.sleep(3.0)
        count = "Number(document.querySelector('.picture canvas').dataset.frames)"
        first, t_s, late = page.evaluate(count), time.monotonic(), []
        while time.monotonic() - t_s < seconds:
            time.sleep(2.0)
            late += [float(x) for x in page.evaluate("document.querySelector('.picture canvas').dataset.late").split()][
                -50:
            ]
        fps = (page.evaluate(count) - first) / (time.monotonic() - t_s)
        made = figures(one.channels, "generate")["fps"]
        browser.close()
    return [
        row(BENCH, "panel: encode to canvas, 512x512", "ms", **percentiles(late), fps=round(fps, 1),
            generated_fps=round(made, 1), limit_p95=50.0, limit_fps=25.0),
    ]  # fmt: skip


def midi(messages: int) -> list[dict[str, Any]]:
    """Control changes over JACK to the state."""
    if shutil.which("jackd") is None:
        return [row(BENCH, "MIDI: not measured, jackd is not installed", "ms", n=0)]
    name = f"vjbench{os.getpid()}"
    os.environ["JACK_DEFAULT_SERVER"] = name
    jack = subprocess.Popen(["jackd", "-n", name, "--no-realtime", "-d", "dummy", "-p", "512"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        time.sleep(2.0)
        import rtmidi

        out = rtmidi.MidiOut(rtmidi.API_UNIX_JACK, name="Bench Box")
        out.open_virtual_port("out")
        maps = (
            'name = "bench"\nmatch = ["Bench Box"]\ntakeover = "jump"\n[[controls]]\ncc14 = 1\nto = "/vj/param/zoom"\n'
        )
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            (Path(folder) / "bench.toml").write_text(maps)
            one = stack.enter_context(stage(f'[midi]\nmaps = "{folder}"'))
            state, late, seen = StateReader(one.channels.state), [], 0
            time.sleep(2.0)
            for i in range(1, messages + 1):
                out.send_message([0xB0, 1, i >> 7])
                t_ns = time.perf_counter_ns()
                out.send_message([0xB0, 33, i & 127])
                while time.perf_counter_ns() - t_ns < NS // 10:
                    if abs(state.get().params["zoom"] * 16383 - i) < 0.5:
                        late.append((time.perf_counter_ns() - t_ns) * 1e-6)
                        seen += 1
                        break
                    time.sleep(0.0002)
        out.close_port()
    finally:
        jack.terminate()
        jack.wait(10)
    return [row(BENCH, "MIDI control change over JACK to state", "ms", **percentiles(late), arrived=seen, of=messages)]


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Measure everything; return the rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--only", default="", help="measure only the part of this name: stage, panel or midi")
    parser.add_argument("--short", action="store_true", help="a tenth of everything: does it run?")
    options = parser.parse_args(arguments or [])
    less = 10 if options.short else 1
    rows: list[dict[str, Any]] = []
    if options.only in ("", "stage"):
        with stage() as one:
            rows += osc_to_state(one, 20 / less)
            rows += osc_to_frame(one, 100 // less)
            rows += burst(one, 20_000, 10 / less)
            rows += quantised(one, 20 // less)
            rows += blackout(one, 30 // less)
    if options.only in ("", "panel"):
        rows += panel(20 / less)
    if options.only in ("", "midi"):
        rows += midi(300 // less)
    if options.json:
        options.json.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
