"""Checkpoints in one file: tiny models are written as their makers' programs would, and taken apart again."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import save_file

from bench import random_models
from bench.random_models import tokenizer
from vjserver.generators import store
from vjserver.generators.diffusion import singlefile
from vjserver.generators.diffusion.singlefile import FAMILIES, family_of, predicts_v, read_header, write_layout
from vjserver.types.errors import ConfigError, GeneratorError

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0", "conv2": "out_layers.3",
          "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection"}  # fmt: skip
HEAD = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_norm_out": "out.0",
        "conv_in": "input_blocks.0.0", "conv_out": "out.2", "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2"}  # fmt: skip
OPEN = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj"}  # fmt: skip


def renamed(name, table):
    return next((name.replace(old, new, 1) for old, new in table.items() if f"{old}." in name), name)


def unet_name(name):
    """Return what CompVis' program calls a weight of diffusers' UNet (two ResNets a block)."""
    found = re.match(r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.*)", name)
    if found:
        side, block, kind, number, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
        if kind == "downsamplers":
            return f"input_blocks.{3 * block + 3}.0.op.{rest.removeprefix('conv.')}"
        if kind == "upsamplers":
            return f"output_blocks.{3 * block + 2}.UP.{rest}"
        where = f"input_blocks.{3 * block + number + 1}" if side == "down" else f"output_blocks.{3 * block + number}"
        return f"{where}.{int(kind == 'attentions')}.{renamed(rest, RESNET) if kind == 'resnets' else rest}"
    found = re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name)
    if found:
        if found[1] == "attentions":
            return f"middle_block.1.{found[3]}"
        return f"middle_block.{2 * int(found[2])}.{renamed(found[3], RESNET)}"
    return renamed(name, HEAD)


def vae_name(name):
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{3 - int(m[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0", "mid.attn_1")
    for old, new in {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}.items():
        name = name.replace(f"attn_1.{old}", f"attn_1.{new}")
    return name


def open_clip(state):
    """Return a text encoder's weights as OpenCLIP lays them out."""
    state = {name.removeprefix("text_model."): value for name, value in state.items()}
    told = {"token_embedding.weight": state["embeddings.token_embedding.weight"],
            "positional_embedding": state["embeddings.position_embedding.weight"],
            "ln_final.weight": state["final_layer_norm.weight"],
            "ln_final.bias": state["final_layer_norm.bias"]}  # fmt: skip
    if "text_projection.weight" in state:
        told["text_projection"] = state["text_projection.weight"].T.contiguous()
    for name, value in state.items():
        found = re.match(r"encoder\.layers\.(\d+)\.(.*)", name)
        if not found:
            continue
        where, rest = f"transformer.resblocks.{found[1]}", found[2]
        if rest.startswith(("self_attn.k_proj", "self_attn.v_proj")):
            continue
        if rest.startswith("self_attn.q_proj"):
            kind = rest.rpartition(".")[2]
            three = [state[name.replace("q_proj", f"{one}_proj")] for one in "qkv"]
            told[f"{where}.attn.in_proj_{kind}"] = torch.cat(three)
        else:
            told[f"{where}.{renamed(rest, OPEN)}"] = value
    return told


def single(pipeline, family):
    """Return a pipeline's weights as one checkpoint."""
    told, unet = {}, {unet_name(name): value for name, value in pipeline.unet.state_dict().items()}
    for name, value in unet.items():
        place = name.partition(".UP.")[0]
        has_attention = any(other.startswith(f"{place}.1.") for other in unet)
        told["model.diffusion_model." + name.replace(".UP.", f".{1 + has_attention}.")] = value
    for name, value in pipeline.vae.state_dict().items():
        is_dense = "attn_1" in vae_name(name) and value.dim() == 2
        told["first_stage_model." + vae_name(name)] = value[..., None, None] if is_dense else value
    clip = pipeline.text_encoder.state_dict()
    if family == "sd21":
        told |= {f"cond_stage_model.model.{name}": value for name, value in open_clip(clip).items()}
    else:
        where = "cond_stage_model" if family == "sd15" else "conditioner.embedders.0"
        told |= {f"{where}.transformer.text_model.{n.removeprefix('text_model.')}": v for n, v in clip.items()}
    if family == "sdxl":
        second = open_clip(pipeline.text_encoder_2.state_dict())
        told |= {f"conditioner.embedders.1.model.{name}": value for name, value in second.items()}
    return {name: value.clone().contiguous() for name, value in told.items()}


def tiny(monkeypatch, name):
    """Return a tiny pipeline; the second text encoder is of another width than the first, as it is in the real one."""
    plain = random_models._tiny

    def widths(layout):
        made = plain(layout)
        if made.text2 is not None:
            made.text2.update(hidden_size=24, projection_dim=24, intermediate_size=48)
            made.unet.update(cross_attention_dim=40, projection_class_embeddings_input_dim=24 + 6 * 8)
        return made

    monkeypatch.setattr(random_models, "_tiny", widths)
    return random_models._pipeline(name, False, 3)


