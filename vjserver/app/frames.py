"""Frames, seen from a terminal: who sends them, what the server sends, and how they arrive."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vjserver.app.show import ZMQ_ADDRESS
from vjserver.ports import Input, find, kinds, open_door, options_of
from vjserver.runtime import ndi
from vjserver.runtime.ring import RingReader
from vjserver.show.outputs import row_of_words, split
from vjserver.types.errors import ConfigError, VJError
from vjserver.types.frames import Frame

LOOK_S = 1.5
STREAMS = ("program", "preview", "input", "small")
"""Where shared memory has no list, these are looked for."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Somebody who sends frames: ``size`` is (0, 0) and ``fps`` 0 where none came."""

    kind: str
    name: str
    size: tuple[int, int]
    fps: float
    how: str
    """What a show file's input says to receive it."""


def senders(streams: tuple[str, ...] = ()) -> tuple[list[Sender], list[str]]:
    """Return who sends on this machine and this network, and what could not be looked for, and why."""
    found: list[Sender] = []
    remarks: list[str] = []
    for look in (_ndi_senders, _spout_senders, _syphon_senders):
        try:
            found += look()
        except VJError as error:
            remarks.append(str(error))
    found += _rings(streams)
    return found, remarks


def _ndi_senders() -> list[Sender]:
    finder = ndi.Finder()
    try:
        names = [source.ndi_name for source in finder.sources(LOOK_S)]
    finally:
        finder.close()
    return [_measured("ndi", name, {"name": name}) for name in names]


def _spout_senders() -> list[Sender]:
    try:
        import SpoutGL
    except ImportError:
        return []
    with SpoutGL.SpoutReceiver() as receiver:
        names = list(receiver.getSenderList())
    return [_measured("spout", name, {"name": name}) for name in names]


def _syphon_senders() -> list[Sender]:
    try:
        import syphon
    except ImportError:
        return []
    return [_measured("syphon", s.name, {"name": s.name}) for s in syphon.SyphonServerDirectory().servers]


def _rings(streams: tuple[str, ...]) -> list[Sender]:
    shm = Path("/dev/shm")
    names = {path.name.removeprefix("vjserver-") for path in shm.glob("vjserver-*")} if shm.is_dir() else set(STREAMS)
    names = {name for name in names if not name.startswith("vjs-")}  # a server's own, for its page
    found = []
    for stream in sorted(names | set(streams)):
        ring = RingReader(f"vjserver-{stream}")
        there = ring.get() is not None
        ring.close()
        if there:
            found.append(_measured("sharedmem", f"vjserver-{stream}", {"stream": stream}))
    return found


def _measured(kind: str, name: str, options: Mapping[str, str]) -> Sender:
    """Receive for a while and say what came."""
    how = f"{{kind = {kind!r}, {', '.join(f'{k} = {v!r}' for k, v in options.items())}}}".replace("'", '"')
    size, times = (0, 0), []
    try:
        door: Input = open_door("inputs", {"kind": kind, **options})
    except VJError:
        return Sender(kind, name, size, 0.0, how)
    deadline = time.monotonic() + LOOK_S
    while time.monotonic() < deadline:
        frame = door.read(0.1)
        if frame is not None:
            size = (frame.info.width, frame.info.height)
            times.append(time.monotonic())
    door.close()
    times = times[1:]  # the first one waited for us
    fps = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
    return Sender(kind, name, size, round(fps, 1), how)


def output_kinds() -> Iterator[tuple[str, str, str]]:
    """Yield each kind of output, whether it can be opened here, and its options."""
    for kind in kinds("outputs"):
        door = find("outputs", kind)
        options = ", ".join(name for name in door.Options.model_fields if name != "sound")
        yield kind, _here(kind), options


