"""Pictures from a Spout sender on the same GPU: TouchDesigner's Syphon Spout Out TOP (Windows).

The OpenGL context and every call belong to the thread that reads. Written against SpoutGL 0.1.1; tested with a
stand-in, not run on Windows.
"""

import time
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.types.errors import InputError
from vjserver.types.frames import MAX_SIDE, Frame, Pixels, arrived

GL_RGBA = 0x1908


class SpoutInputOptions(BaseModel):
    """Whom we receive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=250, description="the sender's name")


class SpoutInput:
    """Receives one sender; it may come and go."""

    Options = SpoutInputOptions

    def __init__(self, options: SpoutInputOptions) -> None:
        self._name = options.name
        self._receiver: Any = None
        self._buffer: Pixels | None = None
        self._count = 0

    def open(self) -> None:
        """Get ready to receive. Raises InputError where SpoutGL is missing or has no GPU."""
        try:
            import SpoutGL
        except ImportError as error:
            raise InputError(f"Spout is not available ({error}); on Windows: pip install 'vjserver[spout]'") from None
        receiver = SpoutGL.SpoutReceiver()
        if not receiver.createOpenGL():
            raise InputError("Spout gets no OpenGL context on this machine")
        receiver.setReceiverName(self._name)
        self._receiver = receiver

    def read(self, wait_s: float) -> Frame | None:
        """Return the newest picture, or None after ``wait_s``."""
        if not self._receiver.waitFrameSync(self._name, round(wait_s * 1e3)):
            time.sleep(min(wait_s, 0.005))  # a sender without frame sync, or none
        received = self._receiver.receiveImage(self._buffer, GL_RGBA, False, 0)
        if self._receiver.isUpdated():  # found, or of another size: the next call fills the new buffer
            width, height = self._receiver.getSenderWidth(), self._receiver.getSenderHeight()
            fits = 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE
            self._buffer = np.empty((height, width, 4), np.uint8) if fits else None
            return None
        if not received or self._buffer is None or not self._receiver.isFrameNew():
            return None
        self._count += 1
        return arrived(self._buffer.copy(), self._count, time.perf_counter_ns())

    def close(self) -> None:
        """Let go of the sender and the context."""
        if self._receiver is not None:
            self._receiver.releaseReceiver()
            self._receiver.closeOpenGL()
            self._receiver = None
