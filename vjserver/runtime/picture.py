"""Pictures from files: a path goes in, RGBA8 comes out, upright as the camera was held, whatever its depth."""

from pathlib import Path

import cv2
import numpy as np

from vjserver.types.errors import ConfigError, VJError
from vjserver.types.frames import MAX_SIDE, Pixels

# How files of one picture begin; what is not here is tried as a film.
_MAGIC = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"P1",
    b"P2",
    b"P3",
    b"P4",
    b"P5",
    b"P6",
    b"#?RADIANCE",
)


def is_picture(path: Path) -> bool:
    """Tell by its first bytes whether a file holds one picture. Raises VJError for an empty one."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise VJError(f"{path} is empty")
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(_MAGIC) or (webp and b"ANIM" not in head)


def read_picture(path: Path) -> Pixels:
    """Return a picture as RGBA8. Raises VJError for what is none, or too large."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if picture is not None and picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8:
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)  # turned as its EXIF data say, which the other way is not
    if picture is None:
        raise VJError(f"{path} is no picture that can be read")
    return as_rgba(picture, path)


def covering(pixels: Pixels, width: int, height: int) -> Pixels:
    """Return a picture at another size, filled: what does not fit the shape is cut off evenly."""
    high, wide = pixels.shape[:2]
    if (wide, high) == (width, height):
        return pixels
    scale = max(width / wide, height / high)
    w, h = min(wide, max(1, round(width / scale))), min(high, max(1, round(height / scale)))
    x, y = (wide - w) // 2, (high - h) // 2
    method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels[y : y + h, x : x + w], (width, height), interpolation=method), np.uint8)


def as_rgba(picture: np.ndarray, path: Path) -> Pixels:
    """Return OpenCV's picture (grey, BGR or BGRA; 8 or 16 bits or floats of 0..1) as RGBA8. Raises VJError."""
    if max(picture.shape[:2]) > MAX_SIDE:
        raise VJError(f"{path} is {picture.shape[1]}x{picture.shape[0]}; a side has at most {MAX_SIDE} pixels")
    if picture.dtype == np.uint16:
        picture = (picture // 256).astype(np.uint8)
    elif picture.dtype != np.uint8:
        picture = (np.clip(np.nan_to_num(picture), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    depth = picture.shape[2] if picture.ndim == 3 else 1
    if depth == 2:  # grey with alpha
        grey, alpha = picture[..., 0], picture[..., 1]
        return np.dstack((grey, grey, grey, alpha))
    code = {1: cv2.COLOR_GRAY2RGBA, 3: cv2.COLOR_BGR2RGBA, 4: cv2.COLOR_BGRA2RGBA}[depth]
    return np.asarray(cv2.cvtColor(picture, code), np.uint8)


def write_picture(path: Path, pixels: Pixels) -> None:
    """Write a picture, RGBA8, as its file name's ending says. Raises ConfigError."""
    try:
        written = cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGR))
    except cv2.error:
        written = False
    if not written:
        raise ConfigError(f"{path} cannot be written (PNG, JPEG or WebP, in a folder that is there)")
