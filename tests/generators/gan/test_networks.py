"""The networks against what the papers say, done plainly; and against what they must be whatever the weights say."""

from itertools import pairwise
from pathlib import Path

import plain
import pytest
import torch
import torch.nn.functional as F

from bench.random_gans import BIGGAN_MULTIPLES, biggan, stylegan2, stylegan3
from vjserver.generators.gan.biggan import BigGAN, truncated_normal
from vjserver.generators.gan.convert import of_tensors
from vjserver.generators.gan.layers import Drive, Grid, mirror
from vjserver.generators.gan.stylegan2 import StyleGAN2, doubled, fir, phases
from vjserver.generators.gan.stylegan3 import StyleGAN3, down_matrix, up_matrix

SQUARE = Grid()


def drive(network, seed=1, psi=0.7, mix=(), label=None, noise=1.0, transform=None):
    draw = torch.Generator().manual_seed(seed)
    mixed = torch.zeros(network.styles)
    mixed[list(mix)] = 1.0
    return Drive(
        torch.randn(2, network.z_dim, generator=draw),
        torch.zeros(network.classes) if label is None else label,
        torch.full((network.styles,), psi),
        mixed,
        torch.tensor(noise),
        torch.tensor(0.4),
        torch.eye(3) if transform is None else transform,
    )


def styles(tensors, d):
    """Return the styles by the papers: mapped, mixed, truncated."""
    label = d.label if len(d.label) else None
    main, other = (plain.mapping(tensors, z, label) for z in d.z)
    rows = [other if share > 0.5 else main for share in d.mix.tolist()]
    average = tensors["mapping.w_avg"].double()
    return torch.stack([average + p * (row - average) for row, p in zip(rows, d.psi.tolist(), strict=True)])


def near(found, wanted, share=2e-5):
    found, wanted = found.double(), wanted.double()
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() <= share * wanted.abs().max()


TINY2 = {"resolution": 32, "base": 128, "most": 16, "z": 24, "w": 32}
TINY3 = {"resolution": 32, "base": 256, "most": 16, "z": 24, "w": 32, "layers": 6}


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("seed", [1, 2])
def test_stylegan2_is_what_the_paper_says(classes, seed):
    tensors = stylegan2(**TINY2, classes=classes, seed=seed)
    network = StyleGAN2(tensors)
    label = torch.rand(classes) if classes else None
    d = drive(network, seed, mix=(2, 3), label=label, noise=0.5)
    near(network(d, SQUARE)[0], plain.stylegan2(tensors, styles(tensors, d), 0.5))


@pytest.mark.parametrize("radial", [False, True], ids=["T", "R"])
@pytest.mark.parametrize("seed", [1, 2])
def test_stylegan3_is_what_the_paper_says(radial, seed):
    tensors = stylegan3(**TINY3, radial=radial, seed=seed)
    network = StyleGAN3(tensors)
    turn = torch.tensor([[0.8, -0.6, 0.1], [0.6, 0.8, -0.2], [0.0, 0.0, 1.0]])
    d = drive(network, seed, mix=(1, 4), transform=turn)
    near(network(d, SQUARE)[0], plain.stylegan3(tensors, styles(tensors, d), turn))


def test_without_truncation_left_all_latents_give_the_average():
    for network in (StyleGAN2(stylegan2(**TINY2)), StyleGAN3(stylegan3(**TINY3))):
        one, other = (network(drive(network, seed, psi=0.0), SQUARE) for seed in (1, 2))
        assert torch.equal(one, other)
        assert not torch.equal(network(drive(network, 1, psi=0.5), SQUARE), one)


def test_noise_is_off_at_0_and_the_same_at_1():
    network = StyleGAN2(stylegan2(**TINY2))
    on, again, off = (network(drive(network, 1, noise=amount), SQUARE) for amount in (1.0, 1.0, 0.0))
    assert torch.equal(on, again)
    assert (on - off).abs().mean() > 1e-3


@pytest.mark.parametrize("radial", [False, True], ids=["T", "R"])
@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, -5), (-7, 4)])
def test_stylegan3_moves_as_a_whole(radial, right, down):
    """Moved by whole pixels the picture is the same, moved: by 60 dB, as the paper has it (arXiv 2106.12423, EQ-T)."""
    tensors = stylegan3(resolution=64, base=1024, most=16, z=24, w=32, radial=radial)
    network = StyleGAN3(tensors)
    here = network(drive(network), SQUARE)[0]
    shift = torch.eye(3)
    shift[:2, 2] = torch.tensor([-right / 64, -down / 64])
    there = network(drive(network, transform=shift), SQUARE)[0]
    inner = 12  # beyond the margin the signal is unknown, and filters reach a few pixels in
    wanted = torch.roll(here, (down, right), (1, 2))[:, inner:-inner, inner:-inner]
    apart, peak = there[:, inner:-inner, inner:-inner] - wanted, wanted.abs().max()
    assert apart.square().mean().sqrt() <= 1e-3 * peak
    assert apart.abs().max() <= 1e-2 * peak
    assert (torch.roll(wanted, 1, 2) - wanted).abs().max() > 2e-2 * peak, "a pixel aside would be seen"


