"""The training pool: ``python -m bench.training.pool FOLDER --songs N [--first I]`` makes songs nobody wrote.

Each song is composed, rendered as stems, mixed and spoilt in several ways, and stored as what the networks see (through
the ear's own front end) with the truth beside it. One song in eight is no music at all: there nothing beats.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.music import effects
from bench.music.compose import STYLES, compose
from bench.music.render import RATE_HZ, SOUNDFONT, DrumMachine, analogue, mix, render
from bench.music.score import Note, Score, write
from bench.training import kits
from vjserver.dsp.frontend import FAST_SIZE, HOP, SLOW_EVERY, SLOW_SIZE, FrontEnd
from vjserver.types.audio import Float32

Float64 = NDArray[np.float64]
SMALL_FONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
VARIANTS = 2
SILENT_SHARE = 0.12


@dataclass(frozen=True, slots=True)
class Truth:
    """What a song holds, in seconds of its (stretched) time."""

    beats: Float64
    downbeats: Float64
    kick: Float64
    snare: Float64
    hat: Float64
    other: Float64
    drumless: Float64


def see(sound: Float32, rate_hz: int) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """Return what the front end sees of a sound: slow ``(n, 104)`` and fast ``(4 n, 48)``, float16."""
    front = FrontEnd(rate_hz)
    count = len(sound) // (HOP * SLOW_EVERY)
    slow, fast = np.zeros((count, SLOW_SIZE), np.float16), np.zeros((count * SLOW_EVERY, FAST_SIZE), np.float16)
    for i in range(len(fast)):
        if front(sound[i * HOP : (i + 1) * HOP]):
            slow[i // SLOW_EVERY] = front.slow
        fast[i] = front.fast
    return slow, fast


def spoil(sound: Float32, rng: np.random.Generator, noises: dict[str, Float32]) -> Float32:
    """Return the sound as it might reach a VJ's microphone or cable."""
    if rng.random() < 0.5:
        sound = effects.drive(sound, float(rng.uniform(-3, 12)))
    if rng.random() < 0.35:
        sound = effects.room(sound, rng, float(rng.uniform(0.2, 1.6)), float(rng.uniform(0.1, 0.8)))
    low = float(np.exp(rng.uniform(np.log(30), np.log(250)))) if rng.random() < 0.25 else None
    high = float(np.exp(rng.uniform(np.log(2500), np.log(15000)))) if rng.random() < 0.3 else None
    sound = effects.band_limit(sound, low, high, int(rng.integers(1, 4)))
    if rng.random() < 0.45:
        name = str(rng.choice(list(noises)))
        noise = np.roll(noises[name], int(rng.integers(len(noises[name]))))
        sound = effects.at_snr(sound, noise, float(rng.uniform(2, 32)))
    if rng.random() < 0.15:
        sound = np.clip(sound * np.float32(rng.uniform(1.5, 6.0)) / np.abs(sound).max(), -1, 1).astype(np.float32)
    return effects.to_level(sound, float(rng.choice((-1.0, rng.uniform(-30, 0)))))


def song(seed: int, noises: dict[str, Float32], style: str | None = None) -> list[tuple[Float32, int, Truth]]:
    """Return the variants of song ``seed``: sound, the rate it is to be seen at, and its truth."""
    rng = np.random.default_rng([seed, 7])
    score = write(compose(rng, style), seed)
    font = SMALL_FONT if rng.random() < 0.3 and SMALL_FONT.exists() else SOUNDFONT
    frames = round(score.seconds * RATE_HZ)
    stems = {"bass": render(score, ("bass",), SMALL_FONT), "tonal": render(score, ("chords", "lead", "pad"), font)}
    strike = score.parts["drums"]
    machine = DrumMachine(analogue(rng), rng)(strike, frames)
    midi = render(score, ("drums",), font)
    kit = kits.sampled(rng)
    recorded = machine if kit is None else DrumMachine(kit, rng)(strike, frames)
    kinds: list[Float32] = [recorded, machine, midi, np.asarray(machine + 1.5 * midi, np.float32)]
    variants = []
    for _ in range(VARIANTS):
        stems["drums"] = kinds[int(rng.choice(4, p=(0.45, 0.2, 0.25, 0.1)))]
        if rng.random() < 0.25:
            stems["tonal"] = _pump(stems["tonal"], score)
        gains = {
            "drums": float(rng.uniform(-4, 9)),
            "bass": float(rng.uniform(-6, 5)),
            "tonal": float(rng.uniform(-9, 3)),
        }
        sound = spoil(mix(stems, gains), rng, noises)
        rate_hz = int(rng.choice((44100, 48000, int(rng.integers(40000, 50000)))))
        variants.append((sound, rate_hz, truth_of(score, RATE_HZ / rate_hz)))
    return variants


