"""Pictures to start from: an input's newest, or those of another generator (a chain), for each frame request."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import sqrt
from typing import Any

from vjserver.ports import Generator, Input
from vjserver.runtime.clock import Clock
from vjserver.show.addresses import PARAMS
from vjserver.show.state import FEEDBACK
from vjserver.stages.receiving import InputThread
from vjserver.types.errors import VJError
from vjserver.types.frames import Frame, FrameInfo, FrameRequest

CHAIN_AREA = 640 * 360
RETRY_NS = 1_000_000_000
GRADE = ("saturation", "brightness", "contrast", "flash", "palette")  # applied once, by the last generator


class Pictures:
    """Holds what is open. ``inputs`` opens an input of the show by name; ``generators`` one to chain, by kind."""

    def __init__(
        self,
        inputs: Mapping[str, Callable[[], Input]],
        generators: Mapping[str, Callable[[], Generator]],
        clock: Clock,
        announce: Callable[[str, str, bool], None],
    ) -> None:
        self._inputs, self._generators, self._clock, self._announce = inputs, generators, clock, announce
        self._name = ""
        self._input: InputThread | None = None
        self._generator: Generator | None = None
        self._memory: Any = None
        self._retry_ns = 0
        self._trouble = False

    def get(self, name: str, request: FrameRequest) -> Frame | None:
        """Return the picture to start from, or None where there is none.

        What cannot be had is announced once; the frame is then made of noise, or of the last picture that came.
        """
        if name != self._name:
            self.close()
            self._name = name
        if name in ("", FEEDBACK):
            return None
        if self._input is None and self._generator is None:
            if request.t_ns < self._retry_ns:
                return None
            self._retry_ns = request.t_ns + RETRY_NS
            self._open(name)
        if self._input is not None:
            return self._input.newest
        try:
            return self._chained(request)
        except VJError as error:
            self._tell(str(error))
            return None

    def close(self) -> None:
        """Let go of what is open."""
        if self._input is not None:
            self._input.close()
        if self._generator is not None:
            self._generator.close()
        if self._trouble:
            self._tell("no longer wanted", mended=True)
        self._input = self._generator = self._memory = None
        self._retry_ns = 0

    def _open(self, name: str) -> None:
        if name in self._inputs:
            self._input = InputThread(name, self._inputs[name], self._clock, self._announce)
            return
        try:
            if name in self._generators:
                self._generator = self._generators[name]()
            else:
                known = ", ".join([FEEDBACK, *self._inputs, *self._generators])
                self._tell(f"unknown input {name!r}; known: {known}; the picture starts from noise")
        except VJError as error:
            self._tell(str(error))

    def _chained(self, request: FrameRequest) -> Frame | None:
        if self._generator is None:
            return None
        scale = min(1.0, sqrt(CHAIN_AREA / (request.width * request.height)))
        width, height = (max(2, round(side * scale / 2) * 2) for side in (request.width, request.height))
        params = {**request.params, **{name: PARAMS[name].default for name in GRADE}}
        frame, self._memory = self._generator.render(
            replace(request, width=width, height=height, params=params), self._memory
        )
        return replace(frame, info=FrameInfo(width, height))  # of the same moment: no source of its own

    def _tell(self, why: str, mended: bool = False) -> None:
        if mended == self._trouble:
            self._trouble = not mended
            self._announce("input", why, mended)
