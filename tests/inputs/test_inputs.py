"""Inputs against real senders: rings, ZeroMQ, NDI, files."""

import os
import subprocess
import sys
import time
import uuid
from dataclasses import replace

import cv2
import numpy as np
import pytest
import zmq
from conftest import free_port, running, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.inputs.file import FileInput, FileInputOptions
from vjserver.inputs.ndi import NdiInput, NdiInputOptions
from vjserver.inputs.sharedmem import SharedMemoryInput, SharedMemoryInputOptions
from vjserver.inputs.zmq import ZmqInput, ZmqInputOptions, _frame
from vjserver.outputs.zmq import ZmqOptions, ZmqOutput
from vjserver.runtime.ring import RingWriter
from vjserver.types.errors import InputError, OutputError
from vjserver.types.frames import FOURCC_JPEG, Frame, FrameInfo, HeaderError, header_of


def frame(i=1, width=320, height=180, red=200):
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[: height // 2, :, 0] = red  # red above
    pixels[height // 2 :, :, 2] = 200  # blue below
    pixels[..., 3] = 255
    now_ns = time.perf_counter_ns()
    return Frame(pixels, FrameInfo(width, height, frame_id=i, t_capture_ns=now_ns, t_generated_ns=now_ns))


def test_shared_memory_is_found_when_it_comes_and_again_when_it_comes_back():
    stream = uuid.uuid4().hex[:8]
    door = SharedMemoryInput(SharedMemoryInputOptions(stream=stream))
    door.open()
    assert door.read(0.01) is None
    for number, (width, height) in enumerate(((320, 180), (640, 360)), start=5):
        ring = RingWriter(f"vjserver-{stream}", width * height * 4)
        ring.put(frame(number, width, height))
        got = wait_for(lambda: door.read(0.1))
        assert got.info.frame_id == number
        assert got.pixels.shape == (height, width, 4)
        ring.close()
    assert door.figures() == {"drops": 0, "torn": 0}
    door.close()


@pytest.mark.parametrize("encoding", ["raw", "jpeg"])
def test_zmq_brings_what_our_own_output_sends(encoding):
    address = f"tcp://127.0.0.1:{free_port()}"
    output = ZmqOutput(ZmqOptions(address=address, encoding=encoding))
    door = ZmqInput(ZmqInputOptions(address=address))
    output.open()
    door.open()

    def sent_and_read(i=11, width=320, height=180):
        output.send(frame(i, width, height))
        return door.read(0.05)

    got = wait_for(sent_and_read)
    assert got.info.frame_id == 11
    assert np.abs(got.pixels.astype(int) - frame().pixels).mean() < (1 if encoding == "raw" else 4)
    assert (got.pixels[..., 3] == 255).all()
    larger = wait_for(lambda: (f := sent_and_read(12, 640, 360)) and f.pixels.shape == (360, 640, 4) and f)
    assert larger.info.frame_id == 12, "a sender may change its size in mid-stream"
    output.close()
    output = ZmqOutput(ZmqOptions(address=address, encoding=encoding))
    wait_for(lambda: _opened(output))
    again = wait_for(lambda: (f := sent_and_read(13)) and f.info.frame_id == 13 and f, 5)
    assert again.pixels.shape == (180, 320, 4), "a publisher that was restarted is found again"
    output.close()
    door.close()


def _opened(output):
    try:
        output.open()
    except OutputError:
        return False
    return True


def test_a_frame_that_a_receiver_holds_does_not_change():
    address = f"ipc://{os.path.join('/tmp', uuid.uuid4().hex[:8])}" if os.name != "nt" else "tcp://127.0.0.1:9039"
    output, door = ZmqOutput(ZmqOptions(address=address)), ZmqInput(ZmqInputOptions(address=address))
    output.open()
    door.open()
    wait_for(lambda: (output.send(frame(1)), door.read(0.05))[1])
    held = []
    for i in range(2, 60):
        output.send(frame(i, red=i * 4))
        got = door.read(0.5)
        if got is not None:
            held.append((got.info.frame_id, got))
    assert len(held) > 30
    for i, got in held:
        assert (got.pixels[:90, :, 0] == i * 4).all(), "a frame that is held does not change"
    output.close()
    door.close()


def test_messages_that_are_none_of_ours_are_refused_with_a_reason():
    address = f"tcp://127.0.0.1:{free_port()}"
    door = ZmqInput(ZmqInputOptions(address=address))
    door.open()
    rough = zmq.Context.instance().socket(zmq.PUB)
    rough.bind(address)
    good = frame()
    bad = {
        b"x" * 200: "magic",
        b"short": "128 bytes",
        header_of(good) + b"\0" * 10: "bytes announced",
        header_of(good, FOURCC_JPEG, 9) + b"not a jpeg"[:9]: "no JPEG of 320x180",
        header_of(good, int.from_bytes(b"YUV2", "little"), 4) + b"1234": "RGBA or JPEG expected",
        header_of(good, FOURCC_JPEG, 0)[:80]
        + (0).to_bytes(8, "little")
        + header_of(good)[88:]: "sides|JPEG|magic|bytes",
    }
    for message, why in bad.items():

        def told(message=message):
            rough.send(message)
            try:
                door.read(0.05)
            except InputError as error:
                return str(error)
            return None

        assert any(word in wait_for(told) for word in why.split("|"))
    rough.close(0)
    door.close()
    with pytest.raises(InputError, match="zmq input 'nonsense'"):
        ZmqInput(ZmqInputOptions(address="nonsense")).open()


@given(st.binary(max_size=300), st.integers(0, 127), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_no_message_does_harm(tail, at, value):
    message = bytearray(header_of(frame(1, 4, 4)) + tail)
    message[at] = value
    try:
        got = _frame(memoryview(message))
    except HeaderError:
        return
    assert got.pixels.shape == (got.info.height, got.info.width, 4)


NDI_SENDER = """
import sys, time, numpy as np
from vjserver.outputs.ndi import NdiOptions, NdiOutput
from vjserver.types.frames import Frame, FrameInfo
output = NdiOutput(NdiOptions(name=sys.argv[1], fps=60, colour=sys.argv[2])); output.open()
width, height = int(sys.argv[3]), int(sys.argv[4])
pixels = np.zeros((height, width, 4), np.uint8); pixels[: height // 2, :, 0] = 200; pixels[height // 2:, :, 2] = 200
pixels[..., 3] = 100
for i in range(1, 100000):
    now_ns = time.perf_counter_ns()
    output.send(Frame(pixels, FrameInfo(width, height, frame_id=i, t_capture_ns=now_ns, t_generated_ns=now_ns,
                                        t_sent_ns=now_ns)))
    time.sleep(1 / 60)
"""


def ndi_sender(name, colour="uyvy", width=320, height=180):
    return running([sys.executable, "-c", NDI_SENDER, name, colour, str(width), str(height)])


def test_ndi_brings_the_newest_picture_its_number_and_its_age_and_finds_a_sender_again():
    pytest.importorskip("NDIlib", reason="ndi-python is not installed")
    name = f"vj-{uuid.uuid4().hex[:8]}"
    door = NdiInput(NdiInputOptions(name=name))
    door.open()
    assert door.read(0.1) is None
    with ndi_sender(name):
        first = wait_for(lambda: door.read(0.1), 20)
        assert first.pixels.shape == (180, 320, 4)
        assert first.pixels[8, 8, :3].astype(int) == pytest.approx([200, 0, 0], abs=14)
        assert first.pixels[-8, -8, :3].astype(int) == pytest.approx([0, 0, 200], abs=14)
        time.sleep(0.5)
        numbers = [door.read(0.5).info.frame_id for _ in range(60)]
        assert numbers == sorted(set(numbers)), "no picture twice, none older than the last"
        time.sleep(1.0)
        late = door.read(0.1)
        assert late.info.frame_id > numbers[-1] + 5, "a reader that slept gets the newest, not the next of a queue"
    wait_for(lambda: door.read(0.05) is None)
    with ndi_sender(name, "rgba", 640, 360):
        back = wait_for(lambda: (f := door.read(0.1)) and f.pixels.shape == (360, 640, 4) and f, 20)
        assert back.pixels[8, 8].astype(int) == pytest.approx([200, 0, 0, 100], abs=14), "alpha comes where it is sent"
    door.close()


def test_a_missing_ndi_library_is_told_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "NDIlib", None)
    with pytest.raises(InputError, match=r"pip install 'vjserver\[ndi\]'.*libavahi-client3"):
        NdiInput(NdiInputOptions(name="x")).open()


def test_an_image_file_is_shown_again_and_again(tmp_path):
    for name, shape, expected in (
        ("rgba.png", (20, 30, 4), (3, 2, 1, 4)), ("rgb.png", (20, 30, 3), (3, 2, 1, 255)),
        ("grey.png", (20, 30), (1, 1, 1, 255)),
    ):  # fmt: skip
        picture = np.zeros(shape, np.uint8)
        picture[...] = np.array((1, 2, 3, 4)[: shape[2]]) if len(shape) == 3 else 1  # BGRA as OpenCV writes it
        cv2.imwrite(str(tmp_path / name), picture)
        door = FileInput(FileInputOptions(path=tmp_path / name))
        door.open()
        first = door.read(0.1)
        assert first.pixels.shape == (20, 30, 4)
        assert tuple(first.pixels[5, 5]) == expected
        assert door.read(0.01) is None, "not in a busy loop"
        assert door.read(1.0).info.frame_id == 2
        door.close()


def test_a_video_file_plays_in_a_loop_at_its_rate(tmp_path):
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 50.0, (64, 36))
    for value in (40, 120, 220):
        writer.write(np.full((36, 64, 3), (0, 0, value), np.uint8))
    writer.release()
    door = FileInput(FileInputOptions(path=path))
    door.open()
    began, reds = time.monotonic(), []
    while len(reds) < 10:
        got = door.read(0.5)
        if got is not None:
            reds.append(int(got.pixels[18, 32, 0]))
    took = time.monotonic() - began
    assert reds == pytest.approx([40, 120, 220] * 3 + [40], abs=8)
    assert 0.15 < took < 0.6
    door.close()


def test_files_that_cannot_be_read_are_told(tmp_path):
    text = tmp_path / "x.mp4"
    text.write_text("no video")
    fake = tmp_path / "x.png"
    fake.write_bytes(b"no picture")
    for path, why in (
        (tmp_path / "none.png", "no such file"),
        (text, "neither a picture nor a video"),
        (fake, "neither a picture nor a video"),
    ):
        with pytest.raises(InputError, match=why):
            FileInput(FileInputOptions(path=path)).open()


def test_lineage_goes_through_a_generated_frame():
    info = replace(frame().info, source_frame_id=41, source_age_us=12_345)
    back = FrameInfo.unpack(info.pack())
    assert (back.source_frame_id, back.source_age_us) == (41, 12_345)


def test_the_cli_lists_and_refuses_inputs_by_kind():
    run = subprocess.run(
        [sys.executable, "-c", "from vjserver.ports import kinds; print(*kinds('inputs'))"],
        capture_output=True,
        text=True,
    )
    assert run.stdout.split() == ["file", "ndi", "sharedmem", "spout", "syphon", "zmq"]
