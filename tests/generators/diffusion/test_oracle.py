"""Our frames beside those of diffusers' own pipelines, on the same weights, prompt, noise and steps."""

import diffusers
import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from bench.random_models import make_lora
from vjserver.generators.diffusion.canvas import Inputs, Shape
from vjserver.generators.diffusion.engine import Engine
from vjserver.generators.diffusion.layers import Weights
from vjserver.generators.diffusion.lora import read_loras
from vjserver.generators.diffusion.model import load, read_tensors
from vjserver.generators.diffusion.options import DiffusionOptions
from vjserver.generators.diffusion.text import blend
from vjserver.generators.diffusion.unet import UNet
from vjserver.types.errors import GeneratorError

NAMES = ("sd-turbo", "lcm", "sdxl-turbo", "sdxs", "sd15")
WIDTH, HEIGHT, SEED, STRENGTH = 96, 72, 5, 0.5
GUIDANCE = {"lcm": 8.5, "sd15": 3.0}
PIPELINES = {
    "lcm": (diffusers.LatentConsistencyModelPipeline, diffusers.LatentConsistencyModelImg2ImgPipeline),
    "sdxl-turbo": (diffusers.StableDiffusionXLPipeline, diffusers.StableDiffusionXLImg2ImgPipeline),
}
PLAIN = (diffusers.StableDiffusionPipeline, diffusers.StableDiffusionImg2ImgPipeline)
SHAPE = Shape(WIDTH, HEIGHT, WIDTH, HEIGHT)


@pytest.fixture(scope="module", params=NAMES)
def case(request, models):
    """A model's name, our engine, and a maker of diffusers' pipelines for it."""
    name = request.param
    engine = Engine(load(DiffusionOptions(model=str(models[name]), device="cpu", decoder="full")), compile_frames=False)

    def pipeline(from_picture):
        kind = PIPELINES.get(name, PLAIN)[from_picture]
        more = {} if name == "sdxl-turbo" else {"safety_checker": None}
        made = kind.from_pretrained(str(models[name]), local_files_only=True, **more)
        if name == "sd15":  # ours samples base models as Euler with trailing timesteps
            made.scheduler = diffusers.EulerDiscreteScheduler.from_config(
                made.scheduler.config, timestep_spacing="trailing"
            )
        made.set_progress_bar_config(disable=True)
        return made

    return name, engine, pipeline


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)


def ours(engine, prompts, steps, guidance, picture=None, shape=SHAPE, decks=None, loras=()):
    """Render one frame; return it as float32 (height, width, 3), 0..1, before 8 bits."""
    sampled = picture is not None and engine.parts.decoder.samples
    eps, noise = engine.drawn(SEED, WIDTH, HEIGHT, sampled)
    rows = decks or [[(engine.parts.text(text), weight) for text, weight in prompts]]
    engine.render(
        shape,
        Inputs(
            rows, engine.parts.sampler.schedule(steps, STRENGTH, picture is not None), (noise, noise),
            negative=engine.parts.text(""), guidance=guidance, image=picture, eps=eps, loras=loras,
        ),
    )  # fmt: skip
    return engine.decoded.permute(0, 2, 3, 1).numpy().copy()


def theirs(pipeline, name, steps, picture=None, prompt="a red fish", **more):
    given = {"generator": torch.Generator("cpu").manual_seed(SEED), "output_type": "np"}
    if prompt is not None:
        given["prompt"] = prompt
    given["guidance_scale"] = GUIDANCE.get(name, 0.0)
    if picture is None:
        given |= {"width": WIDTH, "height": HEIGHT, "num_inference_steps": steps}
    else:
        image = torch.from_numpy(picture[..., :3].copy()).permute(2, 0, 1)[None].float() / 255.0
        calls = steps if name == "lcm" else round(steps / STRENGTH)
        given |= {"image": image, "strength": STRENGTH, "num_inference_steps": calls}
    with torch.no_grad():
        return pipeline(**given, **more).images[0]


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_picture_from_noise_is_that_of_diffusers(case, steps):
    name, engine, pipeline = case
    want = theirs(pipeline(False), name, steps)
    got = ours(engine, [("a red fish", 1.0)], steps, GUIDANCE.get(name, 1.0))[0]
    assert np.abs(want - got).max() <= 2e-3
    other = ours(engine, [("mountains, blue night", 1.0)], steps, GUIDANCE.get(name, 1.0))[0]
    assert np.abs(want - other).max() > 5e-3  # the comparison would see another prompt


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_picture_from_a_picture_is_that_of_diffusers(case, picture, steps):
    name, engine, pipeline = case
    want = theirs(pipeline(True), name, steps, picture)
    got = ours(engine, [("a red fish", 1.0)], steps, GUIDANCE.get(name, 1.0), picture)[0]
    assert np.abs(want - got).max() <= 2e-3


