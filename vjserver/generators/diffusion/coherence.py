"""The coherence dial: how a frame hangs on the one before it. One number goes in, a ``FrameCoupling`` comes out.

    0      the noise stands still; only the prompt's own travel moves the picture
    0.25   the noise turns slowly, so the picture breathes
    0.5    each picture begins from the last one's latent as well
    1      each picture grows out of the last one, flown through: zoomed, turned and shifted

One-step models flicker when noise changes by more than three to five degrees a frame; at 30 frames a second the turn
stays below that.
"""

from dataclasses import dataclass

import numpy as np

# Where the dial stands, and there: degrees a second of turning noise, share of the last latent, of the last picture.
DIAL = (0.0, 0.25, 0.5, 0.75, 1.0)
TURN = (0.0, 30.0, 30.0, 15.0, 8.0)
LATENT = (0.0, 0.0, 0.6, 1.0, 1.0)
PICTURE = (0.0, 0.0, 0.0, 0.7, 1.0)


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
