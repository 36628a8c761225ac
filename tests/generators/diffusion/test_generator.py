"""The diffusion generator as the generate loop uses it, on tiny models: every knob, every fault."""

import os
import random
import subprocess
import sys
import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import wait_for

from bench.random_models import make_lora
from vjserver.generators.diffusion.engine import Engine
from vjserver.generators.diffusion.generator import DiffusionGenerator
from vjserver.generators.diffusion.info import INFO
from vjserver.generators.diffusion.model import read_tensors
from vjserver.generators.diffusion.options import DiffusionOptions
from vjserver.ports import options_of
from vjserver.show.addresses import COMMON
from vjserver.types.errors import ConfigError, GeneratorError, OutOfMemoryError, WorkerFault
from vjserver.types.frames import FrameRequest, TextConditioning

DEFAULTS = {name: p.default for name, p in COMMON.items()}
OWN = {p.name: p.default for p in INFO.parameters} | {"coherence": 0.0}
TEXTS = ("decks", "negative", "ahead")
WIDTH, HEIGHT = 128, 64


def request(*prompts, seconds=1 / 30, seed=1, **more):
    rows = tuple((p, 1.0) if isinstance(p, str) else p for p in prompts)
    own = {key: more.pop(key) for key in list(more) if key in OWN}
    decks = {"decks": more.pop("decks")} if isinstance(more.get("decks"), float) else {}  # a knob's name too
    params = {key: more.pop(key) for key in list(more) if key in DEFAULTS and key != "decks"} | decks
    text = TextConditioning(rows, **{key: more.pop(key) for key in list(more) if key in TEXTS})
    size = more.pop("width", WIDTH), more.pop("height", HEIGHT)
    return FrameRequest(0, *size, text, DEFAULTS | params, seed, seconds, own=OWN | own, **more)


def two_decks(asked, decks):
    """Return a request with the prompts of two decks."""
    return replace(asked, text=replace(asked.text, decks=decks))


def opened(model="sd-turbo", prompts=("fish", "moon", "sea"), **options):
    generator = DiffusionGenerator(DiffusionOptions(model=model, device="cpu", **options))
    generator.open()
    generator.warm_up(WIDTH, HEIGHT, prompts)
    return generator


@pytest.fixture(scope="module")
def turbo(filled_store):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VJSERVER_DATA", str(filled_store))
        generator = opened()
    yield generator
    generator.close()


@pytest.fixture(scope="module")
def lcm(filled_store):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VJSERVER_DATA", str(filled_store))
        generator = opened("lcm")
    yield generator
    generator.close()


def run(generator, *requests, state=None):
    """Render requests one after the other; return copies of the pixels, the last frame and the last state."""
    pictures = []
    for r in requests:
        frame, state = generator.render(r, state)
        pictures.append(frame.pixels.copy())
    return pictures, frame, state


def change(a, b):
    return float(np.abs(a[..., :3].astype(float) - b[..., :3]).mean())


def noise_picture(seed=0, size=(WIDTH, HEIGHT)):
    image = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 4), dtype=np.uint8)
    return np.repeat(np.repeat(image, 8, 0), 8, 1)


# -- a picture -------------------------------------------------------------------------------------------------


def test_a_frame_has_the_asked_size_is_opaque_and_repeats_itself(turbo):
    (a, b), frame, _ = run(turbo, request("fish"), request("fish"))
    assert a.shape == (HEIGHT, WIDTH, 4)
    assert a.dtype == np.uint8
    assert (a[..., 3] == 255).all()
    assert a[..., :3].std() > 5
    np.testing.assert_array_equal(a, b)
    assert frame.info.width == WIDTH


@pytest.mark.parametrize(
    ("name", "value"),
    [("latent_1", 1.0), ("latent_4", 1.0), ("saturation", 0.0), ("contrast", 0.3), ("brightness", 0.4),
     ("flash", 0.5), ("palette", 0.33), ("steps", 3.0)],
)  # fmt: skip
def test_every_knob_of_a_picture_from_noise_changes_it(turbo, name, value):
    (a, b), _, _ = run(turbo, request("fish"), request("fish", **{name: value}))
    assert change(a, b) > (0.1 if name == "steps" else 1.0)


