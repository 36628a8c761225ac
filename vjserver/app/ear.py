"""The ear process: opens the source and the OSC targets and listens."""

from vjserver.app.workers import Plan
from vjserver.outputs.osc import OscTarget
from vjserver.ports import find, options_of
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.priority import be_punctual, raise_priority
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.slot import SlotWriter
from vjserver.runtime.soundring import SoundWriter
from vjserver.runtime.stats import StatsWriter
from vjserver.runtime.supervisor import Stop
from vjserver.stages.listening import Ear
from vjserver.types.errors import OutputError
from vjserver.types.events import Degraded


def main(plan: Plan, stop: Stop) -> None:
    """Run until ``stop`` is set."""
    show, channels, clock = plan.show, plan.channels, LiveClock()
    raise_priority(5)
    be_punctual()
    events = QueueWriter(channels.events("ear"))
    targets = []
    for options in show.osc.targets:
        try:
            targets.append(OscTarget(options))
        except OutputError as error:
            events.put(Degraded(clock.now_ns(), f"osc {options.host}", str(error)))
    ear = Ear(
        find("sources", show.source["kind"])(options_of("sources", show.source), clock),
        show.ear,
        clock,
        targets,
        SlotWriter(channels.features),
        events,
        StatsWriter(channels.stats("ear")),
        [QueueReader(channels.events("control"))],
        SoundWriter(channels.sound),
    )
    ear.run(stop.is_set)
    for target in targets:
        target.close()