def test_a_blend_of_prompts_is_what_diffusers_makes_of_the_blended_embeddings(case):
    name, engine, pipeline = case
    rows = [("a red fish", 0.75), ("mountains, blue night", 0.5)]
    made = pipeline(False)
    xl, guided = name == "sdxl-turbo", name == "sd15"
    options = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": guided}
    encoded = [made.encode_prompt(text, **options) for text, _ in rows]
    weights = torch.tensor([[weight for _, weight in rows]])
    more = {"prompt_embeds": blend(torch.cat([e[0] for e in encoded]), weights)}
    if guided:
        more["negative_prompt_embeds"] = encoded[0][1]
    if xl:
        more["pooled_prompt_embeds"] = blend(torch.cat([e[2] for e in encoded])[:, None], weights)[:, 0]
    want = theirs(made, name, 2, prompt=None, **more)
    got = ours(engine, rows, 2, GUIDANCE.get(name, 1.0))[0]
    assert np.abs(want - got).max() <= 2e-3
    assert np.abs(got - ours(engine, rows[:1], 2, GUIDANCE.get(name, 1.0))[0]).max() > 1e-3


def test_decks_rendered_together_are_those_rendered_alone(case):
    name, engine, _ = case
    texts = ("a red fish", "mountains, blue night")
    rows = [[(engine.parts.text(text), 1.0)] for text in texts]
    guidance = GUIDANCE.get(name, 1.0)
    both = ours(engine, None, 1, guidance, shape=Shape(WIDTH, HEIGHT, WIDTH, HEIGHT, 2), decks=rows)
    for deck, text in zip(both, texts, strict=True):
        # kernels for two pictures may round otherwise than those for one: a step of eight bits is forty times that
        np.testing.assert_allclose(deck, ours(engine, [(text, 1.0)], 1, guidance)[0], atol=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (96, 72), (104, 56), (128, 120)])
