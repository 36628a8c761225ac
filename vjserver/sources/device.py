"""Device: sound from a microphone, a line input or a loopback, through PortAudio (PyAudio).

The callback stamps and copies, nothing else. A device that falls silent for a second (no callback at all) is gone.
"""

import contextlib
import importlib
import os
import queue
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime.clock import NS, Clock, SampleClock
from vjserver.runtime.quiet import quiet_stderr
from vjserver.types.audio import AudioBlock
from vjserver.types.errors import DeviceError, nearest

GONE_NS = NS
PA_FLOAT32 = 1  # paFloat32 of portaudio.h
START_NS = 4 * NS  # a sound server under load may take that long for a stream's first block
MAX_WAITING = 400  # blocks; 2 s at 256/48k. Beyond, the oldest are dropped and counted.


class DeviceOptions(BaseModel):
    """Which device is heard, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | int | None = Field(None, description="part of the device's name, or its index; None for the default")
    channels: int = Field(2, ge=1, le=64, description="channels to open; fewer if the device has fewer")
    needed: int = Field(0, ge=0, le=64, description="channels that it must have; the server fills it in")
    rate_hz: int | None = Field(None, ge=8000, le=192000, description="None for the device's own rate")
    block: int = Field(256, ge=32, le=8192, description="samples a callback")


@dataclass(frozen=True, slots=True)
class Device:
    """An input that PortAudio knows. ``api`` is the system's way to it; a loopback hears what this machine plays."""

    index: int
    name: str
    channels: int
    rate_hz: int
    default: bool
    api: str = ""
    loopback: bool = False


def devices() -> list[Device]:
    """Return every input. Raises DeviceError when PortAudio cannot be used."""
    with _portaudio() as audio:
        return _inputs(audio)


@contextlib.contextmanager
def _portaudio() -> Iterator[Any]:
    audio = _start_portaudio()
    try:
        yield audio
    finally:
        audio.terminate()


def _start_portaudio() -> Any:
    with quiet_stderr():
        return _library().PyAudio()


def _library() -> Any:
    """Return PyAudio; on Windows the one that knows what the loudspeakers play (WASAPI loopback), if it is there."""
    for name in ("pyaudiowpatch", "pyaudio") if sys.platform == "win32" else ("pyaudio",):
        try:
            return importlib.import_module(name)
        except ImportError as error:
            missing = error
    raise DeviceError(f"PyAudio is missing ({missing}); install portaudio19-dev, then: pip install pyaudio") from None


def _inputs(audio: Any) -> list[Device]:
    try:
        default = int(audio.get_default_input_device_info()["index"])
    except OSError:
        default = -1
    found = []
    for index in range(audio.get_device_count()):
        info = audio.get_device_info_by_index(index)
        if info["maxInputChannels"] > 0:
            rate, name = int(info["defaultSampleRate"]), str(info["name"])
            api = str(audio.get_host_api_info_by_index(info["hostApi"])["name"])
            loops = bool(info.get("isLoopbackDevice")) or is_loopback(name)
            found.append(Device(index, name, int(info["maxInputChannels"]), rate, index == default, api, loops))
    return found


LOOPBACKS = (
    "loopback", "monitor", "blackhole", "soundflower", "stereo mix", "what u hear", "cable output", "voicemeeter",
)  # fmt: skip
NO_LOOPBACK = {
    "win32": "pip install pyaudiowpatch, or switch Stereo Mix on in the sound settings",
    "darwin": "install BlackHole (existential.audio) and play into it",
    "linux": "needs PulseAudio or PipeWire with pactl (apt-get install pulseaudio-utils)",
}


def is_loopback(name: str) -> bool:
    """Tell by its name whether an input hears what this machine plays."""
    return any(word in name.lower() for word in LOOPBACKS)


def _pulse_monitor(inputs: list[Device]) -> Device | None:
    """Return the input that hears what PulseAudio plays, having asked for it; None where there is no PulseAudio.

    PortAudio sees PulseAudio as one device; which of its sources that is, PULSE_SOURCE tells.
    """
    device = next((d for d in inputs if d.name in ("pulse", "default")), None)
    if device is None or sys.platform != "linux":
        return None
    try:
        found = subprocess.run(["pactl", "get-default-sink"], capture_output=True, text=True, timeout=2)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if found.returncode or not found.stdout.strip():
        return None
    os.environ["PULSE_SOURCE"] = f"{found.stdout.strip()}.monitor"
    return next((d for d in inputs if d.name == "pulse"), device)