@pytest.mark.parametrize(("width", "height", "grid"), [
    (1920, 1080, Grid(4, 7)), (512, 512, Grid()), (1080, 1920, Grid(7, 4)), (4000, 500, Grid(4, 12)),
    (640, 480, Grid(4, 5)),
])  # fmt: skip
def test_a_grid_is_as_wide_as_the_picture(width, height, grid):
    assert Grid.of(width, height) == grid


def test_what_is_mirrored_goes_back_at_the_ends():
    assert mirror(4, 4) == [0, 1, 2, 3]
    assert mirror(7, 4) == [1, 0, 1, 2, 3, 2, 1]
    assert mirror(8, 4, True) == [1, 0, 0, 1, 2, 3, 3, 2]


@pytest.mark.parametrize("make", [
    lambda: StyleGAN2(stylegan2(**TINY2)), lambda: StyleGAN3(stylegan3(**TINY3)),
])  # fmt: skip
@pytest.mark.parametrize("grid", [Grid(4, 7), Grid(7, 4), Grid(4, 5)])
def test_wider_pictures_are_made_wider_and_not_stretched(make, grid):
    network = make()
    width, height = network.size(grid)
    assert (width, height) == (32 * grid.columns // 4, 32 * grid.rows // 4)
    picture = network(drive(network), grid)
    assert picture.shape == (1, 3, height, width)
    assert picture.std() > 0.01


# -- BigGAN-deep, against huggingface's ------------------------------------------------------------------------


def theirs(tensors, width, classes, resolution=128):
    """Return huggingface's BigGAN with weights of ours."""
    library = pytest.importorskip("pytorch_pretrained_biggan", reason="pytorch-pretrained-biggan is not installed")
    config = library.BigGANConfig(
        output_dim=resolution, channel_width=width, num_classes=classes,
        layers=[(i % 2 == 1, a, b) for i, (a, b) in enumerate(pairwise(BIGGAN_MULTIPLES[resolution]))],
    )  # fmt: skip
    model = library.BigGAN(config)
    missing, unknown = model.load_state_dict(tensors, strict=False)
    assert not unknown
    assert not missing
    return model.eval()


@pytest.mark.parametrize("resolution", [128, 256])
@pytest.mark.parametrize("truncation", [0.4, 0.71, 1.0])
def test_biggan_is_huggingfaces(truncation, resolution):
    tensors = biggan(resolution, width=8, classes=6, seed=3)
    network = BigGAN(of_tensors(Path("x"), tensors).tensors)
    d = drive(network, label=torch.tensor([0.0, 0.7, 0.0, 0.3, 0.0, 0.0]))
    d.truncation = torch.tensor(truncation)
    z = truncated_normal(d.z[:1]) * truncation
    with torch.no_grad():
        wanted = theirs(tensors, 8, 6, resolution)(z, d.label[None], truncation)
        near(network(d, SQUARE), wanted, 1e-4)


def test_truncated_numbers_stay_within_two_spreads_in_their_order():
    z = torch.linspace(-6, 6, 101)
    cut = truncated_normal(z)
    assert cut.abs().max() <= 2.0 + 1e-5
    assert (cut.diff() >= 0).all()
    assert truncated_normal(torch.zeros(1)).abs() < 1e-6
    draws = truncated_normal(torch.randn(20_000, generator=torch.Generator().manual_seed(1)))
    assert draws.std() == pytest.approx(0.88, abs=0.01)  # of a normal cut off at two spreads


@pytest.mark.parametrize("into", [2, 5])
def test_phases_are_up_sampling_and_its_low_pass_in_one(into):
    weight = torch.randn(into, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = torch.randn(1, into, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    taps = fir(3).double()
    plain = F.conv2d(F.conv_transpose2d(x, weight, stride=2), taps, padding=1, groups=3)
    quick = F.pixel_shuffle(F.conv2d(x, phases(weight, taps[0, 0]), padding=1), 2)
    torch.testing.assert_close(quick, plain, atol=1e-12, rtol=1e-12)
    colours = torch.randn(1, 3, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    spread = F.conv_transpose2d(colours, taps, stride=2, padding=1, groups=3)
    torch.testing.assert_close(doubled(colours), spread, atol=1e-12, rtol=1e-12)


def test_a_network_that_is_folded_draws_the_same():
    tensors = stylegan2(**TINY2)
    one, two = StyleGAN2(tensors).eval(), StyleGAN2(tensors).eval()
    two.fold()
    two.fold()
    with torch.no_grad():
        a, b = (network(drive(one, 1), Grid(4, 7)) for network in (one, two))
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("up", [1, 2, 4])
def test_filters_as_products_are_the_filters(up):
    taps = torch.rand(6 * up, dtype=torch.float64, generator=torch.Generator().manual_seed(up))
    x = torch.randn(1, 1, 1, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    low, wanted = 3, 9 * up
    full = F.conv_transpose2d(x, taps[None, None, None], stride=(1, up))[0, 0, 0]
    matrix = up_matrix(taps, up, low, 11, wanted)
    torch.testing.assert_close(matrix @ x[0, 0, 0], full[len(taps) - 1 - low :][:wanted])
    torch.testing.assert_close(
        down_matrix(taps, 2, wanted + 20) @ torch.ones(wanted + 20, dtype=torch.float64),
        taps.sum() * torch.ones((wanted + 20 - len(taps)) // 2 + 1, dtype=torch.float64),
    )
