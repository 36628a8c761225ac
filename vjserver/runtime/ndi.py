"""NDI's library: loaded when first needed; and the senders that can be seen.

NDI listens on all interfaces whatever is asked. NDI(R) is a registered trademark of Vizrt NDI AB; its library comes
with ``ndi-python`` under the NDI SDK licence and is not part of vjserver.
"""

import time
from typing import Any

from vjserver.types.errors import VJError

THIS_MACHINE = "127.0.0.1"  # asked directly, so that senders here are found where no mDNS runs


def load() -> Any:
    """Return the library, ready for use. Raises VJError with the line that installs it."""
    try:
        import NDIlib
    except ImportError as error:
        raise VJError(
            f"NDI is not available ({error}); install it with: pip install 'vjserver[ndi]' "
            "(on Debian/Ubuntu also: apt install libavahi-client3 libavahi-common3)"
        ) from None
    if not NDIlib.initialize():
        raise VJError("NDI's library does not run on this processor")
    return NDIlib


class Finder:
    """Looks for senders: on this machine, at ``extra_ips`` (comma-separated), and wherever mDNS sees."""

    def __init__(self, extra_ips: str = "") -> None:
        self._ndi = load()
        create = self._ndi.FindCreate()
        create.extra_ips = ",".join(filter(None, (THIS_MACHINE, extra_ips)))
        create.show_local_sources = True
        self._finder = self._ndi.find_create_v2(create)

    def sources(self, wait_s: float = 0.0) -> list[Any]:
        """Return what is seen after ``wait_s``: each has ``ndi_name`` and ``url_address``."""
        deadline = time.monotonic() + wait_s
        while wait_s and (left_s := deadline - time.monotonic()) > 0.0:
            self._ndi.find_wait_for_sources(self._finder, round(left_s * 1e3))
        return list(self._ndi.find_get_current_sources(self._finder) or ())

    def find(self, name: str) -> Any | None:
        """Return the sender called ``name``: in full, ``MACHINE (name)``, or the part in the parentheses."""
        return next((s for s in self.sources() if name in (s.ndi_name, inner_name(s.ndi_name))), None)

    def close(self) -> None:
        """Stop looking."""
        if self._finder is not None:
            self._ndi.find_destroy(self._finder)
            self._finder = None


def inner_name(ndi_name: str) -> str:
    """Return what a sender was called by its program: ``name`` of ``MACHINE (name)``."""
    return ndi_name.partition(" (")[2].removesuffix(")")
