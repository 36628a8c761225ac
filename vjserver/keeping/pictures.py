"""Pictures as they are kept: pixels, or a stranger's file, go in; a JPEG and a small one come out."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vjserver.keeping.boards import Picture
from vjserver.types.errors import ConfigError
from vjserver.types.frames import Pixels

SMALL = (320, 180)
QUALITY, SMALL_QUALITY = 92, 80
LARGEST_FILE, LARGEST_SIDE = 32 << 20, 8192
_KINDS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def encoded(pixels: Pixels) -> Picture:
    """Return a picture as cards keep it. ``pixels`` are RGBA or RGB."""
    return _kept(cv2.cvtColor(np.asarray(pixels[..., :3]), cv2.COLOR_RGB2BGR))


def read(data: bytes) -> Picture:
    """Return a file's picture (JPEG or PNG) as cards keep it. Raises ConfigError."""
    if len(data) > LARGEST_FILE:
        raise ConfigError(f"a picture has at most {LARGEST_FILE >> 20} MiB: got {len(data) >> 20}")
    if not data.startswith(_KINDS):
        raise ConfigError("a picture is a JPEG or a PNG")
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None or max(bgr.shape) > LARGEST_SIDE:
        raise ConfigError(f"this picture cannot be read, or has a side of more than {LARGEST_SIDE}")
    return _kept(bgr)


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
