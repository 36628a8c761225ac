"""Checkpoints as others write them: pickles that name modules which are not here, and hostile ones."""

import pickle
import sys
import types
from collections import OrderedDict
from contextlib import contextmanager

import numpy as np
import torch

SOURCE = "raise SystemExit('the source in a checkpoint was run')"


@contextmanager
def modules(**rows):
    """Have modules of such names, with what is in them, for as long as a pickle is written."""
    made = {}
    for dotted, content in rows.items():
        name = dotted.replace("__", ".")
        parts = name.split(".")
        for i in range(1, len(parts) + 1):
            head = ".".join(parts[:i])
            if head not in sys.modules:
                made[head] = sys.modules[head] = types.ModuleType(head)
        for key, value in content.items():
            setattr(sys.modules[name], key, value)
            value.__module__, value.__qualname__ = name, key
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


def _reconstruct_persistent_obj(meta):
    raise AssertionError("only written, never read")


class EasyDict(dict):
    pass


class Persistent:
    def __init__(self, name, tensors, modules_):
        self.name, self.tensors, self.modules_ = name, tensors, modules_

    def __reduce__(self):
        state = {
            "_parameters": OrderedDict((k, torch.nn.Parameter(v)) for k, v in self.tensors.items() if k != "w_avg"),
            "_buffers": OrderedDict((k, v) for k, v in self.tensors.items() if k == "w_avg"),
            "_modules": OrderedDict(self.modules_),
            "_init_kwargs": EasyDict(z_dim=1),
        }
        meta = EasyDict(type="class", version=6, module_src=SOURCE, class_name=self.name, state=state)
        return _reconstruct_persistent_obj, (meta,)


def tree(tensors, name="Generator"):
    """Return named tensors as modules within modules."""
    own, inner = {}, {}
    for key, value in tensors.items():
        head, dot, rest = key.partition(".")
        if dot:
            inner.setdefault(head, {})[rest] = value
        else:
            own[key] = value
    return Persistent(name, own, {head: tree(rows, "Layer") for head, rows in inner.items()})


def official(path, tensors):
    """Write ``G_ema`` as the official PyTorch versions of StyleGAN do."""
    with modules(torch_utils__persistence={"_reconstruct_persistent_obj": _reconstruct_persistent_obj},
                 dnnlib__util={"EasyDict": EasyDict}):  # fmt: skip
        path.write_bytes(
            pickle.dumps({"G": None, "D": None, "G_ema": tree(tensors), "training_set_kwargs": EasyDict()})
        )
    return path


def rosinality(path, tensors):
    """Write StyleGAN2 as rosinality's PyTorch version names it."""
    rows = {"input.input": tensors["synthesis.b4.const"][None]}
    for i in range(8):
        for part in ("weight", "bias"):
            rows[f"style.{i + 1}.{part}"] = tensors[f"mapping.fc{i}.{part}"]
    place = 0
    for block in sorted({int(k.split(".")[1][1:]) for k in tensors if k.startswith("synthesis.b")}):
        for conv in ("conv0", "conv1"):
            ours = f"synthesis.b{block}.{conv}"
            if f"{ours}.weight" not in tensors:
                continue
            theirs = "conv1" if place == 0 else f"convs.{place - 1}"
            rows[f"{theirs}.conv.weight"] = tensors[f"{ours}.weight"][None]
            rows[f"{theirs}.conv.modulation.weight"] = tensors[f"{ours}.affine.weight"]
            rows[f"{theirs}.conv.modulation.bias"] = tensors[f"{ours}.affine.bias"]
            rows[f"{theirs}.noise.weight"] = tensors[f"{ours}.noise_strength"].reshape(1)
            rows[f"{theirs}.activate.bias"] = tensors[f"{ours}.bias"]
            rows[f"noises.noise_{place}"] = tensors[f"{ours}.noise_const"][None, None]
            place += 1
        ours, number = f"synthesis.b{block}.torgb", block.bit_length() - 4
        theirs = "to_rgb1" if block == 4 else f"to_rgbs.{number}"
        rows[f"{theirs}.conv.weight"] = tensors[f"{ours}.weight"][None]
        rows[f"{theirs}.conv.modulation.weight"] = tensors[f"{ours}.affine.weight"]
        rows[f"{theirs}.conv.modulation.bias"] = tensors[f"{ours}.affine.bias"]
        rows[f"{theirs}.bias"] = tensors[f"{ours}.bias"].reshape(1, 3, 1, 1)
    torch.save({"g_ema": rows, "latent_avg": tensors["mapping.w_avg"]}, path)
    return path


class Network:
    """Stands for TensorFlow's."""

    def __init__(self, **state):
        self.__dict__.update(state)

    def __getstate__(self):
        return self.__dict__


def tensorflow(path, tensors):
    """Write StyleGAN2 as its TensorFlow version keeps it."""

    def array(name):
        return tensors[name].numpy()

    mapping = [(f"Dense{i}/{part}", array(f"mapping.fc{i}.{part}").T) for i in range(8) for part in ("weight", "bias")]
    synthesis = [("4x4/Const/const", array("synthesis.b4.const")[None])]
    noise = 0
    for block in sorted({int(k.split(".")[1][1:]) for k in tensors if k.startswith("synthesis.b")}):
        for part, theirs in (("conv0", "Conv0_up"), ("conv1", "Conv" if block == 4 else "Conv1"), ("torgb", "ToRGB")):
            ours, name = f"synthesis.b{block}.{part}", f"{block}x{block}/{theirs}"
            if f"{ours}.weight" not in tensors:
                continue
            weight = array(f"{ours}.weight").transpose(2, 3, 1, 0)
            synthesis.append((f"{name}/weight", weight[::-1, ::-1] if part == "conv0" else weight))
            synthesis.append((f"{name}/mod_weight", array(f"{ours}.affine.weight").T))
            synthesis.append((f"{name}/mod_bias", array(f"{ours}.affine.bias") - 1.0))
            synthesis.append((f"{name}/bias", array(f"{ours}.bias")))
            if part != "torgb":
                synthesis.append((f"{name}/noise_strength", array(f"{ours}.noise_strength")))
                synthesis.append((f"noise{noise}", array(f"{ours}.noise_const")[None, None]))
                noise += 1
    synthesis = [(name, np.array(values, order="C")) for name, values in synthesis]
    with modules(dnnlib__tflib__network={"Network": Network}, dnnlib__util={"EasyDict": EasyDict}):
        parts = EasyDict(
            mapping=Network(version=4, name="G_mapping", variables=mapping, build_module_src=SOURCE),
            synthesis=Network(version=4, name="G_synthesis", variables=synthesis, build_module_src=SOURCE),
        )
        whole = Network(version=4, name="Gs", static_kwargs=EasyDict(), components=parts, build_module_src=SOURCE,
                        variables=[("dlatent_avg", array("mapping.w_avg")), ("lod", np.float32(0.0))])  # fmt: skip
        path.write_bytes(pickle.dumps((whole, whole, whole)))
    return path
