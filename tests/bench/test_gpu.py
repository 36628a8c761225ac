"""The GPU benchmark runs: on tiny models on the CPU; and where there is no GPU it says so and ends with 2."""

import json
import subprocess
import sys

import pytest

from bench.report import commit

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
    assert [row["contender"] for row in report["rows"]] == [
        "ours", "stream", "plain", "ours", "stream", "plain", "ours+", "ours+", "stream+", "stream+", "tuned"
    ]  # fmt: skip
    assert not [row for row in report["rows"] if "failed" in row]
    assert all(row["frames_per_s"] > 0 and row["n"] > 0 for row in report["rows"])
    assert [(one["contender"], one["what"]) for one in report["extras"]] == [
        (name, what) for name in ("ours", "ours+") for what in ("request to ring", "a change every 10 frames")
    ]
    assert [row["model"] for row in report["gans"]] == ["StyleGAN2 64", "StyleGAN3-T 64", "BigGAN-deep 128 narrow"]
    assert all(row["engine_ms"] > 0 for row in report["gans"])
    assert report["not_reached"] == []


def test_what_is_cut_off_keeps_the_rows_that_it_had(tmp_path):
    """As where a session on a lent card ends: killed in the middle, its file is whole."""
    out = tmp_path / "cut.json"
    command = [sys.executable, "-W", "ignore", "-m", "bench.gpu", "--smoke", "--json", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        for line in run.stdout:
            if '"contender": "stream"' in line:
                break
        run.kill()
    rows = json.loads(out.read_text())["rows"]
    assert [row["contender"] for row in rows][:2] == ["ours", "stream"]


def test_without_git_the_commit_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit() == "unknown"
