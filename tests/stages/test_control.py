"""Control with real pipes: what is heard becomes deeds, troubles are told, wrong messages change nothing."""

import asyncio
import uuid
from dataclasses import replace

import pytest

from vjserver.controls.osc import OscMessage
from vjserver.runtime.clock import NS, LiveClock
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.slot import SlotWriter
from vjserver.runtime.stats import StatsReader, StatsWriter
from vjserver.runtime.store import WORKERS, Channels, FeaturesReader, StateReader, StateWriter, pack_features
from vjserver.show.preset import Bank, Preset
from vjserver.show.state import ShowState
from vjserver.stages.control import Control
from vjserver.types.errors import ConfigError
from vjserver.types.events import Command, Degraded, Drum
from vjserver.types.features import BeatGrid, quiet

BANK = Bank(
    [
        ("a", Preset(name="A", seed=5, triggers=({"on": "bar", "every": 2, "do": "/vj/seed/next"},))),
        ("b", Preset(name="B", seed=9, triggers=({"on": "kick", "do": "/vj/param/zoom/inc", "args": (0.1,)},))),
    ]
)


@pytest.fixture
def desk():
    channels = Channels(f"vjt-{uuid.uuid4().hex[:6]}")
    segments = channels.create()

    def check(config):
        if config["kind"] != "null":
            raise ConfigError(f"unknown output {config['kind']!r}")

    def make(before=None):
        return Control(
            BANK, 1, LiveClock(), StateWriter(channels.state), before, ShowState(), check,
            FeaturesReader(channels.features, quiet(0)),
            QueueWriter(channels.events("control")), [QueueReader(channels.events("ear"))],
            StatsWriter(channels.stats("control")), {n: StatsReader(channels.stats(n)) for n in WORKERS}, (),
        )  # fmt: skip

    control = make()
    ear = QueueWriter(channels.events("ear"))
    told = QueueReader(channels.events("control"))

    def hear(*events):
        for event in events:
            ear.put(event)
        rounds = iter(range(4))
        asyncio.run(control.run(lambda: next(rounds, None) is None))

    hear.features, hear.generate = SlotWriter(channels.features), StatsWriter(channels.stats("generate"))
    yield control, hear, told, StateReader(channels.state), make
    for segment in segments:
        segment.close()
    channels.remove()


def pass_beats(hear, first, last, ahead_s=0.0):
    """Let the clock tell beat after beat: each falls ``ahead_s`` from now."""
    for count in range(first, last):
        grid = BeatGrid(LiveClock().now_ns() + round(ahead_s * NS), count, 0.5, count % 4, 4, 0.9, True)
        hear.features.put(pack_features(replace(quiet(0), grid=grid)))
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
    hear.generate.put({"lookahead_ms": 200.0})
    pass_beats(hear, 8, 9, ahead_s=0.15)
    assert control.state.seed == 6
    pass_beats(hear, 8, 9)  # the beat itself does it no second time
    assert control.state.seed == 6


def test_ableton_link_is_told_to_the_ear(desk):
    control, _hear, told, _, _ = desk
    control.receive("/vj/tempo/link", ("loud",))
    assert control.link == "off"
    control.receive("/vj/tempo/link", ("follow",))
    assert control.link == "follow"
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
    assert control.snapshot()["troubles"] == {"sound": "gone", "picture": "safe loop"}
    hear(Degraded(3, "sound", "back", True))
    assert control.snapshot()["troubles"] == {"picture": "safe loop"}


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


def test_tempo_commands_go_to_the_ear(desk):
    control, _, told, _, _ = desk
    control.receive("/vj/tempo/nudge", (900,))
    control.receive_osc(OscMessage("/vj/tempo/tap", (1.0,)), ("127.0.0.1", 1))
    commands = [e for e in told.get() if isinstance(e, Command)]
    assert [(c.address, c.args) for c in commands] == [("/vj/tempo/nudge", (500.0,)), ("/vj/tempo/tap", ())]


def test_a_successor_takes_the_state_up_where_it_was(desk):
    control, _, _, state, make = desk
    control.receive("/vj/preset/go", ("b",))
    control.receive("/vj/master/fade", (0.3,))
    heir = make(state.get())
    assert heir.state == control.state
    heir.receive("/vj/preset/prev", ())
    assert heir.state.preset_name == "A"


def test_lost_events_are_announced_and_the_end_of_it_too(desk):
    control, hear, told, _, _ = desk
    hear(*[Drum(i, i, "hat", 1.0) for i in range(600)])
    why = [(e.why, e.mended) for e in told.get() if isinstance(e, Degraded)]
    assert why == [("88 lost: this process was stopped for too long", False)]
    assert "events" in control.troubles
    hear()
    assert "events" not in control.troubles


def test_names_are_told_again_to_who_began_to_listen_only_now(desk):
    control, hear, _, _, _ = desk
    told = []
    control._status.tell = lambda address, *args: told.append(address)
    hear()
    assert told.count("/vj/status/preset") == 1
    control._tell_status(LiveClock().now_ns())
    assert told.count("/vj/status/preset") == 1
    control._tell_status(LiveClock().now_ns() + 6 * NS)
    assert told.count("/vj/status/preset") == 2


def test_an_output_asked_for_is_checked_before_it_is_of_the_state(desk):
    control, _, told, state, _ = desk
    control.receive("/vj/output/add", ("wall", "null"))
    assert [row.label for row in state.get().outputs] == ["wall"]
    control.receive("/vj/output/add", ("bad", "nosuch"))
    assert [row.label for row in control.state.outputs] == ["wall"]
    assert "unknown output 'nosuch'" in [e.why for e in told.get() if isinstance(e, Degraded)][-1]
    control.receive("/vj/output/remove", ("wall",))
    assert state.get().outputs == ()
