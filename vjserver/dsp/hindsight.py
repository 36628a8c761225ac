from dataclasses import dataclass
@dataclass(frozen=True)
class Beats:
    times_s: tuple
    positions: tuple
    per_bar: tuple
    confidence: float = 1.0
class Frames:
    def add(self, *a): pass
def find_beats(frames, prior): return Beats((), (), ())
