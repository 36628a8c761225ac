"""Shared memory: frames into the ring ``vjserver-<stream>``; see ``runtime.ring`` for the layout."""

from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime.ring import RingWriter
from vjserver.types.errors import OutputError, VJError
from vjserver.types.frames import Frame


class SharedMemoryOptions(BaseModel):
    """Where the ring lies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: str = Field("program", pattern=r"^[A-Za-z0-9_-]{1,20}$", description="the ring's name is vjserver-STREAM")


class SharedMemoryOutput:
    """Writes frames into a ring that any process of this machine can read. It is made anew for larger frames."""

    Options = SharedMemoryOptions

    def __init__(self, options: SharedMemoryOptions) -> None:
        self.ring_name = f"vjserver-{options.stream}"
        self._ring: RingWriter | None = None

    def open(self) -> None:
        """Take the name. Raises OutputError if a living process has it or there is no room."""
        self._make(0)

    def send(self, frame: Frame) -> None:
        """Write a frame. Raises OutputError if there is no room for one so large."""
        assert self._ring is not None
        if frame.pixels.nbytes > self._ring.room:
            self._ring.close()
            self._make(frame.pixels.nbytes)
        self._ring.put(frame)

    def close(self) -> None:
        """Remove the ring."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None

    def _make(self, max_bytes: int) -> None:
        try:
            self._ring = RingWriter(self.ring_name, max_bytes)
        except OutputError:
            raise
        except VJError as error:
            raise OutputError(str(error)) from None
