"""What the painter tells of itself before it is imported: its own knobs."""

from vjserver.types.knobs import GeneratorInfo, Parameter

INFO = GeneratorInfo(
    kind="paint",
    parameters=(
        Parameter("steps", 1.0, 50.0, 1.0, "steps", "strokes a picture in a film; live no more than there is time for",
                  type="int", group="paint"),
        Parameter("rate", 0.005, 0.5, 0.1, "", "how far a stroke goes", curve="log", group="paint"),
        Parameter("cutouts", 4.0, 128.0, 32.0, "", "pieces of the picture that CLIP looks at in a stroke", type="int",
                  curve="log", group="paint"),
        Parameter("smallest", 0.1, 1.0, 0.3, "", "side of the smallest piece, of the picture's shorter one",
                  group="paint"),
        Parameter("away", 0.0, 1.0, 0.5, "", "how strongly the negative prompt is fled", group="paint"),
        Parameter("follow", 0.0, 1.0, 0.0, "", "share of the input's picture that comes in a frame", group="input"),
    ),
    uses=(
        "zoom", "scale", "rotate", "shift_x", "shift_y", "pan_x", "pan_y", "palette", "saturation", "brightness",
        "contrast", "flash",
    ),
    accepts_image=True,
    takes_model=True,
)  # fmt: skip
