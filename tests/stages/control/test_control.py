"""Control with real pipes: what is heard becomes deeds, troubles are told, wrong messages change nothing."""

import asyncio
import socket
import struct
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network

import pytest
from known import SHIPPED, enter

from vjserver.controls.osc import OscMessage, decode
from vjserver.outputs.osc import OscTargetOptions
from vjserver.runtime.clock import NS, LiveClock, ManualClock
from vjserver.runtime.osc import message
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.slot import SlotWriter
from vjserver.runtime.status import DeliverStatus, GenerateStatus, OutputStatus, StatusWriter
from vjserver.runtime.store import Channels, StateReader, pack_features
from vjserver.show.bank import Bank
from vjserver.show.cues import Follow
from vjserver.show.preset import Preset
from vjserver.show.presettext import parse_preset
from vjserver.show.readout import waits
from vjserver.show.state import ShowState
from vjserver.stages.control.control import Control
from vjserver.stages.control.options import ControlOptions
from vjserver.stages.control.panel import ControlPanel
from vjserver.stages.control.pipes import Pipes
from vjserver.stages.control.user_library import MOST_SAVES, UserLibrary
from vjserver.types.errors import ConfigError
from vjserver.types.events import TAKE_BACK, Command, Degraded, Drum
from vjserver.types.features import BeatGrid, silent_features

BANK = Bank(
    [
        ("a", Preset(name="A", seed=5, triggers=({"on": "bar", "every": 2, "do": "/vj/seed/next"},))),
        ("b", Preset(name="B", seed=9, triggers=({"on": "kick", "do": "/vj/param/zoom/inc", "args": (0.1,)},))),
    ]
)
FIRST = enter(ShowState(), 0, BANK.presets[0][1])


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    channels = Channels(f"vjt-{uuid.uuid4().hex[:6]}")
    segments = channels.create()

    def check(config):
        if config["kind"] != "null":
            raise ConfigError(f"unknown output {config['kind']!r}")

    def make(before=None, targets=()):
        pipes = Pipes.of(channels, ["ear"])
        options = ControlOptions(SHIPPED, BANK, FIRST, UserLibrary(lambda: BANK, SHIPPED), targets=targets)
        return Control(options, LiveClock(), pipes, before, check)

    made = []

    def kept(*args):
        made.append(make(*args))
        return made[-1]

    control = kept()
    ear = QueueWriter(channels.events("ear"))
    told = QueueReader(channels.events("control"))

    def hear(*events):
        for event in events:
            ear.put(event)
        control._next_status_ns = 0
        rounds = iter(range(4))
        asyncio.run(control.run(lambda: next(rounds, None) is None))

    hear.features, hear.generate = SlotWriter(channels.features), StatusWriter(channels.status("generate"))
    yield control, hear, told, StateReader(channels.state), kept
    for one in made:
        one.close()
    for segment in segments:
        segment.close()
    channels.remove()


def pass_beats(hear, first, last, ahead_s=0.0):
    """Let the clock tell beat after beat: each falls ``ahead_s`` from now."""
    for count in range(first, last):
        grid = BeatGrid(LiveClock().now_ns() + round(ahead_s * NS), count, 0.5, count % 4, 4, 0.9, True)
        hear.features.put(pack_features(replace(silent_features(0), grid=grid)))
        hear()


def test_a_presets_triggers_are_carried_out(desk):
    control, hear, _, state, _ = desk
    pass_beats(hear, 1, 17)
    assert control.state.seed == 5 + 2
    assert state.get().seed == 7


def test_what_hangs_on_a_beat_is_done_so_much_ahead_as_a_picture_takes(desk):
    control, hear, _, _, _ = desk
    pass_beats(hear, 1, 8)
    pass_beats(hear, 8, 9, ahead_s=0.15)
    assert control.state.seed == 5
    hear.generate.put(GenerateStatus(lookahead_ms=200.0))
    pass_beats(hear, 8, 9, ahead_s=0.15)
    assert control.state.seed == 6
    pass_beats(hear, 8, 9)  # the beat itself does it no second time
    assert control.state.seed == 6


def test_ableton_link_is_told_to_the_ear(desk):
    control, _hear, told, _, _ = desk
    control.receive("/vj/tempo/link", ("loud",))
    assert control.state.sync.link == "off"
    control.receive("/vj/tempo/link", ("follow",))
    assert (control.state.sync.link, control.state.sync.source) == ("follow", "link")
    assert not [e for e in told.get() if isinstance(e, Command)]


def test_a_new_preset_brings_its_own_triggers(desk):
    control, hear, _, _, _ = desk
    control.receive("/vj/preset/next", ())
    pass_beats(hear, 1, 17)
    hear(Drum(1, 1, "kick", 1.0))
    assert control.state.seed == 9
    assert control.state.params["zoom"] == pytest.approx(0.6)


def test_troubles_come_and_go(desk):
    control, hear, _, _, _ = desk
    hear(Degraded(1, "sound", "gone"), Degraded(2, "picture", "safe loop"))
    assert control.faults == {"sound": "gone", "picture": "safe loop"}
    hear(Degraded(3, "sound", "back", True))
    assert control.faults == {"picture": "safe loop"}


