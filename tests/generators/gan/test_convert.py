"""Conversion: checkpoints as others write them become folders, and hostile ones become a sentence."""

import io
import json
import os
import pickle

import checkpoints
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_networks import SQUARE, TINY2, TINY3, drive

from bench.random_gans import biggan, stylegan2, stylegan3
from vjserver.generators.gan import convert as conversion
from vjserver.generators.gan import pickles
from vjserver.generators.gan.convert import convert, recognised
from vjserver.generators.gan.model import load, network_of
from vjserver.generators.gan.options import GanOptions
from vjserver.types.errors import ConfigError, GeneratorError


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6)


def ours(tensors):
    return {name: value for name, value in tensors.items() if not name.endswith("resample_filter")}


@pytest.mark.parametrize("write", [checkpoints.official, checkpoints.rosinality, checkpoints.tensorflow])
def test_every_layout_of_stylegan2_becomes_the_same(write, tmp_path):
    tensors = stylegan2(**TINY2)
    found = recognised(write(tmp_path / "model.pkl", tensors))
    assert found.kind == "StyleGAN2"
    same(found.tensors, ours(tensors))


@pytest.mark.parametrize("radial", [False, True])
def test_stylegan3_is_read(radial, tmp_path):
    tensors = stylegan3(**TINY3, radial=radial)
    found = recognised(checkpoints.official(tmp_path / "model.pkl", tensors))
    assert found.kind == "StyleGAN3"
    same(found.tensors, tensors)


def test_a_checkpoint_becomes_a_folder_that_draws_the_same(tmp_path):
    tensors = stylegan2(**TINY2)
    told = convert(checkpoints.official(tmp_path / "model.pkl", tensors), tmp_path / "gan")
    assert told.startswith("StyleGAN2, 32x32")
    assert sorted(path.name for path in (tmp_path / "gan").iterdir()) == ["config.json", "model.safetensors"]
    assert json.loads((tmp_path / "gan" / "config.json").read_text())["z_dim"] == 24
    gan = load(tmp_path / "gan", GanOptions(device="cpu"))
    d = drive(gan.network)
    torch.testing.assert_close(gan.network(d, SQUARE), network_of("StyleGAN2", tensors)(d, SQUARE))
    with pytest.raises(ConfigError, match="is there already"):
        convert(tmp_path / "model.pkl", tmp_path / "gan")


def test_weights_that_bring_their_own_stretch_are_divided_by_it(tmp_path):
    tensors = biggan(128, width=8, classes=5)
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    found = recognised(tmp_path / "pytorch_model.bin")
    assert found.kind == "BigGAN-deep"
    for name, value in found.tensors.items():
        if f"{name}_orig" in tensors:
            assert torch.linalg.matrix_norm(value.reshape(len(value), -1), 2) == pytest.approx(1.0, abs=0.35)
    assert not any(name.endswith(("_orig", "_u", "_v")) for name in found.tensors)


# -- what shall not happen -------------------------------------------------------------------------------------


class Runs:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize("wrapped", [False, True])
def test_nothing_that_a_pickle_carries_is_run(tmp_path, wrapped):
    marker = tmp_path / "was-run"
    evil = Runs(os.system, f"touch {marker}")
    data = pickle.dumps({"G_ema": evil} if wrapped else evil)
    (tmp_path / "evil.pkl").write_bytes(data)
    with pytest.raises(ConfigError, match=r"evil\.pkl: it asks for (posix|nt)\.system, which no checkpoint needs"):
        convert(tmp_path / "evil.pkl", tmp_path / "out")
    assert not marker.exists()
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("name", [
    ("builtins", "eval"), ("builtins", "getattr"), ("subprocess", "Popen"), ("torch", "load"), ("torch.hub", "load"),
    ("torch.nn.modules.module", "Module.__init__"), ("numpy", "load"), ("functools", "partial"), ("os.path", "join"),
    ("torch.serialization", "load"), ("vjserver.generators.gan.pickles", "read"),
])  # fmt: skip
def test_only_few_names_are_known(name):
    data = b"c" + name[0].encode() + b"\n" + name[1].encode() + b"\n."
    if name[0].startswith("torch.nn.modules"):
        assert pickles._Reader(io.BytesIO(data)).load() is pickles._Module
        return
    with pytest.raises(pickles.RefusedError, match="which no checkpoint needs"):
        pickles._Reader(io.BytesIO(data)).load()


class Claims:
    """A tensor that claims to be larger than what is there."""

    def __init__(self, size, stride):
        self.size, self.stride = size, stride

    def __reduce__(self):
        data = torch.zeros(4).untyped_storage()
        storage = torch.storage.TypedStorage(wrap_storage=data, dtype=torch.float32, _internal=True)
        return torch._utils._rebuild_tensor_v2, (storage, 0, self.size, self.stride, False, {})


@pytest.mark.parametrize(("size", "stride"), [
    ((2_500_000_000,), (0,)), ((2_500_000_000,), (1,)), ((5,), (1,)), ((2, 2), (4, 1)), ((-1,), (1,)), ((3,), (-1,)),
    ((1 << 40, 1 << 40), (0, 0)),
])  # fmt: skip
def test_a_tensor_claims_no_more_than_is_there(tmp_path, size, stride):
    (tmp_path / "large.pkl").write_bytes(pickle.dumps({"G_ema": Claims(size, stride)}))
    with pytest.raises(ConfigError, match=r"is claimed|bytes is in it"):
        recognised(tmp_path / "large.pkl")


