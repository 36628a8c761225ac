"""The painter beside diffusers, transformers, torch's own Adam and plain operations; and as the show uses it."""

import collections
import sys
import types

import diffusers
import numpy as np
import pytest
import taming
import torch
import transformers

from bench.random_pipelines import make_clip
from vjserver.generators.gan.convert import convert, recognised, write
from vjserver.generators.layout import kind_of
from vjserver.generators.paint.convert import of_taming, renamed
from vjserver.generators.paint.generator import PaintGenerator
from vjserver.generators.paint.info import INFO
from vjserver.generators.paint.options import PaintOptions
from vjserver.generators.paint.painter import CLIP_MEAN, CLIP_STD, load, size_for
from vjserver.show.addresses import COMMON
from vjserver.types.errors import ConfigError, GeneratorError
from vjserver.types.frames import FrameRequest, TextConditioning

DEFAULTS = {name: knob.default for name, knob in COMMON.items()}
OWN = {knob.name: knob.default for knob in INFO.parameters}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Compute in one thread: two of them wait for each other where the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return a VQGAN, converted from a checkpoint as taming-transformers writes it, and a CLIP."""
    home = tmp_path_factory.mktemp("paint")
    torch.save({"state_dict": taming.tensors(), "epoch": 3, "global_step": 7}, home / "last.ckpt")
    told = convert(home / "last.ckpt", home / "vqgan")
    assert told.startswith("VQGAN, 32 patches of 4x4, 0.1 million numbers")
    return home / "vqgan", make_clip(home / "clip")


@pytest.fixture(scope="module")
def painter(folders):
    return load(*folders, "cpu")


# -- conversion -------------------------------------------------------------------------------------------------------


def test_what_is_converted_draws_as_plain_operations_do(painter):
    z = torch.randn(1, taming.LATENT, 6, 9, generator=torch.Generator().manual_seed(1))
    plain = taming.decoded(taming.tensors(), z)
    with torch.no_grad():
        ours = painter._decode(z) * 2.0 - 1.0
    assert ours.shape == (1, 3, 24, 36)
    torch.testing.assert_close(ours.double(), plain, atol=2e-5, rtol=1e-4)


def test_a_checkpoint_with_lightnings_objects_is_read_and_runs_none_of_them(tmp_path, monkeypatch):
    """Older versions of Lightning keep its callbacks by their classes."""
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    kind = type("ModelCheckpoint", (), {"__module__": module.__name__})
    module.ModelCheckpoint = kind
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    rows = {"state_dict": collections.OrderedDict(taming.tensors()), "callbacks": {kind: {"best": 1.0}}}
    torch.save(rows, tmp_path / "last.ckpt")
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__):
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "out").mkdir()
    assert write(recognised(tmp_path / "last.ckpt"), tmp_path / "out").startswith("VQGAN")
    assert kind_of(tmp_path / "out") == "VQGAN"


@pytest.mark.parametrize(("name", "new"), [
    ("encoder.down.0.block.1.nin_shortcut.weight", "encoder.down_blocks.0.resnets.1.conv_shortcut.weight"),
    ("encoder.down.4.attn.0.q.weight", "encoder.down_blocks.4.attentions.0.to_q.weight"),
    ("encoder.down.4.attn.1.norm.bias", "encoder.down_blocks.4.attentions.1.group_norm.bias"),
    ("encoder.down.2.downsample.conv.bias", "encoder.down_blocks.2.downsamplers.0.conv.bias"),
    ("decoder.mid.block_2.norm1.weight", "decoder.mid_block.resnets.1.norm1.weight"),
    ("decoder.mid.attn_1.proj_out.weight", "decoder.mid_block.attentions.0.to_out.0.weight"),
    ("decoder.up.4.attn.2.k.bias", "decoder.up_blocks.0.attentions.2.to_k.bias"),
    ("decoder.up.1.upsample.conv.weight", "decoder.up_blocks.3.upsamplers.0.conv.weight"),
    ("decoder.norm_out.weight", "decoder.conv_norm_out.weight"), ("quantize.embedding.weight",) * 2,
])  # fmt: skip
def test_names(name, new):
    assert renamed(name, 5) == new


@pytest.mark.parametrize(("change", "told"), [
    ({"quant_conv.weight": None}, "quant_conv.weight is missing"),
    ({"decoder.up.2.attn.0.q.weight": None}, "look at different"),
    ({"encoder.down.0.block.0.conv1.weight": None}, "no levels"),
])  # fmt: skip
def test_a_vqgan_that_is_not_whole_is_told(change, told):
    rows = {name: value for name, value in taming.tensors().items() if name not in change}
    with pytest.raises(ConfigError, match=told):
        of_taming(rows)


def test_one_of_another_layout_is_told(tmp_path):
    rows = taming.tensors()
    del rows["decoder.mid.block_1.norm1.weight"]
    torch.save(rows, tmp_path / "odd.ckpt")
    with pytest.raises(ConfigError, match="another layout than taming-transformers"):
        write(recognised(tmp_path / "odd.ckpt"), tmp_path)


# -- strokes ------------------------------------------------------------------------------------------------------


def test_a_text_and_a_picture_are_to_clip_what_transformers_says(painter, folders):
    model = transformers.CLIPModel.from_pretrained(folders[1])
    ids = painter._tokenizer("a sea of glass", return_tensors="pt")
    pieces = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(row)[:, None, None] for row in (CLIP_MEAN, CLIP_STD))
    with torch.no_grad():
        both = model(**ids, pixel_values=(pieces - mean) / std)
    torch.testing.assert_close(painter.target("a sea of glass"), both.text_embeds[0], atol=1e-6, rtol=1e-5)
    painter_pieces, painter._pieces = painter._pieces, lambda *_: pieces
    try:
        canvas = painter.blank(1, 48, 32)
        got = painter.distance(canvas, [(painter.target("a sea of glass"), 1.0)], 3, 0.3)
    finally:
        painter._pieces = painter_pieces
    angle = torch.arccos((both.image_embeds @ both.text_embeds.T).clamp(-1, 1))[:, 0]
    assert got == pytest.approx(float((2 * (angle / 2).square()).mean()), rel=1e-4), "half the squared angle"


def test_strokes_are_those_of_torchs_adam(painter):
    targets = [(painter.target("fire"), 1.0), (painter.target("night"), -0.3)]
    canvas = painter.blank(3, 32, 24)
    z = canvas.z.clone().requires_grad_(True)
    adam = torch.optim.Adam([z], lr=0.05)
    for _ in range(4):
        adam.zero_grad()
        painter._loss(z, canvas, targets, 8, 0.3).backward()
        adam.step()
        with torch.no_grad():
            z.copy_(torch.minimum(torch.maximum(z, painter._low), painter._high))
        canvas = painter.stroke(canvas, targets, 0.05, 8, 0.3)
        torch.testing.assert_close(canvas.z, z.detach(), atol=1e-5, rtol=1e-4)
    assert canvas.strokes == 4


def test_it_comes_closer_to_its_prompt_and_flees_what_it_shall_not_be(painter):
    fire, night = painter.target("fire"), painter.target("night")
    canvas = painter.blank(3, 32, 24)
    towards = away = canvas
    for _ in range(25):
        towards = painter.stroke(towards, [(fire, 1.0)], 0.1, 8, 0.3)
        away = painter.stroke(away, [(night, -1.0)], 0.1, 8, 0.3)

    def apart(one, target):
        return np.mean([painter.distance(one.__class__(one.z, one.mean, one.square, i, 9), [(target, 1.0)], 32, 0.3)
                        for i in range(4)])  # fmt: skip

    assert apart(towards, fire) < 0.9 * apart(canvas, fire)
    assert apart(away, night) > 1.02 * apart(canvas, night)


def test_pieces_are_squares_of_all_sizes_and_the_same_for_the_same_stroke(painter):
    picture = torch.rand(1, 3, 40, 90, generator=torch.Generator().manual_seed(0))
    one, two = (painter._pieces(picture, 12, 0.2, torch.Generator().manual_seed(5)) for _ in range(2))
    assert one.shape == (12, 3, 16, 16)
    assert (one == two).all()


def test_a_canvas_shows_a_picture_and_flies(painter):
    image = np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8)
    canvas = painter.of_picture(image, 1)
    with torch.no_grad():
        latents = painter._vqgan.encode(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1.0).latents
    torch.testing.assert_close(canvas.z, latents, atol=1e-4, rtol=1e-4)
    still = painter.flown(canvas, np.array([[1, 0, 0], [0, 1, 0]], np.float32))
    half = painter.flown(canvas, np.array([[0.5, 0, 0], [0, 0.5, 0]], np.float32))
    assert float((still.z - half.z).abs().mean()) > 0.05
    assert (painter.towards(canvas, image, 1.0).z - latents).abs().max() < 1e-4


# -- as the show uses it --------------------------------------------------------------------------------------------


def ask(*prompts, seed=1, size=(96, 54), seconds=1 / 30, mode="film", negative="", **more):
    own = {key: more.pop(key) for key in list(more) if key in OWN}
    params = {key: more.pop(key) for key in list(more) if key in DEFAULTS}
    text = TextConditioning(tuple((p, 1.0) for p in prompts), negative=negative)
    return FrameRequest(0, *size, text, DEFAULTS | params, seed, seconds, own={**OWN, "cutouts": 8.0} | own,
                        mode=mode, **more)  # fmt: skip


@pytest.fixture(scope="module")
def paint(folders):
    generator = PaintGenerator(PaintOptions(model=str(folders[0]), clip=str(folders[1]), device="cpu"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vjserver.generators.paint.generator.AREA", 64 * 36)
        generator.open()
        generator.warm_up(96, 54, ["fire"])
        yield generator
    generator.close()


def film(generator, count, state=None, **more):
    rows = []
    for _ in range(count):
        frame, state = generator.render(ask("fire", **more), state)
        rows.append(frame.pixels.copy())
    return rows, state


def test_a_film_has_exactly_its_strokes_and_is_the_same_twice(paint):
    rows, state = film(paint, 5, steps=3.0)
    again, _ = film(paint, 5, steps=3.0)
    assert rows[0].shape == (54, 96, 4)
    assert state.canvas.strokes == 15
    assert all((a == b).all() for a, b in zip(rows, again, strict=True))
    assert (rows[0] != rows[4]).any()


def test_what_is_written_down_goes_on(paint):
    rows, _ = film(paint, 6, zoom=0.5)
    _, state = film(paint, 3, zoom=0.5)
    moved, _ = film(paint, 3, paint.resume(paint.checkpoint(state)), zoom=0.5)
    assert all((a == b).all() for a, b in zip(moved, rows[3:], strict=True))
    for data in (b"", b"\x80"):
        with pytest.raises(GeneratorError, match="no checkpoint"):
            paint.resume(data)


def test_a_seed_or_a_size_begins_anew_and_an_input_is_begun_with(paint):
    _, state = film(paint, 3)
    assert film(paint, 1, state, seed=2)[1].canvas.strokes == 1
    image = np.full((54, 96, 4), (200, 40, 40, 255), np.uint8)
    plain, red = (film(paint, 1, rate=0.005, image=one)[0][0].astype(int) for one in (None, image))
    assert np.abs(plain - red).mean() > 3.0
    follows, still = (film(paint, 2, film(paint, 3)[1], image=image, follow=f)[0][-1].astype(int) for f in (1.0, 0.0))
    assert np.abs(follows - still).mean() > 3.0


def test_live_it_paints_as_much_as_there_is_time_for(paint):
    state, told = None, []
    for stroke_s, wanted in ((0.5, range(2)), (0.01, range(30, 63))):
        strokes = 0
        for _ in range(30):
            paint._stroke_s = stroke_s
            frame, state = paint.render(ask("fire", mode="live", steps=2.0), state)
            told += frame.notices
        total = state.canvas.strokes - strokes
        assert total in wanted, total
    assert told == []


def test_without_a_prompt_it_stays_and_says_so(paint):
    frame, state = paint.render(ask(), None)
    after, _ = paint.render(ask(), state)
    assert [notice.what for notice in frame.notices] == ["prompt"]
    assert (after.pixels == frame.pixels).all()


def test_a_negative_prompt_counts(paint):
    rows = [
        paint.render(ask("fire", negative=text, rate=0.5, steps=5.0), None)[0].pixels.copy() for text in ("", "night")
    ]
    assert (rows[0] != rows[1]).any()


@pytest.mark.parametrize(("options", "told"), [
    ({}, "needs a VQGAN"), ({"model": "VQ"}, "needs a CLIP to look"),
    ({"model": "CLIP", "clip": "CLIP"}, "is no VQGAN: it is a CLIP"),
    ({"model": "VQ", "clip": "VQ"}, "is no CLIP: it is a VQGAN"), ({"model": "nothing"}, "unknown VQGAN 'nothing'"),
])  # fmt: skip
def test_what_is_missing_is_told(folders, empty_store, options, told):
    places = {"VQ": str(folders[0]), "CLIP": str(folders[1])}
    given = {key: places.get(value, value) for key, value in options.items()}
    with pytest.raises(GeneratorError, match=told):
        PaintGenerator(PaintOptions(**given)).open()


def test_a_size_is_shaped_like_the_picture():
    assert size_for(1280, 720, 16, 400 * 400) == (528, 304)
    assert size_for(2, 2000, 16, 100) == (32, 320)


def test_a_pipelines_text_half_is_no_eye(tmp_path, folders):
    kind = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(hidden_size=16, num_attention_heads=2, num_hidden_layers=1)
    )
    kind.save_pretrained(tmp_path / "text")
    assert kind_of(tmp_path / "text") == "decoder"
    with pytest.raises(GeneratorError, match="is no CLIP"):
        PaintGenerator(PaintOptions(model=str(folders[0]), clip=str(tmp_path / "text"))).open()


def test_diffusers_own_folder_plays_too(tmp_path, folders):
    whole = diffusers.VQModel.from_pretrained(folders[0])
    whole.save_pretrained(tmp_path / "vq")
    generator = PaintGenerator(PaintOptions(model=str(tmp_path / "vq"), clip=str(folders[1]), size="64x64"))
    generator.open()
    frame, _ = generator.render(ask("fire"), None)
    assert frame.pixels.shape == (54, 96, 4)
