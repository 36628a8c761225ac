"""What the generator tells of itself. Every process of the server reads this, so it imports nothing heavy."""

from vjserver.types.knobs import GeneratorInfo, Parameter

INFO = GeneratorInfo(
    kind="faces",
    parameters=(
        Parameter("smile", -1.0, 1.0, 0.3, "", "from sad to happy; map the energy here", group="face"),
        Parameter("mood", doc="how it moves", type="choice", choices=("calm", "nervous", "wild"), group="face"),
    ),
    uses=("speed", "scale", "shift_x", "shift_y", "rotate", "palette", "saturation", "brightness", "flash"),
    takes_model=True,
)
