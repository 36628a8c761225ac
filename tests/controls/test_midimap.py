"""Controller maps, without a port: bytes in, addresses out; values in, lights out. mido builds what is played."""

from itertools import pairwise

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known import REGISTRY, SHIPPED, accept

from vjserver.controls import midimap
from vjserver.controls.midibytes import Kept, decoded
from vjserver.controls.midilearn import Learnt, learnt, learnt_text
from vjserver.controls.midimap import Control, MidiMap, Surface, load_map
from vjserver.show.presettext import parse_toml
from vjserver.show.state import CURVES
from vjserver.types.errors import ConfigError

MAPS = sorted(midimap.MAPS.glob("*.toml"))


class Values(dict):
    """Values by address, as the desk would hold them; messages are accepted as the desk accepts them."""

    def play(self, messages):
        for address, args in messages:
            accepted = accept(address, args)
            if len(accepted) == 1:
                self[address] = accepted[0]
        return messages

    def shows(self, address, args):
        """Say as the desk does what a pad would bring; ``None`` is what the values are asked for in vain."""
        return self.get(address) == args[-1] if args and address in self else None


def surface(values, *controls, takeover="jump", own=()):
    rows = tuple(Control.model_validate(c) for c in controls)
    return Surface(MidiMap(name="x", takeover=takeover, controls=rows), SHIPPED, values.get, values.shows, own)


def cc(number, value, channel=0):
    return mido.Message("control_change", control=number, value=value, channel=channel).bytes()


def note(number, velocity=100, channel=0):
    return mido.Message("note_on", note=number, velocity=velocity, channel=channel).bytes()


def fader(surface_, values, *positions):
    for position in positions:
        values.play(surface_.hear(cc(1, position)))
    return values.get("/vj/master/fade")


FADE = {"cc": 1, "to": "/vj/master/fade"}


def test_a_fader_plays_its_address_in_its_range_and_curve():
    values = Values()
    one = surface(values, FADE, {"cc": 2, "to": "/vj/param/zoom", "range": (1.0, 0.5)},
                  {"cc": 3, "to": "/vj/param/bloom", "curve": "square"}, {"cc": 4, "to": "/vj/autopilot/bars"},
                  {"cc": 5, "channel": 3, "to": "/vj/param/zoom/raw"})  # fmt: skip
    assert one.hear(cc(1, 127)) == [("/vj/master/fade", (1.0,))]
    assert one.hear(cc(2, 127)) == [("/vj/param/zoom", (0.5,))]
    assert one.hear(cc(3, 64)) == [("/vj/param/bloom", (pytest.approx((64 / 127) ** 2),))]
    assert one.hear(cc(4, 127)) == [("/vj/autopilot/bars", (256.0,))]
    assert one.hear(cc(5, 0, channel=2)) == [("/vj/param/zoom/raw", (-1.0,))]
    assert one.hear(cc(5, 0)) == []


def test_pickup_waits_until_the_fader_meets_the_value():
    values = Values({"/vj/master/fade": 0.5})
    one = surface(values, FADE, takeover="pickup")
    assert fader(one, values, 10, 30, 50) == 0.5
    assert fader(one, values, 70) == pytest.approx(70 / 127)  # it crossed
    assert fader(one, values, 80) == pytest.approx(80 / 127)
    values["/vj/master/fade"] = 0.1  # somebody else
    assert fader(one, values, 85, 60) == 0.1
    assert fader(one, values, 5) == pytest.approx(5 / 127)


@pytest.mark.parametrize("curve", CURVES)
def test_a_fader_with_a_curve_is_taken_over_where_it_stands(curve):
    values = Values({"/vj/master/fade": 0.3})
    one = surface(values, {**FADE, "curve": curve}, takeover="pickup")
    stands = next(p for p in range(128) if (CURVES[curve](p / 127) >= 0.3) == (curve != "invert"))
    far = 127 if stands < 64 else 0
    assert fader(one, values, far) == 0.3
    for position in range(far, stands, 1 if far < stands else -1):
        fader(one, values, position)
    assert fader(one, values, stands) == pytest.approx(0.3, abs=0.03)
    assert fader(one, values, stands + 2) == pytest.approx(CURVES[curve]((stands + 2) / 127))


