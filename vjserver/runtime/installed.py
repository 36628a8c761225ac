"""What is installed: the generators' infos, gathered from entry points into a registry, without importing a generator.

An info is an object under the entry point ``vjserver.generator_info``; a generator without one is asked for its
``INFO``. What strangers tell is asked by a process of its own, which may hang, fall or print; it is kept until their
files change.
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
    infos, faults, knobless = [], list(clashes("generators")), []
    for kind, point in _in_order():
        try:
            infos.append(_info_of(kind, point))
        except VJError as error:
            faults.append(f"{kind}: {error}; its own knobs are left out")
            infos.append(GeneratorInfo(kind, uses=tuple(COMMON), source=source_of(point)))
            knobless.append(kind)
    return Registry(infos, faults, knobless)


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
    if told is not None and _distribution(point)[0] == OURS:
        return replace(_loaded(kind, told), source=source_of(point))
    return replace(_described(kind, point), source=source_of(point))


def _loaded(kind: str, point: EntryPoint) -> GeneratorInfo:
    try:
        info = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's module may raise anything: it costs its knobs
        why = str(error) if isinstance(error, VJError) else f"{type(error).__name__}: {str(error)[:200]}"
        raise VJError(f"its info cannot be loaded: {why}") from None
    if not isinstance(info, GeneratorInfo) or info.kind != kind:
        raise VJError(f"its info is a GeneratorInfo of the kind {kind!r}: got {str(info)[:80]}")
    return info


# -- a stranger's --------------------------------------------------------------------------------------------


class _Told(msgspec.Struct):
    """What a generator told, or what was wrong with it."""

    info: GeneratorInfo | None = None
    fault: str = ""


def _described(kind: str, point: EntryPoint) -> GeneratorInfo:
    """Return what a stranger's generator tells, asked by a process of its own, which may hang, fall or print.

    It is kept for the version and the files that told it; a fault is not, since its cause may be elsewhere.
    """
    path, mark = data_folder() / "described.json", _mark(kind, point)
    known = _known(path)
    told = known.get(mark) if mark else None
    if told is None:
        told = _asked(kind)
        with contextlib.suppress(OSError):  # else it is asked again at the next start, as after a fault
            if mark and told.info is not None:
                write_whole(path, msgspec.json.encode({**known, mark: told}))
    if told.info is None:
        raise VJError(told.fault)
    return told.info


def _mark(kind: str, point: EntryPoint) -> str:
    """Return what changes when a generator's files do; an empty text where they cannot be found."""
    marks = []
    for one in (doors("generator_info").get(kind), point):
        if one is None or one.dist is None:
            continue
        place = Path(str(one.dist.locate_file(one.module.replace(".", "/"))))
        files = [file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()]
        if not files:
            return ""
        marks.append(str(files[0].stat().st_mtime_ns))
    return f"{source_of(point)}: {kind} {' '.join(marks)}"


def _asked(kind: str) -> _Told:
    line = [sys.executable, "-m", "vjserver.runtime.installed", kind]
    try:
        done = subprocess.run(line, capture_output=True, timeout=DESCRIBING_S)
        if done.returncode:
            last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            return _Told(fault=f"it cannot be asked what it has: {last[0][:300]}")
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=_Told)
    except subprocess.TimeoutExpired:
        return _Told(fault=f"it did not say within {DESCRIBING_S:g} s what it has")
    except (OSError, IndexError, msgspec.MsgspecError, ConfigError) as error:
        return _Told(fault=f"what it told makes no sense: {error}")


def _known(path: Path) -> dict[str, _Told]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, _Told])
    except (OSError, msgspec.MsgspecError, ConfigError):
        return {}


def describe(kind: str) -> GeneratorInfo:
    """Return a generator's info; without one its class is imported, and tells what it can. Raises VJError."""
    told = doors("generator_info").get(kind)
    if told is not None:
        return _loaded(kind, told)
    door = find("generators", kind)
    info = getattr(door, "INFO", None)
    if isinstance(info, GeneratorInfo) and info.kind == kind:
        return info
    options = getattr(door.Options, "model_fields", {})
    pictures = bool(getattr(door, "takes_pictures", False))
    return GeneratorInfo(kind, uses=tuple(COMMON), accepts_image=pictures, takes_model="model" in options)


if __name__ == "__main__":
    try:
        answer = _Told(describe(sys.argv[1]))
    except VJError as fault:
        answer = _Told(fault=str(fault))
    print(f"\n{msgspec.json.encode(answer).decode()}", flush=True)
