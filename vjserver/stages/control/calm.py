"""Calm states: the state goes in while all is well; where a process falls again and again, a calm one comes back."""

from collections import deque
from dataclasses import replace

from vjserver.runtime.clock import NS
from vjserver.runtime.status import GenerateStatus, StatusReader
from vjserver.show.looks import change_look
from vjserver.show.registry import Registry
from vjserver.show.state import LOOK, ShowState, look_of

CALM_NS, CALM_KEPT = 10 * NS, 5
CAUSES = {"deliver": ("outputs", "deliver"), "generate": LOOK, "ear": ("sync",), "listen": ("speech",)}
"""What of the state makes a process do what it does, and may be why it falls."""


class CalmStates:
    """Keeps states of the last ten seconds in which no process fell. ``pictures`` is what generate tells."""

    def __init__(self, registry: Registry, pictures: StatusReader[GenerateStatus]) -> None:
        self._registry, self._pictures = registry, pictures
        self._kept: deque[ShowState] = deque(maxlen=CALM_KEPT)
        self._fell_ns = -CALM_NS
        self._next_ns = 0

    def fell(self, t_ns: int) -> None:
        """A process fell."""
        self._fell_ns = t_ns

    def note(self, state: ShowState, now_ns: int) -> None:
        """Keep the state as it was while no process fell, and pictures came: one that hangs has not fallen yet."""
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + 2 * NS
            if now_ns - self._fell_ns > CALM_NS and (
                self._pictures.fresh(now_ns).known or not self._pictures.get().known
            ):
                self._kept.append(state)

    def taken_back(self, process: str, now: ShowState, now_ns: int) -> tuple[ShowState, str] | None:
        """Return the state with what may make a process fall as it was, and what that is.

        It is ``now`` and ``""`` where nothing has changed of late, None where no calm state is known.
        """
        if not self._kept:
            return None
        calm, fields = self._kept[0], CAUSES.get(process, ())
        changed = {field: getattr(calm, field) for field in fields if getattr(calm, field) != getattr(now, field)}
        if not changed:
            return now, ""
        if process == "generate":
            back = replace(change_look(now, now.t_ns, look_of(calm), 0.0, self._registry), glide=None)
            what = f"preset {calm.preset_name!r} as it was"
        else:
            back, what = replace(now, **changed), ", ".join(changed)
        return replace(back, t_ns=now_ns, revision=now.revision + 1), what
