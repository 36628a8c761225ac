"""From a beat in the sound to the first changed frame at a receiver (shared-memory ring and NDI), in a running server.

A click track plays in the server; a preset flashes white on the beat clock. The receiver is this process: it looks for
the frame in which the picture jumps, and compares its arrival with the beat's own time, which the click source (a
plug-in that this bench brings along, found by entry point as a stranger's would be) writes down as it starts.

Three runs: pictures made for the moment they are begun (``lookahead_ms = 0``), for the moment they are delivered (the
measured lookahead, the default), and the beat's OSC message to a target with and without a lookahead.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.ndi import NotReceivedError, receiving
from bench.report import percentiles, row
from vjserver.controls.osc import decode
from vjserver.runtime.ring import RingReader

SECONDS, WARM_S = 16.0, 16.0
BPM = 121.0
FPS = 60
OSC_AHEAD_MS = 40.0

PLUGIN = """
from pathlib import Path
from vjserver.sources.click import ClickSource

class AnnouncedClick(ClickSource):
    def open(self):
        super().open()
        Path(__file__).with_name("start_ns").write_text(str(self._start_ns))
"""
PRESET = """
name = "Flash"
[[prompts]]
text = "black"
[params]
brightness = 0.2
bloom = 0.0
feedback = 0.0
flash = 0.0
[[mappings]]
from = "beat_pulse"
to = "/vj/param/flash"
mode = "set"
range = [0.0, 1.0]
attack_s = 0.0
release_s = 0.0
"""
Receiver = Callable[[], float | None]


def main() -> list[dict[str, object]]:
    rows = []
    for ahead, name in (("lookahead_ms = 0.0\n", "no lookahead"), ("", "measured lookahead")):
        rows += _measure(ahead, name)
    return rows


def _measure(ahead: str, name: str) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as now_port, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ahead_port:  # fmt: skip
        home = Path(folder)
        stream = f"photon{os.getpid()}"
        for one in (now_port, ahead_port):
            one.bind(("127.0.0.1", 0))
            one.setblocking(False)
        ports = [one.getsockname()[1] for one in (now_port, ahead_port)]
        _prepare(home, stream, ahead, ports)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")])}
        command = [sys.executable, "-m", "vjserver", "run", str(home / "show.toml"), "--seconds", "75", "--json"]
        with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
            try:
                time.sleep(WARM_S)
                start_ns = int((home / "start_ns").read_text())
                rows = [_watch(f"{name}: ring", _ring(stream), start_ns)]
                try:
                    with receiving(stream) as capture:
                        rows.append(_watch(f"{name}: NDI", lambda: capture(_green), start_ns))
                except NotReceivedError as error:
                    rows.append(row("beat_to_photon", f"{name}: NDI: not measured ({error})", "ms", n=0))
                if ahead:
                    late = _osc(now_port, start_ns)
                    rows.append(row("beat_to_photon", "beat message, lookahead 0", "ms", **percentiles(late)))
                    late = [x + OSC_AHEAD_MS for x in _osc(ahead_port, start_ns)]
                    what = f"beat message, lookahead {OSC_AHEAD_MS:g}, + {OSC_AHEAD_MS:g}"
                    rows.append(row("beat_to_photon", what, "ms", **percentiles(late)))
            finally:
                run.terminate()
                out = run.communicate(timeout=20)[0]
        summary = json.loads(out.splitlines()[-1])
        made = {f"{key}_ms": value.get("p50") for key, value in summary["latency_ms"].items()}
        return [
            *rows,
            row("beat_to_photon", f"{name}: pictures made", "1/s", p50=summary["fps"], n=summary["frames"], **made),
        ]


def _prepare(home: Path, stream: str, ahead: str, ports: list[int]) -> None:
    (home / "presets").mkdir()
    (home / "presets" / "flash.toml").write_text(PRESET)
    (home / "photon_click.py").write_text(PLUGIN)
    info = home / "photon_click-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: photon-click\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[vjserver.sources]\nphoton = photon_click:AnnouncedClick\n")
    (home / "show.toml").write_text(
        f'preset = "Flash"\npresets = "{(home / "presets").as_posix()}"\n'
        f'outputs = [{{kind = "sharedmem", stream = "{stream}"}}, {{kind = "ndi", name = "{stream}"}}]\n'
        f'[source]\nkind = "photon"\nbpm = {BPM}\n[video]\nwidth = 640\nheight = 360\nfps = {FPS}\n{ahead}'
        f"[osc]\nport = {_free()}\n"
        f"targets = [{{port = {ports[0]}}}, {{port = {ports[1]}, lookahead_ms = {OSC_AHEAD_MS}}}]\n"
        f"[web]\non = false\n"
    )


def _free() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _late_ms(now_ns: int, start_ns: int) -> float:
    """Return how long after (or before, if negative) the nearest beat a moment lies, ms."""
    period = 60.0 / BPM
    since = (now_ns - start_ns) * 1e-9
    return (since - round(since / period) * period) * 1e3


def _watch(name: str, brightness: Receiver, start_ns: int) -> dict[str, object]:
    late, last, span = [], None, 1.0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        value = brightness()
        if value is None:
            continue
        if last is not None and value - last > 0.4 * span:
            late.append(_late_ms(time.perf_counter_ns(), start_ns))
        span = max(span, value)
        last = value
    return row("beat_to_photon", name, "ms", **percentiles(late[2:]))


def _ring(stream: str) -> Receiver:
    reader = RingReader(f"vjserver-{stream}")

    def brightness() -> float | None:
        frame = reader.get()
        if frame is None:
            time.sleep(0.0003)
            return None
        return float(frame.pixels[::8, ::8, 1].mean())

    return brightness


def _green(video: Any) -> float:
    return float(np.asarray(video.data)[::8, ::8, 1].mean())  # green, or the luma of UYVY


def _osc(listener: socket.socket, start_ns: int) -> list[float]:
    late: list[float] = []
    while True:  # what came before is old
        try:
            listener.recv(65536)
        except BlockingIOError:
            break
    deadline = time.monotonic() + SECONDS / 2
    while time.monotonic() < deadline:
        try:
            packet = listener.recv(65536)
        except BlockingIOError:
            time.sleep(0.0002)
            continue
        now_ns = time.perf_counter_ns()
        late += [_late_ms(now_ns, start_ns) for one in decode(packet) if one.address == "/vj/beat"]
    return late


if __name__ == "__main__":
    main()
