"""Callbacks of the Execute DAT ``watchdog``: pictures from shared memory are fetched in every frame, the values of the
server are asked for every few seconds, and a server that is silent for three seconds is called lost."""


def onStart():
    """The project was opened: tell the server what was changed here."""
    me.parent().op("pars_to_osc").module.send_all(me.parent())
    me.parent().op("pars_to_osc").module.subscribe(me.parent())


def onCreate():
    """The patch was made."""


def onExit():
    """The project is closed."""


def onFrameStart(frame):
    """Fetch the newest picture; once in half a second look whether the server lives."""
    comp = me.parent()
    if comp.par.Transport.eval() == "sharedmem":
        for name in ("script_in", "deck_script_in"):
            if comp.op(name) is not None:
                comp.op(name).cook(force=True)
    if frame % 30 == 0:
        look(comp)
    if frame % 240 == 0:
        comp.op("pars_to_osc").module.subscribe(comp)


def look(comp):
    """Show whether the server lives, and how old its pictures are."""
    signals = comp.op("signals").module
    if signals.lost():
        comp.par.Status = "server lost: " + comp.par.Host.eval() + ":" + str(comp.par.Oscport.eval())
        return
    status = "connected"
    age_ms = comp.op("script_in").fetch("age_ms", 0.0)
    if comp.par.Transport.eval() == "sharedmem" and age_ms:
        status += f", picture {age_ms:.0f} ms old"
    comp.par.Status = status + (", " + "; ".join(signals.faults) if signals.faults else "")


def onFrameEnd(frame):
    """Not used."""


def onPlayStateChange(state):
    """Not used."""


def onDeviceChange():
    """Not used."""
