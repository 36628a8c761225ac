"""Status: what processes tell of themselves goes in; listeners, the status of control and the state are told of it."""

from collections.abc import Callable

from vjserver.controls.oscserver import OscServer
from vjserver.runtime.clock import NS
from vjserver.runtime.status import ControlStatus
from vjserver.show.desk import Desk
from vjserver.show.outputs import RECORD
from vjserver.stages.control.announcer import MOST_FAULTS, Announcer
from vjserver.stages.control.osc_publisher import OscPublisher
from vjserver.stages.control.pipes import Pipes

RECORD_PATIENCE_NS = 6 * NS
"""So long may a recording that is wanted not run: an encoder begins, a file is ended, a process is replaced."""


class Status:
    """Looks twice a second at how everybody is. ``stop_recording`` takes the wish for a recording back."""

    def __init__(
        self,
        pipes: Pipes,
        desk: Desk,
        server: OscServer,
        publisher: OscPublisher,
        announcer: Announcer,
        stop_recording: Callable[[], None],
    ) -> None:
        self._pipes, self._desk, self._server, self._publisher = pipes, desk, server, publisher
        self._announcer, self._stop_recording = announcer, stop_recording
        self._lost = 0
        self._turned_away: dict[str, int] = {}
        self._wrong_clocks: set[str] = set()
        self._recording_ns: int | None = None

    def look(self, now_ns: int, messages: int, refused: int) -> None:
        """Tell how everybody is; so many messages were taken and refused."""
        self._tell_lost()
        self._tell_flood()
        self._publisher.status(self._pipes.told, now_ns)
        server, state = self._server, self._desk.state
        self._pipes.status.put(
            ControlStatus(
                t_ns=now_ns,
                preset=state.preset_name,
                prompt=state.heaviest[:200],
                osc_received=server.received,
                messages=messages,
                refused=refused + server.refused,
                turned_away=server.flooded + server.denied,
            )
        )

    def _tell_lost(self) -> None:
        lost = sum(reader.lost for reader in self._pipes.others)
        if lost > self._lost:
            self._announcer.announce("events", f"{lost - self._lost} lost: this process was stopped for too long")
        else:
            self._announcer.recover("events", "none lost any more")
        self._lost = lost

    def _tell_flood(self) -> None:
        """Announce a flood, and who is turned away."""
        flood = "messages were left out: more came from one machine than [osc] most_per_s"
        stranger = "packets were not taken: they came from who is not in [osc] allow"
        for what, count, words in (
            ("osc flood", self._server.flooded, flood),
            ("osc stranger", self._server.denied, stranger),
        ):
            new = count - self._turned_away.get(what, 0)
            self._turned_away[what] = count
            if new:
                self._announcer.announce(what, f"{new} {words}")
            else:
                self._announcer.recover(what, "over")
        while self._server.wrong_clocks:
            host, ahead_s = self._server.wrong_clocks.popitem()
            if host not in self._wrong_clocks and len(self._wrong_clocks) < MOST_FAULTS:
                self._wrong_clocks.add(host)
                why = f"the clock of {host} is {ahead_s:.1f} s ahead of ours; its messages are taken at once"
                self._announcer.announce("osc clock", why)

    def record(self, wanted: bool, now_ns: int) -> None:
        """A recording is wanted from now on, or none any more."""
        self._recording_ns = now_ns if wanted else None

    def check_recording(self, now_ns: int) -> None:
        """Where the recording that the state speaks of does not run, say so there too."""
        if self._recording_ns is None:
            return
        told = self._pipes.told.deliver.get().outputs.get(RECORD)
        if told is not None and told.alive:
            self._recording_ns = now_ns
        elif now_ns - self._recording_ns > RECORD_PATIENCE_NS:
            self._recording_ns = None
            self._announcer.announce("record", "nothing is recorded: the recording could not go on")
            self._stop_recording()
