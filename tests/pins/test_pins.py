"""What is in the field goes on working: each pin was written by the code of before, and is held against that of now."""

import pytest
from known import REGISTRY, SHIPPED, Mapper, desk_of, enter, read
from pinned import COMMON, FPS, HERE, SIZE, digest, entry_row, par_row, pin, recorded_features, request_row

from touchdesigner.patches import PATCHES
from vjserver.app.preset_bank import load_bank
from vjserver.controls.oscquery import node, tree
from vjserver.show.addresses import OUTPUTS
from vjserver.show.looks import look_of_preset
from vjserver.show.presetfile import preset_of, saved
from vjserver.show.presettext import parse_preset
from vjserver.show.state import ShowState
from vjserver.show.take import parse
from vjserver.stages.control.user_library import UserLibrary

BANK = load_bank()


@pytest.mark.parametrize(("address", "row"), pin("addresses.json").items())
def test_every_address_takes_what_it_took(address, row):
    assert entry_row({**REGISTRY, **OUTPUTS}[address]) == row


def within(old, new, where=""):
    """Assert that everything that was in OSCQuery's tree is there as it was; more may have come."""
    for key, value in old.items():
        place = f"{where}/{key}"
        if isinstance(value, dict):
            within(value, new[key], place)
        elif key == "TAGS":
            assert set(value) <= set(new[key]), place
        elif key != "DESCRIPTION":
            assert new[key] == value, place


def test_oscquery_shows_what_it_showed():
    within(pin("oscquery.json"), node("/", lambda address: read(ShowState(), address), tree(SHIPPED)))


@pytest.mark.parametrize("name", pin("patches.json"))
def test_a_patch_has_the_parameters_that_it_had(name):
    for title, rows in pin("patches.json")[name].items():
        now = {par.name: par_row(par) for par in PATCHES[name].pages[title]}
        for row in rows:
            assert now[row[0]] == row


@pytest.mark.parametrize("slug", [slug for slug, _ in BANK.presets])
def test_a_preset_asks_for_the_pictures_that_it_asked_for(slug):
    place, preset = next((i, preset) for i, (name, preset) in enumerate(BANK.presets) if name == slug)
    mapper, state = Mapper(), enter(ShowState(), place, preset)
    rows = [
        request_row(mapper(state, f, f.t_ns, 1 / FPS, SIZE), preset.generator == "diffusion")
        for f in recorded_features()
    ]
    assert digest(rows) == pin("requests.json")[slug]


def test_morphs_that_break_each_other_off_ask_for_what_they_asked_for():
    mapper, state, rows = Mapper(), enter(ShowState(), 0, BANK.presets[0][1]), []
    for i, f in enumerate(recorded_features()):
        if i % 40 == 20:
            place = i // 40 * 3 % len(BANK.presets)
            state = enter(state, place, BANK.presets[place][1], f.t_ns, 2.0)
        rows.append(request_row(mapper(state, f, f.t_ns, 1 / FPS, SIZE), False))
    assert digest(rows) == pin("requests.json")["morphs"]


def test_a_take_of_before_plays_to_the_same_look():
    take = parse((HERE / "take.jsonl").read_bytes().splitlines(keepends=True), "take.jsonl", SHIPPED)
    desk = desk_of(BANK, ShowState())
    desk.play(take, 0)
    for t_ms in range(0, 2000, 20):
        desk.tick(t_ms * 1_000_000, desk.grid, 0)
    wanted = pin("played.json")["params"]
    assert {name: desk.state.params[name] for name in COMMON} == {name: wanted[name] for name in COMMON}
    assert not desk.refused
    for name in ("latent_1", "latent_4", "lora_3", "coherence"):
        assert read(desk.state, f"/vj/param/{name}") == wanted[name], "messages to flat addresses arrive"


def test_snapshots_of_before_are_recalled_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path))
    (tmp_path / "snapshots.json").write_bytes((HERE / "snapshots.json").read_bytes())
    look = UserLibrary(load_bank, SHIPPED).load_snapshots()[3]
    kept = pin("played.json")["kept"]
    before = {SHIPPED.aliases.get(name, name): value for name, value in kept.items()}
    assert {**SHIPPED.starts, **before} == look.params, "knobs that came later stand at their start"
    assert "/vj/param/diffusion/latent_1" in [row.to for row in look.mappings]


def test_a_preset_of_the_users_is_read_and_saved_as_it_is_written():
    text = (HERE / "preset.toml").read_text(encoding="utf-8")
    preset = parse_preset(text, "preset.toml", SHIPPED)
    assert preset.settings(SHIPPED)["diffusion/coherence"] == 0.9
    assert saved(text, preset_of(look_of_preset(0, preset, SHIPPED), preset.name, preset, SHIPPED)) == text
