"""Spout, Syphon and TouchDesigner's shared memory against strict stand-ins: they run on Windows and macOS only.

Each stand-in refuses a call in the wrong order, from another thread, of the wrong type, stride or shape.
"""

import struct
import sys
import threading
import types
import uuid
from contextlib import contextmanager

import numpy as np
import pytest

from vjserver.inputs.spout import SpoutInput, SpoutInputOptions
from vjserver.inputs.syphon import SyphonInput, SyphonInputOptions
from vjserver.outputs import touchshm
from vjserver.outputs.spout import SpoutOptions, SpoutOutput
from vjserver.outputs.syphon import SyphonOptions, SyphonOutput
from vjserver.outputs.touchshm import TouchShmOptions, TouchShmOutput
from vjserver.runtime import shared
from vjserver.types.errors import InputError, OutputError
from vjserver.types.frames import Frame, FrameInfo


def frame(width=8, height=6):
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[0] = (10, 20, 30, 40)  # the top row
    pixels[-1] = (50, 60, 70, 80)
    pixels.flags.writeable = False
    return Frame(pixels, FrameInfo(width, height, frame_id=3))


# -- Spout -----------------------------------------------------------------------------------------------------


class Gl:
    """What both ends of Spout share: a context that belongs to one thread."""

    def __init__(self):
        self.thread, self.open, self.released = None, False, False

    def createOpenGL(self):
        assert not self.open
        self.open, self.thread = True, threading.get_ident()
        return True

    def check(self):
        assert self.open, "no OpenGL context yet"
        assert threading.get_ident() == self.thread, "an OpenGL context belongs to one thread"

    def closeOpenGL(self):
        self.check()
        assert self.released, "release before the context goes"
        self.open = False


class FakeSender(Gl):
    sent: list = []
    refuse = False

    def setSenderName(self, name):
        self.check()
        assert isinstance(name, str)
        self.name = name

    def sendImage(self, buffer, width, height, gl_format, invert, host_fbo):
        self.check()
        assert self.name
        view = memoryview(buffer)
        assert view.c_contiguous
        assert view.format == "B"
        assert view.nbytes == width * height * 4
        assert gl_format == 0x1908
        assert (invert, host_fbo) == (False, 0)
        FakeSender.sent.append((self.name, np.frombuffer(buffer, np.uint8).reshape(height, width, 4).copy()))
        return not FakeSender.refuse

    def releaseSender(self):
        self.check()
        self.released = True


class FakeReceiver(Gl):
    picture = None

    def __init__(self):
        super().__init__()
        self.updated, self.size, self.fresh = False, None, False

    def setReceiverName(self, name):
        self.check()
        self.name = name

    def waitFrameSync(self, name, wait_ms):
        self.check()
        assert isinstance(wait_ms, int)
        return FakeReceiver.picture is not None

    def receiveImage(self, buffer, gl_format, invert, host_fbo):
        self.check()
        picture = FakeReceiver.picture
        self.fresh = False
        if picture is None:
            return False
        size = picture.shape[1], picture.shape[0]
        if size != self.size:
            self.size, self.updated = size, True
            return True
        self.updated = False
        assert buffer is not None
        assert buffer.dtype == np.uint8
        assert buffer.flags.c_contiguous
        assert buffer.shape == picture.shape
        buffer[:] = picture
        self.fresh = True
        return True

    def isUpdated(self):
        self.check()
        return self.updated

    def isFrameNew(self):
        return self.fresh

    def getSenderWidth(self):
        return self.size[0]

    def getSenderHeight(self):
        return self.size[1]

    def releaseReceiver(self):
        self.check()
        self.released = True


@pytest.fixture
def spout(monkeypatch):
    module = types.ModuleType("SpoutGL")
    module.SpoutSender, module.SpoutReceiver = FakeSender, FakeReceiver
    monkeypatch.setitem(sys.modules, "SpoutGL", module)
    FakeSender.sent, FakeSender.refuse, FakeReceiver.picture = [], False, None


def test_spout_sends_top_row_first_from_one_thread(spout):
    output = SpoutOutput(SpoutOptions(name="wall"))
    output.open()
    output.send(frame())
    output.send(frame(16, 4))
    output.send(Frame(np.zeros((6, 20, 4), np.uint8)[:, 2:10], FrameInfo(8, 6)))  # a part of a larger picture
    assert [name for name, _ in FakeSender.sent] == ["wall"] * 3
    assert tuple(FakeSender.sent[0][1][0, 0]) == (10, 20, 30, 40)
    assert FakeSender.sent[1][1].shape == (4, 16, 4)
    FakeSender.refuse = True
    with pytest.raises(OutputError, match="refuses a frame of 8x6"):
        output.send(frame())
    output.close()
    output.close()


