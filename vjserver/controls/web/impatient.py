"""The panel's HTTP, with less patience: connections that say nothing are closed, and nobody takes all the places.

uvicorn closes a connection that is idle after a request; one that never makes a request it would keep for ever.
"""

import asyncio
from collections import Counter
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

SILENCE_S = 10.0
MOST = 128
MOST_OF_A_HOST = 48


class Impatient(H11Protocol):
    """One connection. The head of a request has to be there whole within :data:`SILENCE_S`."""

    hosts: ClassVar[Counter[str]] = Counter()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection in, unless there are too many, or too many of the same machine."""
        super().connection_made(transport)
        self._alarm: asyncio.TimerHandle | None = None
        self._host = self.client[0] if self.client else ""
        self.hosts[self._host] += 1
        if self.hosts.total() > MOST or self.hosts[self._host] > MOST_OF_A_HOST:
            transport.close()
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out."""
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; as long as it is no whole request, time goes by."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._disarm()
        elif self._alarm is None and self.transport.get_protocol() is self:
            self._arm()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """Hand over to the WebSocket, which has pings of its own; surfaces are counted where they join."""
        self._leave()
        super().handle_websocket_upgrade(event)

    def _leave(self) -> None:
        self._disarm()
        self.hosts[self._host] -= 1
        if not self.hosts[self._host]:
            del self.hosts[self._host]

    def _arm(self) -> None:
        self._alarm = self.loop.call_later(SILENCE_S, self._give_up)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _give_up(self) -> None:
        self._alarm = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
