"""What is installed: the generators' infos, gathered from entry points into a registry, without importing a generator.

An info is an object under the entry point ``vjserver.generator_info``. A generator without one is imported once, in a
process of its own that may take its time, and what it told is kept.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

import msgspec

from vjserver.ports import OURS, clashes, doors, find
from vjserver.runtime.files import data_folder, write_whole
from vjserver.show.addresses import COMMON
from vjserver.show.registry import Registry
from vjserver.types.errors import ConfigError, VJError
from vjserver.types.knobs import GeneratorInfo

DESCRIBING_S = 20.0


@cache
def installed() -> Registry:
    """Return the registry of all that is installed; what a stranger's package got wrong is in its ``faults``."""
    infos, faults = [], list(clashes("generators"))
    for kind, point in _in_order():
        try:
            infos.append(_info_of(kind, point))
        except VJError as error:
            faults.append(f"{kind}: {error}; it has no knobs of its own")
            infos.append(GeneratorInfo(kind, uses=tuple(COMMON), source=source_of(point)))
    return Registry(infos, faults)


@cache
def shipped() -> Registry:
    """Return the registry of what comes with us: the same on every machine."""
    return Registry(_info_of(kind, point) for kind, point in _in_order() if _distribution(point)[0] == OURS)


def _in_order() -> Iterator[tuple[str, EntryPoint]]:
    """Yield every generator, ours first: a stranger cannot take a name of ours."""
    rows = sorted(doors("generators").items(), key=lambda row: (_distribution(row[1])[0] != OURS, row[0]))
    return iter(rows)


def _distribution(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist is not None else ("", "")


def source_of(point: EntryPoint) -> str:
    """Return who brings an entry point, and in which version."""
    return " ".join(filter(None, _distribution(point))) or point.value


def _info_of(kind: str, point: EntryPoint) -> GeneratorInfo:
    """Return a generator's info. Raises VJError for one that is none, or that cannot be had."""
    told = doors("generator_info").get(kind)
    if told is None:
        return _described(kind, point)
    try:
        info = told.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's module may raise anything: it costs its knobs
        raise VJError(f"its info cannot be loaded: {type(error).__name__}: {str(error)[:200]}") from None
    if not isinstance(info, GeneratorInfo) or info.kind != kind:
        raise VJError(f"its info is a GeneratorInfo of the kind {kind!r}: got {str(info)[:80]}")
    return replace(info, source=source_of(point))


# -- a generator without an info -----------------------------------------------------------------------------


def _described(kind: str, point: EntryPoint) -> GeneratorInfo:
    """Return what a generator's class tells, read by a process of its own; it is kept for the version."""
    path, key = data_folder() / "described.json", f"{source_of(point)}: {kind}"
    known = _known(path)
    if key in known:
        return known[key]
    line = [sys.executable, "-m", "vjserver.runtime.installed", kind]
    try:
        done = subprocess.run(line, capture_output=True, timeout=DESCRIBING_S)
        if done.returncode:
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no reason given"]
            raise VJError(f"it cannot be asked what it has: {last[0][:200]}")
        info = msgspec.json.decode(done.stdout.splitlines()[-1], type=GeneratorInfo)
    except subprocess.TimeoutExpired:
        raise VJError(f"it did not say within {DESCRIBING_S:g} s what it has") from None
    except (OSError, IndexError, msgspec.MsgspecError, ConfigError) as error:
        raise VJError(f"what it told makes no sense: {error}") from None
    info = replace(info, source=source_of(point))
    with contextlib.suppress(OSError):  # else it is asked again at the next start
        write_whole(path, msgspec.json.encode({**known, key: info}))
    return info


def _known(path: Path) -> dict[str, GeneratorInfo]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, GeneratorInfo])
    except (OSError, msgspec.MsgspecError, ConfigError):
        return {}


def describe(kind: str) -> GeneratorInfo:
    """Import a generator and return its ``INFO``, or what can be told of it without one. Raises VJError."""
    door = find("generators", kind)
    info = getattr(door, "INFO", None)
    if isinstance(info, GeneratorInfo) and info.kind == kind:
        return info
    options = getattr(door.Options, "model_fields", {})
    pictures = bool(getattr(door, "takes_pictures", False))
    return GeneratorInfo(kind, uses=tuple(COMMON), accepts_image=pictures, takes_model="model" in options)


if __name__ == "__main__":
    print(msgspec.json.encode(describe(sys.argv[1])).decode())
