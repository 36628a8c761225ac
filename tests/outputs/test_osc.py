import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import free_port, wait_for
from hypothesis import given
from hypothesis import strategies as st
from pythonosc.osc_bundle import OscBundle
from pythonosc.osc_message import OscMessage as OracleMessage

from vjserver.controls.osc import decode
from vjserver.outputs.osc import CONTINUOUS, ContinuousBundle, OscTarget, OscTargetOptions, StatusSender
from vjserver.runtime.osc import bundle, message, timetag
from vjserver.show.addresses import OUTPUTS
from vjserver.types.errors import OutputError
from vjserver.types.events import Beat, Drum, Onset, Silence
from vjserver.types.features import BeatGrid, silent_features

NS = 1_000_000_000
GRID = BeatGrid(10 * NS, 20, 0.5, 0, 4, 0.9, True)


@pytest.fixture
def listener():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.3)
        yield sock


def target(listener, **options):
    return OscTarget(OscTargetOptions(port=listener.getsockname()[1], **options))


def received(listener):
    """Return (address, args) of everything that waits at the listener."""
    found = []
    listener.settimeout(0.05)
    while True:
        try:
            found += [(m.address, m.args) for m in decode(listener.recv(65536))]
        except TimeoutError:
            return found


def test_the_filled_bundle_is_what_python_osc_reads():
    features = silent_features(1)
    features.bands[:] = np.linspace(0, 1, 6)
    oracle = OscBundle(bytes(ContinuousBundle().fill(features, 10 * NS)))
    assert [m.address for m in oracle] == [address for address, _ in CONTINUOUS]
    by_address = {m.address: m.params for m in oracle}
    assert by_address["/vj/bands"] == pytest.approx(list(np.linspace(0, 1, 6)))
    assert len(by_address["/vj/spectrum"]) == 32
    assert by_address["/vj/silence"] == [1.0]


def test_everything_that_is_sent_is_declared():
    assert {address for address, _ in CONTINUOUS} <= set(OUTPUTS)
    for address, count in CONTINUOUS:
        assert len(OUTPUTS[address].arguments) == count


def test_messages_are_what_python_osc_reads():
    oracle = OracleMessage(message("/vj/x", 1, 0.5, "text"))
    assert (oracle.address, oracle.params) == ("/vj/x", [1, 0.5, "text"])


@given(st.one_of(st.integers(), st.floats(allow_nan=False), st.sampled_from([10**308, -(10**400), 2**128, 2**127])))
def test_any_number_can_be_told(number):
    (told,) = OracleMessage(message("/vj/x", number)).params
    most = sys.float_info.max
    assert told == pytest.approx(
        max(-most, min(most, number)) if isinstance(number, int) else number, rel=1e-6, abs=1e-38
    )


def test_drums_are_told_at_once_and_end_shortly_after(listener):
    one = target(listener, kind="numbers")
    one.tell(Drum(1, 1, "kick", 0.8), NS)
    one.tell(Onset(1, 1, 0.5), NS)
    assert received(listener) == [("/vj/kick", (pytest.approx(0.8),)), ("/vj/onset", (0.5,))]
    one.tick(silent_features(1), BeatGrid(), NS + 70_000_000)
    assert {("/vj/kick", (0.0,)), ("/vj/onset", (0.0,))} <= set(received(listener))
    one.close()


def test_texts_go_to_text_targets_only(listener):
    one = target(listener, kind="text")
    one.tell(Drum(1, 1, "snare", 0.8), NS)
    one.tell(Silence(1, 1, True), NS)
    one.tick(silent_features(1), GRID, GRID.t_ns)
    addresses = received(listener)
    assert addresses[:3] == [
        ("/vj/event", ("snare",)),
        ("/vj/event", ("silence",)),
        ("/vj/event", ("downbeat",)),
    ]
    assert all(a in ("/vj/event", "/vj/status/heartbeat") for a, _ in addresses)
    one.close()


