"""Callbacks of the OSC In DAT ``osc_texts``: what the server says in words, and its heartbeat."""


def onReceiveOSC(dat, rowIndex, message, byteData, timeStamp, address, args, peer):
    """Remember the message and show names where the performer looks for them."""
    comp = dat.parent()
    comp.op("signals").module.hear(address, args)
    if address == "/vj/status/preset" and args:
        comp.par.Presetname = args[0]
    elif address == "/vj/event" and args:
        comp.store("event", args[0])
