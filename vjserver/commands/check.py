"""What the doctor says of one thing."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. ``needed`` tells whether vjserver can do its job without it."""

    name: str
    works: bool
    found: str
    remedy: str = ""
    needed: bool = False

    @property
    def mark(self) -> str:
        """A sign for a terminal."""
        return "ok     " if self.works else "MISSING" if self.needed else "absent "

    def as_row(self) -> dict[str, Any]:
        """Return the check as JSON values."""
        return asdict(self)