def truth_of(score: Score, stretch: float = 1.0) -> Truth:
    """Return a score's truth with its times multiplied by ``stretch``."""
    known = {*score.hits("kick"), *score.hits("snare"), *score.hits("hat")}
    other = np.array(sorted({n.t_s for n in score.parts["drums"]} - known))
    times = (score.beats, score.downbeats, score.hits("kick"), score.hits("snare"), score.hits("hat"), other,
             np.array(score.drumless).reshape(-1, 2))  # fmt: skip
    return Truth(*[np.asarray(t, np.float64) * stretch for t in times])


def no_music(seed: int, noises: dict[str, Float32]) -> list[tuple[Float32, int, Truth]]:
    """Return something that does not beat: noise, speech, applause, hum, resting chords."""
    rng = np.random.default_rng([seed, 8])
    seconds = 45.0
    kind = str(rng.choice(("speech", "speech", "crowd", "applause", "pink", "dither", "hum", "pad", "pad", "noise")))
    count = round(seconds * RATE_HZ)
    sound: Float32
    if kind == "speech":
        voice = str(rng.choice(("en+f2", "en-gb-scotland", "de", "fr", "es", "en+m5", "it")))
        sound = effects.speech(seconds, voice, int(rng.integers(110, 210)), int(rng.integers(6)))
    elif kind in ("crowd", "applause"):
        sound = np.roll(noises[kind], int(rng.integers(count)))[:count]
    elif kind == "pink":
        sound = effects.pink(rng, seconds)
    elif kind == "hum":
        t = np.arange(count) / RATE_HZ
        sound = sum(np.sin(2 * np.pi * rng.choice((50, 60, 40)) * k * t) / k for k in (1, 2, 3)).astype(np.float32)
    elif kind == "pad":
        sound = _resting(rng, seed)
    else:
        sound = rng.normal(0, 0.1, count).astype(np.float32)
    sound = effects.to_level(sound, float(rng.uniform(-36, -1)) if kind != "dither" else -80.0)
    none = np.zeros(0)
    return [(sound, int(rng.choice((44100, 48000))), Truth(none, none, none, none, none, none, np.zeros((0, 2))))]


def _resting(rng: np.random.Generator, seed: int) -> Float32:
    """Chords that change now and then, at no tempo."""
    plan = compose(rng, "solo")
    score = write(plan, seed)
    parts: dict[str, list[Note]] = {name: [] for name in score.parts}

    t_s = 0.2
    while t_s < score.seconds - 2:
        length = float(rng.uniform(2.5, 9.0))
        for pitch in rng.choice(np.arange(40, 76), 4, replace=False):
            parts["pad"].append(Note(t_s, length, int(pitch), 70))
        t_s += length
    return render(Score(plan, parts, score.beats, score.downbeats, (), score.drops, score.seconds), ("pad",))


def _pump(stem: Float32, score: Score) -> Float32:
    """Duck a stem under the kick, as a compressor keyed by it would."""
    gain = np.ones(len(stem), np.float32)
    t = np.arange(round(0.3 * RATE_HZ)) / RATE_HZ
    dip = (1.0 - 0.8 * np.exp(-t / 0.09)).astype(np.float32)
    for kick_s in score.hits("kick"):
        at = round(kick_s * RATE_HZ)
        length = min(len(dip), len(gain) - at)
        gain[at : at + length] = np.minimum(gain[at : at + length], dip[:length])
    return stem * gain


def make(seed: int, folder: Path, style: str | None = None) -> None:
    """Make song ``seed`` and store its variants."""
    noises = dict(np.load(folder / "noises.npz"))
    rng = np.random.default_rng([seed, 9])
    silent = style is None and rng.random() < SILENT_SHARE
    variants = no_music(seed, noises) if silent else song(seed, noises, style)
    for i, (sound, rate_hz, truth) in enumerate(variants):
        slow, fast = see(sound, rate_hz)
        arrays: dict[str, Any] = asdict(truth)
        part = folder / f"part-{seed:05d}-{i}.npz"
        np.savez(part, slow=slow, fast=fast, rate_hz=rate_hz, **arrays)
        part.rename(folder / f"song-{seed:05d}-{i}.npz")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--songs", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--styles", nargs="+", choices=list(STYLES), help="these in turn, not drawn by weight")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    if not (args.folder / "noises.npz").exists():
        noises: dict[str, Any] = {"crowd": effects.crowd(rng, 45), "applause": effects.applause(rng, 45),
                  "pink": effects.pink(rng, 45),
                  "speech": effects.speech(45, "en+f4")}  # fmt: skip
        np.savez(args.folder / "noises.npz", **noises)
    with ProcessPoolExecutor(args.workers) as pool:
        styles = args.styles or [None]
        seeds = range(args.first, args.first + args.songs)
        for future in [pool.submit(make, seed, args.folder, styles[seed % len(styles)]) for seed in seeds]:
            future.result()


if __name__ == "__main__":
    main()
