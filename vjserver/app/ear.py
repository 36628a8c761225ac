"""The ear process: opens the source and the OSC targets and listens."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vjserver.app.show import Show
from vjserver.app.workers import Plan
from vjserver.outputs.osc import OscTarget
from vjserver.ports import Source, find, options_of
from vjserver.runtime.clock import Clock, LiveClock
from vjserver.runtime.life import Life
from vjserver.runtime.priority import be_punctual, raise_priority
from vjserver.runtime.store import StateReader, left_behind
from vjserver.runtime.supervisor import STARTING_S
from vjserver.show.state import Sound
from vjserver.sources.device import DeviceOptions
from vjserver.stages.ear.analysis import Analysis
from vjserver.stages.ear.ear_loop import Ear, EarMemory, EarPipes, heard_as
from vjserver.types.errors import OutputError
from vjserver.types.events import Degraded


def main(plan: Plan, life: Life) -> None:
    """Run until ``life`` is told to end."""
    raise_priority(5)
    if life.stands_by:
        Analysis(48000, plan.show.ear)  # everything that is loaded once is loaded
    if not life.wait_for_cue():
        return
    be_punctual()
    with life.tolerate(STARTING_S):
        ear, targets = _made(plan)
    ear.run(life.stopped)
    for target in targets:
        target.close()


def _made(plan: Plan) -> tuple[Ear, list[OscTarget]]:
    """Return the ear, where its predecessor left off if there was one, and the targets that it tells."""
    show, channels, clock = plan.show, plan.channels, LiveClock()
    before = left_behind(channels.memory("ear"), EarMemory)
    pipes = EarPipes.of(channels)
    targets = []
    for options in show.osc.targets:
        try:
            targets.append(OscTarget(options))
        except OutputError as error:
            pipes.events.put(Degraded(clock.now_ns(), f"osc {options.host}", str(error)))
    state = StateReader(channels.state, plan.first)
    ear = Ear(
        lambda sound: source_of(show, sound, clock),
        lambda: state.get().sound,
        show.ear,
        clock,
        targets,
        pipes,
        before,
        ThreadPoolExecutor(1, thread_name_prefix="opener"),
    )
    return ear, targets


def source_of(show: Show, sound: Sound, clock: Clock) -> Source:
    """Return what is heard: the show's source, or the input that the state names, with as many channels as are needed.

    Raises ConfigError.
    """
    config: dict[str, Any] = {"kind": "device", "name": sound.device} if sound.device else dict(show.source)
    if config["kind"] == "device":
        channel = heard_as(show.ear, sound).channel
        chosen = (channel,) if isinstance(channel, int) else channel or ()
        most = max((one + 1 for one in chosen), default=0)
        config["channels"] = max(most, int(show.source.get("channels", DeviceOptions().channels)))
        config["needed"] = most
    source: Source = find("sources", config["kind"])(options_of("sources", config), clock)
    return source