def test_guidance_counts_where_the_model_embeds_it(lcm, turbo):
    (a, b), _, _ = run(lcm, request("fish", guidance=1.0), request("fish", guidance=15.0))
    assert change(a, b) > 0.05
    (a, b), _, _ = run(turbo, request("fish", guidance=1.0), request("fish", guidance=15.0))
    np.testing.assert_array_equal(a, b)


def test_a_negative_prompt_counts_where_the_model_takes_one_and_is_told_where_not(stocked, turbo):
    base = opened("sd15")
    (a, b), _, _ = run(base, request("fish", negative="moon"), request("fish", negative="sea"))
    assert change(a, b) > 0.02
    _, frame, _ = run(turbo, request("fish", negative="moon"))
    assert [n.what for n in frame.notices] == ["negative prompt"]
    _, frame, _ = run(turbo, request("fish", negative="moon"))
    assert frame.notices == ()
    base.close()


def test_a_prompt_change_touches_the_prompt_only(turbo):
    _, _, state = run(turbo, request("fish", seed=3))
    before = state.noise
    _, _, state = run(turbo, request("moon", seed=3), state=state)
    assert state.noise.seed == before.seed
    np.testing.assert_array_equal(state.noise.value(), before.value())


def test_prompts_blend_and_a_blend_lies_between(turbo):
    pictures, _, _ = run(turbo, request("fish"), request(("fish", 0.5), ("moon", 0.5)), request("moon"))
    a, middle, b = pictures
    assert 0 < change(a, middle) < change(a, b) * 1.2
    assert 0 < change(b, middle) < change(a, b) * 1.2


def test_no_prompt_and_blank_prompts_still_make_a_picture(turbo):
    (a,), frame, _ = run(turbo, request())
    assert a[..., :3].std() > 5
    assert frame.notices == ()


def test_a_text_not_encoded_yet_keeps_the_last_picture_and_comes_when_it_is_ready(turbo):
    (a, b), _, state = run(turbo, request("fish"), request("a text nobody has seen"))
    np.testing.assert_array_equal(a, b)
    wait_for(lambda: turbo._prompts.get("a text nobody has seen"))
    (c,), _, _ = run(turbo, request("a text nobody has seen"), state=state)
    assert change(a, c) > 0


def test_what_was_prepared_is_there_on_the_next_frame(turbo):
    encoded = turbo._prompts.encoded
    (a, b), _, _ = run(turbo, request("fish"), request("moon"))
    assert change(a, b) > 0
    assert turbo._prompts.encoded == encoded


def test_prompts_of_the_queue_are_made_ready_before_they_are_asked_for(turbo):
    run(turbo, request("fish", ahead=("a prompt that waits", "another one")))
    wait_for(lambda: turbo._prompts.get("a prompt that waits") and turbo._prompts.get("another one"), 5)


def test_newer_wishes_take_the_place_of_older_ones(stocked):
    generator = opened(prompts=())
    slow = generator._prompts._encode
    seen, asked = [], threading.Event()

    def encode(text):
        seen.append(text)
        assert asked.wait(60)
        return slow(text)

    generator._prompts._encode = encode
    state = None
    for i in range(20):
        _, state = generator.render(request(f"wish {i}"), state)
    asked.set()
    wait_for(lambda: generator._prompts.get("wish 19"), 30)
    assert len(seen) < 20
    generator.close()


def test_an_over_long_prompt_is_cut_with_a_warning_that_shows_the_rest(turbo):
    long = "red " * 60 + "blue"
    wanted = request(long)
    told = list(turbo.render(wanted, None)[0].notices)
    wait_for(lambda: turbo._prompts.get(long))
    told = [n.why for n in (*told, *turbo.render(wanted, None)[0].notices, *turbo.render(wanted, None)[0].notices)]
    assert len(told) == 1
    assert "77 tokens" in told[0]
    assert "blue" in told[0].replace(" ", "")


# -- seeds and coherence ---------------------------------------------------------------------------------------


