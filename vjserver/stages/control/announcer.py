"""The announcer: what works less well than it should goes in; terminal, log, listeners and panel are told of it."""

from collections import deque
from collections.abc import Callable

from vjserver.runtime import log
from vjserver.runtime.clock import NS, Clock
from vjserver.types.errors import ConfigError
from vjserver.types.events import Degraded
from vjserver.types.text import visible

MOST_FAULTS = 20
NOTED = 50
MOST_WHY = 400
"""Signs: what is wrong may come with a long text."""


class Announcer:
    """Tells what is degraded, and keeps it until it has recovered.

    ``put`` takes an event for the other processes, ``tell(address, *values)`` tells whoever listens by OSC.
    """

    def __init__(self, clock: Clock, put: Callable[[Degraded], object], tell: Callable[..., None]) -> None:
        self._clock, self._put, self._tell = clock, put, tell
        self.faults: dict[str, str] = {}
        """What is degraded now, and why."""
        self.notes: deque[tuple[int, str, str, str]] = deque(maxlen=NOTED)
        """What was announced, newest last: number, kind (error, ok or message), what, why."""
        self._noted = 0
        self._last_message_ns = -NS

    def announce(self, what: str, why: str, recovered: bool = False) -> None:
        """Tell the terminal, the panel and the listeners what works less well than it should, or works again."""
        event = Degraded(self._clock.now_ns(), what, why, recovered)
        self._put(event)
        self.hear(event)

    def recover(self, what: str, why: str) -> None:
        """Tell that something works again, if it was announced that it does not."""
        if what in self.faults:
            self.announce(what, why, recovered=True)

    def hear(self, event: Degraded) -> None:
        """Take note of what this process or another announced, and tell the listeners."""
        self.faults.pop(event.what, None)
        if not event.recovered:
            self.faults[event.what] = event.why
            while len(self.faults) > MOST_FAULTS:
                self.faults.pop(next(iter(self.faults)))
        kind = "ok" if event.recovered else "error"
        self._tell(f"/vj/status/{kind}", event.what, event.why)
        self.note(kind, event.what, event.why)

    def message(self, fault: str | ConfigError) -> None:
        """Tell what was wrong with a message, at most twice a second. It is put into words only then."""
        now_ns = self._clock.now_ns()
        if now_ns - self._last_message_ns > NS // 2:
            self._last_message_ns, why = now_ns, visible(str(fault)[:MOST_WHY])
            self._put(Degraded(now_ns, "message", why))
            self._tell("/vj/status/error", "message", why)
            self.note("message", "message", why)

    def note(self, kind: str, what: str, why: str) -> None:
        """Say something to the panel alone."""
        self._noted += 1
        self.notes.append((self._noted, kind, visible(what), visible(why)))


class Guard:
    """Does one thing after another, each for itself: one that fails is announced once, and the others go on."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        self._broken: set[str] = set()

    def __call__(self, name: str, action: Callable[[], None]) -> None:
        """Do something that is called ``name``."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whatever it is: the hands must stay on the show
            if name not in self._broken:
                self._broken.add(name)
                log.write_fault("control", f"{name} failed", error)
                self._announcer.announce(f"control {name}", f"{type(error).__name__}: {error}")
        else:
            if name in self._broken:
                self._broken.discard(name)
                self._announcer.announce(f"control {name}", "works again", recovered=True)