def test_wrong_messages_change_nothing_and_are_told_at_most_twice_a_second(desk):
    control, _, told, _, _ = desk
    before = control.state
    for _ in range(50):
        control.receive("/vj/param/zom", (1,))
        control.receive("/vj/master/fade", ("loud",))
    control.receive("/vj/tempo/tap", (0.0,))
    assert control.state is before
    assert control.refused == 100
    rows = [e for e in told.get() if isinstance(e, Degraded)]
    assert len(rows) == 1
    assert "nearest: /vj/param/zoom" in rows[0].why


def test_a_flood_of_unknown_addresses_costs_no_search_for_near_ones(desk, clients, monkeypatch):
    control, sender = desk[0], clients[0].sock.getsockname()
    searched = []
    monkeypatch.setattr("vjserver.types.errors.nearest", lambda name, _: searched.append(name) or "")
    for number in range(200):
        control.server.take(message(f"/vj/param/zom{number}", 1.0), sender)
        control.settle()
    assert len(searched) <= 2, "only what is told, at most twice a second"
    control.server.take(message("/vj/ping", 7), sender)
    assert searched[-1] == "/vj/param/zom199", "and what is asked for"


def test_what_is_wrong_is_told_in_few_words_however_long_it_was(desk):
    control, _, told, _, _ = desk
    wrong = [("/vj/" + "x" * 60_000, ()), ("/vj/seed", ([1] * 9000,)), ("/vj/negative", ({"a": "b" * 9000},)),
             ("/vj/preset/go", ("y" * 60_000,)), ("/vj/cue/" + "z" * 60_000 + "/go", ())]  # fmt: skip
    for address, args in wrong:
        control.announcer._last_message_ns = -NS
        control.receive(address, args)
    rows = [e.why for e in told.get() if isinstance(e, Degraded)]
    assert len(rows) == 5
    assert max(map(len, rows)) <= 400
    assert control.faults == {}
    control.receive("/vj/seed", (float("nan"), float("inf"), 5, True, "x" * 900))
    assert control.monitor[-1][3] == ("nan", "inf", 5, True, "x" * 200)
    assert max(len(str(row)) for row in control.monitor) < 900


def test_tempo_commands_go_to_the_ear(desk):
    control, _, told, _, _ = desk
    control.receive("/vj/tempo/nudge", (900,))
    control.receive_osc(OscMessage("/vj/tempo/tap", (1.0,)), ("127.0.0.1", 1))
    control.settle()
    commands = [e for e in told.get() if isinstance(e, Command)]
    assert [(c.address, c.args) for c in commands] == [("/vj/tempo/nudge", (500.0,)), ("/vj/tempo/tap", ())]


def test_a_successor_takes_the_state_up_where_it_was(desk):
    control, _, _, state, make = desk
    control.receive("/vj/preset/go", ("b",))
    control.receive("/vj/master/fade", (0.3,))
    control.settle()
    heir = make(state.get())
    assert heir.state == control.state
    heir.receive("/vj/preset/prev", ())
    assert heir.state.preset_name == "A"


def test_lost_events_are_announced_and_the_end_of_it_too(desk):
    control, hear, told, _, _ = desk
    hear(*[Drum(i, i, "hat", 1.0) for i in range(600)])
    why = [(e.why, e.recovered) for e in told.get() if isinstance(e, Degraded)]
    assert why == [("88 lost: this process was stopped for too long", False)]
    assert "events" in control.faults
    hear()
    assert "events" not in control.faults


def test_names_are_told_again_to_who_began_to_listen_only_now(desk):
    control, hear, _, _, _ = desk
    told = []
    control.publisher.tell = lambda address, *args: told.append(address)
    hear()
    assert told.count("/vj/status/preset") == 1
    control._look(LiveClock().now_ns())
    assert told.count("/vj/status/preset") == 1
    control._look(LiveClock().now_ns() + 6 * NS)
    assert told.count("/vj/status/preset") == 2


def test_old_figures_are_not_told_as_if_they_were_those_of_now(desk):
    control, hear, _, _, _ = desk
    told = {}
    control.publisher.tell = lambda address, *args: told.update({address: args})
    now_ns = LiveClock().now_ns()
    for ago_s, fps in ((0.5, 24.0), (3.0, 0.0)):
        hear.generate.put(GenerateStatus(t_ns=now_ns - round(ago_s * NS), fps=24.0))
        control._look(now_ns)
        assert told["/vj/status/fps"] == (fps, 0.0)


def test_an_output_asked_for_is_checked_before_it_is_of_the_state(desk):
    control, _, told, state, _ = desk
    control.receive("/vj/output/add", ("wall", "null"))
    control.settle()
    assert [row.label for row in state.get().outputs] == ["wall"]
    control.receive("/vj/output/add", ("bad", "nosuch"))
    assert [row.label for row in control.state.outputs] == ["wall"]
    assert "unknown output 'nosuch'" in [e.why for e in told.get() if isinstance(e, Degraded)][-1]
    control.receive("/vj/output/remove", ("wall",))
    control.settle()
    assert state.get().outputs == ()


