"""A worker's life, seen from inside: signs of life, wishes, and when to end."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from vjserver.runtime import shared

# Words of 64 bits: the first tells everybody to end, those behind it which workers are wished for that do not always
# run; then each process has a row.
ROWS, ROW = 64, 64
T_NS, PATIENCE_MS, LENGTH, TEXT = 0, 1, 2, 3
SEGMENT_SIZE = 8 * ROW * (ROWS + 1)
MOST_WHY = 8 * (ROW - TEXT)


class Life:
    """A process's own end of the shared memory: it gives signs of life there, and learns when to end or to begin."""

    def __init__(self, name: str, row: int, cue: Any = None) -> None:
        self._segment = shared.attach(name)
        self._at = ROW * (row + 1)
        self._cue = cue
        self.asked = False

    def stopped(self) -> bool:
        """Give a sign of life; tell whether to end."""
        words = self._segment.words
        words[self._at + T_NS] = time.perf_counter_ns()
        return self.asked or words[0] != 0

    def ask(self, *_: object) -> None:
        """Ask this process alone to end (it got a signal); it will be started again."""
        self.asked = True

    @contextlib.contextmanager
    def tolerate(self, seconds: float) -> Iterator[None]:
        """Ask to be let alone for up to ``seconds`` while the block runs: what it does takes long and cannot be cut."""
        words, before = self._segment.words, self._segment.words[self._at + PATIENCE_MS]
        words[self._at + PATIENCE_MS] = max(before, round(seconds * 1e3))
        self.stopped()
        try:
            yield
        finally:
            self.stopped()
            words[self._at + PATIENCE_MS] = before

    def wish(self, number: int, on: bool) -> None:
        """Say whether the worker of that wish is to run."""
        self._segment.words[number] = int(on)

    def usually_takes(self, seconds: float) -> None:
        """Say that a sign of life may come so late from now on; 0 goes back to what the supervisor expects."""
        self._segment.words[self._at + PATIENCE_MS] = round(seconds * 1e3)

    @property
    def stands_by(self) -> bool:
        """Whether this process is an understudy, which has time to get everything ready before it begins."""
        return self._cue is not None

    def wait_for_cue(self) -> bool:
        """Return True once this process is to play, at once if it is no understudy; False where it is to end."""
        while not self.stopped():
            if self._cue is None:
                return True
            try:
                if self._cue.poll(0.25):
                    return bool(self._cue.recv())
            except (EOFError, OSError):  # the supervisor is gone
                return False
        return False

    def leave_word(self, why: str) -> None:
        """Leave the reason of a fall where the supervisor finds it."""
        data = why.encode("utf-8", "replace")[:MOST_WHY]
        start = 8 * (self._at + TEXT)
        self._segment.data[start : start + len(data)] = data
        self._segment.words[self._at + LENGTH] = len(data)


def newest_sign(segment: shared.Segment) -> int:
    """Return when the last sign of life was given in a segment, ns."""
    return max(int(segment.words[ROW * (row + 1) + T_NS]) for row in range(ROWS))
