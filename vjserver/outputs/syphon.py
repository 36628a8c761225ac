"""Syphon: frames as a Metal texture that TouchDesigner's Syphon Spout In TOP takes on the same GPU (macOS 12+).

Written against syphon-python 0.2.0; tested with a stand-in, not run on macOS.
"""

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.types.errors import OutputError
from vjserver.types.frames import Frame


class SyphonOptions(BaseModel):
    """How the server is called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("vjserver", min_length=1, max_length=250)


class SyphonOutput:
    """Publishes frames by Syphon. The texture is made once for a size, and again when the size changes."""

    Options = SyphonOptions

    def __init__(self, options: SyphonOptions) -> None:
        self._o = options
        self._syphon: Any = None
        self._server: Any = None
        self._texture: Any = None
        self._size = (0, 0)

    def open(self) -> None:
        """Start the server. Raises OutputError where syphon-python is missing."""
        try:
            import syphon
            import syphon.utils.numpy
            import syphon.utils.raw
        except ImportError as error:
            raise OutputError(f"Syphon is not available ({error}); on macOS: pip install 'vjserver[syphon]'") from None
        self._syphon = syphon
        self._server = syphon.SyphonMetalServer(self._o.name)

    def send(self, frame: Frame) -> None:
        """Publish one frame. Its rows begin at the top and Syphon's at the bottom, which Syphon is told."""
        height, width = frame.pixels.shape[:2]
        if (width, height) != self._size:
            self._texture = self._syphon.utils.raw.create_mtl_texture(self._server.device, width, height)
            self._size = (width, height)
        self._syphon.utils.numpy.copy_image_to_mtl_texture(np.ascontiguousarray(frame.pixels), self._texture)
        self._server.publish_frame_texture(self._texture, size=(width, height), is_flipped=True)

    def close(self) -> None:
        """End the server."""
        if self._server is not None:
            self._server.stop()
            self._server = self._texture = None
            self._size = (0, 0)