def _here(kind: str) -> str:
    """Try an output's library, not its name or its file: they may be in use."""
    module = {"ndi": "NDIlib", "spout": "SpoutGL", "syphon": "syphon", "record": "av"}.get(kind)
    if kind == "touchshm":
        import sys

        return "works" if sys.platform == "win32" else "Windows only"
    if module is None:
        return "works"
    try:
        __import__(module)
    except ImportError:
        return f"pip install 'vjserver[{kind}]'" + {"spout": " (Windows)", "syphon": " (macOS)"}.get(kind, "")
    return "works"


@dataclass(slots=True)
class Watch:
    """What arrived from one sender since the last look: counts, ages in ms."""

    name: str
    frames: int = 0
    shown: int = 0
    drops: int = 0
    torn: int = 0
    _last: int = -1
    _transport: list[float] = field(default_factory=list)
    _age: list[float] = field(default_factory=list)
    _source: list[float] = field(default_factory=list)

    def take(self, frame: Frame) -> None:
        """Count a frame."""
        now_ns = time.perf_counter_ns()
        info = frame.info
        self.frames += 1
        if info.t_sent_ns:
            self._transport.append((now_ns - info.t_sent_ns) * 1e-6)
        if info.frame_id != self._last:
            if 0 <= self._last < info.frame_id:
                self.drops += info.frame_id - self._last - 1
            self._last = info.frame_id
            self.shown += 1
            if info.t_generated_ns:
                self._age.append((now_ns - info.t_generated_ns) * 1e-6)
            if info.source_age_us:
                self._source.append((now_ns - info.t_generated_ns) * 1e-6 + info.source_age_us * 1e-3)

    def line(self, seconds: float, size: tuple[int, int]) -> str:
        """Return one line about the last ``seconds``, and begin anew."""

        def ms(values: list[float]) -> str:
            if not values:
                return "-"
            p50, p99 = np.percentile(values, (50, 99))
            return f"{p50:.1f} / {p99:.1f} ms" if 0 <= p50 < 60_000 else "of another clock"

        text = (
            f"{self.name}: {size[0]}x{size[1]}  {self.frames / seconds:.1f} frames/s ({self.shown / seconds:.1f} new)  "
            f"transport {ms(self._transport)}  age {ms(self._age)}  "
            + (f"since its source {ms(self._source)}  " if self._source else "")
            + f"dropped {self.drops}  torn {self.torn}"
        )
        self.frames = self.shown = self.drops = self.torn = 0
        for values in (self._transport, self._age, self._source):
            values.clear()
        return text


def watch(words: Sequence[str], seconds: float | None) -> Iterator[str]:
    """Yield a line a second about the frames of ``KIND``, ``option=value`` ... Raises VJError."""
    if len(words) == 1:  # all of it in quotes
        words = split(words[0])
    config: dict[str, Any] = dict(row_of_words("watch", words).config)
    text = " ".join(words)
    if config["kind"] == "zmq":
        config.setdefault("address", ZMQ_ADDRESS)  # what a server sends; the input's own default is what comes back
    config = {key: str(value) if key != "speed" else value for key, value in config.items()}
    if config["kind"] not in kinds("inputs"):
        raise ConfigError(f"frames can be watched by {', '.join(kinds('inputs'))}: got {config['kind']!r}")
    options_of("inputs", config)
    door: Input = open_door("inputs", config)
    seen, size, torn_before = Watch(text), (0, 0), 0.0
    began = since = time.monotonic()
    try:
        while seconds is None or time.monotonic() - began < seconds:
            frame = door.read(0.1)
            if frame is not None:
                size = (frame.info.width, frame.info.height)
                seen.take(frame)
            now = time.monotonic()
            if now - since >= 1.0:
                figures: Mapping[str, float] = getattr(door, "figures", dict)()
                seen.torn = int(figures.get("torn", 0.0) - torn_before)
                torn_before = figures.get("torn", 0.0)
                yield seen.line(now - since, size) if size[0] else f"{text}: nothing yet"
                since = now
    finally:
        door.close()
