"""Shared memory: frames into the ring ``vjserver-<stream>``; see ``runtime.ring`` for the layout."""

from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime.ring import RingWriter
from vjserver.types.errors import OutputError, VJError
from vjserver.types.frames import Frame


class SharedMemoryOptions(BaseModel):
    """Where the ring lies and what fits into it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: str = Field("program", pattern=r"^[A-Za-z0-9_-]{1,20}$", description="the ring's name is vjserver-STREAM")
    max_width: int = Field(1920, ge=16, le=8192)
    max_height: int = Field(1080, ge=16, le=8192)


class SharedMemoryOutput:
    """Writes frames into a ring that any process of this machine can read."""

    Options = SharedMemoryOptions

    def __init__(self, options: SharedMemoryOptions) -> None:
        self._o = options
        self._ring: RingWriter | None = None

    @property
    def ring_name(self) -> str:
        """The ring's name."""
        return f"vjserver-{self._o.stream}"

    def open(self) -> None:
        """Make the ring. Raises OutputError if a living process has it or there is no room."""
        try:
            self._ring = RingWriter(self.ring_name, self._o.max_width * self._o.max_height * 4)
        except OutputError:
            raise
        except VJError as error:
            raise OutputError(str(error)) from None

    def send(self, frame: Frame) -> None:
        """Write a frame."""
        assert self._ring is not None
        self._ring.put(frame)

    def close(self) -> None:
        """Remove the ring."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None
