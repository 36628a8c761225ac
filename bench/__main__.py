"""``python -m bench [NAME ...] [--json FILE]``: run benchmarks and print one table."""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import (
    attacks,
    beat_to_photon,
    control,
    diffusion_overhead,
    dsp_cost,
    faults,
    frame_latency,
    pattern_speed,
    transport,
    trigger_latency,
)

ALL = {
    "dsp_cost": dsp_cost.main,
    "pattern_speed": pattern_speed.main,
    "diffusion_overhead": diffusion_overhead.main,
    "frame_latency": frame_latency.main,
    "trigger_latency": trigger_latency.main,
    "beat_to_photon": beat_to_photon.main,
    "transport": transport.main,
    "control": control.main,
    "attacks": attacks.main,
    "faults": faults.main,
}


def run() -> None:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("names", nargs="*", choices=[*ALL, []], help="which (default: all)")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    args = parser.parse_args()
    rows = [result for name in args.names or ALL for result in ALL[name]()]
    table = Table(title=f"commit {rows[0]['commit']} on {rows[0]['machine']}")
    for column in ("bench", "what", "p50", "p95", "p99", "unit", "n"):
        table.add_column(column, no_wrap=column != "what")
    for r in rows:
        table.add_row(*[str(r.get(key, "")) for key in ("bench", "name", "p50", "p95", "p99", "unit", "n")])
    Console(width=140).print(table)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


if __name__ == "__main__":
    run()