@pytest.mark.parametrize("curve", CURVES)
def test_a_fader_with_a_curve_scales_without_a_jump(curve):
    values = Values({"/vj/master/fade": 0.3})
    one = surface(values, {**FADE, "curve": curve}, takeover="scale")
    seen = [fader(one, values, position) for position in range(64, 128)]
    assert seen[0] == 0.3
    steepest = max(abs(a - b) for a, b in pairwise(CURVES[curve](i / 127) for i in range(128)))
    assert max(abs(a - b) for a, b in pairwise(seen)) < 2 * steepest
    assert seen[-1] == pytest.approx(CURVES[curve](1.0))


def test_a_value_beyond_a_faders_range_is_met_at_its_end():
    values = Values({"/vj/master/fade": 0.9})
    one = surface(values, {**FADE, "range": (0.2, 0.6)}, takeover="pickup")
    assert fader(one, values, 10, 100, 120) == 0.9
    assert fader(one, values, 127) == pytest.approx(0.6)
    assert fader(one, values, 0) == pytest.approx(0.2)


def test_scale_moves_at_once_and_meets_the_fader_at_the_ends():
    values = Values({"/vj/master/fade": 0.8})
    one = surface(values, FADE, takeover="scale")
    assert fader(one, values, 32) == 0.8
    assert 0.8 < fader(one, values, 64) < 0.9
    assert fader(one, values, 127) == pytest.approx(1.0)
    values["/vj/master/fade"] = 0.5
    assert 0.4 < fader(one, values, 110) < 0.5
    assert fader(one, values, 0) == pytest.approx(0.0)


def scaled(value, position, stood):
    """Return the value moved by that share of its way to the end by which the hand moved of its own way there."""
    if stood is None or position == stood:
        return value
    if position > stood:
        return value + (1.0 - value) * (position - stood) / (127 - stood)
    return value - value * (stood - position) / stood


@given(st.lists(st.integers(0, 127), min_size=1, max_size=40), st.floats(0, 1), st.sampled_from(["pickup", "scale"]))
def test_takeover_never_jumps(positions, start, takeover):
    values = Values({"/vj/master/fade": start})
    one = surface(values, FADE, takeover=takeover)
    before, stood = start, None
    for position in positions:
        now = fader(one, values, position)
        assert 0.0 <= now <= 1.0
        if takeover == "scale":
            assert now == pytest.approx(scaled(before, position, stood)) or (
                now == pytest.approx(position / 127) and abs(before - now) <= 1.5 / 127
            )
        elif now != before and stood is not None:
            low, high = sorted((stood / 127, position / 127))
            assert low - 2 / 127 <= before <= high + 2 / 127
        before, stood = now, position


@pytest.mark.parametrize("curve", CURVES)
def test_encoders_and_rings_follow_a_curve(curve):
    values = Values({"/vj/master/fade": 0.36})
    ring = {"cc": 9, "to": "/vj/master/fade", "curve": curve, "led": {"ring": True}}
    one = surface(values, {**FADE, "how": "relative", "step": 0.01, "curve": curve}, ring)
    stands = one.lights()[0][2] / 127
    assert CURVES[curve](stands) == pytest.approx(0.36, abs=0.02)
    assert fader(one, values, 10) == pytest.approx(CURVES[curve](stands + 0.1), abs=0.02)
    assert fader(one, values, 118) == pytest.approx(0.36, abs=1e-4)


@pytest.mark.parametrize(
    ("how", "up", "down"), [("relative", 3, 125), ("relative-offset", 67, 61), ("relative-signed", 3, 67)]
)
def test_encoders_turn_from_where_the_value_is(how, up, down):
    values = Values({"/vj/master/fade": 0.5})
    one = surface(values, {**FADE, "how": how, "step": 0.02})
    assert fader(one, values, up) == pytest.approx(0.56)
    assert fader(one, values, down) == pytest.approx(0.5)
    for _ in range(30):
        fader(one, values, down)
    assert values["/vj/master/fade"] == 0.0