def test_a_seed_travels_on_the_sphere_and_arrives(turbo):
    _, _, state = run(turbo, request("fish", seed=1))
    pictures, _, state = run(turbo, *[request("fish", seed=2, travel_s=1.0, seconds=0.1)] * 11, state=state)
    (there,), _, _ = run(turbo, request("fish", seed=2))
    np.testing.assert_array_equal(pictures[-1], there)
    steps = [change(a, b) for a, b in pairwise(pictures)]
    assert max(steps) < 0.6 * change(pictures[0], there)


def test_the_dial_moves_the_picture_the_more_softly_the_more_it_hangs_on_the_last(turbo):
    def jump(coherence, **more):
        pictures, frame, _ = run(turbo, *[request("fish", coherence=coherence, **more)] * 20)
        return change(pictures[-2], pictures[-1]), frame.figures

    still, _ = jump(0.0)
    turning, _ = jump(0.25)
    assert still == 0.0
    assert turning > 0.05
    flight, figures = jump(1.0, zoom=0.5)
    assert flight > 0.0
    assert 0.0 < figures["jumpiness_mean"] <= figures["jumpiness_max"] < 0.5


def test_the_jumpiness_meter_says_what_changed(turbo):
    pictures, frame, _ = run(turbo, *[request("fish", seed=i) for i in range(6)])
    measured = [change(a, b) / 255 for a, b in pairwise(pictures)]
    assert frame.figures["jumpiness_mean"] == pytest.approx(np.mean(measured), rel=0.05)
    assert frame.figures["jumpiness_max"] == pytest.approx(max(measured), rel=0.05)


def test_the_gpus_memory_is_told_now_and_then(turbo, monkeypatch):
    asked = []
    monkeypatch.setattr(Engine, "memory_mib", lambda _: asked.append(1) or 2048)
    for _ in range(60):
        frame, _ = turbo.render(request("fish"), None)
    assert frame.figures["gpu_memory_mib"] == 2048
    assert len(asked) == 2


def test_flight_zooms_into_the_last_picture(stocked):
    """At a strength of (almost) nothing the model gives back what it is given: only the warp is left to see."""
    generator = opened(decoder="full")
    _, _, state = run(generator, request("fish"))
    still = replace(request("fish", strength=0.02, seconds=0.1), feedback=True)  # `feedback` is a knob's name too
    stays, _, _ = run(generator, *[still] * 3, state=state)
    _, _, state = run(generator, request("fish"))
    flies, _, _ = run(generator, *[replace(still, params=still.params | {"zoom": 1.0})] * 3, state=state)
    assert change(stays[-1], flies[-1]) > 0.5
    generator.close()


def test_a_state_that_is_not_the_last_frames_begins_anew(turbo):
    again = request("fish", coherence=0.75)
    first, _, _ = run(turbo, *[again] * 4)
    _, _, old = run(turbo, again)
    run(turbo, *[again] * 3)
    second, _, _ = run(turbo, *[again] * 4, state=old)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


# -- pictures from outside -------------------------------------------------------------------------------------


def test_strength_says_how_far_a_picture_that_comes_in_is_made_anew(turbo):
    one, two = noise_picture(1), noise_picture(2)
    differences = []
    for strength in (0.1, 0.5, 1.0):
        (a, b), _, _ = run(
            turbo, request("fish", image=one, strength=strength), request("fish", image=two, strength=strength)
        )
        differences.append(change(a, b))
    assert differences[0] > differences[1] > differences[2]


@pytest.mark.parametrize("size", [(64, 64), (320, 180), (123, 77)])
def test_pictures_of_any_size_are_taken(turbo, size):
    image = np.full((size[1], size[0], 4), 120, np.uint8)
    (a,), _, _ = run(turbo, request("fish", image=image))
    assert a.shape == (HEIGHT, WIDTH, 4)


def test_frames_whose_input_hardly_changed_may_be_skipped_but_not_for_ever(turbo):
    still = request("fish", image=noise_picture(), similar=1.0)
    _, frame, state = run(turbo, still)
    before = state.serial
    _, frame, state = run(turbo, *[still] * 22, state=state)
    rendered = state.serial - before
    assert rendered == 2
    assert frame.figures["skipped_frames"] >= 20
    moving = [request("fish", image=noise_picture(i), similar=1.0) for i in range(10)]
    _, _, after = run(turbo, *moving, state=state)
    assert after.serial - state.serial >= 8


# -- sizes and decks -------------------------------------------------------------------------------------------


