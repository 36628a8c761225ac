"""Sending: one output on a thread of its own, behind a mailbox of one frame. A slow receiver delays nobody."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from vjserver.ports import Output, Sending
from vjserver.runtime import log
from vjserver.runtime.clock import NS, Clock
from vjserver.runtime.picture import covering
from vjserver.runtime.stats import Latencies, Rate
from vjserver.runtime.status import OutputStatus, figures_of
from vjserver.types.errors import OutputError, VJError
from vjserver.types.frames import Frame, resized

LASTED_S = 5.0
"""An output that sent for so long fell of something new."""
RETRY_S = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
FIGURES_NS = NS // 2
CLOSING_S = 1.5
Announce = Callable[[str, str, bool], None]


class OutputThread:
    """Makes, opens and feeds one output; what fails is announced once and tried again.

    ``make`` is called on the thread, ``after`` is an output of the same label that has to be closed first.
    """

    def __init__(
        self,
        label: str,
        make: Callable[[], Output],
        sending: Sending,
        clock: Clock,
        stream_id: int,
        announce: Announce,
        after: "OutputThread | None" = None,
    ) -> None:
        self.label, self.sending = label, sending
        self.sent, self.drops = 0, 0
        self.latency, self.rate = Latencies(), Rate()
        self.alive = False
        self.figures: Mapping[str, float] = {}
        self._make, self._clock, self._stream_id, self._announce = make, clock, stream_id, announce
        self._after = after
        self._period_ns = round(NS / sending.fps) if sending.fps else 0
        self._due_ns = 0
        self._mail: Frame | None = None
        self._last_id = 0
        self._figures_ns = 0
        self._trouble = False
        self._ready = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"output-{label}", daemon=True)
        self._thread.start()

    def offer(self, frame: Frame, slot_ns: int, tick_ns: int = 0) -> None:
        """Leave the frame of the slot at ``slot_ns``; one that was not yet taken is replaced and counted.

        An output with a rate of its own takes those slots that are nearest to its own; ``tick_ns`` is between slots.
        """
        if self._period_ns:
            if slot_ns + tick_ns // 2 < self._due_ns:
                return
            self._due_ns = max(self._due_ns + self._period_ns, slot_ns)
        with self._ready:
            if self._mail is not None and self.alive:
                self.drops += 1
            self._mail = frame
            self._ready.notify()

    def close(self) -> None:
        """Ask the thread to end; it closes its output."""
        with self._ready:
            self._stopping = True
            self._ready.notify()

    def join(self, timeout_s: float = CLOSING_S) -> None:
        """Wait until the output is closed, or ``timeout_s``."""
        self._thread.join(timeout_s)

    def status(self, now_ns: int) -> OutputStatus:
        """Return how it goes."""
        return OutputStatus(
            self.alive,
            self.sent,
            self.drops,
            self.rate.per_second(now_ns),
            self.latency.summary(),
            figures_of(self.figures),
        )

    def _run(self) -> None:
        if self._after is not None:
            self._after.join()
            self._after = None
        tries = 0
        while not self._stopping:
            output: Output | None = None
            opened_s: float | None = None
            try:
                output = self._make()
                output.open()
                self.alive, opened_s = True, time.monotonic()
                self._send_all(output)
            except VJError as error:
                self._tell(str(error))
            except Exception as error:  # noqa: BLE001 - a stranger's door may raise anything; it must not end in silence
                self._fault(error)
            finally:
                self.alive = False
                if opened_s is not None and time.monotonic() - opened_s > LASTED_S:
                    tries = 0  # one that falls with its first picture is tried ever more seldom
                if output is not None:
                    self._close(output)
            with self._ready:
                self._ready.wait_for(lambda: self._stopping, RETRY_S[min(tries, len(RETRY_S) - 1)])
            tries += 1
        if self._trouble:
            self._tell("no longer wanted", recovered=True)

    def _close(self, output: Output) -> None:
        try:
            output.close()
        except OutputError as error:
            self._tell(str(error))
        except Exception as error:  # noqa: BLE001 - as above; this thread goes on
            self._fault(error)

    def _fault(self, error: Exception) -> None:
        log.write_fault("deliver", f"output {self.label}", error)
        self._tell(f"{type(error).__name__}: {error}")

    def _tell(self, why: str, recovered: bool = False) -> None:
        if recovered == self._trouble:
            self._trouble = not recovered
            self._announce(f"output {self.label}", why, recovered)

    def _send_all(self, output: Output) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._mail is not None or self._stopping)
                frame, self._mail = self._mail, None
            if self._stopping or frame is None:
                return
            now_ns = self._clock.now_ns()
            frame = sized(frame, self.sending.sides)
            info = replace(
                frame.info, t_sent_ns=now_ns, t_unix_ns=self._clock.wall_ns(), stream_id=self._stream_id,
                data_size=frame.pixels.nbytes,
            )  # fmt: skip
            output.send(replace(frame, info=info))
            done_ns = self._clock.now_ns()
            if self._trouble:
                self._tell("sends again", recovered=True)
            self.sent += 1
            self.rate.tick(done_ns)
            if info.t_generated_ns and info.frame_id != self._last_id:  # a frame that is shown again is not late
                self._last_id = info.frame_id
                self.latency.add(info.t_generated_ns, done_ns)
            if done_ns >= self._figures_ns:
                self._figures_ns = done_ns + FIGURES_NS
                figures = getattr(output, "figures", None)
                self.figures = figures() if figures is not None else {}


def sized(frame: Frame, sides: tuple[int, int] | None) -> Frame:
    """Return the frame at another size, filled: what does not fit the shape is cut off evenly."""
    height, width = frame.pixels.shape[:2]
    if sides is None or sides == (width, height):
        return frame
    return resized(frame, covering(frame.pixels, *sides))
