"""Diffusion as its users meet it: ``vjserver frame`` beside diffusers, and a running show that takes it up over OSC."""

import json
import os
import socket
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from conftest import free_port, running, wait_for

from vjserver import cli
from vjserver.runtime.ring import RingReader

torch = pytest.importorskip("torch", reason="the diffusion generator needs torch: pip install 'vjserver[diffusion]'")


def shot(path):
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(int)


def test_a_frame_from_the_shell_is_that_of_diffusers(stocked, models, tmp_path):
    """The README's way of comparing: the same weights, prompt, seed and steps, to 8 bits."""
    import diffusers

    out = tmp_path / "out.png"
    line = f"frame --model sd-turbo --decoder full --prompt fish --steps 2 --seed 11 --size 96x72 --device cpu -o {out}"
    assert cli.main(line.split()) == 0
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(str(models["sd-turbo"]), safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    given = {"num_inference_steps": 2, "guidance_scale": 0.0, "width": 96, "height": 72}
    want = pipeline("fish", generator=torch.Generator("cpu").manual_seed(11), **given).images[0]
    assert np.abs(shot(out) - np.asarray(want).astype(int)).max() <= 1

    again = tmp_path / "again.png"
    line = (f"frame --model sd-turbo --decoder full --prompt moon --image {out} --strength 0.5 --steps 2 --seed 3 "
            f"--size 96x72 --device cpu -o {again}")  # fmt: skip
    assert cli.main(line.split()) == 0
    pipeline = diffusers.StableDiffusionImg2ImgPipeline.from_pipe(pipeline)
    image = torch.from_numpy(shot(out)).permute(2, 0, 1)[None].float() / 255.0
    want = pipeline("moon", image=image, strength=0.5, num_inference_steps=4, guidance_scale=0.0,
                    generator=torch.Generator("cpu").manual_seed(3)).images[0]  # fmt: skip
    assert np.abs(shot(again) - np.asarray(want).astype(int)).max() <= 1
    assert np.abs(shot(again) - shot(out)).mean() > 0.5


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("--size 97x64", "a side is a multiple of 8 in 64..2048"),
        ("--size 4096x4096", "a side is a multiple of 8 in 64..2048"),
        ("--size auto", "--size is WIDTHxHEIGHT"),
        ("--strength 1.5", "--strength must be in 0..1: got 1.5"),
        ("--strength nan", "--strength must be in 0..1: got nan"),
        ("--steps 9", "--steps must be in 1..4: got 9"),
        ("--seed -1", "--seed must be in 0..2147483647"),
        ("--model nothing", "unknown model 'nothing'"),
        ("--model x.ckpt", "take the .safetensors version"),
        ("--image nowhere.png", "is no picture that can be read"),
        ("--lora nowhere.safetensors", "no such LoRA"),
        ("--device cuda", "finds no cuda device"),
        ("-o /nowhere/x.png", "cannot be written"),
    ],
)
def test_wrong_options_of_frame_are_told(stocked, tmp_path, capsys, change, why):
    if "cuda" in change and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    base = f"frame --model sd-turbo --prompt fish --size 64x64 --device cpu -o {tmp_path / 'x.png'}"
    assert cli.main([*base.split(), *change.split()]) == 1
    assert why in capsys.readouterr().err


def test_an_empty_and_a_very_long_prompt_make_a_picture(stocked, tmp_path, capsys):
    for prompt in ("", "red fish " * 1111):
        out = tmp_path / f"{len(prompt)}.png"
        given = ["--model", "lcm", "--size", "64x64", "--device", "cpu", "-o", str(out)]
        assert cli.main(["frame", "--prompt", prompt, *given]) == 0
        assert shot(out).std() > 3
    assert "cut off after 77 tokens" in capsys.readouterr().out


SHOW = """
outputs = [{{kind = "sharedmem", stream = "{stream}"}}]
[source]
kind = "click"
bpm = 120
[video]
width = 320
height = 180
fps = 12
[generators.diffusion]
model = "sd-turbo"
device = "cpu"
size = "128x72"
[osc]
port = {port}
targets = []
[web]
on = false
"""


def test_a_show_takes_diffusion_up_over_osc_and_falls_back_with_a_word(stocked, tmp_path):
    """The real server on a click track: pattern, tiny SD-Turbo, a chain, LCM, a damaged model, and wrong messages."""
    stream, port = f"t{os.getpid()}", free_port(socket.SOCK_DGRAM)
    show, log = tmp_path / "show.toml", tmp_path / "log"
    show.write_text(SHOW.format(stream=stream, port=port))
    weights = stocked / "sdxs" / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()

    def say(*args, well=True):
        done = subprocess.run([sys.executable, "-m", "vjserver", "osc", "send", "--port", str(port), *args])
        assert done.returncode == (0 if well else 1)

    def told(text, seconds=40):
        wait_for(lambda: text in log.read_text(), seconds)

    with log.open("w") as out, running([sys.executable, "-m", "vjserver", "run", str(show), "--json"],
                                       stdout=out, stderr=subprocess.STDOUT) as run:  # fmt: skip
        told("pictures/s")
        ring = RingReader(f"vjserver-{stream}")
        say("/vj/prompt/1/text", "a red fish")
        say("/vj/generator", "diffusion")
        told("diffusion is getting ready; pattern plays meanwhile")
        told("recovered generator: diffusion plays")
        time.sleep(1.0)
        noise = wait_for(ring.get)
        assert noise.pixels.shape == (180, 320, 4)
        say("/vj/input", "pattern")
        say("/vj/param/strength", "0.3")
        time.sleep(1.5)
        chained = wait_for(ring.get)
        assert np.abs(chained.pixels.astype(int) - noise.pixels).mean() > 3
        say("/vj/model", "lcm")
        told("recovered generator: diffusion (lcm) plays")
        weights.unlink()
        weights.write_bytes(whole[:10000])
        try:
            say("/vj/model", "sdxs")
            told("diffusion_pytorch_model.safetensors is damaged")
            told("diffusion (lcm) plays on")
        finally:
            weights.write_bytes(whole)
        say("/vj/model", "/etc/passwd")
        told("not by a path")
        say("/vj/size", "100x100", well=False)
        told("/vj/size: a side is a multiple of 8")
        time.sleep(0.6)
        say("/vj/param/strength", "7.5")
        told("/vj/param/strength: 7.5 -> 1, the nearest that is allowed")
        time.sleep(0.6)
        say("/vj/prompt/2/text", "x" * 3000)
        told("/vj/prompt/2/text: 3000 characters -> 2000")
        say("/vj/prompt/2/text", "many words " * 40)
        say("/vj/prompt/2/weight", "1")
        told("a prompt has at most 77 tokens")
        say("/vj/param/decks/raw", "2")
        say("/vj/output/add", "deck", f"sharedmem stream={stream}-b feed=preview size=160x90")
        preview = RingReader(f"vjserver-{stream}-b")
        assert wait_for(preview.get, 20).pixels.shape == (90, 160, 4)
        preview.close()
        before = wait_for(ring.get).info.frame_id
        time.sleep(2.0)
        assert wait_for(ring.get).info.frame_id > before
        ring.close()
        run.terminate()
        assert run.wait(5) == 0
    summary = json.loads(log.read_text().splitlines()[-1])
    assert summary["frames"] > 50
    for name in (f"vjserver-{stream}", f"vjserver-{stream}-b"):
        assert RingReader(name).get() is None