def _plain(name: str) -> str:
    """Return a name without the number that Windows puts before a device that was plugged in elsewhere."""
    return re.sub(r"(^|\()\d+- ", r"\1", name.lower())


def choose(inputs: list[Device], name: str | int | None) -> Device:
    """Return the input with this index, or whose name holds ``name``. Raises DeviceError naming what is there.

    ``loopback`` is whatever hears what this machine plays; an exact name goes before one that only holds it.
    """
    if not inputs:
        raise DeviceError("no audio input on this machine; plug one in, or use --source click")
    if name is None:
        return next((d for d in inputs if d.default), inputs[0])
    if isinstance(name, int) or name.isdigit():
        for device in inputs:
            if device.index == int(name):
                return device
    elif name.lower() == "loopback":
        loop = next((d for d in inputs if d.loopback), None) or _pulse_monitor(inputs)
        if loop is None:
            raise DeviceError(f"nothing here hears what this machine plays: {NO_LOOPBACK.get(sys.platform, '')}")
        return loop
    else:
        wanted = _plain(name)
        for fits in (lambda d: _plain(d.name) == wanted, lambda d: wanted in _plain(d.name)):
            found = next(filter(fits, inputs), None)
            if found is not None:
                return found
    names = [device.name for device in inputs]
    raise DeviceError(f"no audio input {name!r}{nearest(str(name), names)}; there are: {', '.join(names)}")


class DeviceSource:
    """Hears an audio input."""

    Options = DeviceOptions

    def __init__(self, options: DeviceOptions, clock: Clock) -> None:
        self._o, self._clock = options, clock
        self._audio: Any = None
        self._stream: Any = None
        self._blocks: queue.Queue[tuple[bytes, int]] = queue.Queue(MAX_WAITING)
        self._channels = 0
        self.rate_hz = 0
        self.name = ""
        self.drops = 0

    def open(self) -> None:
        """Open the device. Raises DeviceError."""
        self._audio = _start_portaudio()
        try:
            device = choose(_inputs(self._audio), self._o.name)
            if self._o.needed > device.channels:
                raise DeviceError(
                    f"audio input {device.name!r} has {device.channels} channel(s), and channel {self._o.needed} is "
                    "asked for; /vj/sound/channels or [ear] channel chooses others"
                )
            self._channels = min(self._o.channels, device.channels)
            self.rate_hz = self._o.rate_hz or device.rate_hz
            self.name = device.name
            with quiet_stderr():
                self._stream = self._audio.open(
                    rate=self.rate_hz, channels=self._channels, format=PA_FLOAT32, input=True,
                    input_device_index=device.index, frames_per_buffer=self._o.block,
                    stream_callback=self._heard,
                )  # fmt: skip
        except (OSError, ValueError) as error:
            self.close()
            raise DeviceError(f"audio input {self.name or self._o.name!r} cannot be opened: {error}") from None
        except DeviceError:
            self.close()
            raise
        self._stamps = SampleClock(self.rate_hz)
        self._due_ns = self._clock.now_ns() + START_NS

    def _heard(self, data: bytes, _frames: int, _times: object, _status: int) -> tuple[None, int]:
        """Run in PortAudio's thread: stamp, copy, leave."""
        try:
            self._blocks.put_nowait((data, self._clock.now_ns()))
        except queue.Full:
            self.drops += 1
        return None, 0

    def read(self, until_ns: int) -> AudioBlock | None:
        """Return the next block, or None if none comes by ``until_ns``. Raises DeviceError when the device is gone."""
        now_ns = self._clock.now_ns()
        try:
            data, arrived_ns = self._blocks.get(timeout=max(0.0, min(until_ns - now_ns, GONE_NS) / NS))
        except queue.Empty:
            if self._clock.now_ns() > self._due_ns or not self._stream.is_active():
                raise DeviceError(f"audio input {self.name!r} has gone: no sound arrives") from None
            return None
        self._due_ns = arrived_ns + GONE_NS
        samples = np.frombuffer(data, np.float32).reshape(-1, self._channels)
        return AudioBlock(samples, self.rate_hz, self._stamps.stamp(len(samples), arrived_ns))

    def close(self) -> None:
        """Close the device."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None
        if self._audio is not None:
            self._audio.terminate()
            self._audio = None
        while not self._blocks.empty():
            self._blocks.get_nowait()
