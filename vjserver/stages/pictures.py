"""Pictures to start from: an input's newest, or those of another generator (a chain), for each frame request."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import sqrt
from typing import Any

from vjserver.ports import Generator, Input
from vjserver.show.registry import PARAMS
from vjserver.show.state import FEEDBACK
from vjserver.types.errors import VJError
from vjserver.types.frames import FrameRequest, Pixels

CHAIN_AREA = 640 * 360
RETRY_NS = 1_000_000_000
STALE_NS = 2_000_000_000
GRADE = ("saturation", "brightness", "contrast", "flash", "palette")  # applied once, by the last generator


class Pictures:
    """Holds what is open. ``inputs`` opens an input of the show by name; ``generators`` one to chain, by kind."""

    def __init__(
        self,
        inputs: Mapping[str, Callable[[], Input]],
        generators: Mapping[str, Callable[[], Generator]],
        announce: Callable[[str, str, bool], None],
    ) -> None:
        self._inputs, self._generators, self._announce = inputs, generators, announce
        self._name = ""
        self._input: Input | None = None
        self._generator: Generator | None = None
        self._memory: Any = None
        self._newest: Pixels | None = None
        self._newest_ns = self._retry_ns = 0
        self._trouble = False

    def get(self, name: str, request: FrameRequest) -> tuple[Pixels | None, int]:
        """Return the picture to start from and the id of its frame, or None and 0 where there is none.

        What cannot be had is announced once; the frame is then made of noise, or of the last picture that came.
        """
        if name != self._name:
            self.close()
            self._name = name
        if name in ("", FEEDBACK):
            return None, 0
        if self._input is None and self._generator is None:
            if request.t_ns < self._retry_ns:
                return None, 0
            self._retry_ns = request.t_ns + RETRY_NS
            self._open(name, request)
        try:
            if self._generator is not None:
                return self._chained(request)
            return self._read(request.t_ns)
        except VJError as error:
            self._tell(str(error))
            return self._newest, 0

    def close(self) -> None:
        """Let go of what is open."""
        for door in (self._input, self._generator):
            if door is not None:
                door.close()
        if self._trouble:
            self._tell("no longer wanted", mended=True)
        self._input = self._generator = self._memory = self._newest = None
        self._retry_ns = 0

    def _open(self, name: str, request: FrameRequest) -> None:
        try:
            if name in self._inputs:
                self._input = self._inputs[name]()
                self._newest_ns = request.t_ns
            elif name in self._generators:
                self._generator = self._generators[name]()
            else:
                known = ", ".join([FEEDBACK, *self._inputs, *self._generators])
                self._tell(f"unknown input {name!r}; known: {known}; the picture starts from noise")
        except VJError as error:
            self._tell(str(error))

    def _chained(self, request: FrameRequest) -> tuple[Pixels | None, int]:
        assert self._generator is not None
        scale = min(1.0, sqrt(CHAIN_AREA / (request.width * request.height)))
        width, height = (max(2, round(side * scale / 2) * 2) for side in (request.width, request.height))
        params = {**request.params, **{name: PARAMS[name].default for name in GRADE}}
        frame, self._memory = self._generator.render(
            replace(request, width=width, height=height, params=params), self._memory
        )
        return frame.pixels, 0

    def _read(self, now_ns: int) -> tuple[Pixels | None, int]:
        if self._input is None:
            return None, 0
        frame = self._input.read()
        if frame is not None:
            self._newest, self._newest_ns = frame.pixels, now_ns
            if self._trouble:
                self._tell("pictures come again", mended=True)
            return self._newest, frame.info.frame_id
        if now_ns - self._newest_ns > STALE_NS:
            self._tell(f"{self._name} brought no picture for 2 s; " + (
                "the picture starts from noise" if self._newest is None else "its last one stays"))  # fmt: skip
        return self._newest, 0

    def _tell(self, why: str, mended: bool = False) -> None:
        if mended == self._trouble:
            self._trouble = not mended
            self._announce("input", why, mended)
