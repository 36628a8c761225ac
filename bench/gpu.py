"""``python -m bench.gpu [--json OUT.json]``: the diffusion engine beside its peers, on one GPU, in one run.

Full-size models with random weights (speed does not depend on them) are made on the spot. The machine's own ceilings
are measured first. Every contender gets a prompt that is encoded already, takes an RGBA8 picture from host memory where
it starts from one, and gives an RGBA8 picture back to host memory; that is a frame.

    plain       diffusers' pipeline, as it comes, half precision
    tuned       the same with TAESD, channels_last and torch.compile
    stream      a loop as StreamDiffusion's paper describes it (arXiv 2312.12491): TAESD, cached prompt, noise drawn
                ahead, steps of several frames in one batch; no similarity filter
    stream+     the same with torch.compile, the whole loop captured as a CUDA graph: what is ours beyond that?
    ours        this repository's engine, captured
    ours+       the same, with torch.compile besides

What is cheap and matters most comes first; what compiles comes last, in a process of its own that is ended when the
time is over (eight minutes in all). The file is written anew after every row, so nothing is lost when it is cut off;
what was not reached is listed. On a machine without CUDA it says so and ends with 2; ``--smoke`` runs it all on tiny
models on the CPU, nothing compiled, to see that it runs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bench.report import commit, percentiles
from vjserver.types.errors import VJError

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

WARM, FRAMES, SECONDS = 8, 200, 2.0
CHANGES, EVERY = 2000, 10
BUDGET_S = 465.0
COMPILED_S = 270.0  # of it, for what compiles
GANS_S = 45.0  # of it, for GANs
LEAST_S = 8.0  # no row is begun with less
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
    """Models on the device, each made and loaded once, and the contenders made from them."""

    def __init__(self, home: Path, device: str, full: bool, dtype: str) -> None:
        self.home, self.device, self.full = home, torch.device(device), full
        self.dtype = getattr(torch, dtype)
        self.counted: dict[tuple[str, int, int], tuple[float, float, float]] = {}
        self._kept: dict[tuple[Any, ...], Any] = {}

    def once(self, make: Callable[..., Any], *key: Any) -> Any:
        """Return what ``make(*key)`` makes, which is made once."""
        if (make.__name__, *key) not in self._kept:
            self._kept[make.__name__, *key] = make(*key)
        return self._kept[make.__name__, *key]

    @property
    def fused(self) -> bool:
        """Whether what may be compiled and captured is: on a GPU."""
        return self.device.type == "cuda"

    def folder(self, layout: str) -> Path:
        """Return a model's folder; one that is not there is made."""
        from bench.random_models import make_model

        folder = self.home / layout
        if not (folder / "done").exists():
            make_model(folder, layout, self.full, dtype=self.dtype if self.full else None, device=self.device.type)
            (folder / "done").touch()
        return folder

    def taesd(self) -> Any:
        """Return a fast autoencoder, on the device."""
        import diffusers

        from bench.random_models import make_taesd

        if not (self.home / "taesd").exists():
            make_taesd(self.full).save_pretrained(self.home / "taesd")
        made: Any = diffusers.AutoencoderTiny.from_pretrained(str(self.home / "taesd"))
        return made.to(self.device, self.dtype)

    def picture(self, case: Case) -> Any:
        """Return a picture to start from, RGBA8."""
        rough = np.random.default_rng(0).integers(0, 256, (case.height // 16, case.width // 16, 4), dtype=np.uint8)
        return np.ascontiguousarray(np.kron(rough, np.ones((16, 16, 1), np.uint8))[: case.height, : case.width])

    def loaded(self, layout: str, from_picture: bool) -> Any:
        """Return diffusers' pipeline of a model; both kinds share its parts."""
        import diffusers

        kinds = {
            ("sd-turbo", False): diffusers.StableDiffusionPipeline,
            ("sd-turbo", True): diffusers.StableDiffusionImg2ImgPipeline,
            ("lcm", False): diffusers.LatentConsistencyModelPipeline,
            ("lcm", True): diffusers.LatentConsistencyModelImg2ImgPipeline,
        }
        kind: Any = kinds[layout, from_picture]
        if from_picture:
            made = kind(**self.once(self.loaded, layout, False).components, requires_safety_checker=False)
        else:
            made = kind.from_pretrained(
                str(self.folder(layout)), local_files_only=True, torch_dtype=self.dtype, safety_checker=None
            ).to(self.device)
        made.set_progress_bar_config(disable=True)
        return made

    def pipeline(self, case: Case, tuned: bool) -> Callable[[], Any]:
        """Return a frame of diffusers' own pipeline, plain or tuned."""
        made = self.once(self.loaded, case.layout, case.from_picture)
        if tuned:
            made = type(made)(**made.components, requires_safety_checker=False)
            made.set_progress_bar_config(disable=True)
            made.vae = self.taesd()
            for part in (made.unet, made.vae):
                part.to(memory_format=torch.channels_last)
            if self.fused:
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
            return _rgba(made(**given).images).cpu().numpy()

        return frame

    def stream(self, case: Case, fused: bool) -> Callable[[], Any]:
        """Return a loop after StreamDiffusion's paper: the steps of as many frames run as one batch."""
        unet = self.once(self.loaded, case.layout, False).unet.to(memory_format=torch.channels_last)
        vae = self.taesd().to(memory_format=torch.channels_last)
        encode, decode = vae.encoder, vae.decoder
        width = unet.config.cross_attention_dim
        rows, n = case.batch * case.steps, case.steps
        given: dict[str, Any] = {"device": self.device, "dtype": self.dtype}
        tokens = torch.randn(rows, 77, width, **given)
        times = torch.linspace(499 if case.from_picture else 999, 0, n + 1, device=self.device)[:n].round()
        times = times.repeat_interleave(case.batch)
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, device=self.device) ** 2
        kept = torch.cumprod(1 - betas, 0)[times.long()]
        signal, spread = (x.sqrt().to(self.dtype)[:, None, None, None] for x in (kept, 1 - kept))
        shape = (case.batch, 4, case.height // 8, case.width // 8)
        noise = torch.randn(rows, *shape[1:], **given)
        on_the_way = torch.randn(rows - case.batch, *shape[1:], **given)
        guided = torch.randn(rows, unet.config.time_cond_proj_dim, **given) if unet.config.time_cond_proj_dim else None
        picture = torch.from_numpy(self.picture(case)[..., :3].copy())
        came = torch.zeros_like(picture, device=self.device)
        shown = torch.zeros(case.batch, case.height, case.width, 4, dtype=torch.uint8, device=self.device)
        if fused and self.fused:
            unet, encode, decode = (torch.compile(part, dynamic=False) for part in (unet, encode, decode))

        def compute() -> None:
            first = noise[: case.batch]
            if case.from_picture:
                start = came.permute(2, 0, 1)[None].to(self.dtype) / 127.5 - 1.0
                start = start.expand(case.batch, -1, -1, -1).contiguous(memory_format=torch.channels_last)
                first = signal[: case.batch] * encode(start) + spread[: case.batch] * first
            x = torch.cat([first, on_the_way]).contiguous(memory_format=torch.channels_last)
            out = unet(x, times, tokens, timestep_cond=guided, return_dict=False)[0]
            clean = (x - spread * out) / signal
            if n > 1:
                on_the_way.copy_(
                    signal[case.batch :] * clean[: -case.batch] + spread[case.batch :] * noise[case.batch :]
                )
            latent = clean[-case.batch :].contiguous(memory_format=torch.channels_last)
            shown.copy_(_rgba((decode(latent) / 2 + 0.5).clamp(0, 1)))

        run = self._captured(compute) if fused and self.fused else compute

        @torch.inference_mode()
        def frame() -> Any:
            if case.from_picture:
                came.copy_(picture)
            run()
            return shown.cpu().numpy()

        return frame

    @torch.inference_mode() if torch is not None else (lambda work: work)
    def _captured(self, compute: Callable[[], None]) -> Callable[[], None]:
        side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        with torch.cuda.stream(side):
            for _ in range(3):
                compute()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, stream=side):
            compute()
        replay: Callable[[], None] = graph.replay
        return replay

    def parts(self, layout: str, loras: tuple[Path, ...] = ()) -> Any:
        """Return a model as our engine plays it, with the fast autoencoder."""
        from vjserver.generators.diffusion.model import Decoder, load
        from vjserver.generators.diffusion.options import DiffusionOptions

        dtype: Any = str(self.dtype).removeprefix("torch.")
        parts = load(DiffusionOptions(model=str(self.folder(layout)), device=self.device.type, dtype=dtype,
                                      decoder="full", loras=loras))  # fmt: skip
        fast: Any = self.taesd()
        decoder: Any = Decoder(fast, fast.config, self.dtype)
        parts.decoder = decoder.to(memory_format=torch.channels_last)
        return parts

    def engine(self, layout: str, fused: bool, loras: tuple[Path, ...] = ()) -> Any:
        """Return our engine for a model, empty."""
        engine = self.once(self._engine, layout, fused and self.fused, loras)
        engine.free()
        return engine

    def _engine(self, layout: str, fused: bool, loras: tuple[Path, ...]) -> Any:
        from vjserver.generators.diffusion.engine import Engine

        return Engine(self.once(self.parts, layout, loras), fused)

    def ours(self, case: Case, fused: bool) -> Callable[[], Any]:
        """Return our frame: as the generator's door calls it, with everything laid out anew each time."""
        from vjserver.generators.diffusion.canvas import Inputs, Shape

        engine = self.engine(case.layout, fused)
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


def _rgba(images: Any) -> Any:
    """Return pictures ``(batch, 3, h, w)``, 0..1, as RGBA8."""
    pixels = (images * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)
    return torch.cat([pixels, torch.full_like(pixels[..., :1], 255)], -1)


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

    parts = bench.once(bench.parts, case.layout)
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
    bench: Bench, case: Case, name: str, make: Callable[[], Callable[[], Any]], ceiling: float
) -> dict[str, Any]:
    """Return one row: a contender at a case; one that fails says why."""
    device = bench.device.type
    row: dict[str, Any] = {"contender": name, "case": case.name, **vars(case)}
    with clean(device):
        began = time.perf_counter()
        try:
            frame = make()
            frame()
            ready_s = time.perf_counter() - began
            times = [1e3 * t for t in _times(frame, device, FRAMES if bench.full else 4, SECONDS)]
            work = flops(bench, case)
        except Exception as error:  # noqa: BLE001 - a peer may fail in its own ways; the row says so
            return row | {"failed": f"{type(error).__name__}: {str(error)[:200]}"}
        row |= {f"{key}_ms" if key != "n" else "n": value for key, value in percentiles(times).items()}
        per_s = 1e3 * case.batch / float(np.median(times))
        row |= {
            "frames_per_s": round(per_s, 1),
            "ready_s": round(ready_s, 1),
            "tflops": round(work / case.batch * per_s / 1e12, 2),
        }
        row["share_of_ceiling"] = round(row["tflops"] / ceiling, 3)
        del frame
    return row


