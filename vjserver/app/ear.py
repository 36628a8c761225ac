"""The ear process: opens the source and the OSC targets and listens."""

from concurrent.futures import ThreadPoolExecutor

from vjserver.app.workers import Plan
from vjserver.outputs.osc import OscTarget
from vjserver.ports import find, options_of
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.priority import be_punctual, raise_priority
from vjserver.runtime.queue import QueueReader, QueueWriter
from vjserver.runtime.slot import SlotWriter
from vjserver.runtime.soundring import SoundWriter
from vjserver.runtime.stats import StatsWriter
from vjserver.runtime.store import MemoryWriter, left_behind
from vjserver.runtime.supervisor import Life
from vjserver.stages.analysis import Analysis
from vjserver.stages.listening import Ear, EarMemory
from vjserver.types.errors import OutputError
from vjserver.types.events import Degraded


def main(plan: Plan, life: Life) -> None:
    """Run until ``life`` is told to end."""
    show, channels, clock = plan.show, plan.channels, LiveClock()
    raise_priority(5)
    if life.stands_by:
        Analysis(48000, show.ear)  # everything that is loaded once is loaded
    if not life.wait_for_cue():
        return
    be_punctual()
    before = left_behind(channels.memory("ear"), EarMemory)
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
        MemoryWriter(channels.memory("ear")),
        before,
        ThreadPoolExecutor(1, thread_name_prefix="opener"),
    )
    ear.run(life.stopped)
    for target in targets:
        target.close()
