"""MIDI learn: a message that came goes in, the control that it would be comes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import tomlkit

from vjserver.controls.midibytes import BEND, CC, NOTE, NRPN_COARSE, NRPN_FINE, PRESET, PROGRAM, Kept, decoded
from vjserver.controls.midimap import Control, Led
from vjserver.show.registry import Registry


def learnt(data: Sequence[int], address: str, kept: Kept, registry: Registry) -> Control | None:
    """Return the control that a message comes from, tied to ``address``; None where nothing can be learnt from it yet.

    What sets a parameter number is waited out: its value follows.
    """
    for kind, channel, number, value in decoded(data, kept):
        begins = kept.numbers and kind == CC and number in (NRPN_COARSE, NRPN_FINE) and not kept.alone
        if begins or (kind == NOTE and value == 0.0):
            continue
        where: Mapping[str, object] = {"pitch": True} if kind == BEND else {kind: number}
        led = Led() if kind == NOTE else None
        args = (number + 1,) if kind == PROGRAM and address == PRESET else ()
        row = {**where, "channel": channel, "to": address, "args": args, "led": led}
        return Control.model_validate(row, context={"registry": registry})
    return None


@dataclass(slots=True)
class Learnt:
    """What was learnt, by the name of the port."""

    rows: dict[str, list[Control]] = field(default_factory=dict)

    def add(self, port: str, control: Control) -> None:
        """Tie a control; what it played before, it plays no more."""
        key = next(control.places())
        kept = [c for c in self.rows.get(port, ()) if next(c.places()) != key]
        self.rows[port] = [*kept, control]

    def forget(self, address: str) -> bool:
        """Take back every control that was tied to ``address``; tell whether there was one."""
        before = sum(map(len, self.rows.values()))
        self.rows = {port: [c for c in rows if c.to != address] for port, rows in self.rows.items()}
        return sum(map(len, self.rows.values())) < before


def learnt_text(port: str, rows: Sequence[Control]) -> str:
    """Return what was learnt as a map file."""
    document = tomlkit.document()
    document.add("name", tomlkit.item(f"learnt: {port}"[:80]))
    controls = tomlkit.aot()
    for row in rows:
        table = tomlkit.table()
        table.update(row.model_dump(mode="json", exclude_defaults=True))
        controls.append(table)
    document.add("controls", controls)
    return tomlkit.dumps(document)
