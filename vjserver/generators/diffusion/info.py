"""What the diffusion generator tells of itself before it is imported: its own knobs, and what they were called."""

from vjserver.latent.walks import WALK
from vjserver.types.knobs import GeneratorInfo, Parameter

N_DIRECTIONS = 4
N_LORAS = 4

_PARAMETERS = (
    Parameter("steps", 1.0, 4.0, 1.0, "steps", "calls of the model a picture", group="model"),
    Parameter("guidance", 1.0, 15.0, 8.0, "", "how closely the prompt is followed, where the model can", group="model"),
    Parameter("coherence", 0.0, 1.0, 0.3, "", "still noise, turning noise, last latent, flight", group="motion"),
    Parameter("turn", 0.0, 180.0, 0.0, "degrees/s", "noise turned in addition; map energy here", group="motion"),
    *(
        Parameter(
            f"latent_{i}", 0.0, 1.0, 0.0, "", f"lean of the latent to direction {i}; map a band here", group="latent"
        )
        for i in range(1, N_DIRECTIONS + 1)
    ),
    *WALK,
    *(Parameter(f"lora_{i}", 0.0, 2.0, 1.0, "x", f"weight of LoRA {i}", group="lora") for i in range(1, N_LORAS + 1)),
    Parameter(
        "similar", 0.0, 1.0, 0.0, "", "frames whose input changed no more than this may be skipped", group="model"
    ),
    Parameter("safety", 0.0, 1.0, 0.5, "", "score above which the safety filter acts, where it is on", group="model"),
)

INFO = GeneratorInfo(
    kind="diffusion",
    parameters=_PARAMETERS,
    uses=(
        "zoom", "scale", "rotate", "shift_x", "shift_y", "pan_x", "pan_y", "palette", "saturation", "brightness",
        "contrast", "flash", "strength", "decks", "crossfade",
    ),
    accepts_image=True,
    takes_model=True,
    aliases={p.name: p.name for p in _PARAMETERS if p not in WALK},  # all knobs stood in one table once
    lead_in_s=2.0,
)  # fmt: skip