def live_changes(bench: Bench, case: Case, fused: bool) -> dict[str, Any]:
    """Return how long frames take while prompt, weights, seed, strength, LoRA and fader change every tenth frame."""
    from bench.random_models import make_lora
    from vjserver.generators.diffusion.canvas import Inputs, Shape
    from vjserver.generators.diffusion.model import read_tensors

    tensors = read_tensors(bench.folder(case.layout) / "unet")
    lora = make_lora(bench.home, "live.safetensors", tensors, rank=8)
    engine = bench.engine(case.layout, fused, (lora,))
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


def age(bench: Bench, case: Case, fused: bool) -> dict[str, Any]:
    """Return the age of a frame in the ring: from the request that it answers to its last byte written."""
    from vjserver.runtime.ring import RingWriter
    from vjserver.types.frames import Frame, FrameInfo

    frame = bench.ours(case, fused)
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


class Report:
    """What was found so far: on the screen, and in a file that is whole after every row."""

    def __init__(self, path: Path | None, **head: Any) -> None:
        self._path, self._began = path, time.perf_counter()
        self.found: dict[str, Any] = {**head, "rows": [], "extras": [], "gans": [], "not_reached": []}
        print(json.dumps(head), flush=True)

    def add(self, kind: str, one: Any) -> None:
        """Take a row, an extra, or the name of what was not reached."""
        self.found[kind].append(one)
        self.found["seconds"] = round(time.perf_counter() - self._began)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(".new")
            new.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
            new.replace(self._path)
        if kind != "not_reached":
            print(json.dumps(one), flush=True)


