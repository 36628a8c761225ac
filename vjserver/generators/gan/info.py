"""What the GAN generator tells of itself before it is imported: its own knobs."""

from vjserver.latent.walks import WALK
from vjserver.types.features import PITCH_CLASSES
from vjserver.types.knobs import GeneratorInfo, Parameter

TONES = tuple(name.replace("#", "s") for name in PITCH_CLASSES)
MOST_LAYERS = 24
MOST_CLASSES = 1000


def _knob(group: str, name: str, low: float, high: float, default: float, unit: str, doc: str) -> Parameter:
    return Parameter(name, low, high, default, unit, doc, group=group)


def _count(group: str, name: str, high: int, default: int, doc: str, unit: str = "") -> Parameter:
    return Parameter(name, 0.0, float(high), float(default), unit, doc, type="int", group=group)


_PARAMETERS = (
    _knob("model", "truncation", 0.0, 1.2, 0.7, "", "0 is the average picture, 1 all that the model knows"),
    _count("model", "cutoff", MOST_LAYERS, MOST_LAYERS, "so many layers are truncated, the coarsest first", "layers"),
    _knob("model", "noise", 0.0, 2.0, 1.0, "x", "fine grain, where the model has it"),
    _count("classes", "class_a", MOST_CLASSES - 1, 207, "what is drawn, where the model has classes"),
    _count("classes", "class_b", MOST_CLASSES - 1, 985, "what it is blended with"),
    _knob("classes", "class_blend", 0.0, 1.0, 0.0, "", "from class_a to class_b"),
    _knob("styles", "mix", 0.0, 1.0, 0.0, "", "how much of another latent's style comes in"),
    _count("styles", "mix_from", MOST_LAYERS, 4, "the first layer that it comes into: 0 is the coarsest", "layers"),
    _count("styles", "mix_to", MOST_LAYERS, MOST_LAYERS, "the layer behind the last", "layers"),
    _count("styles", "mix_seed", 9999, 1, "which latent that is"),
    *WALK,
    _knob("latent", "pull_low", 0.0, 1.0, 0.0, "", "pulled to a latent of its own; map a kick here"),
    _knob("latent", "pull_high", 0.0, 1.0, 0.0, "", "pulled to another one; map a hat or a snare here"),
    *(
        _knob(
            "tones",
            f"tone_{name}",
            0.0,
            2.0,
            0.0,
            "x",
            f"weight of the latent of {name}; map chroma/{name.replace('s', '#')} here",
        )
        for name in TONES
    ),
    _count("bending", "bend_layer", MOST_LAYERS, 0, "whose features are moved; 0 for none", "layer"),
    _knob("bending", "bend_x", -1.0, 1.0, 0.0, "half widths", "moved right"),
    _knob("bending", "bend_y", -1.0, 1.0, 0.0, "half heights", "moved up"),
    _knob("bending", "bend_turn", -0.5, 0.5, 0.0, "turns", "turned clockwise"),
    _knob("bending", "bend_zoom", -1.0, 1.0, 0.0, "octaves", "larger or smaller"),
    _knob("bending", "bend_flip", 0.0, 1.0, 0.0, "", "left becomes right; in the middle it is flat"),
)

INFO = GeneratorInfo(
    kind="gan",
    parameters=_PARAMETERS,
    uses=(
        "speed", "scale", "rotate", "shift_x", "shift_y", "pan_x", "pan_y", "palette", "saturation", "brightness",
        "contrast", "flash",
    ),
    takes_model=True,
)  # fmt: skip
