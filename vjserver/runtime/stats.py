"""Statistics of a running loop: times go in, medians, percentiles and rates come out."""

from collections import deque

import numpy as np

from vjserver.runtime.status import Latency


class Latencies:
    """The last 1,024 latencies of one kind."""

    def __init__(self) -> None:
        self._ms: deque[float] = deque(maxlen=1024)

    def add(self, since_ns: int, now_ns: int) -> None:
        """Take one latency, from cause to effect."""
        self._ms.append((now_ns - since_ns) * 1e-6)

    def summary(self) -> Latency | None:
        """Return the median and two percentiles, None before the first."""
        if not self._ms:
            return None
        p50, p95, p99 = np.percentile(list(self._ms), (50, 95, 99))
        return Latency(round(float(p50), 2), round(float(p95), 2), round(float(p99), 2))


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