Contender = tuple[str, Case, Callable[[], Callable[[], Any]]]


def plain_rows(bench: Bench, todo: list[Case]) -> Iterator[Contender]:
    """Yield what needs no compiler; diffusers' own pipeline is slow, and stands beside the first two only."""
    for i, case in enumerate(todo):
        yield "ours", case, lambda case=case: bench.ours(case, False)  # type: ignore[misc]
        yield "stream", case, lambda case=case: bench.stream(case, False)  # type: ignore[misc]
        if i < 2:
            yield "plain", case, lambda case=case: bench.pipeline(case, False)  # type: ignore[misc]


def compiled_rows(bench: Bench, todo: list[Case]) -> Iterator[Contender]:
    """Yield what is compiled, of the first two cases."""
    for case in todo[:2]:
        yield "ours+", case, lambda case=case: bench.ours(case, True)  # type: ignore[misc]
    for case in todo[:2]:
        yield "stream+", case, lambda case=case: bench.stream(case, True)  # type: ignore[misc]
    yield "tuned", todo[0], lambda: bench.pipeline(todo[0], True)


def part(report: Report, bench: Bench, contenders: Iterator[Contender], fused: bool, until_s: float) -> None:
    """Measure contenders, and after the first two of them age and changes, until the time is over."""
    first: Case | None = None
    for i, (name, case, make) in enumerate(contenders):
        first = first or case
        if time.perf_counter() > until_s - LEAST_S:
            report.add("not_reached", f"{name}: {case.name}")
            continue
        report.add("rows", measure(bench, case, name, make, report.found["ceilings"]["tflops"]))
        if i == 1:
            for probe in (age, live_changes):
                with clean(bench.device.type):
                    report.add("extras", {"contender": "ours+" if fused else "ours", **probe(bench, first, fused)})


