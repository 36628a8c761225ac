"""The camera over a picture that is drawn as it is: zoomed, turned and moved by the common knobs, and drifting."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vjserver.types.frames import FrameRequest

Matrix = tuple[float, float, float, float, float, float]
STILL: Matrix = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Camera:
    """Where the camera has drifted to: ``angle`` in turns, ``x`` and ``y`` in half heights."""

    angle: float = 0.0
    x: float = 0.0
    y: float = 0.0

    def moved(self, request: FrameRequest) -> "Camera":
        """Return where it is after a request: ``rotate`` and ``pan`` are speeds."""
        p = request.params
        way = p["speed"] * request.seconds
        return Camera((self.angle + p["rotate"] * way) % 1.0, self.x + p["pan_x"] * way, self.y + p["pan_y"] * way)

    def matrix(self, request: FrameRequest, aspect: float) -> Matrix:
        """Return what it sees of a picture of ``aspect``; what sticks out of the frame is cut off."""
        p = request.params
        seen = min(1.0, aspect * request.height / request.width)  # of its height, where rows are cut off
        return matrix(p["scale"], self.angle, seen * (p["shift_x"] + self.x), seen * (p["shift_y"] + self.y), aspect)


CENTRE = Camera()


def matrix(scale: float, turns: float, right: float, up: float, aspect: float, flip: float = 1.0) -> Matrix:
    """Return the first two rows of the matrix that finds, for a point of the new picture, its point in the old.

    Coordinates are halves of the sides, x right, y down; ``scale`` is in octaves (above 0 larger), ``turns`` clockwise,
    ``right`` and ``up`` in half heights. ``flip`` -1 mirrors left and right.
    """
    zoom = 2.0**-scale
    cos, sin = zoom * math.cos(2.0 * math.pi * turns), zoom * math.sin(2.0 * math.pi * turns)
    x, y = -right, up  # in half heights, what is found lies where the picture came from
    a, b, c, d = cos, sin, -sin, cos
    shift_x, shift_y = a * x + b * y, c * x + d * y
    narrow = flip if abs(flip) > 1e-3 else 1e-3
    return (a / narrow, b / aspect / narrow, shift_x / aspect / narrow, c * aspect, d, shift_y)


@dataclass(frozen=True, slots=True)
class ViewTransform:
    """Where the picture stands by its knobs: ``scale`` in octaves, the centre in half heights."""

    scale: float = 0.0
    x: float = 0.0
    y: float = 0.0


def place(params: Mapping[str, float]) -> ViewTransform:
    """Return where the knobs put the picture."""
    return ViewTransform(params["scale"], params["shift_x"], params["shift_y"])


def warp(request: FrameRequest, before: ViewTransform) -> NDArray[np.float32]:
    """Return the 2 x 3 matrix that finds, for each point of the new picture, its point in the last one.

    Coordinates are those of ``torch.nn.functional.affine_grid``: -1..1 over width and height, x right, y down. The
    picture flies by ``zoom`` octaves, ``rotate`` turns and ``pan`` half heights a second, and follows ``scale`` and
    ``shift`` as they are moved.
    """
    p, dt = request.params, request.seconds
    here = place(p)
    zoom = 2.0 ** -(p["zoom"] * dt + here.scale - before.scale)
    angle = 2.0 * np.pi * p["rotate"] * dt
    right = p["pan_x"] * dt + here.x - before.x
    up = p["pan_y"] * dt + here.y - before.y
    aspect = request.width / request.height
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    # In square coordinates (half heights, y down) the source of (x, y) is zoom * R(-angle) @ (x - right, y + up).
    matrix = np.array([[cos, sin], [-sin, cos]])
    shift = matrix @ np.array([-right, up])
    there, back = np.diag([aspect, 1.0]), np.diag([1.0 / aspect, 1.0])
    return np.column_stack([back @ matrix @ there, back @ shift]).astype(np.float32)
