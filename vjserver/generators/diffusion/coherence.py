"""The coherence dial: how a frame hangs on the one before it. One number goes in, a ``FrameCoupling`` comes out.

    0      the noise stands still; only the prompt's own travel moves the picture
    0.25   the noise turns slowly, so the picture breathes
    0.5    each picture begins from the last one's latent as well
    1      each picture grows out of the last one, flown through: zoomed, turned and shifted

One-step models flicker when noise changes by more than three to five degrees a frame; at 30 frames a second the turn
stays below that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vjserver.easing.smoothing import smoothing
from vjserver.generators.camera import ViewTransform, warp
from vjserver.generators.diffusion.info import N_DIRECTIONS
from vjserver.latent.noise import NoiseWalk
from vjserver.types.frames import FrameRequest

# Where the dial stands, and there: degrees a second of turning noise, share of the last latent, of the last picture.
DIAL = (0.0, 0.25, 0.5, 0.75, 1.0)
TURN = (0.0, 30.0, 30.0, 15.0, 8.0)
LATENT = (0.0, 0.0, 0.6, 1.0, 1.0)
PICTURE = (0.0, 0.0, 0.0, 0.7, 1.0)


COLOUR_MATCH = 0.5
COLOUR_HOLD = 0.8
"""In a film that starts from its last picture, how far each frame has the colours of the scene's first."""
ANCHOR_S = 20.0


@dataclass(frozen=True, slots=True)
class FrameCoupling:
    """What joins two frames.

    ``turn_deg`` is how far the noise turns from one to the next; ``latent`` and ``picture``, 0..1, say how much of the
    last one's latent and picture the next begins with.
    """

    turn_deg: float
    latent: float
    picture: float


def frame_coupling(coherence: float, turn_deg_per_s: float, seconds: float) -> FrameCoupling:
    """Return what a dial at ``coherence`` (0..1) means for frames ``seconds`` apart; ``turn`` is added by hand."""
    turn = float(np.interp(coherence, DIAL, TURN)) + turn_deg_per_s
    return FrameCoupling(
        turn * seconds, float(np.interp(coherence, DIAL, LATENT)), float(np.interp(coherence, DIAL, PICTURE))
    )


def controls(
    request: FrameRequest, noise: NoiseWalk, coupling: FrameCoupling, before: ViewTransform, feed: bool, changed: bool
) -> dict[str, Sequence[float]]:
    """Return what a frame does with noise, latent, view, colours and grade, as ``canvas.CONTROLS`` names it.

    ``before`` is where the view was; ``feed`` tells that the last picture goes in, ``changed`` that the scene is new.
    """
    p, own, film = request.params, request.own, request.mode == "film"
    latent_offset = [own[f"latent_{i}"] for i in range(1, N_DIRECTIONS + 1)]
    # How far the colours that are kept become those of this frame: in a film they stay its first one's.
    follows = 0.0 if film and feed else smoothing(request.seconds, ANCHOR_S)
    return {
        "noise": noise.weights,
        "latent_offset": (*latent_offset, 1.0 / math.sqrt(1.0 + sum(x * x for x in latent_offset))),
        "warp": warp(request, before).ravel().tolist(),
        "last": (0.6 * coupling.picture if feed else 0.0,),
        "match": (COLOUR_MATCH if feed else 0.0,),
        "hold": (COLOUR_HOLD if feed and film else 0.0,),
        "anchor": (1.0 if changed and not feed else follows,),
        "fader": (p["crossfade"],),
        "grade": [p[name] for name in ("saturation", "contrast", "brightness", "flash", "palette")],
    }
