"""Draw the moving picture at the top of the README: docs/images/moving.webp, some of our presets to the demo's song."""

import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from vjserver.app.offline import render_preset
from vjserver.app.preset_bank import load_bank

SIZE, FPS, SECONDS, KEEP = (640, 360), 30, 2.0, 2
PRESETS = ("neon-tunnel", "honeycomb", "mandala", "aurora", "mercury")
OUT = Path(__file__).parent.parent / "docs" / "images" / "moving.webp"


def main(names: list[str]) -> None:
    """Draw two seconds of each preset, every second frame."""
    bank, frames = load_bank(), []
    for name in names:
        drawn = list(render_preset(bank.find(name)[1], SECONDS + 1.0, SIZE, FPS))[FPS::KEEP]
        small = [cv2.resize(np.asarray(one)[..., :3], (480, 270), interpolation=cv2.INTER_AREA) for one in drawn]
        frames += [Image.fromarray(one) for one in small]
    frames[0].save(
        OUT, save_all=True, append_images=frames[1:], duration=1000 * KEEP // FPS, loop=0, quality=55, method=6
    )
    print(f"{OUT}: {len(frames)} frames, {OUT.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main(sys.argv[1:] or list(PRESETS))
