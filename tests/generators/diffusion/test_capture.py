"""A captured frame may ask nothing of the host: what a CUDA graph would refuse is refused here, on the CPU, already."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vjserver.generators.diffusion.engine import PLACE, Engine, Inputs, Shape, _start
from vjserver.generators.diffusion.model import load
from vjserver.generators.diffusion.options import DiffusionOptions

# Operations that read a value back, whose size depends on values, or that bring data from the host.
FORBIDDEN = (
    "_local_scalar_dense", "item", "nonzero", "masked_select", "unique", "lift_fresh", "is_nonzero", "equal",
    "repeat_interleave.Tensor", "bincount",
)  # fmt: skip


class Strict(TorchDispatchMode):
    """Remembers every operation; refuses those that a captured graph cannot have."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func).removeprefix("aten.")
        self.names.append(name)
        if name.startswith(FORBIDDEN):
            raise AssertionError(f"{name} waits for the host or brings data from it")
        indices = args[1] if name.startswith("index.") else ()
        assert not any(i is not None and i.dtype == torch.bool for i in indices), "a mask's size depends on values"
        return func(*args, **(kwargs or {}))


def test_the_strict_mode_sees_what_it_is_there_for():
    x = torch.ones(3)
    for wrong in (lambda: x.sum().item(), lambda: x.new_tensor([1.0, 2.0]) + 1, lambda: x[x > 0], lambda: x.nonzero()):
        with pytest.raises(AssertionError), Strict():
            wrong()


@pytest.mark.parametrize("decks", [1, 2, 3])
@pytest.mark.parametrize("name", ["sd-turbo", "lcm", "sdxl-turbo", "sd15"])
def test_a_frame_and_its_conditions_ask_nothing_of_the_host(models, name, decks):
    engine = Engine(load(DiffusionOptions(model=str(models[name]), device="cpu", decoder="full")), False)
    shape = Shape(64, 48, 80, 40, decks)
    noise = engine.noise(1, 64, 48)
    prompt = engine.parts.text("fish")
    for image in (None, np.zeros((48, 64, 4), np.uint8)):
        schedule = engine.parts.sampler.schedule(2, 0.5, image is not None)
        engine.render(shape, Inputs([[(prompt, 1.0)]] * decks, schedule, (noise, noise), prompt, 3.0, image=image))
        canvas = engine._canvases[shape]
        with torch.inference_mode():
            for run in (canvas.condition, canvas.programs[image is not None, 2]):
                with Strict() as strict:
                    run()
                assert len(strict.names) > 10


def test_a_frame_is_captured_once_for_a_size_and_steps_whatever_else_changes(models):
    engine = Engine(load(DiffusionOptions(model=str(models["sd-turbo"]), device="cpu")), False)
    prompts = [engine.parts.text(text) for text in ("fish", "moon")]
    shape = Shape(64, 64, 64, 64)
    for seed in range(6):
        noise = engine.noise(seed, 64, 64)
        schedule = engine.parts.sampler.schedule(1, 0.1 + 0.15 * seed, from_picture=False)
        controls = {"grade": (1.0, 1.0, 0.1 * seed, 0.0, 0.0)}
        row = [(prompts[seed % 2], 0.5 + 0.1 * seed)]
        engine.render(shape, Inputs([row], schedule, (noise, noise), controls=controls))
    assert len(engine._canvases[shape].programs) == 1


def test_conditions_are_computed_only_when_something_changed(models):
    engine = Engine(load(DiffusionOptions(model=str(models["lcm"]), device="cpu")), False)
    prompt = engine.parts.text("fish")
    shape, noise = Shape(64, 64, 64, 64), engine.noise(1, 64, 64)

    def render(weight=1.0, strength=1.0, guidance=8.0, seed=1):
        schedule = engine.parts.sampler.schedule(1, strength, from_picture=strength < 1.0)
        other = engine.noise(seed, 64, 64)
        engine.render(shape, Inputs([[(prompt, weight)]], schedule, (noise, other), guidance=guidance))

    render()
    canvas, calls = engine._canvases[shape], []
    compute = canvas.condition
    canvas.condition = lambda: (calls.append(1), compute())
    for _ in range(5):
        render()
    render(seed=2)
    assert calls == []
    render(weight=0.5)
    render(weight=0.5, strength=0.5)
    render(weight=0.5, strength=0.5, guidance=4.0)
    assert len(calls) == 3
    fresh = Engine(engine.parts, False)
    again = fresh.parts.text("fish")
    schedule = fresh.parts.sampler.schedule(1, 0.5, from_picture=True)
    fresh.render(shape, Inputs([[(again, 0.5)]], schedule, (noise, noise), guidance=4.0))
    other = fresh._canvases[shape].conditions
    torch.testing.assert_close(canvas.conditions.keys_values, other.keys_values, atol=1e-5, rtol=0)
    torch.testing.assert_close(canvas.conditions.times, other.times, atol=1e-5, rtol=0)


def test_the_bank_of_prompts_lets_the_unused_go(models):
    engine = Engine(load(DiffusionOptions(model=str(models["sd-turbo"]), device="cpu")), False)
    shape, noise = Shape(64, 64, 64, 64), engine.noise(1, 64, 64)
    schedule = engine.parts.sampler.schedule(1)
    first = engine.parts.text("prompt 0")
    engine.render(shape, Inputs([[(first, 1.0)]], schedule, (noise, noise)))
    want = engine.decoded.clone()
    for i in range(1, 150):
        engine.render(shape, Inputs([[(engine.parts.text(f"prompt {i}"), 1.0)]], schedule, (noise, noise)))
    engine.render(shape, Inputs([[(first, 1.0)]], schedule, (noise, noise)))
    torch.testing.assert_close(engine.decoded, want)


def test_a_flight_of_fifty_frames_keeps_the_picture_sharp_and_its_colours(models):
    """The warp alone, without the model between: a bilinear one would have lost nearly all detail by then."""
    engine = Engine(load(DiffusionOptions(model=str(models["sd-turbo"]), device="cpu")), False)
    canvas = engine._canvas(Shape(128, 64, 128, 64))
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(128.0), indexing="ij")
    picture = torch.stack([torch.sin(x * 0.9), torch.sin(y * 0.7), torch.sin((x + y) * 0.5)])[None] * 0.8
    canvas.last.copy_(picture)
    canvas.anchor.copy_(torch.stack([picture.mean((2, 3)), picture.std((2, 3))], 1))
    numbers = canvas.host_controls.numpy()
    numbers[PLACE["warp"]] = (1.0, 0.0, -0.37 / 64, 0.0, 1.0, 0.21 / 32)
    numbers[PLACE["last"]], numbers[PLACE["match"]] = 1.0, 0.5
    canvas.controls.copy_(canvas.host_controls)
    with torch.inference_mode():
        for _ in range(50):
            canvas.last.copy_(_start(canvas))

    def detail(p):
        return float((p[..., 1:] - p[..., :-1]).abs().mean() + (p[..., 1:, :] - p[..., :-1, :]).abs().mean())

    assert 0.7 < detail(canvas.last) / detail(picture) < 1.3
    torch.testing.assert_close(canvas.last.mean((2, 3)), picture.mean((2, 3)), atol=0.05, rtol=0)
    torch.testing.assert_close(canvas.last.std((2, 3)), picture.std((2, 3)), atol=0.06, rtol=0)
