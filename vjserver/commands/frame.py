"""One picture from the shell: a generator of the show with a prompt and a seed, comparable with what others draw."""

import argparse
import math
import time
from pathlib import Path

import cv2
import numpy as np

from vjserver.generators.diffusion.info import INFO, N_LORAS
from vjserver.generators.diffusion.options import DiffusionOptions
from vjserver.generators.store import mark_run
from vjserver.ports import open_door
from vjserver.runtime.files import at_home
from vjserver.runtime.installed import installed
from vjserver.runtime.picture import read_picture, write_picture
from vjserver.show.addresses import COMMON, MAX_SEED, size_of
from vjserver.types.errors import ConfigError, VJError, nearest
from vjserver.types.frames import FrameRequest, Pixels, TextConditioning
from vjserver.types.knobs import Parameter


def make_frame(args: argparse.Namespace) -> str:
    """Render what the command line of ``vjserver frame`` says and write it; return a sentence on it.

    The seed gives the noise that diffusers draws with ``torch.Generator("cpu").manual_seed(seed)``; in float32 on the
    CPU the pictures agree. Raises ConfigError, GeneratorError.
    """
    if args.generator not in ("", INFO.kind):
        return _made_by(args)
    if not args.model or args.prompt is None:
        raise ConfigError("a diffusion model needs --model NAME|PATH and --prompt TEXT")
    _check(args)
    width, height = size_of(args.size)
    picture = None if args.image is None else _read(args.image, width, height)
    loras = [_lora(text) for text in args.lora]
    options = DiffusionOptions(
        model=args.model,
        device=args.device,
        dtype=args.dtype,
        decoder=args.decoder,
        compile="off",
        loras=tuple(p for p, _ in loras),
    )
    try:
        from vjserver.generators.diffusion.canvas import Inputs, Shape
        from vjserver.generators.diffusion.engine import Engine
        from vjserver.generators.diffusion.model import load
    except ImportError as error:
        raise ConfigError(f"frame needs torch: pip install 'vjserver[diffusion]' ({error})") from None
    parts = load(options)
    engine = Engine(parts, compile_frames=False)
    began = time.perf_counter()
    prompt = parts.text(args.prompt)
    eps, noise = engine.drawn(args.seed, width, height, picture is not None and parts.decoder.samples)
    result = engine.render(
        Shape(width, height, width, height),
        Inputs(
            [[(prompt, 1.0)]],
            parts.sampler.schedule(args.steps, args.strength, picture is not None),
            (noise, noise),
            negative=parts.text.negative(args.negative, parts.empty_is_zero),
            guidance=args.guidance,
            loras=[weight for _, weight in loras],
            image=picture,
            eps=eps,
        ),
    )
    took_s = time.perf_counter() - began
    write_picture(args.output, result.pixels[0])
    mark_run(parts.folder)
    remarks = [*parts.remarks, *([f"cut off after 77 tokens: {prompt.lost!r}"] if prompt.lost else [])]
    if args.negative and parts.guidance != "negative":
        remarks.append("this model takes no negative prompt: it was left out")
    told = "".join(f"\nnote: {remark}" for remark in remarks)
    dtype = str(parts.dtype).removeprefix("torch.")
    return f"{args.output}: {width}x{height}, {args.steps} step(s), {took_s:.2f} s on {parts.device} in {dtype}{told}"


