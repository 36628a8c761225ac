"""A beat from pulses: the times of clock pulses go in, the beat grid that they mean comes out.

For MIDI clock (24 pulses a beat, MIDI 1.0 Detailed Specification, "System Real Time" and "Song Position Pointer") and
for beats sent one by one (1 a beat). The tempo is the least-squares line through the last two beats' worth of pulses,
at least through :data:`FEWEST`, so that jitter of single pulses averages out.
"""

from collections import deque

import numpy as np

FEWEST = 4
NS = 1_000_000_000
LOWEST_BPM, HIGHEST_BPM = 20.0, 400.0


class PulseFollower:
    """Follows ``per_beat`` pulses a beat, in bars of ``beats_per_bar``."""

    def __init__(self, per_beat: int, beats_per_bar: int = 4) -> None:
        self._per_beat, self._beats_per_bar = per_beat, beats_per_bar
        self._times: deque[int] = deque(maxlen=max(2 * per_beat, 8))
        self._count = -1
        self._kept: int | None = None

    def start(self, beats_per_bar: int) -> None:
        """The next pulse is the first of a bar (MIDI start)."""
        self._times.clear()
        self._beats_per_bar, self._count, self._kept = beats_per_bar, -1, None

    def stop(self) -> None:
        """Keep the place in the song, to which the next pulse would have belonged (MIDI stop)."""
        self._kept = self._count + 1

    def resume(self) -> None:
        """The next pulse is at the place that was kept or located; without one, the count goes on (MIDI continue)."""
        if self._kept is not None:
            self._count, self._kept = self._kept - 1, None

    def locate(self, sixteenth: int) -> None:
        """Keep this place in the song, in sixteenths from its beginning, for the next resume (MIDI song position)."""
        self._kept = sixteenth * self._per_beat // 4

    def set_position(self, beat: int) -> None:
        """The pulse that came last is this beat of the bar."""
        self._count += (beat * self._per_beat - self._count) % (self._beats_per_bar * self._per_beat)

    def pulse(self, t_ns: int) -> tuple[int, float, int] | None:
        """Take a pulse; on a beat return its time (ns), the tempo (bpm) and its place in the bar, else None.

        A pulse that comes much later than it should begins anew: the clock was stopped.
        """
        if self._times and t_ns - self._times[-1] > 60 * NS / LOWEST_BPM / self._per_beat * 2:
            self._times.clear()
        self._times.append(t_ns)
        self._count += 1
        if self._count % self._per_beat or len(self._times) < FEWEST:
            return None
        times = np.array(self._times, float) - self._times[-1]
        period_ns, end_ns = np.polyfit(np.arange(1 - len(times), 1), times, 1)
        if period_ns <= 0.0:
            return None
        bpm = 60.0 * NS / (float(period_ns) * self._per_beat)
        if not LOWEST_BPM <= bpm <= HIGHEST_BPM:
            return None
        return self._times[-1] + round(float(end_ns)), bpm, self._count // self._per_beat % self._beats_per_bar
