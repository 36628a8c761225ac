"""Rendering: a score goes in, sound comes out, through fluidsynth or through a small drum synthesiser of our own.

Everything is mono float32 at 44.1 kHz: the ear mixes to mono anyway. fluidsynth starts notes on multiples of its 64
samples, so the truth is exact to 1.5 ms; the drum synthesiser is exact to the sample.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import mido
import numpy as np
import scipy.signal
import soundfile
from numpy.typing import NDArray

from bench.music.score import Note, Score, Sounds
from vjserver.types.audio import Float32

RATE_HZ = 44100
TICKS_A_SECOND = 4800
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
Sound = NDArray[np.float64]
TONAL = ("bass", "chords", "lead", "pad")


class MissingToolError(RuntimeError):
    """A program or sound font that rendering needs is not installed."""


def check_tools() -> None:
    """Raise MissingToolError with what to install."""
    if shutil.which("fluidsynth") is None or not SOUNDFONT.exists():
        raise MissingToolError(
            "the test band needs fluidsynth and its sound font: apt install fluidsynth fluid-soundfont-gm"
        )


def render(score: Score, parts: Sequence[str], font: Path = SOUNDFONT) -> Float32:
    """Return the dry sound of some parts of a score, peak below 1, float32 ``(frames,)``."""
    return fluidsynth({part: score.parts[part] for part in parts}, score.plan.sounds, score.seconds, font)


def fluidsynth(parts: Mapping[str, Sequence[Note]], sounds: Sounds, seconds: float, font: Path) -> Float32:
    """Return what fluidsynth plays, float32 ``(frames,)``."""
    check_tools()
    frames = round(seconds * RATE_HZ)
    if not any(parts.values()):
        return np.zeros(frames, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "song.mid", Path(folder) / "song.wav"
        _midi(parts, sounds).save(midi)
        subprocess.run(
            ["fluidsynth", "-ni", "-q", "-g", "0.5", "-r", str(RATE_HZ), "-R", "0", "-C", "0", "-O", "float",
             "-F", str(wav), str(font), str(midi)],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        sound = soundfile.read(wav, dtype="float32", always_2d=True)[0].mean(axis=1)
    fitted = np.zeros(frames, np.float32)
    fitted[: min(frames, len(sound))] = sound[:frames]
    return fitted


def _midi(parts: Mapping[str, Sequence[Note]], sounds: Sounds) -> mido.MidiFile:
    programs = {"drums": (9, sounds.kit), "bass": (0, sounds.bass), "chords": (1, sounds.chords),
                "lead": (2, sounds.lead), "pad": (3, sounds.pad)}  # fmt: skip
    messages: list[tuple[int, int, mido.Message]] = []
    for part, notes in parts.items():
        channel, program = programs[part]
        messages.append((0, 0, mido.Message("program_change", channel=channel, program=program)))
        for note in notes:
            start, end = round(note.t_s * TICKS_A_SECOND), round((note.t_s + note.length_s) * TICKS_A_SECOND)
            on = mido.Message("note_on", channel=channel, note=note.pitch, velocity=note.velocity)
            messages.append((start, 2, on))
            messages.append((end, 1, mido.Message("note_off", channel=channel, note=note.pitch)))
    messages.sort(key=lambda m: (m[0], m[1]))
    track, at = mido.MidiTrack(), 0
    track.append(mido.MetaMessage("set_tempo", tempo=500_000))
    for tick, _, message in messages:
        track.append(message.copy(time=tick - at))
        at = tick
    file = mido.MidiFile(ticks_per_beat=TICKS_A_SECOND // 2)
    file.tracks.append(track)
    return file


def analogue(rng: np.random.Generator) -> dict[str, Sound]:
    """Return the sounds of an analogue drum machine with random knobs: every seed is another machine."""
    return {
        "kick": _kick(rng), "snare": _snare(rng), "clap": _clap(rng), "rim": _rim(rng),
        "hat": _hat(rng, rng.uniform(0.015, 0.05)), "open": _hat(rng, rng.uniform(0.1, 0.3)),
        "tom": _tom(rng), "shaker": _hat(rng, rng.uniform(0.03, 0.06), 0.008), "crash": _hat(rng, 0.7),
    }  # fmt: skip


class DrumMachine:
    """Plays one sound for each drum, to the sample. For training only."""

    def __init__(self, sounds: dict[str, Sound], rng: np.random.Generator) -> None:
        self._sounds = sounds
        self._gain = {name: float(rng.uniform(0.6, 1.2)) for name in sounds}

    def __call__(self, notes: Sequence[Note], frames: int) -> Float32:
        """Return the notes struck, float32 ``(frames,)``."""
        mix = np.zeros(frames)
        for note in notes:
            name = _KEYS.get(note.pitch, "tom")
            at, sound = round(note.t_s * RATE_HZ), self._sounds[name]
            length = min(len(sound), frames - at)
            if length > 0:
                level = self._gain[name] * (note.velocity / 110.0) ** 1.6
                mix[at : at + length] += level * sound[:length]
        return (0.35 * mix).astype(np.float32)


_KEYS = {35: "kick", 36: "kick", 37: "rim", 38: "snare", 40: "snare", 39: "clap", 42: "hat", 44: "hat", 46: "open",
         49: "crash", 51: "crash", 57: "crash", 59: "crash", 54: "shaker", 69: "shaker", 70: "shaker",
         82: "shaker"}  # fmt: skip


def _time(seconds: float) -> Sound:
    return np.arange(round(seconds * RATE_HZ)) / RATE_HZ


def _noise(rng: np.random.Generator, t: Sound, low_hz: float, high_hz: float) -> Sound:
    sos = scipy.signal.butter(2, (low_hz, min(high_hz, 20000.0)), "bandpass", fs=RATE_HZ, output="sos")
    shaped = scipy.signal.sosfilt(sos, rng.normal(size=len(t)))
    return np.asarray(shaped / (np.abs(shaped).max() + 1e-9))


def _kick(rng: np.random.Generator) -> Sound:
    t = _time(0.6)
    base, sweep, speed = rng.uniform(38, 65), rng.uniform(20, 350), rng.uniform(0.006, 0.05)
    phase = 2 * np.pi * (base * t + sweep * speed * (1 - np.exp(-t / speed)))
    body = np.sin(phase + rng.uniform(0, 1.5)) * np.exp(-t / rng.uniform(0.06, 0.3))
    click = _noise(rng, t, 800, 8000) * np.exp(-t / 0.003) * rng.uniform(0, 0.5)
    drive = rng.uniform(1.0, 4.0)
    return np.asarray(np.tanh(drive * (body + click)) / np.tanh(drive))


def _snare(rng: np.random.Generator) -> Sound:
    t = _time(0.4)
    low = rng.uniform(140, 260)
    tone = np.sin(2 * np.pi * low * t) * np.exp(-t / rng.uniform(0.03, 0.12))
    rattle = _noise(rng, t, rng.uniform(700, 2500), rng.uniform(6000, 14000)) * np.exp(-t / rng.uniform(0.04, 0.15))
    return np.asarray(rng.uniform(0.2, 0.9) * tone + rng.uniform(0.5, 1.0) * rattle)


def _clap(rng: np.random.Generator) -> Sound:
    t = _time(0.35)
    gap, tail = rng.uniform(0.007, 0.013), rng.uniform(0.04, 0.12)
    shape = sum(np.exp(-np.maximum(t - i * gap, 0) / 0.004) * (t >= i * gap) for i in range(3))
    shape = shape + 0.9 * np.exp(-np.maximum(t - 3 * gap, 0) / tail) * (t >= 3 * gap)
    return np.asarray(_noise(rng, t, rng.uniform(600, 1200), rng.uniform(3500, 9000)) * shape)


def _rim(rng: np.random.Generator) -> Sound:
    t = _time(0.08)
    tone = np.sin(2 * np.pi * rng.uniform(450, 900) * t) + np.sin(2 * np.pi * rng.uniform(1500, 2400) * t)
    return np.asarray(0.6 * tone * np.exp(-t / rng.uniform(0.006, 0.015)))


def _hat(rng: np.random.Generator, decay_s: float, rise_s: float = 0.0005) -> Sound:
    t = _time(decay_s * 5)
    metal = sum(np.sign(np.sin(2 * np.pi * f * t + rng.uniform(0, 6))) for f in rng.uniform(2500, 9000, 6)) / 6
    mixed = rng.uniform(0.3, 1.0) * rng.normal(size=len(t)) + rng.uniform(0.0, 1.0) * metal
    sos = scipy.signal.butter(3, rng.uniform(4500, 9500), "highpass", fs=RATE_HZ, output="sos")
    bright = scipy.signal.sosfilt(sos, mixed)
    level = rng.uniform(0.25, 0.7) / (np.abs(bright).max() + 1e-9)
    return np.asarray(level * bright * np.exp(-t / decay_s) * (1 - np.exp(-t / rise_s)))


def _tom(rng: np.random.Generator) -> Sound:
    t = _time(0.5)
    base = rng.uniform(80, 200)
    return np.asarray(
        np.sin(2 * np.pi * (base * t + 1.5 * (1 - np.exp(-t / 0.03)))) * np.exp(-t / rng.uniform(0.1, 0.25))
    )


def mix(stems: dict[str, Float32], gains_db: dict[str, float]) -> Float32:
    """Return the sum of stems brought to equal loudness and then to their gains; peak -3 dBFS."""
    total = np.zeros(len(next(iter(stems.values()))), np.float32)
    for name, stem in stems.items():
        loud = float(np.sqrt(np.mean(np.square(stem, dtype=np.float64))))
        if loud > 1e-6:
            total += stem * np.float32(10 ** (gains_db.get(name, 0.0) / 20) * 0.05 / loud)
    peak = float(np.abs(total).max())
    return total * np.float32(0.708 / peak) if peak > 0 else total


def sound_of(score: Score, gains_db: dict[str, float] | None = None) -> Float32:
    """Return a whole song through fluidsynth, drums and the rest balanced."""
    stems = {"drums": render(score, ("drums",)), "tonal": render(score, TONAL)}
    return mix(stems, {"drums": 3.0, **(gains_db or {})})
