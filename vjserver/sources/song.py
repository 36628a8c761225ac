"""The demo's song: a minute and a half of house made of sines and noise, so that the first minute needs no file.

It has what an ear must deal with: four to the floor, off-beat hats, claps, a bass line, pads, an arpeggio, and a
drumless break with a riser before the drop. 124 bpm; beat ``i`` starts at ``i * 60 / 124`` s.
"""

from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from vjserver.runtime.files import move_over
from vjserver.types.audio import Float32

RATE_HZ = 48000
BPM = 124.0
BARS = 48
BEAT = RATE_HZ * 60.0 / BPM
# (first bar, last bar): who plays when
KICK = ((0, 24), (32, 48))
HATS = ((4, 24), (32, 48))
CLAP = ((8, 24), (32, 48))
BASS = ((8, 26), (32, 48))
PADS = ((4, 48),)
ARP = ((16, 32), (36, 48))
RISER = (28, 32)
CHORDS = ((45, 52, 57, 60, 64), (41, 53, 57, 60, 65), (48, 52, 55, 60, 67), (43, 50, 55, 59, 62))  # Am F C G

Float64 = NDArray[np.float64]


@cache
def demo_song() -> Float32:
    """Return the song, float32 ``(frames, 2)`` at 48 kHz in [-1, 1]; the same samples every time."""
    rng = np.random.default_rng(124)
    length = round(BARS * 4 * BEAT)
    dry, ducked = np.zeros((length, 2)), np.zeros((length, 2))
    kick, clap, hat, open_hat = _kick(), _clap(rng), _hat(rng, 0.035), _hat(rng, 0.12)
    for beat in range(BARS * 4):
        bar, t = beat // 4, beat * BEAT
        if _plays(KICK, bar):
            _add(dry, t, kick, 0.85)
        if _plays(CLAP, bar) and beat % 2:
            _add(dry, t, clap, 0.5, 0.05)
        if _plays(HATS, bar):
            _add(dry, t + BEAT / 2, open_hat, 0.28, 0.2)
            for quarter in range(4):
                _add(dry, t + quarter * BEAT / 4, hat, 0.16 + 0.05 * rng.random(), -0.25)
        chord = CHORDS[bar % 4]
        if _plays(BASS, bar):
            for step in (0.5, 0.75) if beat % 2 else (0.5,):
                _add(ducked, t + step * BEAT, _bass(chord[0] - 12 if chord[0] > 44 else chord[0]), 0.5)
        if _plays(PADS, bar) and beat % 4 == 0:
            _add_stereo(ducked, t, _pad(chord, bar), 0.11)
        if _plays(ARP, bar):
            for quarter in range(4):
                note = chord[1 + (beat * 4 + quarter * 3) % 4] + 12 * (1 + (beat + quarter) % 2)
                _add(ducked, t + quarter * BEAT / 4, _pluck(note), 0.13, 0.6 * np.sin(beat + quarter * 1.7))
    _add(dry, RISER[0] * 4 * BEAT, _riser(rng, round((RISER[1] - RISER[0]) * 4 * BEAT)), 0.25)
    pump = 1.0 - 0.75 * np.exp(-np.arange(length) % BEAT / (0.12 * RATE_HZ))
    kicking = np.repeat([_plays(KICK, bar) for bar in range(BARS)], round(4 * BEAT) + 1)[:length]
    mix = dry + ducked * np.where(kicking, pump, 1.0)[:, None]
    song: Float32 = np.tanh(mix * 0.17).astype(np.float32)
    song.flags.writeable = False
    return song


def write_song(path: Path) -> None:
    """Write the song as FLAC, by way of a neighbour file, so that a half-written one is never read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    soundfile.write(part, demo_song(), RATE_HZ, format="FLAC")
    move_over(part, path)


def _plays(bars: tuple[tuple[int, int], ...], bar: int) -> bool:
    return any(first <= bar < last for first, last in bars)


def _seconds(length_s: float) -> Float64:
    return np.arange(round(length_s * RATE_HZ)) / RATE_HZ


def _hz(note: int) -> float:
    return float(440.0 * 2.0 ** ((note - 69) / 12))


def _add(track: Float64, start: float, sound: Float64, gain: float, pan: float = 0.0) -> None:
    part = track[round(start) : round(start) + len(sound)]
    sides = np.array([np.sqrt((1 - pan) / 2), np.sqrt((1 + pan) / 2)]) * np.sqrt(2)
    part += sound[: len(part), None] * sides * gain


def _add_stereo(track: Float64, start: float, sound: Float64, gain: float) -> None:
    part = track[round(start) : round(start) + len(sound)]
    part += sound[: len(part)] * gain


def _kick() -> Float64:
    t = _seconds(0.32)
    body = np.sin(2 * np.pi * (48 * t + 14 * (1 - np.exp(-t * 38)))) * np.exp(-t * 9)
    click = np.sin(2 * np.pi * 3200 * t) * np.exp(-t * 500)
    return np.asarray(body + 0.25 * click)


def _noise(rng: np.random.Generator, length: int, low_hz: float, high_hz: float) -> Float64:
    spectrum = np.fft.rfft(rng.normal(size=length))
    hz = np.fft.rfftfreq(length, 1 / RATE_HZ)
    spectrum[(hz < low_hz) | (hz > high_hz)] = 0.0
    noise = np.fft.irfft(spectrum, length)
    return np.asarray(noise / np.abs(noise).max())


def _clap(rng: np.random.Generator) -> Float64:
    t = _seconds(0.22)
    bursts = sum(np.exp(-np.clip(t - d, 0, None) * 160) * (t >= d) for d in (0.0, 0.011, 0.021))
    return np.asarray(_noise(rng, len(t), 900, 6500) * (0.6 * bursts + 0.5 * np.exp(-t * 22)))


def _hat(rng: np.random.Generator, decay_s: float) -> Float64:
    t = _seconds(decay_s * 5)
    return np.asarray(_noise(rng, len(t), 7500, 18000) * np.exp(-t / decay_s))


def _saw(hz: float, t: Float64, partials: int) -> Float64:
    return np.asarray(sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, partials + 1)))


def _bass(note: int) -> Float64:
    t = _seconds(0.24)
    return np.asarray(
        (_saw(_hz(note), t, 6) * 0.5 + np.sin(2 * np.pi * _hz(note) * t)) * np.minimum(1, (0.24 - t) * 30)
    )


def _pad(chord: tuple[int, ...], bar: int) -> Float64:
    t = _seconds(4 * 60 / BPM)
    swell = np.minimum(1, t * 6) * np.minimum(1, (t[-1] - t) * 8)
    bright = 3 + (bar % 16) // 3
    left = sum(_saw(_hz(n) * 1.002, t, bright) for n in chord)
    right = sum(_saw(_hz(n) * 0.998, t, bright) for n in chord)
    return np.asarray(np.stack((left, right), axis=1) * swell[:, None])


def _pluck(note: int) -> Float64:
    t = _seconds(0.3)
    return _saw(_hz(note), t, 5) * np.exp(-t * 14)


def _riser(rng: np.random.Generator, length: int) -> Float64:
    t = np.linspace(0.0, 1.0, length)
    sweep = np.sin(2 * np.pi * np.cumsum(200 * 20**t) / RATE_HZ)
    return np.asarray((_noise(rng, length, 1500, 14000) + 0.4 * sweep) * t**2)
