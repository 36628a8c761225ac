"""Recordings made in the dark: a whisper is raised to the level of speech, and counts as speech by its strength.

A whisper has no voice, and who finds speech by the voice in it misses half of one. In a recording that somebody made of
himself, what is well above the noise of the room is he.
"""

import numpy as np

from vjserver.speech.mel import RATE_HZ
from vjserver.types.audio import Float32

CHUNK, BLOCK = 512, 1 << 20
LOUD = 0.1
"""Root mean square to which what is said is raised (-20 dBFS); speech at a hand's breadth is as loud."""
MOST_GAIN = 10.0 ** (50.0 / 20.0)
WINDOW_S = 4.0
ABOVE = 10.0 ** (9.0 / 20.0)
"""So far above the noise of the room is what was said."""
SAID = 0.8
"""How likely that then is speech, 0..1."""
LEAST = 1e-5


def strengths(sound: Float32) -> Float32:
    """Return the root mean square of each 32 ms of mono sound at 16 kHz."""
    count = -(-len(sound) // CHUNK)
    padded = np.pad(sound, (0, count * CHUNK - len(sound))).reshape(count, CHUNK)
    return np.asarray(np.sqrt(np.mean(padded * padded, axis=1)), np.float32)


def noise_of(sound: Float32) -> float:
    """Return how strong the noise of the room is: what a tenth of the recording stays below."""
    found = strengths(sound)
    return max(LEAST, float(np.percentile(found, 10))) if len(found) else LEAST


def levelled(sound: Float32) -> Float32:
    """Return a recording in which what is said is equally loud throughout, within -1..1; noise alone is not raised."""
    found, noise = strengths(sound), noise_of(sound)
    if not len(found):
        return sound
    width = max(1, round(WINDOW_S * RATE_HZ / CHUNK))
    starts = range(0, len(found), width)
    loud = np.array([np.percentile(found[at : at + width], 90) for at in starts])
    said = loud > ABOVE * noise
    if not said.any():
        return sound
    gains = np.clip(LOUD / np.maximum(loud, LEAST), 1.0, MOST_GAIN)
    gains[~said] = gains[said].min()
    centres = (np.array(list(starts)) + width / 2) * CHUNK
    raised = np.empty(len(sound), np.float32)
    for at in range(0, len(sound), BLOCK):  # an hour at once takes a gigabyte
        part = sound[at : at + BLOCK]
        raised[at : at + BLOCK] = np.tanh(part * np.interp(np.arange(at, at + len(part)), centres, gains))
    return raised


class Strength:
    """Tells how likely speech is in each 32 ms of a recording, in order, by how far it is above the noise, 0..1."""

    def __init__(self, noise: float) -> None:
        self._least = ABOVE * noise

    def __call__(self, chunk: Float32) -> float:
        """Take the next 32 ms."""
        return SAID if float(np.sqrt(np.mean(chunk * chunk))) > self._least else 0.0
