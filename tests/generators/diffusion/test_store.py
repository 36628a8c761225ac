"""The model store: what is taken in, what is refused, what a sum finds, and downloads that break off."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from hub import Hub

from vjserver import cli
from vjserver.generators import store
from vjserver.types.errors import ConfigError, GeneratorError


def test_a_folder_is_taken_in_with_sums_size_and_licence(models, empty_store):
    model, remarks = store.add(models["sd-turbo"], "my-turbo", "MIT")
    assert remarks == []
    assert model.folder == empty_store / "my-turbo"
    assert model.licence == "MIT"
    assert model.size == sum(
        f.stat().st_size for f in model.folder.rglob("*") if f.name != store.MANIFEST and f.is_file()
    )
    assert model.files["unet/diffusion_pytorch_model.safetensors"]["sha256"] == store.sha256(
        models["sd-turbo"] / "unet" / "diffusion_pytorch_model.safetensors"
    )
    assert store.verify(model) == []
    assert [m.name for m in store.models()] == ["my-turbo"]
    assert store.find_model("my-turbo") == model.folder
    with pytest.raises(ConfigError, match="has a model 'my-turbo' already"):
        store.add(models["sd-turbo"], "my-turbo")


def test_a_licence_is_read_off_the_model_card(models, empty_store, tmp_path):
    folder = shutil.copytree(models["lcm"], tmp_path / "carded")
    (folder / "README.md").write_text("---\nlicense: openrail++\n---\n# A model\n")
    assert store.add(folder)[0].licence == "openrail++"


def test_verify_finds_what_was_changed_lost_and_added(models, empty_store):
    model, _ = store.add(models["sdxs"], "m")
    file = model.folder / "unet" / "config.json"
    text = file.read_text()
    file.unlink()  # it may be a link to the original
    file.write_text(text.replace("4", "5", 1))
    (model.folder / "scheduler" / "scheduler_config.json").unlink()
    (model.folder / "unet" / "more.safetensors").write_bytes(b"x")
    faults = "\n".join(store.verify(model))
    assert "config.json was changed" in faults
    assert "scheduler_config.json is missing" in faults
    assert "more.safetensors is not in the manifest" in faults


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.pkl", "pytorch_model.bin", "MODEL.CKPT"])
def test_pickles_are_refused_with_a_reason_and_a_way_out(empty_store, tmp_path, name):
    file = tmp_path / name
    file.write_bytes(b"\x80\x04.")
    for take in (store.add, lambda path: store.find_model(str(path))):
        with pytest.raises((ConfigError, GeneratorError), match=r"can run any code .* take the \.safetensors version"):
            take(file)


def test_a_folder_with_only_pickled_weights_is_refused_and_names_the_file(models, empty_store, tmp_path):
    folder = shutil.copytree(models["lcm"], tmp_path / "old")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(ConfigError, match=r"diffusion_pytorch_model\.bin is refused"):
        store.add(folder)
    assert store.models() == []


def test_pickles_beside_safetensors_are_left_behind_and_told(models, empty_store, tmp_path):
    folder = shutil.copytree(models["lcm"], tmp_path / "both")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")
    model, remarks = store.add(folder)
    assert len(remarks) == 1
    assert "unet/diffusion_pytorch_model.bin was left behind" in remarks[0]
    assert not list(model.folder.rglob("*.bin"))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda p: p / "nowhere", "no such folder"),
        (lambda p: p, "neither model_index.json nor config.json"),
        (lambda p: _written(p / "one.safetensors", "x"), "damaged or cut off"),
        (lambda p: _written(p / "model_index.json", "{}").parent, "names no unet"),
        (lambda p: _written(p / "model_index.json", "{").parent, "cannot be read"),
    ],
)
def test_what_is_no_model_is_refused(empty_store, tmp_path, make, why):
    with pytest.raises(ConfigError, match=why):
        store.add(make(tmp_path))


def _written(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "a b", "a\\b"])
def test_a_name_that_would_leave_the_store_is_refused(models, empty_store, name):
    with pytest.raises(ConfigError, match="letters, digits"):
        store.add(models["sdxs"], name)


def test_unknown_models_name_the_nearest_and_how_to_get_a_known_one(stocked):
    with pytest.raises(GeneratorError, match="nearest: sd-turbo"):
        store.find_model("sd-turboo")
    with pytest.raises(GeneratorError, match="vjserver models pull sdxs-512"):
        store.find_model("sdxs-512")


# -- pull: the command, with huggingface_hub's own client, from a hub on loopback -----------------------------


def pull(name, endpoint):
    """Run ``vjserver models pull`` in a process of its own: this one is offline once it has loaded a model."""
    env = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    command = [sys.executable, "-m", "vjserver", "models", "pull", name]
    return subprocess.run(command, env=env | {"HF_ENDPOINT": endpoint}, capture_output=True, text=True, timeout=120)


def here(name):
    return next(model for model in store.models() if model.name == name)


@pytest.fixture
def hub(models, tmp_path):
    """A hub with sd-turbo as its maker lays it out: two precisions, a single file, and pickles beside."""
    folder = shutil.copytree(models["sd-turbo"], tmp_path / "hub")
    for part, name in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        shutil.copy(folder / part / f"{name}.safetensors", folder / part / f"{name}.fp16.safetensors")
        (folder / part / f"{name}.bin").write_bytes(b"\x80\x04.")
    (folder / "sd_turbo.safetensors").write_bytes(b"0" * 1000)
    (folder / "README.md").write_text("# SD-Turbo\n")
    served = Hub({"stabilityai/sd-turbo": folder})
    with served.running() as url:
        yield served, url


def test_pull_fetches_safetensors_in_half_precision_and_no_pickle(hub, empty_store):
    _served, url = hub
    run = pull("sd-turbo", url)
    assert run.returncode == 0, run.stderr
    assert "licence: Stability AI Community License" in run.stdout
    assert "100%" in run.stderr  # the progress bar
    model = here("sd-turbo")
    assert model.licence == "Stability AI Community License"
    names = set(model.files)
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in names
    assert "unet/diffusion_pytorch_model.safetensors" not in names
    assert "sd_turbo.safetensors" not in names
    assert not [name for name in names if name.endswith(".bin")]
    assert store.verify(model) == []
    from vjserver.generators.diffusion.model import load
    from vjserver.generators.diffusion.options import DiffusionOptions

    assert load(DiffusionOptions(model="sd-turbo", device="cpu")).folder == model.folder


def test_a_pull_that_broke_off_goes_on_where_it_stopped(empty_store, models, tmp_path):
    import torch
    from safetensors.torch import save_file

    folder, size = tmp_path / "hub", 32_000_000  # huggingface_hub keeps what has come in pieces of 10 MB
    shutil.copytree(models["taesd"], folder)
    big = folder / "diffusion_pytorch_model.safetensors"
    save_file({"x": torch.randint(0, 256, (size,), dtype=torch.uint8)}, big)
    served = Hub({"madebyollin/taesd": folder})
    served.break_off[big.name] = 24_000_000
    with served.running() as url:
        run = pull("taesd", url)
        if run.returncode:
            assert "run the same line again" in run.stderr
            run = pull("taesd", url)
    assert run.returncode == 0, run.stderr
    model = here("taesd")
    assert store.verify(model) == []
    assert model.files[big.name]["sha256"] == store.sha256(big)
    asked = [row for name, row in served.ranges if name == big.name]
    assert asked[0] is None
    assert asked[-1] in ("bytes=20971520-", "bytes=20000000-")
    assert served.sent[big.name] < 1.3 * size  # what had come was not fetched again


def test_a_hub_that_cannot_be_reached_is_told_with_what_to_do(empty_store):
    run = pull("taesd", "http://127.0.0.1:9")
    assert run.returncode == 1
    assert "could not be fetched from madebyollin/taesd" in run.stderr
    assert "run the same line again" in run.stderr
    run = pull("taeds", "http://127.0.0.1:9")
    assert "nearest: taesd" in run.stderr


# -- the commands ----------------------------------------------------------------------------------------------


def test_the_commands_list_add_and_verify(models, empty_store, capsys):
    assert cli.main(["models", "add", str(models["taesd"]), "--name", "taesd", "--licence", "MIT"]) == 0
    assert cli.main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert "here  taesd" in out
    assert "pull  sd-turbo" in out
    assert "Stability AI Community License" in out
    assert cli.main(["models", "verify"]) == 0
    manifest = empty_store / "taesd" / store.MANIFEST
    row = json.loads(manifest.read_text())
    row["files"]["config.json"]["sha256"] = "0" * 64
    manifest.write_text(json.dumps(row))
    assert cli.main(["models", "verify", "taesd"]) == 1
    assert "config.json was changed" in capsys.readouterr().out
    assert cli.main(["models", "verify", "taes"]) == 1
    assert "nearest: taesd" in capsys.readouterr().err


# -- what can be taken in can be loaded -------------------------------------------------------------------------------


@pytest.fixture
def copy(models, tmp_path):
    """A copy of a model, to be damaged."""
    folder = tmp_path / "copy"
    shutil.copytree(models["sd-turbo"], folder)
    return folder


def changed(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


DAMAGE = {
    "only a pointer": lambda f: next((f / "unet").glob("*.safetensors")).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3000000000\n"
    ),
    "damaged or cut off": lambda f: next((f / "vae").glob("*.safetensors")).write_bytes(
        next((f / "vae").glob("*.safetensors")).read_bytes()[:-100]
    ),
    "its UNet takes 9 channels": lambda f: changed(f / "unet" / "config.json", in_channels=9),
    "an editing model": lambda f: changed(f / "unet" / "config.json", in_channels=8),
    "no scheduler/scheduler_config.json": lambda f: shutil.rmtree(f / "scheduler"),
    "neither tokenizer.json nor vocab.json": lambda f: [p.unlink() for p in (f / "tokenizer").glob("*")],
    "has no config.json: the download is not whole": lambda f: (f / "text_encoder" / "config.json").unlink(),
    "at 1/2 of the picture's size": lambda f: changed(f / "vae" / "config.json", block_out_channels=[32, 64]),
    "latents of 16 channels": lambda f: changed(f / "vae" / "config.json", latent_channels=16),
}


@pytest.mark.parametrize("why", DAMAGE)
def test_what_could_never_be_loaded_is_refused_when_it_is_added(copy, empty_store, why):
    DAMAGE[why](copy)
    with pytest.raises(ConfigError, match=re.escape(why)):
        store.add(copy)
    assert not store.store_folder().exists() or not list(store.store_folder().iterdir())


def test_a_decoder_of_another_kind_gets_a_sentence_and_no_traceback(copy, empty_store):
    changed(copy / "vae" / "config.json", block_out_channels=[32, 64])
    from vjserver.generators.diffusion.model import load
    from vjserver.generators.diffusion.options import DiffusionOptions

    with pytest.raises(GeneratorError, match="4 channels at 1/8 are played"):
        load(DiffusionOptions(model=str(copy), device="cpu", decoder="full"))


@pytest.mark.parametrize(("key", "kind"), [("unet.down_blocks.0.attn.to_q.lora_magnitude_vector", "DoRA"),
                                           ("lora_unet_mid_attn_to_q.dora_scale", "DoRA"),
                                           ("lora_unet_mid_attn_to_q.hada_w1_a", "LoHa"),
                                           ("lora_unet_mid_attn_to_q.lokr_w1", "LoKr")])  # fmt: skip
def test_what_is_called_a_lora_and_is_none_is_named(tmp_path, key, kind):
    import torch
    from safetensors.torch import save_file

    from vjserver.generators.diffusion.lora import read_loras

    path = tmp_path / "other.safetensors"
    save_file({key: torch.zeros(4, 4)}, path)
    with pytest.raises(GeneratorError, match=f"{kind}.*plain LoRAs are played"):
        read_loras([path], {})
