"""Undo: looks go in as they were before each change, and come back out, step by step."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vjserver.show.state import Look, ShowState, look_of
from vjserver.types.errors import ConfigError

STEPS = 100
TOGETHER_NS = 1_000_000_000  # what one hand does to one address within so short a time is one step


@dataclass(frozen=True, slots=True)
class HistoryMemory:
    """The steps that can be undone and done again, for who comes after."""

    past: tuple[Look, ...]
    future: tuple[Look, ...]


@dataclass(slots=True)
class History:
    """The looks before and after; at most :data:`STEPS` each."""

    _past: list[Look] = field(default_factory=list)
    _future: list[Look] = field(default_factory=list)
    _last: tuple[str, int] = ("", 0)

    def memory(self, most: int = STEPS) -> HistoryMemory:
        """What a successor has to know: the newest ``most`` steps."""
        return HistoryMemory(tuple(self._past[-most:]), tuple(self._future[-most:]))

    def resume(self, memory: HistoryMemory) -> None:
        """Go on where another left off."""
        self._past, self._future = list(memory.past), list(memory.future)

    def note(self, before: ShowState, address: str, t_ns: int) -> None:
        """Keep the look of the state ``before`` a change of ``address``; what was undone can be done again no more."""
        name, last_ns = self._last
        self._last = (address, t_ns)
        self._future.clear()
        if address == name and t_ns - last_ns < TOGETHER_NS and self._past:
            return
        self._past = [*self._past, look_of(before)][-STEPS:]

    def undo(self, now: Look) -> Look:
        """Return the look before the last change. Raises ConfigError where there is none."""
        if not self._past:
            raise ConfigError("/vj/undo: there is nothing to undo")
        return self._move(self._past, self._future, now)

    def redo(self, now: Look) -> Look:
        """Return the look that was undone last. Raises ConfigError where there is none."""
        if not self._future:
            raise ConfigError("/vj/redo: there is nothing to do again")
        return self._move(self._future, self._past, now)

    def _move(self, source: list[Look], target: list[Look], now: Look) -> Look:
        self._last = ("", 0)
        target.append(now)
        return source.pop()


def recalled(snapshots: Mapping[int, Look], number: int) -> Look:
    """Return the look that was stored under a number. Raises ConfigError, naming those that were."""
    if number not in snapshots:
        kept = ", ".join(str(n) for n in sorted(snapshots)) or "none"
        raise ConfigError(f"/vj/snapshot/recall: nothing was stored under {number}; stored: {kept}")
    return snapshots[number]
