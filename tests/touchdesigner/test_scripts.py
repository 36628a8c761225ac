"""The scripts that run inside TouchDesigner: against real rings, real OSC and a real vjserver."""

import os
import random
import re
import socket
import subprocess
import sys
import time
import uuid

import fake_td
import numpy as np
import pytest
from conftest import free_port, running, wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from touchdesigner.generate import build_patch
from touchdesigner.scripts import frame_reader
from vjserver.commands.osc import _plain, _value
from vjserver.controls.osc import decode
from vjserver.runtime import shared
from vjserver.runtime.osc import message
from vjserver.runtime.ring import RingWriter
from vjserver.types.frames import HEADER_SIZE, Frame, FrameInfo


def picture(i=1, width=64, height=36):
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[0] = (255, 0, 0, 255)  # the top row is red
    pixels[-1] = (0, 0, 255, 255)
    pixels[1:-1, :, 1] = i % 256
    return Frame(pixels, FrameInfo(width, height, frame_id=i, t_generated_ns=time.perf_counter_ns()))


@pytest.fixture
def ring():
    stream = f"t{uuid.uuid4().hex[:8]}"
    writer = RingWriter(f"vjserver-{stream}", 64 * 36 * 4)
    reader = frame_reader.Ring(stream)
    yield writer, reader, stream
    reader.close()
    writer.close()


# -- the frame reader -------------------------------------------------------------------------------------------


def test_the_reader_knows_the_header_that_we_write():
    assert frame_reader.HEADER.size == HEADER_SIZE


def test_the_newest_picture_comes_once_and_the_right_way_up(ring):
    writer, reader, _ = ring
    assert reader.read() is None
    for i in range(1, 5):
        writer.put(picture(i))
    got = reader.read()
    assert got.shape == (36, 64, 4)
    assert tuple(got[-1, 0]) == (255, 0, 0, 255), "the last row is the top one in TouchDesigner"
    assert tuple(got[0, 0]) == (0, 0, 255, 255)
    assert (reader.frame_id, reader.drops) == (4, 0)
    assert 0 <= reader.age_ms < 1000
    assert reader.read() is None
    writer.put(picture(5))
    writer.put(picture(6, 32, 18))
    assert reader.read().shape == (18, 32, 4)
    assert reader.drops == 1


def test_a_server_that_was_restarted_is_found_again(ring):
    writer, reader, stream = ring
    writer.put(picture(1))
    assert reader.read() is not None
    writer.close()
    assert reader.read() is None
    heir = RingWriter(f"vjserver-{stream}", 640 * 360 * 4)
    heir.put(picture(2, 640, 360))
    assert wait_for(lambda: reader.read() is not None, 1)
    assert reader.frame_id == 2
    heir.close()


