"""What the generator of key frames tells of itself before it is imported: its own knobs."""

from vjserver.types.knobs import GeneratorInfo, Parameter

MODEL = (
    Parameter("steps", 0.0, 100.0, 0.0, "steps", "calls of the model; 0 is the model's own", type="int", group="model"),
    Parameter(
        "guidance", -1.0, 20.0, -1.0, "", "how closely the prompt is followed; below 0 the model's own", group="model"
    ),
)
"""Knobs of a foreign pipeline."""
USES = (
    "speed", "scale", "rotate", "shift_x", "shift_y", "pan_x", "pan_y", "palette", "saturation", "brightness",
    "contrast", "flash",
)  # fmt: skip
"""Common knobs of a picture that lies ready."""

INFO = GeneratorInfo(
    kind="still",
    parameters=(
        Parameter(
            "bars", 1.0, 64.0, 4.0, "bars", "a new picture every so many bars", type="int", curve="log", group="time"
        ),
        Parameter("morph", 0.0, 1.0, 0.5, "", "share of that time in which one becomes the next; 0 cuts", group="time"),
        Parameter(
            "between", 0.0, 7.0, 0.0, "pictures", "drawn between two of them, so that it travels; 0 crossfades",
            type="int", group="time",
        ),
        Parameter("vary", 0.0, 1.0, 1.0, "", "each picture from another seed, or all from one", type="choice",
                  choices=("one", "each"), group="model"),
        *MODEL,
    ),
    uses=(*USES, "strength"),
    takes_model=True,
)  # fmt: skip
