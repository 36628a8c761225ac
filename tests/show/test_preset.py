import pytest
from known import SHIPPED

from vjserver.app.preset_bank import load_bank
from vjserver.show.bank import Bank
from vjserver.show.preset import Preset
from vjserver.show.presettext import line_of, parse_preset
from vjserver.types.errors import ConfigError

GOOD = """
name = "Test"
seed = 4
[[prompts]]
text = "rings"
[params]
zoom = 0.6
[[mappings]]
from = "bass"
to = "/vj/param/zoom"
range = [0, 0.2]
[[triggers]]
on = "beat"
every = 4
do = "/vj/seed/next"
"""


def test_a_preset_is_read():
    preset = parse_preset(GOOD, "test.toml", SHIPPED)
    assert preset.prompts[0].text == "rings"
    assert preset.mappings[0].source == "bass"
    assert preset.triggers[0].every == 4


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("zoom = 0.6", "zom = 0.6", 7, "nearest: /vj/param/zoom"),
        ("zoom = 0.6", "zoom = 1.6", 7, "less than or equal to 1"),
        ("zoom = 0.6", 'zoom = "big"', 7, "must be a number"),
        ('from = "bass"', 'from = "base"', 9, "nearest: bass"),
        ('to = "/vj/param/zoom"', 'to = "/vj/param/zooom"', 10, "nearest: /vj/param/zoom"),
        ('to = "/vj/param/zoom"', 'to = "/vj/master/fade"', 10, "a mapping drives"),
        ('do = "/vj/seed/next"', 'do = "/vj/seed/nxt"', 15, "nearest: /vj/seed/next"),
        ("every = 4", "every = 0", 14, "greater than or equal to 1"),
        ('on = "beat"', 'on = "clap"', 13, "'beat', 'downbeat'"),
        ("seed = 4", "sed = 4", 3, "unknown key; nearest: seed"),
        ("every = 4", "evry = 4", 14, "unknown key; nearest: every"),
    ],
)
def test_a_fault_names_file_line_key_and_what_is_allowed(old, new, line, says):
    with pytest.raises(ConfigError) as caught:
        parse_preset(GOOD.replace(old, new), "test.toml", SHIPPED)
    assert f"test.toml:{line}:" in str(caught.value)
    assert says in str(caught.value)


def test_text_that_is_no_toml_names_the_line():
    with pytest.raises(ConfigError, match=r"test.toml: not valid TOML: .*line 2"):
        parse_preset('name = "x"\nseed = = 3\n', "test.toml", SHIPPED)


def test_all_our_presets_are_sound_and_differ():
    bank = load_bank()
    assert len(bank.presets) >= 12
    assert len({p.name for _, p in bank.presets}) == len(bank.presets)
    assert len({tuple(x.text for x in p.prompts) for _, p in bank.presets}) == len(bank.presets)
    for _, preset in bank.presets:
        assert preset.mappings, preset.name
        assert preset.description, preset.name


def test_a_bank_finds_by_number_name_and_slug():
    bank = Bank([("01-a", Preset(name="Alpha")), ("02-b", Preset(name="Beta"))])
    assert bank.find(2)[0] == bank.find("beta")[0] == bank.find("02-b")[0] == bank.find("2")[0] == 1
    with pytest.raises(ConfigError, match=r"1\.\.2: got 3"):
        bank.find(3)
    with pytest.raises(ConfigError, match="unknown preset 'gamma'"):
        bank.find("gamma")


def test_lines_are_found_in_repeated_tables():
    text = "[[a]]\nx = 1\n[[a]]\nx = 2\n"
    assert line_of(text, ("a", 1, "x")) == 4
    assert line_of(text, ("nowhere",)) == 1


def test_a_preset_that_breaks_while_the_show_runs_plays_on_in_its_place():
    a, b, c = (Preset(name=n) for n in "ABC")
    before = Bank([("a", a), ("b", b), ("c", c)], ["mine"] * 3)
    broken = Bank([("a", a), ("c", c), ("d", Preset(name="D"))], ["mine"] * 3, {("mine", "b"): "b.toml:1: no"})
    after = broken.repaired(before)
    assert [slug for slug, _ in after.presets] == ["a", "b", "c", "d"]
    assert after.presets[1][1] is b
    assert after.faults == broken.faults
    gone = Bank([("a", a)], ["mine"]).repaired(before)
    assert [slug for slug, _ in gone.presets] == ["a"], "what was deleted is gone"
    new = Bank([("a", a)], ["mine"], {("mine", "z"): "no"}).repaired(before)
    assert [slug for slug, _ in new.presets] == ["a"], "one that never played is not made up"
