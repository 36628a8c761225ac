"""Where in the bars a generator is: counted from its first frame, by the phase that the requests tell."""

from dataclasses import dataclass

from vjserver.types.frames import FrameRequest

METERS, EARLY = range(2, 9), 0.12
FREE_S = 2.0
"""How long a bar lasts where there is no tempo: as at 120 beats a minute."""


@dataclass(frozen=True, slots=True)
class Bars:
    """``whole`` bars since the first frame's own, and the ``phase`` in this one, 0..1; a bar has ``beats``.

    ``begun`` is the beat with which this bar began.
    """

    whole: int = 0
    phase: float = 0.0
    beats: int = 4
    begun: int = 0

    @property
    def position(self) -> float:
        """Bars since the beginning of the first frame's."""
        return self.whole + self.phase

    def moved(self, request: FrameRequest) -> "Bars":
        """Return where it is at a request. A beat that is set right may go back a little, also over a bar line."""
        if request.bpm <= 0.0:
            position = self.position + request.seconds / FREE_S
            return Bars(int(position), position - int(position))
        phase = min(max(request.bar_phase, 0.0), 1.0)
        turned = round(request.seconds / self.bar_s(request) - (phase - self.phase))  # what the phase does not tell
        beats, begun = self.beats, self.begun
        if turned:
            begins = turned == 1 and phase < EARLY  # else it is not known which beat the bar began with
            counted = request.beat_count - begun
            beats = counted if begins and begun and counted in METERS else beats
            begun = request.beat_count if begins else 0
        return Bars(max(0, self.whole + turned), phase, beats, begun)

    def bar_s(self, request: FrameRequest) -> float:
        """Return how long a bar lasts now, in seconds."""
        return self.beats * 60.0 / request.bpm if request.bpm > 0.0 else FREE_S


def beginning(request: FrameRequest) -> Bars:
    """Return where a first frame is."""
    return Bars(0, min(max(request.bar_phase, 0.0), 1.0) if request.bpm > 0.0 else 0.0)
