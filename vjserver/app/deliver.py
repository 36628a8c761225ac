"""The deliver process: opens every output and keeps the picture on the wall."""

import contextlib
import importlib
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from vjserver.app.preset_bank import shipped
from vjserver.app.show import Show, filled
from vjserver.app.workers import Plan
from vjserver.outputs import uyvy
from vjserver.ports import Output, find, open_door, options_of
from vjserver.rendering.generator_pool import WaitingPool
from vjserver.rendering.image_source import ImageSource
from vjserver.rendering.renderer import Moment, Renderer, RenderMemory
from vjserver.runtime import ndi
from vjserver.runtime.clock import NS, LiveClock
from vjserver.runtime.life import Life
from vjserver.runtime.priority import be_punctual, raise_priority
from vjserver.runtime.ring import RingReader, RingWriter
from vjserver.runtime.store import Channels, FeaturesReader, StateReader, left_behind
from vjserver.runtime.supervisor import STARTING_S
from vjserver.show.addresses import FALLBACK_GENERATOR
from vjserver.show.outputs import RECORD, OutputRow
from vjserver.stages.deliver.compositor import Compositor, Memory
from vjserver.stages.deliver.delivery import DeliverPipes, Delivery
from vjserver.stages.deliver.safe_loop import Clip, Player, SafeLoop
from vjserver.types.errors import VJError
from vjserver.types.events import Degraded
from vjserver.types.features import silent_features
from vjserver.types.frames import Pixels

SAFE_WIDTH = 480
SAFE_FPS = 20.0
PAGE_FPS = 30.0
OPENING = "opening.mp4"


def main(plan: Plan, life: Life) -> None:
    """Run until ``life`` is told to end."""
    cv2.setNumThreads(1)  # a pool of threads costs the pacing more than it saves
    sys.setswitchinterval(0.0005)  # an output that converts a frame must not hold up the next slot
    raise_priority(3)
    if life.stands_by:
        _bring_libraries(plan.show)
    if not life.wait_for_cue():
        return
    be_punctual()
    with life.tolerate(STARTING_S):
        delivery = _made(plan)
    delivery.run(life.stopped)


def _made(plan: Plan) -> Delivery:
    """Return the delivery, where its predecessor left off if there was one."""
    show, channels, clock = plan.show, plan.channels, LiveClock()
    pipes = DeliverPipes.of(channels, plan.first)

    def announce(what: str, why: str, recovered: bool) -> None:
        pipes.events.put(Degraded(clock.now_ns(), what, why, recovered))

    safe = SafeLoop(_safe_player(plan), clock, announce)
    page = OutputRow("page", {"kind": "preview", "stream": channels.page_stream, "fps": PAGE_FPS})
    opening = SafeLoop(partial(Clip, shipped("presets") / OPENING), clock, announce)
    composer = Compositor(
        show.video.width,
        show.video.height,
        clock.now_ns(),
        safe,
        opening,
        show.deliver.hold_s,
        show.deliver.black_after_s,
    )
    before = left_behind(channels.memory("deliver"), Memory)
    if before is not None:
        composer.resume(before, pipes.ring.get(), RingReader(channels.frozen).get())
    return Delivery(
        partial(_output, show, channels),
        (page,) if show.web.on else (),
        composer,
        clock,
        pipes,
        lambda: RingWriter(channels.frozen, show.video.width * show.video.height * 4),
    )


def _bring_libraries(show: Show) -> None:
    """Import and compile what the show's outputs need: an understudy has done that before it is called."""
    for config in ({"kind": "preview"}, *show.outputs, {"kind": RECORD}):
        with contextlib.suppress(VJError):
            find("outputs", str(config["kind"]))
    for kind, ready in (("ndi", ndi.load), (RECORD, lambda: importlib.import_module("av"))):
        if kind == RECORD or any(config["kind"] == kind for config in show.outputs):
            with contextlib.suppress(VJError, ImportError, OSError):
                ready()
    uyvy.kernel()


def _output(show: Show, channels: Channels, config: Mapping[str, Any], fps: float) -> Output:
    """Return the output of a configuration; it is told its rate and where sound is. Raises VJError."""
    kind = str(config["kind"])
    door = find("outputs", kind)
    options = {**(show.record if kind == RECORD else {}), **filled(show, config)}
    if "fps" in door.Options.model_fields:
        options["fps"] = min(float(config.get("fps") or fps), fps)
    if "sound" in door.Options.model_fields:
        options["sound"] = channels.sound
    if "speech" in door.Options.model_fields and show.speech.subtitles:
        options["speech"] = channels.events("listen")
    output: Output = door(options_of("outputs", options))
    return output


def _safe_player(plan: Plan) -> Callable[[], Player] | None:
    """Return what opens the safe loop's player, or None where the last picture drifts."""
    safe = plan.show.deliver.safe
    if safe == "drift":
        return None
    if safe == FALLBACK_GENERATOR:
        return partial(_Drawn, plan)
    return partial(Clip, Path(safe))


class _Drawn:
    """The fallback generator at low cost: small, 20 pictures a second, still moving with the music."""

    period_s = 1.0 / SAFE_FPS

    def __init__(self, plan: Plan) -> None:
        show, channels = plan.show, plan.channels
        pool = WaitingPool(lambda part: open_door("generators", {"kind": part.kind, "threads": 1}))
        images = ImageSource({}, (), LiveClock(), _say_nothing)
        self._renderer = Renderer(plan.registry, pool, images, _say_nothing, only=FALLBACK_GENERATOR)
        width = min(SAFE_WIDTH, show.video.width)
        self._size = width, max(16, round(show.video.height * width / show.video.width / 2) * 2)
        self._memory, self._number, self._last_ns = RenderMemory(), 0, 0
        self._features = FeaturesReader(channels, silent_features(0))
        self._state = StateReader(channels.state, plan.first)

    def draw(self, now_ns: int) -> Pixels:
        """Return the picture for ``now_ns``. Raises GeneratorError."""
        seconds = min((now_ns - self._last_ns) / NS, 0.25)
        self._last_ns, self._number = now_ns, self._number + 1
        moment = Moment(self._state.get(), self._features.get(), now_ns, seconds, self._number, self._size)
        rendered, self._memory = self._renderer.render(moment, self._memory)
        assert rendered is not None  # its pool raises
        return rendered.frame.pixels.copy()

    def close(self) -> None:
        """Let go."""
        self._renderer.close()


def _say_nothing(_what: str, _why: str, _recovered: bool) -> None:
    """Leave out what the process that makes the pictures announces already."""