def test_spout_receives_finds_a_new_size_and_holds_nothing_that_changes(spout):
    door = SpoutInput(SpoutInputOptions(name="td"))
    door.open()
    assert door.read(0.001) is None
    FakeReceiver.picture = np.full((6, 8, 4), 7, np.uint8)
    assert door.read(0.001) is None, "the first call tells the size"
    got = door.read(0.001)
    assert (got.pixels.shape, got.pixels[0, 0, 0], got.info.frame_id) == ((6, 8, 4), 7, 1)
    FakeReceiver.picture = np.full((6, 8, 4), 9, np.uint8)
    assert door.read(0.001).pixels[0, 0, 0] == 9
    assert got.pixels[0, 0, 0] == 7
    FakeReceiver.picture = np.full((4, 4, 4), 1, np.uint8)
    assert door.read(0.001) is None
    assert door.read(0.001).pixels.shape == (4, 4, 4)
    door.close()
    door.close()


# -- Syphon ----------------------------------------------------------------------------------------------------


class Texture:
    def __init__(self, device, width, height):
        assert device == "metal"
        self.width, self.height, self.pixels = width, height, None


class FakeSyphonServer:
    published: list = []
    textures = 0

    def __init__(self, name):
        self.name, self.device, self.stopped = name, "metal", False

    def publish_frame_texture(self, texture, size, is_flipped):
        assert not self.stopped
        assert size == (texture.width, texture.height)
        assert is_flipped is True, "rows from the top in a system whose rows begin at the bottom"
        assert texture.pixels is not None
        FakeSyphonServer.published.append(texture.pixels.copy())

    def stop(self):
        assert not self.stopped
        self.stopped = True


class FakeSyphonClient:
    def __init__(self, server):
        assert server in FakeDirectory.listed
        self.server, self.stopped = server, False

    @property
    def is_valid(self):
        return self.server in FakeDirectory.listed

    @property
    def has_new_frame(self):
        return bool(self.server.frames)

    @property
    def new_frame_image(self):
        return self.server.frames.pop(0)

    def stop(self):
        self.stopped = True


class FakeDirectory:
    listed: list = []

    @property
    def servers(self):
        return list(FakeDirectory.listed)


@pytest.fixture
def syphon(monkeypatch):
    root, utils = types.ModuleType("syphon"), types.ModuleType("syphon.utils")
    raw, arrays = types.ModuleType("syphon.utils.raw"), types.ModuleType("syphon.utils.numpy")

    def create(device, width, height):
        FakeSyphonServer.textures += 1
        return Texture(device, width, height)

    def copy(image, texture):
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert image.shape == (texture.height, texture.width, 4)
        texture.pixels = image

    raw.create_mtl_texture, arrays.copy_image_to_mtl_texture = create, copy
    arrays.copy_mtl_texture_to_image = lambda texture: texture
    root.utils, utils.raw, utils.numpy = utils, raw, arrays
    root.SyphonMetalServer, root.SyphonMetalClient = FakeSyphonServer, FakeSyphonClient
    root.SyphonServerDirectory = FakeDirectory
    for module in (root, utils, raw, arrays):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    FakeSyphonServer.published, FakeSyphonServer.textures, FakeDirectory.listed = [], 0, []


def test_syphon_publishes_with_one_texture_for_a_size(syphon):
    output = SyphonOutput(SyphonOptions(name="wall"))
    output.open()
    for one in (frame(), frame(), frame(4, 4), Frame(np.zeros((6, 20, 4), np.uint8)[:, 2:6], FrameInfo(4, 6))):
        output.send(one)
    assert len(FakeSyphonServer.published) == 4
    assert FakeSyphonServer.textures == 3
    assert tuple(FakeSyphonServer.published[0][0, 0]) == (10, 20, 30, 40)
    output.close()
    output.close()


