"""``python -m touchdesigner.generate``: ``patches`` become the builder, the ``.tox`` tree and a page with drawings.

With ``--check`` nothing is written; it fails if a file is not what it would be.
"""

import argparse
import struct
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from json import dumps
from pathlib import Path

from .patches import PATCHES, Node, Patch

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
STARTER = "starter"


def files() -> dict[Path, bytes]:
    """Return every generated file and what is in it."""
    made: dict[Path, bytes] = {HERE / "build_patch.py": build_patch().encode()}
    made |= {HERE / name: data for name, data in tox_tree().items()}
    made[DOCS / "touchdesigner-patches.md"] = page().encode()
    made |= {DOCS / "images" / f"patch-{p.name}.svg": drawing(p).encode() for p in PATCHES.values()}
    return made


# -- the builder -------------------------------------------------------------------------------------------------


def build_patch(declared: Mapping[str, Patch] = PATCHES) -> str:
    """Return the script that is run in TouchDesigner: the declared patches and the builder in one file."""
    builder = (HERE / "builder.py").read_text(encoding="utf-8")
    doc, _, rest = builder.partition('"""\n\n')
    shared: list[object] = []
    """Scripts and pages: most patches have the same, and each is written once."""

    def place(value: object) -> int:
        if value not in shared:
            shared.append(value)
        return shared.index(value)

    patches = {name: asdict(patch) for name, patch in declared.items()}
    for patch in patches.values():
        patch["pages"] = {title: place(page) for title, page in patch["pages"].items()}
        for node in patch["nodes"]:
            node["text"] = place(node["text"])
    return (
        f"{doc}\nMade by `python -m touchdesigner.generate`; do not edit. In the Textport:\n\n"
        "    exec(open('PATH/build_patch.py').read())              builds the starter\n"
        "    PATCH = 'two_decks'; exec(open('PATH/build_patch.py').read())    builds another\n"
        f'"""\n\nimport json\n\n{rest}\n\nSHARED = {_json(shared)}\n\nPATCHES = {_json(patches)}\n\n'
        "for patch in PATCHES.values():\n"
        '    patch["pages"] = {title: SHARED[place] for title, place in patch["pages"].items()}\n'
        '    for node in patch["nodes"]:\n'
        '        node["text"] = SHARED[node["text"]]\n\n'
        f'vjserver_patch(globals().get("PATCH", "{STARTER}"))\n'
    )


def _json(value: object) -> str:
    """Return Python that is ``value``, in lines that a text editor can show."""
    lines = textwrap.wrap(
        dumps(value, ensure_ascii=True), 110, break_long_words=True, drop_whitespace=False, break_on_hyphens=False
    )
    return "json.loads(\n" + "\n".join(f"    {line!r}" for line in lines) + "\n)"


# -- the .tox tree -----------------------------------------------------------------------------------------------

BOOT = '''"""Builds the vjserver patch beside this component once it is dropped into a project."""


def onCreate():
    build()


def onStart():
    build()


def build():
    boot = me.parent()
    count = len([c for c in boot.children if c.name.startswith("builder")])
    script = "".join(boot.op("builder%d" % i).text for i in range(1, count + 1))
    exec(script, {"PATCH": "starter"})
    boot.allowCooking = False
'''
PART = 30_000
"""A text DAT's length is told with two bytes by one source: longer scripts are given in parts."""


def tox_tree() -> dict[str, bytes]:
    """Return the text form of a small component that builds the starter: ``toecollapse vjserver.tox.toc``.

    Line ends are LF. The head of a ``.text`` file (five numbers of 32 bits and the length, big-endian, after ``2\\n*``)
    follows a public description; it was not tried with ``toecollapse``.
    """
    script = build_patch()
    parts = [script[i : i + PART] for i in range(0, len(script), PART)]
    tree: dict[str, bytes] = {
        ".build": b"version 099\nbuild 2023.11880\ntime Thu Jan 1 00:00:00 2026\nosname Windows\nosversion 10\n",
        "vjserver.n": _n("COMP:base", 0, 0),
        "vjserver/boot.n": _n("DAT:execute", 0, 0),
        "vjserver/boot.parm": b"?\nactive 0 on\nstart 0 on\ncreate 0 on\n?\n",
        "vjserver/boot.text": _text(BOOT),
    }
    for i, part in enumerate(parts, start=1):
        tree[f"vjserver/builder{i}.n"] = _n("DAT:text", 200, -130 * (i - 1))
        tree[f"vjserver/builder{i}.text"] = _text(part)
    toc = "# 4 0 0 0 1\n" + "".join(f"{name}\n" for name in tree)
    return {"vjserver.tox.toc": toc.encode()} | {f"vjserver.tox.dir/{name}": data for name, data in tree.items()}


def _n(kind: str, x: int, y: int) -> bytes:
    return f"{kind}\ntile {x} {y} 130 90\nflags =  parlanguage 0\ncolor 0.38 0.28 0.55 \nend\n".encode()


def _text(text: str) -> bytes:
    data = text.encode()
    return b"2\n*" + struct.pack(">6I", 1, 1, 1, 1, 2, len(data)) + data


