"""A bank: presets in their order, found by name, number or neighbour."""

from collections.abc import Sequence

from vjserver.show.preset import Preset
from vjserver.types.errors import ConfigError, UnknownNameError, nearest
from vjserver.types.events import Argument


class Bank:
    """Presets in playing order, in banks: found by number (from 1), name or slug.

    A slug is the file's name, whose number may be left out. ``banks`` names the bank of each preset; ``faults`` says of
    the files that were left out, by bank and slug, what is wrong with them.
    """

    def __init__(
        self,
        presets: Sequence[tuple[str, Preset]],
        banks: Sequence[str] = (),
        faults: dict[tuple[str, str], str] | None = None,
    ) -> None:
        self.presets = tuple(presets)
        self.banks = tuple(banks) or ("",) * len(self.presets)
        self.faults = faults or {}

    def repaired(self, before: "Bank") -> "Bank":
        """Return this bank with those presets of ``before`` whose files are broken now, each in its place."""
        rows = {(bank, slug): preset for bank, (slug, preset) in zip(self.banks, self.presets, strict=True)}
        old = {(bank, slug): preset for bank, (slug, preset) in zip(before.banks, before.presets, strict=True)}
        rows |= {key: old[key] for key in self.faults if key in old}
        order = {name: i for i, name in enumerate(dict.fromkeys((*self.banks, *before.banks)))}
        kept = sorted(rows.items(), key=lambda row: (order[row[0][0]], row[0][1]))
        return Bank([(slug, preset) for (_, slug), preset in kept], [bank for (bank, _), _ in kept], self.faults)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bank) and (self.presets, self.banks) == (other.presets, other.banks)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the banks, in order."""
        return tuple(dict.fromkeys(self.banks))

    def places(self, bank: str = "") -> list[int]:
        """Return the places (from 0) of a bank's presets, of all where it has no name. Raises ConfigError."""
        if bank and bank not in self.banks:
            raise ConfigError(f"unknown bank {bank[:60]!r}{nearest(bank, self.names)}; known: {', '.join(self.names)}")
        return [i for i, name in enumerate(self.banks) if not bank or name == bank]

    def find(self, key: Argument, bank: str = "") -> tuple[int, Preset]:
        """Return place (from 0) and preset; numbers count within ``bank``. Raises ConfigError naming the nearest."""
        places = self.places(bank)
        if isinstance(key, str) and not key.isdecimal():
            wanted = key.strip().lower()
            for i in (*places, *range(len(self.presets))):  # the same name may stand in two banks
                slug, preset = self.presets[i]
                if wanted in (slug.lower(), slug.lower().lstrip("0123456789-"), preset.name.lower()):
                    return i, preset
            broken = [why for (_, slug), why in self.faults.items() if wanted in (slug, slug.lstrip("0123456789-"))]
            if broken:
                raise ConfigError(f"preset {key[:60]!r} is left out: {broken[0].splitlines()[0]}")
            raise UnknownNameError(f"unknown preset {key[:60]!r}", wanted[:60], [slug for slug, _ in self.presets])
        number = int(key)
        if not places:
            raise ConfigError("there are no presets; `vjserver presets check` says why")
        if not 1 <= number <= len(places):
            raise ConfigError(f"preset number must be in 1..{len(places)}: got {number}")
        return places[number - 1], self.presets[places[number - 1]][1]

    def called(self, args: Sequence[Argument], bank: str = "") -> int:
        """Return the place that (preset,) in ``bank``, or (bank, preset), calls. Raises ConfigError."""
        return self.find(args[-1], str(args[0]) if len(args) > 1 else bank)[0]

    def step(self, place: int, by: int, bank: str = "") -> int:
        """Return the place ``by`` presets further in the bank, round and round."""
        places = self.places(bank)
        if place not in places:
            return places[0]
        return places[(places.index(place) + by) % len(places)]

    def number(self, place: int, bank: str = "") -> int:
        """Return the number (from 1) of a place within a bank, 0 if it is not in there."""
        places = self.places(bank if bank in self.banks else "")
        return places.index(place) + 1 if place in places else 0

    def found_again(self, place: int, name: str, before: "Bank") -> int:
        """Return the place of the preset that stood at ``place`` in the bank ``before``, by its file or its ``name``.

        One that is gone has a place behind the end.
        """
        if place < len(before.presets):
            file = before.banks[place], before.presets[place][0]
            for now, (slug, _) in enumerate(self.presets):
                if (self.banks[now], slug) == file:
                    return now
        names = [preset.name for _, preset in self.presets]
        return names.index(name) if name in names else len(names)
