"""How well words of one's own are found in the language that one learns.

    python -m bench.switches

Sentences and marks were written by somebody who had not seen the program; only ``dev`` and every second row of ``none``
were looked at while it was written. A word counts as found where the whole stretch is the one that was marked.
"""

import json
from pathlib import Path
from typing import Any

from vjserver.recognisers.lexicon import WordLexicon
from vjserver.speech.switches import switches_of

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


def main() -> None:
    """Measure; print one JSON line."""
    sets = {name: {key: round(value, 3) for key, value in scores(rows_of(name)).items()} for name in ("dev", "test")}
    print(json.dumps({**sets, "none": false_notes()}))


if __name__ == "__main__":
    main()
