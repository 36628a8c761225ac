"""What the benchmarks share: rows with commit and machine, percentiles, and a running server to measure."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p95, p99 and the count of ``values``."""
    if not values:
        return {"n": 0}
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return {"p50": round(float(p50), 3), "p95": round(float(p95), 3), "p99": round(float(p99), 3), "n": len(values)}


def machine() -> str:
    """Return the processor and its core count."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [row.split(":", 1)[1].strip() for row in info.read_text().splitlines() if row.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def commit() -> str:
    """Return the commit that is measured, with a + if the tree was changed since; ``unknown`` where git is not."""
    try:
        run = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return run.stdout.strip() or "unknown"


def row(bench: str, name: str, unit: str, **values: Any) -> dict[str, Any]:
    """Print and return one result."""
    result = {"bench": bench, "name": name, "unit": unit, **values, "commit": commit(), "machine": machine()}
    print(json.dumps(result), flush=True)
    return result


@contextmanager
def server(
    *args: str, env: dict[str, str] | None = None, stdout: int = subprocess.DEVNULL
) -> Iterator["subprocess.Popen[str]"]:
    """Run vjserver while the block runs."""
    command = [sys.executable, "-m", "vjserver", *args]
    with subprocess.Popen(command, env=env, stdout=stdout, stderr=stdout, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(5)
