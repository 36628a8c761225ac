"""UYVY: RGBA8 goes in, 4:2:2 studio-range YCbCr by ITU-R BT.709 comes out, which NDI and video encoders work on.

NDI's library decodes every size by BT.709, also those up to 720x576 for which its documentation says BT.601 (measured
with version 6.3 at ten sizes).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vjserver.types.frames import Pixels

LUMA = (0.2126, 0.7152, 0.0722)
"""The weights of R, G and B in luma (BT.709-6, 3.2)."""
_kernel: Any = None


def coefficients() -> NDArray[np.int32]:
    """Return the rows Y, U, V of 8-bit R, G, B to studio-range YCbCr, times 65536, int32 ``(3, 3)``."""
    r, g, b = LUMA
    y = np.array(LUMA) * 219 / 255
    u = np.array((-r, -g, 1 - b)) * 112 / 255 / (1 - b)
    v = np.array((1 - r, -g, -b)) * 112 / 255 / (1 - r)
    return np.rint(np.stack((y, u, v)) * 65536).astype(np.int32)


_ROWS = tuple(tuple(map(int, row)) for row in coefficients())


def pack(pixels: Pixels, out: Pixels) -> None:
    """Write RGBA8 ``(h, w, 4)``, w even, as UYVY ``(h, w, 2)`` into ``out``."""
    height = len(pixels)
    words = np.ascontiguousarray(pixels).reshape(height, -1).view(np.int32)
    kernel()(words, _ROWS, out.reshape(height, -1).view(np.int32))


def kernel() -> Any:
    """Return the compiled loop: OpenCV's is for BT.601 and takes six times as long.

    numba takes half a second to import, so not before it is used.
    """
    global _kernel
    if _kernel is None:
        import numba

        signature = "void(Array(i4, 2, 'C', readonly=True), UniTuple(UniTuple(i4, 3), 3), i4[:, ::1])"
        _kernel = numba.njit(signature, nogil=True, cache=True)(_pack_pairs)
    return _kernel


def _pack_pairs(pixels: Any, rows: Any, out: Any) -> None:
    """Turn two RGBA words into one UYVY word, for each pair; whole words, so that the compiler uses vectors."""
    (yr, yg, yb), (ur, ug, ub), (vr, vg, vb) = rows
    luma, chroma = np.int32((16 << 16) + (1 << 15)), np.int32((128 << 17) + (1 << 16))
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            left, right = np.int32(pixels[i, 2 * j]), np.int32(pixels[i, 2 * j + 1])
            r, g, b = left & 255, (left >> 8) & 255, (left >> 16) & 255
            y0 = np.int32(yr * r + yg * g + yb * b + luma) >> 16
            r1, g1, b1 = right & 255, (right >> 8) & 255, (right >> 16) & 255
            y1 = np.int32(yr * r1 + yg * g1 + yb * b1 + luma) >> 16
            r, g, b = r + r1, g + g1, b + b1
            u = np.int32(ur * r + ug * g + ub * b + chroma) >> 17
            v = np.int32(vr * r + vg * g + vb * b + chroma) >> 17
            out[i, j] = np.int32(u | (y0 << 8) | (v << 16) | (y1 << 24))
