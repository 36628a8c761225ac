"""The delivery loop with a manual clock: slots, rates, outputs that come and go by state, program and preview."""

import threading
import uuid
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import wait_for

from vjserver.runtime.clock import NS, ManualClock
from vjserver.runtime.queue import QueueReader
from vjserver.runtime.ring import RingReader, RingWriter
from vjserver.runtime.status import DeliverStatus, StatusReader
from vjserver.runtime.store import Channels, StateReader, StateWriter, left_behind
from vjserver.show.outputs import OutputRow
from vjserver.show.state import Deliver, ShowState
from vjserver.stages.deliver import interpolation as between_pictures
from vjserver.stages.deliver.compositor import Compositor, Memory
from vjserver.stages.deliver.delivery import DeliverPipes, Delivery, Phase
from vjserver.stages.deliver.safe_loop import SafeLoop
from vjserver.types.errors import OutputError
from vjserver.types.frames import Frame, FrameInfo


class Taker:
    """An output that remembers; ``bad`` ones do not open."""

    def __init__(self, config, fps):
        self.config, self.fps, self.frames, self.closed = config, fps, [], False

    def open(self):
        if self.config.get("name") == "bad":
            raise OutputError("no such wall")

    def send(self, frame):
        self.frames.append(frame)

    def close(self):
        self.closed = True


def row(label, **config):
    return OutputRow(label, {"kind": "null", **config})


@pytest.fixture
def house():
    channels = Channels(f"vjt-{uuid.uuid4().hex[:6]}")
    segments = channels.create()
    clock, made = ManualClock(NS), []

    def make(config, fps):
        made.append(Taker(config, fps))
        return made[-1]

    state = StateWriter(channels.state)
    state.put(ShowState(outputs=(row("a"), row("b"))))
    ring, deck = RingWriter(channels.generated, 64 * 36 * 4), RingWriter(channels.preview, 64 * 36 * 4)
    delivery = Delivery(
        make,
        (row("page", size="32x18"),),
        Compositor(64, 36, clock.now_ns(), SafeLoop(None, clock, lambda *_: None)),
        clock,
        DeliverPipes.of(channels),
        lambda: RingWriter(channels.frozen, 64 * 36 * 4),
    )
    house = House(channels, clock, made, state, ring, deck, delivery)
    yield house
    delivery.run(lambda: True)
    ring.close()
    deck.close()
    for segment in segments:
        segment.close()
    channels.remove()


class House:
    def __init__(self, channels, clock, made, state, ring, deck, delivery):
        self.channels = channels
        self.clock, self.made, self.state, self.ring, self.deck = clock, made, state, ring, deck
        self.delivery, self.slot_ns = delivery, clock.now_ns()
        self.events = QueueReader(channels.events("deliver"))
        self.stats = StatusReader(channels.status("deliver"), DeliverStatus)
        self.number = 0

    def play(self, slots, value=None):
        """Deliver so many slots; a new frame of ``value`` comes before each, if one is given."""
        for _ in range(slots):
            if value is not None:
                self.number += 1
                self.ring.put(picture(value, self.number))
            before = {t: len(t.frames) for t in self.made}
            self.slot_ns = self.delivery.step(self.slot_ns)
            self._settle(before)

    def _settle(self, before):
        """Let output threads take what was offered: with a manual clock slots follow each other without a pause."""
        for label, thread in self.delivery._outputs.items():
            taken = wait_for(lambda thread=thread: thread._mail is None or not thread.alive, 2, 0.0005)
            assert taken, label

    def taker(self, label):
        found = [t for t in self.made if t.config.get("tag", t.config.get("label")) == label]
        return found[-1]


def picture(value, number=1, width=64, height=36):
    pixels = np.full((height, width, 4), value, np.uint8)
    return Frame(pixels, FrameInfo(width, height, frame_id=number, t_generated_ns=number))


def alive(house, count):
    house.play(1)
    return sum(o.alive for o in house.delivery._outputs.values()) == count


