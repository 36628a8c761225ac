"""Callbacks of the Parameter Execute DAT ``pars_to_osc``: what the performer moves goes to the server.

Which parameter has which address is in the text DAT ``addresses``: ``{"Fade": ["/vj/master/fade"], ...}``; names after
the address are parameters whose values go along, and a name that begins with ``=`` is a text of its own.
"""

import json


def table(comp):
    """Return the addresses by parameter."""
    return json.loads(comp.op("addresses").text)


def plain(par):
    """Return a parameter's value as OSC takes it: a toggle is 0 or 1, a menu its name."""
    if par.style == "Toggle":
        return int(par.eval())
    if par.style in ("Float", "Int"):
        return par.eval()
    return str(par.eval())


def send(comp, name):
    """Send what a parameter stands for; one without an address sends nothing."""
    row = table(comp).get(name)
    if row is None:
        return
    par = getattr(comp.par, name)
    args = [arg[1:] if arg.startswith("=") else plain(getattr(comp.par, arg)) for arg in row[1:]]
    if par.style not in ("Pulse", "Momentary"):
        args.append(plain(par))
    comp.op("osc_out").sendOSC(row[0], args)


def subscribe(comp):
    """Ask the server for its values; it forgets us after ten seconds."""
    comp.op("osc_out").sendOSC("/vj/subscribe", [int(comp.par.Valuesport.eval())])


def send_all(comp):
    """Send every value that was changed here, for a server that was started after this patch.

    What stands at its default is not sent: it would cover what the server's preset says.
    """
    for name in table(comp):
        par = getattr(comp.par, name)
        if par.style not in ("Pulse", "Momentary") and par.eval() != par.default:
            send(comp, name)


def onValueChange(par, prev):
    """A parameter was moved; where the server moved it, it knows."""
    if not par.owner.op("values_in").module.is_told(par.name, plain(par)):
        send(par.owner, par.name)


def onValuesChanged(changes):
    """The same, at the frame's end: not used."""


def onPulse(par):
    """A button was pressed."""
    if par.name == "Sendall":
        send_all(par.owner)
    else:
        send(par.owner, par.name)


def onExpressionChange(par, val, prev):
    """Not used."""


def onExportChange(par, val, prev):
    """Not used."""


def onEnableChange(par, val, prev):
    """Not used."""


def onModeChange(par, val, prev):
    """Not used."""