@given(data=st.binary(min_size=40, max_size=400), at=st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_no_nonsense_harms_the_reader(data, at):
    stream = f"t{uuid.uuid4().hex[:8]}"
    made = shared.create(f"vjserver-{stream}", 65536)
    made.data[at * 4096 : at * 4096 + len(data)] = data
    made.data[:4] = b"VJR1"
    reader = frame_reader.Ring(stream)
    assert reader.read() is None or at == 0
    reader.close()
    shared.remove(made)


def test_it_never_starts_pythons_resource_tracker(ring):
    writer, reader, stream = ring
    writer.put(picture())
    code = (
        "import sys\nfrom touchdesigner.scripts import frame_reader\nfrom multiprocessing import resource_tracker\n"
        "reader = frame_reader.Ring(sys.argv[1])\nassert reader.read() is not None\n"
        "assert resource_tracker._resource_tracker._pid is None\n"
    )
    subprocess.run([sys.executable, "-c", code, stream], check=True)
    writer.put(picture(2))
    assert reader.read() is not None, "another reader's end does not remove the ring"


WRITERS = """
import os, random, signal, sys, time
import numpy as np
from vjserver.runtime.ring import RingWriter
from vjserver.types.frames import Frame, FrameInfo
random.seed(3)
for life in range(40):
    pid = os.fork()
    if not pid:
        ring, i = RingWriter(sys.argv[1], 640 * 360 * 4), 0
        pixels = np.empty((360, 640, 4), np.uint8)
        while True:
            i += 1
            pixels[:] = i % 256
            ring.put(Frame(pixels, FrameInfo(640, 360, frame_id=i)))
    time.sleep(random.uniform(0.02, 0.05))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork is needed to make writers quickly")
def test_killed_writers_never_show_a_torn_picture_in_touchdesigner():
    stream = f"t{uuid.uuid4().hex[:8]}"
    reader, seen = frame_reader.Ring(stream), 0
    with running([sys.executable, "-c", WRITERS, f"vjserver-{stream}"]) as process:
        while process.poll() is None:
            got = reader.read()
            if got is not None:
                seen += 1
                assert (got == reader.frame_id % 256).all()
            time.sleep(random.uniform(0, 0.002))
    reader.close()
    shared.remove_by_name(f"vjserver-{stream}")
    assert process.returncode == 0
    assert seen > 100


# -- the patch beside a real server ------------------------------------------------------------------------------

SHOW = """
outputs = [{{kind = "sharedmem", stream = "{stream}"}}]
[source]
kind = "click"
[video]
width = 320
height = 180
[osc]
port = {port}
targets = [{{port = {numbers}, kind = "numbers"}}, {{port = {texts}, kind = "text"}}]
[web]
on = false
"""


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """A starter patch in the stand-in, set up for a server that is about to start."""
    td = fake_td.make()
    monkeypatch.setitem(sys.modules, "td", td)
    exec(compile(build_patch(), "build_patch.py", "exec"), {})
    comp = td.op("/project1/vjserver_starter")
    ports = [free_port(socket.SOCK_DGRAM) for _ in range(4)]
    stream = f"td{os.getpid()}"
    comp.par.Oscport, comp.par.Numbersport, comp.par.Textsport, comp.par.Valuesport = ports
    comp.par.Stream, comp.par.Transport = stream, "sharedmem"
    show = tmp_path / "show.toml"
    show.write_text(SHOW.format(stream=stream, port=ports[0], numbers=ports[1], texts=ports[2]))
    yield td, comp, show, ports[0]
    td.root.close()
    for reader in comp.op("frame_reader").module.rings.values():
        reader.close()


def ask(port, address):
    """Return what the server answers, as ``vjserver osc send`` prints it, ``""`` for nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1.0)
        sock.sendto(message(address, "?"), ("127.0.0.1", port))
        try:
            return _plain(decode(sock.recv(65536))[0])
        except (TimeoutError, ConnectionError):
            return ""


def tell(port, address, *args):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(message(address, *map(_value, args)), ("127.0.0.1", port))


