"""Drums: the fast front end goes in, kick, snare and hat triggers come out, told apart, within a few hops of the hit.

A small recurrent network says at each hop how surely each drum was struck in the last 17 ms. A drum fires as soon as
its surety passes a threshold, once: not again before it has fallen and a refractory time has passed. Kick and snare
mask each other: right after the one the other needs more, since most often it is the same hit, heard twice.
"""

from dataclasses import dataclass

import numpy as np

from vjserver.dsp.frontend import FAST_BANDS
from vjserver.dsp.network import Network, weights
from vjserver.dsp.options import DrumOptions
from vjserver.types.audio import Float32
from vjserver.types.events import DrumName
from vjserver.types.features import DRUM_NAMES

# Where the fast bands begin that tell how hard kick and snare were struck, what tells nothing, and the hat's.
_BEGINS = np.array([0, 3, 16, 17])


@dataclass(frozen=True, slots=True)
class Hit:
    """A drum struck in this hop; ``strength`` 0..1 is relative to the loudest recent hit."""

    name: DrumName
    strength: float


class _Trigger:
    """One drum: what it takes to fire, and how hard its hits have been."""

    def __init__(self, name: DrumName, threshold: float, refractory_hops: float, fade: float) -> None:
        self.name = name
        self._threshold, self._refractory, self._fade = threshold, refractory_hops, fade
        self.since, self._armed, self._peak = refractory_hops, True, 0.05
        self._rise = 0.0

    def __call__(self, surety: float, rise: float, needed: float) -> Hit | None:
        self.since += 1
        self._peak *= self._fade
        self._rise = max(self._rise * 0.7, rise)
        if surety < self._threshold:
            self._armed = self._armed or surety < 0.6 * self._threshold
            return None
        if surety < needed or not self._armed or self.since < self._refractory:
            return None
        self._armed, self.since = False, 0
        self._peak = max(self._peak, self._rise, 0.05)
        return Hit(self.name, min(1.0, max(0.05, self._rise / self._peak)))


class DrumDetector:
    """Hears kick, snare and hat at ``hop_rate_hz`` hops a second."""

    def __init__(self, hop_rate_hz: float, options: DrumOptions) -> None:
        self._network = Network(weights("drum"))
        fade = 0.85 ** (1.0 / hop_rate_hz)  # the memory of a loud hit fades by 15 % a second
        self._triggers = [
            _Trigger(name, getattr(options, name), getattr(options, f"{name}_refractory_s") * hop_rate_hz, fade)
            for name in DRUM_NAMES
        ]
        kick, snare, _ = self._triggers
        self._others = (snare, kick, None)
        self._masking, self._masked_hops = options.masking, options.masking_s * hop_rate_hz
        self.surety = np.zeros(len(DRUM_NAMES), np.float32)

    def __call__(self, fast: Float32) -> list[Hit]:
        """Take what the front end sees of a hop; return the drums that were struck, in the order kick, snare, hat."""
        self.surety = self._network(fast)
        kick, snare, _, hat = np.maximum.reduceat(fast[FAST_BANDS:], _BEGINS).tolist()
        hits = []
        for one, surety, rise, other in zip(
            self._triggers, self.surety.tolist(), (kick, snare, hat), self._others, strict=True
        ):
            masked = other is not None and other.since < self._masked_hops
            hit = one(surety, rise, self._masking if masked else 0.0)
            if hit is not None:
                hits.append(hit)
        return hits
