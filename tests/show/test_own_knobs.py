"""Knobs that generators bring: keys and addresses, aliases of before, what is missing, and who eases in a morph."""

import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known import SHIPPED, Mapper, desk_of

from vjserver.show.addresses import COMMON, FALLBACK_GENERATOR
from vjserver.show.bank import Bank
from vjserver.show.changes import read, values
from vjserver.show.desk import Desk
from vjserver.show.looks import at, look_of_preset
from vjserver.show.mapping import MapperMemory, mapped, own_of
from vjserver.show.preset import Preset
from vjserver.show.presetfile import preset_of, saved
from vjserver.show.presettext import parse_preset
from vjserver.show.registry import MOST_PARAMS, Registry
from vjserver.show.state import MappingRow, Morph, ShowState, look_of, settled
from vjserver.types.errors import ConfigError
from vjserver.types.features import silent_features
from vjserver.types.knobs import GeneratorInfo, Parameter

NS = 1_000_000_000
FACES = GeneratorInfo(
    "faces",
    (Parameter("truncation", 0.0, 2.0, 1.0, "x"), Parameter("layers", 1, 9, 3, type="int"),
     Parameter("mood", type="choice", choices=("calm", "nervous", "wild")),
     Parameter("size", 10.0, 1000.0, 100.0, "Hz", curve="log"), Parameter("soft", 0.0, 4.0, 1.0, curve="square")),
)  # fmt: skip
WITH = Registry((*SHIPPED.infos.values(), FACES))
ANY = st.dictionaries(
    st.text(max_size=12) | st.sampled_from([*WITH.parameters, *WITH.aliases, "faces/none", "gone/knob", "/", "a/b/c"]),
    st.floats() | st.integers() | st.text(max_size=3) | st.none() | st.booleans() | st.just(10**400),
    max_size=30,
)


def made(**fields):
    return Preset.model_validate(fields, context={"registry": WITH})


# -- knobs -------------------------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(WITH.parameters)), st.floats(0, 1))
def test_a_knobs_scale_goes_both_ways_and_stays_in_its_range(key, value):
    knob = WITH.parameters[key]
    raw = knob.raw(value)
    assert knob.low - 1e-9 <= raw <= knob.high + 1e-9
    assert knob.raw(knob.norm(raw)) == pytest.approx(raw, rel=1e-6, abs=1e-9)
    if knob.type != "float":
        assert raw == round(raw)


def test_curves_give_room_where_it_is_wanted():
    size, soft = FACES.parameters[3], FACES.parameters[4]
    assert (size.raw(0.0), size.raw(0.5), size.raw(1.0)) == pytest.approx((10.0, 100.0, 1000.0))
    assert soft.raw(0.5) == pytest.approx(1.0)
    assert (size.start, soft.start) == pytest.approx((0.5, 0.5))


def test_a_generators_own_knob_has_the_four_addresses_of_any_knob():
    accept = WITH.accept
    assert accept("/vj/param/faces/truncation", [0.25]) == ("/vj/param/faces/truncation", (0.25,))
    assert accept("/vj/param/faces/truncation/raw", [9.0]) == ("/vj/param/faces/truncation/raw", (2.0,))
    assert accept("/vj/param/faces/mood/raw", [1.9])[1] == (1,)
    desk = Desk(Bank([("p", made(name="P", generator="faces", params={"faces": {"truncation": 0.7}}))]),
                ShowState(), registry=WITH)  # fmt: skip
    desk.receive(0, "/vj/preset/go", ("p",))
    for address, args, value in (("/vj/param/faces/truncation", (0.25,), 0.25),
                                 ("/vj/param/faces/truncation/inc", (0.5,), 0.75),
                                 ("/vj/param/faces/truncation/raw", (2.0,), 1.0),
                                 ("/vj/param/faces/truncation/reset", (), 0.7),
                                 ("/vj/param/faces/layers/raw", (5,), 0.5)):  # fmt: skip
        desk.receive(0, address, args)
        key = address.removeprefix("/vj/param/").rsplit("/", 1)[0] if address.count("/") > 4 else "faces/truncation"
        assert desk.state.params[key] == pytest.approx(value), address
    assert (desk.read("/vj/param/faces/layers/raw"), desk.read("/vj/param/faces/mood/raw")) == (5, 0)


