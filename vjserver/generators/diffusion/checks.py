"""The last look at a frame: broken, black and unsafe ones are held back, and that is told once."""

from typing import TYPE_CHECKING

from vjserver.generators.diffusion.options import SafetyOptions
from vjserver.types.errors import GeneratorError
from vjserver.types.frames import Notice

if TYPE_CHECKING:
    from vjserver.generators.diffusion.canvas import Result

BLACK = 1.0 / 255.0
BAD_FRAME_LIMIT, FIRST_BAD_FRAME_LIMIT = 90, 3
"""So many bad frames in a row are borne, and so many before there was a good one to show."""
UNSAFE = "unsafe_frames"


class FrameChecks:
    """Counts what was held back; what there is to tell waits in it until somebody takes it."""

    def __init__(self, safety: SafetyOptions | None) -> None:
        self._safety = safety
        self.counts = {"black_frames": 0, "broken_frames": 0, UNSAFE: 0, "skipped_frames": 0}
        self._troubled: set[str] = set()
        self._notices: list[Notice] = []
        self._bad, self._limit = 0, FIRST_BAD_FRAME_LIMIT

    def tell(self, what: str, why: str, recovered: bool = False) -> None:
        """Have something told with the next frame."""
        self._notices.append(Notice(what, why, recovered))

    def tell_once(self, what: str, why: str) -> None:
        """Have something told, the first time that it is so."""
        if what not in self._troubled:
            self._troubled.add(what)
            self.tell(what, why)

    def taken(self) -> tuple[Notice, ...]:
        """Return, once, what is to be told."""
        told, self._notices = tuple(self._notices), []
        return told

    def fault(self, result: "Result", strictness: float) -> str:
        """Return why a frame may not be shown, ``""`` for one that may: the name of what is counted.

        ``strictness`` is how unsafe, 0..1, a picture may look to the safety filter. Raises GeneratorError where too
        many in a row were bad: somebody else must play.
        """
        for what, why, is_bad in (
            ("broken_frames", "numbers that are none; the last good frame stays", not result.finite),
            ("black_frames", "a black frame; the last good one stays", result.brightness < BLACK),
            (UNSAFE, "the safety filter held a frame back", self._safety is not None and result.unsafe > strictness),
        ):
            name = what.replace("_", " ")
            if is_bad:
                self.counts[what] += 1
                self.tell_once(name, why)
                if what != UNSAFE:
                    self._tolerate(why)
                return what
            if name in self._troubled:
                self._troubled.discard(name)
                self.tell(name, f"good frames again, {self.counts[what]} were held back", True)
        self._bad, self._limit = 0, BAD_FRAME_LIMIT
        return ""

    def blanks(self, fault: str) -> bool:
        """Tell whether black stands for a frame that was held back, instead of the last good one."""
        return fault == UNSAFE and self._safety is not None and self._safety.fallback == "blank"

    def _tolerate(self, why: str) -> None:
        self._bad += 1
        if self._bad >= self._limit:
            raise GeneratorError(f"{self._bad} frames in a row: {why}; try another dtype in [generators.diffusion]")
