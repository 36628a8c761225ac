"""THE WIRING: the four processes, and what each is made of. Read this first.

    process   module          reads                          writes
    control   app.control     OSC, web, events of all        state, commands
    ear       app.ear         a source, commands             features, events, OSC triggers, the sound
    generate  app.generate    features, state, inputs        the frame rings
    deliver   app.deliver     the frame rings, state, sound  every output

Each module is imported in its own process only, so that none carries another's libraries.
"""

from dataclasses import dataclass

from vjserver.app.lan import Lan
from vjserver.app.show import Show
from vjserver.runtime.store import WORKERS, Channels
from vjserver.runtime.supervisor import Worker


@dataclass(frozen=True, slots=True)
class Plan:
    """What every worker is given: the show, the pipes, and the network that may play, if one was opened."""

    show: Show
    channels: Channels
    lan: Lan | None = None


def workers(plan: Plan) -> list[Worker]:
    """Return the table of processes. The ear starts first: nothing may wait longer than sound."""
    order = sorted(WORKERS, key=("ear", "deliver", "generate", "control").index)
    return [Worker(name, f"vjserver.app.{name}:main", (plan,)) for name in order]
