"""Segmenter: how likely each 32 ms are speech goes in; where somebody begins and ends to speak comes out."""

from collections import deque
from dataclasses import dataclass

CHUNK = 512
"""Samples of 16 kHz that are judged at once (Silero VAD takes no other number)."""
CHUNK_S = CHUNK / 16_000


@dataclass(frozen=True, slots=True)
class SegmenterOptions:
    """``on``: so likely is speech; ``raised`` where the music itself has a voice; ``off`` ends it.

    ``hang_s``: so long a pause ends an utterance; one that has lasted ``long_s`` ends with half of it, and at
    ``longest_s`` it is cut where it was least like speech.
    """

    on: float = 0.5
    raised: float = 0.85
    off: float = 0.35
    hang_s: float = 0.45
    long_s: float = 8.0
    longest_s: float = 26.0


class Segmenter:
    """Follows one microphone."""

    def __init__(self, options: SegmenterOptions | None = None) -> None:
        self.o = options or SegmenterOptions()
        self.speaking = False
        self.raised = False
        """Whether more is asked of the microphone, because the music has a voice."""
        self._hits: deque[bool] = deque(maxlen=3)
        self._lasted_s = self._quiet_s = 0.0
        self._recent: deque[float] = deque(maxlen=round(2.0 / CHUNK_S))

    @property
    def quiet_s(self) -> float:
        """How long the pause has lasted so far."""
        return self._quiet_s

    def hear(self, likely: float) -> str:
        """Take the next chunk; return ``begin`` or ``end`` where one falls here, ``cut`` where it went on too long."""
        on = self.o.raised if self.raised else self.o.on
        if not self.speaking:
            self._hits.append(likely > on)
            if sum(self._hits) >= 2:
                self._begin()
                return "begin"
            return ""
        self._lasted_s += CHUNK_S
        self._recent.append(likely)
        self._quiet_s = 0.0 if likely > self.o.off else self._quiet_s + CHUNK_S
        hang_s = self.o.hang_s if self._lasted_s < self.o.long_s else self.o.hang_s / 2
        if self._quiet_s >= hang_s:
            self.stop()
            return "end"
        if self._lasted_s >= self.o.longest_s:
            self._lasted_s = 0.0
            return "cut"
        return ""

    def _begin(self) -> None:
        self.speaking = True
        self._lasted_s = self._quiet_s = 0.0
        self._hits.clear()
        self._recent.clear()

    def least_like_speech(self) -> int:
        """Return how many chunks ago it was least like speech, within the last two seconds; at least 1."""
        recent = list(self._recent)
        at = min(range(len(recent)), key=recent.__getitem__, default=0)
        return max(1, len(recent) - at)

    def stop(self) -> None:
        """End the utterance, if there is one: it was ended by hand."""
        self.speaking = False
        self._quiet_s = 0.0
        self._hits.clear()
