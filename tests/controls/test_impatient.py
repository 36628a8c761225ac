"""The panel's door against clients that say nothing, say it slowly, or come in crowds: a real server, real sockets."""

import asyncio
import socket
import threading
import time
import urllib.request

import pytest
import uvicorn
from conftest import free_port, wait_for
from starlette.responses import PlainTextResponse

from vjserver.controls.web import impatient
from vjserver.controls.web.impatient import Impatient


class Door:
    """A server with one page, on a port of its own."""

    def __init__(self):
        self.port = free_port()
        config = uvicorn.Config(
            PlainTextResponse("in"), port=self.port, http=Impatient, log_level="critical", lifespan="off",
            timeout_keep_alive=60,
        )  # fmt: skip
        self.server = uvicorn.Server(config)
        self.server.install_signal_handlers = lambda: None
        self._thread = threading.Thread(target=asyncio.run, args=(self.server.serve(),), daemon=True)
        self._thread.start()
        wait_for(lambda: self.server.started)

    def knock(self, said=b""):
        one = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        one.sendall(said)
        return one

    def answers(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5) as answer:
            return answer.read() == b"in"

    def close(self):
        self.server.should_exit = True
        self._thread.join(10)


@pytest.fixture
def door(monkeypatch):
    monkeypatch.setattr(impatient, "SILENCE_S", 0.5)
    Impatient.hosts.clear()
    made = Door()
    yield made
    made.close()
    assert not Impatient.hosts, "everybody was counted out"


def is_closed(one, within_s=5.0):
    one.settimeout(within_s)
    try:
        return one.recv(1) == b""
    except (ConnectionError, TimeoutError) as error:
        return isinstance(error, ConnectionError)


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
def test_who_says_nothing_or_half_a_request_is_closed(door, said):
    with door.knock(said) as one:
        assert is_closed(one)
    assert door.answers()


def test_a_request_in_drops_is_closed_too(door):
    with door.knock(b"GET / HTTP/1.1\r\n") as one:
        began_s, sent = time.monotonic(), 0
        try:
            while time.monotonic() - began_s < 20:
                one.sendall(b"X: y\r\n")
                sent += 1
                time.sleep(0.1)
        except ConnectionError:
            pass
        assert time.monotonic() - began_s < 20, "a drop now and then is no request"
        assert sent > 1


def answer(one):
    """Return a whole answer: its head and its body may come apart."""
    said = b""
    while not said.endswith(b"in"):
        said += one.recv(4096) or pytest.fail(f"closed after {said!r}")
    return said


def test_who_asked_is_kept_and_may_ask_again(door, monkeypatch):
    with door.knock(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as one:
        assert b"200 OK" in answer(one)
        monkeypatch.setattr(impatient, "SILENCE_S", 30.0)
        one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in answer(one)


def test_one_machine_does_not_take_all_places(door, monkeypatch):
    monkeypatch.setattr(impatient, "SILENCE_S", 30.0)
    held = [door.knock(b"GET /") for _ in range(impatient.MOST_OF_A_HOST)]
    wait_for(lambda: Impatient.hosts["127.0.0.1"] == len(held))
    with door.knock() as more:
        assert is_closed(more)
    held.pop().close()
    wait_for(lambda: Impatient.hosts["127.0.0.1"] < impatient.MOST_OF_A_HOST)
    assert door.answers()
    for one in held:
        one.close()
    wait_for(lambda: not Impatient.hosts)