def test_fourteen_bits_come_in_two_halves_and_bends_in_one():
    values = Values()
    one = surface(values, {"cc14": 1, "to": "/vj/master/fade"}, {"pitch": True, "to": "/vj/param/zoom"})
    assert one.hear(cc(1, 100)) == []
    assert one.hear(cc(33, 5)) == [("/vj/master/fade", (pytest.approx((100 << 7 | 5) / 16383),))]
    assert one.hear(cc(33, 6))[0][1][0] == pytest.approx((100 << 7 | 6) / 16383)
    bend = mido.Message("pitchwheel", pitch=-8192).bytes()
    assert one.hear(bend) == [("/vj/param/zoom", (0.0,))]


def test_buttons_press_toggle_and_hold():
    values = Values({"/vj/master/freeze": False})
    one = surface(values, {"note": 1, "to": "/vj/tempo/tap"}, {"note": 2, "to": "/vj/master/freeze"},
                  {"note": 3, "to": "/vj/master/blackout", "how": "hold"},
                  {"note": 4, "to": "/vj/preset/go", "args": ("b",)}, {"cc": 9, "to": "/vj/seed/next"})  # fmt: skip
    assert one.hear(note(1)) == [("/vj/tempo/tap", ())]
    assert one.hear(note(1, 0)) == one.hear([0x80, 1, 64]) == []
    values.play(one.hear(note(2)))
    assert values["/vj/master/freeze"] is True
    values.play(one.hear(note(2, 0)) + one.hear(note(2)))
    assert values["/vj/master/freeze"] is False
    assert one.hear(note(3)) + one.hear(note(3, 0)) == [("/vj/master/blackout", (held,)) for held in (True, False)]
    assert one.hear(note(4)) == [("/vj/preset/go", ("b",))]
    assert one.hear(cc(9, 127)) == [("/vj/seed/next", ())]
    assert one.hear(cc(9, 0)) == []


def test_a_layer_is_heard_while_shift_is_held():
    one = surface(Values(), {"note": 98, "to": "shift"}, {"note": 1, "to": "/vj/tempo/tap"},
                  {"note": 1, "layer": "shift", "to": "/vj/tempo/resync"}, {"note": 2, "to": "/vj/undo"})  # fmt: skip
    assert one.hear(note(1)) == [("/vj/tempo/tap", ())]
    assert one.hear(note(98)) == []
    assert one.hear(note(1)) == [("/vj/tempo/resync", ())]
    assert one.hear(note(2)) == [("/vj/undo", ())]  # nothing on the layer: as ever
    one.hear(note(98, 0))
    assert one.hear(note(1)) == [("/vj/tempo/tap", ())]


def test_leds_follow_the_values_and_only_changes_are_sent():
    values = Values({"/vj/preset/go": 2, "/vj/master/freeze": True, "/vj/macro/1": 0.5})
    pads = {"note": 10, "count": 3, "to": "/vj/preset/go", "args": ("#",), "led": {"on": 21, "off": 1, "channel": 7}}
    one = surface(values, pads, {"cc": 42, "to": "/vj/master/freeze", "led": {}},
                  {"cc": 16, "to": "/vj/macro/1", "led": {"ring": True}},
                  {"note": 50, "to": "/vj/tempo/tap", "led": {"on": 3}})  # fmt: skip
    lit = ((0x96, 10, 1), (0x96, 11, 21), (0x96, 12, 1), (0xB0, 42, 127), (0xB0, 16, 64), (0x90, 50, 3))
    assert one.lights() == [bytes(row) for row in lit]
    assert one.lights() == []
    values["/vj/preset/go"] = 3
    assert one.lights() == [bytes([0x96, 11, 1]), bytes([0x96, 12, 21])]
    assert one.dark() == [bytes([status, number, 0]) for status, number, _ in lit]
    assert one.dark() == []
    assert len(one.lights()) == 6


def test_a_pad_with_nothing_behind_it_has_its_own_light():
    values = Values()
    pads = {"note": 1, "to": "/vj/preset/go", "args": (2,), "led": {"on": 21, "off": 1}}
    one = surface(values, pads, {"note": 2, "to": "/vj/cue/7/go", "led": {"on": 9, "empty": 5}})
    assert one.lights() == [bytes([0x90, 1, 0]), bytes([0x90, 2, 5])]
    values["/vj/preset/go"] = 1
    assert one.lights() == [bytes([0x90, 1, 1])]


