"""Shots: what plays and what comes, and how a clip's own movement is laid on the beat."""

from dataclasses import dataclass

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from vjserver.generators.bars import Bars
from vjserver.generators.camera import CENTRE, Camera
from vjserver.generators.clip_cache import Clip
from vjserver.generators.pipeline_kinds import Ask
from vjserver.types.errors import GeneratorError

Rgb = NDArray[np.uint8]
Clock = tuple[NDArray[np.float64], NDArray[np.float64]]
NEAR = 0.9  # a tempo that wavers changes the frames that are wanted; a clip that has so many of them will do


@dataclass(frozen=True, slots=True)
class Shot:
    """A shot: what it is asked for, and the shots that it goes on from, the first of the chain first.

    ``clips`` are how many clips each of them is made of. ``first`` and ``last`` name pictures in the bank that the
    chain begins with, and that its last shot ends with.
    """

    chain: tuple[Ask, ...]
    clips: tuple[int, ...]
    first: str = ""
    last: str = ""

    @property
    def before(self) -> "Shot | None":
        """The shot that this one goes on from."""
        return Shot(self.chain[:-1], self.clips[:-1], self.first) if len(self.chain) > 1 else None


@dataclass(frozen=True, slots=True)
class ShotState:
    """What one frame hands to the next: where in the bars it is, which shot plays, which comes, which was before.

    ``line`` counts the times that a shot was due, the last of them with bar ``since``, and ``number`` those that came;
    the one that plays is to last ``every`` bars, which were ``lasts_s`` then. ``key`` is the input's picture
    when the shot that plays began, ``key_before`` that of the one before.
    """

    bars: Bars
    shown: Shot
    coming: Shot
    before: Shot | None = None
    line: int = 0
    number: int = 0
    since: int = 0
    every: int = 4
    lasts_s: float = 8.0
    key: str = ""
    key_before: str = ""
    camera: Camera = CENTRE


class KeptState(msgspec.Struct):
    """A checkpoint."""

    version: int
    mark: str
    bars: tuple[int, float, int, int]
    shots: list[Shot | None]
    line: int
    number: int
    since: int
    every: int
    lasts_s: float
    keys: tuple[str, str]
    camera: tuple[float, float, float]


def motion(clip: Clip) -> NDArray[np.float64]:
    """Return how much a clip's picture changes from each frame to the next, the mean of its bytes."""
    step = max(1, min(clip.shape[1:3]) // 48)
    small = clip[:, ::step, ::step].astype(np.int16)
    return np.asarray(np.abs(np.diff(small, axis=0)).mean((1, 2, 3)), np.float64)


def curves(clip: Clip, model: Clip, amount: float) -> NDArray[np.uint8]:
    """Return for each channel the curve that gives ``clip`` the mean and spread of ``model``: uint8 ``(1, 256, 3)``."""
    rows = []
    for one in (clip, model):
        step = max(1, min(one.shape[1:3]) // 48)
        flat = one[:, ::step, ::step].reshape(-1, 3).astype(np.float64)
        rows.append((flat.mean(0), flat.std(0)))
    (mean, spread), (to_mean, to_spread) = rows
    gain = np.clip(to_spread / np.maximum(spread, 1.0), 0.5, 2.0)
    steps = np.arange(256.0)[:, None]
    matched = (steps - mean) * gain + to_mean
    return np.asarray(np.rint(np.clip(steps + amount * (matched - steps), 0.0, 255.0)), np.uint8)[None]


def covering(image: Rgb, width: int, height: int) -> Rgb:
    """Return a picture of another size, as large as it can be; what sticks out is cut off."""
    have_height, have_width = image.shape[:2]
    if (have_width, have_height) == (width, height):
        return image
    scale = max(width / have_width, height / have_height)
    wide, high = max(1, round(width / scale)), max(1, round(height / scale))
    left, top = (have_width - wide) // 2, (have_height - high) // 2
    kind = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
    cut = image[top : top + high, left : left + wide]
    return np.asarray(cv2.resize(cut, (width, height), interpolation=kind), np.uint8)


def key_of(clip: Clip | None) -> Rgb:
    """Return the picture with which a clip begins. Raises GeneratorError where it is gone."""
    if clip is None:
        raise GeneratorError("the picture that a shot begins with is gone from the bank")
    first: Rgb = clip[0]
    return first