# -- the surfaces -------------------------------------------------------------------------------------------------


class Client:
    """An OSC client on a real socket, whose messages go through a real server."""

    def __init__(self, control):
        self.control = control
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(0.2)

    def say(self, address, *args):
        self.control.server.take(message(address, *args), self.sock.getsockname())

    def hears(self):
        rows = []
        with suppress(TimeoutError):
            while True:
                rows += [(m.address, *m.args) for m in decode(self.sock.recv(65536))]
        return rows


@pytest.fixture
def clients(desk):
    control = desk[0]
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    control.server._sockets = [sender]  # nobody listens; answers go out
    made = [Client(control), Client(control)]
    yield made
    for client in made:
        client.sock.close()
    control.server.close()


def test_a_subscriber_hears_everything_and_then_what_others_change(desk, clients):
    control, (a, b) = desk[0], clients
    a.say("/vj/subscribe")
    b.say("/vj/subscribe", "numbers")
    control.step()
    first = dict(row[:2] for row in a.hears() if not row[0].startswith("/vj/status"))
    assert set(first) == set(SHIPPED.told)
    assert first["/vj/generator"] == "pattern"
    assert not [row for row in b.hears() if isinstance(row[1], str)]
    time.sleep(0.02)
    a.say("/vj/param/zoom", 0.9)
    a.say("/vj/prompt/1/text", "sea")
    control.step()
    assert ("/vj/param/zoom", pytest.approx(0.9)) in b.hears()
    assert "/vj/param/zoom" not in [row[0] for row in a.hears()]


@pytest.mark.parametrize("sent", ["/vj/param/steps", "/vj/param/diffusion/steps"])
def test_a_knob_is_told_under_both_its_names_and_its_echo_is_held_for_both(desk, clients, sent):
    control, (a, b) = desk[0], clients
    for one in (a, b):
        one.say("/vj/subscribe")
    control.step()
    for one in (a, b):
        one.hears()
    time.sleep(0.02)
    a.say(sent, 0.75)
    control.step()
    heard = dict(row for row in b.hears() if "steps" in row[0])
    assert heard == {"/vj/param/steps": pytest.approx(0.75), "/vj/param/diffusion/steps": pytest.approx(0.75)}
    assert not [row for row in a.hears() if "steps" in row[0]]
    time.sleep(0.2)
    control.step()
    other = ({"/vj/param/steps", "/vj/param/diffusion/steps"} - {sent}).pop()
    assert [row for row in a.hears() if "steps" in row[0]] == [(other, pytest.approx(0.75))], "it knows what it sent"


def test_a_clamped_value_comes_back_when_the_hand_rests(desk, clients):
    control, (a, _) = desk[0], clients
    a.say("/vj/subscribe")
    control.step()
    a.hears()
    a.say("/vj/param/zoom", 3.0)
    for _ in range(3):
        time.sleep(0.02)
        control.step()
    assert "/vj/param/zoom" not in [row[0] for row in a.hears()]
    time.sleep(0.16)
    control.step()
    assert ("/vj/param/zoom", 1.0) in a.hears()


def test_a_subscription_ends_unless_it_is_renewed(desk, clients, monkeypatch):
    control, (a, b) = desk[0], clients
    monkeypatch.setattr("vjserver.stages.control.osc_publisher.LEASE_NS", NS // 5)
    a.say("/vj/subscribe")
    b.say("/vj/subscribe", 9)  # a port of its own
    control.step()
    time.sleep(0.12)
    a.say("/vj/renew")
    time.sleep(0.12)
    control.step()
    assert [key for key in control.surfaces.known if isinstance(key, tuple)] == [a.sock.getsockname()]
    a.say("/vj/unsubscribe")
    assert not control.surfaces.known
    before = control.refused
    a.say("/vj/renew")
    assert control.refused == before + 1


def test_values_are_asked_for_one_by_one_or_by_pattern(desk, clients):
    a = clients[0]
    a.say("/vj/param/zoom?")
    a.say("/vj/prompt/*/weight", "?")
    a.say("/vj/tempo/bpm?")
    a.say("/vj/preset/go", "?")
    a.say("/vj/param/zooom?")
    rows = a.hears()
    assert ("/vj/param/zoom", 0.5) in rows
    assert len([r for r in rows if r[0].startswith("/vj/prompt/")]) == 8
    assert ("/vj/tempo/bpm", 0.0) in rows
    assert ("/vj/preset/go", 1) in rows
    assert len(rows) == 11


def test_targets_of_the_show_file_hear_what_changes(desk):
    make = desk[4]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as numbers,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as texts,
    ):
        for sock in (numbers, texts):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(0.3)
        control = make(None, [OscTargetOptions(port=numbers.getsockname()[1], kind="numbers"),
                              OscTargetOptions(port=texts.getsockname()[1], kind="text")])  # fmt: skip
        control.receive("/vj/param/zoom", (0.25,))
        control.receive("/vj/negative", ("text on it",))
        control.step()
        told = []
        for sock in (numbers, texts):
            with suppress(TimeoutError):
                while True:
                    told += [(m.address, *m.args) for m in decode(sock.recv(65536))]
        control.publisher.close()
    assert ("/vj/param/zoom", 0.25) in told
    assert ("/vj/negative", "text on it") in told
    assert len([row for row in told if not row[0].startswith("/vj/status")]) == 2


