"""Our NDI output at a receiver that is not built on ndi-python: cyndilib, which brings its own copy of the library."""

import json
import os
import subprocess
import sys
import time
import uuid

import numpy as np
import pytest

from vjserver.outputs.ndi import NdiOptions, NdiOutput
from vjserver.types.frames import Frame, FrameInfo

RECEIVER = """
import json, sys, time
import numpy as np
from cyndilib.finder import Finder
from cyndilib.receiver import Receiver
from cyndilib.video_frame import VideoFrameSync
from cyndilib.wrapper.ndi_recv import RecvBandwidth, RecvColorFormat

finder = Finder()
finder.open()
source, deadline = None, time.time() + 20
while source is None and time.time() < deadline:
    finder.wait_for_sources(1)
    finder.update_sources()
    source = next((s for s in finder.iter_sources() if sys.argv[1] in s.name), None)
assert source is not None, "no source"
receiver = Receiver(color_format=RecvColorFormat.RGBX_RGBA, bandwidth=RecvBandwidth.highest)
frame = VideoFrameSync()
receiver.frame_sync.set_video_frame(frame)
receiver.set_source(source)
rows, stamps = [], set()
while len(stamps) < 8 and time.time() < deadline:
    if receiver.is_connected():
        receiver.set_source_tally_program(True)
        receiver.frame_sync.capture_video()
        width, height = frame.get_resolution()
        if width:
            stamps.add(frame.get_timestamp_posix())
            pixels = np.array(frame.get_array()).reshape(height, width, 4)
            rows.append([width, height, pixels[8, 8, :3].tolist(), pixels[-8, -8, :3].tolist()])
    time.sleep(0.02)
print(json.dumps(rows[-3:]), flush=True)
sys.stdin.readline()
"""


def test_a_foreign_receiver_sees_the_picture_and_we_see_it(tmp_path):
    pytest.importorskip("NDIlib", reason="ndi-python is not installed")
    pytest.importorskip("cyndilib", reason="cyndilib is not installed")
    (tmp_path / "ndi-config.v1.json").write_text(json.dumps({"ndi": {"networks": {"ips": "127.0.0.1"}}}))
    name = f"vj-{uuid.uuid4().hex[:8]}"
    pixels = np.zeros((180, 320, 4), np.uint8)
    pixels[:90, :, 0], pixels[90:, :, 1], pixels[..., 3] = 200, 180, 255
    output = NdiOutput(NdiOptions(name=name, fps=60))
    output.open()
    assert output.figures() == {"connections": 0.0, "program": 0.0, "preview": 0.0}
    command = [sys.executable, "-c", RECEIVER, name]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
        env={**os.environ, "NDI_CONFIG_DIR": str(tmp_path)},
    ) as receiver:  # fmt: skip
        connected, on_air, deadline = 0.0, 0.0, time.monotonic() + 25
        i = 0
        while receiver.poll() is None and time.monotonic() < deadline and not on_air:
            i += 1
            output.send(Frame(pixels, FrameInfo(320, 180, frame_id=i, t_generated_ns=time.perf_counter_ns())))
            figures = output.figures()
            connected, on_air = max(connected, figures["connections"]), figures["program"]
            time.sleep(1 / 60)
        for _ in range(60):
            output.send(Frame(pixels, FrameInfo(320, 180, frame_id=i, t_generated_ns=time.perf_counter_ns())))
            time.sleep(1 / 60)
        out = receiver.communicate("\n", timeout=20)[0]
    output.close()
    width, height, above, below = json.loads(out)[-1]
    assert (width, height) == (320, 180)
    assert above == pytest.approx([200, 0, 0], abs=14)
    assert below == pytest.approx([0, 180, 0], abs=14)
    assert connected == 1.0
    assert on_air == 1.0, "the tally comes back"
