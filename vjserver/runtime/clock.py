"""Clocks: what time it is and how to wait, live or offline; and the time of a sample that arrives in bursts."""

import threading
import time
from typing import Protocol

NS = 1_000_000_000


class Clock(Protocol):
    """Monotonic nanoseconds, the same in every process of this machine."""

    def now_ns(self) -> int:
        """Return the present."""

    def wall_ns(self) -> int:
        """Return the wall clock's time, nanoseconds since 1970."""

    def sleep_until(self, t_ns: int) -> None:
        """Return at ``t_ns``, or at once if that has passed."""


class LiveClock:
    """The machine's monotonic clock, at its finest.

    ``perf_counter`` is the same clock as ``monotonic`` on Linux and macOS; on Windows it ticks in 100 ns, where
    ``monotonic`` ticks in 15.6 ms before Python 3.13. It is one for all processes.
    """

    def now_ns(self) -> int:
        """Return the present."""
        return time.perf_counter_ns()

    def wall_ns(self) -> int:
        """Return the wall clock's time."""
        return time.time_ns()

    def sleep_until(self, t_ns: int) -> None:
        """Sleep until ``t_ns``."""
        wait_ns = t_ns - time.perf_counter_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / NS)


class ManualClock:
    """A clock that moves only when told, or when somebody would have waited: for offline work and tests."""

    def __init__(self, t_ns: int = 0) -> None:
        self._t_ns = t_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """Return the present."""
        return self._t_ns

    def wall_ns(self) -> int:
        """Return the present, as if the machine had started in 1970."""
        return self._t_ns

    def sleep_until(self, t_ns: int) -> None:
        """Jump to ``t_ns``."""
        with self._lock:
            self._t_ns = max(self._t_ns, t_ns)


class SampleClock:
    """Says when a block's last sample was heard, though blocks arrive late and in bursts.

    A block cannot arrive before it was heard, so the earliest arrivals tell the truth: the clock counts samples,
    steps back to any earlier arrival at once, drifts towards later ones slowly, and starts afresh after a gap.
    """

    DRIFT = 0.002
    GAP_NS = 200_000_000

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._last_ns: int | None = None

    def stamp(self, frames: int, arrived_ns: int) -> int:
        """Return the time of the last of ``frames`` samples that arrived at ``arrived_ns``."""
        if self._last_ns is None:
            self._last_ns = arrived_ns
            return arrived_ns
        expected_ns = self._last_ns + frames * NS // self._rate_hz
        late_ns = arrived_ns - expected_ns
        if late_ns > self.GAP_NS or late_ns <= 0:
            self._last_ns = max(arrived_ns, self._last_ns)
        else:
            self._last_ns = expected_ns + round(self.DRIFT * late_ns)
        return self._last_ns