def test_a_registry_travels_whole():
    back = pickle.loads(pickle.dumps(WITH))
    assert (back.infos, back.entries, back.synonyms) == (WITH.infos, WITH.entries, WITH.synonyms)
    assert len(pickle.dumps(WITH)) < 20_000


def test_keys_and_addresses_of_before_are_one_knob():
    assert WITH.canonical("/vj/param/steps/raw") == "/vj/param/diffusion/steps/raw"
    assert WITH.names("/vj/param/steps") == ("/vj/param/diffusion/steps", "/vj/param/steps")
    state = ShowState(params={"diffusion/steps": 0.25})
    assert read(state, "/vj/param/steps", WITH) == read(state, "/vj/param/diffusion/steps", WITH) == 0.25
    told = values(state, 0, WITH)
    assert told["/vj/param/steps"] == told["/vj/param/diffusion/steps"] == 0.25
    with pytest.raises(ConfigError, match=r"^/vj/param/steps takes a number"):
        WITH.accept("/vj/param/steps", ["many"])


def test_a_pattern_reaches_what_it_reached_and_own_knobs_where_it_names_who_has_them():
    flat = {f"/vj/param/{name}" for name in (*COMMON, *SHIPPED.aliases)}
    assert set(WITH.reached("/vj/param/*")) == flat
    assert set(WITH.reached("/vj/param/*/raw")) == {f"{address}/raw" for address in flat}
    assert set(WITH.reached("/vj/param/*/*")) == {f"{a}/{verb}" for a in flat for verb in ("raw", "inc", "reset")}
    assert set(WITH.reached("/vj/param/faces/*")) == {f"/vj/param/faces/{p.name}" for p in FACES.parameters}
    assert set(WITH.reached("/vj/param/faces/s*/raw")) == {"/vj/param/faces/size/raw", "/vj/param/faces/soft/raw"}
    assert WITH.reached("/vj/param/f*/truncation") == ()
    desk = Desk(Bank([]), ShowState(), registry=WITH)
    desk.receive(0, "/vj/param/l*", (0.125,))
    assert desk.state.params["diffusion/latent_3"] == desk.state.params["diffusion/lora_1"] == 0.125


# -- what comes from outside -----------------------------------------------------------------------------------------


@given(ANY)
def test_whatever_a_state_holds_it_is_settled_mapped_shown_and_morphed(params):
    """No KeyError anywhere: neither in what is settled, nor in what reads a state that nobody settled."""
    for registry in (WITH, SHIPPED):
        whole = registry.settled(params)
        assert registry.parameters.keys() <= whole.keys()
        assert all(0.0 <= value <= 1.0 for value in whole.values())
        assert len(whole) <= MOST_PARAMS
        assert registry.settled(whole) == whole
    numbers = {k: v for k, v in WITH.settled(params).items() if hash(k) % 3}
    rows = (MappingRow("bass", "/vj/param/faces/gone", 0.0, 1.0, "linear", "add", 0.0, 0.0),)
    glide = Morph(0, 2.0, "linear", dict(list(numbers.items())[:3]), ("faces", "", "", "auto"), {"gone/knob": 0.5})
    state = ShowState(params=numbers, glide=glide, mappings=rows, generator="faces")
    for registry in (WITH, SHIPPED):
        request, knobs, _ = mapped(state, silent_features(0), NS, 0.1, (64, 36), MapperMemory(), registry)
        assert request.params.keys() == COMMON.keys()
        assert own_of(registry, "faces", knobs).keys() == registry.knobs("faces").keys()
        values(state, NS, registry)
        desk = Desk(Bank([("p", Preset(name="P"))]), state, registry=registry)
        for address, args in (("/vj/morph/seconds", (1.0,)), ("/vj/preset/go", ("p",)), ("/vj/undo", ()),
                              ("/vj/macro/1", (0.5,)), ("/vj/preview/take", ())):  # fmt: skip
            desk.receive(NS, address, args)
        desk.tick(2 * NS, desk.grid, 0)
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(desk.state), type=ShowState) == desk.state


def test_at_most_so_many_unknown_knobs_are_kept_and_known_ones_come_first():
    whole = WITH.settled({f"gone/k{i}": 0.5 for i in range(2000)} | {"zoom": 0.9})
    assert len(whole) == MOST_PARAMS
    assert whole["zoom"] == 0.9


