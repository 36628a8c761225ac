"""Conversion: checkpoints as others write them become folders, and hostile ones become a sentence."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import checkpoints
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_networks import SQUARE, TINY2, TINY3, drive

from bench.random_gans import biggan, stylegan2, stylegan3
from vjserver.generators.gan import convert as conversion
from vjserver.generators.gan import pickles
from vjserver.generators.gan.convert import convert, of_tensors, recognised
from vjserver.generators.gan.model import load, network_of
from vjserver.generators.gan.options import GanOptions
from vjserver.types.errors import ConfigError, GeneratorError


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6)


def here(path, folder):
    """Convert in this process, which is quicker."""
    return conversion.write(recognised(path), folder)


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
    assert np.array_equal(pickles._Reader(io.BytesIO(data)).load().values, np.zeros((4, 4)))
    for wrong in (data.replace(b"K\x04K\x04\x86", b"J\xff\xff\xff\x7fK\x04\x86"), data.replace(b"f4", b"O8")):
        assert wrong != data
        with pytest.raises(Exception, match=r"claimed|in it|bytes"):
            pickles._Reader(io.BytesIO(wrong)).load()


def opcodes(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


DTYPE = b"cnumpy\ndtype\n"
FORGED = DTYPE + b"(X\x02\x00\x00\x00O8K\x00K\x01tR(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
"""A number format of objects that says it has none: numpy would take bytes for pointers."""


@pytest.mark.parametrize("data", [
    opcodes(FORGED),
    opcodes(FORGED.replace(b"O8", b"V8")),
    opcodes(DTYPE, b"(X\x02\x00\x00\x00f4K\x00K\x01tR(K\x03X\x01\x00\x00\x00<X\x01\x00\x00\x00xNNK\x00K\x00K\x00tb"),
    opcodes(b"cnumpy._core.multiarray\nscalar\n(", FORGED, b"U\x08AAAAAAAAtR"),
    opcodes(b"cnumpy\nndarray\n(K\x05tR"),
    opcodes(b"(K\x01K\x02tQ"),
    opcodes(b"c_codecs\nencode\n(]tR"),
])  # fmt: skip
def test_no_number_format_is_forged(data):
    with pytest.raises((pickles.RefusedError, pickle.UnpicklingError, TypeError)):
        pickles._Reader(io.BytesIO(data)).load()


def test_a_network_within_itself_over_and_over_is_told():
    inner = pickles.Held({"_modules": {}})
    for _ in range(38):
        inner = pickles.Held({"_modules": {"a": inner, "b": inner}})
    with pytest.raises(ConfigError, match="more than 20000"):
        pickles.tensors_of(inner)
    loop = pickles.TensorFlowNetwork()
    loop.state = {"components": {str(i): loop for i in range(400)}, "variables": None}
    with pytest.raises(ConfigError, match="StyleGAN1 or older"):
        conversion._of_tensorflow(Path("x.pkl"), loop)


@pytest.mark.parametrize("value", [
    torch.zeros(1).expand(3 * 10**8), torch.zeros(4, dtype=torch.complex64), torch.zeros(2, device="meta"),
    torch.zeros(3, 3).to_sparse(),
])  # fmt: skip
def test_a_tensor_that_is_no_plain_array_is_told(value):
    with pytest.raises(ConfigError, match=r"no plain array|holds less"):
        of_tensors(Path("x.pt"), {**stylegan2(**TINY2), "mapping.w_avg": value})


@pytest.mark.parametrize("rows", [{1: torch.zeros(1)}, {"g_ema": {2: torch.zeros(1)}}, {"G_ema": 5}, [1], 7, None])
def test_odd_contents_are_told(tmp_path, rows):
    torch.save(rows, tmp_path / "model.pt")
    with pytest.raises(ConfigError, match=r"model\.pt"):
        here(tmp_path / "model.pt", tmp_path)


@pytest.mark.parametrize(("name", "shape"), [
    ("synthesis.b8.conv1.affine.weight", (3, 3)), ("synthesis.b4.const", (16, 9, 7)), ("mapping.w_avg", (5,)),
    ("synthesis.b16.torgb.bias", (4,)), ("synthesis.b8.conv0.weight", (0, 16, 3, 3)), ("mapping.fc0.weight", (32, 0)),
])  # fmt: skip
def test_tensors_that_do_not_fit_together_are_told(tmp_path, name, shape):
    tensors = {**stylegan2(**TINY2), name: torch.ones(shape)}
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="do not fit together"):
        here(tmp_path / "model.safetensors", tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_a_download_that_broke_off_is_told(tmp_path):
    save_file(stylegan2(**TINY2), tmp_path / "model.safetensors")
    data = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ConfigError, match=r"model\.safetensors is damaged, or no checkpoint"):
        convert(tmp_path / "model.safetensors", tmp_path / "out")


def test_nothing_is_removed_that_was_there_before(tmp_path):
    (tmp_path / ".out.part").mkdir()
    path = checkpoints.official(tmp_path / ".out.part" / "good.pkl", stylegan2(**TINY2))
    convert(path, tmp_path / "out")
    assert path.exists()
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert sorted(one.name for one in tmp_path.iterdir()) == [".out.part", "out"]


@pytest.mark.parametrize("output", [".", "", "x" * 300])
def test_an_odd_place_is_told_or_taken(tmp_path, monkeypatch, output):
    path = checkpoints.official(tmp_path / "good.pkl", stylegan2(**TINY2))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    if len(output) > 255:
        with pytest.raises(ConfigError, match="cannot be written"):
            convert(path, Path(output))
    else:
        convert(path, Path(output))
        assert (tmp_path / "here" / "config.json").exists()
    with pytest.raises(ConfigError, match="no such file"):
        convert(Path("~nobody-of-that-name/x.pkl"), tmp_path / "other")


def test_a_file_that_computes_for_ever_is_ended(tmp_path):
    """A key that takes 2^45 steps to hash: the process that reads it is ended by the system."""
    bomb = (
        b"\x80\x02}("
        + b"K\x01"
        + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(45))
        + b"K\x01u."
    )
    (tmp_path / "bomb.pkl").write_bytes(bomb)
    code = (
        "import sys\nfrom pathlib import Path\nfrom vjserver.generators.gan import convert, pickles\n"
        "convert.SECONDS = 1\nconvert._bound(Path(sys.argv[1]))\npickles.read(Path(sys.argv[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "bomb.pkl")], capture_output=True, timeout=120)
    assert done.returncode in (-signal.SIGXCPU, -signal.SIGKILL), done.stderr[-300:]


def nested(depth):
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
            here(tmp_path / "model.safetensors", tmp_path)
    wrong = {**tensors, "synthesis.b8.conv0.bias": torch.full_like(tensors["synthesis.b8.conv0.bias"], float("nan"))}
    save_file(wrong, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="numbers that are none"):
        here(tmp_path / "model.safetensors", tmp_path)


def test_the_process_that_reads_has_no_network(tmp_path, monkeypatch):
    """What it gives up it cannot have back: in a process of its own nothing can be reached afterwards."""
    code = (
        "import socket, sys\n"
        "from vjserver.generators.gan.convert import _give_up_network\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "_give_up_network()\n"
        "try:\n    socket.create_connection(server.getsockname(), 2)\nexcept OSError:\n    sys.exit(0)\nsys.exit(1)\n"
    )
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


@pytest.mark.parametrize("text", [
    "[]", "5", "null", "[" * 100_000, '{"source": 1}', '{"source": "a", "licence": null, "files": {}}',
    '{"source": "a", "licence": "b", "files": {"../../x": {"size": 1, "sha256": ""}}}', "{",
])  # fmt: skip
def test_a_damaged_manifest_costs_no_other_model(tmp_path, monkeypatch, vj, text):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path / "data"))
    convert(checkpoints.official(tmp_path / "good.pkl", stylegan2(**TINY2)), tmp_path / "good")
    assert vj("models", "add", tmp_path / "good")[0] == 0
    bad = tmp_path / "data" / "models" / "bad"
    bad.mkdir()
    (bad / "vjserver.json").write_text(text)
    assert vj("models", "list")[0] == 0
    assert vj("models", "verify")[0] == 0
    assert "has no classes" in vj("models", "classes", "good")[2]


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", '{"_class_name": "BigGAN-deep", "classes": "x"}',
                                  '{"_class_name": "BigGAN-deep", "classes": 1e400}', ""])  # fmt: skip
def test_a_damaged_configuration_is_told(tmp_path, vj, text):
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "classes.txt").write_bytes(bytes(range(256)))
    assert vj("models", "classes", tmp_path)[0] == 1
    assert vj("frame", "--generator", "gan", "--model", tmp_path, "--size", "64x64", "-o", tmp_path / "a.png")[0] == 1


def test_a_folder_that_is_no_gan_is_told(tmp_path):
    (tmp_path / "config.json").write_text('{"_class_name": "StyleGAN9"}')
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(GeneratorError, match="StyleGAN9 is not played"):
        load(tmp_path, GanOptions())
