"""The main job on real input, whole.

Sound at a real audio device becomes OSC triggers, and frames that a real NDI receiver and a real ZeroMQ client get,
while prompts and presets are changed over OSC.
"""

import json
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import zmq
from conftest import free_port, running, wait_for

from vjserver.controls.osc import decode
from vjserver.runtime.osc import message
from vjserver.sources.song import BPM, demo_song
from vjserver.types.frames import HEADER_SIZE, FrameInfo

NDI_WATCHER = """
import json, sys, time
import NDIlib as ndi
ndi.initialize()
where = ndi.FindCreate(); where.extra_ips = "127.0.0.1"
source, deadline = None, time.time() + 45
while source is None and time.time() < deadline:
    finder = ndi.find_create_v2(where)  # on a busy machine a finder can miss its first answer: ask anew
    for _ in range(8):
        ndi.find_wait_for_sources(finder, 500)
        source = next((s for s in ndi.find_get_current_sources(finder) if sys.argv[1] in s.ndi_name), source)
        if source is not None:
            break
assert source is not None, "no NDI source found"
receiver = ndi.recv_create_v3(ndi.RecvCreateV3())
ndi.recv_connect(receiver, source)
beats, frames, deadline = set(), 0, time.time() + 8
while time.time() < deadline:
    kind, video, _, _ = ndi.recv_capture_v2(receiver, 500)
    if kind == ndi.FRAME_TYPE_VIDEO:
        frames += 1
        beats.add(video.metadata.split('beat="')[1].split('"')[0])
        size = [video.xres, video.yres]
        ndi.recv_free_video_v2(receiver, video)
print(json.dumps({"frames": frames, "beats": len(beats), "size": size}))
"""


def test_sound_in_beats_and_pictures_out_while_the_show_is_played(pulse, tmp_path):
    pytest.importorskip("NDIlib", reason="ndi-python is not installed")
    triggers, control, frames = free_port(socket.SOCK_DGRAM), free_port(socket.SOCK_DGRAM), free_port()
    name = f"vj-{control}"
    show = tmp_path / "show.toml"
    show.write_text(
        f'outputs = [{{kind = "zmq", address = "tcp://127.0.0.1:{frames}"}}, {{kind = "ndi", name = "{name}"}}]\n'
        f'[source]\nkind = "device"\nname = "default"\n[video]\nwidth = 320\nheight = 180\n'
        f"[osc]\nport = {control}\ntargets = [{{port = {triggers}}}]\n[web]\non = false\n"
    )
    heard: dict[str, list[object]] = {}
    pictures: list[tuple[FrameInfo, float]] = []
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hand,
        zmq.Context() as context,
        context.socket(zmq.SUB) as eye,
    ):
        ear.bind(("127.0.0.1", triggers))
        ear.settimeout(0.02)
        eye.setsockopt(zmq.CONFLATE, 1)
        eye.setsockopt(zmq.SUBSCRIBE, b"")
        eye.connect(f"tcp://127.0.0.1:{frames}")

        def play(seconds):
            """Listen and look for a while; return the mean colour of the last picture."""
            deadline, colour = time.monotonic() + seconds, np.zeros(3)
            while time.monotonic() < deadline:
                try:
                    for m in decode(ear.recv(65536)):
                        heard.setdefault(m.address, []).extend(m.args[:1])
                except TimeoutError:
                    pass
                if eye.poll(0):
                    packet = eye.recv()
                    info = FrameInfo.unpack(packet[:HEADER_SIZE])
                    pixels = np.frombuffer(packet, np.uint8, offset=HEADER_SIZE).reshape(info.height, info.width, 4)
                    colour = pixels[..., :3].mean(axis=(0, 1))
                    pictures.append((info, float(colour.mean())))
            return colour

        def say(*args):
            hand.sendto(message(*args), ("127.0.0.1", control))

        command = [sys.executable, "-m", "vjserver", "run", str(show)]
        with running(command, env=pulse.env, stdout=subprocess.PIPE, text=True) as server:
            wait_for(lambda: eye.poll(50), 30)
            player = pulse.play(demo_song()[48000 * 30 : 48000 * 60])
            watcher = subprocess.Popen([sys.executable, "-c", NDI_WATCHER, name], stdout=subprocess.PIPE, text=True)
            play(6)
            say("/vj/prompt/1/text", "blue ice rings")
            blue = play(3)
            say("/vj/preset/go", "lava")
            red = play(4)
            say("/vj/master/blackout", 1)
            black = play(1)
            ndi = json.loads(watcher.communicate(timeout=70)[0])
            player.kill()
            player.wait()
            server.terminate()
            server.wait(5)
            assert server.returncode == 0
            log = server.stdout.read()
            assert not [what for what in ("process", "sound", "output", "generator") if f"degraded {what}" in log], log

    assert heard["/vj/bpm"][-1] == pytest.approx(BPM, rel=0.02)
    beats = list(heard["/vj/beat"])
    assert beats == list(range(beats[0], beats[0] + len(beats)))
    assert len(beats) > 15
    assert {"/vj/kick", "/vj/snare", "/vj/hat", "/vj/onset", "/vj/event", "/vj/bands"} <= set(heard)
    assert blue[2] > 1.2 * blue[0], "ice is blue"
    assert red[0] > 2.0 * red[2], "lava is red"
    assert black.max() == 0
    assert len(pictures) > 300
    assert {info.seed for info, _ in pictures} > {7}
    assert min(light for _, light in pictures[:300]) > 3
    assert ndi["frames"] > 200
    assert ndi["beats"] > 8
    assert ndi["size"] == [320, 180]
