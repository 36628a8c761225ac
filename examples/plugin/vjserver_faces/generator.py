"""The generator: a request goes in, a frame and what the next one has to know come out.

What it draws with is imported in ``open``: a show file that names this generator can be read without it.
"""

import colorsys
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from vjserver.types.frames import Frame, FrameInfo, FrameRequest
from vjserver_faces.info import INFO

SMALLER = 2  # it is drawn at half the size
SHAKES = (0.0, 0.02, 0.07)  # by mood, of half the height


class FacesOptions(BaseModel):
    """What ``[generators.faces]`` of a show file may say. ``model`` is also what /vj/model names."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = "eve"


@dataclass(frozen=True)
class Walk:
    """What one frame hands to the next."""

    time_s: float = 0.0
    angle: float = 0.0


class FacesGenerator:
    """A face. Each model has a colour of its own, each prompt another."""

    INFO = INFO
    Options = FacesOptions

    def __init__(self, options: FacesOptions) -> None:
        self._model = options.model
        self._cv2: Any = None

    def open(self) -> None:
        """Get ready."""
        import cv2

        self._cv2 = cv2

    def warm_up(self, width: int, height: int, prompts: Sequence[str] = ()) -> None:
        """Nothing here is slow at first."""

    def close(self) -> None:
        """Let go; may be called twice."""

    def advance(self, request: FrameRequest, state: Walk | None) -> Walk:
        """Move on without drawing, so that a film can begin in the middle."""
        walk, p = state or Walk(), request.params
        turned = walk.angle + 2.0 * math.pi * p["rotate"] * request.seconds
        return replace(walk, time_s=walk.time_s + p["speed"] * request.seconds, angle=turned)

    def render(self, request: FrameRequest, state: Walk | None) -> tuple[Frame, Walk]:
        """Return the frame, RGBA8, and the state for the next."""
        walk = self.advance(request, state)
        light, colour = self._face(request, walk), self._colour(request)
        picture = np.empty((*light.shape, 4), np.uint8)
        picture[..., :3] = np.clip(255.0 * light[..., None] * colour + 255.0 * request.params["flash"], 0, 255)
        picture[..., 3] = 255
        pixels = self._cv2.resize(picture, (request.width, request.height), interpolation=self._cv2.INTER_LINEAR)
        return Frame(pixels, FrameInfo(request.width, request.height), figures={"smile": request.own["smile"]}), walk

    def _face(self, request: FrameRequest, walk: Walk) -> np.ndarray:
        p, own = request.params, request.own
        height, width = request.height // SMALLER, request.width // SMALLER
        shake = SHAKES[round(own["mood"])]
        y, x = np.mgrid[-1.0 : 1.0 : height * 1j, -width / height : width / height : width * 1j].astype(np.float32)
        x = (x - p["shift_x"] - shake * math.sin(37.0 * walk.time_s)) * 2.0 ** -p["scale"]
        y = (y + p["shift_y"] - shake * math.cos(29.0 * walk.time_s)) * 2.0 ** -p["scale"]
        cos, sin = math.cos(walk.angle), math.sin(walk.angle)
        x, y = cos * x + sin * y, cos * y - sin * x
        blink = 0.02 + 0.08 * abs(math.sin(0.7 * walk.time_s)) ** 0.2
        eyes = np.hypot((np.abs(x) - 0.3) / 0.1, (y + 0.25) / blink) - 1.0
        mouth = np.abs(y - 0.35 + own["smile"] * (1.6 * x * x - 0.15)) / 0.04 + np.maximum(0.0, np.abs(x) - 0.35) * 30.0
        head = np.abs(np.hypot(x, y * 0.9) - 0.75) / 0.03
        glow = np.exp(-np.minimum(np.minimum(mouth, head), np.maximum(0.0, eyes) * 3.0))
        return glow + 0.25 * np.exp(-2.0 * np.hypot(x, y))

    def _colour(self, request: FrameRequest) -> np.ndarray:
        p = request.params
        texts = " ".join(text for text, _ in request.text.prompts)
        hue = zlib.crc32(f"{self._model}/{texts}".encode()) % 360 / 360.0 + p["palette"]
        return np.float32(colorsys.hsv_to_rgb(hue % 1.0, min(1.0, 0.6 * p["saturation"]), 1.0)) * p["brightness"]
