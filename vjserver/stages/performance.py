"""A performance without a clock: sound and a desk go in, the moment of each frame comes out, exact to the sample.

The same ear, desk and mapping as on stage. Frame ``i`` is that of ``i / rate`` seconds, and has heard the sound up to
then; nothing in it depends on how long anything takes.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from vjserver.dsp.options import EarOptions
from vjserver.rendering.renderer import Moment
from vjserver.show.desk import Desk
from vjserver.stages.analysis import Analysis
from vjserver.types.audio import AudioBlock, Float32
from vjserver.types.events import Drum, Onset, Section

NS = 1_000_000_000


def moments(
    desk: Desk,
    sound: Float32,
    rate_hz: int,
    rate: Fraction,
    size: tuple[int, int],
    frames: int | None = None,
    ear: EarOptions | None = None,
) -> Iterator[Moment]:
    """Yield the moment of each frame, from the first on, while a desk plays to ``sound``.

    ``sound`` is float32 ``(samples, channels)`` or ``(samples,)``; ``rate`` is frames a second; ``frames`` how many,
    None for as many as the sound lasts. After the sound's end it is silent.
    """
    analysis = Analysis(rate_hz, ear or EarOptions())
    count = frames if frames is not None else -(-len(sound) * rate.numerator // (rate_hz * rate.denominator))
    desk.rows_a_tick = sys.maxsize  # nobody's hands wait
    heard = 0
    for number in range(count):
        until = number * rate_hz * rate.denominator // rate.numerator
        t_ns = number * NS * rate.denominator // rate.numerator
        block = sound[heard:until]
        missing = until - heard - len(block)
        if missing:
            block = np.concatenate((block, np.zeros((missing, *sound.shape[1:]), np.float32)))
        heard = until
        if len(block):
            for event in analysis.hear(AudioBlock(block, rate_hz, t_ns)):
                if isinstance(event, (Drum, Onset, Section)):
                    desk.hear(t_ns, event)
        analysis.advance(t_ns)
        desk.tick(t_ns, analysis.clock.grid, 0)
        features = replace(analysis.features, grid=analysis.clock.grid)
        yield Moment(desk.state, features, t_ns, float(1 / rate) if number else 0.0, number, size, "film")
