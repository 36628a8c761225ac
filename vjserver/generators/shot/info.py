"""What the generator of shots tells of itself before it is imported: its own knobs."""

from vjserver.generators.still.info import MODEL, USES
from vjserver.types.knobs import GeneratorInfo, Parameter

STARTS = ("text", "last", "picture", "keys")
TEXT, LAST, PICTURE, KEYS = range(4)

INFO = GeneratorInfo(
    kind="shot",
    parameters=(
        Parameter("bars", 1.0, 32.0, 4.0, "bars", "how long a shot lasts", type="int", curve="log", group="time"),
        Parameter(
            "start", default=float(LAST), type="choice", choices=STARTS, group="time",
            doc="a shot begins with its text, the last frame, the input's picture, or goes from one to the next",
        ),
        Parameter("chain", 1.0, 16.0, 4.0, "shots", "so many go on from each other, then a new one begins", type="int",
                  group="time"),
        Parameter("join", 0.0, 4.0, 1.0, "beats", "crossfade into a shot that does not go on", group="time"),
        Parameter("retime", 0.0, 1.0, 1.0, "", "what moves most falls on a beat", type="choice", choices=("off", "on"),
                  group="time"),
        Parameter("match", 0.0, 1.0, 1.0, "", "colours as in the first shot of a chain", group="model"),
        *MODEL,
    ),
    uses=USES,
    accepts_image=True,
    takes_model=True,
)  # fmt: skip
