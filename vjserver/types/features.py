"""Features: what the ear knows about the sound at one moment, small enough to be handed over whole."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from vjserver.types.audio import Float32
from vjserver.types.events import DrumName

BAND_NAMES = ("sub", "bass", "lowmid", "mid", "high", "air")
DRUM_NAMES: tuple[DrumName, ...] = ("kick", "snare", "hat")
N_SPECTRUM = 32
PITCH_CLASSES = ("c", "c#", "d", "d#", "e", "f", "f#", "g", "g#", "a", "a#", "b")

# Scalars in the order in which they travel. One row is one feature that presets can name in `from`.
SCALARS = {
    "level": "loudness after gain, 0..1",
    "level_db": "loudness before gain, dBFS",
    "centroid": "brightness: centre of the spectrum on a log scale, 0..1",
    "flux": "how much the spectrum rises, 0..1",
    "pitch_hz": "strongest pitch, Hz; 0 where none is clear",
    "kick": "kick envelope, 1 at the hit, falling",
    "snare": "snare envelope, 1 at the hit, falling",
    "hat": "hat envelope, 1 at the hit, falling",
    "onset": "onset envelope, 1 at the onset, falling",
    "energy": "slow loudness over seconds, 0..1",
    "buildup": "how far a build-up has risen, 0..1",
    "break": "1 while the low end is away, else 0",
    "drop": "drop envelope, 1 at the drop, falling over seconds",
    "tonal_change": "how far the harmony has moved within the last second or two, 0..1",
    "silence": "1 while the room is silent, else 0",
    "peak": "peak of the input as it comes, 0..1 of full scale",
    "clip": "1 for a second after the input was cut off at full scale, else 0",
}


@dataclass(frozen=True, slots=True)
class BeatGrid:
    """Where the beats lie: beat ``count`` falls at ``t_ns`` and one follows every ``period_s``.

    ``bar_position`` is the place of that beat in its bar (0 is the downbeat) of ``beats_per_bar``.
    ``running`` is false before a tempo is known.
    """

    t_ns: int = 0
    count: int = 0
    period_s: float = 0.5
    bar_position: int = 0
    beats_per_bar: int = 4
    confidence: float = 0.0
    running: bool = False

    @property
    def bpm(self) -> float:
        """Beats a minute; 0 while no tempo is known."""
        return 60.0 / self.period_s if self.running else 0.0

    def beats_since(self, t_ns: int) -> float:
        """Beats (with their fraction) from the grid's beat to ``t_ns``; negative before it."""
        return (t_ns - self.t_ns) * 1e-9 / self.period_s

    def beat_phase(self, t_ns: int) -> float:
        """Return the phase within the beat, 0..1; 0 while no tempo is known."""
        return self.beats_since(t_ns) % 1.0 if self.running else 0.0

    def bar_phase(self, t_ns: int) -> float:
        """Return the phase within the bar, 0..1; 0 while no tempo is known."""
        if not self.running:
            return 0.0
        return (self.bar_position + self.beats_since(t_ns)) % self.beats_per_bar / self.beats_per_bar

    def count_at(self, t_ns: int) -> int:
        """Return the count of the newest beat at ``t_ns``."""
        return self.count + int(self.beats_since(t_ns) // 1.0)


STEMS = ("drums", "bass", "vocals", "other")


@dataclass(frozen=True, slots=True)
class Features:
    """The sound at ``t_ns``.

    ``scalars`` is float32 ``(len(SCALARS),)``; ``bands`` float32 ``(6,)`` and ``spectrum`` float32 ``(32,)`` are 0..1
    after gain; ``chroma`` float32 ``(12,)`` says how strong each pitch class is, C
    first, 0..1; ``grid`` says where the beats lie. ``stems`` are the features of single tracks of a film's song.
    """

    t_ns: int
    scalars: Float32
    bands: Float32
    spectrum: Float32
    chroma: Float32
    grid: BeatGrid
    stems: "Mapping[str, Features]" = field(default_factory=dict)
    speaking: float = 0.0
    """How surely somebody speaks into the microphone, 0..1."""
    voice: float = 0.0
    """How loud, 0..1."""

    def value(self, name: str, t_ns: int) -> float:
        """Return the feature called ``name`` as seen at ``t_ns``.

        Names are those of :data:`FEATURE_NAMES`. What hangs on the beat clock (phases, pulse) is that of ``t_ns``, so
        that a frame sees the phase of *its* time. Raises KeyError for any other name.
        """
        return READERS[name](self, t_ns)

    def stem(self, role: str) -> "Features":
        """Return the features of a single track, of the whole sound where there is no such track."""
        return self.stems.get(role, self)


def silent_features(t_ns: int) -> Features:
    """Return the features of silence at ``t_ns``: what every room holds before the ear has spoken."""
    scalars = np.zeros(len(SCALARS), np.float32)
    scalars[list(SCALARS).index("silence")] = 1.0
    scalars[list(SCALARS).index("level_db")] = -120.0
    return Features(
        t_ns, scalars, np.zeros(6, np.float32), np.zeros(N_SPECTRUM, np.float32), np.zeros(12, np.float32), BeatGrid()
    )


Reader = Callable[[Features, int], float]


def _scalar(i: int) -> Reader:
    return lambda f, _t: float(f.scalars[i])


def _band(i: int) -> Reader:
    return lambda f, _t: float(f.bands[i])


def _line(i: int) -> Reader:
    return lambda f, _t: float(f.spectrum[i])


def _class(i: int) -> Reader:
    return lambda f, _t: float(f.chroma[i])


READERS: dict[str, Reader] = {
    **{name: _scalar(i) for i, name in enumerate(SCALARS)},
    **{name: _band(i) for i, name in enumerate(BAND_NAMES)},
    **{f"spectrum/{i}": _line(i) for i in range(N_SPECTRUM)},
    **{f"chroma/{name}": _class(i) for i, name in enumerate(PITCH_CLASSES)},
    "beat_phase": lambda f, t: f.grid.beat_phase(t),
    "bar_phase": lambda f, t: f.grid.bar_phase(t),
    "beat_pulse": lambda f, t: (1.0 - f.grid.beat_phase(t)) ** 2 if f.grid.running else 0.0,
    "bpm": lambda f, _t: f.grid.bpm,
    "confidence": lambda f, _t: f.grid.confidence,
    "speaking": lambda f, _t: f.speaking,
    "voice": lambda f, _t: f.voice,
}
FEATURE_NAMES = tuple(READERS)


def _of_stem(role: str, reader: Reader) -> Reader:
    return lambda f, t: reader(f.stem(role), t)


# Of single tracks, where a film is told them: ``drums/kick``. Without them they are those of the whole.
READERS |= {f"{role}/{name}": _of_stem(role, READERS[name]) for role in STEMS for name in (*SCALARS, *BAND_NAMES)}
