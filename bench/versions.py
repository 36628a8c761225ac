"""``python -m bench.versions OTHER_CHECKOUT [--starts 9]``: this checkout beside another, started in turn.

The other one has its own ``.venv``. Each start plays a click track to nobody; measured are the first picture after the
command, sound to OSC, sound to picture, and what each process keeps in memory for itself (its unique set size: pages
that are shared with others are not counted). Medians, and the ratio of each to the other's.
"""

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench.report import ROOT, row
from vjserver.runtime.store import pids_of

SECONDS, SETTLED_S = 12, 9.0


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def one_start(checkout: Path, folder: Path) -> dict[str, float]:
    """Start a checkout's server for a while; return its figures."""
    show = folder / "show.toml"
    show.write_text(
        f'outputs = [{{kind = "null"}}]\n[source]\nkind = "click"\n'
        f"[video]\nwidth = 640\nheight = 360\nstandby = false\n"
        f"[osc]\nport = {free_port(socket.SOCK_DGRAM)}\ntargets = [{{port = {free_port(socket.SOCK_DGRAM)}}}]\n"
        f"[web]\nport = {free_port()}\n[midi]\non = false\n"
    )
    command = [checkout / ".venv/bin/python", "-m", "vjserver", "run", show, "--json", "--seconds", SECONDS]
    began_s = time.monotonic()
    figures: dict[str, float] = {}
    with subprocess.Popen(
        [str(part) for part in command], cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        time.sleep(max(0.0, began_s + SETTLED_S - time.monotonic()))
        for name, pid in pids_of(run.pid).items():
            figures[f"{name}, memory of its own, MiB"] = psutil.Process(pid).memory_full_info().uss / 2**20
        out, err = run.communicate()
    summary: dict[str, Any] = json.loads(out.splitlines()[-1])
    first = re.search(r"first picture after ([0-9.]+) s", out + err)
    figures["first picture, s"] = float(first[1]) if first else float("nan")
    figures["sound to OSC, ms"] = summary["latency_ms"]["audio_to_osc"]["p50"]
    figures["sound to picture, ms"] = summary["latency_ms"]["audio_to_frame"]["p50"]
    figures["pictures a second"] = summary["fps"]
    return figures


def main(args: Sequence[str] | None = None) -> list[dict[str, Any]]:
    parser = argparse.ArgumentParser(prog="bench.versions")
    parser.add_argument("other", type=Path)
    parser.add_argument("--starts", type=int, default=9)
    asked = parser.parse_args(args)
    found: dict[Path, list[dict[str, float]]] = {asked.other.resolve(): [], ROOT: []}
    with tempfile.TemporaryDirectory() as folder:
        for i in range(asked.starts):
            for checkout, rows in found.items():
                rows.append(one_start(checkout, Path(folder)))
                print(f"{i + 1}/{asked.starts} {checkout.name}", file=sys.stderr)
    before, now = found.values()
    rows = []
    for name in now[0]:
        old, new = (median(one.get(name, float("nan")) for one in starts) for starts in (before, now))
        ratio = round(new / old, 3) if old else None
        rows.append(row("versions", name, "", before=round(old, 3), now=round(new, 3), ratio=ratio, n=asked.starts))
    return rows


if __name__ == "__main__":
    main()