def test_an_array_claims_no_more_than_is_there(tmp_path):
    data = pickle.dumps(np.zeros((4, 4), np.float32), 2)
    assert np.array_equal(pickles._Reader(io.BytesIO(data)).load(), np.zeros((4, 4)))
    for wrong in (data.replace(b"K\x04K\x04\x86", b"J\xff\xff\xff\x7fK\x04\x86"), data.replace(b"f4", b"O8")):
        assert wrong != data
        with pytest.raises(Exception, match=r"claimed|in it|bytes"):
            pickles._Reader(io.BytesIO(wrong)).load()


def nested(depth):
    value = None
    for _ in range(depth):
        value = b"(" if value is None else value
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def deep_modules(depth):
    inner = checkpoints.Persistent("Layer", {}, {})
    for _ in range(depth):
        inner = checkpoints.Persistent("Layer", {}, {"a": inner})
    return inner


def test_what_is_nested_deep_is_told(tmp_path):
    (tmp_path / "deep.pkl").write_bytes(nested(100_000))
    with pytest.raises(ConfigError, match=r"deep\.pkl"):
        convert(tmp_path / "deep.pkl", tmp_path / "out")
    with checkpoints.modules(
        torch_utils__persistence={"_reconstruct_persistent_obj": checkpoints._reconstruct_persistent_obj},
        dnnlib__util={"EasyDict": checkpoints.EasyDict},
    ):
        (tmp_path / "modules.pkl").write_bytes(pickle.dumps({"G_ema": deep_modules(60)}))
    with pytest.raises(ConfigError, match="deep in each other"):
        recognised(tmp_path / "modules.pkl")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("write", [checkpoints.official, checkpoints.rosinality, checkpoints.tensorflow])
def test_a_file_that_is_cut_off_is_told(tmp_path, write, share):
    path = write(tmp_path / "model.pkl", stylegan2(**TINY2))
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ConfigError, match=r"model\.pkl"):
        recognised(path)


@pytest.mark.parametrize(("rows", "told"), [
    ({"model.diffusion_model.x.weight": 1}, "a diffusion checkpoint"), ({"lora_unet_x.weight": 1}, "a LoRA"),
    ({"quantize.embedding.weight": 1}, "a VQGAN"), ({"visual.proj": 1}, "CLIP"), ({"a": 1, "b": 1}, "called a, b"),
    ({"progression.0.conv1.weight": 1}, "StyleGAN1"), ({}, "no tensors"),
    ({"synthesis.b4.const": 1, "synthesis.b4.conv1.pre_0.weight": 1}, "Lafite"),
])  # fmt: skip
def test_another_kind_of_checkpoint_is_called_by_its_name(tmp_path, rows, told):
    torch.save({name: torch.zeros(side) for name, side in rows.items()}, tmp_path / "model.pt")
    with pytest.raises(ConfigError, match=told):
        recognised(tmp_path / "model.pt")


def test_what_is_not_whole_is_told(tmp_path):
    tensors = stylegan2(**TINY2)
    for missing in ("mapping.w_avg", "synthesis.b8.conv0.affine.weight", "synthesis.b16.torgb.bias"):
        save_file({k: v.contiguous() for k, v in tensors.items() if k != missing}, tmp_path / "model.safetensors")
        with pytest.raises(ConfigError, match=r"it is not whole: .* is missing"):
            convert(tmp_path / "model.safetensors", tmp_path / "out")
    wrong = {**tensors, "synthesis.b8.conv0.bias": torch.full((3,), float("nan"))}
    save_file(wrong, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="numbers that are none"):
        convert(tmp_path / "model.safetensors", tmp_path / "out")


def test_the_process_that_reads_has_no_network(tmp_path, monkeypatch):
    """What it gives up it cannot have back: in a process of its own nothing can be reached afterwards."""
    code = (
        "import socket, sys\n"
        "from vjserver.generators.gan.convert import _give_up_network\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "_give_up_network()\n"
        "try:\n    socket.create_connection(server.getsockname(), 2)\nexcept OSError:\n    sys.exit(0)\nsys.exit(1)\n"
    )
    import subprocess
    import sys

    if sys.platform != "linux":
        pytest.skip("only Linux lets a process leave the network")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode == 1:
        pytest.skip("this system lets no process leave the network (no user namespaces)")
    assert done.returncode == 0, done.stderr


def test_a_process_that_ends_by_itself_is_told(tmp_path, monkeypatch):
    (tmp_path / "x.pkl").write_bytes(b"x")
    monkeypatch.setattr(conversion, "_work", _dies)
    with pytest.raises(ConfigError, match=r"x\.pkl: the process that read it ended by itself \(exit code 3\)"):
        convert(tmp_path / "x.pkl", tmp_path / "out")


def _dies(*_args):
    os._exit(3)


def test_a_folder_that_is_no_gan_is_told(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "StyleGAN9"}')
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(GeneratorError, match="StyleGAN9 is not played"):
        load(tmp_path, GanOptions())