def test_syphon_receives_the_right_way_up_and_finds_a_server_again(syphon, monkeypatch):
    monkeypatch.setattr("vjserver.inputs.syphon.LOOK_S", 0.0)
    door = SyphonInput(SyphonInputOptions(name="td"))
    door.open()
    assert door.read(0.005) is None
    server = types.SimpleNamespace(name="td", frames=[frame().pixels[::-1]])
    FakeDirectory.listed = [types.SimpleNamespace(name="other", frames=[]), server]
    got = door.read(0.05)
    assert tuple(got.pixels[0, 0]) == (10, 20, 30, 40)
    assert got.pixels.flags.c_contiguous
    FakeDirectory.listed = []
    assert door.read(0.005) is None
    back = types.SimpleNamespace(name="td", frames=[frame(4, 4).pixels])
    FakeDirectory.listed = [back]
    assert door.read(0.05).pixels.shape == (4, 4, 4)
    door.close()


@pytest.mark.parametrize(
    ("module", "door", "error"),
    [
        ("SpoutGL", lambda: SpoutOutput(SpoutOptions()), OutputError),
        ("SpoutGL", lambda: SpoutInput(SpoutInputOptions(name="x")), InputError),
        ("syphon", lambda: SyphonOutput(SyphonOptions()), OutputError),
        ("syphon", lambda: SyphonInput(SyphonInputOptions(name="x")), InputError),
    ],
)
def test_where_they_are_missing_the_line_that_installs_them_is_told(module, door, error, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(error, match=r"pip install 'vjserver\[(spout|syphon)\]'"):
        door().open()


# -- TouchDesigner's shared memory -----------------------------------------------------------------------------


class FakeMutex:
    def __init__(self, name):
        self.name, self.locked, self.closed, self.busy = name, False, False, False

    @contextmanager
    def held(self, wait_ms):
        assert 0 < wait_ms < 16, "never longer than a frame"
        self.locked = not self.busy
        yield self.locked
        self.locked = False

    def close(self):
        self.closed = True


@pytest.fixture
def touch(monkeypatch):
    made = []

    def mutex(name):
        made.append(FakeMutex(name))
        return made[-1]

    monkeypatch.setattr(touchshm, "named_mutex", mutex)
    name = f"t{uuid.uuid4().hex[:8]}"
    output = TouchShmOutput(TouchShmOptions(name=name, max_width=64, max_height=64))
    output.open()
    yield output, name, made[0]
    output.close()


def test_touchdesigners_layout_to_the_byte(touch):
    output, name, mutex = touch
    assert mutex.name == f"TouchSHM{name}Mutex"
    output.send(frame())
    segment = shared.attach(f"TouchSHM{name}")
    data = bytes(segment.data[:300])
    assert struct.unpack_from("<I", data, 0)[0] == 0xD95EF835
    assert struct.unpack_from("<I", data, 4)[0] == 1
    assert struct.unpack_from("<ii", data, 8) == (8, 6)
    assert struct.unpack_from("<ff", data, 16) == (1.0, 1.0)
    assert struct.unpack_from("<I", data, 24)[0] == 37
    assert struct.unpack_from("<q", data, 32)[0] == 8 * 6 * 4
    assert struct.unpack_from("<i", data, 40)[0] == 48
    assert tuple(data[48:52]) == (50, 60, 70, 80), "the bottom row comes first"
    last = 48 + 5 * 8 * 4
    assert tuple(data[last : last + 4]) == (10, 20, 30, 40)
    segment.close()
    info = shared.attach(f"TouchSHMTouchSHM{name}4jhd783h")
    assert struct.unpack_from("<Ii", bytes(info.data[:8])) == (0x56ED34BA, 2)
    info.close()


def test_a_frame_is_left_out_while_touchdesigner_reads_and_one_too_large_is_refused(touch):
    output, name, mutex = touch
    output.send(frame())
    mutex.busy = True
    output.send(Frame(np.full((6, 8, 4), 99, np.uint8), FrameInfo(8, 6)))
    segment = shared.attach(f"TouchSHM{name}")
    assert segment.data[48] == 50
    segment.close()
    with pytest.raises(OutputError, match="holds up to 64x64: got 128x64"):
        output.send(frame(128, 64))


def test_a_name_that_is_taken_is_refused_and_nothing_is_left_behind(touch):
    output, name, _ = touch
    with pytest.raises(OutputError, match="taken by another program"):
        TouchShmOutput(TouchShmOptions(name=name)).open()
    output.close()
    with pytest.raises(FileNotFoundError):
        shared.attach(f"TouchSHM{name}")


@pytest.mark.skipif(sys.platform == "win32", reason="here it works")
def test_elsewhere_it_says_where_it_works():
    with pytest.raises(OutputError, match="Windows only"):
        TouchShmOutput(TouchShmOptions()).open()
