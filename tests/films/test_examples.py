"""The storyboards that come with us, rendered small; and what a film of two generators hangs on."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from diffusers import VQModel
from test_render import pictures

from bench.random_gans import biggan, stylegan2
from bench.random_pipelines import make_clip, make_pipeline
from vjserver.films import codecs, segment
from vjserver.generators import store
from vjserver.generators.gan.convert import of_tensors, write
from vjserver.rendering.renderer import Renderer

FILMS, GANS, SLOW = (Path(__file__).parents[2] / "examples" / name for name in ("films", "gan", "slow"))


def test_harbour_is_a_film_of_five_scenes(song, tmp_path, vj):
    out = tmp_path / "harbour.mkv"
    args = ("--storyboard", FILMS / "harbour.toml", "--size", "160x96", "--fps", "12", "--codec", "ffv1", "--json")
    code, said, heard = vj("render", song, "-o", out, *args)
    assert code == 0, heard
    frames = np.stack(pictures(out)).astype(int)[..., :3]
    assert len(frames) == said["frames"] == 144
    report = json.loads((tmp_path / "harbour.mkv.json").read_text())
    assert len(report["scenes"]) >= 5
    assert frames.mean(axis=(1, 2, 3)).min() > 1.0, "never black"
    assert frames.std(axis=0).mean() > 10.0, "and never still"


@pytest.mark.usefixtures("stocked")
def test_first_light_draws_a_picture_again_and_is_the_same_twice_and_resumed(song, tmp_path, vj):
    args = ("--show", FILMS / "first-light-show.toml", "--storyboard", FILMS / "first-light.toml")
    args = (*args, "--size", "64x64", "--fps", "6", "--codec", "ffv1", "--json")
    code, said, heard = vj("render", song, "-o", tmp_path / "a.mkv", *args)
    assert code == 0, heard
    frames = np.stack(pictures(tmp_path / "a.mkv")).astype(int)[..., :3]
    assert len(frames) == said["frames"]
    assert np.abs(np.diff(frames, axis=0)).mean() > 0.5
    again = vj("render", song, "-o", tmp_path / "b.mkv", *args)[1]
    assert again["sha256"] == said["sha256"]
    one = sorted((tmp_path / "b.mkv.parts").glob("*.mkv"))[-1]
    one.unlink()
    assert vj("render", song, "-o", tmp_path / "b.mkv", *args)[1] == {**said, "made": 1}
    report = json.loads((tmp_path / "a.mkv.json").read_text())
    assert {row["generator"] for row in report["models"]} == {"diffusion"}
    assert report["models"][0]["licence"] is not None


@pytest.fixture
def with_gan(filled_store, tmp_path, monkeypatch):
    """Use a store with a tiny diffusion model, and a tiny BigGAN in the layout of the real one."""
    shutil.copytree(filled_store / "models" / "sd-turbo", tmp_path / "data" / "models" / "sd-turbo")
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path / "data"))
    folder = tmp_path / "biggan-deep-256"
    folder.mkdir()
    write(of_tensors(folder, biggan(128, width=4)), folder)
    store.add(folder, licence="MIT")


@pytest.mark.usefixtures("with_gan")
def test_from_a_song_a_gan_walks_diffusion_draws_it_again_and_the_music_goes_with_it(song, tmp_path, vj):
    """The way of the founding documents, in one command: song, spectra, band sums, BigGAN, img2img, film."""
    args = (
        "--show",
        GANS / "show.toml",
        "--storyboard",
        GANS / "song-to-film.toml",
        "--size",
        "96x54",
        "--fps",
        "6",
        "--json",
    )
    code, said, heard = vj("render", song, "-o", tmp_path / "a.mp4", *args)
    assert code == 0, heard
    frames = np.stack(pictures(tmp_path / "a.mp4")).astype(int)[..., :3]
    assert len(frames) == said["frames"] == 72
    assert np.abs(np.diff(frames, axis=0)).mean() > 0.5
    with av.open(str(tmp_path / "a.mp4")) as film:
        assert film.streams.audio[0].codec_context.name == "aac"
        assert abs(float(film.duration / av.time_base) - 12.0) < 0.1
    report = json.loads((tmp_path / "a.mp4.json").read_text())
    models = {row["generator"]: (row["model"], row["licence"]) for row in report["models"]}
    assert models.keys() == {"gan", "diffusion"}
    assert models["gan"] == ("biggan-deep-256", "MIT")
    last = sorted((tmp_path / "a.mp4.parts").glob("*.sha256"))[-1]
    last.unlink()
    again = vj("render", song, "-o", tmp_path / "a.mp4", *args, "--workers", "2")[1]
    assert again == {**said, "made": 1}


@pytest.mark.usefixtures("with_gan")
def test_a_clip_of_a_gan_goes_round_once_and_closes(tmp_path, vj):
    args = ("loop", "gan-walk", "--show", GANS / "show.toml", "--bars", 2, "--bpm", 120, "--fps", 6, "--size", "64x64")
    code, rows, heard = vj(*args, "--codec", "ffv1", "-o", tmp_path / "clip.mkv", "--json")
    assert code == 0, heard
    frames = np.stack(pictures(tmp_path / rows[0]["file"])).astype(int)[..., :3]
    assert len(frames) == 24
    steps = np.abs(frames - np.roll(frames, 1, axis=0)).mean(axis=(1, 2, 3))
    assert 0.0 < steps[0] <= steps[1:].max(), "over the seam it moves as everywhere"
    assert np.abs(frames[0] - frames[11]).mean() > np.median(steps), "and it is far away in between"


def test_a_film_is_made_anew_where_its_model_was_changed(song, tmp_path, vj):
    folder = tmp_path / "mine"
    show = tmp_path / "show.toml"
    show.write_text('presets = "presets"\n[generators.gan]\nmodel = "./mine"\n')
    shutil.copytree(GANS / "presets", tmp_path / "presets")
    args = (
        "render",
        song,
        "-o",
        tmp_path / "a.mp4",
        "--show",
        show,
        "--preset",
        "gan-walk",
        "--size",
        "64x64",
        "--fps",
        "4",
    )
    said = []
    for seed in (1, 1, 2):
        if seed == 2:
            shutil.rmtree(folder)
        if not folder.exists():
            folder.mkdir()
            write(of_tensors(folder, stylegan2(32, base=128, most=16, z=24, w=32, seed=seed)), folder)
        code, summary, heard = vj(*args, "--to", "4", "--json")
        assert code == 0, heard
        said.append(summary)
    assert [row["made"] > 0 for row in said] == [True, False, True]
    assert said[0]["sha256"] == said[1]["sha256"] != said[2]["sha256"]


@pytest.mark.usefixtures("with_gan")
def test_a_gan_walks_to_the_music_alone(song, tmp_path, vj):
    args = ("--show", GANS / "show.toml", "--size", "96x54", "--fps", "12", "--to", "6", "--codec", "ffv1", "--json")
    code, said, heard = vj("render", song, "-o", tmp_path / "a.mkv", *args)
    assert code == 0, heard
    frames = np.stack(pictures(tmp_path / "a.mkv")).astype(int)[..., :3]
    assert len(frames) == said["frames"] == 72
    assert np.abs(np.diff(frames, axis=0)).mean() > 0.3
    assert frames.std(axis=(1, 2, 3)).min() > 2.0


def test_a_picture_that_waits_to_be_written_is_not_drawn_over(song, tmp_path, vj, monkeypatch):
    """A generator may use its arrays again two frames on; a slow encoder still writes each picture as it was drawn."""
    buffers = [np.zeros((64, 96, 4), np.uint8) for _ in range(2)]
    real = Renderer.render

    def render(self, moment, memory):
        rendered, memory = real(self, moment, memory)
        shared = buffers[moment.number % 2]
        shared[:] = rendered.frame.pixels
        return replace(rendered, frame=replace(rendered.frame, pixels=shared)), memory

    plain = codecs.writer

    def slow(*args):
        one = plain(*args)
        send = one.send

        def late(pixels):
            time.sleep(0.02)
            send(pixels)

        one.send = late
        return one

    args = ("--size", "96x64", "--fps", "20", "--to", "2", "--codec", "ffv1", "--json")
    wanted = vj("render", song, "-o", tmp_path / "a.mkv", *args)[1]
    monkeypatch.setattr(Renderer, "render", render)
    monkeypatch.setattr(segment, "writer", slow)
    got = vj("render", song, "-o", tmp_path / "b.mkv", *args)[1]
    assert got["sha256"] == wanted["sha256"]


@pytest.fixture(scope="module")
def slow_store(tmp_path_factory):
    """Return the data folder of a store with a tiny model for key frames, one for shots, a VQGAN and a CLIP."""
    home = tmp_path_factory.mktemp("slow")
    whole = VQModel(
        block_out_channels=(8, 16, 16), down_block_types=("DownEncoderBlock2D",) * 2 + ("AttnDownEncoderBlock2D",),
        up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * 2, latent_channels=4, num_vq_embeddings=32,
        vq_embed_dim=4, norm_num_groups=4,
    )  # fmt: skip
    whole.save_pretrained(home / "vqgan")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VJSERVER_DATA", str(home / "data"))
        store.add(make_pipeline(home / "cogview4", "cogview4"), "cogview4-6b", "Apache-2.0")
        store.add(make_pipeline(home / "ltx", "ltx"), "ltx-video", "its own")
        store.add(home / "vqgan", "vqgan-f16-16384", "MIT")
        store.add(make_clip(home / "clip"), "clip-vit-base-patch32", "MIT")
        assert [model.kind for model in store.models()] == ["CLIP", "CogView4", "LTX", "VQGAN"]
        assert [fault for model in store.models() for fault in store.verify(model)] == []
    return home / "data"


@pytest.mark.parametrize(("name", "licence"), [
    ("key-frames", "Apache-2.0"), ("shots", "its own"), ("painting", "MIT"),
])  # fmt: skip
def test_a_film_of_a_slow_model_is_the_same_by_two_workers_and_resumed(
    slow_store, song, tmp_path, vj, monkeypatch, name, licence
):
    data = shutil.copytree(slow_store, tmp_path / "data")
    monkeypatch.setenv("VJSERVER_DATA", str(data))
    monkeypatch.setattr("vjserver.films.planning.STRETCH_S", 3.0)  # workers begin in the middle of scenes
    text = (SLOW / "show.toml").read_text().replace('size = "auto"', 'size = "64x64"')
    (tmp_path / "show.toml").write_text(text)
    for preset in (SLOW / "presets").iterdir():  # as they are, but quickly
        (tmp_path / "presets").mkdir(exist_ok=True)
        quick = preset.read_text().replace("bars = 4", "bars = 1\nsteps = 2\nguidance = 1.0")
        (tmp_path / "presets" / preset.name).write_text(quick.replace("cutouts = 32", "cutouts = 8"))
    args = ("--show", tmp_path / "show.toml", "--storyboard", SLOW / f"{name}.toml", "--size", "96x54", "--fps", "4")
    args = (*args, "--codec", "ffv1", "--json")
    code, said, heard = vj("render", song, "-o", tmp_path / "a.mkv", *args)
    assert code == 0, heard
    frames = np.stack(pictures(tmp_path / "a.mkv")).astype(int)[..., :3]
    assert len(frames) == said["frames"] == 48
    assert np.abs(np.diff(frames, axis=0)).mean() > 0.3
    assert frames.std(axis=(1, 2, 3)).min() > 5.0
    report = json.loads((tmp_path / "a.mkv.json").read_text())
    assert {row["licence"] for row in report["models"]} == {licence}
    if name != "painting":  # what it made lies in no bank
        shutil.rmtree(data / "bank")
    again = vj("render", song, "-o", tmp_path / "b.mkv", *args, "--workers", "2")[1]
    assert again["sha256"] == said["sha256"]
    one = sorted((tmp_path / "b.mkv.parts").glob("*.mkv"))[-1]
    one.unlink()
    assert vj("render", song, "-o", tmp_path / "b.mkv", *args)[1]["sha256"] == said["sha256"]


def test_shots_of_another_generators_pictures_are_the_same_wherever_a_film_begins(
    slow_store, song, tmp_path, vj, monkeypatch
):
    """Which pictures those were only who draws knows: nobody begins in the middle of such a scene without them."""
    monkeypatch.setenv("VJSERVER_DATA", str(shutil.copytree(slow_store, tmp_path / "data")))
    monkeypatch.setattr("vjserver.films.planning.STRETCH_S", 2.0)
    text = (SLOW / "show.toml").read_text().replace('size = "auto"', 'size = "64x64"')
    (tmp_path / "show.toml").write_text(text)
    preset = (SLOW / "presets" / "shots.toml").read_text()
    preset = preset.replace('generator = "shot"', 'generator = "shot"\ninput = "pattern"')
    preset = preset.replace("start = 1", "start = 2").replace("bars = 4", "bars = 6\nsteps = 1\nguidance = 1.0")
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "shots.toml").write_text(preset)
    args = ("--show", tmp_path / "show.toml", "--preset", "shots", "--size", "64x64", "--fps", "2", "--codec", "ffv1")
    whole = vj("render", song, "-o", tmp_path / "a.mkv", *args, "--to", "11")
    assert whole[0] == 0, whole[2]
    late = vj("render", song, "-o", tmp_path / "b.mkv", *args, "--from", "9", "--to", "11", "--workers", "2")
    assert late[0] == 0, late[2]
    all_of_it, end = (np.stack(pictures(tmp_path / name)).astype(int) for name in ("a.mkv", "b.mkv"))
    assert len(end) == 4
    assert (all_of_it[18:] == end).all()
