import asyncio
import contextlib
import random
import socket
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pythonosc.osc_bundle_builder import IMMEDIATELY, OscBundleBuilder
from pythonosc.osc_message_builder import OscMessageBuilder

from vjserver.controls.osc import MAX_PACKET, OscError, OscMessage, OscServer, decode, listen
from vjserver.outputs.osc import bundle, message

values = st.one_of(
    st.integers(-(2**31), 2**31 - 1),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=30),
    st.booleans(),
)


def built(address, args):
    builder = OscMessageBuilder(address)
    for arg in args:
        builder.add_arg(arg)
    return builder.build()


@given(st.lists(values, max_size=10))
def test_what_python_osc_builds_is_read(args):
    assert decode(built("/vj/x", args).dgram) == [OscMessage("/vj/x", tuple(args))]


@given(st.lists(st.lists(values, max_size=3), max_size=8))
def test_bundles_are_read_in_order(rows):
    builder = OscBundleBuilder(IMMEDIATELY)
    for i, args in enumerate(rows):
        builder.add_content(built(f"/vj/{i}", args))
    assert decode(builder.build().dgram) == [OscMessage(f"/vj/{i}", tuple(args)) for i, args in enumerate(rows)]


def test_nested_bundles_keep_their_order():
    packet = bundle([message("/a"), bundle([message("/b"), message("/c")]), message("/d")])
    assert [m.address for m in decode(packet)] == ["/a", "/b", "/c", "/d"]


def nest(depth):
    packet = message("/a")
    for _ in range(depth):
        packet = bundle([packet])
    return packet


def padded(text):
    return text + b"\0" * (4 - len(text) % 4)


ATTACKS = {
    "a negative element size": b"#bundle\0" + b"\0" * 8 + struct.pack(">i", -4),
    "an element larger than the packet": b"#bundle\0" + b"\0" * 8 + struct.pack(">i", 4000),
    "an element of no size": b"#bundle\0" + b"\0" * 8 + struct.pack(">i", 0) * 2,
    "400 nested bundles": nest(300),
    "five nested bundles": nest(5),
    "many elements": bundle([message("/a")] * 300),
    "a packet too large": padded(b"/" + b"a" * MAX_PACKET),
    "no address": b"hello world!",
    "nothing": b"",
    "an address without end": b"/abc",
    "an address that is not UTF-8": b"/\xff\xfe\0" + b",i\0\0" + b"\0\0\0\1",
    "arguments cut off": padded(b"/a") + padded(b",iii") + b"\0\0\0\1",
    "65 arguments": padded(b"/a") + padded(b"," + b"i" * 65) + b"\0" * 260,
    "not a number": padded(b"/a") + padded(b",f") + struct.pack(">f", float("nan")),
    "infinity": padded(b"/a") + padded(b",d") + struct.pack(">d", float("inf")),
    "a blob of negative size": padded(b"/a") + padded(b",b") + struct.pack(">i", -100),
    "a blob larger than the packet": padded(b"/a") + padded(b",b") + struct.pack(">i", 2**31 - 1),
    "an unknown type": padded(b"/a") + padded(b",Q") + b"\0" * 8,
    "a bundle without timetag": b"#bundle\0" + b"\0\0\0\1",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_are_refused_at_once(attack):
    began = time.perf_counter()
    with pytest.raises(OscError):
        decode(ATTACKS[attack])
    assert time.perf_counter() - began < 0.05


def test_stars_and_timetags_are_harmless():
    assert decode(message("/" + "*" * 12 + "/x", 1)) == [OscMessage("/" + "*" * 12 + "/x", (1,))]
    later = bundle([message("/a", 1)], struct.pack(">Q", 2**63))
    assert decode(later) == [OscMessage("/a", (1,))]


def test_messages_without_type_tags_are_read_as_floats():
    assert decode(padded(b"/vj/a") + struct.pack(">2f", 0.5, 2.0)) == [OscMessage("/vj/a", (0.5, 2.0))]
    assert decode(padded(b"/vj/a")) == [OscMessage("/vj/a", ())]


@given(st.binary(max_size=300))
@settings(max_examples=500)
def test_garbage_never_escapes(data):
    for packet in (data, b"#bundle\0" + data, b"/a\0\0," + data):
        with contextlib.suppress(OscError):
            decode(packet)


def test_mutated_packets_never_escape():
    rng = random.Random(0)
    seeds = [
        bundle([message("/vj/prompt/1/text", "neon tunnel"), message("/vj/param/zoom", 0.5)]),
        message("/vj/x", 1, 2.0, "three"),
        nest(3),
    ]
    slowest = 0.0
    for i in range(60_000):
        packet = bytearray(seeds[i % 3])
        for _ in range(rng.randint(1, 6)):
            packet[rng.randrange(len(packet))] = rng.randrange(256)
        if i % 5 == 0:
            packet = packet[: rng.randrange(len(packet) + 1)]
        began = time.perf_counter()
        with contextlib.suppress(OscError):
            decode(bytes(packet))
        slowest = max(slowest, time.perf_counter() - began)
    assert slowest < 0.05


def test_a_real_socket_survives_every_attack_and_still_answers():
    heard, refused = [], []

    async def play():
        server = OscServer(lambda m, sender: (heard.append(m), server.send(message("/pong"), sender)), refused.append)
        await listen(server, "127.0.0.1", 0)
        port = server._transport.get_extra_info("sockname")[1]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            for packet in ATTACKS.values():
                sock.sendto(packet, ("127.0.0.1", port))
            sock.sendto(message("/vj/ping", 7), ("127.0.0.1", port))
            answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 1000), 2)
        server.close()
        return answer

    assert decode(asyncio.run(play())) == [OscMessage("/pong", ())]
    assert heard == [OscMessage("/vj/ping", (7,))]
    assert len(refused) == len(ATTACKS)
