"""``vjserver frames``: frames as they arrive, second by second."""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vjserver.app.show import ZMQ_ADDRESS
from vjserver.commands.options import run_action, seconds
from vjserver.ports import Input, kinds, open_door, options_of
from vjserver.show.outputs import row_of_words, split
from vjserver.types.errors import ConfigError
from vjserver.types.frames import Frame


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


def watch(words: Sequence[str], length_s: float | None) -> Iterator[str]:
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
        while length_s is None or time.monotonic() - began < length_s:
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


run = run_action


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver frames`` takes."""
    verbs = parser.add_subparsers(required=True, metavar="ACTION")
    verb = verbs.add_parser("watch", help="receive, and print frames a second, age, drops and torn frames")
    verb.add_argument("source", nargs="+", metavar="KIND|OPTION=VALUE", help="such as: ndi name=vjserver")
    verb.add_argument("--seconds", type=seconds, metavar="N")
    verb.set_defaults(action=_watch)


def _watch(args: argparse.Namespace) -> int:
    for line in watch(args.source, args.seconds):
        print(line, flush=True)
    return 0
