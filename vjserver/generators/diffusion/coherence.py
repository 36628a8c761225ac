"""The coherence dial: how a frame hangs on the one before it. One number goes in, a ``Thread`` comes out.

    0      the noise stands still; only the prompt's own travel moves the picture
    0.25   the noise turns slowly, so the picture breathes
    0.5    each picture begins from the last one's latent as well
    1      each picture grows out of the last one, flown through: zoomed, turned and shifted

One-step models flicker when noise changes by more than three to five degrees a frame; at 30 frames a second the turn
stays below that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vjserver.types.frames import FrameRequest

# Where the dial stands, and there: degrees a second of turning noise, share of the last latent, of the last picture.
DIAL = (0.0, 0.25, 0.5, 0.75, 1.0)
TURN = (0.0, 30.0, 30.0, 15.0, 8.0)
LATENT = (0.0, 0.0, 0.6, 1.0, 1.0)
PICTURE = (0.0, 0.0, 0.0, 0.7, 1.0)


@dataclass(frozen=True, slots=True)
class Thread:
    """What joins two frames.

    ``turn_deg`` is how far the noise turns from one to the next; ``latent`` and ``picture``, 0..1, say how much of the
    last one's latent and picture the next begins with.
    """

    turn_deg: float
    latent: float
    picture: float


def thread(coherence: float, turn_deg_per_s: float, seconds: float) -> Thread:
    """Return what a dial at ``coherence`` (0..1) means for frames ``seconds`` apart; ``turn`` is added by hand."""
    turn = float(np.interp(coherence, DIAL, TURN)) + turn_deg_per_s
    return Thread(turn * seconds, float(np.interp(coherence, DIAL, LATENT)), float(np.interp(coherence, DIAL, PICTURE)))


@dataclass(frozen=True, slots=True)
class Place:
    """Where the picture stands by its knobs: ``scale`` in octaves, the centre in half heights."""

    scale: float = 0.0
    x: float = 0.0
    y: float = 0.0


def place(params: Mapping[str, float]) -> Place:
    """Return where the knobs put the picture."""
    return Place(params["scale"], params["shift_x"], params["shift_y"])


def warp(request: FrameRequest, before: Place) -> NDArray[np.float32]:
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
