"""A writer that is killed, again and again, in the middle of what it does: no reader ever sees half a picture."""

import subprocess
import sys
import uuid

import numpy as np
import pytest
from conftest import running

from vjserver.runtime import shared
from vjserver.runtime.ring import RingReader

KILLS = 200
WIDTH, HEIGHT = 1280, 720

# One process imports everything and then forks a writer for each life, which is quicker than starting Python anew.
LIVES = f"""
import os, random, signal, sys, time
import numpy as np
from vjserver.runtime.ring import RingWriter
from vjserver.types.frames import Frame, FrameInfo

random.seed(7)
for life in range(1, {KILLS} + 1):
    born_ns = time.perf_counter_ns()
    pid = os.fork()
    if not pid:
        ring, i = RingWriter(sys.argv[1], {WIDTH * HEIGHT * 4}), 0
        pixels = np.empty(({HEIGHT}, {WIDTH}, 4), np.uint8)
        while True:
            i += 1
            pixels[:] = (i * 7 + life) % 256
            ring.put(Frame(pixels, FrameInfo({WIDTH}, {HEIGHT}, frame_id=i, seed=life, t_capture_ns=born_ns)))
    time.sleep(random.uniform(0.03, 0.06))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    print(life, flush=True)
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="os.fork is needed to make 200 writers quickly")
def test_200_killed_writers_leave_no_torn_frame_and_are_followed():
    name = f"vjt-{uuid.uuid4().hex[:10]}"
    reader, lives, frames = RingReader(name), set(), 0
    command = [sys.executable, "-c", LIVES, name]
    with running(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            frame = reader.wait(0.02)
            if frame is None:
                continue
            frames += 1
            info = frame.info
            lives.add(info.seed)
            assert (frame.pixels == (info.frame_id * 7 + info.seed) % 256).all(), "a torn frame"
        out = process.stdout.read()
    reader.close()
    half_written = _odd_slots(name)
    shared.remove_by_name(name)
    assert process.returncode == 0
    assert len(out.split()) == KILLS
    assert frames > 0
    assert len(lives) > 1, "those that came after a killed one were followed"
    assert half_written <= 1  # the last one may have been killed in mid-write: nobody has taken it over


def _odd_slots(name):
    segment = shared.attach(name)
    slot_size = int(segment.words[1])
    odd = sum(int(segment.words[(4096 + i * slot_size) // 8]) & 1 for i in range(3))
    segment.close()
    return odd


def test_the_last_frame_of_a_killed_writer_stays_readable():
    name = f"vjt-{uuid.uuid4().hex[:10]}"
    code = (
        "import os,sys,signal,numpy as np\n"
        "from vjserver.runtime.ring import RingWriter\nfrom vjserver.types.frames import Frame, FrameInfo\n"
        "RingWriter(sys.argv[1], 64).put(Frame(np.full((4,4,4),9,np.uint8), FrameInfo(4,4,frame_id=3)))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, name], check=False)
    reader = RingReader(name)
    assert np.array_equal(reader.get().pixels, np.full((4, 4, 4), 9, np.uint8))
    reader.close()
    shared.remove_by_name(name)
