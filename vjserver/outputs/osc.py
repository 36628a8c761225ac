"""OSC out: features and events become datagrams, sent by the ear itself so that a trigger waits for nobody.

python-osc builds every message once, with dummy arguments; while playing, only the numbers in those bytes change.
Continuous values go out as one bundle a tick, triggers at once. A target with a ``lookahead_ms`` gets its beats so
much sooner, stamped with their true time, so that what it shows lands on the beat.

TouchDesigner's OSC In CHOP takes numbers only, so numbers and texts can go to ports of their own.
"""

import contextlib
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime.osc import IMMEDIATELY, bundle, message, timetag
from vjserver.types.errors import OutputError
from vjserver.types.events import Beat, Drum, EarEvent, Onset, Section, event_name
from vjserver.types.features import BeatGrid, Features

NS = 1_000_000_000
PULSE_NS = 60_000_000
# What a tick tells, in order: address and number of floats.
CONTINUOUS = (
    ("/vj/beat/phase", 1), ("/vj/bar/phase", 1), ("/vj/bpm", 1), ("/vj/confidence", 1), ("/vj/level", 1),
    ("/vj/centroid", 1), ("/vj/flux", 1), ("/vj/pitch", 1), ("/vj/energy", 1), ("/vj/silence", 1),
    ("/vj/buildup", 1), ("/vj/break", 1), ("/vj/tonal_change", 1), ("/vj/sound/peak", 1), ("/vj/sound/clip", 1),
    ("/vj/bands", 6), ("/vj/spectrum", 32), ("/vj/chroma", 12),
)  # fmt: skip
SCALARS_TOLD = (
    "level", "centroid", "flux", "pitch_hz", "energy", "silence", "buildup", "break", "tonal_change", "peak", "clip"
)  # fmt: skip


