"""THE WIRING: the processes, and what each is made of. Read this first.

    process   module          reads                          writes
    control   app.control     OSC, web, events of all        state, commands
    ear       app.ear         a source, commands             features, events, OSC triggers, the sound
    generate  app.generate    features, state, inputs        the frame rings
    listen    app.listen      a microphone, the page's talk  what was said
    studio    app.studio      what cards want              pictures of cards
    deliver   app.deliver     the frame rings, state, sound  every output
    display   app.display     events and statuses of all     the terminal, the log

Each module is imported in its own process only, so that none carries another's libraries. ``ear`` and ``deliver`` have
understudies: second processes that have done everything but begin.
"""

from dataclasses import dataclass

from vjserver.app.lan import Lan
from vjserver.app.show import Show
from vjserver.runtime.roles import ROLES
from vjserver.runtime.store import Channels
from vjserver.runtime.supervisor import Worker
from vjserver.show.registry import Registry
from vjserver.show.state import ShowState


@dataclass(frozen=True, slots=True)
class Plan:
    """What every worker is given: the show, the pipes, what there is to be played (gathered once, so that a process

    that is started again has the same), and the network that may play, if one was opened.
    """

    show: Show
    channels: Channels
    registry: Registry
    first: ShowState
    """The state in which the show begins: whoever starts before control has spoken begins with what is wanted."""
    lan: Lan | None = None
    token: str = ""
    """What the panel asks those for who come from elsewhere; empty where nobody can."""


def workers(plan: Plan, as_json: bool, began_ns: int) -> list[Worker]:
    """Return the processes that are begun, in their order, as :data:`ROLES` says of each."""
    standby = plan.show.video.standby
    return [
        Worker(
            role.name, f"vjserver.app.{role.name}:main",
            (plan, as_json, began_ns) if role.name == "display" else (plan,),
            role.patience_s, role.understudied and standby, role.wish,
        )
        for role in ROLES
        if role.name != "main"
    ]  # fmt: skip