def test_continuous_values_keep_their_rate(listener):
    one = target(listener, kind="numbers", rate_hz=50.0)
    told = 0
    for i in range(400):
        one.tick(silent_features(1), BeatGrid(), NS + i * 5_000_000)
        if i % 100 == 99:  # before the socket's buffer is full
            told += sum(a == "/vj/level" for a, _ in received(listener))
    assert told == pytest.approx(100, abs=2)
    one.close()


def test_a_beat_is_told_once_on_time_with_its_place(listener):
    one = target(listener, kind="numbers", rate_hz=1.0)
    for i in range(300):
        one.tick(silent_features(1), GRID, GRID.t_ns - 10_000_000 + i * 5_000_000)
    beats = [args[0] for address, args in received(listener) if address == "/vj/beat"]
    assert beats == [19, 20, 21, 22]
    assert one.next_beat_ns(GRID) == GRID.t_ns + 3 * NS // 2
    one.close()


def test_lookahead_sends_early_with_the_true_time(listener):
    one = target(listener, kind="numbers", rate_hz=1.0, lookahead_ms=100)
    assert one.next_beat_ns(GRID) == GRID.t_ns - NS // 10
    one.tick(silent_features(1), GRID, GRID.t_ns - 90_000_000)
    before = time.time()
    packet = listener.recv(65536)
    oracle = OscBundle(packet)
    assert oracle.content(0).address == "/vj/beat"
    assert oracle.content(0).params == [20]
    assert oracle.timestamp - before == pytest.approx(0.09, abs=0.03)
    one.close()


def test_timetags_are_ntp():
    assert OscBundle(bundle([message("/a")], timetag(1_700_000_000.25))).timestamp == pytest.approx(1_700_000_000.25)


def test_an_absent_listener_is_no_error():
    one = OscTarget(OscTargetOptions(port=free_port(socket.SOCK_DGRAM)))
    for i in range(20):
        one.tell(Drum(1, 1, "kick", 1.0), i)
        one.tick(silent_features(1), GRID, i * NS)
    one.close()


def test_an_unknown_host_is_named():
    with pytest.raises(OutputError, match=r"no-such-host\.invalid"):
        OscTarget(OscTargetOptions(host="no-such-host.invalid", port=9))


def test_status_reaches_the_right_kind(listener):
    port = listener.getsockname()[1]
    sender = StatusSender([OscTargetOptions(port=port, kind="text")])
    sender.tell("/vj/status/error", "sound", "gone")
    sender.tell("/vj/status/fps", 30.0, 60.0)
    assert received(listener) == [("/vj/status/error", ("sound", "gone"))]
    sender.close()


def test_beats_are_not_events_for_tell(listener):
    one = target(listener)
    one.tell(Beat(1, 1, 1, 0, 4, 120.0, 1.0), NS)
    assert received(listener) == []
    one.close()


def test_a_foreign_program_reads_us(tmp_path):
    if shutil.which("oscdump") is None:
        pytest.skip("oscdump is not installed (make test installs liblo-tools on Debian and Ubuntu)")
    port = free_port(socket.SOCK_DGRAM)
    log = tmp_path / "dump"
    with log.open("w") as out, subprocess.Popen(["oscdump", "-L", str(port)], stdout=out) as dump:
        one = OscTarget(OscTargetOptions(port=port))

        def told():
            one.tell(Drum(1, 1, "kick", 0.75), NS)
            one.tick(silent_features(1), GRID, time.perf_counter_ns())
            text = log.read_text()  # a line may be written in pieces: it is whole where the next one has begun
            return "/vj/spectrum" in text and "/vj/kick f 0.750000\n" in text.rpartition("/vj/spectrum")[0]

        wait_for(told, 5, 0.1)
        dump.terminate()
        one.close()
    text = log.read_text()
    assert "/vj/kick f 0.750000" in text
    assert '/vj/event s "kick"' in text
    assert "/vj/bands ffffff" in text
