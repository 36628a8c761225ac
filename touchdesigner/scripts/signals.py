"""What the server has told, for expressions: ``op('signals').module.pulse('vj/kick')``.

Numbers come from the OSC In CHOP behind ``beat``, texts from the OSC In DAT through ``osc_in``.
"""

import socket
import time

LOST_S = 3.0
heard = {}
faults = {}
last_s = 0.0
hits = {}


def hear(address, args):
    """Take a message; every one says that the server lives."""
    global last_s
    last_s = time.monotonic()
    heard[address] = list(args)
    if address == "/vj/status/error" and len(args) == 2:
        faults[args[0]] = args[1]
    elif address == "/vj/status/ok" and args:
        faults.pop(args[0], None)


def lost():
    """Tell whether the server has been silent for three seconds (it counts once a second)."""
    return time.monotonic() - last_s > LOST_S


def text(address, otherwise=""):
    """Return the first argument of the last message to an address."""
    args = heard.get(address)
    return args[0] if args else otherwise


def value(beat, name, otherwise=0.0):
    """Return the present value of a channel of the CHOP ``beat``, such as ``vj/level``."""
    channel = beat[name]
    return float(channel.eval()) if channel is not None else otherwise


def pulse(beat, name, seconds=0.25):
    """Return 1 at a hit of the channel ``name``, falling to 0 within ``seconds``."""
    now_s = time.monotonic()
    if value(beat, name) > 0.0:
        hits[name] = now_s
    return max(0.0, 1.0 - (now_s - hits.get(name, -1e9)) / seconds)


def ndi_name(name):
    """Return a sender's full name, ``MACHINE (name)``: this machine's, unless the name says another."""
    return name if "(" in name else socket.gethostname().upper() + " (" + name + ")"


def hud(comp):
    """Return the lines of the head-up display."""
    if lost():
        return "SERVER LOST\n" + comp.par.Host.eval() + ":" + str(comp.par.Oscport.eval())
    beat = comp.op("beat")
    made, sent = (value(beat, "vj/status/fps_" + n) for n in "12")
    bar = "".join("#" if value(beat, "vj/beat/position") >= i else "." for i in range(4))
    lines = [
        f"{value(beat, 'vj/bpm'):.1f} bpm   {bar}",
        str(text("/vj/status/preset")),
        str(text("/vj/status/prompt"))[:60],
        f"{made:.0f} made  {sent:.0f} delivered  {text('/vj/status/picture')}",
    ]
    lines += [f"! {what}: {str(why)[:80]}" for what, why in list(faults.items())[-2:]]
    return "\n".join(lines)