def test_leds_show_the_layer_that_is_played():
    values = Values({"/vj/master/freeze": True, "/vj/preset/go": 2})
    one = surface(values, {"note": 98, "to": "shift", "led": {}},
                  {"note": 1, "to": "/vj/master/freeze", "led": {"on": 5}},
                  {"note": 1, "layer": "shift", "to": "/vj/preset/go", "args": (2,), "led": {"on": 9}},
                  {"note": 2, "to": "/vj/undo", "led": {"on": 3}})  # fmt: skip
    assert one.lights() == [bytes([0x90, 98, 0]), bytes([0x90, 1, 5]), bytes([0x90, 2, 3])]
    one.hear(note(98))
    assert one.lights() == [bytes([0x90, 98, 127]), bytes([0x90, 1, 9])]
    one.hear(note(98, 0))
    assert one.lights() == [bytes([0x90, 98, 0]), bytes([0x90, 1, 5])]


@given(st.lists(st.integers(0, 255), max_size=6))
def test_any_bytes_are_heard(data):
    one = surface(Values(), FADE)
    one.hear(data)
    for _, channel, _, value in decoded(data, Kept()):
        assert 1 <= channel <= 16
        assert 0.0 <= value <= 1.0


def test_what_is_learnt_comes_first_and_survives_the_disk():
    values = Values({"/vj/master/fade": 0.3})
    found = learnt(cc(1, 90), "/vj/param/zoom", Kept(), SHIPPED)
    rows = Learnt()
    rows.add("port", found)
    rows.add("port", learnt(note(60), "/vj/tempo/tap", Kept(), SHIPPED))
    one = surface(values, FADE, own=rows.rows["port"])
    assert one.hear(cc(1, 127)) == [("/vj/param/zoom", (1.0,))]
    again = parse_toml(MidiMap, learnt_text("port", rows.rows["port"]), "learnt.toml")
    assert list(again.controls) == rows.rows["port"]
    rows.add("port", learnt(cc(1, 3), "/vj/param/bloom", Kept(), SHIPPED))  # the same control, another address
    assert [c.to for c in rows.rows["port"]] == ["/vj/tempo/tap", "/vj/param/bloom"]
    assert rows.forget("/vj/tempo/tap")
    assert not rows.forget("/vj/tempo/tap")
    assert learnt(note(60, 0), "/vj/tempo/tap", Kept(), SHIPPED) is None
    assert learnt(mido.Message("pitchwheel", pitch=5).bytes(), "/vj/param/zoom", Kept(), SHIPPED).pitch


@pytest.mark.parametrize("path", MAPS, ids=lambda path: path.stem)
def test_every_shipped_map_plays_only_what_there_is(path):
    midi_map = load_map(path, SHIPPED)
    singles = [single for control in midi_map.controls for single in control.spread(SHIPPED)]
    places = [(s.place, s.control.layer) for s in singles]
    assert len(places) == len(set(places)), "two controls of one layer share a place"
    for single in singles:
        if single.to == "shift":
            continue
        values = Values({address: entry.default for address, entry in REGISTRY.items() if entry.default is not None})
        one = Surface(midi_map, SHIPPED, values.get, values.shows)
        kind, channel, number = single.place
        status = (0x90 if kind == "note" else 0xB0) | (channel - 1)
        if single.control.layer:
            shift = next(s.place for s in singles if s.to == "shift")
            one.hear([0x90 | (shift[1] - 1), shift[2], 127])
        for value in (0, 127, 0, 64, 127):
            for address, args in one.hear([status, number, value]):
                accept(address, args)  # would raise


