"""The table of processes: everything that is said of one stands in its row, and queues, statuses, supervision follow.

What each does, ``docs/architecture.md`` tells; a test holds the two against each other.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from vjserver.runtime.status import (
    ControlStatus,
    DeliverStatus,
    DisplayStatus,
    EarStatus,
    GenerateStatus,
    ListenStatus,
    Status,
)


class Role(NamedTuple):
    """A process of the server.

    ``patience_s`` is how long it may give no sign of life, 0 for as long as it likes. ``memories`` is what it leaves to
    the one that comes after it, bytes at most. ``shown`` says whether terminal and panel show its status. One that is
    ``understudied`` has a second process that stands by; one with a ``wish`` runs only while that is set.
    """

    name: str
    status: type[Status] = Status
    patience_s: float = 0.0
    memories: Mapping[str, int] = MappingProxyType({})
    shown: bool = True
    understudied: bool = False
    wish: int = 0


LISTEN = 1
"""The wish that speech is on (:meth:`Life.wish`)."""
STUDIO = 2
"""The wish for pictures of cards."""
ROLES = (
    Role("ear", EarStatus, 1.0, {"ear": 4096}, understudied=True),
    Role("deliver", DeliverStatus, 1.0, {"deliver": 4096}, understudied=True),
    Role("generate", GenerateStatus, 10.0),
    Role("control", ControlStatus, 2.0, {"control": 1 << 19, "history": 1 << 21}),
    Role("listen", ListenStatus, 3.0, wish=LISTEN),
    Role("studio", patience_s=10.0, shown=False, wish=STUDIO),
    Role("display", DisplayStatus, shown=False),
    Role("main", shown=False),
)
"""In the order in which they begin: nothing may wait longer than sound. ``main`` begins them, and watches."""
WORKERS = tuple(role.name for role in ROLES if role.shown)
EVERYBODY = tuple(role.name for role in ROLES)
MEMORIES = {name: size for role in ROLES for name, size in role.memories.items()}
