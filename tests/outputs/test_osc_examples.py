"""The examples of OSC clients, run as a user runs them."""

import socket
import subprocess
import sys
import time
from pathlib import Path

from conftest import free_port, running, wait_for

from vjserver.controls.osc import decode
from vjserver.runtime.installed import shipped
from vjserver.runtime.osc import message

EXAMPLES = Path(__file__).parents[2] / "examples/osc"


def test_what_listens_prints_beats():
    port = free_port(socket.SOCK_DGRAM)
    command = [sys.executable, str(EXAMPLES / "listen.py"), "--port", str(port), "--count", "2"]
    with (
        running(command, stdout=subprocess.PIPE, text=True) as process,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):

        def told():
            for packet in (message("/vj/level", 0.5), message("/vj/beat", 7), message("/vj/kick", 1.0)):
                sock.sendto(packet, ("127.0.0.1", port))
            time.sleep(0.1)
            return process.poll() is not None

        wait_for(told, 30)
        rows = process.stdout.read().splitlines()
    assert len(rows) == 2
    assert set(rows) <= {"/vj/beat 7", "/vj/kick 1.0"}


def test_what_plays_sends_messages_that_are_allowed():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        command = [sys.executable, str(EXAMPLES / "play.py"), "--port", str(sock.getsockname()[1]), "--seconds", "0.1"]
        subprocess.run(command, check=True, timeout=60)
        told = [decode(sock.recv(2048))[0] for _ in range(44)]
    for one in told:
        shipped().accept(one.address, one.args)
    assert [one.address for one in told[:2]] == ["/vj/preset/go", "/vj/prompt/1/text"]
    assert [round(one.args[0] * 40) for one in told[2:-1]] == list(range(41))
    assert told[-1].address == "/vj/param/zoom/reset"


def test_the_script_for_touchdesigner_sends_messages_that_are_allowed():
    sent = []

    class Dat:
        def __getattr__(self, name):
            assert name == "sendOSC"
            return lambda address, values: sent.append((address, tuple(values)))

    scope = {"op": lambda name: Dat() if name == "to_vj" else None}
    exec((EXAMPLES / "touchdesigner.py").read_text("utf-8"), scope)
    scope["play"]("mandala")
    scope["prompt"]("a red fish", 2)
    scope["knob"]("zoom", 0.25)
    for address, values in sent:
        shipped().accept(address, values)
    assert [address for address, _ in sent] == ["/vj/preset/go", "/vj/prompt/2/text", "/vj/param/zoom"]
