"""OSC packets that we send: addresses and arguments go in, bytes come out. python-osc builds them."""

import struct
import sys
from collections.abc import Sequence

from pythonosc.osc_message_builder import OscMessageBuilder

NTP_EPOCH_S = 2_208_988_800  # RFC 5905: seconds from 1900 to 1970
IMMEDIATELY = struct.pack(">Q", 1)
MOST_FLOAT = 3.4028234e38


def message(address: str, *args: float | int | str) -> bytes:
    """Return an OSC message; floats travel as ``f``, texts as ``s``, switches as 0 or 1, ints as ``i``.

    A number that does not fit travels with 64 bits, as ``d`` or ``h``; an int that does not fit there as a float, the
    largest there is at most.
    """
    builder = OscMessageBuilder(address)
    for arg in args:
        if isinstance(arg, int):
            builder.add_arg(*_whole(int(arg)))
        elif isinstance(arg, float):
            builder.add_arg(*_real(arg))
        else:
            builder.add_arg(arg)
    return builder.build().dgram


def _whole(number: int) -> tuple[float, str]:
    """Return a whole number and the smallest type that holds it."""
    for bits, tag in ((32, "i"), (64, "h")):
        if -(1 << (bits - 1)) <= number < 1 << (bits - 1):
            return number, tag
    most = sys.float_info.max
    return _real(float(max(-most, min(most, number))))


def _real(number: float) -> tuple[float, str]:
    return number, "d" if abs(number) > MOST_FLOAT else "f"


def bundle(messages: Sequence[bytes], timetag: bytes = IMMEDIATELY) -> bytes:
    """Return an OSC bundle."""
    return b"#bundle\0" + timetag + b"".join(struct.pack(">i", len(m)) + m for m in messages)


def timetag(unix_s: float) -> bytes:
    """Return the OSC timetag (NTP, 32.32 bits) of a wall-clock time."""
    return struct.pack(">Q", int((unix_s + NTP_EPOCH_S) * 2**32) & 0xFFFFFFFFFFFFFFFF)
