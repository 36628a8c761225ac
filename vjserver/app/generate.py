"""The generate process: opens generators as presets ask for them and fills the frame ring."""

from vjserver.app.workers import Plan
from vjserver.ports import Generator, find, options_of
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.priority import raise_priority
from vjserver.runtime.queue import QueueWriter
from vjserver.runtime.ring import RingWriter
from vjserver.runtime.stats import StatsReader, StatsWriter
from vjserver.runtime.store import FeaturesReader, StateReader
from vjserver.runtime.supervisor import Stop
from vjserver.stages.generation import Generation
from vjserver.types.features import quiet


def main(plan: Plan, stop: Stop) -> None:
    """Run until ``stop`` is set."""
    show, channels, clock = plan.show, plan.channels, LiveClock()
    raise_priority(-5)  # a picture may be late; a beat may not
    video = show.video

    def make(name: str) -> Generator:
        door = {"kind": name, **show.generators.get(name, {})}
        generator: Generator = find("generators", name)(options_of("generators", door))
        generator.open()
        generator.warm_up(video.width, video.height)
        return generator

    generation = Generation(
        make,
        (video.width, video.height),
        video.fps,
        clock,
        FeaturesReader(channels.features, quiet(0)),
        StateReader(channels.state),
        RingWriter(channels.generated, video.width * video.height * 4),
        QueueWriter(channels.events("generate")),
        StatsWriter(channels.stats("generate")),
        StatsReader(channels.stats("deliver")),
        video.lookahead_ms,
    )
    generation.run(stop.is_set)
