"""What both private pages need of the program around them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from vjserver.types.audio import Float32

Export = Callable[[list[str], str], Awaitable[tuple[Path, Callable[[], None]]]]
"""Has one of our commands write a file with a name; returns where it is, and what removes it."""


@dataclass(frozen=True, slots=True)
class PageServices:
    """``generators`` are the kinds that may draw; ``read`` returns the sound of a file, ``export`` has files written.

    With ``keep`` recordings stay when they are written down.
    """

    generators: Callable[[], list[str]]
    read: Callable[[Path], Float32]
    export: Export
    keep: bool = False