def _made_by(args: argparse.Namespace) -> str:
    """Make a picture with any generator, as a film's first frame."""
    registry = installed()
    info = registry.infos.get(args.generator)
    if info is None:
        raise ConfigError(
            f"unknown generator {args.generator!r}{nearest(args.generator, registry.infos)}; "
            f"there are: {', '.join(registry.infos)}"
        )
    if args.image is not None and not info.accepts_image:
        raise ConfigError(f"{args.generator} starts from no picture: leave --image out")
    _check(args)
    usual = {"steps": 1, "guidance": 8.0, "lora": [], "decoder": "auto"}
    idle = [f"--{name}" for name, value in usual.items() if getattr(args, name) != value]
    if idle:
        raise ConfigError(f"{' and '.join(idle)}: only diffusion has that; knobs of {args.generator}: --set KNOB=VALUE")
    if args.model and not info.takes_model:
        raise ConfigError(f"{args.generator} plays no model: leave --model out")
    width, height = size_of(args.size)
    params = {name: knob.default for name, knob in COMMON.items()}
    own = {knob.name: knob.default for knob in info.parameters}
    knobs = {**COMMON, **{one.name: one for one in info.parameters}}
    for row in args.set:
        name, sign, text = row.partition("=")
        knob = knobs.get(name)
        if not sign or knob is None:
            known = sorted({*own, *info.uses})
            raise ConfigError(f"--set is KNOB=VALUE: got {row[:60]!r}{nearest(name, known)}; knobs: {', '.join(known)}")
        (own if name in own else params)[name] = _value(knob, text)
    params["strength"] = args.strength
    rows = (("model", args.model, ""), ("device", args.device, "auto"), ("dtype", args.dtype, "auto"))
    given = {name: value for name, value, usually in rows if value != usually}
    prompts = ((args.prompt, 1.0),) if args.prompt else ()
    text = TextConditioning(prompts, negative=args.negative)
    image = None if args.image is None else _read(args.image, width, height)
    request = FrameRequest(0, width, height, text, params, args.seed, 0.0, own=own, mode="film", image=image,
                           inference_size=(width, height))  # fmt: skip
    generator = open_door("generators", {"kind": args.generator, **given})
    try:
        began = time.perf_counter()
        frame, _ = generator.render(request, None)
        took_s = time.perf_counter() - began
        write_picture(args.output, frame.pixels)
    finally:
        generator.close()
    told = "".join(f"\nnote: {notice.what}: {notice.why}" for notice in frame.notices)
    return f"{args.output}: {width}x{height} by {args.generator}, {took_s:.2f} s{told}"


def _value(knob: Parameter, text: str) -> float:
    """Return what somebody set a knob to: a number in its range, or one of its choices."""
    if text in knob.choices:
        return float(knob.choices.index(text))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not knob.low <= value <= knob.high:
        allowed = ", ".join(knob.choices) or f"{knob.low:g}..{knob.high:g} {knob.unit}".rstrip()
        raise ConfigError(f"{knob.name} is {allowed}: got {text[:40]!r}")
    return value


def _check(args: argparse.Namespace) -> None:
    rows = (
        ("--steps", args.steps, 1, 4),
        ("--strength", args.strength, 0, 1),
        ("--guidance", args.guidance, 0, 100),
        ("--seed", args.seed, 0, MAX_SEED),
    )
    for name, value, low, high in rows:
        if not low <= value <= high:
            raise ConfigError(f"{name} must be in {low}..{high}: got {value}")
    if size_of(args.size) == (0, 0):
        raise ConfigError("--size is WIDTHxHEIGHT, such as 512x512: got 'auto'")
    if len(args.lora) > N_LORAS:
        raise ConfigError(f"at most {N_LORAS} LoRAs are taken: got {len(args.lora)}")


def _lora(text: str) -> tuple[Path, float]:
    """Return path and weight of ``FILE[:WEIGHT]``; a Windows drive's colon is no weight."""
    path, colon, weight = text.rpartition(":")
    try:
        return (Path(path), float(weight)) if colon and path else (Path(text), 1.0)
    except ValueError:
        return Path(text), 1.0


def _read(path: Path, width: int, height: int) -> Pixels:
    try:
        image = read_picture(at_home(path))
    except (VJError, OSError) as error:
        raise ConfigError(f"{path} is no picture that can be read (PNG, JPEG, WebP, TIFF): {error}") from None
    if image.shape[:2] != (height, width):
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return image


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver frame`` takes."""
    parser.add_argument("--generator", default="", metavar="KIND", help="which generator draws (default: diffusion)")
    parser.add_argument("--model", default="", metavar="NAME|PATH", help="a model of the store, or a folder")
    parser.add_argument("--prompt")
    parser.add_argument("--set", action="append", default=[], metavar="KNOB=VALUE", help="a knob, in its own unit")
    parser.add_argument(
        "--negative", default="", help="what the picture must not show, for models with a negative prompt"
    )
    parser.add_argument("--image", type=Path, metavar="IN.png", help="start from this picture")
    parser.add_argument("--strength", type=float, default=0.5, help="how much of it is redrawn, 0..1 (default 0.5)")
    parser.add_argument("--steps", type=int, default=1, help="calls of the model, 1..4")
    parser.add_argument("--guidance", type=float, default=8.0, help="where the model can (default 8)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", default="512x512", metavar="WxH")
    parser.add_argument("--lora", action="append", default=[], metavar="FILE[:WEIGHT]", help="up to four")
    parser.add_argument("--decoder", choices=("auto", "taesd", "full"), default="auto")
    parser.add_argument("--dtype", choices=("auto", "float16", "bfloat16", "float32"), default="auto")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.png")


def run(args: argparse.Namespace) -> int:
    """Make the picture."""
    print(make_frame(args))
    return 0
