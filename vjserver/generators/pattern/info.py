"""What the pattern generator tells of itself before it is imported."""

from vjserver.types.knobs import GeneratorInfo

INFO = GeneratorInfo(
    kind="pattern",
    uses=(
        "speed", "zoom", "scale", "rotate", "shift_x", "shift_y", "detail", "morph", "warp", "symmetry", "feedback",
        "bloom", "palette", "saturation", "brightness", "contrast", "flash",
    ),
    lead_in_s=8.0,  # the longest trail falls by e in 1.2 s
)  # fmt: skip
