"""OSC over TCP: both framings, taken apart however the network cuts them, and real sockets with foreign clients."""

import asyncio
import shutil
import socket
import struct
from itertools import pairwise

import pytest
from conftest import free_port
from hypothesis import given
from hypothesis import strategies as st
from pythonosc.tcp_client import SimpleTCPClient

from vjserver.controls.osc import MAX_PACKET, OscMessage, decode
from vjserver.controls.oscserver import MOST_STREAMS_OF_A_HOST, OscServer
from vjserver.controls.osctcp import LENGTH, SLIP, Framing
from vjserver.runtime.osc import message
from vjserver.types.errors import VJError

packets = st.lists(
    st.binary(max_size=60).map(lambda tail: b"/" + tail.replace(b"\0", b"\xc0\xdb")), min_size=1, max_size=8
)


@given(packets, st.sampled_from([SLIP, LENGTH]), st.lists(st.integers(1, 40), max_size=20))
def test_packets_come_out_as_they_went_in_however_the_stream_is_cut(rows, kind, cuts):
    sender, receiver = Framing(), Framing()
    sender.kind = kind
    stream = b"".join(sender.framed(row) for row in rows)
    places, at = [0], 0
    for cut in cuts:
        at += cut
        places.append(min(at, len(stream)))
    places.append(len(stream))
    found = [packet for a, b in pairwise(places) for packet in receiver.packets(stream[a:b])]
    assert found == rows
    assert receiver.kind == kind


@given(st.binary(max_size=200))
def test_nothing_but_a_clear_error_comes_of_garbage(data):
    framing = Framing()
    try:
        for _ in framing.packets(data):
            pass
    except VJError:
        pass


@pytest.mark.parametrize("data", [b"POST / HTTP/1.1\r\n", b"\x16\x03\x01", struct.pack(">I", MAX_PACKET + 1)])
def test_what_is_no_osc_is_known_at_once(data):
    with pytest.raises(VJError):
        list(Framing().packets(data))


def test_an_end_that_never_comes_is_not_waited_for_for_ever():
    framing = Framing()
    for _ in range(16):
        assert list(framing.packets(b"/" + b"a" * 4000)) == []
    with pytest.raises(VJError, match="at most"):
        list(framing.packets(b"a" * 4000))


def with_server(play, **options):
    heard, refused = [], []

    async def main():
        def handle(one, sender):
            heard.append(one)
            if one.address == "/vj/ping":
                server.send(message("/vj/pong", *one.args), sender)

        server, port = OscServer(handle, refused.append, **options), free_port()
        await server.open_tcp("127.0.0.1", port)
        try:
            await play(port, heard, server)
        finally:
            server.close()

    asyncio.run(main())
    return heard, refused


@pytest.mark.parametrize("kind", [SLIP, LENGTH])
def test_questions_are_answered_over_the_same_connection(kind):
    async def play(port, _heard, _server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        framing = Framing()
        framing.kind = kind
        writer.write(framing.framed(message("/vj/ping", 1)) + framing.framed(message("/vj/ping", 2)))
        got = []
        while len(got) < 2:
            got += framing.packets(await asyncio.wait_for(reader.read(100), 5))
        assert [decode(one) for one in got] == [[OscMessage("/vj/pong", (n,))] for n in (1, 2)]
        writer.close()

    heard, refused = with_server(play)
    assert len(heard) == 2
    assert refused == []


@pytest.mark.parametrize("mode", ["1.0", "1.1"])
def test_python_osc_speaks_to_us(mode):
    async def play(port, heard, _server):
        def speak():
            with SimpleTCPClient("127.0.0.1", port, mode=mode) as client:
                client.send_message("/vj/prompt/1/text", "sea")
                client.send_message("/vj/param/zoom", 0.5)

        await asyncio.to_thread(speak)
        async with asyncio.timeout(5):
            while len(heard) < 2:
                await asyncio.sleep(0.01)

    heard, _ = with_server(play)
    assert heard == [OscMessage("/vj/prompt/1/text", ("sea",)), OscMessage("/vj/param/zoom", (0.5,))]


def test_liblo_speaks_to_us():
    if shutil.which("oscsend") is None:
        pytest.skip("oscsend is not installed (make test installs liblo-tools on Debian and Ubuntu)")

    async def play(port, heard, _server):
        process = await asyncio.create_subprocess_exec(
            "oscsend", f"osc.tcp://127.0.0.1:{port}/", "/vj/x", "is", "3", "sea"
        )
        await process.wait()
        async with asyncio.timeout(5):
            while not heard:
                await asyncio.sleep(0.01)

    heard, _ = with_server(play)
    assert heard == [OscMessage("/vj/x", (3, "sea"))]


def test_a_browser_is_hung_up_on_and_strangers_are_not_let_in():
    async def play(port, _heard, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert await asyncio.wait_for(reader.read(100), 5) == b""
        writer.close()
        assert server.refused == 1

    with_server(play)

    async def deaf(port, _heard, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(100), 5) == b""
        writer.close()
        assert server.denied == 1

    with_server(deaf, allow=["10.0.0.0/8"])


def test_one_machine_does_not_take_all_the_places():
    async def play(port, _heard, server):
        socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(MOST_STREAMS_OF_A_HOST + 3)]
        async with asyncio.timeout(5):
            while server.refused < 3:
                await asyncio.sleep(0.01)
        assert len(server._streams) == MOST_STREAMS_OF_A_HOST
        for sock in socks:
            sock.close()
        async with asyncio.timeout(5):
            while server._streams:
                await asyncio.sleep(0.01)

    with_server(play)
