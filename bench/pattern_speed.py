"""How fast the pattern generator draws on one core: each family, and all of them, at 640x360 and 1280x720."""

import time

import numpy as np

from bench.report import percentiles, row
from vjserver.generators.pattern.families import FAMILIES
from vjserver.generators.pattern.generator import PatternGenerator, PatternOptions
from vjserver.show.addresses import COMMON
from vjserver.types.frames import FrameRequest, TextConditioning

FRAMES = 24


def main() -> list[dict[str, object]]:
    params = {name: p.default for name, p in COMMON.items()}
    generator = PatternGenerator(PatternOptions(threads=1))
    generator.open()
    rows = []
    for width, height in ((640, 360), (1280, 720)):
        generator.warm_up(width, height)
        medians = []
        for family in FAMILIES:
            memory, times = None, []
            for _ in range(FRAMES):
                request = FrameRequest(0, width, height, TextConditioning(((family, 1.0),)), params, 1, 1 / 30)
                began = time.perf_counter()
                _, memory = generator.render(request, memory)
                times.append((time.perf_counter() - began) * 1e3)
            medians.append(float(np.median(times[4:])))
            rows.append(row("pattern_speed", f"{width}x{height} {family}", "ms/frame", **percentiles(times[4:])))
        slowest = max(medians)
        rows.append(
            row("pattern_speed", f"{width}x{height} slowest family", "frames/s", p50=round(1e3 / slowest, 1), n=FRAMES)
        )
    return rows


if __name__ == "__main__":
    main()
