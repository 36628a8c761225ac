"""The declared patches, built on the strict stand-in: every name, menu value and wire must exist in TouchDesigner."""

import ast
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import fake_td
import pytest
from known import REGISTRY, accept

from touchdesigner.generate import HERE, build_patch, drawing, files, tox_tree
from touchdesigner.patches import PATCHES, SCRIPTS

NAMES = list(PATCHES)


@pytest.fixture
def td(monkeypatch):
    module = fake_td.make()
    monkeypatch.setitem(sys.modules, "td", module)
    yield module
    module.root.close()


def build(td, name="starter", script=None):
    names = {"PATCH": name}
    exec(compile(script or build_patch(), "build_patch.py", "exec"), names)
    return td.op(f"/project1/vjserver_{name}")


@pytest.mark.parametrize("name", NAMES)
def test_every_patch_builds_with_every_wire_and_page(td, name, capsys):
    comp = build(td, name)
    patch = PATCHES[name]
    assert sorted(c.name for c in comp.children) == sorted(n.name for n in patch.nodes)
    assert [p.name for p in comp.customPages] == list(patch.pages)
    for node in patch.nodes:
        wired = [c.connections[0].owner.name for c in comp.op(node.name).inputConnectors if c.connections]
        assert wired == list(node.inputs), node.name
        assert comp.op(node.name).comment == node.note
    assert comp.op("out1").inputConnectors[0].connections
    assert f"ready at /project1/vjserver_{name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_every_expression_has_a_value_of_its_kind(td, name):
    comp = build(td, name)
    count = 0
    for node in PATCHES[name].nodes:
        for par in node.exprs:
            value = getattr(comp.op(node.name).par, par).eval()
            assert value is not None
            count += 1
    assert count >= 12


@pytest.mark.parametrize("name", NAMES)
def test_every_operator_that_is_named_in_an_expression_is_there(name):
    patch = PATCHES[name]
    names = {n.name for n in patch.nodes}
    pars = {p.name for page in patch.pages.values() for p in page}
    for node in patch.nodes:
        for text in node.exprs.values():
            for call in ast.walk(ast.parse(text)):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "op":
                    assert call.args[0].value in names, (node.name, text)
                if (
                    isinstance(call, ast.Attribute)
                    and isinstance(call.value, ast.Attribute)
                    and call.value.attr == "par"
                ):
                    assert call.attr in pars, (node.name, text)


@pytest.mark.parametrize("name", NAMES)
def test_every_address_is_one_of_the_server_and_takes_what_is_sent(td, name):
    comp = build(td, name)
    patch = PATCHES[name]
    out = comp.op("pars_to_osc").module
    td.root.sent.clear()
    sent = 0
    for par_name, row in patch.addresses.items():
        assert row[0] in REGISTRY, par_name
        out.send(comp, par_name)
        address, args = td.root.sent[-1]
        accept(address, args)
        sent += 1
    assert sent > 50


def test_custom_parameters_are_named_once_and_cover_the_registry():
    for patch in PATCHES.values():
        names = [p.name for page in patch.pages.values() for p in page]
        assert len(names) == len(set(names)), patch.name
        told = {row[0] for row in patch.addresses.values()}
        knobs = {a for a in REGISTRY if a.startswith("/vj/param/") and a.count("/") == 3}
        assert knobs <= told
        values = {address for address, entry in REGISTRY.items() if entry.kind == "parameter"}
        assert {a for a in values if a.startswith("/vj/prompt/") and a.split("/")[3].isdecimal()} <= told
        assert {a for a in values if a.startswith("/vj/macro/")} <= told
        assert {"/vj/master/fade", "/vj/master/blackout", "/vj/master/freeze", "/vj/tempo/tap", "/vj/preset/go"} <= told


def test_no_two_operators_lie_on_each_other():
    for patch in PATCHES.values():
        boxes = [(n.x, n.y) for n in patch.nodes]
        for i, (x, y) in enumerate(boxes):
            for x2, y2 in boxes[i + 1 :]:
                assert abs(x - x2) >= 150 or abs(y - y2) >= 100, (patch.name, patch.nodes[i].name)


def test_a_rebuild_keeps_values_and_what_the_user_added(td):
    comp = build(td, "beat_compositor")
    comp.par.Fade, comp.par.Prompt1, comp.par.Genre, comp.par.Blackout = 0.25, "a red fish", "techno", True
    comp.op("trail").par.operand = "screen"
    comp.op("bloom_blur").par.dither = True
    mine = comp.create(td.nullTOP, "mine")
    comp.op("midi_map").text = '{"s1": "Zoom"}'
    count = len(comp.children)
    again = build(td, "beat_compositor")
    assert again is comp
    assert len(comp.children) == count
    assert (comp.par.Fade.eval(), comp.par.Prompt1.eval(), comp.par.Genre.eval()) == (0.25, "a red fish", "techno")
    assert comp.par.Blackout.eval() is True
    assert comp.op("mine") is mine
    assert comp.op("bloom_blur").par.dither.eval() is True, "what a patch does not declare is the user's"
    assert comp.op("trail").par.operand.eval() == "maximum", "what it declares is the patch's"
    assert [len(c.connections) for c in comp.op("trail").inputConnectors[:2]] == [1, 1]
    assert comp.op("midi_map").text == '{"s1": "Zoom"}', "the map of the user's controller"


