"""Pictures as they are kept: pixels, or a stranger's file, go in; a JPEG and a small one come out."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vjserver.keeping.cards import Picture
from vjserver.types.errors import ConfigError
from vjserver.types.frames import Pixels

SMALL = (320, 180)
QUALITY, SMALL_QUALITY = 92, 80
LARGEST_FILE, LARGEST_SIDE = 32 << 20, 8192
MOST_PIXELS = 32 << 20


def encoded(pixels: Pixels) -> Picture:
    """Return a picture as cards keep it. ``pixels`` are RGBA or RGB."""
    return _kept(cv2.cvtColor(np.asarray(pixels[..., :3]), cv2.COLOR_RGB2BGR))


def read(data: bytes) -> Picture:
    """Return a file's picture (JPEG or PNG) as cards keep it. Raises ConfigError."""
    if len(data) > LARGEST_FILE:
        raise ConfigError(f"a picture has at most {LARGEST_FILE >> 20} MiB: got {len(data) >> 20}")
    sides = _sides(data)
    if sides is None:
        raise ConfigError("a picture is a JPEG or a PNG")
    if not all(0 < side <= LARGEST_SIDE for side in sides) or sides[0] * sides[1] > MOST_PIXELS:
        raise ConfigError(f"a picture has sides of up to {LARGEST_SIDE} and {MOST_PIXELS >> 20} million pixels: "
                          f"got {sides[0]}x{sides[1]}")  # fmt: skip
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        bgr = None
    if bgr is None:
        raise ConfigError("this picture is damaged: it cannot be read")
    return _kept(bgr)


def _sides(data: bytes) -> tuple[int, int] | None:
    """Return width and height as a file's head says them, before anything is decoded; None for no JPEG or PNG."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) >= 24:
        return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        mark = data[at + 1]
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        at += 1 if mark == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


def _kept(bgr: Any) -> Picture:
    return Picture(_jpeg(bgr, QUALITY), _jpeg(_small(bgr), SMALL_QUALITY))


def _jpeg(bgr: Any, quality: int) -> bytes:
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _small(bgr: Any) -> NDArray[np.uint8]:
    """Return a small picture, cut to 16:9 in the middle."""
    height, width = bgr.shape[:2]
    wide, high = max(1, min(width, height * 16 // 9)), max(1, min(height, width * 9 // 16))
    left, top = (width - wide) // 2, (height - high) // 2
    cut = bgr[top : top + high, left : left + wide]
    return np.asarray(cv2.resize(cut, SMALL, interpolation=cv2.INTER_AREA), np.uint8)
