"""Null: takes frames and does nothing; the honest stand-in."""

from pydantic import BaseModel, ConfigDict

from vjserver.types.frames import Frame


class NullOptions(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NullOutput:
    """Counts what it is given."""

    Options = NullOptions

    def __init__(self, _options: NullOptions) -> None:
        self.frames = 0

    def open(self) -> None:
        """Nothing to open."""

    def send(self, _frame: Frame) -> None:
        """Count the frame."""
        self.frames += 1

    def close(self) -> None:
        """Nothing to close."""
