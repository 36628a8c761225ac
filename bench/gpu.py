"""``python -m bench.gpu [--json OUT.json]``: the diffusion engine beside its peers, on one GPU, in one run.

Full-size models with random weights (speed does not depend on them) are made on the spot. The machine's own ceilings
are measured first. Every contender gets a prompt that is encoded already, takes an RGBA8 picture from host memory where
it starts from one, and gives an RGBA8 picture back to host memory; that is a frame.

    plain       diffusers' pipeline, as it comes, half precision
    tuned       the same with TAESD, channels_last and torch.compile
    stream      a loop as StreamDiffusion's paper describes it (arXiv 2312.12491): TAESD, cached prompt, noise drawn
                ahead, steps of several frames in one batch; no similarity filter
    ours        this repository's engine, captured
    ours+       the same, with torch.compile besides

Rows are run in the order of what matters most until the time is spent; what was not reached is listed. On a machine
without CUDA it says so and ends with 2; ``--smoke`` runs it all on tiny models on the CPU, to see that it runs.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import commit, percentiles

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

WARM, FRAMES, SECONDS = 8, 200, 2.0
CHANGES, EVERY = 2000, 10
BUDGET_S = 440.0
PROMPTS = ("deep ocean, silk", "burning forest, embers", "glass city at night", "golden mandala")


@dataclass(frozen=True)
class Case:
    """What is rendered: a model's layout, size, batch, steps, and whether from a picture."""

    layout: str
    width: int
    height: int
    batch: int
    steps: int
    from_picture: bool

    @property
    def name(self) -> str:
        """How it stands in the table."""
        way = "img2img" if self.from_picture else "txt2img"
        return f"{self.layout} {way} {self.width}x{self.height} batch {self.batch} steps {self.steps}"


def cases() -> list[Case]:
    """Return all cases, what matters most first."""
    sizes, batches, steps = ((512, 512), (768, 432)), (1, 8, 4, 2), (1, 2, 4)
    rows = [Case(m, *size, b, n, p) for m, size, b, n, p in
            product(("sd-turbo", "lcm"), sizes, batches, steps, (True, False))]  # fmt: skip

    def rank(case: Case) -> tuple[int, ...]:
        return (case.layout != "sd-turbo") + (case.width != 512) + (case.batch != 1), case.steps, case.batch != 8

    return sorted(rows, key=rank)


# -- the contenders: each returns a function that renders one frame to host memory ---------------------------


