"""A captured frame may ask nothing of the host: what a CUDA graph would refuse is refused here, on the CPU, already."""

import gc
import random
import threading
import time
import weakref
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from strict import FakeStream, Strict, fake_cuda  # noqa: F401 - a fixture

from bench.random_models import make_lora
from vjserver.generators.captured import CANVASES, TURNS, WARM, Turns
from vjserver.generators.diffusion.canvas import PLACE, Inputs, Shape
from vjserver.generators.diffusion.engine import Engine
from vjserver.generators.diffusion.layout import start
from vjserver.generators.diffusion.model import load, read_tensors
from vjserver.generators.diffusion.options import DiffusionOptions
from vjserver.types.errors import OutOfMemoryError


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
            for program in (canvas.condition, canvas.programs[image is not None, 2]):
                with Strict() as strict:
                    program.run()
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
    compute = canvas.condition.run
    canvas.condition.run = lambda: (calls.append(1), compute())
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
            canvas.last.copy_(start(canvas))

    def detail(p):
        return float((p[..., 1:] - p[..., :-1]).abs().mean() + (p[..., 1:, :] - p[..., :-1, :]).abs().mean())

    assert 0.7 < detail(canvas.last) / detail(picture) < 1.3
    torch.testing.assert_close(canvas.last.mean((2, 3)), picture.mean((2, 3)), atol=0.05, rtol=0)
    torch.testing.assert_close(canvas.last.std((2, 3)), picture.std((2, 3)), atol=0.06, rtol=0)


def _capturing(parts, compiled=False):
    """Return an engine that captures, and a function that renders a small frame with it."""
    engine = Engine(parts, compiled)
    engine._cuda = True
    prompt = parts.text("fish")

    def frame(width=64, decks=1, steps=1):
        noise = engine.noise(1, width, 64)
        inputs = Inputs([[(prompt, 1.0)]] * decks, parts.sampler.schedule(steps), (noise, noise))
        return engine.render(Shape(width, 64, width, 64, decks), inputs).pixels.copy()

    return engine, frame


def _turbo(models, **options):
    return load(DiffusionOptions(model=str(models["sd-turbo"]), device="cpu", **options))


def _captured(engine):
    return [p for canvas in engine._canvases.values() for p in canvas.programs.values() if p.replay is not None]


def test_frames_are_captured_again_after_everything_was_freed(models, fake_cuda):
    engine, frame = _capturing(_turbo(models))
    first = frame()
    for again in (engine.free, engine.interpret, engine.close):
        again()
        gc.collect()
        for _ in range(WARM + 2):
            assert np.abs(frame().astype(int) - first).max() <= 1
        assert len(_captured(engine)) == 1


def test_a_new_size_a_second_deck_or_more_steps_cost_a_frame_no_more_than_the_frame(models, fake_cuda):
    """It runs as it is and is captured later: no frame computes the model twice, and none searches for kernels."""
    engine, frame = _capturing(_turbo(models))
    calls, unet = [], engine._unet

    def counted(*args):
        calls.append(torch.backends.cudnn.benchmark)
        return unet(*args)

    engine._unet = counted
    for new in ({"width": 72}, {"decks": 2}, {"steps": 4}):
        for turn in range(WARM + 3):
            calls.clear()
            frame(**new)
            steps = new.get("steps", 1)
            assert len(calls) == (steps if turn <= WARM else 0), "one frame's work, or one recorded, or nothing but it"
            assert not any(calls), "only what is made ready is searched for"
    engine.ready(Shape(80, 64, 80, 64), 1)
    calls_while_warm, captured = calls[-WARM - 1 : -1], calls[-1]
    assert all(calls_while_warm)
    assert not captured, "what was found is known by now"
    assert not torch.backends.cudnn.benchmark


def test_what_was_made_ready_is_captured_at_once_and_leaves_no_trace(models, fake_cuda):
    engine, frame = _capturing(_turbo(models))
    other = Engine(engine.parts, False)
    assert engine.ready(Shape(64, 64, 64, 64), 1) > 0.0
    assert len(_captured(engine)) == 2
    noise, prompt = other.noise(1, 64, 64), engine.parts.text("fish")
    inputs = Inputs([[(prompt, 1.0)]], engine.parts.sampler.schedule(1), (noise, noise))
    plain = other.render(Shape(64, 64, 64, 64), inputs)
    assert np.abs(frame().astype(int) - plain.pixels).max() <= 1


def test_what_was_made_ready_stays_however_many_sizes_the_show_asks_for(models, fake_cuda):
    engine, frame = _capturing(_turbo(models))
    engine.ready(Shape(64, 64, 64, 64), 1)
    for i in range(2 * CANVASES):
        frame(width=72 + 8 * i)
    assert Shape(64, 64, 64, 64) in engine._canvases
    assert len(engine._canvases) <= CANVASES