def test_an_osc_client_keeps_the_beat(desk):
    control, _, told, _, _ = desk
    control.receive("/vj/tempo/beat", ())
    control.settle()
    assert "is osc" in [e.why for e in told.get() if isinstance(e, Degraded)][-1]
    control.receive("/vj/tempo/source", ("osc",))
    control.settle()
    told.get()
    now_ns = LiveClock().now_ns()
    clock = control.sync._clock = ManualClock(now_ns)
    for position in (0, 1, 2, 3, 0):
        control.receive_osc(OscMessage("/vj/tempo/beat", (position,)), ("127.0.0.1", 1))
        clock.sleep_until(clock.now_ns() + NS // 2)
    grids = [e.args for e in told.get() if isinstance(e, Command)]
    assert [(round(bpm), position) for _, bpm, position in grids] == [(120, 3), (120, 0)]


# -- the shelf ----------------------------------------------------------------------------------------------------


def test_a_look_is_saved_and_found_again_by_its_name(desk, tmp_path):
    control = desk[0]
    control.presets._library.load = lambda: Bank(
        [*BANK.presets, *((path.stem, parse_preset(path.read_text(), path.name, SHIPPED))
                          for path in sorted((tmp_path / "presets").glob("*.toml")))],
        ("house", "house", *["mine"] * len(list((tmp_path / "presets").glob("*.toml")))),
    )  # fmt: skip
    control.receive("/vj/param/zoom", (0.81,))
    control.receive("/vj/preset/save", ("My ../../ Way",))
    control.settle()
    assert [path.name for path in tmp_path.glob("**/*.toml")] == ["my-way.toml"]
    control.receive("/vj/preset/go", ("b",))
    control.receive("/vj/preset/go", ("my-way",))
    assert control.state.params["zoom"] == 0.81
    assert control.desk.bank.presets[2][1].triggers == BANK.presets[0][1].triggers
    path = tmp_path / "presets" / "my-way.toml"
    path.write_text("# my own words\n" + path.read_text().replace("zoom", "zoom  "))
    control.receive("/vj/param/bloom", (0.11,))
    control.receive("/vj/preset/save", ())
    control.settle()
    assert path.read_text().startswith("# my own words\n")
    assert "bloom = 0.11" in path.read_text()
    path.write_text("name = 5\n")
    control.presets.reload()
    assert "my-way.toml:1: name:" in control.faults["presets"]
    assert control.state.params["bloom"] == 0.11  # the one that plays stays
    path.unlink()
    control.presets.reload()
    assert "presets" not in control.faults


def test_presets_that_did_not_change_are_not_taken_up_again(desk):
    control = desk[0]
    control.presets._library.load = lambda: Bank(list(BANK.presets))
    before = control.desk.bank
    control.presets.reload()
    assert control.desk.bank is before


def test_what_cannot_be_saved_is_told(desk):
    control = desk[0]
    for args, why in (((), "give a name"), (("../..",), "letters or digits")):
        before = control.refused
        control.announcer._last_message_ns = -NS
        told = desk[2]
        control.receive("/vj/preset/save", args)
        control.settle()
        assert control.refused == before + 1
        assert why in [e.why for e in told.get() if isinstance(e, Degraded)][-1]


def test_snapshots_and_takes_are_there_the_next_night(desk, tmp_path):
    control, _, _, _, make = desk
    control.receive("/vj/param/zoom", (0.2,))
    control.receive("/vj/snapshot/store", (3,))
    control.receive("/vj/take/record", (1,))
    control.step()
    control.receive("/vj/param/zoom", (0.7,))
    control.step()
    control.receive("/vj/take/record", (0,))
    control.step()
    heir = make()
    heir.presets.load_snapshots()
    heir.receive("/vj/snapshot/recall", (3,))
    assert heir.state.params["zoom"] == 0.2
    heir.receive("/vj/take/play", ())
    heir.settle()
    for _ in range(4):
        time.sleep(0.01)
        heir.step()
    assert heir.state.params["zoom"] == 0.7
    assert heir.desk.playing is None
    (tmp_path / "snapshots.json").write_text("{")
    third = make()
    third.presets.load_snapshots()
    assert "is damaged" in third.faults["snapshots"]
    assert (tmp_path / "snapshots.json.bad").read_text() == "{", "what a hand may mend is kept"
    third.receive("/vj/take/play", ("nosuch",))
    third.settle()
    assert third.refused == 1


def test_only_a_picture_of_the_preset_itself_is_kept(desk, tmp_path):
    control = desk[0]
    panel = ControlPanel(control, LiveClock(), tmp_path)
    channels = control.pipes.channels
    generate, deliver = StatusWriter(channels.status("generate")), StatusWriter(channels.status("deliver"))

    def tell(generator="pattern", level="live"):
        now_ns = LiveClock().now_ns()
        generate.put(GenerateStatus(t_ns=now_ns, generator=generator))
        deliver.put(DeliverStatus(t_ns=now_ns, level=level))

    tell()
    assert panel.shows_the_look()
    for address, args, back in (
        ("/vj/master/blackout", (1,), (0,)), ("/vj/master/freeze", (1,), (0,)), ("/vj/master/safe", (1,), (0,)),
        ("/vj/master/fade", (0.5,), (1.0,)),
    ):  # fmt: skip
        control.receive(address, args)
        assert not panel.shows_the_look(), address
        control.receive(address, back)
        assert panel.shows_the_look()
    for wrong in ({"level": "safe"}, {"generator": "diffusion (sd-turbo)"}):
        tell(**wrong)
        assert not panel.shows_the_look(), wrong
    tell()
    assert panel.shows_the_look()


def test_a_picture_of_a_preset_of_ones_own_is_kept_and_ours_stay(desk, tmp_path):
    control, shipped = desk[0], tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "a.jpg").write_bytes(b"ours")
    panel = ControlPanel(control, LiveClock(), shipped)
    assert [row["thumb"] for row in panel.hello()["presets"]] == [True, False]
    panel.keep_thumbnail(b"of a")
    before = panel.hello()
    control.receive("/vj/preset/go", ("b",))
    panel.keep_thumbnail(b"of b")
    assert (panel.thumbnail(1), panel.thumbnail(2), panel.thumbnail(3)) == (b"ours", b"of b", None)
    assert panel.hello() is not before
    assert [row["thumb"] for row in panel.hello()["presets"]] == [True, True]
    rows = {row["address"]: row for row in before["addresses"]}
    assert rows.keys() == set(SHIPPED.entries) - {"/vj/cue/{id}/go"}
    assert rows["/vj/generator"]["choices"] == ("diffusion", "gan", "paint", "pattern", "shot", "still")
    assert (rows["/vj/param/diffusion/turn"]["group"], rows["/vj/param/zoom"]["knob"]) == ("motion", "zoom")


