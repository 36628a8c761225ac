"""The GAN generator as the generate loop and a film use it, on tiny models: every knob, every fault."""

from dataclasses import replace
from pathlib import Path

import checkpoints
import numpy as np
import pytest
from test_networks import TINY2, TINY3

from bench.random_gans import biggan, stylegan2, stylegan3
from vjserver.generators.camera import Camera, matrix
from vjserver.generators.gan.classes import classes_of, find_class, labels_of
from vjserver.generators.gan.convert import of_tensors, write
from vjserver.generators.gan.generator import GanGenerator
from vjserver.generators.gan.info import INFO, TONES
from vjserver.generators.gan.options import GanOptions
from vjserver.show.addresses import COMMON
from vjserver.types.errors import GeneratorError
from vjserver.types.frames import FrameRequest, TextConditioning

DEFAULTS = {name: p.default for name, p in COMMON.items()}
OWN = {p.name: p.default for p in INFO.parameters}
WIDTH, HEIGHT = 96, 54
MAKERS = {
    "sg2": lambda: stylegan2(**TINY2),
    "sg3": lambda: stylegan3(**TINY3),
    "big": lambda: biggan(128, width=8, classes=12),
}


def request(*prompts, seconds=1 / 30, seed=1, width=WIDTH, height=HEIGHT, **more):
    own = {key: more.pop(key) for key in list(more) if key in OWN}
    params = {key: more.pop(key) for key in list(more) if key in DEFAULTS}
    text = TextConditioning(tuple((p, 1.0) if isinstance(p, str) else p for p in prompts))
    return FrameRequest(0, width, height, text, DEFAULTS | params, seed, seconds, own=OWN | own, **more)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Return a folder of each kind, as ``models convert`` writes them."""
    result = {}
    for name, make in MAKERS.items():
        folder = result[name] = tmp_path_factory.mktemp(name)
        write(of_tensors(folder, make()), folder)
    (result["big"] / "classes.txt").write_text("\n".join(f"thing {i}, {3 * chr(97 + i)} bird" for i in range(12)))
    return result


@pytest.fixture(scope="module", params=list(MAKERS))
def gan(request, folders):
    generator = opened(folders[request.param])
    yield generator
    generator.close()


@pytest.fixture
def sg2(folders):
    return opened(folders["sg2"])


def opened(folder, **options):
    generator = GanGenerator(GanOptions(model=str(folder), device="cpu", **options))
    generator.open()
    generator.warm_up(WIDTH, HEIGHT)
    return generator


def picture(generator, asked, state=None):
    frame, _ = generator.render(asked, state)
    return frame.pixels.astype(int)


def apart(a, b):
    return float(np.abs(a[..., :3] - b[..., :3]).mean())


def test_a_picture_has_the_size_asked_for_and_something_in_it(gan):
    frame, state = gan.render(request(), None)
    assert frame.pixels.shape == (HEIGHT, WIDTH, 4)
    assert frame.pixels.dtype == np.uint8
    assert (frame.pixels[..., 3] == 255).all()
    assert frame.pixels[..., :3].std() > 3
    assert apart(frame.pixels.astype(int), picture(gan, request(), state)) == 0.0, "nothing moves by itself"
    assert frame.figures["width"] / frame.figures["height"] == 7 / 4


CHANGES = {
    "seed": 2, "truncation": 0.2, "mix": 1.0, "walk": 1.0, "pull": 0.6, "pull_low": 0.6, "pull_high": 0.6,
    "tone_c": 1.0, "tone_fs": 1.0, "bend_layer": 2.0, "palette": 0.4, "flash": 0.5, "saturation": 0.0,
    "shift_x": 0.4, "scale": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("knob", CHANGES)
def test_every_knob_moves_the_picture(gan, knob):
    more = {"bend_x": 0.5, "bend_turn": 0.1} if knob == "bend_layer" else {}
    plain, moved = (
        picture(gan, request(**one, beat_count=5, beat_phase=0.3)) for one in ({}, {knob: CHANGES[knob], **more})
    )
    assert apart(plain, moved) > 0.05


def test_pulls_and_tones_go_their_own_ways(sg2):
    pictures = [picture(sg2, request(**{knob: 0.8})) for knob in ("pull", "pull_low", "pull_high", "tone_c", "tone_d")]
    for i, one in enumerate(pictures):
        assert all(apart(one, other) > 0.5 for other in pictures[:i])


def test_a_style_comes_in_between_the_layers_named(sg2):
    plain = picture(sg2, request())
    fine, coarse = (picture(sg2, request(mix=1.0, mix_from=a, mix_to=b)) for a, b in ((5.0, 24.0), (0.0, 5.0)))
    assert apart(plain, fine) > 0.0
    assert apart(plain, coarse) > 0.0
    assert apart(plain, picture(sg2, request(mix=1.0, mix_from=5.0, mix_to=5.0))) == 0.0
    assert apart(fine, picture(sg2, request(mix=1.0, mix_from=5.0, mix_to=24.0, mix_seed=2.0))) > 0.0


def test_only_the_layers_up_to_the_cutoff_are_truncated(sg2):
    whole, none, some = (picture(sg2, request(truncation=0.0, cutoff=cutoff)) for cutoff in (24.0, 0.0, 4.0))
    assert apart(none, picture(sg2, request(truncation=1.0))) == 0.0
    assert apart(whole, picture(sg2, request(truncation=0.0, seed=9))) == 0.0, "all is the average"
    assert apart(some, picture(sg2, request(truncation=0.0, cutoff=4.0, seed=9))) > 0.0


def test_a_walk_that_closes_is_where_it_began(gan):
    def at(beat):
        return picture(gan, request(walk=1.0, walk_beats=8.0, beat_count=beat // 1, beat_phase=beat % 1))

    assert apart(at(0), at(8)) <= 0.01
    assert apart(at(0), at(3)) > 0.3


def test_a_seed_that_changes_is_travelled_to(sg2):
    first, state = sg2.render(request(seed=1), None)
    first = first.pixels.astype(int)
    steps = []
    for _ in range(12):
        frame, state = sg2.render(request(seed=2, travel_s=0.3), state)
        steps.append(frame.pixels.astype(int))
    last = picture(sg2, request(seed=2))
    assert apart(steps[-1], last) == 0.0
    whole = apart(first, last)
    assert all(apart(a, b) < 0.6 * whole for a, b in zip([first, *steps], steps, strict=False))


def test_the_camera_moves_what_stylegan3_begins_with_and_other_pictures_as_they_are(folders):
    for name in ("sg2", "sg3"):
        generator = opened(folders[name], shape="square")
        side = 64
        plain = picture(generator, request(width=side, height=side))
        moved = picture(generator, request(width=side, height=side, shift_x=0.25))
        inner = slice(16, 48)
        assert apart(np.roll(plain, side // 8, 1)[inner, inner], moved[inner, inner]) < 0.35 * apart(
            plain[inner, inner], moved[inner, inner]
        )


@pytest.mark.parametrize(("width", "height"), [(96, 96), (96, 54), (54, 96)])
def test_what_is_turned_keeps_its_shape_whatever_the_pictures_is(folders, width, height):
    """A square network's picture, turned by a quarter, and cut as the picture wants it."""
    generator = opened(folders["sg2"], shape="square")
    _, state = generator.render(request(), None)
    whole = picture(generator, request(width=96, height=96))
    turned = picture(
        generator, request(width=width, height=height, seconds=0.0), replace(state, camera=Camera(angle=0.25))
    )
    wanted = np.rot90(whole, -1)[(96 - height) // 2 :, (96 - width) // 2 :][:height, :width]
    assert apart(turned, wanted) < 2.0
    assert apart(turned, np.rot90(wanted, 2)) > 4.0


def test_rotation_goes_on_and_a_flight_too(sg2):
    state = None
    for _ in range(30):
        _, state = sg2.render(request(rotate=0.25, pan_x=0.5), state)
    assert state.camera.angle == pytest.approx(0.25 * 29 / 30)
    assert state.camera.x == pytest.approx(0.5 * 29 / 30)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_what_is_bent_goes_where_the_matrix_says(flip):
    a, b, x, c, d, y = matrix(1.0, 0.0, 0.5, 0.0, 2.0, 1.0 - 2.0 * flip)
    assert (b, c, d, y) == (0.0, 0.0, 0.5, 0.0)
    assert a == (0.5 if flip == 0.0 else -0.5)
    assert x == pytest.approx(-0.125 if flip == 0.0 else 0.125)
    turned = matrix(0.0, 0.25, 0.0, 0.0, 1.0)
    assert np.allclose(turned, (0.0, 1.0, 0.0, -1.0, 0.0, 0.0), atol=1e-12)


# -- classes and prompts ---------------------------------------------------------------------------------------


def test_classes_are_chosen_by_knob_by_number_and_by_name(folders):
    generator = opened(folders["big"])
    three = picture(generator, request(class_a=3.0))
    assert apart(three, picture(generator, request(class_a=4.0))) > 0.3
    assert apart(three, picture(generator, request("thing 3"))) == 0.0
    assert apart(three, picture(generator, request("a photo of a ddd bird"))) == 0.0
    assert apart(three, picture(generator, request(class_a=1.0, class_b=3.0, class_blend=1.0))) == 0.0
    half = picture(generator, request(("thing 3", 1.0), ("thing 4", 1.0)))
    assert apart(half, picture(generator, request(class_a=3.0, class_b=4.0, class_blend=0.5))) == 0.0
    frame, _ = generator.render(request("a submarine"), None)
    assert [notice.what for notice in frame.notices] == ["prompt 'a submarine'"]


def test_a_generator_without_words_says_so_once(sg2):
    notices = [notice for _ in range(3) for notice in sg2.render(request("a red moon"), None)[0].notices]
    assert [notice.why for notice in notices] == [
        f"{sg2._gan.folder.name} reads no text: its seed and knobs say what it draws"
    ]


LABELS = ("tench, Tinca tinca", "tabby, tabby cat", "tiger cat", "daisy", "golden retriever", "dog")


@pytest.mark.parametrize(("text", "place"), [
    ("golden retriever", 4), ("a golden retriever in the snow", 4), ("Tabby Cat", 1), ("a tiger cat", 2), ("daisy", 3),
    ("3", 3), ("tinca tinca", 0), ("a cat", None), ("", None), ("99999", None), ("my dog", 5),
])  # fmt: skip
def test_a_class_is_found_by_what_it_is_called(text, place):
    assert find_class(text, LABELS) == place


def test_imagenets_classes_have_their_names():
    labels = labels_of(Path("/nowhere"), 1000)
    assert len(labels) == 1000
    assert (labels[0], labels[207], labels[985]) == ("tench, Tinca tinca", "golden retriever", "daisy")


# -- films -----------------------------------------------------------------------------------------------------


def test_what_is_moved_without_drawing_is_where_drawing_would_have_brought_it(gan):
    drawn = moved = None
    rows = [request(seed=1 + n // 8, travel_s=0.2, rotate=0.1, mode="film", number=n) for n in range(20)]
    for row in rows:
        _, drawn = gan.render(row, drawn)
        moved = gan.advance(row, moved)
    last = request(seed=3, mode="film", number=20)
    assert apart(picture(gan, last, drawn), picture(gan, last, moved)) == 0.0
    kept = gan.resume(gan.checkpoint(drawn))
    assert apart(picture(gan, last, drawn), picture(gan, last, kept)) == 0.0


@pytest.mark.parametrize("data", [b"", b"no", b"\x91\x01"])
def test_another_ones_checkpoint_is_refused(sg2, data):
    with pytest.raises(GeneratorError, match="checkpoint"):
        sg2.resume(data)


def test_a_checkpoint_of_another_model_is_refused(folders, sg2):
    _, state = sg2.render(request(), None)
    with pytest.raises(GeneratorError, match="is needed"):
        opened(folders["big"]).resume(sg2.checkpoint(state))


# -- faults ----------------------------------------------------------------------------------------------------


def test_numbers_that_are_none_keep_the_last_good_frame(sg2):
    good, state = sg2.render(request(), None)
    shown = good.pixels.copy()
    bias = sg2._gan.network.colours[-1].bias
    bias.fill_(float("nan"))
    for i in range(3):
        frame, state = sg2.render(request(seed=i), state)
        assert np.array_equal(frame.pixels, shown)
        assert len(frame.notices) == (i == 0)
    with pytest.raises(GeneratorError, match="numbers that are none"):
        sg2.render(request(mode="film"), None)
    bias.fill_(0.0)
    assert not np.array_equal(sg2.render(request(seed=5), state)[0].pixels, shown)


@pytest.mark.parametrize(("model", "told"), [
    ("", "a GAN needs a model"), ("no-such", "unknown GAN 'no-such'"), ("file.pkl", "vjserver models convert"),
    ("empty", "it is no model at all"), ("sd", "it is a diffusion model"),
])  # fmt: skip
def test_a_model_that_is_none_is_told(tmp_path, monkeypatch, model, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.pkl").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "sd").mkdir()
    (tmp_path / "sd" / "model_index.json").write_text("{}")
    with pytest.raises(GeneratorError, match=told):
        GanGenerator(GanOptions(model=model)).open()


def test_without_torch_the_class_can_be_had_and_says_what_is_missing(folders, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(GeneratorError, match="GANs need torch"):
        GanGenerator(GanOptions(model=str(folders["sg2"]))).open()


def test_half_precision_draws_the_same_picture(folders):
    for name in MAKERS:
        whole, half = (picture(opened(folders[name], dtype=dtype), request()) for dtype in ("float32", "bfloat16"))
        assert apart(whole, half) < 6.0
        assert apart(whole, half) > 0.0


def test_a_square_shape_draws_no_wider(folders):
    frame, _ = opened(folders["sg2"], shape="square").render(request(), None)
    assert frame.figures["width"] == frame.figures["height"] == 32


def test_where_the_picture_is_mirrored_no_seam_shows(folders):
    """A network that is widened goes back where it ended: columns are no further apart there than in a square."""
    generator = opened(folders["sg2"])
    largest = []
    for width in (56, 32):
        pictures = [picture(generator, request(seed=n, width=width, height=32, noise=0.0)) for n in range(16)]
        steps = np.mean([np.abs(np.diff(one[..., :3], axis=1)).mean(axis=(0, 2)) for one in pictures], axis=0)
        largest.append(steps[4:-4].max())  # at the borders of any picture the network sees zeros
    assert largest[0] <= 1.4 * largest[1]


def test_every_tone_has_a_knob():
    assert len(TONES) == 12
    assert {f"tone_{name}" for name in TONES} <= OWN.keys()


# -- from the shell --------------------------------------------------------------------------------------------


def test_classes_are_listed_and_searched(folders, vj):
    code, _, said = vj("models", "classes", folders["big"], "bbb")
    assert (code, said.split()) == (0, ["1", "thing", "1,", "bbb", "bird"])
    assert len(classes_of(str(folders["big"]))) == 12
    assert vj("models", "classes", folders["big"], "whale")[2].startswith("vjserver: ")
    assert "has no classes" in vj("models", "classes", folders["sg2"])[2]


def test_a_picture_from_the_shell(folders, tmp_path, vj):
    args = (
        "frame",
        "--generator",
        "gan",
        "--model",
        folders["sg2"],
        "--seed",
        7,
        "--size",
        "64x64",
        "-o",
        tmp_path / "a.png",
    )
    code, _, said = vj(*args)
    assert (code, "64x64 by gan" in said) == (0, True)
    import cv2

    plain = cv2.imread(str(tmp_path / "a.png")).astype(int)
    assert plain.shape == (64, 64, 3)
    assert vj(*args, "--set", "truncation=0.1", "--set", "walk=loop")[0] == 0
    assert np.abs(cv2.imread(str(tmp_path / "a.png")) - plain).mean() > 1
    for wrong, told in (
        (("--steps", "2"), "--steps: only diffusion has that"),
        (("--set", "truncaton=1"), "nearest: truncation"), (("--set", "truncation=9"), "truncation is 0..1.2"),
        (("--set", "walk=sideways"), "walk is still, loop, seeds"),
        (("--image", tmp_path / "a.png"), "from no picture"),
    ):  # fmt: skip
        code, _, said = vj(*args, *wrong)
        assert (code, told in said) == (1, True), said
    assert "unknown generator 'gann'; nearest: gan" in vj("frame", "--generator", "gann", "-o", tmp_path / "a.png")[2]
    assert "needs --model" in vj("frame", "-o", tmp_path / "a.png")[2]
    assert (
        vj("frame", "--generator", "pattern", "--prompt", "red tunnel", "--size", "64x64", "-o", tmp_path / "b.png")[0]
        == 0
    )


def test_a_checkpoint_goes_into_the_store_and_plays_by_its_name(tmp_path, vj, monkeypatch):
    monkeypatch.setenv("VJSERVER_DATA", str(tmp_path / "data"))
    pickle_ = checkpoints.official(tmp_path / "faces.pkl", stylegan2(**TINY2))
    code, _, said = vj("models", "convert", pickle_, "-o", tmp_path / "faces")
    assert (code, "StyleGAN2, 32x32" in said) == (0, True)
    assert vj("models", "add", tmp_path / "faces", "--licence", "mine")[0] == 0
    assert "StyleGAN2, has not run here yet" in vj("models", "list")[2]
    assert "For money? the official models: no" in vj("models", "list")[2]
    args = ("frame", "--generator", "gan", "--model", "faces", "--size", "64x64", "-o", tmp_path / "a.png")
    code, _, said = vj(*args)
    assert code == 0, said
    assert "StyleGAN2, has run here" in vj("models", "list")[2]
    assert vj("models", "verify")[0] == 0
    assert 'generator = "gan" plays it' in vj("frame", "--model", "faces", "--prompt", "x", "-o", tmp_path / "a.png")[2]
    assert vj("models", "convert", pickle_, "-o", tmp_path / "faces")[0] == 1