@pytest.mark.parametrize("how", ["freed", "pushed out"])
def test_what_is_given_back_is_gone_at_once_and_not_when_garbage_is_collected(models, fake_cuda, how):
    engine, frame = _capturing(_turbo(models))
    for _ in range(WARM + 1):
        frame()
    canvas = weakref.ref(engine._canvases[Shape(64, 64, 64, 64)])
    gc.collect()
    gc.disable()
    try:
        if how == "freed":
            engine.free()
        else:
            for i in range(CANVASES):
                frame(width=72 + 8 * i)
        assert canvas() is None
    finally:
        gc.enable()


def test_a_size_that_was_compiled_is_so_again_after_memory_was_freed(models, fake_cuda):
    engine, frame = _capturing(_turbo(models))
    calls = []

    def fused(*args):
        calls.append(1)
        return engine._unet(*args)

    engine.compiled, engine._fused = True, (fused, engine._encode, engine._decode)
    engine.ready(Shape(64, 64, 64, 64), 1)
    frame(width=72)
    engine.free()
    calls.clear()
    frame(width=72)
    assert not calls
    frame()
    assert calls
    engine.interpret()
    calls.clear()
    frame()
    assert not calls


def test_a_frame_does_not_wait_for_who_encodes_a_prompt(models, fake_cuda):
    engine, frame = _capturing(_turbo(models))
    with engine._lock:
        for _ in range(WARM + 2):
            frame()
        assert _captured(engine) == []
    frame()
    assert len(_captured(engine)) == 1


def test_a_capture_that_breaks_off_tells_its_own_reason(models, fake_cuda):
    engine, frame = _capturing(_turbo(models))
    for _ in range(WARM):
        frame()

    def full(*_args):
        raise RuntimeError("CUDA error: out of memory")

    engine._unet = full
    with pytest.raises(OutOfMemoryError, match="ran out"):
        frame()
    assert gc.isenabled()
    assert engine._canvases == {}


def test_a_frame_for_whose_capture_there_is_no_room_plays_on_as_it_is(models, fake_cuda, monkeypatch):
    engine, frame = _capturing(_turbo(models))
    engine.ready(Shape(64, 64, 64, 64), 1)
    ready = dict(engine._canvases)

    def full(_run):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(engine, "_captured", full)
    for _ in range(WARM + 3):
        assert frame(width=72).std() > 5
    assert ready.items() <= engine._canvases.items(), "what was made ready before is still there"


def test_all_work_is_on_one_stream_that_goes_before_others_and_is_used_again(models, fake_cuda):
    for _ in range(3):
        engine, frame = _capturing(_turbo(models))
        frame()
        engine.free()
        frame()
        engine.close()
    ours = [stream for stream in FakeStream.made if stream.priority]
    assert [stream.priority for stream in ours] == [-1], "a new one each time would keep its workspace for good"


def test_two_engines_never_capture_at_once(models, fake_cuda):
    faults = []

    def play(engine, frame):
        try:
            for i in range(4):
                engine.ready(Shape(64 + 8 * i, 64, 64 + 8 * i, 64), 1)
                frame(64 + 8 * i)
                engine.free()
        except AssertionError as error:
            faults.append(str(error))

    pair = [_capturing(load(DiffusionOptions(model=str(models[name]), device="cpu"))) for name in ("lcm", "sd-turbo")]
    threads = [threading.Thread(target=play, args=one) for one in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_capture_and_what_waits_for_the_whole_device_keep_out_of_each_others_way():
    turns, inside, faults, seen = Turns(), Counter(), [], Counter()

    def enter(what):
        inside[what] += 1
        seen[what] += 1
        if inside["capture"] and (inside["whole"] or inside["capture"] > 1):
            faults.append(dict(inside))
        time.sleep(0.0005)
        inside[what] -= 1

    def work(seed):
        chance = random.Random(seed)
        for _ in range(60):
            if chance.random() < 0.5:
                with turns.whole(search=chance.random() < 0.5):
                    enter("whole")
            else:
                wait = chance.random() < 0.5
                with turns.capture(wait) as mine:
                    assert mine or not wait
                    if mine:
                        enter("capture")

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert min(seen["whole"], seen["capture"]) > 30
    assert not torch.backends.cudnn.benchmark


def test_a_picture_that_is_handed_on_is_finished(models, fake_cuda, monkeypatch):
    """Who takes it works on another stream, which waits for nothing of this one: an H200 showed half of it."""
    engine, frame = _capturing(_turbo(models))
    frame()
    done, clone = [], torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "clone", lambda self, **more: (done.append("copied"), clone(self, **more))[1])
    monkeypatch.setattr(FakeStream, "synchronize", lambda self: done.append("waited for"))
    engine.picture()
    assert done[-2:] == ["copied", "waited for"]


