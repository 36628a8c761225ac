"""From features to frame, and from frame to a receiver, in a running server; beside a bare copy of the same size.

The receivers are this process: a ZeroMQ subscriber and a reader of the shared-memory ring. Ages are read off the
frame's own header: ``t_sent`` (an output took it), ``t_generated``, ``t_capture`` (the sound behind it).
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from bench.ndi import NotReceivedError, receiving
from bench.report import percentiles, row
from vjserver.runtime.ring import RingReader
from vjserver.types.frames import HEADER_SIZE, FrameInfo

SECONDS = 12.0
SIZES = ((640, 360), (1280, 720))


def main() -> list[dict[str, object]]:
    rows = []
    for width, height in SIZES:
        rows += _copy(width, height) + _measure(width, height)
    return rows


def _copy(width: int, height: int) -> list[dict[str, object]]:
    source = np.random.default_rng(0).integers(0, 255, (height, width, 4), dtype=np.uint8)
    target, times = np.empty_like(source), []
    for _ in range(300):
        began = time.perf_counter()
        np.copyto(target, source)
        times.append((time.perf_counter() - began) * 1e3)
    return [row("frame_latency", f"{width}x{height} bare copy", "ms", **percentiles(times))]


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _measure(width: int, height: int) -> list[dict[str, object]]:
    port, stream = _free(), f"bench{width}"
    with tempfile.TemporaryDirectory() as folder:
        show = Path(folder) / "show.toml"
        show.write_text(
            f'outputs = [{{kind = "sharedmem", stream = "{stream}"}}, {{kind = "ndi", name = "{stream}"}}, '
            f'{{kind = "zmq", address = "tcp://127.0.0.1:{port}"}}]\n'
            f'[source]\nkind = "click"\n[video]\nwidth = {width}\nheight = {height}\n'
            f"[osc]\nport = {_free()}\ntargets = []\n[web]\non = false\n"
        )
        command = [sys.executable, "-m", "vjserver", "run", str(show), "--json", "--seconds", str(3 * SECONDS + 14)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as run:
            time.sleep(6.0)
            name = f"{width}x{height}"
            rows = _watch_ring(name, RingReader(f"vjserver-{stream}"))
            with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
                subscriber.setsockopt(zmq.CONFLATE, 1)
                subscriber.setsockopt(zmq.SUBSCRIBE, b"")
                subscriber.connect(f"tcp://127.0.0.1:{port}")
                rows += _watch_zmq(name, subscriber)
            rows += _watch_ndi(name, stream)
            summary = json.loads(run.communicate()[0].splitlines()[-1])
    for key in ("audio_to_frame", "frame_to_output"):
        rows.append(row("frame_latency", f"{name} {key.replace('_', ' ')}", "ms", **summary["latency_ms"][key]))
    rows.append(row("frame_latency", f"{name} pictures made", "1/s", p50=summary["fps"], n=summary["frames"]))
    return rows


def _watch_ring(name: str, reader: RingReader) -> list[dict[str, object]]:
    def newest() -> FrameInfo | None:
        frame = reader.get()
        if frame is None:
            time.sleep(0.0003)
        return frame.info if frame else None

    return _ages(f"{name} shared memory", newest)


def _watch_zmq(name: str, subscriber: "zmq.Socket[bytes]") -> list[dict[str, object]]:
    def newest() -> FrameInfo | None:
        if not subscriber.poll(200):
            return None
        message = subscriber.recv()
        pixels = np.frombuffer(message, np.uint8, offset=HEADER_SIZE).copy()
        return FrameInfo.unpack(message[:HEADER_SIZE]) if pixels.size else None

    return _ages(f"{name} ZeroMQ tcp", newest)


def _watch_ndi(name: str, sender: str) -> list[dict[str, object]]:
    width, height = (int(side) for side in name.split("x"))

    def look(video: Any) -> FrameInfo:
        np.array(video.data)
        told = {key: value.strip('"') for key, _, value in (p.partition("=") for p in video.metadata[4:-2].split())}
        return FrameInfo(width, height, int(told["frame"]), 0, int(told["generated_ns"]), int(told["sent_ns"]))

    try:
        with receiving(sender, wait_s=5.0) as capture:
            return _ages(f"{name} NDI", lambda: capture(look))
    except NotReceivedError as error:
        return [row("frame_latency", f"{name} NDI: not measured ({error})", "ms", n=0)]


def _ages(name: str, newest: Callable[[], FrameInfo | None]) -> list[dict[str, object]]:
    transport, age, seen = [], [], 0
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        info = newest()
        if info is None:
            continue
        now_ns = time.perf_counter_ns()
        transport.append((now_ns - info.t_sent_ns) * 1e-6)
        if info.frame_id != seen:
            seen = info.frame_id
            age.append((now_ns - info.t_generated_ns) * 1e-6)
    return [
        row("frame_latency", f"{name}: output to receiver", "ms", **percentiles(transport[20:])),
        row("frame_latency", f"{name}: made to receiver (60 Hz tick included)", "ms", **percentiles(age[20:])),
    ]


if __name__ == "__main__":
    main()
