"""The shelf: what a user saves, and finds again the next night: presets, snapshots, takes.

Names that come over the network never reach the disk as they are: a file's name is made of the letters and digits in
them, and lies in the user's folder.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import msgspec

from vjserver.runtime.files import data_folder, set_aside, slug_of, write_whole
from vjserver.show.bank import Bank
from vjserver.show.presetfile import preset_of, saved
from vjserver.show.presettext import parse_preset
from vjserver.show.registry import Registry
from vjserver.show.state import Look, settled_look
from vjserver.show.take import Take, parse
from vjserver.types.errors import ConfigError

MINE = "mine"  # the bank of what is saved
LONGEST_TAKE = 1 << 28
MOST_SAVES = 30
"""Presets that may be saved in a minute."""


class UserLibrary:
    """The user's folder; ``load`` reads all presets anew. Every method may raise ConfigError, which says why."""

    def __init__(self, load: Callable[[], Bank], registry: Registry) -> None:
        self.load, self._registry = load, registry
        self.folder = data_folder()
        self._saves: list[float] = []

    @property
    def presets(self) -> Path:
        """The folder of the user's own presets."""
        return self.folder / "presets"

    def save_preset(self, look: Look, name: str, bank: Bank) -> Path:
        """Save a look; without a name over the preset that plays, if it is the user's. Return the file."""
        playing = bank.presets[look.preset] if look.preset < len(bank.presets) else None
        if not name.strip():
            if playing is None or bank.banks[look.preset] != MINE:
                raise ConfigError("/vj/preset/save: the preset that plays is not one of yours: give a name")
            slug, name = playing[0], playing[1].name
        else:
            slug = slug_of(name)
        if not slug:
            raise ConfigError(f"/vj/preset/save: a name with letters or digits is needed: got {name[:40]!r}")
        self._spare_the_disk()
        path = self.presets / f"{slug}.toml"
        try:
            before = path.read_text(encoding="utf-8-sig") if path.exists() else ""
            text = saved(before, preset_of(look, name.strip()[:80], playing[1] if playing else None, self._registry))
            parse_preset(text, path.name, self._registry)
            write_whole(path, text.encode())
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
        return path

    def _spare_the_disk(self) -> None:
        """Raise ConfigError for more presets than a hand saves: somebody's program has run wild."""
        now_s = time.monotonic()
        self._saves = [at_s for at_s in self._saves if now_s - at_s < 60.0]
        if len(self._saves) >= MOST_SAVES:
            raise ConfigError(f"/vj/preset/save: {MOST_SAVES} presets were saved within a minute, and no more are")
        self._saves.append(now_s)

    def save_snapshots(self, snapshots: Mapping[int, Look]) -> None:
        """Keep the snapshots."""
        path = self.folder / "snapshots.json"
        try:
            write_whole(path, msgspec.json.encode({str(number): look for number, look in snapshots.items()}))
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from None

    def load_snapshots(self) -> dict[int, Look]:
        """Return the snapshots, none if there are none."""
        path = self.folder / "snapshots.json"
        try:
            rows = msgspec.json.decode(path.read_bytes(), type=dict[str, msgspec.Raw])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}; no snapshots are known") from None
        except (ValueError, RecursionError, msgspec.DecodeError) as error:
            try:
                kept = set_aside(path)
            except OSError:
                kept = path
            raise ConfigError(
                f"{path} is damaged ({error}); it is kept as {kept.name}, no snapshots are known"
            ) from None
        looks: dict[int, Look] = {}
        for number, row in rows.items():  # one that makes no sense costs itself
            with contextlib.suppress(ValueError, RecursionError, msgspec.DecodeError):
                looks[int(number)] = settled_look(msgspec.json.decode(row, type=Look), self._registry)
        return looks

    # -- takes -----------------------------------------------------------------------------------------------

    def new_take(self, stamp: str) -> tuple[Path, BinaryIO]:
        """Open the file of a new take, named by the time."""
        path = self.folder / "takes" / f"{stamp}.jsonl"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return path, path.open("xb", buffering=1 << 16)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from None

    def take_again(self, name: str) -> tuple[Path, BinaryIO]:
        """Open the file of a take that was broken off, to write on."""
        path = self.folder / "takes" / f"{name}.jsonl"
        try:
            cut_last_line(path)
            return path, path.open("ab", buffering=1 << 16)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from None

    def takes(self) -> list[str]:
        """Return the names of all takes, the newest last."""
        return [path.stem for path in sorted((self.folder / "takes").glob("*.jsonl"))]

    def take(self, name: str) -> tuple[str, Take]:
        """Return the take of that name, the newest without one, and what it is called."""
        known = self.takes()
        if not known:
            raise ConfigError("/vj/take/play: there is no take yet; /vj/take/record 1 begins one")
        wanted = name.strip() or known[-1]
        if wanted not in known:
            raise ConfigError(f"/vj/take/play: unknown take {wanted[:60]!r}; the newest are: {', '.join(known[-5:])}")
        path = self.folder / "takes" / f"{wanted}.jsonl"
        try:
            if path.stat().st_size > LONGEST_TAKE:
                raise ConfigError(f"{path} is too long for a take")
            return wanted, parse(path.read_bytes().splitlines(keepends=True), path.name, self._registry)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def cut_last_line(path: Path) -> None:
    """Cut a torn last line off a file of lines, so that what is written next begins one of its own. Raises OSError."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 16)))
        tail = file.read()
        if not tail.endswith(b"\n"):
            file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