def test_a_state_of_before_is_taken_up_under_the_names_of_now():
    glide = Morph(0, 1.0, "linear", {"steps": 0.1, "zoom": 0.2}, ("pattern", "", "", "auto"))
    rows = (MappingRow("bass", "/vj/param/latent_1", 0.0, 1.0, "linear", "add", 0.0, 0.0),)
    state = settled(ShowState(params={"steps": 0.5, "zoom": 0.3}, mappings=rows, glide=glide), SHIPPED)
    assert (state.params["diffusion/steps"], state.params["zoom"]) == (0.5, 0.3)
    assert state.mappings[0].to == "/vj/param/diffusion/latent_1"
    assert state.glide.params == {"diffusion/steps": 0.1, "zoom": 0.2}


# -- presets and morphs ------------------------------------------------------------------------------------------------


def test_a_preset_sets_what_it_plays_or_names_and_the_others_keep_theirs():
    mine = made(name="M", generator="faces")
    named = made(name="N", params={"steps": 0.75})
    plain = made(name="P")
    desk = Desk(Bank([("m", mine), ("n", named), ("p", plain)]), ShowState(), registry=WITH)
    for address in ("/vj/param/faces/truncation", "/vj/param/diffusion/guidance", "/vj/param/zoom"):
        desk.receive(0, address, (0.11,))
    desk.receive(0, "/vj/preset/go", ("p",))
    assert (desk.state.params["faces/truncation"], desk.state.params["diffusion/guidance"]) == (0.11, 0.11)
    assert desk.state.params["zoom"] == 0.5
    desk.receive(0, "/vj/preset/go", ("n",))
    assert (desk.state.params["diffusion/steps"], desk.state.params["diffusion/guidance"]) == (0.75, 0.5)
    assert desk.state.params["faces/truncation"] == 0.11
    desk.receive(0, "/vj/preset/go", ("m",))
    assert desk.state.params["faces/truncation"] == 0.5


def test_in_a_morph_common_knobs_ease_and_a_leaving_generators_own_stand():
    leaving = made(name="L", generator="faces", params={"zoom": 0.0, "faces": {"truncation": 0.1}})
    coming = made(name="C", generator="diffusion", params={"zoom": 1.0, "steps": 1.0, "faces": {"truncation": 0.9}})
    same = made(name="S", generator="faces", params={"faces": {"truncation": 0.9, "mood": 1.0}})
    desk = Desk(Bank([("l", leaving), ("c", coming), ("s", same)]), ShowState(), registry=WITH)
    desk.receive(0, "/vj/preset/go", ("l",))
    desk.receive(0, "/vj/morph/seconds", (2.0,))
    desk.receive(0, "/vj/morph/ease", ("linear",))
    desk.receive(0, "/vj/preset/go", ("c",))
    half, end = at(desk.state, NS), at(desk.state, 3 * NS)
    assert half.params["zoom"] == pytest.approx(0.5)
    assert (half.params["faces/truncation"], end.params["faces/truncation"]) == (0.1, 0.9)
    assert half.params["diffusion/steps"] == 1.0, "the coming one's are set: nobody sees them yet"
    assert half.generator == "faces"
    desk.receive(3 * NS, "/vj/preset/go", ("l",))
    desk.tick(9 * NS, desk.grid, 0)
    desk.receive(10 * NS, "/vj/preset/go", ("s",))
    half, end = at(desk.state, 11 * NS), at(desk.state, 13 * NS)
    assert half.params["faces/truncation"] == pytest.approx(0.5), "who plays before and after eases"
    assert (half.params["faces/mood"], end.params["faces/mood"]) == (0.0, 1.0), "a choice switches at the end"
    desk.receive(11 * NS, "/vj/param/faces/mood", (0.5,))
    assert at(desk.state, 11 * NS).params["faces/mood"] == 0.5, "a hand outranks the morph"


