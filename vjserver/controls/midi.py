"""MIDI ports: which there are goes out, messages go both ways. A controller that comes back is opened anew.

Needs ``python-rtmidi``. Messages are kept by its own thread until they are read. Its callback is not used: it would run
Python in the audio system's thread, which then waits for ours, misses its turn, and loses messages (1 of 100 on JACK).
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime.quiet import quiet_stderr
from vjserver.types.errors import DeviceError

CLIENT = "vjserver"
_SYSTEM = ("midi through", "system:midi_")  # loops of the system: what is sent there comes back
# As ALSA and JACK call the ports that we open (JACK numbers our clients); one only named after us is a stranger's.
_OWN = re.compile(rf"{CLIENT}(-\d+)?:rtmidi ")


class MidiOptions(BaseModel):
    """Which MIDI ports are opened."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    on: bool = True
    ports: tuple[str, ...] = Field((), description="parts of the names of the ports to open; none: all")
    maps: str = Field("", description="a folder of maps of your own, before ours")


class MidiPorts:
    """The MIDI system of this machine. Raises DeviceError where there is none."""

    def __init__(self) -> None:
        os.environ.setdefault("JACK_NO_START_SERVER", "1")
        try:
            import rtmidi
        except ImportError as error:
            raise DeviceError(f"MIDI unavailable: {error}; pip install 'vjserver[midi]'") from None
        self._rtmidi = rtmidi
        why: Exception | str = "no MIDI system was compiled into python-rtmidi"
        for api in rtmidi.get_compiled_api():
            try:
                with quiet_stderr():
                    self._watch_in, self._watch_out = rtmidi.MidiIn(api, name=CLIENT), rtmidi.MidiOut(api, name=CLIENT)
            except (rtmidi.RtMidiError, OSError) as error:
                why = error
            else:
                self._api = api
                return
        raise DeviceError(f"MIDI unavailable: {why}")

    def names(self) -> tuple[list[str], list[str]]:
        """Return the names of the inputs and of the outputs that are not our own."""
        found: list[list[str]] = []
        for watch in (self._watch_in, self._watch_out):
            try:
                ports = named(watch.get_ports())
            except Exception:  # noqa: BLE001 - a driver of a stranger: its list is looked at again in a second
                ports = []
            found.append([name for name in ports if not _is_ours(name)])
        return found[0], found[1]

    def open_in(self, name: str) -> Any:
        """Open an input. Raises DeviceError."""
        port = self._opened(self._rtmidi.MidiIn, name)
        port.ignore_types(sysex=True, timing=False, active_sense=True)
        return port

    def read(self, port: Any) -> Iterator[tuple[list[int], float]]:
        """Yield each message that has come, and how many seconds after the one before."""
        with contextlib.suppress(self._rtmidi.RtMidiError, OSError):
            while (event := port.get_message()) is not None:
                yield event

    def open_out(self, name: str) -> Any:
        """Open an output. Raises DeviceError."""
        return self._opened(self._rtmidi.MidiOut, name)

    def _opened(self, kind: Callable[..., Any], name: str) -> Any:
        try:
            port = kind(self._api, name=CLIENT)
            port.open_port(named(port.get_ports()).index(name))
        except (self._rtmidi.RtMidiError, ValueError, OSError) as error:
            raise DeviceError(
                f"MIDI port {name!r} cannot be opened: {error}; another program may hold it; it is tried again"
            ) from None
        return port

    def send(self, port: Any, data: bytes) -> None:
        """Send; a port that was pulled is found missing soon enough."""
        with contextlib.suppress(self._rtmidi.RtMidiError, OSError, ValueError):
            port.send_message(list(data))

    def close(self, port: Any) -> None:
        """Close a port, also one that was pulled."""
        with contextlib.suppress(self._rtmidi.RtMidiError, OSError):
            port.close_port()
            port.delete()


def named(ports: Sequence[str | None]) -> list[str]:
    """Return a name for each port that no other has: drivers give the same one twice, or none at all."""
    names: list[str] = []
    for i, port in enumerate(ports, start=1):
        plain = port or f"MIDI port {i}"
        name, number = plain, 1
        while name in names:
            number += 1
            name = f"{plain} #{number}"
        names.append(name)
    return names


def _is_ours(name: str) -> bool:
    lower = name.lower()
    return _OWN.match(lower) is not None or any(part in lower for part in _SYSTEM)
