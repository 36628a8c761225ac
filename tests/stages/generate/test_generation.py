"""The generate loop with generators that behave, refuse and fail."""

import re
import uuid
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest
from conftest import wait_for
from known import DEFAULT_PARAMS, SHIPPED

from vjserver.rendering.generator_pool import GeneratorPool
from vjserver.rendering.image_source import ImageSource
from vjserver.rendering.renderer import Renderer
from vjserver.runtime import shared
from vjserver.runtime.clock import NS, ManualClock
from vjserver.runtime.queue import QueueReader
from vjserver.runtime.ring import RingReader, RingWriter
from vjserver.runtime.slot import SlotWriter
from vjserver.runtime.status import DeliverStatus, GenerateStatus, Latency, StatusReader, StatusWriter
from vjserver.runtime.store import Channels, StateWriter, pack_features
from vjserver.show.registry import Registry
from vjserver.show.state import Morph, ShowState
from vjserver.stages.generate.generation import GeneratePipes, Generation
from vjserver.types.errors import ConfigError, GeneratorError, VJError, WorkerFault
from vjserver.types.features import silent_features
from vjserver.types.frames import Frame, FrameInfo, Notice
from vjserver.types.knobs import GeneratorInfo


class Counter:
    """Draws the number of frames it has drawn; fails at ``fail_at``."""

    def __init__(self, fail_at=None):
        self.fail_at, self.closed, self.requests = fail_at, False, []

    def open(self):
        pass

    def warm_up(self, width, height):
        pass

    def render(self, request, state):
        self.requests.append(request)
        if self.fail_at == len(self.requests):
            raise GeneratorError("no memory left")
        number = (state or 0) + 1
        pixels = np.full((request.height, request.width, 4), number, np.uint8)
        return Frame(pixels, FrameInfo(request.width, request.height)), number

    def close(self):
        self.closed = True


class Inline:
    """An executor that does its work at once."""

    def submit(self, work, *args):
        future = Future()
        try:
            future.set_result(work(*args))
        except VJError as error:
            future.set_exception(error)
        return future