def test_the_size_at_which_it_thinks_changes_live_and_the_picture_stays_as_large(turbo):
    pictures, frame, _ = run(
        turbo, request("fish"), request("fish", inference_size=(96, 96)), request("fish", inference_size=(64, 136))
    )
    assert [p.shape for p in pictures] == [(HEIGHT, WIDTH, 4)] * 3
    assert (frame.figures["width"], frame.figures["height"]) == (64, 136)


def test_a_wide_picture_is_thought_at_a_sixteen_by_nine_bucket(turbo):
    assert turbo._inference_size((0, 0), 1280, 720) == (768, 432)
    assert turbo._inference_size((0, 0), 320, 180) == (320, 184)
    assert turbo._inference_size((0, 0), 1024, 1024) == (512, 512)
    width, height = turbo._inference_size((0, 0), 1080, 1920)
    assert width < height
    assert width % 8 == height % 8 == 0


def test_decks_are_crossfaded_and_the_other_one_is_the_preview(turbo):
    decks = ((("fish", 1.0),), (("moon", 1.0),))
    made = {}
    for fader in (0.0, 0.5, 1.0):
        frame, _ = turbo.render(two_decks(request("fish", "moon", crossfade=fader, decks=2.0), decks), None)
        made[fader] = frame.pixels.copy(), frame.preview.copy()
    a, b = made[0.0]
    np.testing.assert_array_equal(made[1.0][0], b)
    np.testing.assert_array_equal(made[1.0][1], a)
    middle = (a.astype(float) + b) / 2
    assert np.abs(made[0.5][0] - middle).max() <= 1.0
    assert change(a, b) > 0


# -- LoRA ------------------------------------------------------------------------------------------------------


def test_lora_weights_change_the_picture_live_and_nothing_is_rebuilt(stocked, models, tmp_path):
    tensors = read_tensors(models["sd-turbo"] / "unet")
    paths = tuple(make_lora(tmp_path, f"{i}.safetensors", tensors, seed=i) for i in (1, 2))
    generator = opened(loras=paths)
    plain = opened()
    off = {"lora_1": 0.0, "lora_2": 0.0}
    canvases = dict(generator._engine._canvases)
    programs = [dict(canvas.programs) for canvas in canvases.values()]
    (a, b, c, d), _, _ = run(generator, request("fish", **off), request("fish", **off | {"lora_1": 1.0}),
                             request("fish", **off | {"lora_2": 0.5}), request("fish", **off))  # fmt: skip
    (p,), _, _ = run(plain, request("fish"))
    np.testing.assert_array_equal(a, d)
    assert np.abs(a.astype(int) - p).max() <= 1
    assert change(a, b) > 0.3
    assert change(a, c) > 0.1
    assert generator._engine._canvases == canvases
    assert [dict(canvas.programs) for canvas in canvases.values()] == programs
    generator.close()
    plain.close()


def test_a_lora_of_another_family_is_refused_with_the_layer_that_does_not_fit(stocked, models, tmp_path):
    path = make_lora(tmp_path, "xl.safetensors", read_tensors(models["sdxl-turbo"] / "unet"))
    with pytest.raises(GeneratorError, match=r"xl\.safetensors is of another family .* it changes '.*to_k"):
        opened(loras=(path,))
    (tmp_path / "a.pt").write_bytes(b"x")
    with pytest.raises(GeneratorError, match=r"a LoRA is a \.safetensors file"):
        opened(loras=(tmp_path / "a.pt",))
    (tmp_path / "b.safetensors").write_bytes(b"not one")
    with pytest.raises(GeneratorError, match=r"b\.safetensors is damaged"):
        opened(loras=(tmp_path / "b.safetensors",))
    with pytest.raises(GeneratorError, match="no such LoRA"):
        opened(loras=(tmp_path / "c.safetensors",))


# -- what goes wrong -------------------------------------------------------------------------------------------


