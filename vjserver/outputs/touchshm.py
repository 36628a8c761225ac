"""TouchDesigner's own shared memory: frames straight into a Shared Mem In TOP (Windows; paid licences).

The layout follows Derivative's *Write a Shared Memory TOP*: a segment ``TouchSHM<name>`` that begins with a header,
guarded by the mutex ``TouchSHM<name>Mutex``; rows from the bottom up. A second segment (its name is told with one
``TouchSHM`` by one source and with two by another: two here, not verified) says whether the first was replaced. It was
written from that page and has not run beside TouchDesigner.
"""

import struct
import sys
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime import shared
from vjserver.types.errors import OutputError, VJError
from vjserver.types.frames import Frame

MAGIC = 0xD95EF835
VERSION = 1
RGBA8 = 37
"""VK_FORMAT_R8G8B8A8_UNORM."""
HEADER = struct.Struct("<IIiiffI4xqi4x")
"""magic, version, width, height, aspect x and y, pixel format, size and offset of the data."""
INFO_MAGIC = 0x56ED34BA
INFO = struct.Struct("<Ii?32s?2x")
"""magic, version, supported, name postfix, detach."""
LOCK_MS = 8


class TouchShmOptions(BaseModel):
    """What the Shared Mem In TOP is told, and what fits."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("vjserver", pattern=r"^[A-Za-z0-9_]{1,40}$", description="*Shared Mem Name* of the TOP")
    max_width: int = Field(1920, ge=16, le=8192)
    max_height: int = Field(1080, ge=16, le=8192)


class Mutex(Protocol):
    """A named lock that other programs can hold."""

    def held(self, wait_ms: int) -> AbstractContextManager[bool]:
        """Hold it while the block runs; False if it was not free within ``wait_ms``."""

    def close(self) -> None:
        """Let go."""


class TouchShmOutput:
    """Writes frames where TouchDesigner's Shared Mem In TOP reads them."""

    Options = TouchShmOptions

    def __init__(self, options: TouchShmOptions) -> None:
        self._o = options
        self._mutex: Mutex | None = None
        self._segments: list[shared.Segment] = []

    def open(self) -> None:
        """Make segments and mutex. Raises OutputError where this is not Windows, or the name is taken."""
        name = f"TouchSHM{self._o.name}"
        self._mutex = named_mutex(f"{name}Mutex")
        size = HEADER.size + self._o.max_width * self._o.max_height * 4
        try:
            self._segments.append(shared.create(name, size))
            self._segments.append(shared.create(f"TouchSHM{name}4jhd783h", INFO.size))
        except FileExistsError:
            self.close()
            raise OutputError(f"shared memory {name!r} is taken by another program; rename ours") from None
        except VJError as error:
            self.close()
            raise OutputError(str(error)) from None
        INFO.pack_into(self._segments[1].data, 0, INFO_MAGIC, 2, False, b"", False)

    def send(self, frame: Frame) -> None:
        """Write a frame; one is left out while TouchDesigner holds the lock. Raises OutputError for one too large."""
        assert self._mutex is not None
        pixels, data = frame.pixels, self._segments[0].data
        height, width = pixels.shape[:2]
        room = self._o.max_width * self._o.max_height * 4
        if pixels.nbytes > room:
            raise OutputError(
                f"touchshm {self._o.name!r} holds up to {self._o.max_width}x{self._o.max_height}: got {width}x{height}"
            )
        with self._mutex.held(LOCK_MS) as ours:
            if ours:
                fields = (MAGIC, VERSION, width, height, 1.0, 1.0, RGBA8, pixels.nbytes, HEADER.size)
                HEADER.pack_into(data, 0, *fields)
                target = np.frombuffer(data, np.uint8, pixels.nbytes, HEADER.size)
                np.copyto(target.reshape(pixels.shape), pixels[::-1])

    def close(self) -> None:
        """Remove what was made."""
        for segment in self._segments:
            shared.remove(segment)
        self._segments = []
        if self._mutex is not None:
            self._mutex.close()
            self._mutex = None


def named_mutex(name: str) -> Mutex:
    """Return the mutex ``name``. Raises OutputError where there are none."""
    if sys.platform != "win32":
        raise OutputError("touchshm works on Windows only: TouchDesigner's Shared Mem In TOP exists there only")
    return _WindowsMutex(name)


class _WindowsMutex:
    """CreateMutexW, WaitForSingleObject, ReleaseMutex (Win32 synchronisation functions)."""

    ABANDONED = 0x80
    """The holder died: the lock is ours."""

    def __init__(self, name: str) -> None:
        import ctypes

        self._kernel: Any = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
        self._kernel.CreateMutexW.restype = ctypes.c_void_p
        self._handle = ctypes.c_void_p(self._kernel.CreateMutexW(None, False, name))
        self._held = False
        if not self._handle.value:
            raise OutputError(f"Windows gives no mutex {name!r} (error {ctypes.get_last_error()})")  # type: ignore[attr-defined]

    def held(self, wait_ms: int) -> AbstractContextManager[bool]:
        """Hold it while the block runs."""
        self._held = self._kernel.WaitForSingleObject(self._handle, wait_ms) in (0, self.ABANDONED)
        return self

    def __enter__(self) -> bool:
        return self._held

    def __exit__(self, *_: object) -> None:
        if self._held:
            self._kernel.ReleaseMutex(self._handle)

    def close(self) -> None:
        """Let go."""
        self._kernel.CloseHandle(self._handle)
