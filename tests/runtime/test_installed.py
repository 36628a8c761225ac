"""What is installed: infos of packages that are only laid on the path, good and bad, each asked in a fresh process."""

import json
import os
import subprocess
import sys

import pytest

ASK = """
import json
from vjserver.runtime import installed as i
i.DESCRIBING_S = {limit}
r = i.installed()
heavy = [name for name in ("numba", "torch", "heavy_thing") if name in __import__("sys").modules]
print(json.dumps({{"kinds": list(r.infos), "faults": r.faults, "heavy": heavy, "knobs": sorted(r.parameters),
                  "models": [k for k, info in r.infos.items() if info.takes_model],
                  "images": [k for k, info in r.infos.items() if info.accepts_image]}}))
"""
GENERATOR = (
    "class Options:\n    model_fields = {'model': 1}\nclass G:\n    Options = Options\n    takes_pictures = True\n"
)
INFO = "from vjserver.types.knobs import GeneratorInfo, Parameter\nINFO = GeneratorInfo({})\n"


def lay(folder, name, module, points, version="1.0"):
    """Lay a distribution on the path: a module, and its entry points."""
    (folder / f"{name}.py").write_text(module)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    rows = "".join(f"[vjserver.{group}]\n{kind} = {name}:{what}\n" for group, kind, what in points)
    (info / "entry_points.txt").write_text(rows)


def asked(folder, limit=20.0):
    env = {**os.environ, "PYTHONPATH": str(folder), "VJSERVER_DATA": str(folder / "data")}
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(limit=limit)], capture_output=True, text=True, env=env, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def both(kind):
    return [("generators", kind, "G"), ("generator_info", kind, "INFO")]


def test_ours_are_known_without_anything_heavy(tmp_path):
    found = asked(tmp_path)
    assert found["kinds"] == ["diffusion", "gan", "paint", "pattern", "shot", "still"]
    assert (found["heavy"], found["faults"]) == ([], [])


def test_an_info_is_read_and_its_generator_is_not_imported(tmp_path):
    lay(tmp_path, "thing", INFO.format("'waves', (Parameter('height'),), takes_model=True"),
        [("generators", "waves", "G"), ("generator_info", "waves", "INFO")])  # fmt: skip
    found = asked(tmp_path)
    assert "waves/height" in found["knobs"]
    assert found["models"] == ["diffusion", "gan", "paint", "shot", "still", "waves"]
    assert found["faults"] == []


def test_one_without_an_info_is_asked_once_by_a_process_of_its_own(tmp_path):
    lay(tmp_path, "heavy_thing", f"open({str(tmp_path / 'imports')!r}, 'a').write('x')\n{GENERATOR}",
        [("generators", "heavy", "G")])  # fmt: skip
    for _ in range(2):
        found = asked(tmp_path)
        assert found["heavy"] == []
        assert "heavy" in found["models"]
        assert "heavy" in found["images"]
    assert (tmp_path / "imports").read_text() == "x"


def test_an_info_on_the_class_is_as_good(tmp_path):
    lay(tmp_path, "thing", INFO.format("'waves', (Parameter('height'),)") + GENERATOR + "G.INFO = INFO\n",
        [("generators", "waves", "G")])  # fmt: skip
    assert "waves/height" in asked(tmp_path)["knobs"]


