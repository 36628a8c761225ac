"""Fitting trust: ``python -m bench.training.trust POOL`` prints the constants of ``vjserver.dsp.tempo.TRUST``.

The pool's held-back songs (and what is no music among them) are played to the tracker. Twice a second it is noted how
sharp, how undivided and how salient the pointer was, and whether it was right: beats within 70 ms, tempo within 8 %.
A logistic regression makes a probability of it (Newton's method; a weak ridge).
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjserver.dsp.frontend import HOP, SLOW_EVERY
from vjserver.dsp.options import TempoPrior
from vjserver.dsp.tempo import BeatTracker

EVERY_FRAMES = 43
NS = 1_000_000_000
Float64 = NDArray[np.float64]


def observe(data: dict[str, NDArray[Any]]) -> list[tuple[float, float, float, bool]]:
    """Return (sharpness, share, salience, right) along a song."""
    rate = float(data["rate_hz"]) / (HOP * SLOW_EVERY)
    tracker, beats, rows = BeatTracker(rate, TempoPrior()), data["beats"], []
    for n, slow in enumerate(data["slow"]):
        report = tracker(slow.astype(np.float32), round((n + 1) / rate * NS))
        if n % EVERY_FRAMES or n < EVERY_FRAMES:
            continue
        pointer = tracker.pointer
        right = _right(beats, report.t_ns / NS, report.period_s)
        rows.append((pointer.sharpness, pointer.share, tracker.salience, right))
    return rows


def _right(beats: Float64, t_s: float, period_s: float) -> bool:
    after = int(np.searchsorted(beats, t_s))
    if not 0 < after < len(beats):
        return False
    gap = float(beats[after] - beats[after - 1])
    near = min(float(beats[after]) - t_s, t_s - float(beats[after - 1]))
    return near < 0.07 and abs(period_s / gap - 1.0) < 0.08


def fit(x: Float64, y: Float64, ridge: float = 1.0) -> Float64:
    """Return the weights of a logistic regression, the constant last; ``x`` is ``(n, k)``, ``y`` 0 or 1 ``(n,)``."""
    x = np.column_stack((x, np.ones(len(x))))
    w = np.zeros(x.shape[1])
    for _ in range(30):
        p = 1.0 / (1.0 + np.exp(-x @ w))
        gradient = x.T @ (y - p) - ridge * w
        hessian = (x * (p * (1 - p))[:, None]).T @ x + ridge * np.eye(len(w))
        w = w + np.linalg.solve(hessian, gradient)
    return w


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pool", type=Path)
    args = parser.parse_args()
    rows = []
    for file in sorted(args.pool.glob("song-*.npz")):
        if int(file.name[5:10]) % 100 < 5:
            with np.load(file) as data:
                rows += observe(dict(data))
    table = np.array(rows, np.float64)
    w = fit(table[:, :3], table[:, 3])
    p = 1.0 / (1.0 + np.exp(-(table[:, :3] @ w[:3] + w[3])))
    print("TRUST =", tuple(round(float(v), 2) for v in w), f"from {len(table)} moments")
    for low in np.arange(0.0, 1.0, 0.1):
        inside = (p >= low) & (p < low + 0.1)
        if inside.any():
            print(f"  trust {low:.1f}: right {table[inside, 3].mean():.2f} of {inside.sum()}")


if __name__ == "__main__":
    main()
