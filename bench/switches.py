"""How well words of one's own are found in the language that one learns.

    python -m bench.switches
    python -m bench.switches --sound es        # the blind set as sound: espeak-ng and flite speak, Whisper base listens

Sentences and marks were written by somebody who had not seen the program; only ``dev`` and every second row of ``none``
were looked at while it was written. A word counts as found where the whole stretch is the one that was marked.
"""

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from vjserver.app.speech import sound_of
from vjserver.recognisers.lexicon import WordLexicon
from vjserver.recognisers.whisper import WhisperOptions, WhisperRecogniser
from vjserver.speech.mixed import mixed
from vjserver.speech.switches import switches_of
from vjserver.speech.words import Hypothesis
from vjserver.types.audio import Float32

FOLDER = Path(__file__).parent / "notebook"


def rows_of(name: str) -> list[dict[str, Any]]:
    """Return the sentences of a set: dev, test or none."""
    return list(json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8")))


def scores(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return precision and recall of what is found, and the share of found words whose dictionary form is right."""
    hits = found = marked = forms = 0
    for row in rows:
        got = switches_of(row["text"], row["learn"], row["own"], WordLexicon(row["learn"], row["own"]))
        wanted = {one["words"].lower(): [lemma.lower() for lemma in one["lemmas"]] for one in row["switches"]}
        right = [one for one in got if one.words.lower() in wanted]
        forms += sum(list(one.lemmas) == wanted[one.words.lower()] for one in right)
        hits, found, marked = hits + len(right), found + len(got), marked + len(wanted)
    return {"precision": hits / found, "recall": hits / marked, "lemmas": forms / hits}


def false_notes() -> dict[str, int]:
    """Return how many sentences with nothing to note had something noted, by kind."""
    counts: dict[str, int] = {}
    for row in rows_of("none"):
        got = switches_of(row["text"], row["learn"], row["own"], WordLexicon(row["learn"], row["own"]))
        counts[row["kind"]] = counts.get(row["kind"], 0) + bool(got)
    return counts


def spoken(text: str, language: str, folder: Path) -> Float32:
    """Return what a synthesiser says, mono at 16 kHz, without silence around it."""
    path = str(folder / "said.wav")
    voices = {"fr": "fr-fr"}
    line = ["flite", "-voice", "slt", "-t", text, "-o", path] if language == "en" else [
        "espeak-ng", "-s", "135", "-v", voices.get(language, language), "-w", path, text]  # fmt: skip
    subprocess.run(line, check=True)
    sound = sound_of(Path(path))
    there = np.flatnonzero(np.abs(sound) > 0.01)
    sound = sound[max(0, there[0] - 300) : there[-1] + 600]
    return np.asarray(sound / np.sqrt(np.mean(sound * sound)) * 0.08, np.float32)


def by_sound(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many marked stretches are found in sentences whose own words are said by another voice.

    ``alone``: by the recogniser that is told the language that is learnt, without a second hearing.
    """
    recogniser = WhisperRecogniser(WhisperOptions())
    recogniser.open()
    counts = {"marked": 0, "found": 0, "right": 0, "alone found": 0, "alone right": 0}
    with tempfile.TemporaryDirectory() as place:
        for row in rows:
            learn, own, rest, parts = row["learn"], row["own"], row["text"], []
            for one in row["switches"]:
                before, rest = rest.split(one["words"], 1)
                parts += [(learn, before), (own, one["words"])]
            voices = [
                spoken(text, code, Path(place)) for code, text in [*parts, (learn, rest)] if re.search(r"\w", text)
            ]
            sound = np.concatenate([np.zeros(6000), *(np.pad(one, (0, 800)) for one in voices), np.zeros(6000)])
            sound = sound.astype(np.float32)
            heard, mine = (recogniser.decode(sound, code) for code in (learn, own))

            def again(begin_s: float, end_s: float, code: str, sound: Float32 = sound) -> Hypothesis:
                return recogniser.decode(sound[max(0, int(begin_s * 16000)) : int(end_s * 16000)], code)

            lexicon = WordLexicon(learn, own)
            wanted = {one["words"].lower() for one in row["switches"]}
            counts["marked"] += len(wanted)
            for name, text in (("", mixed(heard, mine, learn, own, lexicon, again)), ("alone ", heard.text)):
                got = [one.words.lower() for one in switches_of(text, learn, own, lexicon)]
                counts[f"{name}found"] += len(got)
                counts[f"{name}right"] += sum(words in wanted for words in got)
    recogniser.close()
    return counts


def main() -> None:
    """Measure; print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sound", metavar="L", help="only sentences in which this language is learnt, as sound")
    args = parser.parse_args()
    if args.sound:
        print(json.dumps(by_sound([row for row in rows_of("test") if row["learn"] == args.sound])))
        return
    sets = {name: {key: round(value, 3) for key, value in scores(rows_of(name)).items()} for name in ("dev", "test")}
    print(json.dumps({**sets, "none": false_notes()}))


if __name__ == "__main__":
    main()
