"""What the panel and OSCQuery see of control: values, sound and health go out, messages and new thumbnails come in."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vjserver.runtime.files import data_folder, write_whole
from vjserver.show.addresses import CUE_GO, OUTPUTS, REGISTRY
from vjserver.stages.control import Control
from vjserver.stages.feedback import News
from vjserver.types.events import Argument


class PanelDesk:
    """Control as the panel needs it; ``shipped`` is the folder of the thumbnails that come with our presets."""

    def __init__(self, control: Control, shipped: Path) -> None:
        self._control, self._shipped = control, shipped
        self._mine = data_folder() / "thumbs"
        self._hello: dict[str, Any] = {}
        self._hello_of: object = None
        self.snapshot, self.receive, self.settle = control.snapshot, control.receive, control.settle
        self.leave, self.read = control.feedback.leave, control.desk.read

    def join(self, key: object, tell: Callable[[News], None], wants: Callable[[str, Argument], bool]) -> None:
        """Have ``tell`` told every value that changes, and all of them first. Raises ConfigError where it is full."""
        self._control.feedback.join(key, tell, wants)

    def hello(self) -> dict[str, Any]:
        """Return addresses, presets and cues as JSON values; another object when presets have changed."""
        desk = self._control.desk
        if desk.bank is not self._hello_of:
            self._hello_of = desk.bank
            self._hello = {
                "addresses": [_entry_row(address) for address in REGISTRY if address != CUE_GO],
                "outputs": list(OUTPUTS),
                "banks": desk.bank.names,
                "presets": [
                    {"number": i + 1, "slug": slug, "name": preset.name, "bank": desk.bank.banks[i],
                     "description": preset.description, "tags": preset.tags,
                     "thumb": self.thumbnail(i + 1) is not None}
                    for i, (slug, preset) in enumerate(desk.bank.presets)
                ],
                "cues": [{"id": cue.id, "name": cue.name} for cue in desk.cues.cues],
            }  # fmt: skip
        return self._hello

    def overheard(self, since: int) -> tuple[int, list[tuple[int, str, str, tuple[object, ...]]]]:
        """Return how many messages there were, and those of the newest that came after number ``since``."""
        control = self._control
        return control.monitored, [row for row in control.monitor if row[0] > since]

    def notes(self, since: int) -> list[tuple[int, str, str, str]]:
        """Return what was announced after number ``since``."""
        return [row for row in self._control.notes if row[0] > since]

    # -- thumbnails ----------------------------------------------------------------------------------------

    def thumbnail(self, number: int) -> bytes | None:
        """Return a small JPEG of preset ``number`` (from 1), or None where there is none."""
        presets = self._control.desk.bank.presets
        if not 1 <= number <= len(presets):
            return None
        name = f"{presets[number - 1][0]}.jpg"
        for folder in (self._mine, self._shipped):
            try:
                return (folder / name).read_bytes()
            except OSError:
                continue
        return None

    def keep_thumbnail(self, jpeg: bytes) -> None:
        """Keep the picture of the preset that plays, unless it is one of ours."""
        desk = self._control.desk
        if desk.state.preset < len(desk.bank.presets):
            name = f"{desk.bank.presets[desk.state.preset][0]}.jpg"
            if not (self._shipped / name).exists():
                write_whole(self._mine / name, jpeg)
                self._hello_of = None


def _entry_row(address: str) -> dict[str, Any]:
    entry = REGISTRY[address]
    arguments: Sequence[dict[str, Any]] = [
        {"type": a.type, "low": a.low, "high": a.high, "unit": a.unit, "optional": a.optional} for a in entry.arguments
    ]
    return {
        "address": address,
        "kind": entry.kind,
        "arguments": arguments,
        "choices": entry.choices,
        "doc": entry.doc,
        "default": entry.default,
    }
