"""Pictures from a shared-memory ring: another vjserver's, or one that a TouchDesigner script writes."""

from pydantic import BaseModel, ConfigDict, Field

from vjserver.runtime.ring import RingReader
from vjserver.types.frames import Frame


class SharedMemoryInputOptions(BaseModel):
    """Which ring is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stream: str = Field("input", min_length=1, max_length=64, description="the ring is called vjserver-STREAM")


class SharedMemoryInput:
    """Reads the newest picture of the ring ``vjserver-STREAM``, whenever there is one."""

    Options = SharedMemoryInputOptions

    def __init__(self, options: SharedMemoryInputOptions) -> None:
        self._ring = RingReader(f"vjserver-{options.stream}")

    def open(self) -> None:
        """Nothing to do: the ring is looked for as long as it takes."""

    def read(self, wait_s: float) -> Frame | None:
        """Return the newest picture, or None."""
        return self._ring.wait(wait_s)

    def figures(self) -> dict[str, float]:
        """Return the frames that were never seen, and those that were overwritten while they were copied."""
        return {"drops": self._ring.drops, "torn": self._ring.torn}

    def close(self) -> None:
        """Let go of the ring."""
        self._ring.close()