def test_an_older_patch_is_brought_up_to_date(td):
    script = build_patch()
    comp = build(td, "beat_compositor", script)
    extra = comp.create(td.levelTOP, "obsolete")
    extra.tags.add("vjserver")
    comp.op("flash").destroy()
    wrong = comp.create(td.nullTOP, "flash")
    wrong.tags.add("vjserver")
    page = comp.customPages[0]
    comp.par.Host.destroy()
    page.appendInt("Host")
    build(td, "beat_compositor", script)
    assert comp.op("obsolete") is None
    assert comp.op("flash").OPType == "levelTOP"
    assert comp.par.Host.style == "Str"
    assert comp.op("second").inputConnectors[0].connections[0].owner.name == "flash"


def test_patches_live_side_by_side(td):
    for name in NAMES:
        build(td, name)
    assert [c.name for c in td.op("/project1").children] == [f"vjserver_{n}" for n in NAMES]


def test_an_unknown_patch_is_told(td):
    with pytest.raises(ValueError, match="there is no patch 'satrter'; there are: starter, beat_compositor"):
        build(td, "satrter")


def test_the_stand_in_refuses_what_touchdesigner_would(td):
    comp = build(td)
    with pytest.raises(AttributeError, match="has no parameter 'blursize'"):
        comp.op("hud").par.blursize = 3
    with pytest.raises(fake_td.tdError, match="is not in the menu"):
        comp.op("hud").par.operand = "addition"
    with pytest.raises(AttributeError):
        comp.create(td.glowTOP, "x")
    with pytest.raises(fake_td.tdError, match="small letters"):
        comp.customPages[0].appendFloat("my_par")
    with pytest.raises(IndexError):
        comp.op("out1").outputConnectors[0].connect(comp.op("hud").inputConnectors[0])
    with pytest.raises(fake_td.tdError, match="does not go into"):
        comp.op("beat").outputConnectors[0].connect(comp.op("hud").inputConnectors[0])


# -- the files ----------------------------------------------------------------------------------------------------


def test_generated_files_are_up_to_date():
    run = subprocess.run(
        [sys.executable, "-m", "touchdesigner.generate", "--check"], cwd=HERE.parent, capture_output=True
    )
    assert run.returncode == 0, run.stdout.decode()


def test_the_script_needs_only_what_touchdesigners_python_has():
    allowed = {"json", "td", "struct", "time", "zlib", "platform", "multiprocessing", "numpy", "socket"}
    for text in (build_patch(), *(p.read_text() for p in SCRIPTS.glob("*.py"))):
        for node in ast.walk(ast.parse(text, feature_version=(3, 9))):
            if isinstance(node, ast.Import):
                assert {a.name.split(".")[0] for a in node.names} <= allowed
            elif isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] in allowed


def test_the_script_is_ascii_and_has_no_line_too_long_to_paste():
    text = build_patch()
    assert text.isascii()
    assert max(map(len, text.splitlines())) < 200


def test_the_tox_tree_lists_every_file_and_its_scripts_come_back_whole(td):
    tree = tox_tree()
    toc = tree["vjserver.tox.toc"].decode().splitlines()
    assert toc[0] == "# 4 0 0 0 1"
    assert set(toc[1:]) == {n.removeprefix("vjserver.tox.dir/") for n in tree if n != "vjserver.tox.toc"}
    assert tree["vjserver.tox.dir/.build"].startswith(b"version 099\n")
    for name, data in tree.items():
        assert b"\r" not in data, name
        if name.endswith(".n"):
            lines = data.decode().splitlines()
            assert lines[0].split(":")[0] in ("COMP", "DAT")
            assert lines[1].startswith("tile ")
            assert lines[2].startswith("flags =  ")
            assert lines[-1] == "end"
    texts = {n: d for n, d in tree.items() if n.endswith(".text")}
    for data in texts.values():
        assert data[:3] == b"2\n*"
        assert int.from_bytes(data[23:27], "big") == len(data) - 27 < 65536
    boot = td.op("/project1").create(td.baseCOMP, "vjserver")
    for name, data in texts.items():
        made = boot.create(td.executeDAT if "boot.text" in name else td.textDAT, Path(name).stem)
        made.text = data[27:].decode()
    boot.op("boot").module.onCreate()
    assert td.op("/project1/vjserver_starter") is not None
    assert boot.allowCooking is False


@pytest.mark.parametrize("name", NAMES)
def test_the_drawing_shows_every_operator_and_wire(name):
    patch = PATCHES[name]
    svg = ElementTree.fromstring(drawing(patch))
    texts = {t.text for t in svg.iter("{http://www.w3.org/2000/svg}text")}
    assert {n.name for n in patch.nodes} <= texts
    wires = list(svg.iter("{http://www.w3.org/2000/svg}path"))
    assert len(wires) == sum(len(n.inputs) + ("top" in n.pars) for n in patch.nodes)


def test_nothing_else_lies_in_the_tree():
    made = files()
    assert all(path.exists() for path in made)