def test_every_output_gets_every_slot_and_the_pages_own_is_not_told_of(house):
    wait_for(lambda: alive(house, 3))
    sent = [len(t.frames) for t in house.made]
    house.play(30, value=50)
    # one of before may still have been on its way when they were counted
    wait_for(lambda: all(0 <= len(t.frames) - n - 30 <= 1 for t, n in zip(house.made, sent, strict=True)))
    sizes = sorted(t.frames[-1].pixels.shape for t in house.made)
    assert sizes == [(18, 32, 4), (36, 64, 4), (36, 64, 4)]
    house.play(60)
    assert sorted(house.stats.get().outputs) == ["a", "b"]
    assert house.stats.get().drops == 0


def test_slots_lie_on_a_grid_and_a_missed_one_is_left_out(house):
    house.play(5)
    first = house.slot_ns
    period = NS // 60
    house.play(10)
    assert house.slot_ns == pytest.approx(first + 10 * period, abs=20)
    house.clock.sleep_until(house.clock.now_ns() + 10 * period)  # this process did not run for nine slots
    house.play(2)
    assert (house.slot_ns - first) % (NS / 60) < 100, "on the grid"
    house.play(60)
    stats = house.stats.get()
    assert stats.missed == 8
    assert stats.late == 1
    assert stats.pacing.p50 == 0.0
    assert stats.fps == pytest.approx(60, abs=0.01)


@pytest.mark.parametrize(("made_fps", "offset_ms"), [(60, 1), (60, 9), (60, 15), (30, 4), (30, 12), (20, 7)])
def test_slots_move_to_where_frames_come_and_never_by_much(made_fps, offset_ms):
    phase, period, slot_ns = Phase(), NS // 60, 10 * NS
    next_ns, waits, slots = slot_ns + offset_ms * 1_000_000, [], []
    for _ in range(60 * 24):
        move, newest = 0, None
        while next_ns <= slot_ns:
            newest, next_ns = next_ns, next_ns + NS // made_fps
        if newest is not None:
            waits.append(slot_ns - newest)
            move = phase(slot_ns - newest, period)
        slots.append(slot_ns)
        slot_ns += period + move
    assert np.mean(waits[-60:]) * 1e-6 == pytest.approx(1.0, abs=0.4)
    steps = np.diff(slots)
    assert abs(steps - period).max() <= 50_000
    assert abs(steps[-60:] - period).max() <= 5_000, "it comes to rest"


def test_frames_that_stray_are_given_more_time_so_that_few_come_too_late():
    rng, phase, period, slot_ns = np.random.default_rng(3), Phase(), NS // 60, 10 * NS
    due_ns, waits = slot_ns + 5_000_000, []
    next_ns = due_ns
    for _ in range(60 * 30):
        move, newest = 0, None
        while next_ns <= slot_ns:
            newest, due_ns = next_ns, due_ns + NS // 60
            next_ns = due_ns + round(abs(rng.normal(0, 1.5e6)))
        if newest is not None:
            waits.append(slot_ns - newest)
            move = phase(slot_ns - newest, period)
        slot_ns += period + move
    late = np.array(waits[-900:]) * 1e-6
    assert 1.0 < np.median(late) < 5.0
    assert (late > 10.0).mean() < 0.03


