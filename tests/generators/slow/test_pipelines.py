"""Foreign pipelines through our door beside direct calls of diffusers: the same numbers; and what is refused."""

import json
import shutil
from pipes import pipeline

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from vjserver.generators.frames import RULES
from vjserver.generators.layout import kind_of, player_of
from vjserver.generators.pipeline_kinds import CLIPS, PICTURES, Ask, Habit
from vjserver.generators.pipelines import open_clips, open_pictures, text_of
from vjserver.generators.shelves import FAMILIES
from vjserver.types.errors import GeneratorError
from vjserver.types.frames import FrameRequest, TextConditioning

SIZE = {"width": 32, "height": 32}
ASK = Ask("a sea of glass", "", 5, 32, 32, 2, 3.0)


def direct(kind, **given):
    """Return what diffusers makes of the same folder, called as its documentation says."""
    made = diffusers.DiffusionPipeline.from_pretrained(str(pipeline(kind)))
    made.set_progress_bar_config(disable=True)
    return made(
        prompt="a sea of glass", num_inference_steps=2, guidance_scale=3.0, output_type="np", **SIZE, **given,
        generator=torch.Generator().manual_seed(5),
    )  # fmt: skip


def rgb(pictures):
    return (np.asarray(pictures) * 255.0).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["cogview3", "cogview4"])
def test_a_picture_is_the_one_that_diffusers_makes(kind):
    more = {"negative_prompt": "night"}
    ours = open_pictures(str(pipeline(kind)), "cpu", "auto", "none").picture(Ask(*ASK_ROW))
    assert (ours == rgb(direct(kind, **more).images[0])).all()
    assert ours.std() > 5.0


ASK_ROW = ("a sea of glass", "night", 5, 32, 32, 2, 3.0)


@pytest.mark.parametrize(("kind", "frames"), [("ltx", 17), ("wan", 9), ("cogvideox", 9), ("animatediff", 8)])
def test_a_clip_is_the_one_that_diffusers_makes(kind, frames):
    made = open_clips(str(pipeline(kind)), "", "cpu", "auto", "none")
    ours = made.clip(Ask("a sea of glass", "", 5, 32, 32, 2, 3.0, frames))
    more = {"frame_rate": 24.0} if kind == "ltx" else {}
    assert (ours == rgb(direct(kind, num_frames=frames, **more).frames[0])).all()
    assert ours.shape == (frames, 32, 32, 3)


def test_a_clip_of_two_pictures_is_the_one_that_diffusers_makes():
    first, last = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    made = open_clips(str(pipeline("wan-of-pictures")), "", "cpu", "auto", "none")
    ours = made.clip(Ask("a sea of glass", "", 5, 32, 32, 2, 3.0, 9), first, last)
    images = {"image": Image.fromarray(first), "last_image": Image.fromarray(last)}
    assert (ours == rgb(direct("wan-of-pictures", num_frames=9, **images).frames[0])).all()
    other = made.clip(Ask("a sea of glass", "", 5, 32, 32, 2, 3.0, 9), first)
    assert (other != ours).any(), "the last picture counts"


def test_a_clip_of_a_picture_begins_with_it_as_ltx_is_told():
    first, last = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    made = open_clips(str(pipeline("ltx")), "", "cpu", "auto", "none")
    asked = Ask("a sea of glass", "", 5, 32, 32, 2, 3.0, 17)
    heard, usual = [], made._call

    def spy(whom, breathe, **given):
        heard.append(given)
        return usual(whom, breathe, **given)

    made._call = spy
    clips = [made.clip(asked, first), made.clip(asked, first, last)]
    assert [[c.frame_index for c in row["conditions"]] for row in heard] == [[0], [0, 16]]
    assert (np.asarray(heard[0]["conditions"][0].image) == first).all(), "bit for bit"
    assert (clips[0] != clips[1]).any()


