"""The desk: everything that plays the show, without a clock and without a door."""

import json
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from known import PARAMS, REGISTRY, SHIPPED, Mapper, desk_of, enter

from vjserver.show.addresses import N_SNAPSHOTS
from vjserver.show.bank import Bank
from vjserver.show.cues import Cue, CueList
from vjserver.show.desk import MIN_GO_NS, Desk
from vjserver.show.echo import HOLD_NS, Recipient, same
from vjserver.show.history import STEPS
from vjserver.show.looks import at
from vjserver.show.mapping import DEEPEST
from vjserver.show.playback import Playback
from vjserver.show.preset import Preset
from vjserver.show.quantise import boundary
from vjserver.show.readout import shows, values, waits
from vjserver.show.state import ShowState, look_of
from vjserver.show.take import Played, head, line, parse
from vjserver.types.errors import ConfigError
from vjserver.types.events import Drum
from vjserver.types.features import BeatGrid, silent_features

NS = 1_000_000_000
A = Preset(name="A", seed=3, prompts=({"text": "rings"},), params={"zoom": 0.7, "bloom": 0.2})
B = Preset(name="B", seed=4, generator="diffusion", prompts=({"text": "grid"}, {"text": "fire", "weight": 0.5}),
           params={"zoom": 0.1}, triggers=({"on": "bar", "do": "/vj/seed/next"},))  # fmt: skip
C = Preset(name="C", autopilot=0.0)
BANK = Bank([("01-a", A), ("02-b", B), ("c", C), ("a", Preset(name="A of mine"))],
            ("house", "house", "house", "mine"))  # fmt: skip
CUES = CueList(
    [
        Cue(id="1", preset="a", do=({"do": "/vj/master/fade", "args": (0.5,)},)),
        Cue(id="2.5", preset="b", morph_seconds=2.0, follow_s=4.0),
        Cue(id="end", do=({"do": "/vj/master/blackout", "args": (1,)}, {"do": "/vj/tempo/auto"}), quantise="none"),
    ]
)  # fmt: skip


def grid_at(t_ns=0, count=0, position=0, per=4, period_s=0.5):
    return BeatGrid(t_ns, count, period_s, position, per, 0.9, True)


@pytest.fixture
def desk():
    return desk_of(BANK, enter(ShowState(), 0, A), CUES)


def run(desk, until_ns, grid=None, ahead_ns=0, step_ns=4_000_000, since_ns=0):
    grid = grid or grid_at()
    for t_ns in range(since_ns, until_ns + 1, step_ns):
        desk.tick(t_ns, grid, ahead_ns)


# -- quantise ------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 10**12), st.integers(0, 10**6), st.integers(0, 3), st.sampled_from([2, 3, 4]),
    st.floats(0.25, 1.5), st.sampled_from(["beat", "bar", "2bar", "4bar"]), st.integers(0, 10**11),
)  # fmt: skip
def test_a_boundary_lies_ahead_on_its_beat_and_none_is_left_out(t0_ns, count, position, per, period_s, quantise, later):
    grid = grid_at(t0_ns, count, position % per, per, period_s)
    t_ns = t0_ns + later
    found = boundary(grid, t_ns, quantise)
    bars = {"beat": 0, "bar": 1, "2bar": 2, "4bar": 4}[quantise]
    assert 1 <= found - grid.count_at(t_ns) <= max(1, bars * per)
    if bars:
        assert (position % per + found - count) % per == 0
    assert boundary(grid, t_ns, "none") is None
    assert boundary(replace(grid, running=False), t_ns, quantise) is None


def test_faders_go_back_to_where_the_preset_has_them(desk):
    home = desk.state
    desk.receive(0, "/vj/preset/go", ("b",))
    b = desk.state
    for address in (
        "/vj/param/zoom",
        "/vj/prompt/1/weight",
        "/vj/prompt/2/weight",
        "/vj/prompt/3/weight",
        "/vj/macro/1",
    ):
        before = desk.read(address)
        desk.receive(0, address, (0.77,))
        assert desk.read(address) == pytest.approx(0.77)
        desk.receive(0, f"{address}/reset", ())
        assert desk.read(address) == before, address
    assert (desk.state.params, desk.state.weights) == (b.params, b.weights), "what a macro moves goes back with it"
    assert home.weights != b.weights


