"""THE WIRING: the processes, and what each is made of. Read this first.

    process   module          reads                          writes
    control   app.control     OSC, web, events of all        state, commands
    ear       app.ear         a source, commands             features, events, OSC triggers, the sound
    generate  app.generate    features, state, inputs        the frame rings
    listen    app.listen      a microphone, the page's talk  what was said
    studio    app.studio      what cards want              pictures of cards
    deliver   app.deliver     the frame rings, state, sound  every output
    display   app.display     events and boards of all       the terminal, the log

Each module is imported in its own process only, so that none carries another's libraries. ``ear`` and ``deliver`` have
understudies: second processes that have done everything but begin.
"""

from dataclasses import dataclass

from vjserver.app.lan import Lan
from vjserver.app.show import Show
from vjserver.runtime.store import Channels
from vjserver.runtime.supervisor import Worker
from vjserver.show.registry import Registry
from vjserver.show.state import ShowState

LISTEN = 1
"""The wish that speech is on (:meth:`Life.wish`)."""
STUDIO = 2
"""The wish for pictures of cards."""


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
    """Return the table of processes. The ear starts first: nothing may wait longer than sound.

    The numbers are seconds without a sign of life after which a process is ended and started again. ``listen`` runs
    only while speech is on, ``studio`` only while cards want pictures.
    """
    both = plan.show.video.standby
    return [
        Worker("ear", "vjserver.app.ear:main", (plan,), 1.0, understudied=both),
        Worker("deliver", "vjserver.app.deliver:main", (plan,), 1.0, understudied=both),
        Worker("generate", "vjserver.app.generate:main", (plan,), 10.0),
        Worker("control", "vjserver.app.control:main", (plan,), 2.0),
        Worker("listen", "vjserver.app.listen:main", (plan,), 3.0, wish=LISTEN),
        Worker("studio", "vjserver.app.studio:main", (plan,), 10.0, wish=STUDIO),
        Worker("display", "vjserver.app.display:main", (plan, as_json, began_ns)),
    ]
