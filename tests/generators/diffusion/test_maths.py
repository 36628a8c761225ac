"""Samplers beside diffusers' schedulers, the coherence dial, the governor, blends: pure parts, densely."""

import math

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.generators.camera import ViewTransform, warp
from vjserver.generators.diffusion.coherence import frame_coupling
from vjserver.generators.diffusion.governor import CALM_S, LONGER_S, SMALLEST_AREA, Effort, Governor, efforts
from vjserver.generators.diffusion.sampler import Sampler
from vjserver.generators.diffusion.text import blend
from vjserver.show.addresses import COMMON
from vjserver.types.errors import GeneratorError
from vjserver.types.frames import FrameRequest, TextConditioning

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
CASES = [(1, 1.0), (2, 1.0), (3, 1.0), (4, 1.0), (1, 0.5), (2, 0.5), (4, 0.5), (1, 0.25), (2, 0.4), (3, 0.75)]
KINDS = [("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
         ("EulerAncestralDiscreteScheduler", {"timestep_spacing": "trailing"}),
         ("LCMScheduler", {"original_inference_steps": 50})]  # fmt: skip


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("kind", "more"), KINDS, ids=[kind for kind, _ in KINDS])
@pytest.mark.parametrize(("steps", "strength"), CASES)
def test_our_schedules_are_diffusers(kind, more, prediction, steps, strength, monkeypatch):
    torch.manual_seed(steps)
    scheduler = getattr(diffusers, kind)(**BETAS, **more, prediction_type=prediction)
    lcm = kind.startswith("LCM")
    if lcm:
        scheduler.set_timesteps(steps, strength=strength)
        times = scheduler.timesteps
    else:
        count = round(steps / strength)
        scheduler.set_timesteps(count)
        scheduler.set_begin_index(count - steps)
        times = scheduler.timesteps[count - steps :]
    base, *noise = torch.randn(7, 1, 4, 8, 8, dtype=torch.float64)

    def network(x, timestep):
        return torch.tanh(0.7 * x + timestep * 3e-4)

    drawn = iter(noise[1:])
    monkeypatch.setattr(f"{type(scheduler).__module__}.randn_tensor", lambda *_a, **_k: next(drawn))
    from_picture = strength < 1.0
    x = scheduler.add_noise(base, noise[0], times[:1]) if from_picture else noise[0] * scheduler.init_noise_sigma
    for t in times:
        out = scheduler.step(network(scheduler.scale_model_input(x, t), float(t)), t, x, return_dict=False)
        x = out[0]
    want = out[1] if lcm else x

    ours = Sampler({"_class_name": kind, **BETAS, **more, "prediction_type": prediction})
    schedule = ours.schedule(steps, strength, from_picture)
    assert [step.timestep for step in schedule.steps] == [int(t) for t in times]
    got = schedule.base_scale * base + schedule.noise_scale * noise[0]
    for i, step in enumerate(schedule.steps):
        out = network(step.model_scale * got, step.timestep)
        got = step.keep * got + step.use * out + step.noise * noise[i + 1]
    torch.testing.assert_close(got, want, atol=5e-5, rtol=1e-4)


@given(st.integers(-3, 9), st.floats(0, 1), st.sampled_from([kind for kind, _ in KINDS]))
def test_every_step_count_and_strength_gives_a_schedule(steps, strength, kind):
    schedule = Sampler({"_class_name": kind, **BETAS}).schedule(steps, strength, from_picture=True)
    times = [step.timestep for step in schedule.steps]
    assert 1 <= len(times) <= 4
    assert all(0 <= t <= 999 for t in times)
    assert times == sorted(times, reverse=True)
    assert schedule.steps[-1].noise == 0.0
    assert all(math.isfinite(x) for x in schedule.numbers())


@pytest.mark.parametrize(("change", "why"), [({"prediction_type": "sample"}, "epsilon or v_prediction"),
                                             ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
                                             ({"beta_schedule": "cosine"}, "scaled_linear or linear")])  # fmt: skip
def test_unknown_schedulers_are_refused(change, why):
    with pytest.raises(GeneratorError, match=why):
        Sampler({**BETAS, **change})


# -- coherence -------------------------------------------------------------------------------------------------


@given(st.floats(0, 1), st.floats(0, 180), st.floats(0, 0.25))
def test_the_dial_is_bounded_and_its_turn_is_gentle_at_show_rates(coherence, turn, seconds):
    coupling = frame_coupling(coherence, turn, seconds)
    assert 0.0 <= coupling.latent <= 1.0
    assert 0.0 <= coupling.picture <= 1.0
    assert 0.0 <= frame_coupling(coherence, 0.0, 1 / 30).turn_deg <= 3.0


def test_the_dial_goes_from_stillness_through_turning_and_latents_to_flight():
    assert frame_coupling(0.0, 0.0, 0.1).turn_deg == 0.0
    assert frame_coupling(0.25, 0.0, 0.1).turn_deg > 0.0
    assert frame_coupling(0.25, 0.0, 0.1).latent == 0.0
    assert frame_coupling(0.5, 0.0, 0.1).latent > 0.0
    assert frame_coupling(0.5, 0.0, 0.1).picture == 0.0
    assert frame_coupling(1.0, 0.0, 0.1).picture == 1.0


