"""Receiving: an input's pictures come in on a thread of their own; the newest one waits for whoever wants it."""

import threading
from collections.abc import Callable
from dataclasses import replace

from vjserver.ports import Input
from vjserver.runtime.clock import NS, Clock
from vjserver.types.errors import VJError
from vjserver.types.frames import Frame

READ_S = 0.1
RETRY_S = 1.0
LOST_NS = 2 * NS
FOREIGN_NS = 60 * NS
"""A picture that claims to be older, or younger than now, was stamped by another machine's clock."""


class InputThread:
    """Reads the input that ``make`` opens, for as long as it takes; what fails or is lost is announced once.

    ``newest`` is the last picture that came, or None; it stays when the source is lost.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Input],
        clock: Clock,
        announce: Callable[[str, str, bool], None],
    ) -> None:
        self.newest: Frame | None = None
        self.frames = 0
        self._name, self._make, self._clock, self._announce = name, make, clock, announce
        self._trouble = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"input-{name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading; the input is closed by its own thread."""
        self._stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait until the input is closed, or ``timeout_s``."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            door = None
            try:
                door = self._make()
                self._read_all(door)
            except VJError as error:
                self._tell(str(error))
            except Exception as error:  # noqa: BLE001 - a stranger's door may raise anything; it must not end in silence
                self._tell(f"{type(error).__name__}: {str(error)[:200]}")
            finally:
                if door is not None:
                    door.close()
            self._stopping.wait(RETRY_S)
        if self._trouble:
            self._tell("no longer wanted", recovered=True)

    def _read_all(self, door: Input) -> None:
        last_ns = self._clock.now_ns()
        while not self._stopping.is_set():
            frame = door.read(READ_S)
            now_ns = self._clock.now_ns()
            if frame is not None:
                last_ns = now_ns
                self.newest = _stamped(frame, now_ns)
                self.frames += 1
                if self._trouble:
                    self._tell("pictures come again", recovered=True)
            elif now_ns - last_ns > LOST_NS:
                stays = "the picture starts from noise" if self.newest is None else "its last one stays"
                self._tell(f"{self._name} brought no picture for 2 s; {stays}")

    def _tell(self, why: str, recovered: bool = False) -> None:
        if recovered == self._trouble:
            self._trouble = not recovered
            self._announce("input", why, recovered)


def _stamped(frame: Frame, now_ns: int) -> Frame:
    """Return the frame with a capture time of this machine's clock: its own where that makes sense, else now."""
    captured_ns = frame.info.t_capture_ns
    if captured_ns and 0 <= now_ns - captured_ns < FOREIGN_NS:
        return frame
    return replace(frame, info=replace(frame.info, t_capture_ns=now_ns))
