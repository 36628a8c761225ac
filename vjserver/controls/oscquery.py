"""OSCQuery: the registry and present values go in; what a client may ask over HTTP comes out as JSON values.

Programs such as VDMX, MadMapper and Chataigne read the tree of addresses here, with types, ranges and values, and may
LISTEN to changes over a WebSocket. Format: OSCQuery Proposal, third revision (github.com/Vidvox/OSCQueryProposal).
"""

from collections.abc import Callable, Mapping
from typing import Any

from vjserver.show.addresses import CUE_GO, OUTPUTS, ArgumentSpec, Entry
from vjserver.show.registry import Registry
from vjserver.types.events import Argument

READ, WRITE, BOTH = 1, 2, 3
ATTRIBUTES = ("FULL_PATH", "CONTENTS", "TYPE", "ACCESS", "VALUE", "RANGE", "CLIPMODE", "UNIT", "DESCRIPTION", "TAGS",
              "CRITICAL")  # fmt: skip
_TAGS = {"float": "f", "int": "i", "bool": "T", "text": "s", "name": "s"}
Read = Callable[[str], Argument | None]
Json = dict[str, Any]


def host_info(name: str, osc_port: int) -> Json:
    """Return what HOST_INFO is answered with; OSC is taken where HTTP is."""
    extensions = dict.fromkeys((*ATTRIBUTES[2:], "LISTEN", "PATH_CHANGED"), True)
    return {
        "NAME": name,
        "OSC_PORT": osc_port,
        "OSC_TRANSPORT": "UDP",
        "EXTENSIONS": extensions,
    }


def tree(registry: Registry) -> Json:
    """Return all addresses as nested dictionaries, a leaf's entry under the empty name."""
    root: Json = {}
    for address, entry in (*OUTPUTS.items(), *registry.everything.items()):
        if address == CUE_GO:
            continue
        place = root
        for part in address.split("/")[1:]:
            place = place.setdefault(part, {})
        place[""] = entry
    return root


def node(path: str, read: Read, root: Json) -> Json | None:
    """Return the node at ``path`` of a :func:`tree` with everything below it, or None where there is none."""
    place = root
    for part in path.split("/"):
        if not part:
            continue
        if part not in place:
            return None
        place = place[part]
    return _described("/" + "/".join(filter(None, path.split("/"))), place, read)


def _described(path: str, place: dict[str, Any], read: Read) -> Json:
    entry: Entry | None = place.get("")
    row: Json = {"FULL_PATH": path, "ACCESS": 0}
    if entry is not None:
        row |= _leaf(entry, read)
        if entry.address != path:  # an address from before: programs that know it go on, new ones take the other
            row |= {"TAGS": [*row["TAGS"], "alias"], "DESCRIPTION": f"{row['DESCRIPTION']}; now {entry.address}"}
    names = [name for name in place if name]
    if names:
        row["CONTENTS"] = {name: _described(f"{path.rstrip('/')}/{name}", place[name], read) for name in names}
    return row


def _leaf(entry: Entry, read: Read) -> Json:
    value = read(entry.address) if entry.kind != "output" else None
    access = READ if entry.kind == "output" else WRITE if value is None else BOTH
    row: Json = {"DESCRIPTION": entry.doc, "ACCESS": access, "TAGS": [entry.kind]}
    if entry.address in ("/vj/master/panic", "/vj/output/remove"):
        row["CRITICAL"] = True
    if not entry.arguments:
        return row | {"TYPE": "I"}  # an impulse
    row["TYPE"] = "".join("F" if a.type == "bool" and value is False else _TAGS[a.type] for a in entry.arguments)
    if isinstance(value, int) and not isinstance(value, bool) and entry.arguments[0].type == "name":
        row["TYPE"] = "i" + row["TYPE"][1:]
    if value is not None:
        row["VALUE"] = [value, *(None for _ in entry.arguments[1:])]
    row["RANGE"] = [_range(a, entry) for a in entry.arguments]
    row["CLIPMODE"] = ["both" if a.type in ("float", "int") else "none" for a in entry.arguments]
    units = [a.unit for a in entry.arguments]
    if any(units):
        row["UNIT"] = units
    return row


def _range(argument: ArgumentSpec, entry: Entry) -> Json | None:
    if entry.choices:
        return {"VALS": list(entry.choices)}
    if argument.type in ("float", "int"):
        return {"MIN": argument.low, "MAX": argument.high}
    return None


def answer(path: str, attribute: str, read: Read, info: Json, root: Json) -> tuple[int, Mapping[str, Any] | None]:
    """Return HTTP status and JSON for a request.

    404 is for a path that is not there, 400 for an attribute that nobody knows, 204 for one that this node has not.
    """
    if attribute == "HOST_INFO":
        return 200, info
    found = node(path, read, root)
    if found is None:
        return 404, None
    if not attribute:
        return 200, found
    if attribute not in ATTRIBUTES:
        return 400, None
    return (200, {attribute: found[attribute]}) if attribute in found else (204, None)