def test_frames_that_come_here_and_there_move_nothing():
    rng, phase = np.random.default_rng(1), Phase()
    moves = [phase(int(rng.uniform(0, NS // 60)), NS // 60) for _ in range(2000)]
    assert moves.count(0) > 1900
    assert phase(NS, NS // 60) == 0
    assert phase(-5, NS // 60) == 0


def test_an_output_added_or_removed_by_state_leaves_the_others_untouched(house):
    wait_for(lambda: alive(house, 3))
    a = house.made[1] if house.made[1].config.get("size") is None else house.made[0]
    before = len(a.frames)
    threads = dict(house.delivery._outputs)
    house.state.put(ShowState(outputs=(row("a"), row("b"), row("c", name="new"))))
    wait_for(lambda: alive(house, 4))
    assert {k: v for k, v in house.delivery._outputs.items() if k != "c"} == threads
    house.state.put(ShowState(outputs=(row("a"), row("c", name="new"))))
    house.play(3)
    gone = threads["b"]
    gone.join()
    assert not gone.alive
    assert "b" not in house.delivery._outputs
    house.play(20)
    slots = house.stats.get().ticks
    assert slots > 0
    assert len(a.frames) - before >= 20


def test_one_that_changes_is_closed_and_opened_again(house):
    wait_for(lambda: alive(house, 3))
    house.state.put(ShowState(outputs=(row("a", name="other"), row("b"))))
    wait_for(lambda: alive(house, 3) and any(t.config.get("name") == "other" for t in house.made))
    names = [(t.config.get("name"), t.closed) for t in house.made if t.config.get("size") is None]
    assert sorted(names, key=str) == [("other", False), (None, False), (None, True)]


def test_one_that_cannot_open_is_told_while_the_others_go_on(house):
    house.state.put(ShowState(outputs=(row("a"), row("bad", name="bad"), row("wrong", size="x"))))
    told = []

    def both():
        house.play(1)
        told.extend((e.what, e.why) for e in house.events.get())
        return len(told) >= 2

    wait_for(both)
    assert ("output bad", "no such wall") in told
    assert any(what == "output wrong" and "size" in why for what, why in told)


def test_a_new_rate_opens_outputs_anew_and_moves_the_slots(house):
    wait_for(lambda: alive(house, 3))
    house.state.put(ShowState(outputs=(row("a"),), deliver=Deliver(fps=25.0)))
    wait_for(lambda: alive(house, 2) and house.made[-1].fps == 25.0)
    first = house.slot_ns
    house.play(10)
    assert house.slot_ns - first == pytest.approx(10 * NS / 25, rel=1e-6)


def test_program_and_preview_are_two_streams(house):
    house.state.put(ShowState(fade=0.5, outputs=(row("a"), row("b", feed="preview"))))
    wait_for(lambda: alive(house, 3))
    feeds = {t.config.get("feed", "program"): t for t in house.made if "size" not in t.config}
    house.play(3, value=100)
    assert feeds["preview"].frames[-1].pixels.max() == feeds["program"].frames[-1].pixels.max(), "there is one deck"
    house.deck.put(picture(200, 1))
    house.play(3, value=100)
    assert feeds["preview"].frames[-1].pixels[..., 0].max() == 200, "the deck that is not on air, not faded"
    assert feeds["program"].frames[-1].pixels[..., 0].max() == 50
    assert feeds["preview"].frames[-1].info.stream_id != feeds["program"].frames[-1].info.stream_id


def test_the_level_is_told_and_shown(house):
    house.play(30, value=90)
    house.play(130)
    assert [(e.what, e.recovered) for e in house.events.get()] == [("picture", False)]
    house.play(30)
    assert house.stats.get().level == "safe"
    house.play(40, value=90)
    assert [(e.what, e.recovered) for e in house.events.get()] == [("picture", True)]
    assert house.stats.get().level == "live"


def test_where_optical_flow_takes_too_long_a_crossfade_is_shown_and_told(house, monkeypatch):
    between, flow = house.delivery._compositor.between, between_pictures.flows

    def slow(before, after):
        house.clock.sleep_until(house.clock.now_ns() + NS // 80)
        return flow(before, after)

    monkeypatch.setattr(between_pictures, "flows", slow)
    house.state.put(ShowState(deliver=Deliver(between="flow")))
    for i in range(60):
        house.play(1, value=i)
    told = [(e.what, e.why, e.recovered) for e in house.events.get()]
    assert told == [("between", "optical flow takes 12 of 16.7 ms of a slot; a crossfade is shown instead", False)]
    assert between._flows is None
    house.state.put(ShowState())
    house.play(2, value=3)
    assert [(e.what, e.recovered) for e in house.events.get()] == [("between", True)]
    assert not between.hurried


def test_pictures_are_shared_not_copied_and_cannot_be_written_to(house):
    wait_for(lambda: alive(house, 3))
    house.play(2, value=10)
    full = [t.frames[-1].pixels for t in house.made if "size" not in t.config]
    assert np.shares_memory(full[0], full[1])
    assert not any(p.flags.writeable for p in full)
    assert replace(house.made[0].frames[-1]).info.t_sent_ns > 0
    assert threading.active_count() > 3


# -- what outlives a fall ---------------------------------------------------------------------------------------------


def successor(house):
    """Another deliverer, as it begins after the first one fell."""
    channels, clock = house.channels, house.clock
    safe = SafeLoop(None, clock, lambda *_: None)
    composer, pipes = Compositor(64, 36, clock.now_ns(), safe), DeliverPipes.of(channels)
    composer.resume(
        left_behind(channels.memory("deliver"), Memory), pipes.ring.get(), RingReader(channels.frozen).get()
    )  # fmt: skip
    return Delivery(
        house.delivery._make, (), composer, clock, pipes, lambda: SimpleNamespace(put=lambda _frame: None)
    )  # fmt: skip


def shown(delivery, house):
    return delivery._pictures(StateReader(house.channels.state).get(), house.clock.now_ns(), house.clock.now_ns())


def test_a_picture_that_is_held_still_stays_the_same_picture_after_a_fall(house):
    house.play(5, value=40)
    house.state.put(ShowState(freeze=True))
    house.play(2, value=50)  # the last one before freezing is 50, or 40
    held = house.delivery._compositor.frozen.pixels.max()
    house.play(5, value=200)
    program = shown(successor(house), house)["program"]
    assert program.pixels[..., :3].max() == held
    assert program.pixels[..., :3].max() in (40, 50)


def test_who_comes_after_shows_the_newest_picture_at_once_and_stands_on_the_same_level(house):
    house.number = house.clock.now_ns()  # pictures tell when they were made
    house.play(1, value=70)
    heir = successor(house)
    assert shown(heir, house)["program"].pixels[..., :3].max() == 70
    assert heir._compositor.level == "live"
    house.play(140)  # nothing new comes: the safe loop
    assert house.delivery._compositor.level == "safe"
    fell_ns = house.delivery._compositor._fell_ns
    heir = successor(house)
    shown(heir, house)
    assert (heir._compositor.level, heir._compositor._fell_ns) == ("safe", fell_ns)


def test_how_long_nothing_came_counts_from_the_picture_and_not_from_the_fall(house):
    house.number = house.clock.now_ns()  # pictures tell when they were made
    house.play(1, value=70)
    house.play(90)  # a second and a half without
    heir = successor(house)
    shown(heir, house)
    house.clock.sleep_until(house.clock.now_ns() + NS)
    shown(heir, house)
    assert heir._compositor.level == "safe", "two seconds after the last picture, whoever delivers"


def test_an_output_of_any_kind_of_wrongness_takes_no_other_with_it(house):
    class Wrong(dict):
        def get(self, *_):
            raise OverflowError("cannot convert float infinity to integer")

    house.play(3)
    bad = OutputRow("odd", Wrong(kind="null"))
    house.delivery._follow(ShowState(outputs=(row("a"), bad, row("b"))))
    told = [(e.what, e.why) for e in house.events.get()]
    assert any(what == "output odd" and why.endswith("; it is left out") for what, why in told)
    assert {"a", "b"} <= set(house.delivery._outputs)


def test_a_picture_that_cannot_be_composed_leaves_the_one_before_and_is_told_once(house, monkeypatch, tmp_path):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    wait_for(lambda: alive(house, 3))
    house.play(5, value=60)
    compose = house.delivery._compositor

    def broken(*_):
        raise ZeroDivisionError("a fault of ours")

    house.delivery._compositor.between.at, before = broken, compose.between.at
    house.play(5, value=90)
    house.delivery._compositor.between.at = before
    house.play(1, value=120)
    told = [(e.what, e.recovered) for e in house.events.get()]
    assert told == [("composing", False), ("composing", True)]
    assert "a fault of ours" in (tmp_path / "log" / "vjserver.log").read_text()