def request(seconds=0.1, **params):
    defaults = {name: p.default for name, p in COMMON.items()}
    return FrameRequest(0, 160, 80, TextConditioning(), defaults | params, 1, seconds)


@given(st.floats(-1, 1), st.floats(-0.5, 0.5), st.floats(-1, 1), st.integers(2, 12))
def test_a_flight_does_not_depend_on_the_frame_rate(zoom, rotate, pan, count):
    def after(n):
        whole = np.eye(3)
        for _ in range(n):
            flown = np.vstack([warp(request(0.6 / n, zoom=zoom, rotate=rotate), ViewTransform()), [0, 0, 1]])
            whole = whole @ flown
        return whole

    np.testing.assert_allclose(after(count), after(1), atol=2e-4)
    one = warp(request(0.5, pan_x=pan), ViewTransform())
    two = warp(request(0.25, pan_x=pan), ViewTransform())
    assert one[0, 2] == pytest.approx(2 * two[0, 2], abs=1e-6)


def test_a_flight_moves_what_is_seen_the_way_the_knobs_say():
    still = warp(request(), ViewTransform())
    np.testing.assert_allclose(still, [[1, 0, 0], [0, 1, 0]], atol=1e-7)
    nearer = warp(request(1.0, zoom=1.0), ViewTransform())
    np.testing.assert_allclose(nearer[:, :2], np.eye(2) / 2, atol=1e-6)  # what was half as far out is at the edge now
    right = warp(request(1.0, pan_x=0.5), ViewTransform())
    assert right[0, 2] == pytest.approx(-0.25)  # the picture moves right by half a half height, a quarter half width
    up = warp(request(1.0, pan_y=0.5), ViewTransform())
    assert up[1, 2] == pytest.approx(0.5)
    turned = warp(request(1.0, rotate=0.25), ViewTransform())  # clockwise: what is right now was on top
    source = turned[:, :2] @ np.array([0.5, 0.0])
    assert source[1] < 0.0
    moved = warp(request(0.0, shift_x=0.2), ViewTransform(x=0.1))
    assert moved[0, 2] == pytest.approx(-0.05)


# -- the governor ----------------------------------------------------------------------------------------------

ASKED = Effort(768, 432, 4, 2)


@given(
    st.integers(8, 256).map(lambda n: 8 * n),
    st.integers(8, 256).map(lambda n: 8 * n),
    st.integers(1, 4),
    st.integers(1, 2),
)
def test_every_level_is_cheaper_than_the_one_above_and_can_be_rendered(width, height, steps, decks):
    levels = efforts(Effort(width, height, steps, decks))
    works = [level.work for level in levels]
    assert works == sorted(works, reverse=True)
    assert len(set(works)) == len(works)
    assert all(level.steps >= 1 for level in levels)
    assert all(
        level.width % 64 == 0 and level.height % 64 == 0 for level in levels if level.work and level.width != width
    )
    assert all(level.width * level.height >= SMALLEST_AREA for level in levels[1:] if level.width < width)
    assert levels[-1].decks == 1


def play(governor, asked, seconds_per_work, seconds):
    told, gone = [], 0.0
    while gone < seconds:
        took = governor.choose(asked).work * seconds_per_work
        told.append(governor.hear(took))
        gone += max(took, 1.0 / governor.target_fps)
    return [row for row in told if row]


def test_it_steps_down_until_the_rate_holds_and_stays_there():
    governor = Governor(30.0)
    told = play(governor, ASKED, 0.1 / ASKED.work, 20.0)
    assert governor.choose(ASKED).work * 0.1 / ASKED.work <= 1.08 / 30.0
    assert 1 <= len(told) <= 8
    assert all("down to" in row for row in told)
    assert "30 a second need 33.3 ms" in told[0]
    assert play(governor, ASKED, 0.1 / ASKED.work, 20.0) == []


def test_it_steps_up_again_when_there_has_been_room_for_a_while():
    governor = Governor(30.0)
    play(governor, ASKED, 0.1 / ASKED.work, 20.0)
    low = governor.level
    assert low > 0
    assert play(governor, ASKED, 0.01 / ASKED.work, CALM_S * 0.8) == []
    told = play(governor, ASKED, 0.01 / ASKED.work, CALM_S * 1.5 * low + 5.0)
    assert governor.level == 0
    assert all("up to" in row for row in told)


def test_it_does_not_swing_where_the_level_above_is_just_too_slow():
    """The time of a frame does not fall with its work here, as on a GPU bound by launches."""
    governor, told, gone = Governor(30.0), [], 0.0
    while gone < 300.0:
        level = governor.choose(ASKED)
        took = 0.040 if level == ASKED else 0.020
        told.append(governor.hear(took))
        gone += max(took, 1 / 30)
    assert len([row for row in told if row]) <= 16  # ever more rarely


