"""Classes by name: a text goes in, the class of a model that it names comes out. No torch here."""

import re
from collections.abc import Sequence
from pathlib import Path

from vjserver.generators.layout import read_json
from vjserver.generators.store import CLASSES, find_gan
from vjserver.types.errors import ConfigError

MOST = 100_000
WORD = re.compile(r"[a-z0-9]+")


def labels_of(folder: Path, classes: int) -> tuple[str, ...]:
    """Return what a model's classes are called: as ``classes.txt`` in its folder tells, or ImageNet's of 1000.

    ImageNet's names are WordNet's, in the order of its synsets (as the package timm has them).
    """
    own = folder / CLASSES
    if own.is_file():
        rows = own.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    elif classes == 1000:
        rows = (Path(__file__).parent / "imagenet.txt").read_text(encoding="utf-8").splitlines()
    else:
        rows = []
    return tuple(rows[:classes])


def classes_of(model: str, wanted: str = "") -> list[tuple[int, str]]:
    """Return the classes of a GAN, number and name; with ``wanted`` those whose name has all of its words.

    Raises GeneratorError for no GAN, ConfigError for one without classes, or where none is called so.
    """
    folder = find_gan(model)
    count = read_json(folder / "config.json").get("classes", 0)
    if not isinstance(count, int) or not 0 < count <= MOST:
        raise ConfigError(f"{model} has no classes: its seed says what it draws")
    labels = labels_of(folder, count) or tuple(f"class {i}" for i in range(count))
    words = WORD.findall(wanted.lower())
    rows = [(i, name) for i, name in enumerate(labels) if all(word in name.lower() for word in words)]
    if not rows:
        raise ConfigError(f"{model} has no class that is called {wanted!r}")
    return rows


def find_class(text: str, labels: Sequence[str]) -> int | None:
    """Return the class that a text names: a number, a name as it stands, or the longest name whose words it all has."""
    text = text.strip().lower()
    if text.isdecimal() and len(text) < 7:
        return int(text) if int(text) < max(len(labels), 1000) else None
    words = set(WORD.findall(text))
    best: tuple[float, int] | None = None
    for place, label in enumerate(labels):
        for name in label.lower().split(","):
            have = WORD.findall(name)
            if not have or not set(have) <= words:
                continue
            worth = len(have) + (5.0 if name.strip() == text else 0.0)
            if best is None or worth > best[0]:
                best = worth, place
    return best[1] if best is not None else None
