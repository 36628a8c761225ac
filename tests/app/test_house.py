"""The house's own rules, where no linter holds them."""

import ast
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

from known import SHIPPED

import vjserver
from vjserver.app.workers import workers
from vjserver.runtime.roles import EVERYBODY, MEMORIES, ROLES, WORKERS
from vjserver.show.addresses import FALLBACK_GENERATOR
from vjserver.show.fields import SAVED, STORED, SWITCHES
from vjserver.show.preset import Preset
from vjserver.show.state import Look, ShowState

HOUSE = Path(vjserver.__file__).parent


def test_no_generator_is_called_by_its_name_outside_its_room_but_the_fallback():
    """What a generator is, its info says; who writes its kind out would have to be changed for a stranger's."""
    found: list[tuple[str, str]] = []
    for path in sorted(HOUSE.rglob("*.py")):
        where = path.relative_to(HOUSE).as_posix()
        if where.startswith("generators/") or where == "commands/doctor.py" or "node_modules" in where:
            continue
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        found += [(where, text) for text in texts if text in SHIPPED.infos]
    walks = ("latent/walks.py", "still")  # how a latent walks: not at all
    shot = ("documents/archive.py", "shot")  # Storyboarder's word for a board's number
    assert found == [shot, walks, ("show/addresses.py", FALLBACK_GENERATOR)]


def test_a_process_is_in_the_table_of_roles_and_in_the_table_of_what_it_does():
    plan = SimpleNamespace(show=SimpleNamespace(video=SimpleNamespace(standby=True)))
    begun = workers(plan, as_json=False, began_ns=0)
    assert {worker.name for worker in begun} | {"main"} == set(EVERYBODY)
    for worker in begun:
        module, function = worker.target.split(":")
        source = (HOUSE.parent / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        assert function in {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    assert set(WORKERS) == {"ear", "deliver", "generate", "control", "listen"}, "these tell how they are"
    assert set(MEMORIES) == {"control", "history", "ear", "deliver"}


def test_the_page_of_the_house_tells_of_each_process_what_the_table_of_roles_says():
    page = (HOUSE.parent / "docs/architecture.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")
    ]
    told = {row[0].strip("`"): row[1:3] for row in rows[: len(ROLES) - 1]}
    expected = {
        role.name: [
            "while" if role.wish else "always, and an understudy" if role.understudied else "always",
            f"{role.patience_s:g} s" if role.patience_s else "never",
        ]
        for role in ROLES
        if role.name != "main"
    }
    assert {name: [when.split(" ")[0] if when.startswith("while") else when, silent]
            for name, (when, silent) in told.items()} == expected  # fmt: skip
    assert list(told) == list(expected), "in the order in which they begin"


def test_the_page_of_the_house_names_every_module():
    """A newcomer looks for a file there: the lines of a room hold the names of its modules."""
    page = (HOUSE.parent / "docs/architecture.md").read_text(encoding="utf-8")
    plan = page[page.index("    cli  ") : page.index("What a word means here")]
    named: dict[str, set[str]] = {}
    room = ""
    for line in plan.splitlines():
        heads = re.match(r" {4}(?: {2})?((?:\w+/ )*\w+/?) {2,}", line)
        room = heads[1] if heads else room
        for one in room.split():
            named.setdefault(one.strip("/"), set()).update(re.findall(r"[a-z_0-9]+", line))
    for path in HOUSE.rglob("*.py"):
        if "node_modules" in path.parts or path.stem in ("__init__", "__main__") or path.parent == HOUSE:
            continue
        place = path.parent.name if path.parent.name in named else path.parent.parent.name
        assert path.stem in named[place], f"{path.relative_to(HOUSE)} is missing in docs/architecture.md"


def test_a_stored_field_is_there_where_its_row_says():
    whole = ShowState()
    for row in STORED:
        owner = whole
        for part in row.name.split("."):
            owner = getattr(owner, part)
    assert {name.split(".")[0] for name in SAVED} <= set(Preset.model_fields) & set(Look.__dataclass_fields__)
    assert SWITCHES == ("generator", "model", "input", "size"), "their order is a file format"
    assert set(Look.__dataclass_fields__) < set(ShowState.__dataclass_fields__)


def test_what_the_patches_are_made_from_is_in_the_package_too():
    """``vjserver touchdesigner`` makes them anew where it is installed, with the knobs of plug-ins."""
    project = tomllib.loads((HOUSE.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    globs = project["package-data"]["vjserver.touchdesigner"]
    there = HOUSE.parent / project["package-dir"]["vjserver.touchdesigner"]
    packed = {path for pattern in globs for path in there.glob(pattern)}
    assert {path for path in (there / "scripts").iterdir() if path.suffix == ".py"} <= packed
    packages = {path.parent.relative_to(HOUSE.parent).as_posix() for path in HOUSE.rglob("__init__.py")}
    assert {name.replace("/", ".") for name in packages} <= set(project["packages"])
