"""Callbacks of the CHOP Execute DAT ``midi_to_pars``: sliders and buttons of the MIDI mapper move the parameters.

Which channel moves which is in the text DAT ``midi_map``: ``{"s1": "Fade", "b1": "Blackout"}``; yours to change.
"""

import json


def onOffToOn(channel, sampleIndex, val, prev):
    """A button was pressed: a toggle changes, a pulse is pulsed."""
    par = target(channel)
    if par is not None and par.style == "Toggle":
        par.val = not par.eval()
    elif par is not None and par.style == "Pulse":
        par.pulse()


def onValueChange(channel, sampleIndex, val, prev):
    """A slider was moved: 0..1 over the parameter's range."""
    par = target(channel)
    if par is not None and par.style in ("Float", "Int"):
        par.val = par.normMin + (par.normMax - par.normMin) * val


def target(channel):
    """Return the parameter that a channel moves, or None."""
    comp = channel.owner.parent()
    name = json.loads(comp.op("midi_map").text).get(channel.name)
    return getattr(comp.par, name, None) if name else None


def onOnToOff(channel, sampleIndex, val, prev):
    """A button was let go."""


def whileOn(channel, sampleIndex, val, prev):
    """A button is held."""


def whileOff(channel, sampleIndex, val, prev):
    """A button is not held."""
