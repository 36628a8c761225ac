"""Film mode: the same moments give the same bytes, twice, from a checkpoint, and from a beginning in the middle."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from known import SHIPPED, desk_of, enter
from known import preset_of as made

from vjserver.ports import Advances, Resumable, open_door
from vjserver.rendering.generator_pool import WaitingPool
from vjserver.rendering.image_source import ImageSource
from vjserver.rendering.renderer import Renderer, RenderMemory
from vjserver.runtime.clock import NS, ManualClock
from vjserver.show.bank import Bank
from vjserver.show.state import ShowState
from vjserver.sources.click import ClickOptions, click_track
from vjserver.stages.offline.performance import heard, moments
from vjserver.types.errors import GeneratorError

SIZE, FPS = (64, 36), 10
MAPPED = ({"from": "beat_pulse", "to": "/vj/param/zoom", "range": (0.0, 0.3)},
          {"from": "level", "to": "/vj/param/flash", "range": (0.0, 0.2), "attack_s": 0.1})  # fmt: skip
CHANGES = ({"on": "beat", "every": 3, "do": "/vj/seed/next"},)
TEXTS = (
    {"text": "fish"},
    {"text": "moon", "weight": 0.4},
    {"text": "sea", "weight": 0.7},
    {"text": "dust", "weight": 0.3},
)
SHARED = {"prompts": TEXTS, "mappings": MAPPED, "triggers": CHANGES}
PATTERN = made(name="P", params={"feedback": 0.9, "speed": 0.6}, **SHARED)
TINY = {"generator": "diffusion", "model": "sd-turbo", "size": "64x64", "travel": {"seconds": 0.4}, **SHARED}
DIFFUSION = made(name="D", params={"diffusion": {"coherence": 0.9, "latent_1": 0.3}}, **TINY)
CHAIN = made(name="C", input="pattern", params={"strength": 0.6}, **TINY)
DRY = made(name="S", prompts=({"text": "dust"},))
BEFORE = made(name="B", **{**TINY, "prompts": TEXTS[::-1]})
ALL = {"pattern": PATTERN, "diffusion": DIFFUSION, "chain": CHAIN}


def renderer():
    def make(spec):
        door = {"kind": spec.kind, **({"device": "cpu"} if spec.kind == "diffusion" else {"threads": 1})}
        return open_door("generators", door | ({"model": spec.model} if spec.model else {}))

    images = ImageSource({}, SHIPPED.infos, ManualClock(), lambda *_: None)
    return Renderer(SHIPPED, WaitingPool(make), images, lambda *_: None)


def performed(preset, seconds=3.0):
    """Yield the moments of a preset that is played to a click track; a morph to another begins in the middle."""
    bank = Bank([("it", preset), ("other", made(name="O", params={"warp": 0.8, "diffusion": {"turn": 0.5}}, **TINY))])
    desk = desk_of(bank, enter(ShowState(), 0, preset))
    track = click_track(ClickOptions(bpm=140.0), seconds)
    for moment in moments(desk, heard(track, 48000), Fraction(FPS), SIZE):
        if preset.generator == "diffusion" and moment.number == round(0.5 * seconds * FPS):
            desk.receive(moment.t_ns, "/vj/morph/seconds", (0.6,))
            desk.receive(moment.t_ns, "/vj/preset/go", ("other",))
        yield moment


def film(preset, upto=None, memory=None, skip=0, one=None):
    """Return the digest of each frame, the memory behind them, and the last pixels."""
    one, memory = one or renderer(), memory or RenderMemory()
    digests, pixels = [], None
    for moment in performed(preset):
        if moment.number < skip:
            continue
        if upto is not None and moment.number >= upto:
            break
        rendered, memory = one.render(moment, memory)
        pixels = np.array(rendered.frame.pixels)
        digests.append(hashlib.sha256(pixels.tobytes()).hexdigest())
    return digests, memory, pixels, one


@pytest.fixture(autouse=True)
def _stock(request, kernels):
    if request.node.callspec.params.get("name") in ("diffusion", "chain"):
        request.getfixturevalue("stocked")


@pytest.mark.parametrize("name", ALL)
def test_a_film_rendered_twice_has_the_same_bytes(name):
    """Once in a house that has rendered something else before, whose caches and places are full of it."""
    first, _, _, one = film(ALL[name])
    one.close()
    two = renderer()
    film(DRY if name == "pattern" else BEFORE, upto=4, one=two)
    second = film(ALL[name], one=two)[0]
    assert first == second
    assert len(set(first)) > len(first) - 3, "and it moves"


@pytest.mark.parametrize("name", ALL)
def test_a_film_that_goes_on_from_a_checkpoint_has_the_same_bytes(name):
    whole, _, _, one = film(ALL[name])
    one.close()
    _, memory, _, one = film(ALL[name], upto=13)
    kept = one.checkpoint(memory, SIZE)
    one.close()
    two = renderer()
    rest = film(ALL[name], memory=two.resume(kept, SIZE), skip=13, one=two)[0]
    assert rest == whole[13:]


@pytest.mark.parametrize("name", ["pattern"])
def test_a_beginning_in_the_middle_is_within_a_step_of_the_run_through(name):
    preset, start = ALL[name], 90
    lead = round(SHIPPED.infos["pattern"].lead_in_s * FPS)
    one, two, memory, other, worst = renderer(), renderer(), RenderMemory(), RenderMemory(), 0
    for moment in performed(preset, 10.0):
        through, memory = one.render(moment, memory)
        if moment.number < start - lead:
            other = two.advance(moment, other)
            continue
        middle, other = two.render(moment, other)
        if moment.number >= start:
            apart = np.abs(through.frame.pixels.astype(int) - middle.frame.pixels.astype(int))
            worst = max(worst, int(apart.max()))
    assert worst <= 1


@pytest.mark.parametrize("name", ["pattern", "diffusion"])
def test_a_checkpoint_of_another_version_model_or_size_is_refused(name, stocked):
    _, memory, _, one = film(ALL[name], upto=3)
    kept = one.checkpoint(memory, SIZE)
    with pytest.raises(GeneratorError, match="at 32x18 is needed: got version 1 at 64x36"):
        one.resume(kept, (32, 18))
    with pytest.raises(GeneratorError, match="no checkpoint"):
        one.resume(b"rubbish", SIZE)
    (spec, place), state = next(iter(memory.generators.items()))
    player = one.pool.beside(spec)
    assert isinstance(player, Resumable)
    assert place == 0
    with pytest.raises(GeneratorError, match="no checkpoint"):
        player.resume(b"\x00rubbish")
    if name == "diffusion":
        other = open_door("generators", {"kind": "diffusion", "device": "cpu", "model": "lcm"})
        with pytest.raises(GeneratorError, match=r"with model 'lcm' is needed: got version 1 with 'sd-turbo'"):
            other.resume(player.checkpoint(state))
        one.render(next(performed(DIFFUSION)), memory)
        with pytest.raises(GeneratorError, match="only the state of the last frame"):
            player.checkpoint(state)


@pytest.mark.parametrize("name", ["pattern"])
def test_rendering_from_a_state_leaves_it_as_it_is(name):
    one, memory, seen = renderer(), RenderMemory(), []
    rows = [moment for moment in performed(PATTERN) if moment.number < 8]
    for moment in rows[:5]:
        _, memory = one.render(moment, memory)
    for _ in range(3):
        rendered, after = one.render(rows[5], memory)
        seen.append(rendered.frame.pixels.tobytes())
    assert seen[0] == seen[1] == seen[2]
    assert one.render(rows[6], after)[0].frame.pixels.tobytes() != seen[0]
    assert isinstance(one.pool.beside(one.pool.playing), Advances)


@pytest.mark.parametrize("name", ["clock"])
def test_frames_are_exact_whatever_the_rate(name):
    """30000/1001: frame 30000 is at 1001 s to the nanosecond, and no sound is heard twice or left out."""
    desk = desk_of(Bank([("it", PATTERN)]), enter(ShowState(), 0, PATTERN))
    rows = list(moments(desk, heard(np.zeros(48000, np.float32), 48000), Fraction(30000, 1001), SIZE, 90))
    assert [row.t_ns for row in rows] == [i * NS * 1001 // 30000 for i in range(90)]
    assert [row.number for row in rows] == list(range(90))
    assert rows[0].seconds == 0.0
    assert rows[1].seconds == pytest.approx(1001 / 30000)
    sound = heard(np.zeros(48000, np.float32), 48000)
    assert len(list(moments(desk, sound, Fraction(30000, 1001), SIZE))) == 30, "ceil(duration x fps)"
