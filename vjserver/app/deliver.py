"""The deliver process: opens every output and keeps the picture on the wall."""

from collections import Counter

import cv2

from vjserver.app.workers import Plan
from vjserver.ports import find, options_of
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.queue import QueueWriter
from vjserver.runtime.ring import RingReader
from vjserver.runtime.stats import StatsWriter
from vjserver.runtime.store import FeaturesReader, StateReader
from vjserver.runtime.supervisor import Stop
from vjserver.stages.delivery import Delivery, OutputThread
from vjserver.types.errors import VJError
from vjserver.types.events import Degraded
from vjserver.types.features import quiet


def main(plan: Plan, stop: Stop) -> None:
    """Run until ``stop`` is set."""
    cv2.setNumThreads(1)  # a pool of threads costs the pacing more than it saves
    show, channels, clock = plan.show, plan.channels, LiveClock()
    events = QueueWriter(channels.events("deliver"))

    def announce(what: str, why: str, mended: bool) -> None:
        events.put(Degraded(clock.now_ns(), what, why, mended))

    outputs = []
    names: Counter[str] = Counter()
    for number, door in enumerate(show.outputs, start=1):
        kind = str(door["kind"])
        names[kind] += 1
        name = kind if names[kind] == 1 else f"{kind}{names[kind]}"
        filled = {"fps": show.video.output_fps, **door} if kind == "ndi" else door
        try:
            output = find("outputs", kind)(options_of("outputs", filled))
        except VJError as error:
            announce(f"output {name}", str(error), False)
            continue
        outputs.append(OutputThread(name, output, clock, number, announce))
    delivery = Delivery(
        outputs,
        (show.video.width, show.video.height),
        show.video.output_fps,
        clock,
        FeaturesReader(channels.features, quiet(0)),
        StateReader(channels.state),
        RingReader(channels.generated),
        events,
        StatsWriter(channels.stats("deliver")),
    )
    delivery.run(stop.is_set)