def test_a_missing_or_damaged_model_names_the_file(stocked, models, tmp_path):
    import shutil

    with pytest.raises(GeneratorError, match="vjserver models pull sdxs-512"):
        opened("sdxs-512")
    for part, name in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        folder = shutil.copytree(models["sd-turbo"], tmp_path / part)
        file = folder / part / f"{name}.safetensors"
        file.write_bytes(file.read_bytes()[:5000])
        with pytest.raises(GeneratorError, match=f"{part}.{name}.safetensors"):
            opened(str(folder), decoder="full")
    (folder / "unet" / "config.json").unlink()
    with pytest.raises(GeneratorError, match=r"unet has no config\.json: the download is not whole"):
        opened(str(folder))


def test_numbers_that_are_none_are_counted_told_once_and_never_shown(stocked, monkeypatch):
    generator = opened()
    (good,), _, state = run(generator, request("fish", coherence=0.6))
    decode = generator._engine._decode
    monkeypatch.setattr(generator._engine, "_decode", lambda latent: decode(latent) * float("nan"))
    told = []
    for i in range(5):
        frame, state = generator.render(request("fish", seed=i, coherence=0.6), state)
        np.testing.assert_array_equal(frame.pixels, good)
        told += frame.notices
    assert [(n.what, n.recovered) for n in told] == [("broken frames", False)]
    assert frame.figures["broken_frames"] == 5
    monkeypatch.setattr(generator._engine, "_decode", decode)
    frame, state = generator.render(request("fish", seed=9, coherence=0.6), state)
    assert [(n.what, n.recovered) for n in frame.notices] == [("broken frames", True)]
    assert change(frame.pixels, good) > 0.1
    assert np.isfinite(generator._engine.decoded.numpy()).all()
    generator.close()


def test_black_frames_are_held_back_too(stocked, monkeypatch):
    generator = opened()
    (good,), _, state = run(generator, request("fish"))
    decode = generator._engine._decode
    monkeypatch.setattr(generator._engine, "_decode", lambda latent: decode(latent) * 0.0 - 1.0)
    frame, state = generator.render(request("moon"), state)
    np.testing.assert_array_equal(frame.pixels, good)
    assert frame.figures["black_frames"] == 1
    generator.close()


def test_a_picture_that_the_hand_made_dark_is_no_fault(turbo):
    (a,), frame, _ = run(turbo, request("fish", brightness=0.0))
    assert a[..., :3].max() == 0
    assert frame.notices == ()


def test_memory_that_runs_out_steps_down_and_the_picture_goes_on(stocked, monkeypatch):
    generator = opened()
    big = {"inference_size": (512, 512)}
    real, tried = Engine.render, []

    def render(self, shape, inputs):
        tried.append((shape.width, shape.height))
        if shape.width > 420:
            raise OutOfMemoryError("GPU memory ran out")
        return real(self, shape, inputs)

    monkeypatch.setattr(Engine, "render", render)
    frame, _ = generator.render(request("fish", **big), None)
    assert tried == [(512, 512), (384, 384)]
    assert frame.pixels.shape == (HEIGHT, WIDTH, 4)
    assert [n.what for n in frame.notices] == ["GPU memory"]
    monkeypatch.setattr(Engine, "render", lambda *_: (_ for _ in ()).throw(OutOfMemoryError("GPU memory ran out")))
    with pytest.raises(GeneratorError, match="no smaller size to try"):
        generator.render(request("fish", **big), None)
    generator.close()


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), GeneratorError),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), WorkerFault),
    ],
)
def test_torchs_faults_are_told_apart(stocked, monkeypatch, fault, raised):
    generator = opened()

    def fail(*_):
        raise fault

    monkeypatch.setattr(generator._engine, "_unet", fail)
    with pytest.raises(raised):  # memory steps down as long as it can
        generator.render(request("fish"), None)
    generator.close()


