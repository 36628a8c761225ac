"""Who plays while another is loaded, who is kept, and where pictures to start from come from."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from conftest import wait_for

from vjserver.rendering.generator_pool import KEPT, GeneratorPool, GeneratorSpec
from vjserver.types.errors import GeneratorError, OutOfMemoryError
from vjserver.types.frames import Frame, FrameInfo


class Dummy:
    def __init__(self, spec):
        self.spec, self.closed, self.requests = spec, False, []

    def close(self):
        self.closed = True

    def render(self, request, state):
        self.requests.append(request)
        pixels = np.full((request.height, request.width, 4), 9, np.uint8)
        return Frame(pixels, FrameInfo(request.width, request.height)), (state or 0) + 1


@pytest.fixture
def house():
    """Players whose loads wait until they are let go; what was announced; who was made."""
    gate, told, made = threading.Event(), [], {}

    def make(spec):
        if spec.kind != "pattern":
            assert gate.wait(5)
        if spec.model == "huge" and any(p.kind == "diffusion" and not d.closed for p, d in made.items()):
            raise OutOfMemoryError("GPU memory does not hold model 'huge'")
        if spec.model == "vast":
            raise OutOfMemoryError("GPU memory does not hold model 'vast'")
        if spec.model == "broken":
            raise GeneratorError("unet.safetensors is damaged")
        made[spec] = Dummy(spec)
        return made[spec]

    with ThreadPoolExecutor(1) as loader:
        pool = GeneratorPool(make, loader, lambda what, why, recovered: told.append((why, recovered)))
        yield pool, gate, told, made
        gate.set()
        pool.close()


BIG, OTHER = GeneratorSpec("diffusion", "big"), GeneratorSpec("diffusion", "other")


def test_at_the_start_the_fallback_is_opened_before_what_is_wanted_begins_to_load():
    order = []

    class Loader:
        def submit(self, work, spec):
            order.append(f"load {spec}")
            return Future()

    def make(spec):
        order.append(f"make {spec}")
        return Dummy(spec)

    pool = GeneratorPool(make, Loader(), lambda *_: None)
    assert pool.choose(BIG).spec == GeneratorSpec("pattern")
    assert order == ["make pattern", "load diffusion (big)"]


def test_the_pattern_plays_while_a_model_is_loaded_and_then_gives_way(house):
    pool, gate, told, made = house
    assert pool.choose(BIG) is made[GeneratorSpec("pattern")]
    assert pool.choose(BIG) is made[GeneratorSpec("pattern")]
    gate.set()
    wait_for(lambda: pool.choose(BIG) is made.get(BIG))
    assert told == [
        ("diffusion (big) is getting ready; pattern plays meanwhile", False),
        ("diffusion (big) plays", True),
    ]


def test_coming_back_is_at_once_and_the_longest_unused_is_let_go(house):
    pool, gate, _, made = house
    gate.set()
    specs = [GeneratorSpec("diffusion", name) for name in "abcd"]
    for spec in specs:
        wait_for(lambda spec=spec: pool.choose(spec).spec == spec)
    assert pool.choose(specs[2]) is made[specs[2]]
    assert pool.choose(specs[3]) is made[specs[3]]
    assert made[specs[0]].closed
    assert sum(not dummy.closed for dummy in made.values()) <= KEPT + 1


def test_a_model_that_cannot_be_loaded_leaves_who_plays_on_stage(house):
    pool, gate, told, made = house
    gate.set()
    wait_for(lambda: pool.choose(BIG).spec == BIG)
    broken = GeneratorSpec("diffusion", "broken")
    wait_for(lambda: pool.choose(broken) and any("damaged" in why for why, _ in told))
    assert told[-1] == ("unet.safetensors is damaged; diffusion (big) plays on", False)
    for _ in range(5):
        assert pool.choose(broken) is made[BIG]
    assert len([why for why, _ in told if "damaged" in why]) == 1
    assert pool.choose(BIG) is made[BIG]
    assert told[-1] == ("diffusion (big) plays", True)


def test_who_fails_while_playing_gives_way_to_the_pattern(house):
    pool, gate, told, made = house
    gate.set()
    wait_for(lambda: pool.choose(BIG).spec == BIG)
    pool.refuse("no memory left")
    assert made[BIG].closed
    assert pool.choose(BIG) is made[GeneratorSpec("pattern")]
    assert told[-1] == ("no memory left; the pattern generator plays instead", False)


def test_a_model_for_which_there_is_no_room_gets_that_of_the_others(house):
    pool, gate, told, made = house
    gate.set()
    for spec in (OTHER, BIG):
        wait_for(lambda spec=spec: pool.choose(spec).spec == spec)
    huge = GeneratorSpec("diffusion", "huge")
    wait_for(lambda: pool.choose(huge).spec == huge)
    assert made[OTHER].closed
    assert made[BIG].closed
    rows = [why for why, _ in told if "making room" in why]
    assert len(rows) == 2  # first who waited left, then who played; the pattern played meanwhile
    assert told[-1] == ("diffusion (huge) plays", True)


def test_a_model_that_never_fits_is_refused_after_the_room_was_made(house):
    pool, gate, told, _ = house
    gate.set()
    wait_for(lambda: pool.choose(BIG).spec == BIG)
    vast = GeneratorSpec("diffusion", "vast")
    wait_for(lambda: pool.choose(vast) and told[-1][0].endswith("the pattern generator plays instead"))
    assert pool.playing == GeneratorSpec("pattern")
    assert pool.choose(BIG) is not None


def test_another_preset_while_a_model_loads_announces_nothing_again_and_again(house):
    pool, gate, told, _ = house
    for _ in range(5):
        pool.choose(BIG)
    for _ in range(50):
        pool.choose(GeneratorSpec("pattern"))
    assert [recovered for _, recovered in told] == [False, True], "getting ready; the pattern plays"
    for _ in range(50):
        pool.choose(BIG)
    assert len(told) == 3
    gate.set()
    wait_for(lambda: pool.choose(BIG).spec == BIG)
    assert told[-1] == ("diffusion (big) plays", True)
    assert len(told) == 4


def test_one_beside_that_could_not_be_opened_is_tried_again_when_it_is_asked_for_anew(house):
    pool, gate, told, _ = house
    gate.set()
    broken = GeneratorSpec("diffusion", "broken")
    pool.choose(GeneratorSpec("pattern"))
    for _ in range(2):
        wait_for(lambda: (pool.beside(broken), pool.choose(GeneratorSpec("pattern")), told and not told[-1][1])[2])
        assert told[-1] == ("unet.safetensors is damaged; the picture starts from noise", False)
        for _ in range(20):
            assert pool.beside(broken) is None
            pool.choose(GeneratorSpec("pattern"))
        assert pool.beside(None) is None
        assert told[-1] == ("no longer wanted", True)
    assert len(told) == 4


def test_one_that_is_no_longer_beside_makes_way(house):
    pool, gate, _, made = house
    gate.set()
    pool.choose(GeneratorSpec("pattern"))
    wait_for(lambda: pool.beside(BIG) or pool.choose(GeneratorSpec("pattern")) is None)
    pool.beside(None)
    huge = GeneratorSpec("diffusion", "huge")
    wait_for(lambda: pool.choose(huge).spec == huge)
    assert made[BIG].closed


def test_a_stranger_that_cannot_be_closed_is_gone_all_the_same(house):
    pool, gate, _, made = house
    gate.set()
    wait_for(lambda: pool.choose(BIG).spec == BIG)

    def fail():
        raise RuntimeError("no close")

    made[BIG].close = fail
    pool.refuse("it fell")
    assert pool.choose(GeneratorSpec("pattern")).spec == GeneratorSpec("pattern")