@pytest.fixture
def stage(request):
    lookahead_ms = getattr(request, "param", 0.0)  # -1 measures it
    channels = Channels(f"vjt-{uuid.uuid4().hex[:6]}")
    channels.create()
    clock = ManualClock(NS)
    made = {"pattern": Counter(), "other": Counter(), "weak": Counter(fail_at=3), "taker": Counter()}
    told = [
        GeneratorInfo(kind, accepts_image=kind == "taker", takes_model=kind == "taker")
        for kind in ("other", "weak", "taker")
    ]
    registry = Registry((*SHIPPED.infos.values(), *told))

    def make(spec):
        if spec.kind not in made:
            raise ConfigError(f"unknown generator {spec.kind!r}")
        return made[spec.kind]

    generation = Generation(
        lambda announce: Renderer(
            registry,
            GeneratorPool(make, Inline(), announce),
            ImageSource({"door": lambda: made["door"]}, registry.infos, clock, announce),
            announce,
            lambda kind: "own" if kind == "taker" else "",
        ),
        (32, 18),
        30.0,
        clock,
        GeneratePipes.of(channels, (32, 18)),
        lambda: RingWriter(f"{channels.key}-preview", 32 * 18 * 4),
    )
    events = QueueReader(channels.events("generate"))
    state = StateWriter(channels.state)

    def play(frames, **changes):
        state.put(replace(ShowState(), revision=1, lookahead_ms=lookahead_ms, **changes))
        for _ in range(frames):
            clock.sleep_until(clock.now_ns() + NS // 30)
            generation.step()
        return [(e.why, e.recovered) for e in events.get()]

    ring = RingReader(channels.generated)
    yield play, made, ring, channels, clock
    ring.close()
    generation.close()
    channels.remove()
    shared.remove_by_name(f"{channels.key}-preview")


def test_frames_carry_numbers_times_and_the_generators_memory(stage):
    play, _, ring, channels, clock = stage
    slot = SlotWriter(channels.features)
    slot.put(pack_features(silent_features(NS + 5)))
    assert play(4) == []
    frame = ring.get()
    assert frame.info.frame_id == 4
    assert (frame.pixels == 4).all()
    assert frame.info.t_capture_ns == NS + 5
    assert frame.info.t_generated_ns == clock.now_ns()
    play(20)
    assert StatusReader(channels.status("generate"), GenerateStatus).get().frames > 4


@pytest.mark.parametrize("stage", [-1.0], indirect=True)
def test_pictures_are_made_for_the_middle_of_their_time_on_screen(stage):
    play, made, _, channels, clock = stage
    StatusWriter(channels.status("deliver")).put(DeliverStatus(frame_to_output=Latency(9.0)))
    play(60)
    stays_ms = 1000 / 30
    asked = made["pattern"].requests[-1].t_ns - clock.now_ns()
    assert asked * 1e-6 == pytest.approx(9.0 + stays_ms / 2, abs=1.0)
    told = StatusReader(channels.status("generate"), GenerateStatus).get().lookahead_ms
    assert told == pytest.approx(9.0 + stays_ms / 2, abs=1.0)


def test_time_between_frames_is_real_and_bounded(stage):
    play, made, _, _, clock = stage
    play(3)
    clock.sleep_until(clock.now_ns() + 10 * NS)
    play(1)
    steps = [r.seconds for r in made["pattern"].requests]
    assert steps[0] == 0.0
    assert steps[1] == pytest.approx(1 / 30, rel=1e-6)
    assert steps[3] == 0.25


def test_an_unknown_generator_is_announced_once_and_the_pattern_plays(stage):
    play, made, ring, _, _ = stage
    assert play(5, generator="sdturbo") == [("unknown generator 'sdturbo'; the pattern generator plays instead", False)]
    assert len(made["pattern"].requests) == 5
    assert ring.get() is not None
    assert play(2, generator="pattern") == [("pattern plays", True)]


def test_a_generator_that_fails_in_the_show_gives_way(stage):
    play, made, _, _, _ = stage
    assert play(6, generator="weak") == [("no memory left; the pattern generator plays instead", False)]
    assert made["weak"].closed
    assert len(made["pattern"].requests) == 3
    assert play(1, generator="other") == [("other plays", True)]
    assert not made["pattern"].closed  # it is kept, for the next trouble


def test_a_fault_that_only_a_new_process_mends_is_told_and_ends_the_loop(stage):
    play, made, _, channels, _ = stage
    events = QueueReader(channels.events("generate"))

    def fail(request, state):
        raise WorkerFault("the GPU failed: CUDA error")

    made["other"].render = fail
    with pytest.raises(WorkerFault):
        play(1, generator="other")
    assert [(e.what, e.why) for e in events.get()] == [("generator", "the GPU failed: CUDA error; starting again")]


def test_a_frame_says_from_which_picture_it_was_made_and_how_old_that_was(stage):
    play, made, ring, channels, clock = stage

    class Door:
        def read(self, wait_s):
            captured_ns = clock.now_ns() - NS // 10
            return Frame(np.zeros((4, 6, 4), np.uint8), FrameInfo(6, 4, frame_id=77, t_capture_ns=captured_ns))

        def close(self):
            pass

    made["door"] = Door()

    def arrived():
        play(20, generator="taker", input="door")
        frame = ring.get()
        return frame if frame.info.source_frame_id else None

    info = wait_for(arrived).info
    assert info.source_frame_id == 77
    assert 100_000 <= info.source_age_us < 10**6
    assert made["taker"].requests[-1].image.shape == (4, 6, 4)
    play(20, generator="taker", input="door")
    assert StatusReader(channels.status("generate"), GenerateStatus).get().source_to_frame.p50 >= 100.0
    play(2, generator="taker", input="")
    assert ring.get().info.source_age_us == 0


def test_notices_are_announced_figures_shown_and_previews_lie_in_a_ring_of_their_own(stage):
    play, made, _, channels, _ = stage
    plain = made["other"].render

    def render(request, state):
        frame, state = plain(request, state)
        preview = np.full_like(frame.pixels, 77)
        notices = (Notice("frame rate", "down to 8x8"),) if state == 2 else ()
        return replace(frame, preview=preview, notices=notices, figures={"steps": 3, "jumpiness_mean": 0.1}), state

    made["other"].render = render
    assert ("down to 8x8", False) in play(20, generator="other")
    reader = RingReader(f"{channels.key}-preview")
    assert (reader.get().pixels == 77).all()
    reader.close()
    board = StatusReader(channels.status("generate"), GenerateStatus).get()
    assert board.figures["jumpiness_mean"] == 0.1


def test_pictures_are_fetched_for_those_who_take_them_only(stage):
    play, made, _, _, _ = stage
    made["chained"] = Counter()
    play(2, generator="other", input="pattern")
    assert made["other"].requests[-1].image is None
    play(3, generator="taker", input="pattern")
    assert made["taker"].requests[-1].image.shape[2] == 4
    play(1, generator="taker", input="")
    assert made["taker"].requests[-1].image is None


def test_the_shows_own_model_is_the_same_part_as_none(stage):
    play, made, _, _, _ = stage
    play(2, generator="taker", model="own")
    seen = len(made["taker"].requests)
    assert play(2, generator="taker", model="") == []
    assert len(made["taker"].requests) == seen + 2
    assert not made["taker"].closed


def test_a_stranger_that_raises_anything_gives_way_and_the_process_lives(stage):
    play, made, ring, _, _ = stage

    def fail(request, state):
        raise KeyError("whatever")

    made["other"].render = fail
    (why, recovered), *more = play(3, generator="other")
    assert re.fullmatch(
        r"other fell: KeyError: 'whatever' \(test_generation\.py:\d+\); the pattern generator plays instead", why
    )
    assert (recovered, more) == (False, [])
    assert ring.get() is not None


def test_a_morph_changes_the_generator_at_its_end(stage):
    play, made, _, _, clock = stage
    glide = Morph(clock.now_ns(), 1.0, "linear", {"zoom": 0.0}, ("pattern", "", "", "auto"))
    play(15, generator="other", params={**DEFAULT_PARAMS, "zoom": 1.0}, glide=glide)
    assert made["pattern"].requests[-1].params["zoom"] == pytest.approx(0.0, abs=0.07)  # half of -1..1
    assert made["other"].requests == []
    play(20, generator="other", glide=glide)
    assert made["other"].requests