class OscTargetOptions(BaseModel):
    """One listener."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    kind: Literal["numbers", "text", "all"] = "all"
    rate_hz: float = Field(60.0, gt=0.0, le=500.0, description="continuous values a second")
    lookahead_ms: float = Field(0.0, ge=0.0, le=500.0, description="beats are sent so much ahead")


class ContinuousBundle:
    """The bundle of one tick, built once; :meth:`fill` changes its numbers in place."""

    def __init__(self) -> None:
        parts = [message(address, *[0.0] * count) for address, count in CONTINUOUS]
        self._bytes = bytearray(bundle(parts))
        self._places: list[tuple[struct.Struct, int]] = []
        at = 16
        for part, (_, count) in zip(parts, CONTINUOUS, strict=True):
            at += 4 + len(part)
            self._places.append((struct.Struct(f">{count}f"), at - 4 * count))

    def fill(self, features: Features, t_ns: int) -> bytearray:
        """Return the bundle for ``features`` with the phases of ``t_ns``."""
        grid = features.grid
        scalars = [features.value(name, t_ns) for name in SCALARS_TOLD]
        rows = [
            (grid.beat_phase(t_ns),), (grid.bar_phase(t_ns),), (grid.bpm,), (grid.confidence,),
            *[(value,) for value in scalars],
            features.bands.tolist(), features.spectrum.tolist(), features.chroma.tolist(),
        ]  # fmt: skip
        for (form, at), row in zip(self._places, rows, strict=True):
            form.pack_into(self._bytes, at, *row)
        return self._bytes


class OscTarget:
    """Tells one listener. Call :meth:`tell` for events, :meth:`tick` often; sending never waits and never fails."""

    def __init__(self, options: OscTargetOptions) -> None:
        self._o = options
        self._socket, self._address = _open_socket(options)
        self._bundle = ContinuousBundle()
        self._zeros = {address: message(address, 0.0) for address in PULSES}
        self._ends: dict[str, int] = {}
        self._next_ns = 0
        self._next_heartbeat_ns = 0
        self._heartbeats = 0
        self._told_beat = 0
        self.sent = 0
        self.failed = 0

    @property
    def _numbers(self) -> bool:
        return self._o.kind in ("numbers", "all")

    @property
    def _texts(self) -> bool:
        return self._o.kind in ("text", "all")

    def tell(self, event: EarEvent, now_ns: int) -> None:
        """Send an event at once. Beats are told by :meth:`tick`, which knows them ahead."""
        if isinstance(event, Beat):
            return
        name = event_name(event)
        if self._numbers and isinstance(event, (Drum, Onset)):
            address = f"/vj/{name}"
            self._send(message(address, float(event.strength)))
            self._ends[address] = now_ns + PULSE_NS
        if self._numbers and isinstance(event, Section) and event.name == "drop":
            self._send(message("/vj/drop", 1.0))
            self._ends["/vj/drop"] = now_ns + PULSE_NS
        if self._texts:
            self._send(message("/vj/event", name))

    def tick(self, features: Features, grid: BeatGrid, now_ns: int) -> None:
        """Send the beats that are due (or soon enough), ended pulses, and continuous values at their rate."""
        self._tell_beats(grid, now_ns)
        if self._ends:
            for address in [a for a, end_ns in self._ends.items() if end_ns <= now_ns]:
                del self._ends[address]
                self._send(self._zeros[address])
        if self._numbers and now_ns >= self._next_ns:
            period_ns = round(NS / self._o.rate_hz)
            self._next_ns = max(self._next_ns + period_ns, now_ns)
            self._send(self._bundle.fill(features, now_ns))
        if now_ns >= self._next_heartbeat_ns:
            self._next_heartbeat_ns = now_ns + NS
            self._heartbeats += 1
            self._send(message("/vj/status/heartbeat", self._heartbeats))

    def next_beat_ns(self, grid: BeatGrid) -> int | None:
        """Return when the next beat is to be told, or None while none is known."""
        if not grid.running:
            return None
        count = max(self._told_beat + 1, grid.count)
        ahead_ns = round(self._o.lookahead_ms * 1e6)
        return grid.t_ns + round((count - grid.count) * grid.period_s * NS) - ahead_ns

    def resume(self, grid: BeatGrid, t_ns: int) -> None:
        """Take for told what a predecessor told up to ``t_ns``; what it left at 1 is brought to its end."""
        if grid.running:
            self._told_beat = grid.count_at(t_ns + round(self._o.lookahead_ms * 1e6))
        if self._numbers:
            for packet in self._zeros.values():
                self._send(packet)

    def _tell_beats(self, grid: BeatGrid, now_ns: int) -> None:
        if not grid.running:
            return
        ahead_ns = round(self._o.lookahead_ms * 1e6)
        newest = grid.count_at(now_ns + ahead_ns)
        if newest <= self._told_beat:
            return
        self._told_beat = newest
        position = (grid.bar_position + newest - grid.count) % grid.beats_per_bar
        pulses = ["/vj/beat/pulse"] if position else ["/vj/beat/pulse", "/vj/downbeat/pulse"]
        due_ns = grid.t_ns + round((newest - grid.count) * grid.period_s * NS)
        tag = timetag(time.time() + (due_ns - now_ns) / NS) if ahead_ns else IMMEDIATELY
        messages = []
        if self._numbers:
            messages += [message("/vj/beat", newest & 0x7FFFFFFF), message("/vj/beat/position", position)]
            messages.append(message("/vj/bar/beats", grid.beats_per_bar))
            messages += [message(address, 1.0) for address in pulses]
            self._ends.update(dict.fromkeys(pulses, now_ns + PULSE_NS))
        if self._texts:
            messages.append(message("/vj/event", "beat" if position else "downbeat"))
        self._send(bundle(messages, tag))

    def _send(self, packet: bytes | bytearray) -> None:
        try:
            self._socket.sendto(packet, self._address)
            self.sent += 1
        except OSError:
            self.failed += 1  # nobody listens, or the buffer is full: the next tick tells again

    def close(self) -> None:
        """Close the socket."""
        with contextlib.suppress(OSError):
            self._socket.close()


PULSES = ("/vj/beat/pulse", "/vj/downbeat/pulse", "/vj/kick", "/vj/snare", "/vj/hat", "/vj/onset", "/vj/drop")


class StatusSender:
    """Tells slow news (status, errors, names) to every target that takes their kind and can be found."""

    def __init__(self, targets: Sequence[OscTargetOptions]) -> None:
        self._targets: dict[OscTargetOptions, tuple[socket.socket, Any]] = {}
        for target in targets:
            with contextlib.suppress(OutputError):  # the ear has announced it
                self._targets[target] = _open_socket(target)

    def tell(self, address: str, *args: float | int | str) -> None:
        """Send one message: texts to text targets, numbers to number targets."""
        needed = "text" if any(isinstance(arg, str) for arg in args) else "numbers"
        packet = message(address, *args)
        for target in self._targets:
            if target.kind in (needed, "all"):
                self.send_to(target, packet)

    def send_to(self, target: OscTargetOptions, packet: bytes) -> None:
        """Send a packet to one target; what nobody hears is lost."""
        if target in self._targets:
            sender, to = self._targets[target]
            with contextlib.suppress(OSError):
                sender.sendto(packet, to)

    def close(self) -> None:
        """Close the sockets."""
        for sender, _ in self._targets.values():
            sender.close()


def _open_socket(options: OscTargetOptions) -> tuple[socket.socket, Any]:
    """Return a socket that never waits, and the address to send to. Raises OutputError for an unknown host."""
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_DGRAM)[0]
    except OSError as error:
        raise OutputError(f"OSC target {options.host!r} cannot be found: {error}") from None
    sender = socket.socket(found[0], found[1])
    sender.setblocking(False)
    return sender, found[4]
