"""The pattern generator's door. What draws (numba, OpenCV) is imported when it is opened, not before."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from vjserver.generators.pattern.info import INFO
from vjserver.types.errors import GeneratorError
from vjserver.types.frames import Frame, FrameRequest

if TYPE_CHECKING:
    from vjserver.generators.pattern.render import Painter, PatternState


class PatternOptions(BaseModel):
    """How the pattern generator uses the machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threads: int = Field(0, ge=0, le=64, description="CPU threads; 0 takes half the cores")


class PatternGenerator:
    """Renders patterns; see ``lexicon`` for what prompts mean and ``families`` for the shapes."""

    INFO = INFO
    Options = PatternOptions

    def __init__(self, options: PatternOptions) -> None:
        self._threads = options.threads
        self._painter: Painter | None = None

    def open(self) -> None:
        """Load what draws, and start the threads."""
        from vjserver.generators.pattern.render import Painter

        if self._painter is None:
            self._painter = Painter(self._threads)

    def warm_up(self, width: int, height: int, prompts: Sequence[str] = ()) -> None:  # noqa: ARG002
        """Compile every kernel (or load it from the cache of an earlier run)."""
        self._opened().warm_up(width, height)

    def close(self) -> None:
        """Stop the threads."""
        if self._painter is not None:
            self._painter.close()
            self._painter = None

    def render(self, request: FrameRequest, state: "PatternState | None") -> "tuple[Frame, PatternState]":
        """Return the frame for ``request`` and the state for the next."""
        return self._opened().render(request, state)

    def advance(self, request: FrameRequest, state: "PatternState | None") -> "PatternState":
        """Return the state after ``request`` without a picture; trails come back while pictures are drawn again."""
        return self._opened().advance(request, state)

    def checkpoint(self, state: "PatternState") -> bytes:
        """Return a state as bytes."""
        return self._opened().checkpoint(state)

    def resume(self, data: bytes) -> "PatternState":
        """Return the state of such bytes. Raises GeneratorError for what is none, or of another version."""
        return self._opened().resume(data)

    def _opened(self) -> "Painter":
        if self._painter is None:
            raise GeneratorError("the pattern generator is not open")
        return self._painter