def test_a_flood_and_strangers_are_announced_and_their_end_too(desk, clients):
    control, hear, _told, _, _ = desk
    control.server._most_per_s = 3
    for _ in range(10):
        clients[0].say("/vj/seed/next")
    control.server.take(message("/vj/seed", 1), ("not an address", 5))
    hear()
    assert control.faults["osc flood"].startswith("7 messages were left out")
    hear()
    assert "osc flood" not in control.faults
    control.server._networks = [ip_network("10.0.0.0/8")]
    control.server._sources.clear()
    clients[1].say("/vj/seed/next")
    hear()
    assert "1 packets were not taken" in control.faults["osc stranger"]


# -- what outlives a fall ---------------------------------------------------------------------------------------------


def fallen(desk):
    """Let control go round once, so that it has left what there is to leave; return who comes after it."""
    control, _, _, state, make = desk
    control._successor._next_history_ns = control._next_tell_ns = 0
    control.step()
    return make(state.get_new() or control.state)


def test_a_change_that_waits_for_the_bar_is_made_by_who_comes_after(desk):
    control, hear, _, _, _ = desk
    grid = BeatGrid(LiveClock().now_ns(), 8, 0.5, 1, 4, 0.9, True)
    hear.features.put(pack_features(replace(silent_features(0), grid=grid)))
    control.step()
    control.receive("/vj/quantise", ("bar",))
    control.receive("/vj/preset/go", ("b",))
    assert control.state.preset_name == "A"
    heir = fallen(desk)
    assert [row[0] for row in waits(heir.desk, 0)] == ["/vj/preset/go b"]
    grid = BeatGrid(LiveClock().now_ns(), 12, 0.5, 0, 4, 0.9, True)
    hear.features.put(pack_features(replace(silent_features(0), grid=grid)))
    heir.step()
    assert heir.state.preset_name == "B"


def test_undo_reaches_back_over_a_fall(desk):
    control = desk[0]
    for value in (0.1, 0.2, 0.3):
        control.receive("/vj/param/zoom", (value,))
        control.receive("/vj/seed", (round(10 * value),))
    heir = fallen(desk)
    for wanted in (2, 2, 1):
        heir.receive("/vj/undo", ())
        assert heir.state.seed in (wanted, wanted + 1)
    heir.receive("/vj/redo", ())
    assert heir.state.params["zoom"] >= 0.2
    assert heir.refused == 0


def test_a_history_too_long_to_be_left_whole_is_left_in_part(desk):
    control = desk[0]
    for i in range(80):
        control.receive("/vj/negative", ("x" * 1990 + str(i),))
        control.receive("/vj/prompt/1/text", ("y" * 1990 + str(i),))
        for n in range(2, 9):
            control.receive(f"/vj/prompt/{n}/text", ("\U0001f300" * 1990 + str(i),))
    heir = fallen(desk)
    heir.receive("/vj/undo", ())
    assert heir.refused == 0, "there is something to undo"


