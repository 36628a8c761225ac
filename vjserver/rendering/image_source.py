"""Images to start from: the newest picture of an input of the show, by name."""

from collections.abc import Callable, Iterable, Mapping

from vjserver.ports import Input
from vjserver.rendering.input_thread import InputThread
from vjserver.runtime.clock import Clock
from vjserver.show.state import FEEDBACK
from vjserver.types.frames import Frame


class ImageSource:
    """Holds the input that is wanted. ``inputs`` opens one of the show by name; ``others`` may be named besides."""

    def __init__(
        self,
        inputs: Mapping[str, Callable[[], Input]],
        others: Iterable[str],
        clock: Clock,
        announce: Callable[[str, str, bool], None],
    ) -> None:
        self.names = tuple(inputs)
        self._inputs, self._others, self._clock, self._announce = inputs, tuple(others), clock, announce
        self._name = ""
        self._input: InputThread | None = None
        self._trouble = False

    def get(self, name: str) -> Frame | None:
        """Return the newest picture of an input, None where there is none yet. An unknown name is announced once."""
        if name != self._name:
            self.close()
            self._name = name
            if name in self._inputs:
                self._input = InputThread(name, self._inputs[name], self._clock, self._announce)
            elif name not in ("", FEEDBACK):
                known = ", ".join([FEEDBACK, *self._inputs, *self._others])
                self.tell(f"unknown input {name!r}; known: {known}; the picture starts from noise")
        return self._input.newest if self._input is not None else None

    def close(self) -> None:
        """Let go of what is open."""
        if self._input is not None:
            self._input.close()
        if self._trouble:
            self.tell("no longer wanted", recovered=True)
        self._input, self._name = None, ""

    def tell(self, why: str, recovered: bool = False) -> None:
        """Say once that there is no picture to start from, and why; or that there is one again."""
        if recovered == self._trouble:
            self._trouble = not recovered
            self._announce("input", why, recovered)
