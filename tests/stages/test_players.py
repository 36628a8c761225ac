"""Who plays while another is loaded, who is kept, and where pictures to start from come from."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zmq
from conftest import free_port, wait_for

from vjserver.inputs.sharedmem import SharedMemoryInput, SharedMemoryInputOptions
from vjserver.inputs.zmq import ZmqInput, ZmqInputOptions
from vjserver.outputs.zmq import ZmqOptions, ZmqOutput
from vjserver.runtime.clock import NS
from vjserver.runtime.ring import RingWriter
from vjserver.show.registry import PARAMS
from vjserver.stages.pictures import CHAIN_AREA, Pictures
from vjserver.stages.players import KEPT, Part, Players
from vjserver.types.errors import GeneratorError, InputError, OutOfMemoryError
from vjserver.types.frames import Frame, FrameInfo, FrameRequest


class Dummy:
    def __init__(self, part):
        self.part, self.closed, self.requests = part, False, []

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

    def make(part):
        if part.kind != "pattern":
            assert gate.wait(5)
        if part.model == "huge" and any(p.kind == "diffusion" and not d.closed for p, d in made.items()):
            raise OutOfMemoryError("GPU memory does not hold model 'huge'")
        if part.model == "vast":
            raise OutOfMemoryError("GPU memory does not hold model 'vast'")
        if part.model == "broken":
            raise GeneratorError("unet.safetensors is damaged")
        made[part] = Dummy(part)
        return made[part]

    with ThreadPoolExecutor(1) as loader:
        players = Players(make, loader, lambda what, why, mended: told.append((why, mended)))
        yield players, gate, told, made
        gate.set()
        players.close()


BIG, OTHER = Part("diffusion", "big"), Part("diffusion", "other")


def test_the_pattern_plays_while_a_model_is_loaded_and_then_gives_way(house):
    players, gate, told, made = house
    assert players.choose(BIG) is made[Part("pattern")]
    assert players.choose(BIG) is made[Part("pattern")]
    gate.set()
    wait_for(lambda: players.choose(BIG) is made.get(BIG))
    assert told == [
        ("diffusion (big) is getting ready; pattern plays meanwhile", False),
        ("diffusion (big) plays", True),
    ]


def test_coming_back_is_at_once_and_the_longest_unused_is_let_go(house):
    players, gate, _, made = house
    gate.set()
    parts = [Part("diffusion", name) for name in "abcd"]
    for part in parts:
        wait_for(lambda part=part: players.choose(part).part == part)
    assert players.choose(parts[2]) is made[parts[2]]
    assert players.choose(parts[3]) is made[parts[3]]
    assert made[parts[0]].closed
    assert sum(not dummy.closed for dummy in made.values()) <= KEPT + 1


def test_a_model_that_cannot_be_loaded_leaves_who_plays_on_stage(house):
    players, gate, told, made = house
    gate.set()
    wait_for(lambda: players.choose(BIG).part == BIG)
    broken = Part("diffusion", "broken")
    wait_for(lambda: players.choose(broken) and any("damaged" in why for why, _ in told))
    assert told[-1] == ("unet.safetensors is damaged; diffusion (big) plays on", False)
    for _ in range(5):
        assert players.choose(broken) is made[BIG]
    assert len([why for why, _ in told if "damaged" in why]) == 1
    assert players.choose(BIG) is made[BIG]
    assert told[-1] == ("diffusion (big) plays", True)


def test_who_fails_while_playing_gives_way_to_the_pattern(house):
    players, gate, told, made = house
    gate.set()
    wait_for(lambda: players.choose(BIG).part == BIG)
    players.refuse("no memory left")
    assert made[BIG].closed
    assert players.choose(BIG) is made[Part("pattern")]
    assert told[-1] == ("no memory left; the pattern generator plays instead", False)


def test_a_model_for_which_there_is_no_room_gets_that_of_the_others(house):
    players, gate, told, made = house
    gate.set()
    for part in (OTHER, BIG):
        wait_for(lambda part=part: players.choose(part).part == part)
    huge = Part("diffusion", "huge")
    wait_for(lambda: players.choose(huge).part == huge)
    assert made[OTHER].closed
    assert made[BIG].closed
    rows = [why for why, _ in told if "making room" in why]
    assert len(rows) == 2  # first who waited left, then who played; the pattern played meanwhile
    assert told[-1] == ("diffusion (huge) plays", True)


def test_a_model_that_never_fits_is_refused_after_the_room_was_made(house):
    players, gate, told, _ = house
    gate.set()
    wait_for(lambda: players.choose(BIG).part == BIG)
    vast = Part("diffusion", "vast")
    wait_for(lambda: players.choose(vast) and told[-1][0].endswith("the pattern generator plays instead"))
    assert players.playing == Part("pattern")
    assert players.choose(BIG) is not None


def test_memory_belongs_to_who_plays(house):
    players, gate, _, _ = house
    gate.set()
    wait_for(lambda: players.choose(BIG).part == BIG)
    players.memory = "latents"
    players.choose(Part("pattern"))
    assert players.memory is None


# -- pictures to start from ------------------------------------------------------------------------------------


def request(t_s=0.0, size=(1280, 720), **params):
    defaults = {name: p.default for name, p in PARAMS.items()}
    return FrameRequest(round(t_s * NS), *size, (), defaults | params, 1, 1 / 30)


class Door:
    def __init__(self, frames):
        self.frames, self.closed = list(frames), False

    def read(self):
        frame = self.frames.pop(0) if self.frames else None
        if isinstance(frame, Exception):
            raise frame
        return frame

    def close(self):
        self.closed = True


def frame(value, number=7):
    return Frame(np.full((4, 6, 4), value, np.uint8), FrameInfo(6, 4, frame_id=number))


def test_an_input_brings_its_newest_and_holds_its_last_and_says_so_once():
    told, door = [], Door([frame(1), None, frame(2, 8)])
    pictures = Pictures({"td": lambda: door}, {}, lambda *row: told.append(row))
    image, number = pictures.get("td", request())
    assert (image[0, 0, 0], number) == (1, 7)
    assert pictures.get("td", request(0.1))[0][0, 0, 0] == 1
    assert pictures.get("td", request(0.2))[1] == 8
    for t_s in (1.0, 3.0, 4.0, 9.0):
        assert pictures.get("td", request(t_s))[0][0, 0, 0] == 2
    assert told == [("input", "td brought no picture for 2 s; its last one stays", False)]
    door.frames = [frame(3)]
    assert pictures.get("td", request(9.1))[0][0, 0, 0] == 3
    assert told[-1] == ("input", "pictures come again", True)
    assert pictures.get("", request(9.2)) == (None, 0)
    assert door.closed


def test_an_input_that_fails_or_is_unknown_is_told_and_the_frame_goes_on():
    told = []
    pictures = Pictures({"td": lambda: Door([InputError("wrong magic")])}, {}, lambda *row: told.append(row))
    assert pictures.get("td", request()) == (None, 0)
    assert told == [("input", "wrong magic", False)]
    assert pictures.get("tdd", request()) == (None, 0)
    assert "unknown input 'tdd'; known: feedback, td" in told[-1][1]
    assert pictures.get("feedback", request()) == (None, 0)
    assert told[-1][2]


def test_a_chained_generator_gets_the_request_smaller_and_ungraded_and_keeps_its_memory():
    chained = Dummy(Part("pattern"))
    pictures = Pictures({}, {"pattern": lambda: chained}, lambda *_: None)
    for _ in range(3):
        image, _ = pictures.get("pattern", request(flash=1.0, saturation=0.0, zoom=0.5))
    assert image.shape[0] * image.shape[1] <= CHAIN_AREA * 1.02
    asked = chained.requests[-1]
    assert asked.width / asked.height == pytest.approx(16 / 9, rel=0.02)
    assert (asked.params["flash"], asked.params["saturation"], asked.params["zoom"]) == (0.0, 1.0, 0.5)
    pictures.close()
    assert chained.closed


def test_the_shared_memory_input_finds_a_ring_that_comes_later():
    stream = uuid.uuid4().hex[:8]
    door = SharedMemoryInput(SharedMemoryInputOptions(stream=stream))
    door.open()
    assert door.read() is None
    ring = RingWriter(f"vjserver-{stream}", 6 * 4 * 4)
    ring.put(frame(5))
    got = wait_for(door.read)
    assert got.pixels[0, 0, 0] == 5
    door.close()
    ring.close()


def test_the_zmq_input_gets_what_our_own_output_sends_and_refuses_what_it_does_not():
    address = f"tcp://127.0.0.1:{free_port()}"
    output, door = ZmqOutput(ZmqOptions(address=address)), ZmqInput(ZmqInputOptions(address=address))
    output.open()
    door.open()

    def sent_and_read():
        output.send(frame(11))
        return door.read()

    got = wait_for(sent_and_read)
    assert got.pixels.shape == (4, 6, 4)
    assert got.pixels[0, 0, 0] == 11
    output.close()
    rough = zmq.Context.instance().socket(zmq.PUB)
    wait_for(lambda: _bound(rough, address))

    def wrong():
        rough.send(b"x" * 200)
        try:
            door.read()
        except InputError as error:
            return str(error)
        return None

    assert "magic" in wait_for(wrong)
    rough.close(0)
    door.close()
    with pytest.raises(InputError, match="zmq input 'nonsense'"):
        ZmqInput(ZmqInputOptions(address="nonsense")).open()


def _bound(socket, address):
    try:
        socket.bind(address)
    except zmq.ZMQError:
        return False
    return True