def test_a_cue_that_follows_is_called_by_who_comes_after(desk):
    control, _, _, _, _ = desk
    control.desk.follow = Follow(LiveClock().now_ns() + NS // 5)
    control.desk.state = replace(control.state, cue="1")
    heir = fallen(desk)
    assert heir.desk.follow == control.desk.follow


def test_subscribers_are_told_by_who_comes_after(desk, clients):
    control, (a, _) = desk[0], clients
    a.say("/vj/subscribe", "numbers")
    control.step()
    a.hears()
    heir = fallen(desk)
    heir.server._sockets = control.server._sockets
    heir.receive("/vj/param/zoom", (0.875,))
    heir.step()
    assert ("/vj/param/zoom", 0.875) in a.hears()


def test_a_take_that_was_broken_off_is_written_on(desk, tmp_path):
    control = desk[0]
    control.receive("/vj/take/record", (1,))
    control.settle()
    control.receive("/vj/param/zoom", (0.25,))
    control.settle()
    control._takes._writer._flush_ns = 0
    control._next_status_ns = 0
    control.step()
    path = next((tmp_path / "takes").iterdir())
    with path.open("ab") as file:
        file.write(b'{"t_ns": 5, "addr')  # torn off by the fall
    heir = fallen(desk)
    assert heir.state.take
    heir.receive("/vj/param/zoom", (0.75,))
    heir.settle()
    heir.receive("/vj/take/record", (0,))
    heir.settle()
    _, take = UserLibrary(lambda: BANK, SHIPPED).take("")
    assert [row.args for row in take.rows if row.address == "/vj/param/zoom"] == [(0.25,), (0.75,)]
    assert take.rows[-1].address == "/vj/take/stop"
    assert len(list((tmp_path / "takes").iterdir())) == 1


def test_a_take_is_on_the_disk_within_a_second(desk, tmp_path):
    control = desk[0]
    control.receive("/vj/take/record", (1,))
    control.receive("/vj/param/zoom", (0.25,))
    control.settle()
    control._next_status_ns = 0
    control.step()
    assert b"/vj/param/zoom" in next((tmp_path / "takes").iterdir()).read_bytes()


def test_a_take_of_a_state_without_its_file_is_not_said_to_be_recorded(desk):
    make = desk[4]
    heir = make(replace(ShowState(), take=True))
    assert not heir.state.take


def test_a_take_that_plays_is_played_on(desk, tmp_path):
    control = desk[0]
    control.receive("/vj/take/record", (1,))
    control.settle()
    control.receive("/vj/param/zoom", (0.25,))
    control.receive("/vj/take/record", (0,))
    control.settle()
    control.receive("/vj/take/play", ())
    control.settle()
    assert control.desk.playing
    heir = fallen(desk)
    assert heir.desk.playing == control.desk.playing


# -- a fault of one part does not take the others along ---------------------------------------------------------------


def test_a_part_that_fails_is_told_once_and_the_others_go_on(desk, monkeypatch):
    control, hear, told, _, _ = desk

    def broken(*_):
        raise ZeroDivisionError("a fault of ours")

    with monkeypatch.context() as patch:
        patch.setattr(type(control.surfaces), "tell", broken)
        for _ in range(5):
            control._next_tell_ns = 0
            hear(Drum(1, 1, "kick", 1.0))
    control._next_tell_ns = 0
    hear()
    rows = [(e.what, e.recovered) for e in told.get() if isinstance(e, Degraded)]
    assert rows == [("control feedback", False), ("control feedback", True)]


def test_a_message_that_meets_a_fault_of_ours_is_refused_and_the_next_one_taken(desk, monkeypatch):
    control = desk[0]
    receive = control.desk.receive

    def broken(now_ns, address, args, origin):
        if address == "/vj/seed":
            raise OverflowError("a fault of ours")
        return receive(now_ns, address, args, origin)

    monkeypatch.setattr(type(control.desk), "receive", lambda _self, *args: broken(*args))
    control.receive("/vj/seed", (5,))
    control.receive("/vj/param/zoom", (0.125,))
    assert control.refused == 1
    assert control.state.params["zoom"] == 0.125


@pytest.mark.parametrize("number", [2**31, 2**40, -(2**63), 2**63, 2**64 - 1])
def test_a_ping_of_any_number_is_answered(desk, clients, number):
    a = clients[0]
    value = struct.pack(">Q", number & (2**64 - 1))
    desk[0].server.take(b"/vj/ping\0\0\0\0,t\0\0" + value, a.sock.getsockname())
    address, back = a.hears()[0]
    assert address == "/vj/pong"
    assert float(back) == pytest.approx(number % 2**64, rel=1e-6)


@pytest.mark.parametrize("number", [1e308, -1e308, 3.5e38, 1e-300, float("inf")])
def test_a_ping_of_a_very_large_number_is_answered_too(desk, clients, number):
    a = clients[0]
    desk[0].server.take(b"/vj/ping\0\0\0\0,d\0\0" + struct.pack(">d", number), a.sock.getsockname())
    heard = a.hears()
    if number == float("inf"):
        assert desk[0].refused == 1, "no number that an address takes"
    else:
        assert heard == [("/vj/pong", pytest.approx(number, abs=1e-30))]


def test_what_falls_again_and_again_after_a_change_has_the_change_taken_back(desk):
    control, hear, told, _, _ = desk
    control._calm._next_ns = 0
    hear()
    control.receive("/vj/master/fade", (0.5,))
    control.receive("/vj/output/add", ("bad", "null"))
    hear(Degraded(LiveClock().now_ns(), "process deliver", "ended with code -11"))
    assert [row.label for row in control.state.outputs] == ["bad"]
    hear(Command(1, TAKE_BACK, ("deliver",)))
    assert control.state.outputs == ()
    assert control.state.fade == 0.5, "what has nothing to do with it stays"
    assert any("what was changed last is taken back (outputs)" in e.why for e in told.get() if isinstance(e, Degraded))


def test_a_look_under_which_the_generator_falls_is_taken_back(desk):
    control, hear, _, _, _ = desk
    control._calm._next_ns = 0
    hear()
    control.receive("/vj/preset/go", ("b",))
    control.receive("/vj/generator", ("nosuch",))
    hear(
        Degraded(LiveClock().now_ns(), "process generate", "ended with code -11"), Command(1, TAKE_BACK, ("generate",))
    )
    assert (control.state.preset_name, control.state.generator) == ("A", "pattern")


def test_a_look_under_which_the_generator_hangs_does_not_count_as_calm(desk):
    control, hear, _, _, _ = desk
    now_ns = LiveClock().now_ns()
    hear.generate.put(GenerateStatus(t_ns=now_ns, fps=30.0))
    control._calm._next_ns = 0
    hear()
    control.receive("/vj/preset/go", ("b",))
    hear.generate.put(GenerateStatus(t_ns=now_ns - 60 * NS, fps=30.0))
    for _ in range(6):
        control._calm._next_ns = 0
        hear()
    hear(Degraded(now_ns, "process generate", "gave no sign of life"), Command(1, TAKE_BACK, ("generate",)))
    assert control.state.preset_name == "A"


def test_a_recording_that_does_not_run_is_not_said_to_run(desk, monkeypatch):
    control, hear, told, _, _ = desk
    monkeypatch.setattr("vjserver.stages.control.status.RECORD_PATIENCE_NS", NS // 10)
    deliver = StatusWriter(control.pipes.channels.status("deliver"))
    control.receive("/vj/record", (1,))
    control.settle()
    deliver.put(DeliverStatus(outputs={"record": OutputStatus(alive=True, fps=30.0)}))
    hear()
    time.sleep(0.15)
    hear()
    assert control.state.record
    deliver.put(DeliverStatus(outputs={"record": OutputStatus()}))
    hear()
    time.sleep(0.15)
    hear()
    assert not control.state.record
    assert "nothing is recorded" in [e.why for e in told.get() if isinstance(e, Degraded)][-1]


@pytest.mark.parametrize(
    "text", ["[/x]", "\x1b]0;gone\x07\x1b[2J", "a\u2028b", "\u202egnp.exe", "{% x %}", "[bold]hi[/]"]
)
def test_a_foreign_text_is_shown_as_text_on_every_surface(desk, text):
    control, hear, told, _, _ = desk
    for address in ("/vj/preset/go", text, f"/vj/{text}", "/vj/output/add"):
        control.announcer._last_message_ns = -NS
        control.receive(address, (text, text)[: 1 + address.endswith("add")])
    hear(Degraded(1, text, text))
    shown = [e.what + e.why for e in told.get() if isinstance(e, Degraded)]
    shown += [str(row) for row in control.announcer.notes] + [str(row[2:]) for row in control.monitor]
    assert shown
    assert all(one.isprintable() for one in shown)


# -- who may be sent more than they sent ------------------------------------------------------------------------------


@pytest.fixture
def strangers(desk, clients):
    """Clients whose address is not believed, as those of another machine."""
    desk[0].publisher._trusted = []
    return clients


def test_who_subscribes_from_elsewhere_is_asked_back_before_much_is_sent(desk, strangers):
    control, (a, _) = desk[0], strangers
    a.say("/vj/subscribe")
    control.step()
    (address, code), *more = a.hears()
    assert (address, more) == ("/vj/subscribed", []), "one small packet, no more than was asked"
    control.step()
    assert a.hears() == []
    a.say("/vj/renew", code)
    control.step()
    assert len({row[0] for row in a.hears()} & set(SHIPPED.told)) == len(SHIPPED.told)
    a.say("/vj/subscribe")  # as clients do every ten seconds: known by now
    control.step()
    assert "/vj/subscribed" not in [row[0] for row in a.hears()]


def test_a_number_that_was_guessed_or_sent_from_elsewhere_proves_nothing(desk, strangers):
    control, (a, _) = desk[0], strangers
    a.say("/vj/subscribe")
    code = a.hears()[0][1]
    a.say("/vj/renew", (code + 1) % 2**31)
    control.server.take(message("/vj/renew", code), ("192.0.2.1", 5))
    control.step()
    assert a.hears() == []
    assert control.refused == 2


def test_a_stranger_is_given_short_answers_only(desk, strangers):
    control, (a, _) = desk[0], strangers
    a.say("/vj/param/zoom?")
    a.say("/vj/ping", 5)
    assert len(a.hears()) == 2
    control.receive("/vj/negative", ("x" * 2000,))
    a.say("/vj/negative?")
    a.say("/vj/*/*?")
    a.say("/vj/output/list")
    assert a.hears() == []
    assert control.refused == 3


def test_one_machine_does_not_take_all_the_places(desk, clients):
    control = desk[0]
    for port in range(1, 40):
        control.server.take(message("/vj/subscribe"), ("127.0.0.1", port))
    assert len(control.surfaces.known) == 16
    assert control.refused == 23
    control.server.take(message("/vj/subscribe"), ("127.0.0.2", 5))
    assert len(control.surfaces.known) == 17


def test_what_waited_and_is_done_is_not_done_again_by_who_comes_after(desk):
    control, hear, _, state, make = desk
    grid = BeatGrid(LiveClock().now_ns(), 8, 0.5, 1, 4, 0.9, True)
    hear.features.put(pack_features(replace(silent_features(0), grid=grid)))
    control.step()
    control.receive("/vj/quantise", ("beat",))
    control.receive("/vj/preset/next", ())
    control._next_tell_ns = 0
    control.step()  # its memory holds what waits
    control._next_tell_ns = LiveClock().now_ns() + 60 * NS  # no more memory in time
    grid = BeatGrid(LiveClock().now_ns(), 10, 0.5, 3, 4, 0.9, True)
    hear.features.put(pack_features(replace(silent_features(0), grid=grid)))
    control.step()
    assert control.state.preset_name == "B"
    heir = make(state.get_new())
    heir.step()
    assert heir.state.preset_name == "B"
    assert heir.desk.pending == []


def test_a_memory_that_makes_no_sense_is_left_out(desk, tmp_path):
    control, _, _, state, make = desk
    control.receive("/vj/seed", (5,))
    control.step()
    for name in ("control", "history"):
        SlotWriter(control.pipes.channels.memory(name)).put(b"\xc1 nothing of ours")
    heir = make(state.get_new() or control.state)
    assert heir.state.seed == 5
    assert "is left out" in (tmp_path / "log" / "vjserver.log").read_text()


def test_a_strangers_subscription_outlives_a_fall_without_being_asked_again(desk, strangers):
    control, (a, _) = desk[0], strangers
    a.say("/vj/subscribe")
    a.say("/vj/renew", a.hears()[0][1])
    control.step()
    a.hears()
    heir = fallen(desk)
    heir.publisher._trusted = []
    heir.server._sockets = control.server._sockets
    heir.receive("/vj/param/zoom", (0.875,))
    heir.step()
    assert ("/vj/param/zoom", 0.875) in a.hears()


def test_a_take_is_whole_from_its_first_line_on(desk, tmp_path):
    control = desk[0]
    control.receive("/vj/take/record", (1,))
    control.settle()
    assert next((tmp_path / "takes").iterdir()).read_bytes().startswith(b'{"vjserver_take"')


def test_a_program_that_saves_presets_in_a_loop_does_not_fill_the_disk(desk, tmp_path):
    control = desk[0]
    for number in range(MOST_SAVES + 5):
        control.receive("/vj/preset/save", (f"look {number}",))
        control.settle()
    assert len(list((tmp_path / "presets").glob("*.toml"))) == MOST_SAVES
    assert control.refused == 5


@pytest.mark.parametrize("stop", ["/vj/master/panic", "/vj/take/stop"])
def test_a_take_that_is_still_being_read_when_it_is_stopped_is_not_played(desk, tmp_path, stop):
    control = desk[0]
    (tmp_path / "takes").mkdir(exist_ok=True)
    (tmp_path / "takes" / "t.jsonl").write_bytes(b'{"vjserver_take": 1, "state": {"fade": 0.25}}\n')
    slow = control._takes._library.take

    def take(name):
        time.sleep(0.2)
        return slow(name)

    control._takes._library.take = take

    async def night(stopped):
        control.receive("/vj/take/play", ("t",))
        control.settle()
        await asyncio.sleep(0.05)
        if stopped:
            control.receive(stop, ())
            control.settle()
        await control._takes._reading
        return control.state.fade

    assert asyncio.run(night(stopped=True)) == 1.0
    assert asyncio.run(night(stopped=False)) == 0.25


def test_one_snapshot_that_makes_no_sense_costs_itself(desk, tmp_path):
    control = desk[0]
    (tmp_path / "snapshots.json").write_text('{"1": {"seed": 7}, "x": {}, "2": 5, "3": {"seed": "no"}}')
    control.presets.load_snapshots()
    assert {number: look.seed for number, look in control.desk.snapshots.items()} == {1: 7}
