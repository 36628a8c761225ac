"""Ten minutes of ``run``: does memory, or the number of descriptors, of any process grow?

``python -m bench.soak [MINUTES]``. Presets change every five seconds over OSC and a ZeroMQ subscriber comes and goes,
so that nothing is idle. Growth is the median of the last fifth over the median of the second fifth (the first is
warming up).
"""

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import zmq

from bench.report import row
from vjserver.runtime.osc import message

STEP_S = 5.0


def _free(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _shared() -> set[str]:
    folder = Path("/dev/shm")
    return {p.name for p in folder.iterdir()} if folder.is_dir() else set()


def main(minutes: float = 10.0) -> list[dict[str, object]]:
    osc, frames = _free(socket.SOCK_DGRAM), _free(socket.SOCK_STREAM)
    before = _shared()
    samples: dict[int, list[tuple[int, int]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        show = Path(folder) / "show.toml"
        show.write_text(
            f'outputs = [{{kind = "sharedmem", stream = "soak"}}, {{kind = "ndi", name = "vjserver-soak"}}, '
            f'{{kind = "zmq", address = "tcp://127.0.0.1:{frames}"}}]\n[source]\nkind = "click"\n'
            f"[osc]\nport = {osc}\n[web]\nport = {_free(socket.SOCK_STREAM)}\n"
        )
        with subprocess.Popen([sys.executable, "-m", "vjserver", "run", str(show)], stdout=subprocess.DEVNULL) as run:
            time.sleep(10.0)
            began = time.monotonic()
            while time.monotonic() - began < minutes * 60.0:
                _play(osc, frames)
                for child in psutil.Process(run.pid).children(recursive=True):
                    fds = child.num_fds() if hasattr(child, "num_fds") else 0
                    samples.setdefault(child.pid, []).append((child.memory_info().rss, fds))
                time.sleep(STEP_S)
            run.terminate()
            run.wait(5)
    left = sorted(_shared() - before)
    return [_growth(rows) for rows in samples.values() if len(rows) > 10] + [
        row("soak", f"shared memory left behind: {left or 'none'}", "segments", p50=len(left), n=1)
    ]


def _play(osc: int, frames: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(message("/vj/preset/next"), ("127.0.0.1", osc))
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.setsockopt(zmq.SUBSCRIBE, b"")
        subscriber.setsockopt(zmq.LINGER, 0)
        subscriber.connect(f"tcp://127.0.0.1:{frames}")
        subscriber.poll(500)


def _growth(rows: list[tuple[int, int]]) -> dict[str, object]:
    fifth = len(rows) // 5
    early, late = np.median(rows[fifth : 2 * fifth], axis=0), np.median(rows[-fifth:], axis=0)
    return row(
        "soak",
        f"a process of {late[0] / 2**20:.0f} MiB, {late[1]:.0f} descriptors (was {early[1]:.0f})",
        "% growth of memory",
        p50=round(float(late[0] / early[0] - 1.0) * 100.0, 2),
        n=len(rows),
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0)
