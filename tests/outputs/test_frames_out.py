"""Frame outputs against real receivers, in other processes where it matters."""

import json
import subprocess
import sys
import time
import uuid
from dataclasses import replace

import numpy as np
import pytest
import zmq
from conftest import free_port, wait_for

from vjserver.outputs.ndi import NdiOptions, NdiOutput, metadata
from vjserver.outputs.null import NullOptions, NullOutput
from vjserver.outputs.preview import PreviewOptions, PreviewOutput
from vjserver.outputs.sharedmem import SharedMemoryOptions, SharedMemoryOutput
from vjserver.outputs.zmq import ZmqOptions, ZmqOutput
from vjserver.runtime.ring import RingReader
from vjserver.types.errors import OutputError
from vjserver.types.frames import HEADER_SIZE, Frame, FrameInfo

NDI_RECEIVER = """
import json, sys, time
import numpy as np
import NDIlib as ndi
assert ndi.initialize()
find = ndi.FindCreate(); find.extra_ips = "127.0.0.1"; find.show_local_sources = True
finder = ndi.find_create_v2(find)
source, deadline = None, time.time() + 20
while source is None and time.time() < deadline:
    ndi.find_wait_for_sources(finder, 500)
    source = next((s for s in ndi.find_get_current_sources(finder) if sys.argv[1] in s.ndi_name), None)
assert source is not None, "no source"
create = ndi.RecvCreateV3(); create.color_format = ndi.RECV_COLOR_FORMAT_RGBX_RGBA
receiver = ndi.recv_create_v3(create)
ndi.recv_connect(receiver, source)
rows, deadline = [], time.time() + 20
while len(rows) < 10 and time.time() < deadline:
    kind, video, _, _ = ndi.recv_capture_v2(receiver, 1000)
    if kind == ndi.FRAME_TYPE_VIDEO:
        pixels = np.array(video.data)
        rows.append({"shape": pixels.shape, "timecode": video.timecode, "metadata": video.metadata,
                     "corner": pixels[8, 8, :3].tolist(), "other": pixels[-8, -8, :3].tolist(),
                     "rate": [video.frame_rate_N, video.frame_rate_D]})
        ndi.recv_free_video_v2(receiver, video)
print(json.dumps(rows))
"""


def frame(i=1, width=320, height=180):
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[: height // 2, :, 0] = 200  # red above
    pixels[height // 2 :, :, 2] = 200  # blue below
    pixels[..., 3] = 255
    return Frame(pixels, FrameInfo(width, height, frame_id=i, t_generated_ns=i * 1_000_000, bpm=124.0))


def test_null_counts():
    output = NullOutput(NullOptions())
    output.open()
    output.send(frame())
    output.close()
    assert output.frames == 1


def test_shared_memory_is_read_by_its_name_and_gone_after_close():
    output = SharedMemoryOutput(SharedMemoryOptions(stream=f"t{uuid.uuid4().hex[:8]}"))
    output.open()
    output.send(frame(3))
    reader = RingReader(output.ring_name)
    got = reader.get()
    assert got.info.frame_id == 3
    assert np.array_equal(got.pixels, frame().pixels)
    name = output.ring_name
    output.close()
    reader.close()
    assert RingReader(name).get() is None


def test_a_zeromq_subscriber_gets_the_newest_frame():
    port = free_port()
    output = ZmqOutput(ZmqOptions(address=f"tcp://127.0.0.1:{port}"))
    output.open()
    with zmq.Context() as context, context.socket(zmq.SUB) as subscriber:
        subscriber.setsockopt(zmq.CONFLATE, 1)
        subscriber.setsockopt(zmq.SUBSCRIBE, b"")
        subscriber.setsockopt(zmq.LINGER, 0)
        subscriber.connect(f"tcp://127.0.0.1:{port}")

        def first():
            output.send(frame(1))
            return subscriber.poll(50)

        wait_for(first)
        subscriber.recv()
        for i in range(2, 30):
            output.send(frame(i))
            time.sleep(0.005)
        time.sleep(0.2)
        message = subscriber.recv()
        info = FrameInfo.unpack(message[:HEADER_SIZE])
        assert info.frame_id == 29, "a slow subscriber must get the newest, not the oldest"
        pixels = np.frombuffer(message, np.uint8, offset=HEADER_SIZE).reshape(info.height, info.width, 4)
        assert np.array_equal(pixels, frame().pixels)
    output.close()


def test_a_taken_zeromq_address_is_named():
    options = ZmqOptions(address=f"tcp://127.0.0.1:{free_port()}")
    first, second = ZmqOutput(options), ZmqOutput(options)
    first.open()
    with pytest.raises(OutputError, match=f"cannot bind {options.address}"):
        second.open()
    first.close()


def test_ndis_metadata_is_one_element():
    text = metadata(replace(frame().info, beat_index=5))
    assert text.startswith("<vj ")
    assert text.endswith("/>")
    assert 'bpm="124.00"' in text
    assert 'beat="5"' in text


def test_a_real_ndi_receiver_gets_colour_time_and_metadata():
    pytest.importorskip("NDIlib", reason="ndi-python is not installed")
    name = f"vj-{uuid.uuid4().hex[:8]}"
    output = NdiOutput(NdiOptions(name=name, fps=30))
    output.open()
    with subprocess.Popen([sys.executable, "-c", NDI_RECEIVER, name], stdout=subprocess.PIPE, text=True) as receiver:
        i = 0
        while receiver.poll() is None and i < 1500:
            i += 1
            output.send(frame(i))
            time.sleep(1 / 30)
        out = receiver.communicate(timeout=5)[0]
    rows = json.loads(out)
    # a change of size in mid-stream is taken in stride
    output.send(frame(i + 1, 160, 90))
    output.send(frame(i + 2, 640, 360))
    output.close()
    assert len(rows) == 10
    last = rows[-1]
    assert last["shape"] == [180, 320, 4]
    assert last["rate"] == [30, 1]
    assert last["corner"][0] > 150 > 60 > last["corner"][2]
    assert last["other"][2] > 150 > 60 > last["other"][0]
    assert last["timecode"] % 10_000 == 0
    assert f'frame="{last["timecode"] // 10_000}"' in last["metadata"]


def test_a_taken_ndi_name_is_refused_and_free_again_after_close():
    pytest.importorskip("NDIlib", reason="ndi-python is not installed")
    options = NdiOptions(name=f"vj-{uuid.uuid4().hex[:8]}")
    first, second = NdiOutput(options), NdiOutput(options)
    first.open()
    with pytest.raises(OutputError, match=f"NDI refuses the sender name '{options.name}'; another program may have it"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_the_preview_is_a_small_copy_and_a_ring_grows_with_its_frames():
    stream = f"t{uuid.uuid4().hex[:8]}"
    output = PreviewOutput(PreviewOptions(stream=stream, width=160))
    output.open()
    reader = RingReader(f"vjserver-{stream}")
    for width, height, shape in ((320, 180, (90, 160, 4)), (640, 640, (160, 160, 4)), (100, 50, (50, 100, 4))):
        output.send(frame(1, width, height))
        got = reader.get()
        assert got.pixels.shape == shape
        assert (got.info.width, got.info.height) == (shape[1], shape[0])
        assert got.pixels[2, 2, 0] == 200
    output.close()
    reader.close()


def test_a_missing_ndi_library_is_told_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "NDIlib", None)
    with pytest.raises(OutputError, match=r"pip install 'vjserver\[ndi\]'.*libavahi-client3"):
        NdiOutput(NdiOptions()).open()
