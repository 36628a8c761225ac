"""One way from a moment to a picture: who is asked, for what, and what it starts from."""

from dataclasses import replace

import numpy as np
import pytest
from known import SHIPPED

from vjserver.rendering.generator_pool import GeneratorSpec, WaitingPool
from vjserver.rendering.image_source import ImageSource
from vjserver.rendering.renderer import CHAIN_AREA, Moment, Renderer, RenderMemory
from vjserver.runtime.clock import NS, ManualClock
from vjserver.show.registry import Registry
from vjserver.show.state import MappingRow, Morph, ShowState
from vjserver.types.errors import GeneratorError
from vjserver.types.features import silent_features
from vjserver.types.frames import Frame, FrameInfo, on_host
from vjserver.types.knobs import GeneratorInfo, Parameter

FACES = GeneratorInfo(
    "faces",
    (Parameter("truncation", 0.0, 2.0, 1.0), Parameter("pose", 0, 8, 2, type="int")),
    ("zoom",),
    accepts_image=True,
    takes_model=True,
)
REGISTRY = Registry((*SHIPPED.infos.values(), FACES))


class Dummy:
    """Counts its frames in its state, and writes down what it was asked for."""

    def __init__(self, spec):
        self.spec, self.closed, self.requests, self.fails = spec, False, [], None

    def close(self):
        self.closed = True

    def render(self, request, state):
        self.requests.append(request)
        if self.fails is not None:
            raise self.fails
        count = (state or 0) + 1
        return Frame(np.full((request.height, request.width, 4), count, np.uint8), FrameInfo(1, 1)), count


@pytest.fixture
def house():
    made, told = {}, []

    def make(spec):
        made[spec] = Dummy(spec)
        return made[spec]

    images = ImageSource({}, REGISTRY.infos, ManualClock(), lambda *row: told.append(row))
    renderer = Renderer(REGISTRY, WaitingPool(make), images, lambda *row: told.append(row), lambda kind: "own")
    return renderer, made, told


