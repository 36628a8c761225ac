"""Drum kits to train on: samples of Debian's Hydrogen kits and sound fonts go in, sounds for a drum machine come out.

None of them is heard in the test band. Packages: hydrogen-data hydrogen-drumkits opl3-soundfont
csound-soundfont. Where none is installed there are no kits, and the pool does with its machines and General MIDI.
"""

import re
import xml.etree.ElementTree as ET
from functools import cache
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from bench.music.render import RATE_HZ, Sound, fluidsynth
from bench.music.score import Note, Sounds

HYDROGEN = Path("/usr/share/hydrogen/data/drumkits")
FONTS = tuple(Path("/usr/share/sounds/sf2") / f"{name}.sf2" for name in ("OPL-3_FM_128M", "sf_GMbank"))
_WORDS = {
    "kick": r"kick|bass ?drum|thump", "rim": r"stick|rim click|clave|woodblock", "clap": r"clap|snaps",
    "snare": r"^(?!.*roll).*(snare|cajon slap)", "open": r"(hat|hh|hi-hat).*(op|ring|free|semi)|open h|side ohh",
    "hat": r"hat|hh", "crash": r"crash|ride|cymbal|splash|china|bell", "shaker": r"maraca|shaker|tambourine",
    "tom": r"tom|conga|bongo|djembe|drum ?\d",
}  # fmt: skip
_FONT_KEYS = {"kick": (36, 35), "snare": (38, 40), "rim": (37,), "clap": (39,), "hat": (42, 44), "open": (46,),
              "crash": (49, 51), "shaker": (70, 54), "tom": (45, 48)}  # fmt: skip
_LEVELS = {"kick": (0.7, 1.1), "snare": (0.5, 1.0), "clap": (0.5, 0.9), "rim": (0.4, 0.7), "hat": (0.2, 0.6),
           "open": (0.2, 0.6), "crash": (0.3, 0.6), "shaker": (0.2, 0.5), "tom": (0.5, 0.9)}  # fmt: skip


def sampled(rng: np.random.Generator) -> dict[str, Sound] | None:
    """Return one sound of each name, drawn from a kit or (one time in three) from all kits; None without kits."""
    known = kits()
    if not known:
        return None
    names = list(known)
    kit = str(rng.choice(names))
    sounds = {}
    for name, levels in _LEVELS.items():
        has = [k for k in names if known[k].get(name)]
        one = kit if kit in has and rng.random() < 0.67 else str(rng.choice(has))
        choices = known[one][name]
        sounds[name] = _varied(choices[int(rng.integers(len(choices)))], rng) * float(rng.uniform(*levels))
    return sounds


@cache
def kits() -> dict[str, dict[str, list[Sound]]]:
    """Return kits by name; each has sounds by drum, their attack at the first sample, peak 1."""
    found = {xml.parent.name: _hydrogen(xml.parent) for xml in sorted(HYDROGEN.glob("*/drumkit.xml"))}
    found |= {font.stem: _font(font) for font in FONTS if font.exists()}
    return {name: kit for name, kit in found.items() if kit}


def _hydrogen(folder: Path) -> dict[str, list[Sound]]:
    text = (folder / "drumkit.xml").read_text(encoding="utf-8", errors="replace")
    kit: dict[str, list[Sound]] = {}
    for instrument in ET.fromstring(re.sub(r'\sxmlns="[^"]+"', "", text)).iter("instrument"):
        label = (instrument.findtext("name") or "").lower()
        name = next((name for name, words in _WORDS.items() if re.search(words, label)), None)
        if name is None:
            continue
        files = [e.text for e in instrument.iter("filename") if e.text]
        for file in files[-3:]:  # the loudest layers come last
            path = next(iter(folder.glob(f"{Path(file).stem}.*")), None)
            if path is not None:
                sound, rate = soundfile.read(path, dtype="float64", always_2d=True)
                kit.setdefault(name, []).extend(_trimmed(_resampled(sound.mean(axis=1), rate / RATE_HZ)))
    return kit


def _font(font: Path) -> dict[str, list[Sound]]:
    keys = [(name, key) for name, keys in _FONT_KEYS.items() for key in keys]
    notes = [Note(0.2 + 2.0 * i, 1.5, key, 112) for i, (_, key) in enumerate(keys)]
    played = fluidsynth({"drums": notes}, Sounds(), 0.2 + 2.0 * len(keys), font)
    kit: dict[str, list[Sound]] = {}
    for i, (name, _) in enumerate(keys):
        start = round((0.2 + 2.0 * i) * RATE_HZ)
        kit.setdefault(name, []).extend(_trimmed(played[start : start + 2 * RATE_HZ].astype(np.float64)))
    return kit


def _trimmed(sound: Sound) -> list[Sound]:
    """Cut what lies before the attack (3 % of the peak, half a millisecond kept); nothing where there is no sound."""
    peak = float(np.abs(sound).max()) if len(sound) else 0.0
    if peak < 1e-3:
        return []
    start = int(np.argmax(np.abs(sound) > 0.03 * peak)) - round(0.0005 * RATE_HZ)
    cut = sound[max(0, start) :][: 2 * RATE_HZ] / peak
    return [cut * np.minimum(1.0, np.arange(len(cut), 0, -1) / 200.0)]


def _varied(sound: Sound, rng: np.random.Generator) -> Sound:
    """Retune, shorten and filter a sound a little: another drum of its kind."""
    if rng.random() < 0.6:
        sound = _resampled(sound, float(np.exp(rng.uniform(-0.2, 0.2))))
    if rng.random() < 0.4:
        sound = sound * np.exp(-np.arange(len(sound)) / RATE_HZ / float(rng.uniform(0.05, 0.4)))
    if rng.random() < 0.3:
        library = float(rng.uniform(-0.6, 0.6))
        sound = scipy.signal.lfilter([1.0, -library], [1.0], sound)
    return np.asarray(sound / (np.abs(sound).max() + 1e-9))


def _resampled(sound: Sound, ratio: float) -> Sound:
    if abs(ratio - 1.0) < 1e-3:
        return sound
    at = np.arange(0.0, len(sound) - 1, ratio)
    return np.asarray(np.interp(at, np.arange(len(sound)), sound))