def gans(report: Report, smoke: bool, until_s: float) -> None:
    """Measure GANs, captured, until the time is over."""
    from bench.gan import layouts, on_cuda, on_the_cpu

    for name, make in layouts(smoke).items():
        if time.perf_counter() > until_s - LEAST_S:
            report.add("not_reached", name)
            continue
        with clean("cpu" if smoke else "cuda"):
            try:
                report.add("gans", on_the_cpu(name, make()) if smoke else on_cuda(name, make()))
            except (RuntimeError, VJError) as error:
                report.add("gans", {"what": name, "failed": str(error).splitlines()[0][:200]})


def compiled_apart(report: Report, home: Path, options: list[str], limit_s: float) -> None:
    """Have the compiled rows measured by another process, which is ended after ``limit_s``; take what it found."""
    out = home / "compiled.json"
    command = [sys.executable, "-W", "ignore", "-m", "bench.gpu", "--compiled-in", str(home), "--json", str(out)]
    with suppress(subprocess.TimeoutExpired):
        subprocess.run([*command, "--budget", str(limit_s), *options], timeout=limit_s, check=False)
    if not out.exists():
        report.add("not_reached", "everything that is compiled")
        return
    found = json.loads(out.read_text(encoding="utf-8"))
    for kind in ("rows", "extras", "not_reached"):
        for one in found[kind]:
            report.add(kind, one)


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
    )
    for column in columns:
        shown.add_column(column, no_wrap=True)
    for row in report["rows"]:
        shown.add_row(*[str(row.get(column, "")) if "failed" not in row or column in ("contender", "case")
                        else row["failed"][:24] for column in columns])  # fmt: skip
    console = Console(width=160)
    console.print(shown)
    for row in (*report["extras"], *report["gans"]):
        console.print(row)
    if report["not_reached"]:
        console.print(f"not reached in time: {len(report['not_reached'])} rows")


def main() -> int:
    """Run from the command line; return the exit code."""
    began_s = time.perf_counter()
    parser = argparse.ArgumentParser(prog="bench.gpu", description="the diffusion engine beside its peers")
    parser.add_argument("--json", type=Path, help="also write the report to this file, anew after every row")
    parser.add_argument("--smoke", action="store_true", help="tiny models on the CPU: does it run at all?")
    parser.add_argument("--dtype", choices=("float16", "bfloat16"), default="float16", help="of every contender")
    parser.add_argument("--budget", type=float, default=BUDGET_S, metavar="S", help="seconds in all")
    parser.add_argument("--compiled-in", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if torch is None:
        print("bench.gpu needs torch: pip install 'vjserver[diffusion]'", file=sys.stderr)
        return 2
    if not args.smoke and not torch.cuda.is_available():
        print(
            f"bench.gpu needs a CUDA GPU: torch {torch.__version__} finds none; nothing was measured", file=sys.stderr
        )
        return 2
    device, dtype = ("cpu", "float32") if args.smoke else ("cuda", args.dtype)
    name = "CPU, tiny models: a smoke test, no measurement" if args.smoke else torch.cuda.get_device_name(0)
    report = Report(args.json, commit=commit(), device=name, torch=torch.__version__, dtype=dtype,
                    ceilings=ceilings(device))  # fmt: skip
    todo = [Case("sd-turbo", 64, 64, 1, 1, True), Case("lcm", 64, 64, 2, 2, False)] if args.smoke else cases()
    until_s = began_s + args.budget
    if args.compiled_in:
        part(report, bench := Bench(args.compiled_in, device, not args.smoke, dtype), compiled_rows(bench, todo), True,
             until_s)  # fmt: skip
        return 0
    with tempfile.TemporaryDirectory() as home:
        bench = Bench(Path(home), device, not args.smoke, dtype)
        part(report, bench, plain_rows(bench, todo), False, until_s - COMPILED_S)
        gans(report, args.smoke, until_s - COMPILED_S + GANS_S)
        options = ["--smoke"] if args.smoke else ["--dtype", dtype]
        compiled_apart(report, Path(home), options, until_s - time.perf_counter())
    table(report.found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
