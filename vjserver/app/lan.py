"""Opening the show to a network: an interface's name goes in; our address there, a token and its QR code come out."""

import io
import secrets
import socket
from dataclasses import dataclass
from ipaddress import IPv4Interface

import psutil
import segno

from vjserver.types.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Lan:
    """A network that may play: our address in it, all of it, and the token that the panel asks for."""

    host: str
    network: str
    token: str
    guests: str = ""
    """What the page to speak asks for."""

    def speak_url(self, port: int, scheme: str = "https") -> str:
        """Return the address of the page to speak, with the guests' token."""
        return f"{scheme}://{self.host}:{port}/speak?guest={self.guests}"

    def trust_url(self, port: int) -> str:
        """Return where a phone learns to trust this server."""
        return f"http://{self.host}:{port}/trust"

    def url(self, port: int) -> str:
        """Return the panel's address, with its token."""
        return f"http://{self.host}:{port}/?token={self.token}"


def lan_of(interface: str) -> Lan:
    """Return the network of an interface, given by its name or our address there. Raises ConfigError naming them."""
    known = {}
    for name, rows in psutil.net_if_addrs().items():
        for row in rows:
            if row.family == socket.AF_INET and row.netmask:
                known[name, row.address] = IPv4Interface(f"{row.address}/{row.netmask}")
    for (name, address), found in known.items():
        if interface in (name, address) or (interface.startswith("127.") and address == "127.0.0.1"):
            host = interface if interface.startswith("127.") else address
            return Lan(host, str(found.network), secrets.token_urlsafe(16), secrets.token_urlsafe(9))
    there = ", ".join(f"{name} ({address})" for name, address in known) or "none"
    raise ConfigError(f"no network interface {interface!r}; there are: {there}")


def qr_code(url: str) -> str:
    """Return a QR code to be printed on a terminal."""
    out = io.StringIO()
    segno.make(url, micro=False).terminal(out, compact=True)
    return out.getvalue()