def test_a_fault_of_our_own_is_not_hidden(stocked, monkeypatch):
    generator = opened()
    monkeypatch.setattr(generator._engine, "_unet", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        generator.render(request("fish"), None)
    generator.close()


def test_what_has_no_room_beforehand_takes_nothing_that_has(stocked, monkeypatch):
    generator = opened(prompts=())
    real, made = Engine.ready, []

    def ready(self, shape, steps, *more):
        if shape.decks == 2:
            self.free()
            raise OutOfMemoryError("GPU memory ran out")
        made.append((shape.decks, steps))
        return real(self, shape, steps, *more)

    monkeypatch.setattr(Engine, "ready", ready)
    generator.warm_up(WIDTH, HEIGHT)
    assert made[-2:] == [(1, 1), (1, 2)]
    assert len(generator._engine._canvases) == 1
    frame, _ = generator.render(request("fish"), None)
    assert [n.what for n in frame.notices] == ["GPU memory"] * 2
    generator.close()


def test_the_governor_holds_the_rate_and_tells_each_step(stocked):
    generator = opened(target_fps=1000.0)
    state, told = None, []
    for _ in range(60):
        frame, state = generator.render(request("fish", steps=4, inference_size=(320, 320)), state)
        told += [n.why for n in frame.notices if n.what == "frame rate"]
    assert told
    assert "down to 320x320, 3 steps" in told[0]
    assert frame.figures["steps"] < 4
    generator.close()


# -- the safety filter -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A tiny random ViT in the transformers layout that tells 'normal' from 'nsfw'."""
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vit")
    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32,
                       patch_size=16, id2label={0: "normal", 1: "nsfw"}, label2id={"normal": 0, "nsfw": 1})  # fmt: skip
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("fallback", ["previous", "blank"])
def test_the_filter_holds_back_what_it_finds_unsafe(stocked, classifier, fallback):
    generator = opened(safety={"model": str(classifier), "fallback": fallback})
    (good,), _, state = run(generator, request("fish", safety=1.0))
    frame, state = generator.render(request("moon", safety=0.0), state)
    if fallback == "previous":
        np.testing.assert_array_equal(frame.pixels, good)
    else:
        assert frame.pixels[..., :3].max() == 0
    assert frame.figures["unsafe_frames"] == 1
    frame, state = generator.render(request("moon", safety=1.0), state)
    assert change(frame.pixels, good) > 0
    generator.close()


def test_the_filters_score_is_that_of_transformers(stocked, classifier):
    from PIL import Image
    from transformers import AutoModelForImageClassification, ViTImageProcessorPil

    from vjserver.generators.diffusion.safety import Classifier

    ours = Classifier(str(classifier), ("nsfw",), torch.device("cpu"), torch.float32)
    picture = noise_picture(3, (64, 64))[..., :3]
    network = AutoModelForImageClassification.from_pretrained(classifier)
    prepared = ViTImageProcessorPil.from_pretrained(classifier)(Image.fromarray(picture), return_tensors="pt")
    with torch.inference_mode():
        want = network(**prepared).logits.softmax(-1)[0, 1]
        got = ours(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255.0)
    assert float(got) == pytest.approx(float(want), abs=0.01)


def test_a_filter_without_an_unsafe_label_is_refused(stocked, classifier):
    with pytest.raises(GeneratorError, match="has no label of hotdog; it has normal, nsfw"):
        opened(safety={"model": str(classifier), "labels": ("hotdog",)})


# -- options ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "why"),
    [({"modell": "x"}, "unknown key 'modell'; nearest: model"), ({"device": "tpu"}, "device"),
     ({"loras": ["a", "b", "c", "d", "e"]}, "loras"), ({"safety": {}}, "safety.model")],
)  # fmt: skip
def test_wrong_options_are_told_before_anything_is_loaded(given, why):
    with pytest.raises(ConfigError, match=why):
        options_of("generators", {"kind": "diffusion", **given})


def test_a_device_that_is_not_there_is_told(stocked):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(GeneratorError, match="finds no cuda device: see 'Use your GPU'"):
        DiffusionGenerator(DiffusionOptions(model="sd-turbo", device="cuda")).open()


def test_half_precision_is_the_kind_that_rounds_less():
    from vjserver.generators.captured import choose_dtype

    assert choose_dtype("auto", torch.device("cuda")) == torch.float16
    assert choose_dtype("auto", torch.device("cpu")) == torch.float32
    assert choose_dtype("bfloat16", torch.device("cuda")) == torch.bfloat16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_half_precision_engine_runs_on_the_cpu_and_is_near_the_full_one(stocked, dtype):
    """Not how anybody would play, but the casts are those of a GPU."""
    half, full = opened(dtype=dtype), opened()
    wanted = [request("fish"), request("fish", image=noise_picture(), strength=0.5), request("fish", coherence=0.9)]
    for a, b in zip(run(half, *wanted)[0], run(full, *wanted)[0], strict=True):
        assert change(a, b) < (2.0 if dtype == "float16" else 12.0)
    half.close()
    full.close()


