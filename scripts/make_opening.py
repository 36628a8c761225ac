"""Render what is on the wall before the first picture: presets/opening.mp4, eight seconds that go round and round."""

import sys
from fractions import Fraction

import av
import cv2
import numpy as np

from vjserver.app.offline import render_preset
from vjserver.app.preset_bank import load_bank, shipped

SIZE, FPS, SECONDS, SEAM_S = (960, 540), 30, 8.0, 1.5
PRESET = "aurora"


def main(name: str) -> None:
    """Draw a preset to the demo's song, its end crossfaded into its beginning."""
    preset = load_bank().find(name)[1]
    frames = [np.array(pixels) for pixels in render_preset(preset, SECONDS + SEAM_S, SIZE, FPS)]
    count, seam = round(SECONDS * FPS), round(SEAM_S * FPS)
    for i in range(seam):
        share = (i + 1) / (seam + 1)
        frames[i] = cv2.addWeighted(frames[count + i], 1.0 - share, frames[i], share, 0.0)
    path = shipped("presets") / "opening.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as film:
        stream = film.add_stream("libx264", rate=Fraction(FPS), options={"crf": "27", "preset": "veryslow"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for pixels in frames[:count]:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgba")))
        film.mux(stream.encode(None))
    print(f"{path}: {path.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else PRESET)