def test_a_preset_keeps_the_spelling_of_its_file_and_what_nobody_knows():
    text = ('name = "X"\ngenerator = "faces"\n\n[params]\nsteps = 0.25\n\n[params.faces]\ntruncation = 0.9  # much\n\n'
            "[params.gone]\nknob = 0.3\n\n[raw.gone]\nother = 77.0\n")  # fmt: skip
    preset = parse_preset(text, "x.toml", WITH)
    assert saved(text, preset_of(look_of_preset(0, preset, WITH), "X", preset, WITH)) == text
    assert preset.idle(WITH) == ("gone is not installed: 2 knobs are kept as they are",)
    desk = Desk(Bank([("x", preset)]), ShowState(), registry=WITH)
    desk.receive(0, "/vj/preset/go", ("x",))
    desk.receive(0, "/vj/param/faces/mood", (0.5,))
    again = saved(text, preset_of(look_of(desk.state), "X", preset, WITH))
    assert "truncation = 0.9  # much\nmood = 0.5\n" in again
    assert "[params.gone]\nknob = 0.3" in again


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[params.faces]\ntruncaton = 0.5", "x.toml:3: params.faces.truncaton: unknown address"),
        ("[params.faces]\ntruncation = 1.5", "x.toml:3: params.faces.truncation: .* less than or equal to 1"),
        ("[raw.faces]\ntruncation = 2.5", r"raw.faces/truncation is in 0\.\.2 x: got 2.5"),
        ("[params]\nsteps = 0.5\n[params.diffusion]\nsteps = 0.5", "diffusion/steps stands there twice"),
        ("[params.Faces]\nx = 0.5", "unknown address '/vj/param/Faces/x'"),
        ("[params.faces.deep]\nx = 0.5", "params.faces.deep"),
        ('[[mappings]]\nfrom = "bass"\nto = "/vj/param/faces/none"', "unknown address '/vj/param/faces/none'"),
    ],
)
def test_a_fault_in_a_generators_knobs_names_the_line(text, says):
    with pytest.raises(ConfigError, match=says):
        parse_preset(f'name = "X"\n{text}\n', "x.toml", WITH)


def test_what_leads_to_a_generator_that_is_not_here_lies_idle():
    preset = Preset.model_validate(
        {"name": "A", "generator": "gone", "params": {"gone": {"knob": 0.5}},
         "mappings": ({"from": "silence", "to": "/vj/param/gone/knob"}, {"from": "silence", "to": "/vj/param/flash"}),
         "triggers": ({"on": "onset", "do": "/vj/param/gone/knob/inc", "args": [0.5]},),
         "macros": ({"number": 1, "moves": ({"to": "/vj/param/gone/knob"}, {"to": "/vj/param/zoom"})},)},
        context={"registry": SHIPPED},
    )  # fmt: skip
    desk = desk_of(Bank([("a", preset)]), ShowState())
    desk.receive(0, "/vj/preset/go", ("a",))
    desk.receive(0, "/vj/macro/1", (0.8,))
    assert desk.state.params["zoom"] == pytest.approx(0.8)
    assert desk.state.params["gone/knob"] == 0.5
    assert Mapper()(desk.state, silent_features(0), 0, 0.1, (64, 36)).params["flash"] == 1.0
    assert not desk.refused
    with pytest.raises(ConfigError, match=r"^/vj/param/gone/knob: generator 'gone' is not installed$"):
        desk.receive(0, "/vj/param/gone/knob", (0.5,))


def test_the_fallback_needs_no_knobs_of_its_own():
    assert not SHIPPED.knobs(FALLBACK_GENERATOR)
    assert set(SHIPPED.infos[FALLBACK_GENERATOR].uses) <= set(COMMON)


# -- whole states from outside -----------------------------------------------------------------------------------------

