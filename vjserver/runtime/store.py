"""Typed ends of the pipes between processes: what is a value here is bytes there.

``Channels`` is the list of every pipe by name; the app makes the segments, a worker opens the ends that it needs.
"""

import struct
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import psutil

from vjserver.runtime import life, log, queue, shared, soundring
from vjserver.runtime.roles import EVERYBODY, MEMORIES, ROLES, WORKERS
from vjserver.runtime.slot import SlotReader, SlotWriter, size_of
from vjserver.runtime.status import (
    STATUS_CAPACITY,
    ControlStatus,
    DeliverStatus,
    EarStatus,
    GenerateStatus,
    ListenStatus,
    Status,
    StatusReader,
)
from vjserver.show.state import ShowState
from vjserver.types.features import BAND_NAMES, N_SPECTRUM, SCALARS, BeatGrid, Features

STATE_CAPACITY = 1 << 20  # every text at its longest, each sign in four bytes
_GRID = struct.Struct("<qqqdqqd?7x")
_VOICE = struct.Struct("<qdd")
VOICE_STAYS_NS = 1_000_000_000
"""What is known of the voice counts for so long: who listens may have been switched off."""
_COUNTS = (len(SCALARS), len(BAND_NAMES), N_SPECTRUM, 12)
_FEATURES_SIZE = _GRID.size + 4 * sum(_COUNTS)
_Memory = TypeVar("_Memory")
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
    def voice(self) -> str:
        """Slot: listen to generate, deliver, control."""
        return f"{self.key}-voice"

    @property
    def talk(self) -> str:
        """Queue: what is said into the page, control to listen."""
        return f"{self.key}-talk"

    @property
    def state(self) -> str:
        """Slot: control to generate, deliver, ear."""
        return f"{self.key}-state"

    @property
    def signs(self) -> str:
        """Signs of life: from every process to the supervisor."""
        return f"{self.key}-signs"

    def events(self, worker: str) -> str:
        """Queue: from a worker to everybody."""
        return f"{self.key}-ev-{worker}"

    def status(self, worker: str) -> str:
        """Slot: a worker's status."""
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
    def frozen(self) -> str:
        """Ring: the picture that is held still, deliver to its successor."""
        return f"{self.key}-frozen"

    def memory(self, worker: str) -> str:
        """Slot: what a worker leaves to its successor."""
        return f"{self.key}-mem-{worker}"

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
        sizes[self.voice], sizes[self.talk] = size_of(_VOICE.size), queue.SEGMENT_SIZE
        sizes[self.sound] = soundring.SEGMENT_SIZE
        for worker, capacity in MEMORIES.items():
            sizes[self.memory(worker)] = size_of(capacity)
        sizes[self.signs] = life.SEGMENT_SIZE
        for worker in EVERYBODY:
            sizes[self.events(worker)] = queue.SEGMENT_SIZE
            sizes[self.status(worker)] = size_of(STATUS_CAPACITY)
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
        for name in (*self.segments(), self.generated, self.preview, self.frozen, self.page):
            shared.remove_by_name(name)


@dataclass(frozen=True, slots=True)
class Statuses:
    """What the processes tell of themselves, for whoever shows it."""

    ear: StatusReader[EarStatus]
    generate: StatusReader[GenerateStatus]
    deliver: StatusReader[DeliverStatus]
    control: StatusReader[ControlStatus]
    listen: StatusReader[ListenStatus]

    @classmethod
    def of(cls, channels: Channels) -> "Statuses":
        """Return the readers of ``channels``."""
        readers: dict[str, Any] = {
            role.name: StatusReader(channels.status(role.name), role.status) for role in ROLES if role.shown
        }
        return cls(**readers)


def pids_of(server: int) -> dict[str, int]:
    """Return the process of each worker of the server whose main process is ``server``, as they say themselves."""
    found = {}
    for name in WORKERS:
        try:
            pid = StatusReader(Channels(f"vjs-{server}").status(name), Status).get().pid
        except FileNotFoundError:
            continue
        if pid:
            found[name] = pid
    return found


def sweep() -> None:
    """Remove what servers left that were killed with all their processes. Only where the system lists what there is."""
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return
    for path in [*folder.glob("vjs-*"), *folder.glob("vjserver-vjs-*")]:
        words = path.name.removeprefix("vjserver-").split("-")
        try:
            if not words[1].isdigit() or _lives(int(words[1]), path.stat().st_mtime):
                continue
            if _gives_signs(f"vjs-{words[1]}-signs"):  # in another container that shares this memory
                continue
            path.unlink()
        except OSError:  # another user's, or gone already
            continue


def _gives_signs(name: str) -> bool:
    """Tell whether processes gave signs of life in a segment within the last minute, by the clock of this machine."""
    try:
        segment = shared.attach(name)
    except (FileNotFoundError, ValueError):
        return False
    newest = life.newest_sign(segment)
    segment.close()
    return 0 <= time.perf_counter_ns() - newest < 60_000_000_000


def _lives(pid: int, made_s: float) -> bool:
    """Tell whether the process that made something lives, and is no later one that was given the same number."""
    try:
        return bool(psutil.Process(pid).create_time() <= made_s + 2.0)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True


class VoiceWriter:
    """Where listen says how surely somebody speaks, and how loud, both 0..1."""

    def __init__(self, name: str) -> None:
        self._slot = SlotWriter(name)

    def put(self, t_ns: int, speaking: float, level: float) -> None:
        """Tell it."""
        self._slot.put(_VOICE.pack(t_ns, speaking, level))


class FeaturesReader:
    """The newest features, and what is known of the voice; the last ones stay."""

    def __init__(self, channels: Channels, first: Features) -> None:
        self._slot, self._voice = SlotReader(channels.features), SlotReader(channels.voice)
        self._newest = first
        self._voice_ns, self._said = 0, (0.0, 0.0)

    def get(self) -> Features:
        """Return the newest features."""
        data, said = self._slot.get(), self._voice.get()
        if said is not None:
            self._voice_ns, *values = _VOICE.unpack(said)
            self._said = (values[0], values[1])
        if data is not None:
            self._newest = unpack_features(data)
        speaking, voice = self._said if self._newest.t_ns - self._voice_ns < VOICE_STAYS_NS else (0.0, 0.0)
        if (speaking, voice) != (self._newest.speaking, self._newest.voice):
            self._newest = replace(self._newest, speaking=speaking, voice=voice)
        return self._newest


class MemoryWriter:
    """What a process leaves to the one that comes after it; a value that is as it was is not written again."""

    def __init__(self, name: str) -> None:
        self._slot = SlotWriter(name)
        self._last = b""

    def put(self, memory: Any) -> bool:
        """Leave ``memory``, a frozen dataclass; False where it is too large, and what was there stays."""
        data = msgspec.msgpack.encode(memory)
        if data != self._last:
            if len(data) > self._slot.capacity:
                return False
            self._last = data
            self._slot.put(data)
        return True


def left_behind(name: str, kind: type[_Memory]) -> _Memory | None:
    """Return what a predecessor left, or None where there was none, where it was taken back, or makes no sense."""
    data = SlotReader(name).get()
    try:
        return msgspec.msgpack.decode(data, type=kind) if data else None
    except (msgspec.DecodeError, ValueError) as error:
        log.write_fault("store", f"{name} is left out", error)
        return None


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
