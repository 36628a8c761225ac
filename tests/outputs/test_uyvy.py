import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vjserver.outputs import uyvy


def reference(pixels):
    """BT.709-6 in floating point: table 3.2 to 3.5, 8 bits."""
    r, g, b = (pixels[..., i].astype(float) / 255 for i in range(3))
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    cb, cr = (b - y) / 1.8556, (r - y) / 1.5748
    out = np.empty((*pixels.shape[:2], 2))
    out[..., 1] = 219 * y + 16
    for i, c in enumerate((cb, cr)):
        out[:, i::2, 0] = 224 * (c[:, ::2] + c[:, 1::2]) / 2 + 128
    return out


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 17))
@settings(max_examples=60, deadline=None)
def test_it_is_bt709_to_within_rounding(seed, height, pairs):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, 2 * pairs, 4), dtype=np.uint8)
    got = np.empty((height, 2 * pairs, 2), np.uint8)
    uyvy.pack(pixels, got)
    assert np.abs(got - reference(pixels)).max() <= 0.51


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)])
def test_extremes_stay_in_studio_range(colour):
    pixels = np.full((2, 4, 4), (*colour, 0), np.uint8)
    got = np.empty((2, 4, 2), np.uint8)
    uyvy.pack(pixels, got)
    assert 16 <= got[..., 1].min() <= got[..., 1].max() <= 235
    assert 16 <= got[..., 0].min() <= got[..., 0].max() <= 240
    if colour[0] == colour[1] == colour[2]:
        assert (got[..., 0] == 128).all()


def test_the_order_is_that_of_opencv():
    pixels = np.random.default_rng(1).integers(0, 256, (8, 16, 4), dtype=np.uint8)
    got = np.empty((8, 16, 2), np.uint8)
    uyvy.pack(pixels, got)
    theirs = cv2.cvtColor(pixels, cv2.COLOR_RGBA2YUV_UYVY)  # BT.601: near enough to tell U from V and Y
    assert np.abs(got.astype(int) - theirs).mean() < 12


def test_rows_that_are_not_contiguous_and_pixels_that_are_read_only_are_taken():
    whole = np.random.default_rng(2).integers(0, 256, (8, 32, 4), dtype=np.uint8)
    part = whole[:, 4:20]
    part.flags.writeable = False
    one, two = np.empty((8, 16, 2), np.uint8), np.empty((8, 16, 2), np.uint8)
    uyvy.pack(part, one)
    uyvy.pack(part.copy(), two)
    assert np.array_equal(one, two)