FAULTS = {  # what stands below [[controls]], and what is said of it
    'note = 1\nto = "/vj/seeed"': "x.toml:4: controls.0.to: unknown address '/vj/seeed'; nearest: /vj/seed",
    'to = "/vj/seed"': "one of note, cc, cc14, nrpn, program, pitch: got none",
    'note = 1\ncc = 2\nto = "/vj/seed"': "got note, cc",
    'note = 120\ncount = 20\nto = "/vj/seed/next"': "beyond what MIDI has",
    'note = 1\nto = "/vj/quantise"\nargs = ["3bar"]': "takes none, beat, bar, 2bar, 4bar: got '3bar'",
    'note = 1\nto = "/vj/seed/next"\nled = {hue = 3}': "unknown key",
    "[[controls": "not valid TOML",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_in_a_map_is_told_with_file_line_and_what_is_near(text, tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(f'name = "x"\n[[controls]]\n{text}\n')
    with pytest.raises(ConfigError, match=r"x\.toml") as caught:
        load_map(path, SHIPPED)
    assert FAULTS[text] in str(caught.value)


# -- parameter numbers and program changes --------------------------------------------------------------------------


def nrpn(number, value, channel=1):
    """The four messages of a parameter's value, 14 bits each."""
    rows = ((99, number >> 7), (98, number & 127), (6, value >> 7), (38, value & 127))
    return [mido.Message("control_change", channel=channel - 1, control=c, value=v).bytes() for c, v in rows]


@pytest.mark.parametrize("number", [0, 1, 127, 128, 1000, 16382])
def test_a_parameter_number_is_read_coarse_at_first_and_then_fine(number):
    kept, rows = Kept(), []
    for data in nrpn(number, 12345, channel=3):
        rows += [row for row in decoded(data, kept) if row[0] == "nrpn"]
    assert [row[:3] for row in rows] == [("nrpn", 3, number)] * 2
    assert rows[0][3] == pytest.approx((12345 >> 7) / 127)
    assert rows[1][3] == pytest.approx(12345 / 16383)


def test_without_a_parameter_number_its_controllers_are_ordinary_ones():
    kept = Kept()
    for number in (6, 38, 98, 99):
        assert decoded(cc(number, 64), kept)[0] == ("cc", 1, number, pytest.approx(64 / 127))
    for data in (cc(99, 127), cc(98, 127)):  # the null that ends one
        decoded(data, kept)
    assert decoded(cc(6, 64), kept)[0][0] == "cc"


def test_a_parameter_number_is_learnt_whole():
    kept = Kept()
    found = [learnt(data, "/vj/param/zoom", kept, SHIPPED) for data in nrpn(300, 9000)]
    assert found[:2] == [None, None]
    assert (found[2].kind, found[2].nrpn) == ("nrpn", 300)
    surface = Surface(MidiMap(name="x", takeover="jump"), SHIPPED, lambda _a: 0.5, lambda *_: None, [found[2]])
    messages = [m for data in nrpn(300, 16383) for m in surface.hear(data)]
    assert messages[-1] == ("/vj/param/zoom", (pytest.approx(1.0),))


def test_a_fader_that_happens_to_be_controller_98_is_learnt_when_it_moves_on():
    kept = Kept()
    assert learnt(cc(98, 10), "/vj/param/zoom", kept, SHIPPED) is None
    assert learnt(cc(98, 20), "/vj/param/zoom", kept, SHIPPED).cc == 98


def program(number, channel=1):
    return mido.Message("program_change", channel=channel - 1, program=number).bytes()


def test_a_program_change_calls_a_preset_unless_the_map_says_otherwise():
    plain = Surface(MidiMap(name="x"), SHIPPED, lambda _a: 0.5, lambda *_: None)
    assert plain.hear(program(4)) == [("/vj/preset/go", (5,))]
    mapped = MidiMap(name="x", controls=({"program": 4, "to": "/vj/master/panic"},))
    surface = Surface(mapped, SHIPPED, lambda _a: 0.5, lambda *_: None)
    assert surface.hear(program(4)) == [("/vj/master/panic", ())]
    assert surface.hear(program(5)) == [], "this channel's programs are the map's"
    assert surface.hear(program(5, channel=2)) == [("/vj/preset/go", (6,))]


def test_a_program_change_is_learnt_as_a_press_and_for_a_preset_with_its_number():
    assert learnt(program(7), "/vj/preset/go", Kept(), SHIPPED).args == (8,)
    found = learnt(program(7, channel=5), "/vj/cue/go", Kept(), SHIPPED)
    assert (found.program, found.channel, found.args) == (7, 5, ())
    surface = Surface(MidiMap(name="x"), SHIPPED, lambda _a: None, lambda *_: None, [found])
    assert surface.hear(program(7, channel=5)) == [("/vj/cue/go", ())]
