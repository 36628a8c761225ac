"""Takes: what was played goes in and becomes lines of JSON; such lines go in and become what is to be played again.

The first line is the state in which the take began; each other line is one accepted message: ``t_ns`` (since the
take's begin), ``address``, ``args``. A ``score`` is written, not recorded: its messages may say ``beat`` instead of
``t_ns``, counted from the first beat after the begin, and while it plays the triggers, the autopilot and the follow
times of cues run, which a recorded take holds already.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from vjserver.show.registry import Registry
from vjserver.show.state import Look, ShowState, settled, settled_look
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument

VERSION = 1
MOST_BEATS = 1e6
# What belongs to the room and not to the performance stays as it is when a take is played.
_OURS = ("outputs", "take", "sync", "deliver", "sound")
_NOT_SCORED = (*_OURS, "t_ns", "revision", "glide")


class _Head(msgspec.Struct, omit_defaults=True):
    vjserver_take: int
    state: ShowState
    score: bool = False
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """A message as it took effect at ``t_ns``; with the ``look`` that it led to, where the state alone cannot tell.

    In a score it may take effect on a ``beat`` instead (2.5 is half a beat after the third).
    """

    t_ns: int = 0
    address: str = ""
    args: tuple[Argument, ...] = ()
    look: Look | None = None
    beat: float | None = None


@dataclass(frozen=True, slots=True)
class Take:
    """A take: where it began, and what was played, in order; times are ns since the begin.

    A score sets what its head ``names`` and leaves the rest. ``on_beats`` are the messages that wait for a beat.
    ``seed`` is what chance was drawn from, None where that was not written down. ``idle`` says what of it was left out,
    because a generator is not installed.
    """

    state: ShowState
    rows: tuple[Played, ...]
    idle: str = ""
    score: bool = False
    seed: int | None = None
    on_beats: tuple[Played, ...] = ()
    names: tuple[str, ...] = ()

    def begin(self, now: ShowState) -> ShowState:
        """Return the state in which it is played again, where the show is ``now``."""
        if self.score:
            named: dict[str, Any] = {name: getattr(self.state, name) for name in self.names if name not in _NOT_SCORED}
            if "params" in named:
                named["params"] = {**now.params, **named["params"]}
            return replace(now, **named, revision=now.revision + 1, glide=None)
        kept = {name: getattr(now, name) for name in _OURS}
        shift_ns = now.t_ns - self.state.t_ns
        glide = self.state.glide
        moved = replace(glide, t_ns=glide.t_ns + shift_ns) if glide is not None else None
        return replace(self.state, t_ns=now.t_ns, revision=now.revision + 1, glide=moved, **kept)


def head(state: ShowState, seed: int | None = None, score: bool = False) -> bytes:
    """Return a take's first line."""
    return msgspec.json.encode(_Head(VERSION, state, score, seed)) + b"\n"


def line(row: Played, began_ns: int) -> bytes:
    """Return the line of a message of a take that began at ``began_ns``."""
    return msgspec.json.encode(replace(row, t_ns=row.t_ns - began_ns)) + b"\n"


def parse(lines: Iterable[bytes], where: str, registry: Registry) -> Take:
    """Read a take, as what there is now understands it; a torn last line is left out.

    Raises ConfigError with the file (``where``) and the line.
    """
    rows = [row for row in lines if row.strip()]
    try:
        first = msgspec.json.decode(rows[0], type=_Head)
    except IndexError:
        raise ConfigError(f"{where}:1: not the beginning of a take: it is empty") from None
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{where}:1: not the beginning of a take: {error}") from None
    if first.vjserver_take != VERSION:
        raise ConfigError(f"{where}:1: a take of version {VERSION} is needed: got {first.vjserver_take}")
    played = []
    lost: dict[str, int] = {}
    for number, row in enumerate(rows[1:], 2):
        try:
            one = msgspec.json.decode(row, type=Played)
            absent = registry.absent(one.address)
            if absent:
                lost[absent] = lost.get(absent, 0) + 1
                continue
            address, args = registry.accept(one.address, one.args)
            look = settled_look(one.look, registry) if one.look is not None else None
            if one.beat is not None and not (first.score and 0.0 <= one.beat < MOST_BEATS):
                raise ConfigError(f"a beat is in 0..{MOST_BEATS:g}, and only in a score: got {one.beat}")
            played.append(replace(one, address=address, args=args, look=look))
        except (msgspec.DecodeError, msgspec.ValidationError, ConfigError) as error:
            if number == len(rows) and not row.endswith(b"\n"):
                break
            raise ConfigError(f"{where}:{number}: {error}") from None
    idle = "; ".join(f"{kind} is not installed: {count} left out" for kind, count in lost.items())
    timed = sorted((row for row in played if row.beat is None), key=lambda row: row.t_ns)
    on_beats = sorted((row for row in played if row.beat is not None), key=lambda row: row.beat or 0.0)
    given = msgspec.json.decode(rows[0])["state"]
    params = {registry.aliases.get(name, name) for name in given.get("params", ())}
    state = settled(first.state, registry)
    if first.score:
        state = replace(state, params={name: value for name, value in state.params.items() if name in params})
    names = tuple(name for name in given if name in ShowState.__dataclass_fields__)
    return Take(state, tuple(timed), idle, first.score, first.seed, tuple(on_beats), names)
