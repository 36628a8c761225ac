"""Drums: hops of sound go in, kick and hat triggers come out within a hop, snares within three.

Each drum has its own band and listens for a sudden rise that comes near the loudest recent hit in that band.
A hit may not fire again within its refractory time, and a snare's own noise does not count as a hat.
"""

from collections import deque
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from vjserver.dsp.filters import Cascade, biquad, rms_db
from vjserver.types.audio import Float32
from vjserver.types.events import DrumName


class DrumOptions(BaseModel):
    """How drums are told from the rest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rise_db: float = Field(10.0, gt=0.0, description="how sudden a rise is a hit, dB above the last 30 ms")
    sensitivity_db: float = Field(10.0, gt=0.0, description="how far below the loudest recent hit still counts, dB")
    hold_db: float = Field(6.0, gt=0.0, description="how much a snare may fall in its first 10 ms and still be one, dB")
    gate_db: float = Field(-55.0, ge=-120.0, le=0.0, description="hits below this are ignored, dBFS")
    kick_refractory_s: float = Field(0.12, ge=0.0, description="shortest time between two kicks")
    snare_refractory_s: float = Field(0.12, ge=0.0, description="shortest time between two snares")
    hat_refractory_s: float = Field(0.06, ge=0.0, description="shortest time between two hats")


@dataclass(frozen=True, slots=True)
class Hit:
    """A drum struck in this hop; ``strength`` 0..1 is relative to the loudest recent hit."""

    name: DrumName
    strength: float


class _Band:
    """One drum's band: its filter, what it heard in the last 30 ms, and its loudest recent hit.

    With ``confirm`` a hit is told two hops later, if it still sounds: a kick's click is over by then, a snare is not.
    """

    def __init__(self, filter_: Cascade, hop_s: float, refractory_s: float, confirm: bool = False) -> None:
        self._filter = filter_
        length = max(2, round(0.03 / hop_s))
        self._recent = deque([-120.0] * length, maxlen=length)
        self._peak_db = -120.0
        self._fade_db = 3.0 * hop_s  # the memory of a loud hit fades by 3 dB a second
        self._refractory = refractory_s / hop_s
        self._since = self._refractory
        self._confirm = confirm
        self._waiting: list[tuple[float, float] | None] = [
            None,
            None,
        ]  # strength and level, one and two hops ago

    @property
    def rises(self) -> bool:
        """Whether this hop may be the start of a hit that waits to be confirmed."""
        return self._waiting[0] is not None

    def __call__(self, samples: Float32, options: DrumOptions) -> float | None:
        """Return the strength of a hit in this hop, or None."""
        level_db = rms_db(self._filter(samples))
        rise_db = level_db - min(self._recent)
        self._recent.append(level_db)
        self._peak_db = max(self._peak_db - self._fade_db, level_db)
        self._since += 1
        waiting = self._waiting.pop()
        self._waiting.insert(0, None)
        if waiting is not None and self._since >= self._refractory and level_db > waiting[1] - options.hold_db:
            self._since = 0
            return waiting[0]
        below_db = self._peak_db - level_db
        if (
            self._since < self._refractory
            or level_db < options.gate_db
            or rise_db < options.rise_db
            or below_db > options.sensitivity_db
        ):
            return None
        strength = 1.0 - below_db / (2.0 * options.sensitivity_db)
        if self._confirm:
            self._waiting[0] = (strength, level_db)
            return None
        self._since = 0
        return strength


class DrumDetector:
    """Hears kick, snare and hat in mono hops of ``hop`` samples."""

    def __init__(self, rate_hz: int, hop: int, options: DrumOptions) -> None:
        self._options = options
        hop_s = hop / rate_hz
        top_hz = min(7000.0, rate_hz * 0.4)
        # Steep below: a loud kick's sweep begins at some 500 Hz.
        rumble = biquad("highpass", rate_hz, 1500.0)
        mid = (rumble, rumble, biquad("lowpass", rate_hz, min(5000.0, rate_hz * 0.35)))
        high = biquad("highpass", rate_hz, top_hz)
        self._kick = _Band(Cascade(biquad("lowpass", rate_hz, 180.0)), hop_s, options.kick_refractory_s)
        self._snare = _Band(Cascade(*mid), hop_s, options.snare_refractory_s, confirm=True)
        self._hat = _Band(Cascade(high, high), hop_s, options.hat_refractory_s)

    def __call__(self, samples: Float32) -> list[Hit]:
        """Return the drums struck in this hop (mono float32), in the order kick, snare, hat."""
        kick = self._kick(samples, self._options)
        snare = self._snare(samples, self._options)
        hat = self._hat(samples, self._options)
        hits: list[Hit] = []
        if kick is not None:
            hits.append(Hit("kick", kick))
        if snare is not None:
            hits.append(Hit("snare", snare))
        if hat is not None and snare is None and not self._snare.rises:
            hits.append(Hit("hat", hat))
        return hits