@pytest.mark.parametrize(
    ("module", "points", "says"),
    [
        ("raise RuntimeError('no')", both("waves"), "waves: its info cannot be loaded: RuntimeError: no"),
        ("raise SystemExit(3)", both("waves"), "waves: its info cannot be loaded: SystemExit"),
        ("INFO = 5", both("waves"), "waves: its info is a GeneratorInfo of the kind 'waves': got 5"),
        (INFO.format("'other'"), both("waves"), "waves: its info is a GeneratorInfo of the kind 'waves'"),
        (INFO.format("'waves', (Parameter('Height'),)"), both("waves"), "a name is a-z, 0-9 and _"),
        (INFO.format("'waves', (Parameter('height', 1.0, 0.0),)"), both("waves"), "low < high"),
        (INFO.format("'waves', (Parameter('raw'),)"), both("waves"), "no knob may be called inc, raw, reset"),
        (INFO.format("'waves', tuple(Parameter(f'k{i}') for i in range(65))"), both("waves"), "at most 64 knobs"),
        (INFO.format("'waves', uses=('zom',)"), both("waves"), "it uses a common knob that is none: 'zom'"),
        (INFO.format("'steps'"), both("steps"), "the kind 'steps' is the name of something else"),
        (INFO.format("'zoom'"), both("zoom"), "the kind 'zoom' is the name of something else"),
        (INFO.format("'waves', ('height',)"), both("waves"), "parameters makes no sense: got ('height',)"),
        (INFO.format("'waves', None"), both("waves"), "parameters makes no sense: got None"),
        (INFO.format("'waves', uses=None"), both("waves"), "uses makes no sense"),
        (INFO.format("'waves', aliases={1: 'a'}"), both("waves"), "aliases makes no sense"),
        (INFO.format("'waves', (Parameter('a', -1e308, 1e308),)"), both("waves"), "low and high are within 1e30"),
        (INFO.format("'waves', (Parameter('a', doc=lambda: 1),)"), both("waves"), "unit, doc and group are texts"),
        ("import os; os._exit(6)", both("waves"), "waves: it cannot be asked what it has: exit code 6"),
        ("while True: pass", both("waves"), "waves: it did not say within 2 s what it has"),
        ("raise RuntimeError('no torch')", [("generators", "waves", "G")], "cannot be loaded: RuntimeError: no torch"),
        ("import time; time.sleep(60)", [("generators", "waves", "G")], "waves: it did not say within 2 s what it has"),
    ],
)
def test_what_a_stranger_gets_wrong_costs_its_knobs_and_is_told(tmp_path, module, points, says):
    lay(tmp_path, "thing", module, points)
    found = asked(tmp_path, limit=2.0)
    assert says in "; ".join(found["faults"])
    assert points[0][1] in found["kinds"], "it may still play"
    assert not [key for key in found["knobs"] if key.startswith(f"{points[0][1]}/")]
    assert "diffusion/steps" in found["knobs"]


def test_what_an_info_prints_is_not_taken_for_it_and_an_edited_one_is_asked_again(tmp_path):
    text = INFO.format("'waves', (Parameter('{}'),)")
    lay(tmp_path, "thing", "print('hello')\n" + text.format("height"), both("waves"))
    assert "waves/height" in asked(tmp_path)["knobs"]
    (tmp_path / "thing.py").write_text("print('hello')\n" + text.format("depth"))
    assert "waves/depth" in asked(tmp_path)["knobs"]


def test_a_preset_of_a_generator_whose_info_is_broken_is_kept_as_one_of_a_generator_that_is_not_here(tmp_path):
    lay(tmp_path, "thing", INFO.format("'waves', (Parameter('height', 1.0, 0.0),)"), both("waves"))
    preset = tmp_path / "p.toml"
    preset.write_text('name = "W"\ngenerator = "waves"\n[params.waves]\nheight = 0.5\n')
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "VJSERVER_DATA": str(tmp_path / "data")}
    line = [sys.executable, "-m", "vjserver", "presets", "check", str(preset)]
    done = subprocess.run(line, capture_output=True, text=True, env=env, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "waves has no knobs, for what it tells of itself makes no sense: 1 knob is kept as it is" in done.stdout


def test_of_two_strangers_with_one_kind_neither_is_taken_and_ours_stays_ours(tmp_path):
    for name in ("one", "two"):
        lay(tmp_path, name, INFO.format(f"'waves', (Parameter('{name}'),)") + GENERATOR, both("waves"))
    lay(tmp_path, "three", INFO.format("'pattern', (Parameter('stolen'),)") + GENERATOR, both("pattern"))
    found = asked(tmp_path)
    assert found["kinds"] == ["diffusion", "gan", "paint", "pattern", "shot", "still"]
    assert found["faults"] == [
        "pattern: three brings one of that kind too; ours is taken",
        "waves: one and two both bring one of that kind; neither is taken",
    ]
    assert not [key for key in found["knobs"] if "stolen" in key or key.startswith("waves/")]
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    line = (
        "from vjserver.ports import find\nprint(find('generators', 'pattern').__module__)\nfind('generators', 'waves')"
    )
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, env=env, timeout=60)
    assert done.stdout.startswith("vjserver.generators.pattern")
    assert "generator waves: one and two both bring one of that kind" in done.stderr
