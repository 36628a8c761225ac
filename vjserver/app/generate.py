"""The generate process: opens generators as presets ask for them and fills the frame ring."""

import contextlib
import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

from vjserver.app.preset_bank import load_bank
from vjserver.app.workers import Plan
from vjserver.ports import Generator, open_door
from vjserver.rendering.generator_pool import Announce, GeneratorPool, GeneratorSpec, opened, own_model
from vjserver.rendering.image_source import ImageSource
from vjserver.rendering.renderer import Renderer
from vjserver.runtime.clock import LiveClock
from vjserver.runtime.life import Life
from vjserver.runtime.priority import raise_priority
from vjserver.runtime.ring import RingWriter
from vjserver.show.preset import texts_of
from vjserver.stages.generate.generation import GeneratePipes, Generation

COMPILING_S = 300.0
"""Kernels are compiled once on a machine, which takes a minute on a slow one."""


def main(plan: Plan, life: Life) -> None:
    """Run until ``life`` is told to end."""
    show, channels, clock = plan.show, plan.channels, LiveClock()
    raise_priority(-5)  # a picture may be late; a beat may not
    sys.setswitchinterval(0.0005)  # loading and encoding on other threads must not hold up a frame
    video = show.video

    registry = plan.registry
    bank = load_bank(show.presets, registry)

    own = cache(partial(own_model, show.generators))

    def make(spec: GeneratorSpec) -> Generator:
        """Open a generator and warm it up; where the loop itself waits for that, nobody takes it for a hang."""
        own = threading.current_thread() is threading.main_thread()
        with life.tolerate(COMPILING_S) if own else contextlib.nullcontext():
            return ready(spec)

    def ready(spec: GeneratorSpec) -> Generator:
        generator = opened(show.generators, spec, target_fps=video.fps)
        model = spec.model or own(spec.kind)
        presets = [p for _, p in bank.presets if p.generator == spec.kind and (p.model or own(spec.kind)) == model]
        generator.warm_up(video.width, video.height, texts_of(presets))
        gc.freeze()  # a model is a million objects that stay; looking through them would cost a frame now and then
        return generator

    def renderer(announce: Announce) -> Renderer:
        loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
        inputs = {name: partial(open_door, "inputs", door) for name, door in show.inputs.items()}
        images = ImageSource(inputs, registry.infos, clock, announce)
        return Renderer(registry, GeneratorPool(make, loader, announce), images, announce, own)

    generation = Generation(
        renderer,
        (video.width, video.height),
        video.fps,
        clock,
        GeneratePipes.of(channels, (video.width, video.height), plan.first),
        lambda: RingWriter(channels.preview, video.width * video.height * 4),
        life.usually_takes,
    )
    generation.run(life.stopped)
