"""Spout: frames as a texture that TouchDesigner's Syphon Spout In TOP takes on the same GPU (Windows).

The OpenGL context and every call belong to one thread: the output's own, where ``open``, ``send`` and ``close`` are
called. Written against SpoutGL 0.1.1; tested with a stand-in, not run on Windows.
"""

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.types.errors import OutputError
from vjserver.types.frames import Frame

GL_RGBA = 0x1908


class SpoutOptions(BaseModel):
    """How the sender is called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("vjserver", min_length=1, max_length=250)


class SpoutOutput:
    """Sends frames by Spout."""

    Options = SpoutOptions

    def __init__(self, options: SpoutOptions) -> None:
        self._o = options
        self._sender: Any = None

    def open(self) -> None:
        """Start the sender. Raises OutputError where SpoutGL is missing or has no GPU."""
        try:
            import SpoutGL
        except ImportError as error:
            raise OutputError(f"Spout is not available ({error}); on Windows: pip install 'vjserver[spout]'") from None
        sender = SpoutGL.SpoutSender()
        if not sender.createOpenGL():
            raise OutputError("Spout gets no OpenGL context on this machine")
        self._sender = sender
        sender.setSenderName(self._o.name)

    def send(self, frame: Frame) -> None:
        """Send one frame: top row first, as Spout keeps it. Raises OutputError if the GPU refuses."""
        height, width = frame.pixels.shape[:2]
        if not self._sender.sendImage(np.ascontiguousarray(frame.pixels), width, height, GL_RGBA, False, 0):
            raise OutputError(f"Spout refuses a frame of {width}x{height}")

    def close(self) -> None:
        """End the sender and its context."""
        if self._sender is not None:
            self._sender.releaseSender()
            self._sender.closeOpenGL()
            self._sender = None
