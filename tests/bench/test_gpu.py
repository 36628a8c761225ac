"""The GPU benchmark runs: on tiny models on the CPU; and where there is no GPU it says so and ends with 2."""

import json
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="the diffusion generator needs torch: pip install 'vjserver[diffusion]'")


def test_without_cuda_it_says_so_and_ends_with_two():
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    run = subprocess.run([sys.executable, "-m", "bench.gpu"], capture_output=True, text=True, timeout=120)
    assert run.returncode == 2
    assert "nothing was measured" in run.stderr


def test_every_contender_and_probe_runs(tmp_path):
    out = tmp_path / "smoke.json"
    command = [sys.executable, "-W", "ignore", "-m", "bench.gpu", "--smoke", "--json", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-2000:]
    report = json.loads(out.read_text())
    assert "no measurement" in report["device"]
    assert {row["contender"] for row in report["rows"]} == {"ours", "stream", "plain"}
    assert not [row for row in report["rows"] if "failed" in row]
    assert all(row["frames_per_s"] > 0 and row["n"] > 0 for row in report["rows"])
    assert {row["what"] for row in report["extras"]} == {"request to ring", "a change every 10 frames"}