def test_the_starter_plays_with_a_real_server(stage):
    td, comp, show, port = stage

    def until(what, seconds=30):
        def step():
            td.root.play()
            return what()

        return wait_for(step, seconds, 0.016)

    hud = comp.op("hud_text").par.text
    assert hud.eval().startswith("SERVER LOST")
    with running(
        [sys.executable, "-m", "vjserver", "run", str(show)], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as run:
        # what the server says arrives
        until(lambda: comp.par.Status.eval().startswith("connected"))
        until(lambda: comp.fetch("event") in ("beat", "downbeat"))
        until(lambda: comp.op("beat")["vj/beat"] is not None and comp.op("beat")["vj/beat"].eval() > 2)
        until(lambda: comp.par.Presetname.eval() == "Neon Tunnel")
        until(lambda: re.search(r"^1[0-9]{2}\.[0-9] bpm", hud.eval()))
        until(lambda: re.search(r"\n[1-9][0-9]* made  [1-9][0-9]* delivered  live", hud.eval()))
        assert comp.op("hud_text").par.fontalpha.eval() == 1.0
        # the picture
        script = comp.op("script_in")
        until(lambda: script.pixels is not None and script.fetch("frame_id", 0) > 5)
        assert script.pixels.shape == (180, 320, 4)
        assert comp.op("transport").par.index.eval() == 2.0
        until(lambda: "picture" in comp.par.Status.eval())
        # what the performer moves arrives
        comp.par.Fade = 0.25
        comp.par.Zoom = 0.75
        comp.par.Prompt1 = "a red fish"
        wait_for(lambda: ask(port, "/vj/master/fade") == "/vj/master/fade 0.25", 5)
        wait_for(lambda: ask(port, "/vj/param/zoom") == "/vj/param/zoom 0.75", 5)
        wait_for(lambda: "a red fish" in ask(port, "/vj/prompt/1/text"), 5)
        comp.par.Blackout = True
        until(lambda: script.pixels[..., :3].max() == 0)
        comp.par.Blackout = False
        comp.par.Preset = "4"
        comp.par.Presetgo.pulse()
        until(lambda: comp.par.Presetname.eval() == "Mandala")
        # sliders follow what the preset and others change, and do not send it back
        until(lambda: abs(comp.par.Rotate.eval() - 0.52) < 1e-4 and abs(comp.par.Speed.eval() - 0.3) < 1e-4)
        tell(port, "/vj/morph/seconds", "0.4")
        tell(port, "/vj/quantise", "2bar")
        until(lambda: comp.par.Quantise.eval() == "2bar")
        tell(port, "/vj/quantise", "none")
        until(lambda: comp.par.Quantise.eval() == "none")
        tell(port, "/vj/preset/go", "lava")
        until(lambda: comp.par.Prompt1.eval() == ask(port, "/vj/prompt/1/text").partition(" ")[2].strip("'"))
        ends_s = time.monotonic() + 0.7
        until(lambda: time.monotonic() > ends_s)
        assert ask(port, "/vj/param/zoom") == "/vj/param/zoom 0.5", "the morph was not stopped by our own slider"
        until(lambda: comp.par.Zoom.eval() == 0.5)
        # a hand on the MIDI controller
        comp.op("midi").set_channel("s1", 0.5)
        wait_for(lambda: ask(port, "/vj/master/fade") == "/vj/master/fade 0.5", 5)
        comp.op("midi").set_channel("b4", 1.0)
        wait_for(lambda: ask(port, "/vj/master/freeze") == "/vj/master/freeze 1", 5)
        # a server that was started later gets everything
        comp.par.Sendall.pulse()
        run.kill()
        run.wait()
    began = time.monotonic()
    until(lambda: comp.par.Status.eval().startswith("server lost"))
    assert time.monotonic() - began < 5
    until(lambda: hud.eval() == f"SERVER LOST\n127.0.0.1:{port}", 5)
    comp.par.Hud = False
    assert comp.op("hud_text").par.fontalpha.eval() == 1.0, "that the server is lost is shown whatever is switched off"


def test_when_the_project_is_opened_only_what_was_changed_is_sent(stage):
    td, comp, _, _ = stage
    td.root.sent.clear()
    td.root.start()
    asked = [("/vj/subscribe", [comp.par.Valuesport.eval()])]
    assert td.root.sent == asked, "a fresh patch leaves the server's preset alone"
    comp.par.Prompt2, comp.par.Fade, comp.par.Genre = "silk", 0.5, "techno"
    td.root.sent.clear()
    td.root.start()
    told = [("/vj/prompt/2/text", ["silk"]), ("/vj/master/fade", [0.5]), ("/vj/tempo/genre", ["techno"])]
    assert td.root.sent == [*told, *asked]
    td.root.sent.clear()
    comp.par.Sendall.pulse()
    assert td.root.sent == told


def test_the_picture_has_its_top_at_the_top(stage):
    td, comp, _, _ = stage
    stream = comp.par.Stream.eval()
    writer = RingWriter(f"vjserver-{stream}", 64 * 36 * 4)
    writer.put(picture())
    td.root.play()
    shown = comp.op("script_in").pixels
    assert tuple(shown[-1, 0]) == (255, 0, 0, 255)
    assert tuple(shown[0, 0]) == (0, 0, 255, 255)
    writer.close()


def test_pulses_fall_after_a_hit_and_never_fail_without_a_channel(stage):
    _, comp, _, _ = stage
    signals, beat, numbers = comp.op("signals").module, comp.op("beat"), comp.op("osc_numbers")
    assert signals.pulse(beat, "vj/kick") == 0.0
    assert signals.value(beat, "vj/level", 0.5) == 0.5
    numbers.set_channel("vj/kick", 0.8)
    assert signals.pulse(beat, "vj/kick", 0.1) == 1.0
    numbers.set_channel("vj/kick", 0.0)
    time.sleep(0.05)
    assert 0.0 < signals.pulse(beat, "vj/kick", 0.1) < 0.7
    time.sleep(0.06)
    assert signals.pulse(beat, "vj/kick", 0.1) == 0.0


def test_troubles_are_shown_and_go(stage):
    td, comp, _, _ = stage
    callback = comp.op("osc_in").module.onReceiveOSC
    texts = comp.op("osc_texts")
    callback(texts, 1, "", b"", 0.0, "/vj/status/error", ["output wall", "no such thing"], None)
    assert "! output wall: no such thing" in comp.op("hud_text").par.text.eval()
    comp.op("watchdog").module.look(comp)
    assert comp.par.Status.eval() == "connected, output wall"
    callback(texts, 1, "", b"", 0.0, "/vj/status/ok", ["output wall", "sends again"], None)
    assert "!" not in comp.op("hud_text").par.text.eval()
    td.root.play(30)
    assert comp.par.Status.eval() == "connected"


def test_a_senders_name_is_this_machines_unless_it_says_another(stage):
    _, comp, _, _ = stage
    signals = comp.op("signals").module
    assert signals.ndi_name("wall") == f"{socket.gethostname().upper()} (wall)"
    assert signals.ndi_name("OTHER (wall)") == "OTHER (wall)"
