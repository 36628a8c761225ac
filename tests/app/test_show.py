import os
import re

import pytest
from known import SHIPPED

from vjserver.app.preset_bank import load_bank
from vjserver.app.show import Show, load_show
from vjserver.commands.osc import reference
from vjserver.show.addresses import OUTPUTS
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
        ("width = 640", 'width = "wide"', 13, "must be a whole number"),
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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_any_editor_are_read(tmp_path, encoding):
    path = tmp_path / "show.toml"
    path.write_bytes(GOOD.replace("\n", "\r\n").encode(encoding))
    assert load_show(path).osc.port == 9100
    (tmp_path / "looks").mkdir()
    (tmp_path / "looks" / "a.toml").write_bytes('name = "Ä 夜"\n'.encode(encoding))
    assert load_bank(tmp_path / "looks").presets[-1][1].name == "Ä 夜"


def test_what_is_no_text_is_said_so(tmp_path):
    path = tmp_path / "show.toml"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8 text: save it as UTF-8"):
        load_show(path)


@pytest.mark.parametrize("path", [r"C:\Users\vj", r"C:\new\looks", r"D:\temp", r"C:\Music\x.wav", r"\\nas\looks"])
def test_a_windows_path_in_double_quotes_is_told_with_what_to_write(tmp_path, path):
    with pytest.raises(ConfigError, match=r"show.toml:?.*single quotes"):
        load_show(write(tmp_path, f'[source]\nkind = "file"\npath = "{path}"\n'))


@pytest.mark.parametrize("written", ["'C:\\new\\looks'", '"C:/new/looks"', '"C:\\\\new\\\\looks"'])
def test_a_windows_path_that_is_written_well_is_taken(tmp_path, written):
    show = load_show(write(tmp_path, f'[source]\nkind = "file"\npath = {written}\n'))
    assert str(show.source["path"]).replace("\\", "/").endswith("C:/new/looks")


def test_paths_go_by_the_folder_of_the_file_wherever_the_program_was_started(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "me"))
    show = load_show(
        write(
            tmp_path,
            'presets = "looks"\n[source]\nkind = "file"\npath = "music/a.wav"\n[record]\nfolder = "~/films"\n'
            '[deliver]\nsafe = "clips/calm.mp4"\n[inputs.in]\nkind = "file"\npath = "/abs/x.png"\n'
            '[generators.diffusion]\nmodel = "./models/mine"\n',
        )
    )
    assert show.presets == tmp_path / "looks"
    assert show.source["path"] == tmp_path / "music/a.wav"
    assert show.record["folder"] == tmp_path / "me/films"
    assert str(show.deliver.safe) == str(tmp_path / "clips/calm.mp4")
    assert str(show.inputs["in"]["path"]) == "/abs/x.png"
    assert show.generators["diffusion"]["model"] == str(tmp_path / "models/mine")
    plain = load_show(write(tmp_path, '[generators.diffusion]\nmodel = "sd-turbo"\n'))
    assert plain.generators["diffusion"]["model"] == "sd-turbo", "a name is no path"


def test_a_broken_preset_costs_only_itself_and_comes_back_when_it_is_mended(tmp_path):
    (tmp_path / "a.toml").write_text('name = "A"\n')
    (tmp_path / "b.toml").write_text('name = "B"\nseed = "x"\n')
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe\x00")
    bank = load_bank(tmp_path)
    assert [preset.name for _, preset in bank.presets][-1] == "A"
    assert {stem for _, stem in bank.faults} == {"b", "c"}
    assert "b.toml:2: seed" in "".join(bank.faults.values())
    (tmp_path / "b.toml").write_text('name = "B"\n')
    (tmp_path / "c.toml").unlink()
    assert not load_bank(tmp_path).faults


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = " + "[" * 20_000, "nested too deeply"),
        ("seed = " + "9" * 5000, "not valid TOML"),
        ("a" + ".a" * 20_000 + " = 1", "a key of more than 32 parts"),
        ("# " + "x" * (1 << 20), "at most 1048576 are read"),
    ],
)
def test_a_file_made_to_harm_is_left_out_and_named(tmp_path, text, says):
    (tmp_path / "bad.toml").write_text(text)
    (tmp_path / "good.toml").write_text('name = "G"\n')
    bank = load_bank(tmp_path)
    assert bank.presets[-1][1].name == "G"
    assert says in "".join(bank.faults.values())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    assert "is no file" in "".join(load_bank(tmp_path).faults.values())


def test_a_preset_is_read_again_only_when_it_has_changed(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('name = "A"\n')
    first = load_bank(tmp_path).presets[-1][1]
    assert load_bank(tmp_path).presets[-1][1] is first
    path.write_text('name = "Another"\n')
    assert load_bank(tmp_path).presets[-1][1].name == "Another"


def test_a_folder_of_presets_comes_after_ours(tmp_path):
    (tmp_path / "mine.toml").write_text('name = "Mine"\n')
    bank = load_bank(tmp_path)
    assert bank.presets[-1][1].name == "Mine"
    assert len(bank.presets) > 12
    with pytest.raises(ConfigError, match="no such folder"):
        load_bank(tmp_path / "none")


def test_the_reference_names_every_address():
    text = reference(SHIPPED)
    for address in [*SHIPPED.entries, *OUTPUTS]:
        shown = re.sub("^/vj/(prompt|macro)/[0-9]", r"/vj/\1/{1..8}", address)
        assert f"`{shown}`" in text or (address.startswith("/vj/param/") and not SHIPPED.key_of(address))