def test_a_motion_adapter_plays_in_a_stable_diffusion(tmp_path):
    """Apart, as they are published: a model, and an adapter whose name says that it is fast."""
    whole = diffusers.AnimateDiffPipeline.from_pretrained(str(pipeline("animatediff")))
    whole.motion_adapter.save_pretrained(tmp_path / "animatediff-lightning-4step")
    parts = {name: part for name, part in whole.components.items() if name in (
        "vae", "text_encoder", "tokenizer", "scheduler")}  # fmt: skip
    unet = diffusers.UNet2DConditionModel(**TINY_UNET)
    model = diffusers.StableDiffusionPipeline(
        **parts, unet=unet, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    model.save_pretrained(tmp_path / "model")
    made = open_clips(str(tmp_path / "model"), str(tmp_path / "animatediff-lightning-4step"), "cpu", "auto", "none")
    scheduler = made._made.scheduler
    assert type(scheduler).__name__ == "EulerDiscreteScheduler"
    assert (scheduler.config.timestep_spacing, scheduler.config.beta_schedule) == ("trailing", "linear")
    assert (made._steps, made._guidance) == (4, 1.0)
    assert made.clip(Ask("a sea", "", 1, 32, 32, 1, 1.0, 8)).shape == (8, 32, 32, 3)
    with pytest.raises(GeneratorError, match="motion adapter"):
        open_clips(str(tmp_path / "model"), str(tmp_path / "model"), "cpu", "auto", "none")


TINY_UNET = {
    "block_out_channels": (8, 8), "layers_per_block": 1, "sample_size": 8, "in_channels": 4, "out_channels": 4,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "cross_attention_dim": 32, "norm_num_groups": 2, "attention_head_dim": 4,
}  # fmt: skip


def test_only_legal_counts_reach_a_pipeline():
    made = open_clips(str(pipeline("wan")), "", "cpu", "auto", "none")
    with pytest.raises(GeneratorError, match="no clips of 10 frames"):
        made.clip(Ask("a sea", "", 1, 32, 32, 1, 1.0, 10))


def test_whoever_waits_no_more_ends_a_model_at_its_next_step():
    steps = []

    def breathe():
        steps.append(1)
        raise GeneratorError("enough")

    with pytest.raises(GeneratorError, match="enough"):
        open_pictures(str(pipeline("cogview4")), "cpu", "auto", "none").picture(
            Ask("a sea", "", 1, 32, 32, 50, 1.0), breathe
        )
    assert len(steps) == 1


# -- what is refused ----------------------------------------------------------------------------------------------


def copied(tmp_path, kind):
    return shutil.copytree(pipeline(kind), tmp_path / kind)


def edited(folder, **rows):
    index = json.loads((folder / "model_index.json").read_text()) | rows
    (folder / "model_index.json").write_text(json.dumps(index))
    return str(folder)


def test_a_part_that_is_missing_is_named(tmp_path):
    folder = copied(tmp_path, "cogview4")
    shutil.rmtree(folder / "vae")
    with pytest.raises(GeneratorError, match=r"not whole: its vae \(AutoencoderKL\) is missing"):
        open_pictures(str(folder), "cpu", "auto", "none")


def test_weights_that_are_pickled_are_not_opened(tmp_path):
    folder = copied(tmp_path, "cogview4")
    for file in (folder / "transformer").glob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    with pytest.raises(GeneratorError, match=r"transformer has no \.safetensors file"):
        open_pictures(str(folder), "cpu", "auto", "none")


@pytest.mark.parametrize("rows", [
    {"vae": ["my_vae", "Evil"]}, {"_class_name": ["pipeline", "Evil"]}, {"vae": ["transformers_modules.x", "Evil"]},
    {"vae": [["diffusers"], "AutoencoderKL"]},
])  # fmt: skip
def test_code_that_comes_with_weights_is_not_run(tmp_path, rows):
    folder = copied(tmp_path, "cogview4")
    for name in ("my_vae", "pipeline"):
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    with pytest.raises(GeneratorError, match="code"):
        open_pictures(edited(folder, **rows), "cpu", "auto", "none")
    assert not (tmp_path / "ran").exists()


def test_a_pipeline_that_diffusers_does_not_know_is_told(tmp_path):
    folder = edited(copied(tmp_path, "cogview4"), _class_name="CogView9Pipeline")
    with pytest.raises(GeneratorError, match="does not know"):
        open_pictures(folder, "cpu", "auto", "none")


def test_who_plays_what_is_told():
    with pytest.raises(GeneratorError, match='is no model for key frames: it is a Wan model; generator = "shot"'):
        open_pictures(str(pipeline("wan")), "cpu", "auto", "none")
    with pytest.raises(GeneratorError, match='is no model for shots: it is a CogView4 model; generator = "still"'):
        open_clips(str(pipeline("cogview4")), "", "cpu", "auto", "none")
    with pytest.raises(GeneratorError, match="unknown model for shots 'wam'"):
        open_clips("wam", "", "cpu", "auto", "none")


# -- tables -------------------------------------------------------------------------------------------------------


def test_every_kind_is_one_that_diffusers_has_and_a_family_is_told_of():
    for name in (*PICTURES, *CLIPS):
        assert hasattr(diffusers, name), name
    assert {kind.family for kind in CLIPS.values()} | {"CogVideoX 1.5"} == set(RULES)
    assert {kind.family for kind in CLIPS.values()} <= set(FAMILIES)
    assert [player_of(kind_of(pipeline(kind))) for kind in ("cogview3", "ltx", "animatediff")] == [
        "still", "shot", "shot",
    ]  # fmt: skip


@pytest.mark.parametrize(("habit", "size"), [
    (Habit(), (1360, 768)), (Habit(multiple=32, area=704 * 480), (768, 448)), (Habit(only=(720, 480)), (720, 480)),
])  # fmt: skip
def test_a_size_is_shaped_like_the_picture_and_can_be_asked_for(habit, size):
    assert habit.size(1280, 720) == size


@pytest.mark.parametrize(("prompts", "text"), [
    ((("ocean", 1.0),), "ocean"), ((("silk", 0.5), ("ocean", 1.0)), "ocean, silk"),
    ((("old", 0.2), ("new", 0.9)), "new"), ((("", 1.0), ("fish", 0.1)), "fish"), ((), ""),
    ((("a", 1.0), ("a", 1.0)), "a"), ((("gone", 0.0),), ""), ((("not", -1.0), ("fish", 1.0)), "fish"),
])  # fmt: skip
def test_prompts_become_one(prompts, text):
    assert text_of(FrameRequest(0, 1, 1, TextConditioning(prompts), {}, 0, 0.0)) == text


@pytest.mark.parametrize("part", ["../vae", "/etc", "x" * 300, ".hidden", "a/b"])
def test_a_part_that_is_no_folders_name_is_refused(tmp_path, part):
    folder = edited(copied(tmp_path, "cogview4"), **{part: ["diffusers", "AutoencoderKL"]})
    with pytest.raises(GeneratorError, match="no folder's name"):
        open_pictures(folder, "cpu", "auto", "none")


def test_a_model_as_it_is_published_plays_without_its_checker(tmp_path, stocked):
    """Stable Diffusion 1.5's index names a checker of a library of its own, which is never loaded."""
    folder = shutil.copytree(stocked / "sd15", tmp_path / "sd15")
    checker = {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}
    made = open_pictures(edited(folder, **checker, feature_extractor=["transformers", "CLIPImageProcessor"]), "cpu",
                         "auto", "none")  # fmt: skip
    assert made.picture(Ask("fish", "", 1, 64, 64, 1, 1.0)).shape == (64, 64, 3)
    assert made.varies


def test_a_model_in_half_precision_alone_plays(tmp_path):
    folder = copied(tmp_path, "cogview4")
    for file in folder.glob("*/*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    assert open_pictures(str(folder), "cpu", "auto", "none").picture(ASK).shape == (32, 32, 3)


def test_a_closed_pipeline_says_so():
    made = open_pictures(str(pipeline("cogview4")), "cpu", "auto", "none")
    made.close()
    with pytest.raises(GeneratorError, match="is closed"):
        made.picture(ASK)
