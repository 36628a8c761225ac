"""Discovery: the ports of this server go in; other programs on the same interfaces find them by zeroconf (mDNS)."""

import socket
from collections.abc import Sequence

from zeroconf import Error, IPVersion
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from vjserver.types.errors import OutputError


def local_name(name: str, port: int) -> str:
    """Return the host name that is announced: programs may ask for the page by it."""
    return f"{name}-{port}.local"


class Discovery:
    """Announces OSCQuery (``_oscjson._tcp``) and OSC (``_osc._udp``) on the interfaces with these addresses.

    The last of ``hosts`` is where they are found: on a network everybody's 127.0.0.1 is another machine.
    """

    def __init__(self, name: str, hosts: Sequence[str], web_port: int, osc_port: int) -> None:
        self._name, self._hosts = name, list(hosts)
        self._services = (("_oscjson._tcp.local.", web_port), ("_osc._udp.local.", osc_port))
        self._zeroconf: AsyncZeroconf | None = None

    async def open(self) -> None:
        """Announce. Raises OutputError where the network does not let us."""
        try:
            self._zeroconf = AsyncZeroconf(interfaces=self._hosts, ip_version=IPVersion.V4Only)
            for kind, port in self._services:
                info = AsyncServiceInfo(
                    kind,
                    f"{self._name}.{kind}",
                    addresses=[socket.inet_aton(self._hosts[-1])],
                    port=port,
                    properties={"txtvers": "1"},
                    server=f"{local_name(self._name, port)}.",
                )
                await self._zeroconf.async_register_service(info, allow_name_change=True)
        except (OSError, RuntimeError, Error) as error:
            await self.close()
            raise OutputError(f"cannot be announced by zeroconf: {type(error).__name__}: {error}") from None

    async def close(self) -> None:
        """Take the announcement back; may be called twice."""
        if self._zeroconf is not None:
            zeroconf, self._zeroconf = self._zeroconf, None
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()
