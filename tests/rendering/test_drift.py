"""A long film that starts each picture from the last keeps the colours of its first one, resumed or not."""

from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from known import SHIPPED, desk_of, enter
from known import preset_of as made

from vjserver.ports import open_door
from vjserver.rendering.generator_pool import WaitingPool
from vjserver.rendering.image_source import ImageSource
from vjserver.rendering.renderer import Renderer, RenderMemory
from vjserver.runtime.clock import ManualClock
from vjserver.show.bank import Bank
from vjserver.show.state import ShowState
from vjserver.sources.click import ClickOptions, click_track
from vjserver.stages.offline.performance import heard, moments

SIZE, FRAMES = (64, 64), 500
LUMA = np.array([0.2126, 0.7152, 0.0722])
FLIGHT = made(
    name="F", generator="diffusion", model="sd-turbo", size="64x64", prompts=({"text": "moon over the sea"},),
    params={"zoom": 0.55, "diffusion": {"coherence": 1.0}}, raw={"strength": 0.5},
)  # fmt: skip


def renderer():
    def make(spec):
        return open_door("generators", {"kind": spec.kind, "device": "cpu", "model": spec.model})

    images = ImageSource({}, SHIPPED.infos, ManualClock(), lambda *_: None)
    return Renderer(SHIPPED, WaitingPool(make), images, lambda *_: None)


def flight(mode="film", broken_off=None):
    """Yield luma and saturation of each frame, and its pixels; broken off at a frame, another renderer goes on."""
    one, memory = renderer(), RenderMemory()
    desk = desk_of(Bank([("it", FLIGHT)]), enter(ShowState(), 0, FLIGHT))
    track = heard(click_track(ClickOptions(bpm=120.0), FRAMES / 24), 48000)
    for moment in moments(desk, track, Fraction(24), SIZE, FRAMES):
        if moment.number == broken_off:
            kept = one.checkpoint(memory, SIZE)
            one.close()
            one = renderer()
            memory = one.resume(kept, SIZE)
        rendered, memory = one.render(replace(moment, mode=mode), memory)
        pixels = np.array(rendered.frame.pixels)[..., :3]
        yield float((pixels @ LUMA).mean()), float(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[..., 1].mean()), pixels
    one.close()


def drift(rows):
    """Return how far luma and saturation lie from those of the first frame, at most."""
    table = np.array([(luma, saturation) for luma, saturation, _ in rows])
    return np.abs(table - table[0]).max(axis=0)


@pytest.mark.usefixtures("stocked")
def test_five_hundred_frames_keep_their_colours_and_resumed_ones_too():
    whole = list(flight())
    luma, saturation = drift(whole)
    assert luma < 8.0
    assert saturation < 12.0
    live = drift(flight("live"))
    assert luma < 0.5 * live[0], "on stage the anchor follows"
    resumed = list(flight(broken_off=230))
    assert all(np.array_equal(a[2], b[2]) for a, b in zip(whole, resumed, strict=True))
