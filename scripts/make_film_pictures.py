"""Draw the pictures of docs/films.md: the sheet of the example, and walks through latents. Run: make film-pictures"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from vjserver.latent.walks import directions, from_seed_to_seed, loop, pulled, weighed
from vjserver.sources.song import write_song

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
PAPER, INK, LINE = "#101014", "#f2efe8", "#58c4dd"


def draw(seed: int) -> np.ndarray:
    """Return noise of a seed."""
    return np.random.default_rng(seed).standard_normal(4096).astype(np.float32)


def walks() -> None:
    """Draw four walks, each on the two axes along which it moves most."""
    shares = np.linspace(0.0, 1.0, 400)
    rows, base = directions(draw, 3), draw(9)
    levels = [np.clip(np.sin(2 * np.pi * (shares * k + p)), 0.0, 1.0) for k, p in ((3, 0.0), (2, 0.3), (5, 0.6))]
    hits = np.array([max(np.exp(-((s * 8) % 1.0) * 5.0), 0.0) for s in shares])
    paths = {
        "loop: closes over its beats": [loop(draw, 3, s) for s in shares],
        "seeds: from one to the next, at one speed": [from_seed_to_seed(draw, 5, 4 * s) for s in shares],
        "bands lean to directions": [weighed(base, rows, [level[i] for level in levels]) for i in range(400)],
        "pull: each hit pulls aside": [
            pulled(loop(draw, 3, s), draw(77), 0.5 * h) for s, h in zip(shares, hits, strict=True)
        ],
    }
    figure = Figure(figsize=(13, 3.4), facecolor=PAPER)
    for i, (title, path) in enumerate(paths.items()):
        points = np.stack(path)
        centred = points - points.mean(axis=0)
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        x, y = centred @ axes[0], centred @ axes[1]
        plot = figure.add_subplot(1, 4, i + 1)
        plot.set_facecolor(PAPER)
        plot.plot(x, y, color=LINE, linewidth=1.6)
        plot.plot(x[0], y[0], "o", color=INK, markersize=5)
        plot.set_title(title, color=INK, fontsize=9.5)
        plot.set_aspect("equal")
        plot.axis("off")
    figure.savefig(IMAGES / "walks.png", dpi=90, bbox_inches="tight")


def sheet() -> None:
    """Draw the sheet of the example storyboard on the demo's song."""
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.flac"
        write_song(song)
        board = ROOT / "examples" / "films" / "harbour.toml"
        command = [sys.executable, "-m", "vjserver", "storyboard", "sheet", board, "--audio", song]
        subprocess.run([*map(str, command), "-o", str(IMAGES / "storyboard.png")], check=True)


if __name__ == "__main__":
    walks()
    sheet()
