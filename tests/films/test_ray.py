"""Films on a Ray cluster: two nodes on loopback, where Ray is installed."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from conftest import free_port, wait_for
from test_render import SMALL

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'vjserver[ray]'")
PORTS = ("dashboard-agent-grpc-port", "metrics-export-port", "dashboard-agent-listen-port", "runtime-env-agent-port",
         "node-manager-port", "object-manager-port")  # fmt: skip
SCENES = """
[[scenes]]
preset = "neon-tunnel"
[[scenes]]
at = "0:04"
preset = "mandala"
[[scenes]]
at = "0:08"
preset = "lava"
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start two nodes with a processor each, on two addresses of this machine; yield the head's address."""
    folder = tmp_path_factory.mktemp("r")
    quiet = {
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "120",
    }
    os.environ.update(quiet)
    port, before = free_port(), set(rays())
    program = Path(sys.executable).with_name("ray")
    for ip, which in (
        ("127.0.0.1", ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir=/tmp/vjray{os.getpid()}"]),
        ("127.0.0.2", [f"--address=127.0.0.1:{port}"]),
    ):
        command = [program, "start", *which, f"--node-ip-address={ip}", "--num-cpus=1", "--disable-usage-stats",
                   "--object-store-memory=100000000", *[f"--{name}={free_port()}" for name in PORTS]]  # fmt: skip
        subprocess.run(list(map(str, command)), check=True, capture_output=True, cwd=folder, timeout=180)
    yield f"127.0.0.1:{port}"
    for pid in set(rays()) - before:
        os.kill(pid, signal.SIGKILL)
    for name in quiet:
        os.environ.pop(name)


def rays():
    return [p.pid for p in psutil.process_iter(["cmdline"]) if any("/ray/" in part for part in p.info["cmdline"] or [])]


def workers():
    return [p for p in psutil.process_iter(["cmdline"]) if "ray::_make" in " ".join(p.info["cmdline"] or [])]


def test_a_cluster_makes_the_same_film(song, tmp_path, vj, cluster):
    (tmp_path / "b.toml").write_text(SCENES)
    args = ("--storyboard", tmp_path / "b.toml", *SMALL, "--json")
    here = vj("render", song, "-o", tmp_path / "here.mp4", *args)[1]
    code, there, heard = vj("render", song, "-o", tmp_path / "there.mp4", *args, "--ray", cluster)
    assert code == 0, heard
    assert there["sha256"] == here["sha256"]
    assert there["made"] == here["made"]
    assert (tmp_path / "there.mp4").exists()


def test_a_dead_workers_part_is_made_again(song, tmp_path, vj, cluster):
    (tmp_path / "b.toml").write_text(SCENES)
    args = ("--storyboard", tmp_path / "b.toml", "--size", "320x192", "--fps", "30", "--json")
    here = vj("render", song, "-o", tmp_path / "here.mp4", *args)[1]

    def kill():
        wait_for(workers, 120)[0].kill()

    thread = threading.Thread(target=kill)
    thread.start()
    code, there, heard = vj("render", song, "-o", tmp_path / "there.mp4", *args, "--ray", cluster)
    thread.join()
    assert code == 0, heard
    assert "its frames are made again" in heard
    assert there["sha256"] == here["sha256"]


def test_a_cluster_that_does_not_answer_is_told(song, tmp_path, vj):
    code, _, heard = vj("render", song, "-o", tmp_path / "f.mp4", *SMALL, "--ray", f"127.0.0.1:{free_port()}")
    assert code == 1
    assert "no Ray answers at 127.0.0.1" in heard
