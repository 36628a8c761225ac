"""Effects: dry sound goes in; the sound of a room, a crowd, a worn cable or a loud PA comes out. Also what is no music.

All take and give mono float32 at 44.1 kHz and never move the direct sound in time.
"""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from bench.music.render import RATE_HZ
from vjserver.types.audio import Float32

SENTENCES = (
    "good evening everybody and welcome to the show, the doors are open until two o'clock",
    "could somebody please move the blue van that is parked in front of the stage entrance",
    "i told him that the cable was broken, but he would not believe me until it was too late",
    "seven people are still waiting at the bar, and nobody knows who ordered the green ones",
    "the next act comes from a small town in the north where it rains for most of the year",
    "please check the second monitor on the left, it hums whenever the lights go down",
)


def room(sound: Float32, rng: np.random.Generator, rt60_s: float, wet: float) -> Float32:
    """Add the tail of a room: noise that falls by 60 dB in ``rt60_s``, ever darker; ``wet`` is its share, 0..1."""
    t = np.arange(round(rt60_s * RATE_HZ)) / RATE_HZ
    tail = rng.normal(size=len(t)) * 10 ** (-3 * t / rt60_s)
    tail[: round(0.004 * RATE_HZ)] = 0.0  # the first reflection
    tail = scipy.signal.lfilter([0.35], [1.0, -0.65], tail)
    tail *= np.sqrt(np.mean(np.square(sound)) / (np.mean(np.square(scipy.signal.fftconvolve(sound, tail))) + 1e-12))
    reverb = scipy.signal.fftconvolve(sound, tail)[: len(sound)]
    return np.asarray((1.0 - 0.5 * wet) * sound + wet * reverb, np.float32)


def band_limit(sound: Float32, low_hz: float | None, high_hz: float | None, order: int = 2) -> Float32:
    """Cut below ``low_hz`` and above ``high_hz`` (Butterworth)."""
    for edge, kind in ((low_hz, "highpass"), (high_hz, "lowpass")):
        if edge is not None:
            sos = scipy.signal.butter(order, edge, kind, fs=RATE_HZ, output="sos")
            sound = scipy.signal.sosfilt(sos, sound).astype(np.float32)
    return np.asarray(sound, np.float32)


def drive(sound: Float32, gain_db: float) -> Float32:
    """Push into soft clipping."""
    return np.asarray(np.tanh(sound * np.float32(10 ** (gain_db / 20))), np.float32)


def at_snr(sound: Float32, noise: Float32, snr_db: float) -> Float32:
    """Add noise (cut or repeated to length) at a signal-to-noise ratio of the whole."""
    noise = np.resize(noise, len(sound))
    have = np.mean(np.square(sound, dtype=np.float64)) / (np.mean(np.square(noise, dtype=np.float64)) + 1e-12)
    return sound + noise * np.float32(np.sqrt(have * 10 ** (-snr_db / 10)))


def to_level(sound: Float32, peak_db: float) -> Float32:
    """Scale to a peak in dBFS."""
    peak = float(np.abs(sound).max())
    return sound * np.float32(10 ** (peak_db / 20) / peak) if peak > 0 else sound


def pink(rng: np.random.Generator, seconds: float) -> Float32:
    """Pink noise, rms about -20 dBFS."""
    count = round(seconds * RATE_HZ)
    spectrum = np.fft.rfft(rng.normal(size=count))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 20.0))
    noise = np.fft.irfft(spectrum, count)
    return np.asarray(0.1 * noise / noise.std(), np.float32)


def applause(rng: np.random.Generator, seconds: float, people: int = 60) -> Float32:
    """Many hands, each at its own loose rate."""
    count = round(seconds * RATE_HZ)
    struck = np.zeros(count)
    for _ in range(people):
        gaps = rng.normal(1.0, 0.12, round(seconds * 8)) / rng.uniform(3.0, 6.0)
        times = np.cumsum(np.maximum(gaps, 0.08)) + rng.uniform(0, 1)
        at = (times[times < seconds - 0.1] * RATE_HZ).astype(int)
        struck[at] += rng.uniform(0.2, 1.0)
    t = np.arange(round(0.03 * RATE_HZ)) / RATE_HZ
    clap = band_limit((rng.normal(size=len(t)) * np.exp(-t / 0.006)).astype(np.float32), 700.0, 6000.0)
    sound = scipy.signal.fftconvolve(struck, clap)[:count]
    return np.asarray(0.15 * sound / (np.sqrt(np.mean(sound**2)) + 1e-9), np.float32)


def speech(seconds: float, voice: str = "en", words_a_minute: int = 160, first: int = 0) -> Float32:
    """Return espeak-ng reading sentences, beginning with sentence ``first``."""
    text = ". ".join(SENTENCES[(first + i) % len(SENTENCES)] for i in range(40))
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(words_a_minute), "-w", str(wav), text], check=True)
        samples, rate = soundfile.read(wav, dtype="float32")
    samples = samples[: round((seconds + 1.0) * rate)]
    sound = scipy.signal.resample_poly(samples, RATE_HZ, rate)
    return np.asarray(np.resize(sound, round(seconds * RATE_HZ)), np.float32)


def crowd(rng: np.random.Generator, seconds: float) -> Float32:
    """A room full of talk, clapping and air."""
    babble = np.zeros(round(seconds * RATE_HZ), np.float32)
    for i in range(5):
        voice = speech(
            seconds, str(rng.choice(("en", "en-us", "en+f3", "en+m3", "de"))), int(rng.integers(130, 200)), i
        )
        babble += np.roll(voice, int(rng.integers(len(voice)))) * np.float32(rng.uniform(0.4, 1.0))
    babble /= np.float32(babble.std() + 1e-9)
    hands = applause(rng, seconds)
    return np.asarray(babble + 0.7 * hands / hands.std() + 0.4 * pink(rng, seconds) / 0.1, np.float32) * np.float32(0.1)
