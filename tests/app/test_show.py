import re

import pytest

from vjserver.app.osc_tools import reference
from vjserver.app.show import Show, load_bank, load_show
from vjserver.show.addresses import OUTPUTS, REGISTRY
from vjserver.types.errors import ConfigError

GOOD = """
preset = "02-outrun"

[source]
kind = "click"
bpm = 128

[ear.tempo]
min_bpm = 70
max_bpm = 170

[video]
width = 640
height = 360

[[outputs]]
kind = "null"

[osc]
port = 9100

[[osc.targets]]
port = 9101
lookahead_ms = 20
"""


def write(tmp_path, text):
    path = tmp_path / "show.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_empty_file_is_a_show(tmp_path):
    assert load_show(write(tmp_path, "")) == Show() == load_show(None)


def test_the_ports_are_as_promised():
    show = Show()
    assert (show.osc.host, show.osc.port, show.web.port) == ("127.0.0.1", 9010, 9020)
    assert [(t.port, t.kind) for t in show.osc.targets] == [(9011, "numbers"), (9012, "text")]
    assert [door["kind"] for door in show.outputs] == ["sharedmem", "zmq", "ndi"]


def test_a_show_is_read(tmp_path):
    show = load_show(write(tmp_path, GOOD))
    assert (show.source["bpm"], show.osc.targets[0].lookahead_ms, show.ear.tempo.min_bpm) == (128, 20.0, 70.0)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        (
            "width = 640",
            "widht = 640",
            13,
            "unknown key; nearest: width, height; allowed: width, height, fps, output_fps, standby, lookahead_ms",
        ),
        ("width = 640", 'width = "wide"', 13, "valid integer"),
        ("width = 640", "width = 639", 13, "multiple of 2"),
        ("min_bpm = 70", "min_bpm = 160", 8, "at least 1.1 x min_bpm: got 160..170"),
        ("min_bpm = 70", "min_bpm = 7", 9, "greater than or equal to 40"),
        ("[ear.tempo]", "[ear]\nwindow = 1000\n[ear.tempo]", 9, "512, 1024, 2048 or 4096"),
        ("[ear.tempo]", '[link]\nmode = "lea"\n[ear.tempo]', 9, "'off', 'follow' or 'lead'"),
        ("bpm = 128", "bmp = 128", 4, "unknown key 'bmp'; nearest: bpm"),
        ("bpm = 128", "bpm = 1", 4, "greater than or equal to 30"),
        ('kind = "click"', 'kind = "clack"', 4, "unknown source 'clack'; nearest: click"),
        ('kind = "null"', 'kind = "ndj"', 16, "unknown output 'ndj'; nearest: ndi"),
        ("lookahead_ms = 20", "lookahead_ms = 900", 24, "less than or equal to 500"),
        ("port = 9100", "port = 0", 20, "greater than or equal to 1"),
    ],
)
def test_a_fault_names_file_line_key_and_what_is_allowed(tmp_path, old, new, line, says):
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_show(path)
    assert f"{path}:{line}:" in str(caught.value)
    assert says in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_show(tmp_path / "none.toml")


def test_a_folder_of_presets_comes_after_ours(tmp_path):
    (tmp_path / "mine.toml").write_text('name = "Mine"\n')
    bank = load_bank(tmp_path)
    assert bank.presets[-1][1].name == "Mine"
    assert len(bank.presets) > 12
    with pytest.raises(ConfigError, match="no such folder"):
        load_bank(tmp_path / "none")


def test_the_reference_names_every_address():
    text = reference()
    for address in [*REGISTRY, *OUTPUTS]:
        shown = re.sub("^/vj/(prompt|macro)/[0-9]", r"/vj/\1/{1..8}", address)
        assert f"`{shown}`" in text or (address.startswith("/vj/param/") and address.count("/") > 3)
