"""Ports on this machine: a number goes in, who holds it comes out, where the system tells."""

import psutil


def port_owner(port: int, kind: str) -> str:
    """Return `` (held by NAME, process N)`` for the program that listens at a port (``tcp`` or ``udp``), or ``""``."""
    try:
        for row in psutil.net_connections(kind):
            if row.laddr and row.laddr.port == port and row.pid and row.status in ("LISTEN", "NONE"):
                return f" (held by {psutil.Process(row.pid).name()}, process {row.pid})"
    except (psutil.Error, OSError):
        pass  # not all systems tell everybody
    return ""