def test_our_unet_is_theirs_at_every_size(models, size):
    for name in NAMES:
        reference = UNet2DConditionModel.from_pretrained(str(models[name] / "unet"), local_files_only=True)
        unet = UNet(dict(reference.config), Weights(reference.state_dict()))
        draw = torch.Generator().manual_seed(1)
        latent = torch.randn(2, 4, size[1] // 8, size[0] // 8, generator=draw)
        tokens = torch.randn(2, 77, reference.config.cross_attention_dim, generator=draw)
        times, guidance, lora = torch.tensor([999.0, 259.0]), torch.tensor([7.5, 2.0]), torch.zeros(2, 1)
        more, pooled, ids = {}, None, None
        if name == "sdxl-turbo":
            pooled, ids = torch.randn(2, 16, generator=draw), torch.tensor([[64.0, 96, 0, 0, 64, 96]] * 2)
            more["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": ids}
        if name == "lcm":
            embed = diffusers.LatentConsistencyModelPipeline.get_guidance_scale_embedding
            more["timestep_cond"] = embed(None, guidance - 1.0, 256)
        with torch.inference_mode():
            want = reference(latent, times, tokens, **more).sample
            got = unet(
                latent, unet.time_biases(times, guidance, pooled, ids, lora), unet.keys_values(tokens, lora), lora
            )
        torch.testing.assert_close(got, want, atol=2e-5, rtol=1e-4)


def test_keys_and_values_of_a_blend_are_the_blend_of_keys_and_values(models):
    unet = load(DiffusionOptions(model=str(models["sd-turbo"]), device="cpu")).unet
    tokens, lora = torch.randn(3, 77, 16, generator=torch.Generator().manual_seed(2)), torch.zeros(3, 1)
    weights = torch.tensor([0.2, 0.5, 0.3])
    with torch.inference_mode():
        each = unet.keys_values(tokens, lora)
        mixed = unet.keys_values(torch.einsum("p,ptw->tw", weights, tokens)[None], lora[:1])
    torch.testing.assert_close(mixed[0], torch.einsum("p,ptw->tw", weights, each), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("naming", ["peft", "kohya"])
def test_loras_change_the_picture_as_diffusers_has_it_at_any_weight(models, tmp_path, naming):
    tensors = read_tensors(models["sd-turbo"] / "unet")
    paths = [make_lora(tmp_path, f"{i}.safetensors", tensors, rank=3, seed=i) for i in (1, 2)]
    given = [_kohya(path) for path in paths] if naming == "kohya" else paths
    branches, remarks = read_loras(given, tensors)
    assert not remarks
    reference = UNet2DConditionModel.from_pretrained(str(models["sd-turbo"] / "unet"), local_files_only=True)
    unet = UNet(dict(reference.config), Weights(tensors, branches))
    for path, name in zip(paths, "ab", strict=True):
        reference.load_lora_adapter(str(path), adapter_name=name, prefix="unet")
    draw = torch.Generator().manual_seed(3)
    latent, tokens = torch.randn(1, 4, 8, 8, generator=draw), torch.randn(1, 77, 16, generator=draw)
    times, guidance = torch.tensor([499.0]), torch.ones(1)
    plain = None
    for weights in ([0.0, 0.0], [1.0, 0.0], [0.3, 0.8], [0.0, 2.0]):
        reference.set_adapters(["a", "b"], weights)
        lora = torch.tensor([weights])
        with torch.inference_mode():
            want = reference(latent, times, tokens).sample
            got = unet(
                latent, unet.time_biases(times, guidance, None, None, lora), unet.keys_values(tokens, lora), lora
            )
        torch.testing.assert_close(got, want, atol=5e-5, rtol=1e-3)
        plain = got if plain is None else plain
    assert (got - plain).abs().max() > 1e-2


def _kohya(path):
    """Write a LoRA under kohya's names, with alphas that halve it, and matrices that make up for that."""
    from safetensors.torch import load_file, save_file

    renamed = {}
    for key, tensor in load_file(path).items():
        layer, _, end = key.removeprefix("unet.").rpartition(".lora_")
        stem = "lora_unet_" + layer.replace(".", "_")
        if end == "A.weight":
            renamed[f"{stem}.lora_down.weight"] = tensor * 2.0
            renamed[f"{stem}.alpha"] = torch.tensor(tensor.shape[0] / 2.0)
        else:
            renamed[f"{stem}.lora_up.weight"] = tensor
    target = path.with_name(f"kohya-{path.name}")
    save_file(renamed, target)
    return target


@pytest.mark.parametrize("name", NAMES)
def test_old_configurations_that_leave_out_defaults_are_read_alike(models, name):
    """SD1.5 was saved before most keys of today's configuration existed."""
    import inspect
    import json

    config = json.loads((models[name] / "unet" / "config.json").read_text())
    defaults = {k: p.default for k, p in inspect.signature(UNet2DConditionModel.__init__).parameters.items()}
    old = {
        key: value
        for key, value in config.items()
        if key in ("down_block_types", "block_out_channels")
        or json.dumps(value) != json.dumps(defaults.get(key, "none"))
    }
    assert len(old) < len(config) / 2
    tensors = read_tensors(models[name] / "unet")
    new, older = UNet(config, Weights(tensors)), UNet(old, Weights(tensors))
    draw = torch.Generator().manual_seed(4)
    latent, lora = torch.randn(1, 4, 8, 8, generator=draw), torch.zeros(1, 1)
    times = torch.randn(1, new.times.weight.shape[0], generator=draw)
    prompt = torch.randn(1, 77, new.prompts.weight.shape[0], generator=draw)
    with torch.inference_mode():
        torch.testing.assert_close(older(latent, times, prompt, lora), new(latent, times, prompt, lora), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"in_channels": 9}, "4 input channels: got 9"),
        ({"class_embed_type": "timestep"}, "class_embed_type = None: got 'timestep'"),
        ({"addition_embed_type": "image"}, "addition_embed_type"),
        ({"only_cross_attention": True}, "only_cross_attention"),
    ],
)
def test_unets_of_other_families_are_refused_by_name(models, change, why):
    reference = UNet2DConditionModel.from_pretrained(str(models["sd-turbo"] / "unet"), local_files_only=True)
    with pytest.raises(GeneratorError, match=why):
        UNet({**reference.config, **change}, Weights(reference.state_dict()))


def test_weights_that_do_not_fit_their_configuration_are_named(models):
    reference = UNet2DConditionModel.from_pretrained(str(models["sd-turbo"] / "unet"), local_files_only=True)
    weights = dict(reference.state_dict())
    with pytest.raises(GeneratorError, match=r"1 weights of no known use, such as 'extra\.weight'"):
        UNet(dict(reference.config), Weights({**weights, "extra.weight": torch.zeros(1)}))
    del weights["mid_block.resnets.1.conv2.weight"]
    with pytest.raises(GeneratorError, match=r"lack 'mid_block\.resnets\.1\.conv2\.weight'"):
        UNet(dict(reference.config), Weights(weights))


def test_the_tokenizer_files_of_older_models_are_read_alike(models, tmp_path):
    import json
    import shutil

    folder = shutil.copytree(models["lcm"], tmp_path / "old")
    table = json.loads((folder / "tokenizer" / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer" / "tokenizer.json").unlink()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(table))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    old = load(DiffusionOptions(model=str(folder), device="cpu")).text("a red fish")
    new = load(DiffusionOptions(model=str(models["lcm"]), device="cpu")).text("a red fish")
    torch.testing.assert_close(old.tokens, new.tokens)