def test_a_capture_that_another_broke_off_costs_nothing_but_the_capture(models, fake_cuda, monkeypatch):
    engine, frame = _capturing(_turbo(models))
    broken = RuntimeError("CUDA error: operation failed due to a previous error during capture")

    def fails(_run):
        raise broken

    monkeypatch.setattr(engine, "_captured", fails)
    pictures = [frame() for _ in range(WARM + 4)]
    assert (pictures[0] == pictures[-1]).all()


def test_a_show_plays_on_uncaptured_while_another_model_gets_ready(models, fake_cuda):
    engine, frame = _capturing(load(DiffusionOptions(model=str(models["sd-turbo"]), device="cpu")))
    with TURNS.whole(search=True):
        for _ in range(WARM + 3):
            frame()
        assert all(
            program.replay is None for canvas in engine._canvases.values() for program in canvas.programs.values()
        )
    frame()
    assert all(program.replay for canvas in engine._canvases.values() for program in canvas.programs.values())


@pytest.mark.parametrize(
    "text", ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
             "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"],
)  # fmt: skip
def test_memory_that_ran_out_is_known_by_all_its_names(models, text, monkeypatch):
    engine = Engine(load(DiffusionOptions(model=str(models["sd-turbo"]), device="cpu")), False)

    def full(*_args):
        raise RuntimeError(text)

    monkeypatch.setattr(engine, "_unet", full)
    noise = engine.noise(1, 64, 64)
    inputs = Inputs([[(engine.parts.text("x"), 1.0)]], engine.parts.sampler.schedule(1), (noise, noise))
    with pytest.raises(OutOfMemoryError, match="ran out"):
        engine.render(Shape(64, 64, 64, 64), inputs)
    assert engine._canvases == {}


@pytest.mark.parametrize("name", ["sd-turbo", "lcm", "sdxl-turbo", "sd15"])
def test_a_captured_frame_follows_every_live_input(models, fake_cuda, tmp_path, name):
    """The same changes through captured frames and through plain calls: nothing live may be frozen in the capture."""
    lora = make_lora(tmp_path, "live.safetensors", read_tensors(models[name] / "unet"))
    parts = load(DiffusionOptions(model=str(models[name]), device="cpu", decoder="full", loras=(lora,)))
    captured, plain = Engine(parts, False), Engine(parts, False)
    captured._cuda = True
    prompts = {text: parts.text(text) for text in ("fish", "moon", "sea", "")}
    shape = Shape(64, 48, 80, 64, 2)
    noises = [plain.noise(seed, 64, 48) for seed in range(3)]
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 4), dtype=np.uint8)
    row = [(prompts["fish"], 1.0)]
    base = Inputs([row, row], parts.sampler.schedule(2), (noises[0], noises[0]), prompts[""], 3.0)
    live = [
        base,
        replace(base, prompts=[[(prompts["moon"], 0.7), (prompts["sea"], 0.2)], row]),
        replace(base, noise=(noises[1], noises[2]), controls={"noise": (0.6, 0.8)}),
        replace(base, negative=prompts["sea"], guidance=6.0, loras=(0.2,)),
        replace(base, loras=(1.0,)),
        replace(base, schedule=parts.sampler.schedule(2, 0.4, from_picture=True)),  # from the last latent
        replace(base, image=picture, schedule=parts.sampler.schedule(2, 0.4, from_picture=True)),
        replace(base, image=255 - picture, schedule=parts.sampler.schedule(2, 0.7, from_picture=True)),
        replace(base, feed=True, schedule=parts.sampler.schedule(2, 0.3, from_picture=True),
                controls={"warp": (0.9, 0.1, 0.0, -0.1, 0.9, 0.05), "match": (0.5,), "anchor": (0.1,)}),
        replace(base, controls={"fader": (0.3,), "grade": (1.4, 1.2, 0.8, 0.1, 0.3),
                                "latent_offset": (1, 0, 0, 0.5, 0.7)}),
    ]  # fmt: skip
    seen = []
    for inputs in live * 3:
        a, b = captured.render(shape, inputs), plain.render(shape, inputs)
        assert np.abs(a.pixels.astype(int) - b.pixels).max() <= 1
        assert a.jump == pytest.approx(b.jump, abs=1e-3)
        assert a.finite
        seen.append(a.pixels.copy())
    for one, other in pairwise(seen):
        assert np.abs(one[0].astype(int) - other[0]).max() > 0
    assert len(_captured(captured)) == 2