class Bench:
    """Models on the device, and the contenders made from them."""

    def __init__(self, home: Path, device: str, full: bool, dtype: str) -> None:
        from bench.random_models import make_model, make_taesd

        self.device, self.full = torch.device(device), full
        self.dtype = getattr(torch, dtype)
        self.folders = {}
        for layout in ("sd-turbo", "lcm"):
            self.folders[layout] = make_model(
                home / layout, layout, full, dtype=self.dtype if full else None, device=device
            )
        self.counted: dict[tuple[str, int, int], tuple[float, float, float]] = {}
        make_taesd(full).save_pretrained(home / "taesd")
        self.taesd = home / "taesd"

    def picture(self, case: Case) -> Any:
        """Return a picture to start from, RGBA8."""
        rough = np.random.default_rng(0).integers(0, 256, (case.height // 16, case.width // 16, 4), dtype=np.uint8)
        return np.ascontiguousarray(np.kron(rough, np.ones((16, 16, 1), np.uint8))[: case.height, : case.width])

    def pipeline(self, case: Case, tuned: bool) -> Callable[[], Any]:
        """Return diffusers' own pipeline, plain or tuned."""
        import diffusers

        kinds = {
            ("sd-turbo", False): diffusers.StableDiffusionPipeline,
            ("sd-turbo", True): diffusers.StableDiffusionImg2ImgPipeline,
            ("lcm", False): diffusers.LatentConsistencyModelPipeline,
            ("lcm", True): diffusers.LatentConsistencyModelImg2ImgPipeline,
        }
        made = kinds[case.layout, case.from_picture].from_pretrained(
            str(self.folders[case.layout]), local_files_only=True, torch_dtype=self.dtype, safety_checker=None
        )
        made.to(self.device)
        made.set_progress_bar_config(disable=True)
        if tuned:
            made.vae = diffusers.AutoencoderTiny.from_pretrained(str(self.taesd)).to(self.device, self.dtype)
            for part in (made.unet, made.vae):
                part.to(memory_format=torch.channels_last)
            made.unet = torch.compile(made.unet, dynamic=False)
            made.vae.decoder = torch.compile(made.vae.decoder, dynamic=False)
            made.vae.encoder = torch.compile(made.vae.encoder, dynamic=False)
        guidance = 8.0 if case.layout == "lcm" else 0.0
        with torch.inference_mode():
            embeds = made.encode_prompt(PROMPTS[0], self.device, case.batch, False)[0]
        given: dict[str, Any] = {"prompt_embeds": embeds, "guidance_scale": guidance, "output_type": "pt"}
        picture = self.picture(case)
        if case.from_picture:
            calls = case.steps if case.layout == "lcm" else case.steps * 2
            given |= {"strength": 0.5, "num_inference_steps": calls}
        else:
            given |= {"width": case.width, "height": case.height, "num_inference_steps": case.steps}

        @torch.inference_mode()
        def frame() -> Any:
            if case.from_picture:
                came = torch.from_numpy(picture[..., :3]).to(self.device).permute(2, 0, 1)[None].to(self.dtype) / 255.0
                given["image"] = came.expand(case.batch, -1, -1, -1)
            return _to_host(made(**given).images)

        return frame

    def stream(self, case: Case) -> Callable[[], Any]:
        """Return a loop after StreamDiffusion's paper: the steps of as many frames run as one batch."""
        import diffusers

        folder = self.folders[case.layout]
        unet = diffusers.UNet2DConditionModel.from_pretrained(str(folder / "unet")).to(self.device, self.dtype)
        vae = diffusers.AutoencoderTiny.from_pretrained(str(self.taesd)).to(self.device, self.dtype)
        unet.to(memory_format=torch.channels_last)
        width = unet.config.cross_attention_dim
        rows, n = case.batch * case.steps, case.steps
        tokens = torch.randn(rows, 77, width, device=self.device, dtype=self.dtype)
        times = torch.linspace(499 if case.from_picture else 999, 0, n + 1, device=self.device)[:n].round()
        times = times.repeat_interleave(case.batch)
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, device=self.device) ** 2
        kept = torch.cumprod(1 - betas, 0)[times.long()]
        signal, spread = (x.sqrt().to(self.dtype)[:, None, None, None] for x in (kept, 1 - kept))
        shape = (case.batch, 4, case.height // 8, case.width // 8)
        noise = torch.randn(rows, *shape[1:], device=self.device, dtype=self.dtype)
        on_the_way = torch.randn(rows - case.batch, *shape[1:], device=self.device, dtype=self.dtype)
        guided = None
        if unet.config.time_cond_proj_dim:
            guided = torch.randn(rows, unet.config.time_cond_proj_dim, device=self.device, dtype=self.dtype)
        picture = self.picture(case)

        @torch.inference_mode()
        def frame() -> Any:
            nonlocal on_the_way
            if case.from_picture:
                came = torch.from_numpy(picture[..., :3]).to(self.device).permute(2, 0, 1)[None].to(self.dtype)
                latent = vae.encode(came.expand(case.batch, -1, -1, -1) / 127.5 - 1.0).latents
                first = signal[: case.batch] * latent + spread[: case.batch] * noise[: case.batch]
            else:
                first = noise[: case.batch]
            x = torch.cat([first, on_the_way])
            out = unet(x, times, tokens, timestep_cond=guided, return_dict=False)[0]
            clean = (x - spread * out) / signal
            if n > 1:
                on_the_way = signal[case.batch :] * clean[: -case.batch] + spread[case.batch :] * noise[case.batch :]
            images = vae.decode(clean[-case.batch :], return_dict=False)[0]
            return _to_host((images / 2 + 0.5).clamp(0, 1))

        return frame

    def engine(self, case: Case, compile_frames: bool, loras: tuple[Path, ...] = ()) -> Any:
        """Return our engine for a model."""
        import diffusers

        from vjserver.generators.diffusion.engine import Engine
        from vjserver.generators.diffusion.model import Decoder, load
        from vjserver.generators.diffusion.options import DiffusionOptions

        dtype: Any = str(self.dtype).removeprefix("torch.")
        parts = load(DiffusionOptions(model=str(self.folders[case.layout]), device=self.device.type, dtype=dtype,
                                      decoder="full", loras=loras))  # fmt: skip
        fast = diffusers.AutoencoderTiny.from_pretrained(str(self.taesd))
        decoder: Any = Decoder(fast, fast.config, self.dtype).to(self.device, self.dtype)
        parts.decoder = decoder.to(memory_format=torch.channels_last)
        return Engine(parts, compile_frames)

    def ours(self, case: Case, compile_frames: bool) -> Callable[[], Any]:
        """Return our frame: as the generator's door calls it, with everything laid out anew each time."""
        from vjserver.generators.diffusion.engine import Inputs, Shape

        engine = self.engine(case, compile_frames)
        encoded = engine.parts.text(PROMPTS[0])
        noise = engine.noise(1, case.width, case.height)
        picture = self.picture(case) if case.from_picture else None
        shape = Shape(case.width, case.height, case.width, case.height, case.batch)
        engine.ready(shape, case.steps, (case.from_picture,))

        def frame() -> Any:
            schedule = engine.parts.sampler.schedule(case.steps, 0.5, case.from_picture)
            inputs = Inputs([[(encoded, 1.0)]] * case.batch, schedule, (noise, noise), guidance=8.0, image=picture)
            return engine.render(shape, inputs).pixels

        return frame


def _to_host(images: Any) -> Any:
    """Return pictures ``(batch, 3, h, w)``, 0..1, as RGBA8 in host memory."""
    pixels = (images * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)
    alpha = torch.full_like(pixels[..., :1], 255)
    return torch.cat([pixels, alpha], -1).cpu().numpy()


# -- measuring -------------------------------------------------------------------------------------------------


def ceilings(device: str) -> dict[str, float]:
    """Return what this machine can do at most: a large matrix product and a large copy."""
    n = 8192 if device == "cuda" else 512
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    a, b = torch.randn(2, n, n, device=device, dtype=dtype)
    big = torch.empty(2**28 if device == "cuda" else 2**20, device=device)
    product_s = float(np.median(_times(lambda: torch.mm(a, b), device, 20)))
    copy_s = float(np.median(_times(big.clone, device, 20)))
    return {"tflops": round(2 * n**3 / product_s / 1e12, 4), "copy_GB_s": round(2 * big.nbytes / copy_s / 1e9, 1)}


def _times(work: Callable[[], Any], device: str, count: int, seconds: float = 1e9) -> list[float]:
    """Return the time of each call, to its very end, in seconds."""
    for _ in range(min(WARM, count)):
        work()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < count and time.perf_counter() - began < seconds:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times


def flops(bench: Bench, case: Case) -> float:
    """Return the floating-point operations of one frame, counted in the modules as they are called."""
    key = case.layout, case.width, case.height
    if key not in bench.counted:
        bench.counted[key] = _counted(bench, case)
    unet, encode, decode = bench.counted[key]
    return case.batch * (case.steps * unet + decode + (encode if case.from_picture else 0.0))


def _counted(bench: Bench, case: Case) -> tuple[float, float, float]:
    """Return the operations of one call of UNet, encoder and decoder, for one picture."""
    from torch.utils.flop_counter import FlopCounterMode

    parts = bench.engine(case, compile_frames=False).parts
    given = {"device": bench.device, "dtype": bench.dtype}
    latent, lora = torch.randn(1, 4, case.height // 8, case.width // 8, **given), torch.zeros(1, 1, **given)
    times = torch.zeros(1, parts.unet.times.weight.shape[0], **given)
    prompt = torch.zeros(1, 77, parts.unet.prompts.weight.shape[0], **given)
    picture = torch.zeros(1, 3, case.height, case.width, **given)
    counts = []
    for call in (
        lambda: parts.unet(latent, times, prompt, lora),
        lambda: parts.decoder.encode(picture, latent.float()),
        lambda: parts.decoder.decode(latent),
    ):
        counter = FlopCounterMode(display=False)
        with counter, torch.inference_mode():
            call()
        counts.append(float(counter.get_total_flops()))
    return counts[0], counts[1], counts[2]


@contextmanager
def clean(device: str) -> Iterator[None]:
    """Leave the device's memory as it was found."""
    try:
        yield
    finally:
        if device == "cuda":
            torch.compiler.reset()
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def measure(
    bench: Bench, case: Case, name: str, make: Callable[[], Callable[[], Any]], ceiling: float, work: float
) -> dict[str, Any]:
    """Return one row: a contender at a case; one that fails says why."""
    device = bench.device.type
    row: dict[str, Any] = {"contender": name, "case": case.name, **vars(case)}
    with clean(device):
        began = time.perf_counter()
        try:
            frame = make()
            frame()
        except Exception as error:  # noqa: BLE001 - a peer may fail in its own ways; the row says so
            return row | {"failed": f"{type(error).__name__}: {str(error)[:200]}"}
        ready_s = time.perf_counter() - began
        few = FRAMES if bench.full else 4
        times = [1e3 * t for t in _times(frame, device, few, SECONDS)]
        row |= {f"{key}_ms" if key != "n" else "n": value for key, value in percentiles(times).items()}
        per_s = 1e3 * case.batch / float(np.median(times))
        row |= {
            "frames_per_s": round(per_s, 1),
            "ready_s": round(ready_s, 1),
            "tflops": round(work / case.batch * per_s / 1e12, 2),
        }
        row["share_of_ceiling"] = round(row["tflops"] / ceiling, 3)
        if device == "cuda":
            row["peak_GB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        del frame
    return row


def live_changes(bench: Bench, case: Case, compile_frames: bool) -> dict[str, Any]:
    """Return how long frames take while prompt, weights, seed, strength, LoRA and fader change every tenth frame."""
    from bench.random_models import make_lora
    from vjserver.generators.diffusion.engine import Inputs, Shape
    from vjserver.generators.diffusion.model import read_tensors

    home = bench.folders[case.layout].parent
    tensors = read_tensors(bench.folders[case.layout] / "unet")
    lora = make_lora(home, "live.safetensors", tensors, rank=8)
    engine = bench.engine(case, compile_frames, (lora,))
    encoded = [engine.parts.text(text) for text in PROMPTS]
    noises = [engine.noise(seed, case.width, case.height) for seed in range(8)]
    shape = Shape(case.width, case.height, case.width, case.height, 2)
    picture = bench.picture(case)
    engine.ready(shape, case.steps, (True,))
    knobs = {"prompt": 0, "weight": 0.5, "seed": 0, "strength": 0.5, "lora": 0.5, "fader": 0.0}
    names = list(knobs)
    count = CHANGES if bench.full else 40
    times, changed, jumps = [], [], []
    for i in range(count + WARM):
        if i % EVERY == 0 and i >= WARM:
            name = names[i // EVERY % len(names)]
            step = {"prompt": 1, "seed": 1}.get(name, 0.173)
            knobs[name] = knobs[name] + 1 if step == 1 else (knobs[name] + step) % 1.0
        k = int(knobs["prompt"]) % len(encoded)
        rows = [[(encoded[k], 1.0), (encoded[k - 1], knobs["weight"])], [(encoded[k - 2], 1.0)]]
        noise = noises[int(knobs["seed"]) % len(noises)]
        start = time.perf_counter()
        schedule = engine.parts.sampler.schedule(case.steps, 0.2 + 0.8 * knobs["strength"], from_picture=True)
        result = engine.render(shape, Inputs(rows, schedule, (noise, noise), loras=[knobs["lora"]], image=picture,
                                             controls={"fader": (knobs["fader"],)}))  # fmt: skip
        if i >= WARM:
            times.append(1e3 * (time.perf_counter() - start))
            changed.append(i % EVERY == 0)
            jumps.append(result.jump)
    median = float(np.median(times))
    at_change = [t for t, c in zip(times, changed, strict=True) if c]
    return {
        "what": "a change every 10 frames", **percentiles(times), "unit": "ms", "longest": round(max(times), 3),
        "longest_over_median": round(max(times) / median, 2),
        "at_changes_over_median": round(float(np.median(at_change)) / median, 3),
        "jumpiness_mean": round(float(np.mean(jumps)), 4), "jumpiness_max": round(float(np.max(jumps)), 4),
    }  # fmt: skip


def age(bench: Bench, case: Case, compile_frames: bool) -> dict[str, Any]:
    """Return the age of a frame in the ring: from the request that it answers to its last byte written."""
    import os

    from vjserver.runtime.ring import RingWriter
    from vjserver.types.frames import Frame, FrameInfo

    frame = bench.ours(case, compile_frames)
    ring = RingWriter(f"vjs-bench-{os.getpid()}", case.width * case.height * 4)
    try:
        frame()
        alone = _times(frame, bench.device.type, FRAMES if bench.full else 4, SECONDS)

        def whole() -> None:
            ring.put(Frame(frame()[0], FrameInfo(case.width, case.height)))

        ages = _times(whole, bench.device.type, FRAMES if bench.full else 4, SECONDS)
    finally:
        ring.close()
    ratio = float(np.percentile(ages, 95)) / float(np.median(alone))
    return {
        "what": "request to ring",
        **percentiles([1e3 * t for t in ages]),
        "unit": "ms",
        "p95_over_frame": round(ratio, 3),
    }


def run(device: str, full: bool, dtype: str, budget_s: float) -> dict[str, Any]:
    """Run everything that the time allows; return the report."""
    began = time.perf_counter()

    def left() -> float:
        return budget_s - (time.perf_counter() - began)

    name = torch.cuda.get_device_name(0) if device == "cuda" else "CPU, tiny models: a smoke test, no measurement"
    report: dict[str, Any] = {
        "commit": commit(),
        "device": name,
        "torch": torch.__version__,
        "ceilings": ceilings(device),
    }
    print(json.dumps(report), flush=True)
    rows: list[dict[str, Any]] = []
    missed: list[str] = []
    with tempfile.TemporaryDirectory() as home:
        bench = Bench(Path(home), device, full, dtype)
        print(f"models made after {time.perf_counter() - began:.0f} s", flush=True)
        todo = cases() if full else [Case("sd-turbo", 64, 64, 1, 1, True), Case("lcm", 64, 64, 2, 2, False)]
        first = todo[0]
        extras: list[dict[str, Any]] = []
        for i, case in enumerate(todo):
            headline = case.batch == 1 and case.steps == 1 and case.width == first.width
            contenders: dict[str, Callable[[], Callable[[], Any]]] = {"ours": lambda c=case: bench.ours(c, False)}  # type: ignore[misc]
            contenders["stream"] = lambda c=case: bench.stream(c)  # type: ignore[misc]
            contenders["plain"] = lambda c=case: bench.pipeline(c, False)  # type: ignore[misc]
            if full and (headline or (case.batch == 8 and case.steps == 1 and case.width == 512)):
                contenders["ours+"] = lambda c=case: bench.ours(c, True)  # type: ignore[misc]
            if full and headline:
                contenders["tuned"] = lambda c=case: bench.pipeline(c, True)  # type: ignore[misc]
            if left() < 25.0:
                missed += [f"{contender}: {case.name}" for contender in contenders]
                continue
            work = flops(bench, case)
            for contender, make in contenders.items():
                rows.append(measure(bench, case, contender, make, report["ceilings"]["tflops"], work))
                print(json.dumps(rows[-1]), flush=True)
            if i == 0:
                for probe in (age, live_changes):
                    with clean(device):
                        extras.append(probe(bench, first, full and device == "cuda"))
                    print(json.dumps(extras[-1]), flush=True)
    return report | {
        "rows": rows,
        "extras": extras,
        "not_reached": missed,
        "seconds": round(time.perf_counter() - began),
    }


def table(report: dict[str, Any]) -> None:
    """Print the report."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=f"{report['device']}, commit {report['commit']}, torch {report['torch']}, {report['ceilings']}")
    columns = (
        "contender",
        "case",
        "frames_per_s",
        "p50_ms",
        "p95_ms",
        "p99_ms",
        "tflops",
        "share_of_ceiling",
        "peak_GB",
    )
    for column in columns:
        shown.add_column(column, no_wrap=True)
    for row in report["rows"]:
        shown.add_row(*[str(row.get(column, "")) if "failed" not in row or column in ("contender", "case")
                        else row["failed"][:24] for column in columns])  # fmt: skip
    console = Console(width=160)
    console.print(shown)
    for row in report["extras"]:
        console.print(row)
    if report["not_reached"]:
        console.print(f"not reached in time: {len(report['not_reached'])} rows")


def main() -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="bench.gpu", description="the diffusion engine beside its peers")
    parser.add_argument("--json", type=Path, help="also write the report to this file")
    parser.add_argument("--smoke", action="store_true", help="tiny models on the CPU: does it run at all?")
    parser.add_argument("--dtype", choices=("float16", "bfloat16"), default="float16", help="of every contender")
    parser.add_argument("--budget", type=float, default=BUDGET_S, metavar="S", help="stop beginning new rows then")
    args = parser.parse_args()
    if torch is None:
        print("bench.gpu needs torch: pip install 'vjserver[diffusion]'", file=sys.stderr)
        return 2
    if not args.smoke and not torch.cuda.is_available():
        print(
            f"bench.gpu needs a CUDA GPU: torch {torch.__version__} finds none; nothing was measured", file=sys.stderr
        )
        return 2
    dtype = "float32" if args.smoke else args.dtype
    report = run("cpu" if args.smoke else "cuda", not args.smoke, dtype, args.budget) | {"dtype": dtype}
    table(report)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
