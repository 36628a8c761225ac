"""For a Text DAT in TouchDesigner, beside an OSC Out DAT called ``to_vj`` (127.0.0.1, port 9010).

Run it, or call ``op('this').module.play('mandala')`` from a button.
"""


def play(preset):
    """Call a preset by its name or number."""
    op("to_vj").sendOSC("/vj/preset/go", [preset])  # noqa: F821 - TouchDesigner's


def prompt(text, slot=1):
    """Say what the picture is of."""
    op("to_vj").sendOSC(f"/vj/prompt/{slot}/text", [text])  # noqa: F821


def knob(name, value):
    """Turn a knob, 0 to 1."""
    op("to_vj").sendOSC(f"/vj/param/{name}", [float(value)])  # noqa: F821
