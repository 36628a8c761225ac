"""Pictures from a Syphon server on the same GPU: TouchDesigner's Syphon Spout Out TOP (macOS 12+).

Written against syphon-python 0.2.0; tested with a stand-in, not run on macOS.
"""

import time
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vjserver.types.errors import InputError
from vjserver.types.frames import Frame, arrived

LOOK_S = 0.5
STEP_S = 0.002


class SyphonInputOptions(BaseModel):
    """Whom we receive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=250, description="the server's name")


class SyphonInput:
    """Receives one server; it may come and go."""

    Options = SyphonInputOptions

    def __init__(self, options: SyphonInputOptions) -> None:
        self._name = options.name
        self._syphon: Any = None
        self._directory: Any = None
        self._client: Any = None
        self._look_s = 0.0
        self._count = 0

    def open(self) -> None:
        """Begin to look. Raises InputError where syphon-python is missing."""
        try:
            import syphon
            import syphon.utils.numpy
        except ImportError as error:
            raise InputError(f"Syphon is not available ({error}); on macOS: pip install 'vjserver[syphon]'") from None
        self._syphon = syphon
        self._directory = syphon.SyphonServerDirectory()

    def read(self, wait_s: float) -> Frame | None:
        """Return the newest picture, or None after ``wait_s``."""
        deadline = time.monotonic() + wait_s
        while True:
            if self._client is None or not self._client.is_valid:
                self._connect()
            elif self._client.has_new_frame:
                return self._frame()
            if time.monotonic() >= deadline:
                return None
            time.sleep(min(wait_s, STEP_S))

    def close(self) -> None:
        """Let go of the server."""
        if self._client is not None:
            self._client.stop()
            self._client = None

    def _connect(self) -> None:
        now_s = time.monotonic()
        if now_s < self._look_s:
            return
        self._look_s = now_s + LOOK_S
        self.close()
        server = next((s for s in self._directory.servers if s.name == self._name), None)
        if server is not None:
            self._client = self._syphon.SyphonMetalClient(server)

    def _frame(self) -> Frame:
        image = self._syphon.utils.numpy.copy_mtl_texture_to_image(self._client.new_frame_image)
        pixels = np.ascontiguousarray(image[::-1], np.uint8)  # Syphon's rows begin at the bottom
        self._count += 1
        return arrived(pixels, self._count, time.perf_counter_ns())
