"""Statistics of a running loop: times go in, medians, percentiles and rates come out; and the slot they travel in."""

import os
from collections import deque
from typing import Any

import msgspec
import numpy as np

from vjserver.runtime.slot import SlotReader, SlotWriter

STATS_CAPACITY = 8192
STALE_NS = 1_500_000_000
"""A board is put up twice a second; one older than this is that of a process that hangs or fell."""


class Latencies:
    """The last 1,024 latencies of one kind."""

    def __init__(self) -> None:
        self._ms: deque[float] = deque(maxlen=1024)

    def add(self, since_ns: int, now_ns: int) -> None:
        """Take one latency, from cause to effect."""
        self._ms.append((now_ns - since_ns) * 1e-6)

    def summary(self) -> dict[str, float]:
        """Return ``{"p50", "p95", "p99"}`` in ms, empty before the first."""
        if not self._ms:
            return {}
        p50, p95, p99 = np.percentile(list(self._ms), (50, 95, 99))
        return {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "p99": round(float(p99), 2)}


class Rate:
    """Events a second over the last ``window_s`` seconds."""

    def __init__(self, window_s: float = 2.0) -> None:
        self._window_ns = round(window_s * 1e9)
        self._times: deque[int] = deque()

    def tick(self, now_ns: int) -> None:
        """Count one event at ``now_ns``."""
        self._times.append(now_ns)
        while self._times and self._times[0] < now_ns - self._window_ns:
            self._times.popleft()

    def per_second(self, now_ns: int) -> float:
        """Return the rate at ``now_ns``."""
        recent = [t for t in self._times if t >= now_ns - self._window_ns]
        if len(recent) < 2 or recent[-1] == recent[0]:
            return 0.0
        return round((len(recent) - 1) * 1e9 / (recent[-1] - recent[0]), 1)


class StatsWriter:
    """A worker's status board: a flat dictionary, replaced whole."""

    def __init__(self, name: str) -> None:
        self._slot = SlotWriter(name)

    def put(self, stats: dict[str, Any]) -> None:
        """Show ``stats``, and whose they are."""
        self._slot.put(msgspec.msgpack.encode({**stats, "pid": os.getpid()}))


class StatsReader:
    """Reads a worker's board; the last one stays."""

    def __init__(self, name: str) -> None:
        self._slot = SlotReader(name)
        self._stats: dict[str, Any] = {}

    def get(self) -> dict[str, Any]:
        """Return the newest board, empty before the first."""
        value = self._slot.get()
        if value is not None:
            self._stats = msgspec.msgpack.decode(value)
        return self._stats

    def fresh(self, now_ns: int) -> dict[str, Any]:
        """Return the newest board, empty where it is so old that its figures are no longer those of now.

        Who makes pictures that take seconds puts a board up as seldom.
        """
        board = self.get()
        oldest_ns = STALE_NS + round(3e6 * board.get("lookahead_ms", 0.0))
        return {} if now_ns - board.get("t_ns", 0) > oldest_ns else board
