"""Builds a patch inside TouchDesigner, or brings one up to date in place. Runs in its Python: standard library only.

What the performer has set stays: values of custom parameters, and whatever was added or set beside what a patch
declares. Operators that an older version of the patch had are removed; others are left alone.
"""

import td

TAG = "vjserver"
FAMILY_COLOURS = {"TOP": (0.38, 0.28, 0.55), "CHOP": (0.3, 0.5, 0.3), "DAT": (0.45, 0.36, 0.3), "COMP": (0.4, 0.4, 0.4)}


def build(patch, parent):
    """Build ``patch`` (a dictionary, see ``patches.py``) inside ``parent``; return its component."""
    name = "vjserver_" + patch["name"]
    comp = parent.op(name) or parent.create(td.baseCOMP, name)
    comp.comment = patch["title"] + ": " + patch["doc"]
    for title, pars in patch["pages"].items():
        page = next((p for p in comp.customPages if p.name == title), None) or comp.appendCustomPage(title)
        for par in pars:
            set_up(comp, page, par)
    nodes = {node["name"]: node for node in patch["nodes"]}
    for old in list(comp.children):
        if TAG in old.tags and (old.name not in nodes or nodes[old.name]["kind"] != old.OPType):
            old.destroy()
    for node in nodes.values():
        place(comp, node)
    for node in nodes.values():
        wire(comp, node)
        adjust(comp.op(node["name"]), node)
    return comp


def set_up(comp, page, declared):
    """Make a custom parameter, or bring it up to date without touching its value."""
    name, style = declared["name"], declared["style"]
    par = getattr(comp.par, name, None)
    kept = None
    if par is not None and par.style != style:
        kept = par.eval()
        par.destroy()
        par = None
    made = par is None
    if made:
        par = getattr(page, "append" + style)(name, label=declared["label"])[0]
    par.label = declared["label"]
    par.help = declared["help"]
    if style == "Menu":
        par.menuNames = [row[0] for row in declared["menu"]]
        par.menuLabels = [row[1] for row in declared["menu"]]
    if style in ("Float", "Int"):
        par.min = par.normMin = declared["low"]
        par.max = par.normMax = declared["high"]
        par.clampMin = par.clampMax = True
    if style not in ("Pulse", "Momentary"):
        par.default = declared["default"]
        if made:
            par.val = declared["default"]
        if kept is not None and style != "Menu":
            par.val = kept
    par.readOnly = declared["read_only"]


def place(comp, node):
    """Make an operator where it is missing, and put it in its place."""
    made = comp.op(node["name"])
    fresh = made is None
    if fresh:
        made = comp.create(getattr(td, node["kind"]), node["name"])
        made.tags.add(TAG)
        made.nodeX, made.nodeY = node["x"], node["y"]
        made.color = FAMILY_COLOURS[made.family]
    made.comment = node["note"]
    if node["text"] and (fresh or not node["yours"]):
        made.text = node["text"]


def wire(comp, node):
    """Connect an operator's inputs, and no others."""
    made = comp.op(node["name"])
    for i, name in enumerate(node["inputs"]):
        connector = made.inputConnectors[i]
        source = comp.op(name).outputConnectors[0]
        present = connector.connections
        if not (present and present[0].owner.name == name):
            connector.disconnect()
            source.connect(connector)


def adjust(made, node):
    """Set the parameters that the patch declares; others stay as they are."""
    for name, value in node["pars"].items():
        setattr(made.par, name, value)
    for name, expression in node["exprs"].items():
        getattr(made.par, name).expr = expression


def vjserver_patch(name="starter", parent=None):
    """Build the patch ``name`` inside ``parent`` (``/project1``, or the root); return its component."""
    if name not in PATCHES:
        raise ValueError("there is no patch {!r}; there are: {}".format(name, ", ".join(PATCHES)))
    parent = parent or td.op("/project1") or td.root
    comp = build(PATCHES[name], parent)
    print("vjserver: {} is ready at {}".format(PATCHES[name]["title"], comp.path))
    return comp
