"""Callbacks of the OSC In DAT ``osc_values``: sliders here follow what a preset, a controller or the panel changes.

The watchdog subscribes to the server's values, which come as pairs of address and value.
"""

import json

told = {}  # parameter: the value that the server told last; it is not sent back


def names(comp):
    """Return the parameters by address: those that hold a value."""
    rows = json.loads(comp.op("addresses").text)
    return {row[0]: name for name, row in rows.items() if len(row) == 1}


def onReceiveOSC(dat, rowIndex, message, byteData, timeStamp, address, args, peer):
    """Move the parameter of this address, if it stands elsewhere."""
    comp = dat.parent()
    if address == "/vj/subscribed" and args:  # a server on another machine wants to know that it was really us
        comp.op("osc_out").sendOSC("/vj/renew", [int(args[0])])
        return
    name = names(comp).get(address)
    if name is None or not args:
        return
    par = getattr(comp.par, name)
    value = bool(args[0]) if par.style == "Toggle" else args[0]
    told[name] = value
    if not same(par.eval(), value):
        par.val = value


def same(here, there):
    """Tell whether two values are the same, numbers to the precision of an OSC float."""
    if isinstance(here, str) or isinstance(there, str):
        return str(here) == str(there)
    return abs(float(here) - float(there)) <= 1e-5 * max(1.0, abs(float(there)))


def is_told(name, value):
    """Tell whether a parameter stands where the server put it: then the hand has not moved it."""
    return name in told and same(value, told[name])
