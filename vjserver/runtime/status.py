"""Status: what each process tells of itself, twice a second, and the slot in which the others read it.

A status that nobody has put up yet, or that is too old, is one with everything at its start: ``known`` tells.
"""

import os
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

from vjserver.runtime import log
from vjserver.runtime.slot import SlotReader, SlotWriter

STATUS_CAPACITY = 8192
STALE_NS = 1_500_000_000
"""A status is put up twice a second; one older than this is that of a process that hangs or fell."""
Figure = bool | int | float
"""What a generator or an output tells of itself."""


def figures_of(told: Mapping[str, object]) -> dict[str, Figure]:
    """Return the numbers of what somebody's library told; anything else of it is left out."""
    return {str(name): value for name, value in told.items() if isinstance(value, (bool, int, float))}


class Latency(msgspec.Struct, frozen=True):
    """Latencies of one kind, ms: the median, and what 95 and 99 of a hundred stay under."""

    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What every process tells: when, and which process it is."""

    t_ns: int = 0
    pid: int = 0

    @property
    def known(self) -> bool:
        """Whether anything was told."""
        return self.t_ns > 0

    def is_fresh(self, now_ns: int) -> bool:
        """Tell whether the figures are those of now."""
        return now_ns - self.t_ns <= STALE_NS


class EarStatus(Status, frozen=True, kw_only=True):
    """``sound`` tells whether the source is open."""

    beats: int = 0
    bpm: float = 0.0
    osc_sent: int = 0
    osc_failed: int = 0
    audio_to_osc: Latency | None = None
    sound: bool = False


class GenerateStatus(Status, frozen=True, kw_only=True):
    """``lookahead_ms`` is how much ahead of its time a picture is made; ``figures`` are what the generator tells."""

    frames: int = 0
    fps: float = 0.0
    audio_to_frame: Latency | None = None
    source_to_frame: Latency | None = None
    render: Latency | None = None
    lookahead_ms: float = 0.0
    generator: str = ""
    figures: dict[str, Figure] = {}

    def is_fresh(self, now_ns: int) -> bool:
        """Tell it too: who makes pictures that take seconds puts a status up as seldom."""
        return now_ns - self.t_ns <= STALE_NS + round(3e6 * self.lookahead_ms)


class OutputStatus(msgspec.Struct, frozen=True):
    """One output; ``figures`` are what its library tells, such as ``connections``."""

    alive: bool = False
    sent: int = 0
    drops: int = 0
    fps: float = 0.0
    latency: Latency | None = None
    figures: dict[str, Figure] = {}


class DeliverStatus(Status, frozen=True, kw_only=True):
    """``level`` is where the picture comes from: start, live, hold, safe, black; ``new_fps`` counts new pictures."""

    ticks: int = 0
    late: int = 0
    missed: int = 0
    pacing: Latency | None = None
    new_fps: float = 0.0
    fps: float = 0.0
    level: str = ""
    frame_to_output: Latency | None = None
    outputs: dict[str, OutputStatus] = {}
    drops: int = 0


class ControlStatus(Status, frozen=True, kw_only=True):
    """``turned_away`` counts packets of floods and strangers."""

    preset: str = ""
    prompt: str = ""
    osc_received: int = 0
    messages: int = 0
    refused: int = 0
    turned_away: int = 0


class ListenStatus(Status, frozen=True, kw_only=True):
    """``likely`` is how likely somebody speaks, ``takes_s`` how long each kind of hearing takes."""

    ready: bool = False
    microphone: str = "closed"
    speaking: bool = False
    likely: float = 0.0
    level: float = 0.0
    raised: bool = False
    lag_s: float = 0.0
    finals: int = 0
    takes_s: dict[str, float] = {}


class DisplayStatus(Status, frozen=True, kw_only=True):
    """What is amiss, and how far the display has read each queue: one that comes after it goes on from there."""

    troubles: dict[str, str] = {}
    places: dict[str, int] = {}


AnyStatus = TypeVar("AnyStatus", bound=Status)


class StatusWriter:
    """Puts a process's status up, whole."""

    def __init__(self, name: str) -> None:
        self._slot = SlotWriter(name)

    def put(self, status: Status) -> None:
        """Show ``status``, and whose it is."""
        self._slot.put(msgspec.msgpack.encode(msgspec.structs.replace(status, pid=os.getpid())))


class StatusReader(Generic[AnyStatus]):
    """Reads a process's status; the last one stays. One that cannot be read is none, which the log tells once."""

    def __init__(self, name: str, kind: type[AnyStatus]) -> None:
        self._name, self._slot, self._nothing = name, SlotReader(name), kind()
        self._told = False
        self._status = self._nothing
        self._decoder = msgspec.msgpack.Decoder(kind)

    def get(self) -> AnyStatus:
        """Return the newest status."""
        value = self._slot.get()
        if value is not None:
            try:
                self._status = self._decoder.decode(value)
            except msgspec.MsgspecError as error:
                self._status = self._nothing
                if not self._told:
                    log.write_fault("status", f"{self._name} cannot be read", error)
                self._told = True
        return self._status

    def fresh(self, now_ns: int) -> AnyStatus:
        """Return the newest status, an unknown one where its figures are no longer those of now."""
        status = self.get()
        return status if status.is_fresh(now_ns) else self._nothing


def plain(latency: Latency | None) -> dict[str, Any]:
    """Return a latency as JSON values, empty where none was measured."""
    return {} if latency is None else msgspec.to_builtins(latency)
