"""``python -m bench.gan [--json FILE] [--quick]``: GANs with random weights: a frame of the engine beside its network.

On the CPU in pairs, one thread; where there is CUDA, captured and replayed, in half precision. Full-size layouts.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import commit, machine, percentiles

PAIRS, WARM = 8, 1
GOALS_MS = {"StyleGAN2 512": 3.0, "StyleGAN2 1024": 5.0, "BigGAN-deep 256": 6.0}
"""What a captured frame is to take on an H100, at most, in the middle."""


def layouts(quick: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return what makes the tensors of each model."""
    from bench.random_gans import biggan, stylegan2, stylegan3

    if quick:
        return {
            "StyleGAN2 64": lambda: stylegan2(64, base=1024, most=64),
            "StyleGAN3-T 64": lambda: stylegan3(64, base=1024, most=64),
            "BigGAN-deep 128 narrow": lambda: biggan(128, width=16),
        }
    return {
        "StyleGAN2 256": lambda: stylegan2(256),
        "StyleGAN2 512": lambda: stylegan2(512, base=32768),
        "StyleGAN2 1024": lambda: stylegan2(1024, base=32768),
        "StyleGAN3-T 256": lambda: stylegan3(256),
        "StyleGAN3-T 512": lambda: stylegan3(512),
        "StyleGAN3-R 256": lambda: stylegan3(256, base=65536, most=1024, radial=True),
        "BigGAN-deep 128": lambda: biggan(128),
        "BigGAN-deep 256": lambda: biggan(256),
    }


def engine_of(tensors: dict[str, Any], device: str, dtype: Any) -> Any:
    """Return an engine that draws with tensors in the layout of a checkpoint."""
    import torch

    from vjserver.generators.gan.convert import of_tensors
    from vjserver.generators.gan.engine import Engine
    from vjserver.generators.gan.model import Gan, halved, network_of

    found = of_tensors(Path("random"), tensors)
    network: Any = network_of(found.kind, found.tensors)
    if device == "cuda" and hasattr(network, "fold"):
        network.fold()
    network = halved(network, dtype).to(device)
    return Engine(Gan(network, Path("random"), torch.device(device), dtype))


def inputs_of(engine: Any, seed: int = 1) -> Any:
    """Return what a frame is made of."""
    from vjserver.generators.gan.engine import Inputs

    network = engine.gan.network
    z = np.random.default_rng(seed).standard_normal((2, network.z_dim)).astype(np.float32)
    label = [1.0, *[0.0] * (network.classes - 1)] if network.classes else []
    return Inputs(z, [0.7] * network.styles, [0.0] * network.styles, label, truncation=0.5)


def on_the_cpu(name: str, tensors: dict[str, Any]) -> dict[str, Any]:
    """Return a frame of the engine and the bare network, called in turn."""
    import torch

    from vjserver.generators.gan.engine import Shape
    from vjserver.generators.gan.layers import Drive, Grid

    torch.set_num_threads(1)
    engine = engine_of(tensors, "cpu", torch.float32)
    network, given, grid = engine.gan.network, inputs_of(engine), Grid()
    shape = Shape(grid, *network.size(grid))
    drive = Drive(
        torch.from_numpy(given.z), torch.tensor(given.label), torch.tensor(given.psi), torch.tensor(given.mix),
        torch.tensor(1.0), torch.tensor(0.5), torch.eye(3),
    )  # fmt: skip
    times: dict[str, list[float]] = {"engine": [], "network": []}
    calls: dict[str, Callable[[], Any]] = {
        "network": lambda: network(drive, grid), "engine": lambda: engine.render(shape, given),
    }  # fmt: skip
    with torch.inference_mode():
        for i, (who, call) in product(range(PAIRS + WARM), calls.items()):
            began = time.perf_counter()
            call()
            if i >= WARM:
                times[who].append(1e3 * (time.perf_counter() - began))
    ratio = float(np.median(np.array(times["engine"]) / np.array(times["network"])))
    return {
        "model": name, "device": "cpu, one thread", "network_ms": percentiles(times["network"])["p50"],
        "engine_ms": percentiles(times["engine"])["p50"], "ratio": round(ratio, 3),
        "million_numbers": round(sum(value.numel() for value in tensors.values()) / 1e6, 1),
    }  # fmt: skip


def on_cuda(name: str, tensors: dict[str, Any], frames: int = 200) -> dict[str, Any]:
    """Return how long captured frames take, from numbers to pixels in host memory."""
    import torch

    from vjserver.generators.gan.engine import Shape
    from vjserver.generators.gan.layers import Grid

    engine = engine_of(tensors, "cuda", torch.float16)
    shape = Shape(Grid(), *engine.gan.network.size(Grid()))
    engine.ready(shape)
    given = [inputs_of(engine, seed) for seed in range(8)]
    times = []
    finite = True
    for i in range(frames + 10):
        began = time.perf_counter()
        finite &= engine.render(shape, given[i % len(given)]).finite
        if i >= 10:
            times.append(1e3 * (time.perf_counter() - began))
    held = engine.memory_mib()
    engine.close()
    goal = GOALS_MS.get(name)
    return {
        "what": f"{name}, captured, float16", **percentiles(times), "unit": "ms", "finite": finite, "memory_mib": held,
        **({"goal_p50_on_an_h100_ms": goal} if goal else {}),
    }  # fmt: skip


def rows(quick: bool, cuda: bool) -> Iterator[dict[str, Any]]:
    """Measure one model after another."""
    for name, make in layouts(quick).items():
        tensors = make()
        yield on_cuda(name, tensors) if cuda else on_the_cpu(name, tensors)


def main() -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="bench.gan", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="small networks")
    args = parser.parse_args()
    import torch

    found: list[dict[str, Any]] = []
    for row in rows(args.quick, torch.cuda.is_available()):
        found.append(row)
        print(json.dumps(row), flush=True)
        if args.json is not None:
            args.json.write_text(json.dumps({"commit": commit(), "machine": machine(), "rows": found}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