# -- the page ----------------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 160, 60
COLOURS = {"TOP": "#6b4f9a", "CHOP": "#3f7d4a", "DAT": "#8a6a4f"}


def drawing(patch: Patch) -> str:
    """Return the network as SVG."""
    nodes = {node.name: node for node in patch.nodes}
    left, top = min(n.x for n in patch.nodes), max(n.y for n in patch.nodes)
    width = max(n.x for n in patch.nodes) - left + WIDTH + 40
    height = top - min(n.y for n in patch.nodes) + HEIGHT + 40

    def at(node: Node) -> tuple[int, int]:
        return node.x - left + 20, top - node.y + 20

    wires, boxes = [], []
    for node in patch.nodes:
        x, y = at(node)
        for i, name in enumerate(node.inputs):
            sx, sy = at(nodes[name])
            end = y + HEIGHT * (i + 1) / (len(node.inputs) + 1)
            bend = max(30.0, abs(x - sx - WIDTH) / 2)
            wires.append(
                f'<path d="M{sx + WIDTH} {sy + HEIGHT / 2:.0f} C{sx + WIDTH + bend:.0f} {sy + HEIGHT / 2:.0f} '
                f'{x - bend:.0f} {end:.0f} {x} {end:.0f}"/>'
            )
        if "top" in node.pars:
            tx, ty = at(nodes[str(node.pars["top"])])
            wires.append(f'<path class="b" d="M{tx} {ty + HEIGHT} C{tx} {ty + 130} {x} {y - 70} {x + 20} {y}"/>')
        colour = COLOURS[family(node.kind)]
        boxes.append(
            f'<g><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{colour}"/>'
            f'<text x="{x + 8}" y="{y + 20}" class="n">{escape(node.name)}</text>'
            f'<text x="{x + 8}" y="{y + 36}">{escape(node.kind)}</text>'
            f'<text x="{x + 8}" y="{y + 51}" class="o">{escape(node.note[:26])}</text></g>'
        )
    style = (
        "text{font:11px sans-serif;fill:#e8e2f4}.n{font-weight:bold;font-size:12px}.o{fill:#cbbfe2;font-size:9px}"
        "path{fill:none;stroke:#9a8cc0;stroke-width:2}.b{stroke-dasharray:5 4}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<style>{style}</style><rect width="100%" height="100%" fill="#1b1724"/>'
        f"{''.join(wires)}{''.join(boxes)}</svg>\n"
    )


def family(kind: str) -> str:
    """Return the family of an operator type: the capitals at its end."""
    return next(f for f in ("TOP", "CHOP", "DAT", "COMP") if kind.endswith(f))


def page() -> str:
    """Return the page that describes every patch, with its drawing, parameters and operators."""
    parts = [
        "# The patches\n",
        "After this page you know every parameter of the four patches, and which address each sends.",
        "",
        "Made by `python -m touchdesigner.generate` from `touchdesigner/patches.py`; do not edit. How to build and",
        "play them: [touchdesigner.md](touchdesigner.md).\n",
        "Each has the pages Connect, Prompt, Preset, Params, Master and Tempo; moving a parameter sends the OSC",
        "address beside it ([all addresses](osc.md)).\n",
    ]
    for patch in PATCHES.values():
        parts.append(f"## {patch.title} (`{patch.name}`)\n\n{patch.doc}\n")
        parts.append(f"![The network](images/patch-{patch.name}.svg)\n")
        parts += [_table(f"Page {title}", patch, title) for title in patch.pages if title not in SHARED]
    starter = PATCHES[STARTER]
    parts.append("## Pages that all have\n")
    parts += [_table(title, starter, title) for title in SHARED]
    return "\n".join(parts)


SHARED = ("Connect", "Prompt", "Preset", "Params", "Master", "Tempo")


def _table(heading: str, patch: Patch, title: str) -> str:
    rows = ["| parameter | kind | what it is | sends |", "|---|---|---|---|"]
    for par in patch.pages[title]:
        sends = f"`{' '.join((par.address, *(a.lstrip('=') for a in par.args)))}`" if par.address else ""
        what = par.help or par.label
        rows.append(f"| {par.name} | {par.style} | {what} | {sends} |")
    return f"### {heading}\n\n" + "\n".join(rows) + "\n"


def main() -> int:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(prog="touchdesigner.generate")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not up to date")
    args = parser.parse_args()
    made = files()
    known = {path.relative_to(HERE) for path in made if HERE in path.parents}
    tree = HERE / "vjserver.tox.dir"
    strays = [p for p in tree.rglob("*") if p.is_file() and p.relative_to(HERE) not in known]
    stale = [path for path, data in made.items() if not path.exists() or path.read_bytes() != data]
    if args.check:
        for path in (*stale, *strays):
            print(f"{path.relative_to(HERE.parent)} is not up to date; run: python -m touchdesigner.generate")
        return 1 if stale or strays else 0
    for path in strays:
        path.unlink()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made[path])
        print(path.relative_to(HERE.parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