@given(st.lists(st.floats(1e-4, 1.0), max_size=200), st.sampled_from([0.0, 24.0, 60.0]))
def test_it_never_leaves_its_efforts(times, fps):
    governor = Governor(fps)
    for took in times:
        assert governor.choose(ASKED) in efforts(ASKED)
        governor.hear(took)
    if fps == 0.0:
        assert governor.level == 0


def test_sizes_below_keep_the_shape_as_well_as_multiples_of_64_can():
    assert [(r.width, r.height) for r in efforts(Effort(512, 512))] == [(512, 512), (384, 384), (320, 320), (256, 256)]
    assert [(r.width, r.height) for r in efforts(Effort(768, 432))] == [(768, 432), (640, 384), (512, 320), (384, 192)]
    assert [(r.width, r.height) for r in efforts(Effort(64, 64))] == [(64, 64)]


def cost(governor, asked, seconds_of, seconds):
    """Play for some seconds where each level takes what ``seconds_of`` says; return what was told."""
    told, gone = [], 0.0
    while gone < seconds:
        took = seconds_of(governor.choose(asked))
        told.append(governor.hear(took))
        gone += max(took, 1.0 / governor.target_fps)
    return [row for row in told if row]


def test_where_less_work_is_no_faster_it_stays_and_does_not_fall_to_the_bottom():
    """A card that is bound by launches: each frame takes 40 ms, whatever its size."""
    governor = Governor(30.0)
    for effort in efforts(Effort(512, 512)):
        governor.know(effort, 0.040)
    assert cost(governor, Effort(512, 512), lambda _: 0.040, 30.0) == []
    assert governor.level == 0


def test_where_nothing_is_known_and_less_work_is_no_faster_it_comes_back():
    governor = Governor(30.0)
    cost(governor, Effort(512, 512), lambda _: 0.040, 60.0)
    assert governor.level == 0


def test_a_level_that_was_not_compiled_is_passed_over_for_one_that_is_quick_enough():
    times = dict(zip(efforts(Effort(512, 512)), (0.045, 0.050, 0.030, 0.020), strict=True))
    governor = Governor(30.0)
    for effort, seconds in times.items():
        governor.know(effort, seconds)
    told = cost(governor, Effort(512, 512), times.get, 10.0)
    assert governor.level == 2
    assert len(told) == 1


def test_a_machine_that_has_become_faster_goes_up_past_a_level_that_is_slow_by_itself():
    times = dict(zip(efforts(Effort(512, 512)), (0.045, 0.080, 0.030, 0.020), strict=True))
    governor = Governor(30.0)
    for effort, seconds in times.items():
        governor.know(effort, seconds)
    cost(governor, Effort(512, 512), times.get, 10.0)
    assert governor.level == 2
    told = cost(governor, Effort(512, 512), lambda effort: times[effort] * 0.5, 20.0)
    assert governor.level == 0
    assert len(told) == 1
    assert "up to 512x512" in told[0]


def test_a_level_that_met_one_bad_moment_is_tried_again_in_the_end():
    governor, asked = Governor(30.0), Effort(512, 512)
    cost(governor, asked, lambda effort: 0.1 if effort == asked else 0.01, 3.0)
    assert governor.level > 0
    cost(governor, asked, lambda _: 0.01, 60.0)
    assert governor.level == 1, "up to what is known to be quick; above it was ten times slower"
    cost(governor, asked, lambda _: 0.01, LONGER_S * 4)
    assert governor.level == 0


def test_a_smaller_wish_is_not_stepped_down_for_a_larger_ones_cost():
    governor = Governor(30.0)
    play(governor, ASKED, 0.1 / ASKED.work, 20.0)
    work = governor.choose(ASKED).work
    small = Effort(256, 256)
    assert governor.choose(small) == small
    assert governor.choose(ASKED).work >= min(work, small.work)


def test_memory_that_ran_out_steps_down_to_the_last_level_and_no_further():
    governor = Governor(0.0)
    governor.choose(ASKED)
    for _ in efforts(ASKED)[1:]:
        assert governor.step_down()
    assert not governor.step_down()


# -- blends ----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3))
def test_a_blend_keeps_the_length_of_its_tokens_and_a_single_prompt_stays_itself(weights):
    tokens = torch.randn(3, 77, 16, generator=torch.Generator().manual_seed(0))
    given_weights = torch.tensor([weights])
    mixed = blend(tokens, given_weights)
    want = (given_weights / given_weights.sum()) @ tokens.norm(dim=-1)
    torch.testing.assert_close(mixed.norm(dim=-1), want, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(blend(tokens, torch.eye(3)), tokens, atol=1e-6, rtol=1e-6)


def test_pooled_vectors_are_blended_like_tokens():
    pooled = torch.randn(2, 1, 8, generator=torch.Generator().manual_seed(0))
    half = blend(pooled, torch.tensor([[0.5, 0.5]]))[0, 0]
    want = pooled.mean(0)[0]
    cosine = torch.nn.functional.cosine_similarity(half, want, dim=0)
    assert cosine == pytest.approx(1.0, abs=1e-5)
    assert half.norm() == pytest.approx(float(pooled.norm(dim=-1).mean()), rel=1e-4)
