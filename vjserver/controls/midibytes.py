"""MIDI bytes: what a controller sends goes in, which control moved and where to comes out."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Kept:
    """What is kept from one message for the next, by channel: coarse halves of 14 bits, and the NRPN that is set."""

    coarse: dict[tuple[int, int], int] = field(default_factory=dict)
    parameter: dict[int, list[int | None]] = field(default_factory=dict)
    value: dict[int, int] = field(default_factory=dict)
    last: tuple[int, int] = (0, -1)
    alone: bool = False
    """Whether the last controller came twice in a row: then 99 and 98 are faders, and no parameter number."""
    numbers: bool = True
    """Whether 99 and 98 may begin a parameter number."""

    def number(self, channel: int) -> int | None:
        """Return the NRPN that is set on a channel; None where none is, or the null that ends one."""
        coarse, fine = self.parameter.get(channel, [None, None])
        return None if coarse is None or fine is None or (coarse, fine) == (127, 127) else coarse << 7 | fine


DATA, DATA_FINE, NRPN_FINE, NRPN_COARSE = 6, 38, 98, 99


def decoded(data: Sequence[int], kept: Kept) -> list[tuple[str, int, int, float]]:
    """Return (kind, channel from 1, number, 0..1) for a message; ``kept`` goes from each message to the next.

    The fine half of a 14-bit controller comes second; both a 7-bit and a 14-bit reading are returned. Of a parameter
    number (NRPN) the value is returned as soon as its coarse half is there, and again with its fine one.
    """
    if len(data) < 2 or not 0x80 <= data[0] < 0xF0 or max(data[1:3]) > 127:
        return []
    status, channel, number = data[0] & 0xF0, (data[0] & 0x0F) + 1, data[1]
    if status == 0xC0:
        return [(PROGRAM, channel, number, 1.0)]
    if len(data) < 3:
        return []
    value = data[2]
    if status == 0x90:
        return [(NOTE, channel, number, value / 127.0)]
    if status == 0x80:
        return [(NOTE, channel, number, 0.0)]
    if status == 0xE0:
        return [(BEND, channel, 0, (number | value << 7) / 16383.0)]
    if status != 0xB0:
        return []
    kept.alone, kept.last = kept.last == (channel, number), (channel, number)
    parameter = kept.number(channel)
    if number == DATA and parameter is not None:
        kept.value[channel] = value
        return [(NRPN, channel, parameter, value / 127.0)]
    if number == DATA_FINE and parameter is not None and channel in kept.value:
        return [(NRPN, channel, parameter, (kept.value[channel] << 7 | value) / 16383.0)]
    if number in (NRPN_COARSE, NRPN_FINE):
        kept.parameter.setdefault(channel, [None, None])[NRPN_COARSE - number] = value
        kept.value.pop(channel, None)
    rows = [(CC, channel, number, value / 127.0)]
    if number < 32:
        kept.coarse[channel, number] = value
    elif number < 64 and (channel, number - 32) in kept.coarse:
        rows.append((CC14, channel, number - 32, (kept.coarse[channel, number - 32] << 7 | value) / 16383.0))
    return rows


NOTE, CC, CC14, BEND, NRPN, PROGRAM = "note", "cc", "cc14", "pitch", "nrpn", "program"
PRESET = "/vj/preset/go"