ODD = (
    {"texts": ["only one"]}, {"texts": ["x"] * 9, "weights": [1.0] * 9}, {"weights": []}, {"macros": [0.5]},
    {"macro_names": []}, {"size": "big"}, {"size": "63x64"}, {"seed": -(2**63)}, {"seed": 2**62}, {"preset": -1000},
    {"travel": {"beats": -1.0, "ease": "wild"}}, {"travel": {"seconds": 1e300}}, {"fade": 7.0}, {"quantise": "never"},
    {"deliver": {"fps": 1e9, "between": "x", "back": "y"}}, {"autopilot": {"bars": 0}}, {"texts": ["é" * 100_000] * 8},
    {"glide": {"t_ns": 0, "lasts_s": 0.0, "ease": "x", "params": {"zoom": 9.0}, "switches": ["a", "b", "c", "d"]}},
    *({"mappings": [{**{"source": "bass", "to": "/vj/param/zoom", "low": 0.0, "high": 1.0, "curve": "linear",
                        "mode": "add", "attack_s": 0.0, "release_s": 0.0}, **odd}]}
      for odd in ({"curve": "wild"}, {"mode": "x"}, {"source": "gone"}, {"to": "/vj/prompt/99/weight"},
                  {"to": "/vj/prompt/x/weight"}, {"to": "/vj/generator"}, {"attack_s": -1.0})),
    *({"macro_rows": [{**{"number": 1, "to": "/vj/param/zoom", "low": 0.0, "high": 1.0, "curve": "linear"}, **odd}]}
      for odd in ({"curve": "wild"}, {"to": "/vj/prompt/1/text"}, {"to": "/vj/generator"})),
)  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: str(odd)[:60])
def test_a_state_that_makes_no_sense_stands_as_at_the_start_where_it_makes_none(odd):
    state = settled(msgspec.json.decode(msgspec.json.encode(odd), type=ShowState), SHIPPED)
    start = ShowState()
    assert (len(state.texts), len(state.weights), len(state.macros)) == (8, 8, 8)
    desk = desk_of(Bank([("p", Preset(name="P"))]), state)
    mapper = Mapper()
    for t_ns in (0, NS):
        desk.receive(t_ns, "/vj/macro/1", (0.5,))
        desk.tick(t_ns, desk.grid, 0)
        mapper(desk.state, silent_features(0), t_ns, 0.1, (64, 36))
        values(desk.state, t_ns, SHIPPED)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(desk.state), type=ShowState) == desk.state
    assert isinstance(desk.state.texts[0], str)
    assert desk.state.generator == start.generator
    assert 0 <= state.seed < 2**31
    assert settled(state, SHIPPED) == state


def test_presets_of_generators_that_are_not_here_do_not_fill_the_state_for_ever():
    many = {f"k{j}": 0.5 for j in range(300)}
    bank = [(f"p{i}", Preset.model_validate({"name": f"P{i}", "params": {f"gone{i}": many}},
                                            context={"registry": SHIPPED})) for i in range(9)]  # fmt: skip
    desk = desk_of(Bank(bank), ShowState())
    for i in range(9):
        desk.receive(i, "/vj/preset/go", (f"p{i}",))
    assert len(desk.state.params) == MOST_PARAMS
    assert desk.state.params["gone8/k0"] == 0.5, "the newest are kept"
    desk.receive(99, "/vj/preset/go", ("p8",))
    assert all(f"gone8/k{j}" in desk.state.params for j in range(300)), "and what the look itself sets"
    assert SHIPPED.parameters.keys() <= desk.state.params.keys()


def test_a_morph_that_is_broken_off_leaves_no_knob_half_way():
    rows = [("a", made(name="A", generator="faces", params={"faces": {"truncation": 0.9}})),
            ("b", made(name="B", generator="faces")), ("c", made(name="C"))]  # fmt: skip
    desk = Desk(Bank(rows), ShowState(), registry=WITH)
    desk.receive(0, "/vj/preset/go", ("a",))
    desk.receive(0, "/vj/morph/seconds", (2.0,))
    desk.receive(0, "/vj/preset/go", ("b",))
    desk.receive(NS, "/vj/preset/go", ("c",))
    assert at(desk.state, NS).params["faces/truncation"] == pytest.approx(0.7, abs=0.1), "what is seen does not jump"
    assert at(desk.state, 9 * NS).params["faces/truncation"] == 0.5


def test_a_choice_is_called_by_its_label_too():
    assert WITH.accept("/vj/param/faces/mood", ["Wild"])[1] == (1.0,)
    assert WITH.accept("/vj/param/faces/mood/raw", ["nervous"])[1] == (1,)
    with pytest.raises(ConfigError, match="takes a number"):
        WITH.accept("/vj/param/faces/mood/raw", ["merry"])


@pytest.mark.parametrize("text", ["[[mappings]]\nfrom = 'bass'\nto = '/vj/param/zoom'\nrange = [nan, 1.0]",
                                  "[raw]\nzoom = nan", "[raw.gone]\nk = inf", "[params]\nzoom = nan"])  # fmt: skip
def test_what_is_no_number_is_refused_in_a_preset(text):
    with pytest.raises(ConfigError):
        parse_preset(f"name = 'X'\n{text}\n", "x.toml", WITH)
