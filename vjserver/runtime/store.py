"""Typed ends of the pipes between processes: what is a value here is bytes there.

``Channels`` is the list of every pipe by name; the app makes the segments, a worker opens the ends that it needs.
"""

import struct
from dataclasses import dataclass

import msgspec
import numpy as np

from vjserver.runtime import queue, shared, soundring, stats
from vjserver.runtime.slot import SlotReader, SlotWriter, size_of
from vjserver.show.state import ShowState
from vjserver.types.features import BAND_NAMES, N_SPECTRUM, SCALARS, BeatGrid, Features

WORKERS = ("control", "ear", "generate", "deliver")
STATE_CAPACITY = 1 << 20  # every text at its longest, each sign in four bytes
_GRID = struct.Struct("<qqqdqqd?7x")
_COUNTS = (len(SCALARS), len(BAND_NAMES), N_SPECTRUM, 12)
_FEATURES_SIZE = _GRID.size + 4 * sum(_COUNTS)
_state_decoder = msgspec.msgpack.Decoder(ShowState)


def pack_features(f: Features) -> bytes:
    """Return features as bytes of a fixed size."""
    g = f.grid
    head = _GRID.pack(f.t_ns, g.t_ns, g.count, g.period_s, g.bar_position, g.beats_per_bar, g.confidence, g.running)
    return head + f.scalars.tobytes() + f.bands.tobytes() + f.spectrum.tobytes() + f.chroma.tobytes()


def unpack_features(data: bytes) -> Features:
    """Return the features of :func:`pack_features`."""
    t_ns, *grid = _GRID.unpack_from(data)
    values = np.frombuffer(data, np.float32, offset=_GRID.size)
    scalars, bands, spectrum, chroma = np.split(values, np.cumsum(_COUNTS)[:-1])
    return Features(t_ns, scalars, bands, spectrum, chroma, BeatGrid(*grid))


@dataclass(frozen=True, slots=True)
class Channels:
    """The names of all pipes of one running server, made from its ``key``."""

    key: str

    @property
    def features(self) -> str:
        """Slot: ear to generate, deliver, control."""
        return f"{self.key}-features"

    @property
    def state(self) -> str:
        """Slot: control to generate, deliver, ear."""
        return f"{self.key}-state"

    def events(self, worker: str) -> str:
        """Queue: from a worker to everybody."""
        return f"{self.key}-ev-{worker}"

    def stats(self, worker: str) -> str:
        """Slot: a worker's status board."""
        return f"{self.key}-st-{worker}"

    @property
    def generated(self) -> str:
        """Ring: generate to deliver."""
        return f"{self.key}-frames"

    @property
    def sound(self) -> str:
        """Sound ring: ear to deliver."""
        return f"{self.key}-sound"

    @property
    def preview(self) -> str:
        """Ring: the deck that is not on air, generate to deliver."""
        return f"{self.key}-deck"

    @property
    def page(self) -> str:
        """Ring: small pictures, deliver to control for the page."""
        return f"vjserver-{self.page_stream}"

    @property
    def page_stream(self) -> str:
        """The page's ring as a preview output calls it."""
        return f"{self.key}-page"

    def segments(self) -> dict[str, int]:
        """Return name and size of every slot and queue (rings are made by their writers)."""
        sizes = {self.features: size_of(_FEATURES_SIZE), self.state: size_of(STATE_CAPACITY)}
        sizes[self.sound] = soundring.SEGMENT_SIZE
        for worker in (*WORKERS, "main"):
            sizes[self.events(worker)] = queue.SEGMENT_SIZE
            sizes[self.stats(worker)] = size_of(stats.STATS_CAPACITY)
        return sizes

    def create(self) -> list[shared.Segment]:
        """Make every slot and queue; keep what is returned (on Windows a segment goes with its last holder).

        Raises VJError where there is no room, leaving nothing behind.
        """
        made: list[shared.Segment] = []
        try:
            for name, size in self.segments().items():
                made.append(shared.create(name, size))
        except BaseException:
            for segment in made:
                shared.remove(segment)
            raise
        return made

    def remove(self) -> None:
        """Remove everything, also what a killed worker left."""
        for name in (*self.segments(), self.generated, self.preview, self.page):
            shared.remove_by_name(name)


class FeaturesReader:
    """The newest features; the last ones stay."""

    def __init__(self, name: str, first: Features) -> None:
        self._slot = SlotReader(name)
        self._newest = first

    def get(self) -> Features:
        """Return the newest features."""
        data = self._slot.get()
        if data is not None:
            self._newest = unpack_features(data)
        return self._newest


class StateWriter:
    """Where control publishes the state."""

    def __init__(self, name: str) -> None:
        self._slot = SlotWriter(name)

    def put(self, state: ShowState) -> None:
        """Publish ``state``."""
        self._slot.put(msgspec.msgpack.encode(state))


class StateReader:
    """The newest state; the last one stays, ``first`` before there is one."""

    def __init__(self, name: str, first: ShowState | None = None) -> None:
        self._slot = SlotReader(name)
        self._newest = first or ShowState()

    def get(self) -> ShowState:
        """Return the newest state."""
        return self.get_new() or self._newest

    def get_new(self) -> ShowState | None:
        """Return the newest state if there is one since the last call, else None."""
        data = self._slot.get()
        if data is None:
            return None
        self._newest = _state_decoder.decode(data)
        return self._newest