NAMES = {"sd15": "sd15", "sd21": "sd-turbo", "sdxl": "sdxl-turbo"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path / "data"))
    return tmp_path


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_checkpoint_becomes_the_model_that_it_was(home, monkeypatch, family):
    pipeline = tiny(monkeypatch, NAMES[family])
    pipeline.save_pretrained(home / "layout")
    save_file(single(pipeline, family), home / "My Model v2.safetensors")
    real = singlefile.write_layout

    def small(folder, kind, velocity):
        assert kind == family
        real(folder, kind, velocity)
        for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
            if (home / "layout" / part).is_dir():
                shutil.copyfile(home / "layout" / part / "config.json", folder / part / "config.json")

    monkeypatch.setattr(singlefile, "write_layout", small)
    vocabulary = home / "data" / "models" / "other" / "tokenizer"
    vocabulary.mkdir(parents=True)
    words = tokenizer(514, 77).get_vocab()
    (vocabulary / "vocab.json").write_text(json.dumps(words))
    (vocabulary / "merges.txt").write_text("#version: 0.2\n")
    (vocabulary.parent / "vjserver.json").write_text('{"source": "x", "licence": "x", "files": {}}')
    model, remarks = store.add(home / "My Model v2.safetensors")
    assert model.name == "my-model-v2"
    assert ("768-v" in "".join(remarks)) == (family == "sd21")
    kind = type(pipeline)
    back = kind.from_pretrained(model.folder, local_files_only=True)
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        before, after = getattr(pipeline, part, None), getattr(back, part, None)
        if before is None:
            continue
        assert before.state_dict().keys() == after.state_dict().keys()
        for name, value in before.state_dict().items():
            assert torch.equal(after.state_dict()[name].float(), value), name
    ids = back.tokenizer("a red fish").input_ids
    assert ids == pipeline.tokenizer("a red fish").input_ids
    assert store.verify(model) == []
    assert not list((home / "data" / "models").glob(".*")), "nothing is left of the work"


COUNTS = {"sd15": (859_520_964, [123_060_480]), "sd21": (865_910_724, [340_387_840]),
          "sdxl": (2_567_463_684, [123_060_480, 694_659_840])}  # fmt: skip
"""Parameters of the published models: UNet, text encoders."""


@pytest.mark.parametrize("family", list(FAMILIES))
def test_the_layouts_are_those_of_the_published_models(tmp_path, family):
    from accelerate import init_empty_weights
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    write_layout(tmp_path, family, False)
    unet, texts = COUNTS[family]
    with init_empty_weights():
        made = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(tmp_path / "unet"))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(tmp_path / "vae"))
        encoders = [
            kind(CLIPTextConfig.from_pretrained(tmp_path / part))
            for part, kind in (("text_encoder", CLIPTextModel), ("text_encoder_2", CLIPTextModelWithProjection))
            if (tmp_path / part).is_dir()
        ]
    assert sum(p.numel() for p in made.parameters()) == unet
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863
    assert [sum(p.numel() for p in one.parameters()) for one in encoders] == texts


def header(**more):
    plain = {singlefile.FIRST: {"shape": [320, 4, 3, 3], "dtype": "F16"},
             "cond_stage_model.transformer.x": {"shape": [1]}}  # fmt: skip
    return {**plain, **more}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"lora_unet_x.lora_down.weight": {}}, "is a LoRA"),
        ({"decoder.conv_in.weight": {}}, "a decoder"),
        ({"double_blocks.0.x": {}}, "no checkpoint of Stable Diffusion 1, 2 or XL"),
        (header(**{singlefile.FIRST: {"shape": [320, 9, 3, 3]}}), "inpainting"),
        (header(**{singlefile.FIRST: {"shape": [320, 8, 3, 3]}}), "editing"),
        ({singlefile.FIRST: {"shape": [320, 4, 3, 3]}}, "no text encoder"),
        ({singlefile.FIRST: {"shape": [320, 4, 3, 3]}, "conditioner.embedders.0.model.positional_embedding": {}},
         "refiner"),
    ],
)  # fmt: skip
def test_what_cannot_be_played_is_refused_by_its_header(tmp_path, rows, says):
    with pytest.raises(ConfigError, match=says):
        family_of(tmp_path / "x.safetensors", rows)


def test_velocity_is_read_from_the_file_or_from_the_yaml_beside_it(tmp_path):
    path = tmp_path / "x.safetensors"
    assert not predicts_v(path, header())
    assert predicts_v(path, header(v_pred={"shape": [0]}))
    assert predicts_v(path, header(__metadata__={"modelspec.prediction_type": "v"}))
    path.with_suffix(".yaml").write_text('model:\n  params:\n    parameterization: "v"\n')
    assert predicts_v(path, header())


def test_files_that_are_none_are_told(home, monkeypatch):
    (home / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    with pytest.raises(ConfigError, match="damaged or cut off"):
        store.add(home / "cut.safetensors")
    with pytest.raises(ConfigError, match="no such"):
        store.add(home / "none.safetensors")
    save_file({"a": torch.zeros(2)}, home / "a.safetensors")
    with pytest.raises(ConfigError, match="no checkpoint"):
        store.add(home / "a.safetensors")
    with pytest.raises(GeneratorError, match="vjserver models add"):
        store.find_model(str(home / "a.safetensors"))
    assert read_header(home / "a.safetensors")["a"]["shape"] == [2]
    fake = header(**{"x": {"shape": [1]}})
    monkeypatch.setattr(singlefile, "read_header", lambda _path: fake)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match="CLIP's vocabulary is not in the file"):
        store.add(home / "a.safetensors")
    assert not list((home / "data" / "models").glob("*")), "a model that failed leaves nothing"