def test_bad_frames_without_end_make_way_for_somebody_else(stocked, monkeypatch):
    generator = opened()
    decode = generator._engine._decode
    broken = lambda latent: decode(latent) * float("nan")  # noqa: E731
    state = None
    monkeypatch.setattr(generator._engine, "_decode", broken)
    for _ in range(2):
        _, state = generator.render(request("fish"), state)
    with pytest.raises(GeneratorError, match="3 frames in a row: numbers that are none"):
        generator.render(request("fish"), state)
    monkeypatch.setattr(generator._engine, "_decode", decode)
    _, state = generator.render(request("fish"), None)
    monkeypatch.setattr(generator._engine, "_decode", broken)
    for _ in range(89):
        _, state = generator.render(request("fish"), state)
    with pytest.raises(GeneratorError, match="90 frames in a row"):
        generator.render(request("fish"), state)
    generator.close()


def test_a_compiler_that_fails_is_told_and_the_picture_goes_on(stocked, monkeypatch):
    generator = opened(prompts=())
    engine = generator._engine

    def fail(*_):
        raise RuntimeError("Triton: no kernel for this card\nand a long story")

    engine.compiled, engine._fused = True, (fail, fail, fail)
    engine.free()
    generator.warm_up(WIDTH, HEIGHT, ("fish",))
    frame, _ = generator.render(request("fish"), None)
    assert [n.why for n in frame.notices if n.what == "diffusion speed"] == [
        "torch.compile failed, frames are captured but not fused: Triton: no kernel for this card"
    ]
    assert frame.pixels[..., :3].std() > 5
    generator.close()


def test_what_was_made_ready_is_compiled_and_a_new_size_in_the_show_is_not(stocked):
    """A compilation takes longer than anybody in front of the screen will wait."""
    generator = opened(prompts=())
    engine = generator._engine
    calls = []

    def fused(*args):
        calls.append("unet")
        return engine._unet(*args)

    engine.compiled, engine._fused = True, (fused, engine._encode, engine._decode)
    engine.free()
    generator.warm_up(WIDTH, HEIGHT, ("fish",))
    _, state = generator.render(request("fish"), None)
    made_ready = len(calls)
    assert made_ready > 0
    generator.render(request("fish", inference_size=(72, 72)), state)
    assert len(calls) == made_ready
    generator.close()


def test_without_torch_everything_but_diffusion_is_there_and_it_says_what_to_install(models):
    """``pip install vjserver`` brings no torch: the show, its options and the store must not need it."""
    import subprocess
    import sys

    code = (
        "import sys\n"
        "for name in ('torch', 'diffusers', 'transformers', 'huggingface_hub'): sys.modules[name] = None\n"
        "import vjserver.app.generate, vjserver.app.offline, vjserver.commands.doctor\n"
        "from vjserver.generators import store\n"
        "from vjserver.generators.diffusion.generator import DiffusionGenerator\n"
        "from vjserver.generators.diffusion.options import DiffusionOptions\n"
        "from vjserver.types.errors import ConfigError, GeneratorError\n"
        "store.models()\n"
        "for call in (DiffusionGenerator(DiffusionOptions(model=sys.argv[1])).open, lambda: store.pull('taesd')):\n"
        "    try: call()\n"
        "    except (GeneratorError, ConfigError) as error: print(error)\n"
    )
    folder = str(models["sd-turbo"])  # one that is not here is told before torch is looked for
    run = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("pip install 'vjserver[diffusion]'") == 2