def test_a_preset_waits_for_the_bar_and_faders_do_not(desk):
    desk.receive(0, "/vj/quantise", ("bar",))
    desk.tick(NS // 10, grid_at(), 0)
    desk.receive(NS // 10, "/vj/preset/go", ("b",))
    desk.receive(NS // 10, "/vj/param/zoom", (0.9,))
    assert (desk.state.preset_name, desk.state.params["zoom"]) == ("A", 0.9)
    assert waits(desk, NS // 10) == [("/vj/preset/go b", 4)]
    run(desk, 2 * NS - 4_000_000, since_ns=NS // 10)
    assert desk.state.preset_name == "A"
    desk.tick(2 * NS, grid_at(), 0)
    assert (desk.state.preset_name, desk.pending) == ("B", [])


def test_what_waits_starts_so_much_sooner_as_pictures_take(desk):
    desk.receive(0, "/vj/quantise", ("beat",))
    desk.tick(0, grid_at(), 0)
    desk.receive(10, "/vj/preset/go", ("b",))
    desk.tick(NS // 2 - 110_000_000, grid_at(), 100_000_000)
    assert desk.state.preset_name == "A"
    desk.tick(NS // 2 - 99_000_000, grid_at(), 100_000_000)
    assert desk.state.preset_name == "B"


def test_the_last_wish_counts_and_a_wish_can_be_taken_back(desk):
    desk.receive(0, "/vj/quantise", ("4bar",))
    desk.tick(0, grid_at(), 0)
    for address, args in (("/vj/preset/go", ("b",)), ("/vj/preset/next", ()), ("/vj/prompt/1/text", ("ocean",)),
                          ("/vj/preset/go", (3,)), ("/vj/prompt/1/text", ("sea",))):  # fmt: skip
        desk.receive(10, address, args)
    assert [text for text, _ in waits(desk, 10)] == ["/vj/preset/go 3", "/vj/prompt/1/text sea"]
    run(desk, 8 * NS, step_ns=NS // 10)
    assert (desk.state.preset_name, desk.state.texts[0]) == ("C", "sea")
    desk.receive(8 * NS, "/vj/preset/go", ("a",))
    desk.receive(8 * NS, "/vj/quantise/clear", ())
    run(desk, 17 * NS, since_ns=8 * NS, step_ns=NS // 10)
    assert desk.state.preset_name == "C"


def test_without_a_tempo_nothing_waits_and_a_lost_tempo_lets_go(desk):
    desk.receive(0, "/vj/quantise", ("bar",))
    desk.receive(0, "/vj/preset/go", ("b",))
    assert desk.state.preset_name == "B"
    desk.tick(0, grid_at(), 0)
    desk.receive(1, "/vj/preset/go", ("a",))
    desk.tick(2, replace(grid_at(), running=False), 0)
    assert desk.state.preset_name == "A"


def test_an_unknown_preset_is_refused_at_once_not_on_the_bar(desk):
    desk.receive(0, "/vj/quantise", ("bar",))
    desk.tick(0, grid_at(), 0)
    for address, args in (("/vj/preset/go", ("z",)), ("/vj/preset/go", (9,)), ("/vj/preset/go", ("mine", 2)),
                          ("/vj/cue/zz/go", ())):  # fmt: skip
        with pytest.raises(ConfigError, match=r"unknown|must be in"):
            desk.receive(1, address, args)
    assert desk.pending == []


# -- banks, prompts, macros ----------------------------------------------------------------------------------


def test_numbers_count_within_the_bank(desk):
    desk.receive(0, "/vj/preset/go", ("mine", 1))
    assert desk.state.preset_name == "A of mine"
    assert desk.read("/vj/preset/go") == 4
    desk.receive(0, "/vj/preset/bank", ("mine",))
    assert desk.read("/vj/preset/go") == 1
    desk.receive(0, "/vj/preset/next", ())
    assert desk.state.preset_name == "A of mine"
    desk.receive(0, "/vj/preset/bank", ("house",))
    desk.receive(0, "/vj/preset/prev", ())
    assert desk.state.preset_name == "A"
    desk.receive(0, "/vj/preset/prev", ())
    assert desk.state.preset_name == "C"
    with pytest.raises(ConfigError, match=r"1\.\.3: got 4"):
        desk.receive(0, "/vj/preset/go", (4,))


def test_an_unknown_bank_is_refused_with_the_nearest(desk):
    with pytest.raises(ConfigError, match="unknown bank 'hose'; nearest: house"):
        desk.receive(0, "/vj/preset/bank", ("hose",))
    assert desk.state.bank == ""


def test_prompts_are_queued_and_taken_one_by_one(desk):
    for text in ("ocean", "  forest ", ""):
        desk.receive(0, "/vj/prompt/push", (text,))
    assert desk.read("/vj/prompt/queue") == "ocean\nforest"
    desk.receive(0, "/vj/prompt/1/weight", (0.0,))
    desk.receive(0, "/vj/prompt/next", ())
    assert (desk.state.texts[0], desk.state.weights[0], desk.state.queue) == ("ocean", 1.0, ("forest",))
    desk.receive(0, "/vj/prompt/clear", ())
    with pytest.raises(ConfigError, match="queue is empty"):
        desk.receive(0, "/vj/prompt/next", ())
    for i in range(32):
        desk.receive(0, "/vj/prompt/push", (f"p{i}",))
    with pytest.raises(ConfigError, match="holds 32"):
        desk.receive(0, "/vj/prompt/push", ("one more",))


def test_a_macro_moves_what_the_preset_ties_to_it():
    preset = Preset(name="M", macros=({"number": 2, "name": "Rise", "moves": (
        {"to": "/vj/param/zoom", "range": (0.5, 1.0)},
        {"to": "/vj/param/bloom", "range": (1.0, 0.0), "curve": "square"},
        {"to": "/vj/prompt/2/weight"})},), params={"zoom": 0.75})  # fmt: skip
    desk = desk_of(Bank([("m", preset)]), enter(ShowState(), 0, preset))
    assert desk.state.macros[1] == 0.5  # where the knob stands
    assert desk.state.macro_names[1] == "Rise"
    desk.receive(0, "/vj/macro/2", (0.8,))
    assert desk.state.params["zoom"] == pytest.approx(0.9)
    assert desk.state.params["bloom"] == pytest.approx(1 - 0.64)
    assert desk.state.weights[1] == 0.8
    desk.receive(0, "/vj/macro/1", (0.8,))
    assert desk.state.macros[0] == 0.8


def test_every_shipped_macro_stands_where_its_knob_stands(desk):
    for n in range(1, 9):
        before = dict(desk.state.params)
        desk.receive(0, f"/vj/macro/{n}", (desk.state.macros[n - 1],))
        first = next(row.to.split("/")[-1] for row in desk.state.macro_rows if row.number == n)
        low, high = next((r.low, r.high) for r in desk.state.macro_rows if r.number == n)
        if min(low, high) <= before[first] <= max(low, high):
            assert desk.state.params[first] == pytest.approx(before[first])


# -- morphs --------------------------------------------------------------------------------------------------


def morphing(desk, seconds=2.0):
    desk.receive(0, "/vj/morph/ease", ("linear",))
    desk.receive(0, "/vj/morph/seconds", (seconds,))
    desk.receive(0, "/vj/preset/go", ("b",))
    return desk


def test_a_morph_eases_knobs_and_switches_at_its_end(desk):
    morphing(desk)
    half = at(desk.state, NS)
    assert half.params["zoom"] == pytest.approx(0.4)
    assert half.params["bloom"] == pytest.approx(0.5 * (0.2 + 0.4))
    assert half.generator == "pattern"
    assert at(desk.state, 2 * NS).generator == "diffusion"
    assert at(desk.state, 2 * NS).glide is None
    assert values(desk, NS)["/vj/param/zoom"] == pytest.approx(0.4)
    run(desk, 2 * NS, step_ns=NS // 10)
    assert desk.state.glide is None
    assert desk.state.params["zoom"] == 0.1


def test_a_hand_on_a_knob_outranks_the_morph(desk):
    morphing(desk)
    desk.receive(NS, "/vj/param/zoom", (0.95,))
    assert at(desk.state, NS + 1).params["zoom"] == 0.95
    assert at(desk.state, NS + 1).params["bloom"] == pytest.approx(0.3)
    assert at(desk.state, 2 * NS).params["zoom"] == 0.95


def test_a_morph_in_the_middle_of_a_morph_begins_where_the_first_one_is(desk):
    morphing(desk)
    desk.receive(NS, "/vj/preset/go", ("a",))
    assert at(desk.state, NS).params["zoom"] == pytest.approx(0.4)
    assert at(desk.state, 2 * NS).params["zoom"] == pytest.approx(0.55)
    assert at(desk.state, 2 * NS).generator == "pattern"


def test_beats_outrank_seconds_and_count_with_the_tempo(desk):
    desk.tick(0, grid_at(period_s=0.25), 0)
    desk.receive(0, "/vj/morph/beats", (8.0,))
    morphing(desk, 30.0)
    assert desk.state.glide.lasts_s == pytest.approx(2.0)


def test_prompts_travel_as_long_as_the_morph_and_mappings_blend():
    loud = Preset(name="L", mappings=({"from": "silence", "to": "/vj/param/flash", "range": (1.0, 1.0)},))
    still = Preset(name="S", prompts=({"text": "sea"},))
    desk = desk_of(Bank([("l", loud), ("s", still)]), replace(enter(ShowState(), 0, loud), texts=("sand",) + ("",) * 7,
                                                              weights=(1.0,) + (0.0,) * 7))  # fmt: skip
    mapper = Mapper()
    assert mapper(desk.state, silent_features(0), 0, 0.1, (64, 36)).params["flash"] == 1.0
    desk.receive(0, "/vj/morph/ease", ("linear",))
    desk.receive(0, "/vj/morph/seconds", (2.0,))
    desk.receive(0, "/vj/preset/go", ("s",))
    for i in range(1, 12):
        request = mapper(desk.state, silent_features(0), i * NS // 10, 0.1, (64, 36))
    assert request.params["flash"] == pytest.approx(1 - 11 * 0.05)
    assert dict(request.text.prompts)["sea"] == pytest.approx(0.5, abs=0.06)
    for i in range(12, 23):
        request = mapper(desk.state, silent_features(0), i * NS // 10, 0.1, (64, 36))
    assert (request.params["flash"], request.text.prompts) == (0.0, (("sea", 1.0),))


def test_what_sound_moves_does_not_step_when_a_morph_breaks_off_another():
    def moved_to(name, height):
        rows = ({"from": "silence", "to": "/vj/param/flash", "range": (height, height)},)
        return name, Preset(name=name, mappings=rows)

    bank = Bank([moved_to("a", 1.0), moved_to("b", 0.0), moved_to("c", 0.6), ("d", Preset(name="D"))])
    desk, mapper = Desk(bank, enter(ShowState(), 0, bank.presets[0][1])), Mapper()
    desk.receive(0, "/vj/morph/ease", ("linear",))
    desk.receive(0, "/vj/morph/seconds", (2.0,))
    deepest = 0
    flash = [mapper(desk.state, silent_features(0), 0, 0.01, (64, 36)).params["flash"]]
    presses = {1: "b", 101: "c", 160: "c", 190: "a", 250: "d", 270: "b"}
    presses |= {300 + 5 * i: "abcd"[i % 4] for i in range(40)}
    for i in range(1, 720):
        if i in presses:
            desk.receive(i * NS // 100, "/vj/preset/go", (presses[i],))
        flash.append(mapper(desk.state, silent_features(0), i * NS // 100, 0.01, (64, 36)).params["flash"])
        deepest = max(deepest, len(mapper.memory.layers) - 1)
    assert flash[0] == 1.0
    assert flash[101] == pytest.approx(0.5, abs=0.006)  # half of the way from 1 to 0, and on from there
    assert flash[150] == pytest.approx(0.5 + 0.1 * 0.245, abs=0.006)
    assert max(abs(a - b) for a, b in pairwise(flash[:300])) < 0.006  # a hundredth of a second of two
    assert deepest == DEEPEST  # of forty that broke each other off, the oldest are gone
    assert flash[-1] == 0.0


def test_pads_are_told_what_they_would_bring(desk):
    assert [shows(desk, "/vj/preset/go", (n,)) for n in (1, 2, 99)] == [True, False, None]
    assert [shows(desk, "/vj/preset/go", (n,)) for n in ("a", "b", "nobody")] == [True, False, None]
    assert shows(desk, "/vj/preset/go", ("nowhere", 1)) is None
    assert shows(desk, "/vj/snapshot/recall", (3,)) is None
    desk.receive(0, "/vj/snapshot/store", (3,))
    assert shows(desk, "/vj/snapshot/recall", (3,)) is False
    assert [shows(desk, f"/vj/cue/{name}/go", ()) for name in ("1", "none")] == [False, None]
    desk.receive(0, "/vj/cue/1/go", ())
    assert shows(desk, "/vj/cue/1/go", ()) is True
    assert [shows(desk, "/vj/quantise", (when,)) for when in ("none", "bar")] == [True, False]


def test_the_preview_is_taken_over_the_morph_time(desk):
    desk.receive(0, "/vj/preview/take", ())
    assert desk.state.params["crossfade"] == 1.0
    desk.receive(0, "/vj/morph/ease", ("linear",))
    desk.receive(0, "/vj/morph/seconds", (4.0,))
    desk.receive(0, "/vj/preview/take", ())
    assert at(desk.state, NS).params["crossfade"] == pytest.approx(0.75)
    assert desk.state.preset_name == "A"


# -- undo, snapshots -----------------------------------------------------------------------------------------


def test_undo_goes_back_step_by_step_and_redo_forward(desk):
    start = look_of(desk.state)
    desk.receive(0, "/vj/param/zoom", (0.1,))
    desk.receive(2 * NS, "/vj/prompt/1/text", ("sea",))
    desk.receive(4 * NS, "/vj/preset/go", ("b",))
    end = look_of(desk.state)
    desk.receive(5 * NS, "/vj/master/fade", (0.2,))
    for _ in range(3):
        desk.receive(6 * NS, "/vj/undo", ())
    assert look_of(desk.state) == start
    assert desk.state.fade == 0.2  # the master is not of the look
    with pytest.raises(ConfigError, match="nothing to undo"):
        desk.receive(6 * NS, "/vj/undo", ())
    for _ in range(3):
        desk.receive(6 * NS, "/vj/redo", ())
    assert look_of(desk.state) == end
    with pytest.raises(ConfigError, match="nothing to do again"):
        desk.receive(6 * NS, "/vj/redo", ())


def test_one_movement_of_a_fader_is_one_step(desk):
    for i in range(100):
        desk.receive(i * NS // 50, "/vj/param/zoom", (i / 100,))
    desk.receive(3 * NS, "/vj/undo", ())
    assert desk.state.params["zoom"] == 0.7


def test_a_hundred_steps_are_kept(desk):
    for i in range(STEPS + 20):
        desk.receive(2 * i * NS, "/vj/seed", (1000 + i,))
    for _ in range(STEPS):
        desk.receive(999 * NS, "/vj/undo", ())
    assert desk.state.seed == 1000 + 19
    with pytest.raises(ConfigError):
        desk.receive(999 * NS, "/vj/undo", ())


def test_what_plays_itself_is_no_step(desk):
    desk.receive(0, "/vj/preset/go", ("b",))
    run(desk, 9 * NS, step_ns=NS // 20)
    assert desk.state.seed == 4 + 4
    desk.receive(9 * NS, "/vj/undo", ())
    assert desk.state.preset_name == "A"


@given(
    st.lists(st.tuples(st.sampled_from(sorted(PARAMS)), st.floats(0, 1)), min_size=1, max_size=30), st.integers(0, 30)
)
def test_undo_and_redo_are_each_others_opposite(moves, back):
    desk = desk_of(BANK, enter(ShowState(), 0, A))
    looks = [look_of(desk.state)]
    for i, (name, value) in enumerate(moves):
        desk.receive(2 * i * NS, f"/vj/param/{name}", (value,))
        if look_of(desk.state) is not looks[-1]:
            looks.append(look_of(desk.state))
    back = min(back, len(looks) - 1)
    for _ in range(back):
        desk.receive(NS, "/vj/undo", ())
    assert look_of(desk.state) == looks[-1 - back]
    for _ in range(back):
        desk.receive(NS, "/vj/redo", ())
    assert look_of(desk.state) == looks[-1]


def test_snapshots_keep_the_look_and_morph_back_to_it(desk):
    desk.receive(0, "/vj/snapshot/store", (N_SNAPSHOTS,))
    desk.receive(0, "/vj/preset/go", ("b",))
    desk.receive(0, "/vj/master/fade", (0.5,))
    desk.receive(0, "/vj/morph/seconds", (2.0,))
    desk.receive(0, "/vj/morph/ease", ("linear",))
    desk.receive(0, "/vj/snapshot/recall", (N_SNAPSHOTS,))
    assert at(desk.state, NS).params["zoom"] == pytest.approx(0.4)
    assert (desk.state.preset_name, desk.state.fade) == ("A", 0.5)
    assert [c.address for c in desk.commands] == ["/vj/snapshot/store"]
    with pytest.raises(ConfigError, match=f"nothing was stored under 2; stored: {N_SNAPSHOTS}"):
        desk.receive(0, "/vj/snapshot/recall", (2,))


# -- cues, autopilot, panic ----------------------------------------------------------------------------------


def test_cues_are_called_in_order_by_id_and_back(desk):
    desk.receive(0, "/vj/cue/go", ())
    assert (desk.state.cue, desk.state.fade, desk.state.preset_name) == ("1", 0.5, "A")
    desk.receive(MIN_GO_NS - 1, "/vj/cue/go", ())
    assert desk.state.cue == "1"  # two presses are one
    desk.receive(MIN_GO_NS, "/vj/cue/go", ())
    assert (desk.state.cue, desk.state.glide.lasts_s, desk.state.morph.seconds) == ("2.5", 2.0, 0.0)
    desk.receive(NS, "/vj/cue/end/go", (1.0,))
    assert desk.state.blackout
    assert [c.address for c in desk.commands] == ["/vj/tempo/auto"]
    with pytest.raises(ConfigError, match="no cue after 'end'"):
        desk.receive(3 * NS, "/vj/cue/go", ())
    desk.receive(4 * NS, "/vj/cue/back", ())
    assert desk.state.cue == "2.5"
    desk.receive(5 * NS, "/vj/cue/end/go", (0.0,))  # a button let go
    assert desk.state.cue == "2.5"


def test_a_cue_follows_by_itself_unless_it_is_stopped(desk):
    desk.receive(0, "/vj/cue/2.5/go", ())
    run(desk, 4 * NS - 4_000_000)
    assert desk.state.cue == "2.5"
    desk.tick(4 * NS, grid_at(), 0)
    assert desk.state.cue == "end"
    desk.receive(5 * NS, "/vj/cue/2.5/go", ())
    desk.receive(5 * NS, "/vj/cue/stop", ())
    run(desk, 12 * NS, since_ns=5 * NS, step_ns=NS // 10)
    assert desk.state.cue == "2.5"


def test_a_cue_follows_after_bars():
    cues = CueList([Cue(id="a", follow_bars=2), Cue(id="b")])
    desk = desk_of(BANK, enter(ShowState(), 0, A), cues)
    desk.tick(0, grid_at(), 0)
    desk.receive(10_000_000, "/vj/cue/go", ())
    run(desk, 4 * NS - 8_000_000, since_ns=12_000_000)
    before = desk.state.cue
    run(desk, 6 * NS, since_ns=4 * NS)
    assert (before, desk.state.cue) == ("a", "b")


def test_after_the_last_cue_nothing_follows():
    desk = desk_of(BANK, enter(ShowState(), 0, A), CueList([Cue(id="only", follow_s=1.0)]))
    desk.receive(0, "/vj/cue/go", ())
    run(desk, 3 * NS, step_ns=NS // 10)
    assert (desk.state.cue, desk.refused) == ("only", [])


def test_a_list_of_cues_is_checked():
    with pytest.raises(ConfigError, match="two cues"):
        CueList([Cue(id="a"), Cue(id="a")])
    with pytest.raises(ValueError, match="part of a cue"):
        Cue(id="a", do=({"do": "/vj/cue/go"},))
    with pytest.raises(ValueError, match="unknown address '/vj/seeed'; nearest"):
        Cue(id="a", do=({"do": "/vj/seeed", "args": (1,)},))
    with pytest.raises(ValueError, match="not both"):
        Cue(id="a", follow_s=1, follow_bars=1)
    with pytest.raises(ValueError, match="cue's id"):
        Cue(id="a/b")
    with pytest.raises(ConfigError, match=r"no \[\[cues\]\]"):
        desk_of(BANK, ShowState()).receive(0, "/vj/cue/go", ())


def test_the_autopilot_changes_on_the_bars_first_beat_and_on_no_other(desk):
    desk.receive(0, "/vj/autopilot/bars", (2,))
    desk.receive(0, "/vj/autopilot", (1,))
    changes, before = [], desk.state.preset_name
    for t_ns in range(0, 24 * NS, 4_000_000):  # beats of half a second, bars of two
        desk.tick(t_ns, grid_at(), 0)
        if desk.state.preset_name != before:
            before = desk.state.preset_name
            changes.append(t_ns / NS)
    assert len(changes) >= 4
    assert all(t_s % 2.0 < 0.01 for t_s in changes), changes


def test_the_autopilot_goes_by_weight_every_few_bars():
    desk = desk_of(BANK, enter(ShowState(), 0, A), seed=5)
    desk.receive(0, "/vj/autopilot/bars", (2,))
    desk.receive(0, "/vj/autopilot", (1,))
    names = []
    for t_ns in range(0, 200 * NS, NS // 10):
        desk.tick(t_ns, grid_at(), 0)
        if not names or names[-1] != desk.state.preset_name:
            names.append(desk.state.preset_name)
    assert 45 <= len(names) <= 51
    assert set(names) == {"A", "B", "A of mine"}  # C has no weight
    desk.receive(200 * NS, "/vj/autopilot", (0,))
    last = desk.state.preset_name
    run(desk, 220 * NS, since_ns=200 * NS, step_ns=NS // 10)
    assert desk.state.preset_name == last


def test_panic_is_the_way_out(desk):
    for address, args in (("/vj/quantise", ("4bar",)), ("/vj/autopilot", (1,)), ("/vj/master/blackout", (1,)),
                          ("/vj/master/freeze", (1,)), ("/vj/master/fade", (0.0,))):  # fmt: skip
        desk.receive(0, address, args)
    desk.tick(0, grid_at(), 0)
    desk.receive(1, "/vj/preset/go", ("b",))
    desk.receive(2, "/vj/master/panic", ())
    s = desk.state
    assert (s.safe, s.blackout, s.freeze, s.fade, s.autopilot.on, desk.pending) == (True, False, False, 1.0, False, [])
    run(desk, 40 * NS, step_ns=NS // 4)
    assert desk.state.preset_name == "A"
    desk.receive(40 * NS, "/vj/deliver/return", ())
    assert not desk.state.safe


# -- messages ------------------------------------------------------------------------------------------------


def test_a_pattern_sets_every_value_that_it_means(desk):
    desk.receive(0, "/vj/prompt/[3-5]/weight", (0.25,))
    assert desk.state.weights[2:6] == (0.25, 0.25, 0.25, 0.0)
    with pytest.raises(ConfigError, match="no address is meant"):
        desk.receive(0, "/vj/master/pan*", ())


def test_what_is_not_of_the_state_is_left_as_a_command(desk):
    desk.receive(5, "/vj/tempo/nudge", (900,))
    desk.receive(6, "/vj/preset/save", ("Mine",))
    assert [(c.t_ns, c.address, c.args) for c in desk.commands] == [
        (5, "/vj/tempo/nudge", (500.0,)), (6, "/vj/preset/save", ("Mine",)),
    ]  # fmt: skip


def test_a_hand_on_the_tempo_outranks_who_keeps_it(desk):
    desk.receive(0, "/vj/tempo/source", ("link",))
    assert (desk.state.sync.source, desk.state.sync.link) == ("link", "follow")
    for i in range(4):
        assert desk.state.sync.source == "link"
        desk.receive(i * NS // 2, "/vj/tempo/tap", ())
    assert (desk.state.sync.source, desk.state.sync.link) == ("tap", "off")
    desk.receive(0, "/vj/tempo/link", ("lead",))
    assert (desk.state.sync.source, desk.state.sync.link) == ("tap", "lead")
    desk.receive(0, "/vj/tempo/link", ("follow",))
    desk.receive(0, "/vj/tempo/link", ("off",))
    assert desk.state.sync.source == "auto"
    desk.receive(0, "/vj/tempo/lock", (1,))
    assert desk.state.sync.source == "tap"
    desk.receive(0, "/vj/tempo/auto", ())
    assert desk.state.sync.source == "auto"


ANYTHING = st.one_of(
    st.floats(allow_nan=True), st.integers(-(2**40), 2**40), st.text(max_size=30), st.booleans(), st.none()
)


@given(st.sampled_from(sorted(REGISTRY)), st.lists(ANYTHING, max_size=4))
def test_any_argument_is_taken_or_refused_and_a_refusal_changes_nothing(address, args):
    desk = desk_of(BANK, enter(ShowState(), 0, A), CUES)
    before = desk.state
    try:
        desk.receive(1, address, args)
    except ConfigError:
        assert desk.state is before


def test_edited_presets_are_taken_up_and_the_playing_one_found_again(desk):
    desk.receive(0, "/vj/preset/go", ("b",))
    desk.receive(0, "/vj/seed", (77,))
    banks = ("mine", "house", "house")
    desk.rebank(Bank([("new", Preset(name="New")), ("01-a", A), ("02-b", B)], banks), 5)
    assert (desk.state.preset, desk.state.seed) == (2, 77)  # elsewhere, but as it was
    assert desk.read("/vj/preset/go") == 3
    desk.rebank(Bank([("02-b", B.model_copy(update={"seed": 5, "name": "Bee"}))], ("house",)), 6)
    assert (desk.state.preset, desk.state.seed, desk.state.preset_name) == (0, 5, "Bee")
    desk.rebank(Bank([("01-a", A)], ("house",)), 7)
    assert (desk.state.preset_name, desk.state.seed) == ("Bee", 5)  # it was deleted, and plays on
    assert desk.read("/vj/preset/go") == 0
    desk.receive(8, "/vj/param/zoom/reset", ())
    desk.receive(9, "/vj/preset/next", ())
    assert desk.state.preset_name == "A"


# -- takes ---------------------------------------------------------------------------------------------------


def played(desk, hands, until_ns, step_ns=NS // 50):
    """Play ``hands`` {t_ns: messages} and return every state with its time, without what counts only."""
    states = []
    for t_ns in range(0, until_ns, step_ns):
        for address, args in hands.get(t_ns, ()):
            desk.receive(t_ns, address, args)
        desk.tick(t_ns, grid_at(), 0)
        states.append(replace(desk.state, revision=0, t_ns=0, take=False))
    return states


def test_a_take_is_played_again_exactly():
    rng = random.Random(4)
    known = [a for a, e in REGISTRY.items() if e.kind == "parameter" and a.startswith(("/vj/param", "/vj/macro"))]
    hands = {
        round(t * 50) * NS // 50: [(rng.choice(known), (rng.random(),))] for t in (rng.uniform(0, 9) for _ in range(80))
    }
    hands[NS] = [("/vj/morph/seconds", (1.5,)), ("/vj/quantise", ("bar",)), ("/vj/preset/go", ("b",))]
    hands[4 * NS] = [("/vj/undo", ()), ("/vj/snapshot/store", (3,)), ("/vj/cue/2.5/go", ())]
    hands[9 * NS] = [("/vj/snapshot/recall", (3,)), ("/vj/autopilot/bars", (1,)), ("/vj/autopilot", (1,))]
    first = desk_of(BANK, enter(ShowState(), 0, A), CUES, seed=9)
    first.receive(0, "/vj/param/zoom", (0.33,))
    first.receive(0, "/vj/param/bloom", (0.33,))
    first.performed.clear()
    began = first.state
    states = played(first, hands, 16 * NS)
    lines = [head(began), *(line(row, 0) for row in first.performed)]
    take = parse(lines, "t.jsonl", SHIPPED)
    assert len(take.rows) == len(first.performed)

    second = desk_of(BANK, enter(ShowState(), 1, B), CUES, seed=1)
    second.play(take, 0)
    again = played(second, {}, 16 * NS)
    assert [i for i, (a, b) in enumerate(zip(states, again, strict=True)) if a != b] == []
    assert second.playing is None


def test_a_torn_take_is_played_as_far_as_it_goes_and_a_broken_one_is_told_by_line():
    rows = [head(ShowState()), line(Played(5, "/vj/seed", (4,)), 0), b'{"t_ns": 9, "addr']
    assert len(parse(rows, "t", SHIPPED).rows) == 1
    with pytest.raises(ConfigError, match=r"^t:2: "):
        parse([rows[0], rows[2] + b"\n"], "t", SHIPPED)
    with pytest.raises(ConfigError, match=r"^t:2: unknown address '/vj/sed'; nearest"):
        parse([rows[0], line(Played(5, "/vj/sed", (4,)), 0)], "t", SHIPPED)
    with pytest.raises(ConfigError, match=r"^t:2: /vj/seed takes a number"):
        parse([rows[0], line(Played(5, "/vj/seed", (7,)), 0).replace(b"7", b"7" * 400)], "t", SHIPPED)
    for bad in ([], [b"{}"], [b"\xff"]):
        with pytest.raises(ConfigError, match=r"^t:1: not the beginning of a take"):
            parse(bad, "t", SHIPPED)


def test_the_wall_and_the_room_stay_when_a_take_is_played(desk):
    take = parse([head(replace(ShowState(), fade=0.25))], "t", SHIPPED)
    desk.receive(0, "/vj/output/add", ("wall", "null"))
    desk.play(take, 5)
    assert (desk.state.fade, [row.label for row in desk.state.outputs]) == (0.25, ["wall"])


def test_a_take_writes_no_files_and_opens_no_doors(desk):
    rows = [Played(i, address, args) for i, (address, args) in enumerate([
        ("/vj/preset/save", ("X",)), ("/vj/snapshot/store", (3,)), ("/vj/output/add", ("wall", "ndi")),
        ("/vj/record", (True,)), ("/vj/midi/learn", ("/vj/seed",)), ("/vj/tempo/bpm", (120.0,)), ("/vj/seed", (9,)),
    ])]  # fmt: skip
    desk.play(parse([head(ShowState()), *(line(row, 0) for row in rows)], "t", SHIPPED), 0)
    run(desk, NS // 100)
    assert (desk.state.seed, desk.state.outputs, desk.snapshots) == (9, (), {})
    assert [c.address for c in desk.commands] == ["/vj/tempo/bpm"]


# -- feedback ------------------------------------------------------------------------------------------------


def test_a_listener_is_told_everything_once_and_then_what_changes(desk):
    recipient = Recipient()
    assert len(recipient.news(values(desk, 0), 0)) == len(values(desk, 0))
    assert recipient.news(values(desk, 0), 1) == []
    desk.receive(2, "/vj/param/zoom", (0.9,))
    assert recipient.news(values(desk, 2), 2) == [("/vj/param/zoom", 0.9)]


def test_who_sends_is_not_told_until_it_rests_and_then_only_if_it_was_bent(desk):
    a, b = Recipient(), Recipient()
    for recipient in (a, b):
        recipient.news(values(desk, 0), 0)
    desk.receive(1, "/vj/master/fade", (2.5,))
    a.hear("/vj/master/fade", 2.5, 1)
    assert b.news(values(desk, 1), 1) == []  # 2.5 is taken as 1.0, as it was
    assert a.news(values(desk, 1), HOLD_NS) == []
    assert a.news(values(desk, 1), HOLD_NS + 2) == [("/vj/master/fade", 1.0)]
    desk.receive(HOLD_NS, "/vj/master/fade", (0.5,))
    a.hear("/vj/master/fade", 0.5, HOLD_NS)
    assert b.news(values(desk, HOLD_NS), HOLD_NS) == [("/vj/master/fade", 0.5)]
    assert a.news(values(desk, HOLD_NS), 9 * HOLD_NS) == []


def test_a_wish_may_be_for_some_only(desk):
    texts = Recipient(wants=lambda _address, value: isinstance(value, str))
    told = dict(texts.news(values(desk, 0), 0))
    assert told
    assert all(isinstance(value, str) for value in told.values())


@given(st.floats(-1e6, 1e6))
def test_a_number_that_went_over_osc_and_came_back_is_the_same(value):
    import struct

    assert same(value, struct.unpack(">f", struct.pack(">f", value))[0])


def test_drums_fire_triggers():
    preset = Preset(name="K", triggers=({"on": "kick", "every": 2, "do": "/vj/param/zoom/inc", "args": (0.1,)},))
    desk = desk_of(Bank([("k", preset)]), enter(ShowState(), 0, preset))
    for i in range(4):
        desk.hear(i, Drum(i, i, "kick", 1.0))
    assert desk.state.params["zoom"] == pytest.approx(0.7)


# -- what cannot be done leaves nothing half done ---------------------------------------------------------------------


def test_a_cue_whose_second_deed_fails_changes_nothing_at_all():
    broken = Cue(id="x", preset="b", do=({"do": "/vj/master/fade", "args": (0.25,)}, {"do": "/vj/prompt/next"}))
    desk = desk_of(BANK, enter(ShowState(), 0, A), CueList([broken]))
    before = desk.state
    with pytest.raises(ConfigError, match="the queue is empty"):
        desk.receive(NS, "/vj/cue/x/go", ())
    assert desk.state is before
    assert desk.performed == []


def test_a_deed_that_fails_by_itself_is_told_and_changes_nothing(desk):
    desk.receive(0, "/vj/quantise", ("beat",))
    desk.tick(1, grid_at(), 0)
    desk.receive(2, "/vj/prompt/next", ())
    before = desk.state
    run(desk, NS)
    assert desk.state is before
    assert len(desk.refused) == 1


# -- scores --------------------------------------------------------------------------------------------------


SCORE = b'{"vjserver_take": 1, "score": true, "seed": 77, "state": {"autopilot": {"on": true, "bars": 4}}}\n'


def score(*rows):
    return parse([SCORE, *(json.dumps(row).encode() + b"\n" for row in rows)], "s.jsonl", SHIPPED)


def test_a_score_is_performed_on_its_beats_and_at_its_times_and_waits_for_no_bar(desk):
    desk.receive(0, "/vj/quantise", ("4bar",))
    take = score({"beat": 3, "address": "/vj/param/zoom", "args": [0.25]},
                 {"beat": 4.5, "address": "/vj/param/zoom", "args": [0.75]},
                 {"t_ns": 700_000_000, "address": "/vj/prompt/1/text", "args": ["ocean"]},
                 {"t_ns": 0, "address": "/vj/quantise", "args": ["4bar"]})  # fmt: skip
    desk.tick(100_000_000, grid_at(), 0)
    desk.play(take, 100_000_000)
    seen = {}
    for t_ms in range(100, 4000, 5):
        desk.tick(t_ms * 1_000_000, grid_at(), 0)
        for key in (desk.state.params["zoom"], desk.state.texts[0]):
            seen.setdefault(key, t_ms)
    assert seen["ocean"] == 800, "700 ms after the begin, though presets and prompts wait for the fourth bar"
    assert seen[0.25] == 2000, "beat 0 is the first after the begin, at 500 ms"
    assert seen[0.75] == 2750
    assert desk.playing is None


def test_a_row_on_a_beat_comes_so_much_sooner_as_pictures_take(desk):
    desk.play(score({"beat": 2, "address": "/vj/param/zoom", "args": [0.25]}), 0)
    desk.tick(890_000_000, grid_at(), 100_000_000)
    assert desk.state.params["zoom"] != 0.25
    desk.tick(901_000_000, grid_at(), 100_000_000)
    assert desk.state.params["zoom"] == 0.25


def test_while_a_score_plays_triggers_autopilot_and_follow_times_run():
    preset = Preset(name="T", triggers=({"on": "beat", "do": "/vj/seed/next"},))
    cues = CueList([Cue(id="1", follow_s=1.0), Cue(id="2", do=({"do": "/vj/param/bloom", "args": (0.9,)},))])
    bank = Bank([("t", preset), ("u", Preset(name="U")), ("v", Preset(name="V"))])

    def after(scored):
        desk = Desk(bank, enter(ShowState(), 0, preset), cues)
        rows = [{"t_ns": 0, "address": "/vj/cue/go", "args": []}, {"t_ns": 9 * NS, "address": "/vj/seed", "args": [1]}]
        begin = SCORE if scored else SCORE.replace(b'"score": true', b'"score": false')
        desk.play(parse([begin, *(json.dumps(row).encode() + b"\n" for row in rows)], "s", SHIPPED), 0)
        run(desk, 3 * NS, step_ns=NS // 20)
        seed, bloom = desk.state.seed, desk.state.params["bloom"]
        run(desk, 8 * NS + NS // 10, since_ns=3 * NS, step_ns=NS // 20)
        return seed > 1, bloom == 0.9, desk.state.preset_name != ""

    assert after(scored=True) == (True, True, True)
    assert after(scored=False) == (False, False, False)


def test_a_beat_is_only_in_a_score_and_none_is_before_the_begin():
    row = b'{"beat": 4, "address": "/vj/seed", "args": [4]}\n'
    with pytest.raises(ConfigError, match=r"^t:2: a beat is in 0\.\..*, and only in a score: got 4"):
        parse([head(ShowState()), row], "t", SHIPPED)
    with pytest.raises(ConfigError, match="got -4"):
        score({"beat": -4, "address": "/vj/seed", "args": [4]})


def test_a_cue_plays_a_take(desk):
    desk.cues = CueList([Cue(id="intro", take="opening")])
    desk.receive(0, "/vj/cue/go", ())
    assert [(c.address, c.args) for c in desk.commands] == [("/vj/take/play", ("opening", "cue"))]


def test_the_autopilot_chooses_by_seed_and_bar_whatever_was_chosen_before():
    names = [(str(i), Preset(name=str(i))) for i in range(9)]

    def chosen(first, seed):
        desk = Desk(Bank(names), enter(ShowState(), first, names[first][1]), seed=seed)
        desk.receive(0, "/vj/autopilot/bars", (1,))
        desk.receive(0, "/vj/autopilot", (1,))
        rows = []
        for t_ms in range(0, 40_000, 50):
            desk.tick(t_ms * 1_000_000, grid_at(), 0)
            if desk.state.preset_name not in rows[-1:]:
                rows.append(desk.state.preset_name)
        return rows[1:]

    assert chosen(0, 5) == chosen(0, 5)
    assert chosen(0, 5) != chosen(0, 6)
    assert len(set(chosen(0, 5))) > 4


def test_the_seed_of_chance_is_written_into_a_take_and_taken_from_it(desk):
    take = parse([head(ShowState(), 4711)], "t", SHIPPED)
    assert (take.seed, take.score) == (4711, False)
    desk.play(take, 0)
    assert desk.seed == 4711
    desk.seed = 3
    desk.play(parse([head(ShowState())], "t", SHIPPED), 0)
    assert desk.seed == 3, "a take of before says nothing of it"


def test_a_score_sets_what_it_names_and_leaves_the_room_alone(desk):
    for address, value in (("/vj/master/blackout", 1), ("/vj/master/fade", 0.3), ("/vj/morph/beats", 8.0),
                           ("/vj/param/zoom", 0.9), ("/vj/param/bloom", 0.9), ("/vj/quantise", "bar")):  # fmt: skip
        desk.receive(0, address, (value,))
    head_ = b'{"vjserver_take": 1, "score": true, "state": {"seed": 5, "texts": ["moss"], "params": {"zoom": 0.1}}}\n'
    desk.play(parse([head_], "s", SHIPPED), NS)
    state = desk.state
    assert (state.blackout, state.fade, state.morph.beats, state.quantise) == (True, 0.3, 8.0, "bar")
    assert (state.seed, state.texts[0], state.params["zoom"], state.params["bloom"]) == (5, "moss", 0.1, 0.9)


def test_a_cue_that_plays_a_take_keeps_its_place_and_follows(desk):
    desk.cues = CueList([Cue(id="1"), Cue(id="2", take="opening", follow_s=5.0), Cue(id="3")])
    recorded = parse([head(ShowState()), line(Played(60 * NS, "/vj/seed", (4,)), 0)], "t", SHIPPED)
    desk.receive(0, "/vj/cue/2/go", ())
    desk.play(recorded, 0, cued=True)
    assert desk.state.cue == "2"
    heir = desk_of(BANK, desk.state, desk.cues)
    heir.resume(desk.memory)
    heir.playing = Playback.resumed(recorded, *desk.playing.progress)
    run(heir, 6 * NS, step_ns=NS // 10)
    assert heir.state.cue == "3", "a successor follows too"
    run(desk, 6 * NS, step_ns=NS // 10)
    assert desk.state.cue == "3"
    assert desk.playing


def test_a_take_that_a_hand_plays_ends_what_a_cue_would_have_followed_with(desk):
    desk.cues = CueList([Cue(id="1", take="missing", follow_s=5.0), Cue(id="2")])
    desk.receive(0, "/vj/cue/1/go", ())
    desk.play(parse([head(ShowState()), line(Played(60 * NS, "/vj/seed", (4,)), 0)], "t", SHIPPED), NS)
    run(desk, 9 * NS, since_ns=NS, step_ns=NS // 10)
    assert desk.state.cue == ""


def test_cues_in_a_cued_take_follow_as_they_were_recorded_and_the_outer_one_goes_on(desk):
    desk.cues = CueList([Cue(id="1", take="t", follow_s=12.0), Cue(id="2", follow_s=5.0), Cue(id="3"), Cue(id="4")])
    rows = [Played(NS, "/vj/cue/2/go", ()), Played(6 * NS, "/vj/cue/3/go", ()), Played(60 * NS, "/vj/seed", (4,))]
    desk.receive(0, "/vj/cue/1/go", ())
    desk.performed.clear()
    desk.play(parse([head(ShowState()), *(line(row, 0) for row in rows)], "t", SHIPPED), 0, cued=True)
    for t_ns in range(0, 14 * NS, NS // 10):
        desk.tick(t_ns, grid_at(), 200_000_000)
    assert [row.address for row in desk.performed] == ["/vj/cue/2/go", "/vj/cue/3/go", "/vj/cue/4/go"]


def test_a_take_that_holds_such_a_cue_is_not_cut_off_by_it(desk):
    desk.cues = CueList([Cue(id="1", take="inner")])
    desk.play(parse([head(ShowState()), line(Played(NS, "/vj/cue/1/go", ()), 0)], "t", SHIPPED), 0)
    run(desk, 2 * NS, step_ns=NS // 10)
    assert desk.commands == []


def test_chance_goes_on_from_the_seed_of_a_fallen_predecessor(desk):
    desk.seed = 99
    heir = desk_of(BANK, desk.state)
    heir.resume(desk.memory)
    assert heir.seed == 99


def test_of_many_rows_at_one_moment_some_are_done_in_each_tick_in_their_order(desk):
    rows = [line(Played(0, "/vj/seed", (i,)), 0) for i in range(1000)]
    desk.play(parse([head(ShowState()), *rows], "t", SHIPPED), 0)
    seen = []
    for t_ms in range(40):
        desk.tick(t_ms * 1_000_000, grid_at(), 0)
        seen.append(desk.state.seed)
    assert seen[0] < 200
    assert seen == sorted(seen)
    assert seen[-1] == 999