def moment(number=0, size=(1280, 720), **state):
    return Moment(ShowState(**state), silent_features(0), number * NS // 30, 1 / 30, number, size)


def played(renderer, moments):
    memory = RenderMemory()
    for one in moments:
        rendered, memory = renderer.render(one, memory)
    return rendered


def test_a_generator_gets_its_own_knobs_by_their_bare_names_in_their_own_units(house):
    renderer, made, _ = house
    params = {"faces/truncation": 0.25, "faces/pose": 0.99, "zoom": 1.0, "gone/knob": 0.5}
    rows = (MappingRow("silence", "/vj/param/faces/truncation", 0.0, 0.5, "linear", "add", 0.0, 0.0),
            MappingRow("silence", "/vj/param/gone/knob", 0.0, 0.5, "linear", "add", 0.0, 0.0))  # fmt: skip
    played(renderer, [moment(generator="faces", params=params, mappings=rows)])
    asked = made[GeneratorSpec("faces")].requests[0]
    assert asked.own == {"truncation": 1.5, "pose": 8.0}
    assert asked.params["zoom"] == 1.0
    assert "truncation" not in asked.params


def test_a_chain_is_walked_over_one_pool_and_graded_once(house):
    renderer, made, _ = house
    params = {"flash": 1.0, "saturation": 0.0, "zoom": 0.75}
    last = played(renderer, [moment(i, generator="faces", input="pattern", params=params) for i in range(3)])
    first, second = made[GeneratorSpec("pattern")], made[GeneratorSpec("faces")]
    asked = first.requests[-1]
    assert asked.width * asked.height <= CHAIN_AREA * 1.02
    assert asked.width / asked.height == pytest.approx(16 / 9, rel=0.02)
    assert (asked.params["flash"], asked.params["saturation"], asked.params["zoom"]) == (0.0, 1.0, 0.5)
    assert second.requests[-1].params["flash"] == 1.0
    assert (second.requests[-1].image == 3).all(), "the first one remembers too"
    assert last.frame.pixels[0, 0, 0] == 3
    assert last.source.info.t_capture_ns == 0, "a picture of the same moment has no age of its own"
    renderer.close()
    assert first.closed
    assert second.closed


def test_a_generator_that_starts_from_no_picture_gets_none(house):
    renderer, made, _ = house
    played(renderer, [moment(generator="pattern", input="faces")])
    assert made[GeneratorSpec("pattern")].requests[0].image is None
    assert GeneratorSpec("faces") not in made


def test_a_first_one_that_fails_is_told_once_and_the_second_starts_from_noise(house):
    renderer, made, told = house
    played(renderer, [moment(generator="faces", input="pattern")])
    made[GeneratorSpec("pattern")].fails = KeyError("whatever")
    played(renderer, [moment(i, generator="faces", input="pattern") for i in range(3)])
    assert len(told) == 1
    assert told[0][1].startswith("pattern fell: KeyError: 'whatever' (test_renderer.py:")
    assert made[GeneratorSpec("faces")].requests[-1].image is None


def test_a_models_name_reaches_who_takes_one_and_is_announced_to_who_does_not(house):
    renderer, made, told = house
    played(renderer, [moment(generator="faces", model="ffhq"), moment(1, generator="faces", model="own")])
    assert list(made) == [GeneratorSpec("faces", "ffhq"), GeneratorSpec("faces")], (
        "the show's own model is no other part"
    )
    played(renderer, [moment(i, generator="pattern", model="ffhq") for i in range(3)])
    assert list(made)[-1] == GeneratorSpec("pattern")
    assert told == [("model", "pattern takes no model: 'ffhq' is left out", False)]
    played(renderer, [moment(generator="pattern")])
    assert told[-1][2]


def test_who_comes_back_begins_anew(house):
    renderer, _, _ = house
    memory = RenderMemory()
    for number, kind in enumerate(("faces", "faces", "pattern", "faces")):
        rendered, memory = renderer.render(moment(number, generator=kind), memory)
    assert rendered.frame.pixels[0, 0, 0] == 1


def test_in_a_film_an_error_ends_it(house):
    renderer, made, _ = house
    played(renderer, [moment(generator="faces")])
    made[GeneratorSpec("faces")].fails = ValueError("broken")
    with pytest.raises(GeneratorError, match=r"faces fell: ValueError: broken \(test_renderer\.py:\d+\)"):
        played(renderer, [moment(generator="faces")])


def test_one_that_draws_everything_draws_through_a_morph_too():
    made = []

    def make(spec):
        made.append(Dummy(spec))
        return made[-1]

    images = ImageSource({}, (), ManualClock(), lambda *_: None)
    renderer = Renderer(REGISTRY, WaitingPool(make), images, lambda *_: None, only="pattern")
    glide = Morph(0, 2.0, "linear", {}, ("faces", "ffhq", "", "auto"))
    played(renderer, [replace(moment(generator="faces"), state=ShowState(generator="faces", glide=glide))])
    assert [dummy.spec for dummy in made] == [GeneratorSpec("pattern")]


def test_requests_carry_their_number_and_mode(house):
    renderer, made, _ = house
    played(renderer, [replace(moment(7), mode="film")])
    assert (made[GeneratorSpec("pattern")].requests[0].number, made[GeneratorSpec("pattern")].requests[0].mode) == (
        7,
        "film",
    )


def test_who_plays_keeps_its_memory_while_its_input_changes(house):
    renderer, made, _ = house
    memory, counts = RenderMemory(), []
    for number, source in enumerate(("", "", "pattern", "pattern", "", "feedback")):
        rendered, memory = renderer.render(moment(number, generator="faces", input=source), memory)
        counts.append(int(rendered.frame.pixels[0, 0, 0]))
    assert counts == [1, 2, 3, 4, 5, 6]
    assert made[GeneratorSpec("faces")].requests[2].image is not None


@pytest.mark.parametrize(
    "frame",
    [None, "picture", Frame(np.zeros((10, 10, 3), np.uint8), FrameInfo(64, 36)),
     Frame(np.zeros((36, 64, 4), np.float32), FrameInfo(64, 36)), Frame("pixels", FrameInfo(64, 36)),
     Frame(np.zeros((36, 64, 4), np.uint8), FrameInfo(64, 36), figures={"x": object()}),
     Frame(np.zeros((36, 64, 4), np.uint8), FrameInfo(64, 36), notices=("hello",))],
    ids=["none", "text", "shape", "float", "no array", "figures", "notices"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["faces", "pattern"])
def test_what_is_no_frame_is_a_fault_of_who_made_it(house, frame, kind):
    renderer, made, told = house
    first = moment(size=(64, 36), generator="faces", input="pattern")
    played(renderer, [first])
    made[GeneratorSpec(kind)].render = lambda request, state: (frame, state)
    if kind == "faces":
        with pytest.raises(GeneratorError, match=r"^faces(:| makes frames of uint8 \(36, 64, 4\): got)"):
            played(renderer, [first])
    else:
        assert played(renderer, [first]).request.image is None
        assert told[0][1].startswith("pattern")


def test_nobody_starts_from_itself(house):
    renderer, _, told = house
    played(renderer, [moment(generator="faces", input="faces")])
    assert told == [("input", "faces cannot start from itself; it starts from noise", False)]


def test_a_picture_for_another_generator_may_stay_on_its_device(house):
    """The first of a chain is asked for it; the second gets what speaks DLPack, and the wall still gets numpy."""
    torch = pytest.importorskip("torch", reason="a device's picture needs torch")
    renderer, made, _ = house
    one = moment(size=(64, 36), generator="faces", input="pattern")
    played(renderer, [one])
    first, second = made[GeneratorSpec("pattern")], made[GeneratorSpec("faces")]
    assert (first.requests[-1].where, second.requests[-1].where) == ("device", "host")
    plain, kept = first.render, torch.full((36, 64, 4), 7, dtype=torch.uint8)
    first.render = lambda request, state: (replace(plain(request, state)[0], device=kept), 1)
    played(renderer, [one])
    image = second.requests[-1].image
    assert image is kept
    assert (on_host(image) == 7).all()
    assert on_host(image).dtype == np.uint8
    first.render = lambda request, state: (replace(plain(request, state)[0], device=kept[:10]), 1)
    played(renderer, [one])
    assert second.requests[-1].image is None, "one of another size is no frame"
