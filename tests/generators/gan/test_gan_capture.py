"""A GAN's frame asks nothing of the host, so that it can be captured; and what changes is numbers alone."""

import numpy as np
import pytest
import torch
from strict import Strict, fake_cuda  # noqa: F401 - a fixture
from test_gan import MAKERS
from test_networks import TINY2

from bench.random_gans import stylegan2
from vjserver.generators.captured import WARM
from vjserver.generators.gan.convert import of_tensors
from vjserver.generators.gan.engine import Engine, Inputs, Shape
from vjserver.generators.gan.layers import Grid
from vjserver.generators.gan.model import Gan, network_of


def engine_of(tensors):
    found = of_tensors(None, tensors)
    return Engine(Gan(network_of(found.kind, found.tensors), None, torch.device("cpu"), torch.float32))


def inputs(engine, seed=1, **more):
    network = engine.gan.network
    z = np.random.default_rng(seed).standard_normal((2, network.z_dim)).astype(np.float32)
    label = [1.0, *[0.0] * (network.classes - 1)] if network.classes else []
    return Inputs(z, [0.7] * network.styles, [0.0] * network.styles, label, **more)


@pytest.mark.parametrize("grid", [Grid(), Grid(4, 7)], ids=["square", "wide"])
@pytest.mark.parametrize("bend", [0, 2])
@pytest.mark.parametrize("name", MAKERS)
def test_a_frame_asks_nothing_of_the_host(name, bend, grid):
    engine = engine_of(MAKERS[name]())
    shape = Shape(grid, 64, 36)
    engine.render(shape, inputs(engine, bend_layer=bend))
    with torch.inference_mode(), Strict() as strict:
        engine._canvases[shape].programs[bend].run()
    assert len(strict.names) > 10


def test_one_frame_is_captured_whatever_changes_but_the_layer_that_is_bent():
    engine = engine_of(stylegan2(**TINY2))
    shape = Shape(Grid(), 32, 32)
    for seed in range(4):
        engine.render(
            shape, inputs(engine, seed, noise=0.1 * seed, truncation=0.2 * seed, grade=(1, 1, 1, 0, 0.1 * seed))
        )
    assert len(engine._canvases[shape].programs) == 1
    engine.render(shape, inputs(engine, bend_layer=1))
    engine.render(shape, inputs(engine, bend_layer=99))
    assert sorted(engine._canvases[shape].programs) == [0, 1, engine.gan.network.places]


def test_pixels_stay_until_the_frame_after_the_next():
    engine = engine_of(stylegan2(**TINY2))
    shape = Shape(Grid(), 32, 32)
    first = engine.render(shape, inputs(engine, 1)).pixels
    kept = first.copy()
    engine.render(shape, inputs(engine, 2))
    assert np.array_equal(first, kept)
    engine.render(shape, inputs(engine, 3))
    assert not np.array_equal(first, kept)


def test_the_picture_on_the_device_is_the_one_that_was_fetched():
    engine = engine_of(stylegan2(**TINY2))
    result = engine.render(Shape(Grid(), 40, 24), inputs(engine))
    assert np.array_equal(engine.picture().numpy(), result.pixels)
    assert engine.ready(Shape(Grid(), 40, 24)) == 0.0
    engine.free()
    assert engine._canvases == {}


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_captured_replays_what_would_be_computed(name, fake_cuda):
    plain, captured = (engine_of(MAKERS[name]()) for _ in range(2))
    captured._cuda = True
    shape = Shape(Grid(4, 5), 40, 32)
    for seed in range(WARM + 4):
        rows = [
            engine.render(shape, inputs(engine, seed, noise=0.3 * seed)).pixels.astype(int)
            for engine in (plain, captured)
        ]
        assert np.abs(rows[0] - rows[1]).max() <= 1
    assert captured._canvases[shape].programs[0].replay is not None
    assert captured.ready(shape) >= 0.0
    captured.close()
