"""What is ours in a diffusion frame, measured on the CPU.

Tiny models in pairs: the engine beside the bare calls of UNet and decoder. And the Python of a frame, from the mapping
to the launch, with the launch left out.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import percentiles, row

PAIRS, WARM = 60, 8
CASES = (("sd-turbo", 256, "full"), ("sd-turbo", 512, "full"), ("lcm", 512, "full"),
         ("sd-turbo", 256, "taesd"), ("sd-turbo", 512, "taesd"))  # fmt: skip


def main() -> list[dict[str, object]]:
    try:
        import torch

        from bench.random_models import make_model, make_taesd
        from vjserver.generators.diffusion.canvas import Inputs, Shape
        from vjserver.generators.diffusion.engine import Engine
        from vjserver.generators.diffusion.model import Decoder, load
        from vjserver.generators.diffusion.options import DiffusionOptions
    except ImportError as error:
        return [row("diffusion_overhead", f"not measured: {error}", "ms", n=0)]
    rows = []
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as home:
        fast = make_taesd()
        for layout, side, decoder in CASES:
            folder = make_model(Path(home) / f"{layout}{side}{decoder}", layout)
            parts = load(DiffusionOptions(model=str(folder), device="cpu", decoder="full"))
            if decoder == "taesd":
                taesd: Any = Decoder(fast, fast.config, torch.float32)
                parts.decoder = taesd.to(memory_format=torch.channels_last)
            engine = Engine(parts, compile_frames=False)
            prompt, noise = parts.text("a red fish"), engine.noise(1, side, side)
            shape = Shape(side, side, side, side)
            given = [[(prompt, 1.0)]], parts.sampler.schedule(1), (noise, noise)

            def ours(engine: Any = engine, shape: Any = shape, given: Any = given, inputs: Any = Inputs) -> None:
                engine.render(shape, inputs(*given))

            ours()
            canvas = next(iter(engine._canvases.values()))
            latent = torch.from_numpy(noise[0]).contiguous(memory_format=torch.channels_last)
            conditions = canvas.conditions

            @torch.inference_mode()
            def bare(parts: Any = parts, latent: Any = latent, c: Any = conditions) -> None:
                parts.decoder.decode(parts.unet(latent, c.times[0], c.keys_values, c.lora))

            ours_ms, bare_ms = pairs(ours, bare)
            ratio = float(np.median(np.array(ours_ms) / np.array(bare_ms)))
            name = f"tiny {layout} {side}x{side}, {decoder} decoder"
            rows += [
                row("diffusion_overhead", f"{name} bare UNet and decoder", "ms", **percentiles(bare_ms)),
                row("diffusion_overhead", f"{name} engine", "ms", **percentiles(ours_ms)),
                row("diffusion_overhead", f"{name} engine / bare", "ratio", p50=round(ratio, 3), n=PAIRS),
            ]
        rows += host(Path(home) / "sd-turbo256full")
    return rows


def host(model: Path) -> list[dict[str, object]]:
    """Return what a frame costs the host at 512x512 before and after the device's work, which is left out here."""
    from vjserver.app.preset_bank import load_bank
    from vjserver.generators.diffusion.canvas import Result
    from vjserver.generators.diffusion.generator import DiffusionGenerator
    from vjserver.generators.diffusion.options import DiffusionOptions
    from vjserver.runtime.installed import shipped
    from vjserver.show.looks import enter
    from vjserver.show.mapping import MapperMemory, mapped, own_of
    from vjserver.show.state import ShowState, Travel
    from vjserver.types.features import silent_features

    preset = load_bank().find("coral-cathedral")[1]
    registry, features = shipped(), silent_features(1)
    state = enter(ShowState(), 0, preset, registry)
    generator = DiffusionGenerator(DiffusionOptions(model=str(model), device="cpu", decoder="full"))
    generator.open()
    generator.warm_up(512, 512, [prompt.text for prompt in preset.prompts])
    engine: Any = generator._engine
    shown = Result(np.zeros((1, 512, 512, 4), np.uint8), True, 0.5, 0.01, 0.0)
    engine._play, engine._fetch = (lambda _: None), (lambda _: shown)
    rows: list[dict[str, object]] = []
    for name, seeds in (("a frame", 1), ("a frame with a new seed", 10_000)):
        times, memory, mapping = [], None, MapperMemory()
        for i in range(300):
            began = time.perf_counter()
            now = replace(state, seed=i % seeds, travel=Travel())
            request, knobs, mapping = mapped(now, features, 1, 1 / 30, (512, 512), mapping, registry)
            request = replace(request, own=own_of(registry, state.generator, knobs))
            _, memory = generator.render(request, memory)
            if i >= WARM:
                times.append(1e3 * (time.perf_counter() - began))
        rows.append(row("diffusion_overhead", f"Python of {name}, mapping to launch", "ms", **percentiles(times)))
    generator.close()
    return rows


def pairs(first: Callable[[], None], second: Callable[[], None]) -> tuple[list[float], list[float]]:
    """Return the times of both, in ms, called alternately."""
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(PAIRS + WARM):
        for work, kept in zip((first, second), times, strict=True):
            began = time.perf_counter()
            work()
            if i >= WARM:
                kept.append(1e3 * (time.perf_counter() - began))
    return times


if __name__ == "__main__":
    main()