@pytest.mark.parametrize("name", ["turbo", "lcm"])
def test_whatever_is_asked_a_whole_frame_comes(request_seed, name, turbo, lcm):
    """A random walk through every knob, size, picture and prompt; the picture is always whole and opaque."""
    draw, generator, state = random.Random(request_seed), {"turbo": turbo, "lcm": lcm}[name], None
    texts = ["fish", "moon", "", "new 1", "new 2", "é☃" * 60]
    width, height = WIDTH, HEIGHT
    for i in range(60):

        def row():
            return tuple((draw.choice(texts), draw.uniform(0.001, 1.0)) for _ in range(draw.randrange(4)))

        def turned(knobs):
            return {p.name: draw.choice([p.low, p.high, p.default, draw.uniform(p.low, p.high)]) for p in knobs}

        params, own = turned(COMMON.values()), turned(INFO.parameters)
        if draw.random() < 0.05:
            width, height = draw.choice([(WIDTH, HEIGHT), (66, 64), (33, 91)])
        image = None
        if draw.random() < 0.4:
            size = draw.randrange(1, 90), draw.randrange(1, 90), 4
            image = np.random.default_rng(i).integers(0, 256, size, dtype=np.uint8)
        asked = FrameRequest(
            i, width, height, TextConditioning(row(), (row(), row()), draw.choice(["", "moon"])), params,
            draw.choice([1, 2, 2**31 - 1]), draw.choice([0.0, 1 / 30, 0.25]), own=own, image=image,
            travel_s=draw.choice([0.0, 0.5]), feedback=draw.random() < 0.2,
            inference_size=draw.choice([(0, 0), (64, 64), (72, 104)]),
        )  # fmt: skip
        frame, state = generator.render(asked, state if draw.random() < 0.95 else None)
        assert frame.pixels.shape == (height, width, 4)
        assert (frame.pixels[..., 3] == 255).all()
        assert frame.preview is None or frame.preview.shape == (height, width, 4)
        assert {n.what for n in frame.notices} <= {"prompt", "negative prompt", "model sd-turbo", "model lcm"}


@pytest.fixture(params=[1, 2])
def request_seed(request):
    return request.param


def test_what_a_lora_changes_in_the_text_encoder_is_left_out_and_told(stocked, models, tmp_path):
    from safetensors.torch import load_file, save_file

    path = make_lora(tmp_path, "both.safetensors", read_tensors(models["sd-turbo"] / "unet"))
    more = {f"text_encoder.layer.lora_{end}.weight": torch.zeros(4, 4) for end in "AB"}
    save_file(load_file(path) | more, path)
    generator = opened(loras=(path,))
    frame, _ = generator.render(request("fish"), None)
    assert any("2 tensors are not of the UNet (text encoder) and are left out" in n.why for n in frame.notices)
    generator.close()


def test_that_a_model_is_not_here_is_said_without_importing_torch(tmp_path):
    """torch takes seconds and 350 MB."""
    code = (
        "import sys; from vjserver.generators.diffusion.generator import DiffusionGenerator as G\n"
        "from vjserver.generators.diffusion.options import DiffusionOptions as O\n"
        "try: G(O(model='sd-turbo')).open()\n"
        "except Exception as error: print(error, 'torch' in sys.modules)"
    )
    env = {**os.environ, "VJSERVER_DATA": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout
    assert said.strip() == "model 'sd-turbo' is not here yet: vjserver models pull sd-turbo False"


# -- pictures that stay on the device ------------------------------------------------------------------------------


def test_a_picture_that_lies_on_the_device_is_started_from_as_one_of_the_hosts(turbo):
    import torch

    for size in ((HEIGHT, WIDTH), (100, 170), (30, 40)):
        image = np.random.default_rng(3).integers(0, 256, (*size, 4), dtype=np.uint8)
        image = np.repeat(np.repeat(image[::4, ::4], 4, 0), 4, 1)[: size[0], : size[1]].copy()
        asked = request("fish", strength=0.5)
        host, _ = turbo.render(replace(asked, image=image), None)
        host = np.array(host.pixels)
        device, _ = turbo.render(replace(asked, image=torch.from_numpy(image)), None)
        apart = np.abs(host.astype(int) - device.pixels.astype(int))
        assert apart.mean() < (0.01 if size == (HEIGHT, WIDTH) else 3.0), size


def test_where_it_is_asked_for_the_picture_is_there_on_the_device_too(turbo):
    asked = request("fish")
    frame, state = turbo.render(replace(asked, where="device"), None)
    assert (np.from_dlpack(frame.device) == frame.pixels).all()
    again, _ = turbo.render(request("moon", seed=5), state)
    assert again.device is None
    assert (np.from_dlpack(frame.device) != again.pixels).any(), "it is a copy of its own"
