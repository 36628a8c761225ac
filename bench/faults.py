"""Faults: what is on the wall, and on the beat, while processes are killed or hang under a show that runs.

    python -m bench faults                      3 of each row
    python -m bench.faults --each 10 --json bench/results/faults-2-cores.json

Each process alone and in pairs is killed (SIGKILL) while the show runs plainly, in a morph, and while it records; and
each alone is stopped (SIGSTOP) until the supervisor has replaced it. At the receivers (the shared-memory ring, ZeroMQ,
OSC) the longest time without a picture and without a beat is measured; before and after, all that the hand did is
compared. ``--without-standby`` measures the same show without understudies, as the baseline.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from rich.console import Console
from rich.table import Table

from bench import report
from bench.report import commit, machine
from vjserver.controls.osc import OscError, decode
from vjserver.runtime.osc import message
from vjserver.runtime.ring import RingReader
from vjserver.runtime.roles import WORKERS
from vjserver.runtime.store import pids_of
from vjserver.runtime.supervisor import CALM_S

BPM = 120.0
APART_S = CALM_S + 2.0
"""One process is killed so seldom at most: sooner, and the supervisor takes back what the show was told last."""
SHOW = """
name = "faults"
outputs = [{{kind = "sharedmem", stream = "{stream}"}}, {{kind = "zmq", address = "tcp://127.0.0.1:{frames}"}}]
[source]
kind = "click"
bpm = {bpm}
[video]
width = 640
height = 360
output_fps = 60
standby = {standby}
[osc]
port = {osc}
targets = [{{port = {beats}}}]
[web]
on = false
[midi]
on = false
[record]
folder = "{folder}"
"""
SET = (
    ("/vj/prompt/1/text", "my own text"), ("/vj/prompt/2/weight", 0.375), ("/vj/param/zoom", 0.75),
    ("/vj/master/fade", 0.875), ("/vj/quantise", "none"), ("/vj/morph/seconds", 2.0), ("/vj/autopilot/bars", 7),
    ("/vj/macro/2", 0.5), ("/vj/prompt/push", "queued"),
)  # fmt: skip
READ = (
    "/vj/prompt/1/text", "/vj/prompt/2/weight", "/vj/param/zoom", "/vj/master/fade", "/vj/morph/seconds",
    "/vj/autopilot/bars", "/vj/macro/2", "/vj/prompt/queue",
)  # fmt: skip


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Gaps:
    """The longest time between two arrivals since :meth:`reset`."""

    longest_s: float = 0.0
    count: int = 0
    last_s: float = field(default_factory=time.monotonic)

    def reset(self) -> None:
        self.longest_s, self.count, self.last_s = 0.0, 0, time.monotonic()

    def arrive(self) -> None:
        now_s = time.monotonic()
        self.longest_s, self.last_s = max(self.longest_s, now_s - self.last_s), now_s
        self.count += 1

    def worst(self) -> float:
        """Return the longest, that which lasts still included."""
        return max(self.longest_s, time.monotonic() - self.last_s)


class Watch:
    """Receives what the show sends: pictures from the ring and ZeroMQ, and beats."""

    def __init__(self, stream: str, frames: int, beats: int) -> None:
        self.ring, self.changing, self.zmq, self.beats = Gaps(), Gaps(), Gaps(), Gaps()
        self._on = True
        self._threads = [
            threading.Thread(target=self._watch_ring, args=(f"vjserver-{stream}",), daemon=True),
            threading.Thread(target=self._watch_zmq, args=(frames,), daemon=True),
            threading.Thread(target=self._watch_beats, args=(beats,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def reset(self) -> None:
        for gaps in (self.ring, self.changing, self.zmq, self.beats):
            gaps.reset()

    def close(self) -> None:
        self._on = False
        for thread in self._threads:
            thread.join(2.0)

    def _watch_ring(self, name: str) -> None:
        reader, last = RingReader(name), b""
        while self._on:
            frame = reader.wait(0.2)
            if frame is not None:
                self.ring.arrive()
                seen = frame.pixels[::16, ::16, :3].tobytes()
                if seen != last:
                    last = seen
                    self.changing.arrive()
        reader.close()

    def _watch_zmq(self, port: int) -> None:
        with zmq.Context() as context, context.socket(zmq.SUB) as eye:
            eye.setsockopt(zmq.CONFLATE, 1)
            eye.setsockopt(zmq.LINGER, 0)
            eye.setsockopt(zmq.RECONNECT_IVL, 10)  # as our own input does; the library's own value is 100 ms
            eye.setsockopt(zmq.SUBSCRIBE, b"")
            eye.connect(f"tcp://127.0.0.1:{port}")
            while self._on:
                if eye.poll(100):
                    eye.recv()
                    self.zmq.arrive()

    def _watch_beats(self, port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
            ear.bind(("127.0.0.1", port))
            ear.settimeout(0.1)
            while self._on:
                try:
                    messages = decode(ear.recv(65536))
                except (TimeoutError, OscError):
                    continue
                if any(m.address == "/vj/beat" for m in messages):
                    self.beats.arrive()


class Stage:
    """A show that runs, and what is received of it."""

    def __init__(self, folder: Path, standby: bool) -> None:
        self.stream = f"f{os.getpid() % 100000}"
        self.osc, beats, frames = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM), free_port()
        self.folder = folder / "films"
        show = folder / "show.toml"
        text = SHOW.format(
            stream=self.stream, frames=frames, bpm=BPM, osc=self.osc, beats=beats, folder=self.folder.as_posix(),
            standby=str(standby).lower(),
        )  # fmt: skip
        show.write_text(text)
        env = {**os.environ, "VJSERVER_DATA": str(folder / "data")}
        self.log = (folder / "log.txt").open("w+")
        command = [sys.executable, "-m", "vjserver", "run", str(show)]
        self.server = subprocess.Popen(command, env=env, stdout=self.log, stderr=subprocess.STDOUT)
        self.watch = Watch(self.stream, frames, beats)
        self.killed_s = dict.fromkeys(WORKERS, -APART_S)
        self._hand = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._hand.settimeout(0.5)

    def send(self, address: str, *args: Any) -> None:
        self._hand.sendto(message(address, *args), ("127.0.0.1", self.osc))

    def ask(self, address: str) -> Any:
        """Return a value, None where nobody answers within two seconds."""
        for _ in range(4):
            self.send(f"{address}?")
            with contextlib.suppress(TimeoutError, ConnectionError, OscError):
                for _ in range(20):
                    answer = decode(self._hand.recv(65536))[0]
                    if answer.address == address:
                        return answer.args[0]
        return None

    def wait(self, what: Any, seconds: float) -> float:
        """Return how long it took until ``what`` was true; fail after ``seconds``."""
        began_s = time.monotonic()
        while not what():
            if time.monotonic() - began_s > seconds:
                self.log.seek(0)
                raise SystemExit(f"the show did not get there within {seconds} s:\n{self.log.read()[-3000:]}")
            time.sleep(0.01)
        return time.monotonic() - began_s

    def whole(self) -> bool:
        """Tell whether all run, give signs, and pictures and beats come."""
        pids = pids_of(self.server.pid)
        return len(pids) == len(WORKERS) and all(_alive(pid) for pid in pids.values())

    def close(self) -> None:
        self.watch.close()
        self.server.terminate()
        self.server.wait(10)
        self.log.close()
        self._hand.close()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def stage(standby: bool) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder:
        one = Stage(Path(folder), standby)
        try:
            one.wait(lambda: one.watch.changing.count > 60 and one.watch.beats.count > 8 and one.whole(), 120)
            for row in SET:
                one.send(*row)
                time.sleep(0.05)
            time.sleep(APART_S)
            yield one
        finally:
            one.close()


def kill(one: Stage, names: tuple[str, ...], during: str) -> dict[str, float]:
    """Kill processes in a situation; return what was seen."""
    one.wait(one.whole, 30)
    apart_s = max(one.killed_s[name] for name in names) + APART_S - time.monotonic()
    time.sleep(max(2.5, apart_s))  # their understudies are there again
    before = {address: one.ask(address) for address in READ}
    if during == "morph":
        one.send("/vj/preset/go", random.randint(1, 8))
        time.sleep(0.4)
    elif during == "recording":
        one.send("/vj/record", 1)
        time.sleep(2.0)
    one.watch.reset()
    pids = pids_of(one.server.pid)
    for name in names:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[name], signal.SIGKILL)
        one.killed_s[name] = time.monotonic()
    time.sleep(3.0)
    seen = {"ring": one.watch.ring.worst(), "zmq": one.watch.zmq.worst(), "changing": one.watch.changing.worst(),
            "beats": one.watch.beats.worst()}  # fmt: skip
    lost = 0
    if during == "recording":
        one.send("/vj/record", 0)
        time.sleep(1.0)
    if during == "morph":
        for row in SET:
            one.send(*row)
    else:
        lost = sum(one.ask(address) != value for address, value in before.items())
    return seen | {"lost": float(lost)}


def hang(one: Stage, name: str) -> dict[str, float]:
    """Stop a process; return how long the wall, the beat and the announcement took."""
    one.wait(one.whole, 30)
    time.sleep(2.5)
    one.watch.reset()
    pid = pids_of(one.server.pid)[name]
    os.kill(pid, signal.SIGSTOP)
    back_s = one.wait(lambda: pids_of(one.server.pid).get(name) != pid and one.whole(), 40)
    time.sleep(1.0)
    return {"ring": one.watch.ring.worst(), "zmq": one.watch.zmq.worst(), "changing": one.watch.changing.worst(),
            "beats": one.watch.beats.worst(), "back": back_s}  # fmt: skip


def unplayable(folder: Path) -> list[str]:
    """Return the recordings that cannot be played."""
    import av

    bad = []
    for path in sorted(folder.glob("*")):
        try:
            with av.open(str(path)) as film:
                if not sum(1 for _ in film.decode(video=0)):
                    bad.append(path.name)
        except av.FFmpegError as error:
            bad.append(f"{path.name}: {error}")
    return bad


def measure(each: int, standby: bool, situations: tuple[str, ...], pairs: bool) -> dict[str, Any]:
    random.seed(7)
    alone = [(name,) for name in WORKERS]
    halves = [(WORKERS[0], other) for other in WORKERS[1:]] if pairs else []
    both = [pair for one in halves for pair in (one, tuple(name for name in WORKERS if name not in one))]
    killed, hung = [], []
    with stage(standby) as one:
        for during in situations:
            rounds = [[kill(one, names, during) for names in (*alone, *both)] for _ in range(each)]
            for names, rows in zip((*alone, *both), zip(*rounds, strict=True), strict=True):
                killed.append({"killed": "+".join(names), "during": during, "n": each, **_summary(rows)})
                print(json.dumps(killed[-1]), flush=True)
        for name in WORKERS:
            rows = tuple(hang(one, name) for _ in range(max(1, each // 3)))
            hung.append({"hung": name, "n": len(rows), **_summary(rows)})
            print(json.dumps(hung[-1]), flush=True)
        bad = unplayable(one.folder)
        films = len(list(one.folder.glob("*")))
    return {"standby": standby, "killed": killed, "hung": hung, "recordings": films, "unplayable": bad}


def _summary(rows: tuple[dict[str, float], ...]) -> dict[str, Any]:
    """Return median and 95th percentile of each figure, in seconds; of what was lost, the sum."""
    found: dict[str, Any] = {}
    for key in rows[0]:
        values = [row[key] for row in rows]
        if key == "lost":
            found[key] = int(sum(values))
        else:
            found[key] = [round(float(np.percentile(values, q)), 3) for q in (50, 95)]
    return found


def table(result: dict[str, Any]) -> list[Table]:
    """Return the two tables of a result."""
    name = "with understudies" if result["standby"] else "without understudies"
    kills = Table(title=f"killed, {name}: longest time without, s (median / 95 %)")
    for column in ("killed", "during", "n", "ring", "ZeroMQ", "new pictures", "beats", "lost"):
        kills.add_column(column)
    for row in result["killed"]:
        figures = [f"{row[key][0]:.2f} / {row[key][1]:.2f}" for key in ("ring", "zmq", "changing", "beats")]
        kills.add_row(row["killed"], row["during"], str(row["n"]), *figures, str(row["lost"]))
    hangs = Table(title=f"hung, {name}: longest time without, s (median / 95 %)")
    for column in ("hung", "n", "ring", "ZeroMQ", "new pictures", "beats", "replaced after"):
        hangs.add_column(column)
    for row in result["hung"]:
        figures = [f"{row[key][0]:.2f} / {row[key][1]:.2f}" for key in ("ring", "zmq", "changing", "beats", "back")]
        hangs.add_row(row["hung"], str(row["n"]), *figures)
    return [kills, hangs]


def main() -> list[dict[str, Any]]:
    """Run the short form for ``make bench``: rows of the longest picture and beat gaps, in seconds."""
    result = measure(3, True, ("plain",), False)
    rows = []
    for one in result["killed"]:
        for key in ("ring", "zmq", "beats"):
            p50, p95 = one[key]
            rows.append(report.row("faults", f"{one['killed']} killed: {key}", "s", p50=p50, p95=p95, n=one["n"]))
    for one in result["hung"]:
        p50, p95 = one["back"]
        rows.append(report.row("faults", f"{one['hung']} hung: replaced", "s", p50=p50, p95=p95, n=one["n"]))
    return rows


def run() -> None:
    """Run what the command line asks for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=3, help="how often each row is done")
    parser.add_argument("--alone", action="store_true", help="no pairs")
    parser.add_argument("--during", nargs="+", default=["plain", "morph", "recording"])
    parser.add_argument("--without-standby", action="store_true", help="the baseline besides")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    kinds = [True, False] if args.without_standby else [True]
    results = [measure(args.each, standby, tuple(args.during), not args.alone) for standby in kinds]
    console = Console(width=140)
    for result in results:
        for one in table(result):
            console.print(one)
        console.print(f"{result['recordings']} recordings, unplayable: {result['unplayable'] or 'none'}")
    if args.json:
        args.json.write_text(
            json.dumps({"commit": commit(), "machine": machine(), "results": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    run()
