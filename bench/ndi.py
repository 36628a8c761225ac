"""An NDI receiver on this machine, for the benchmarks."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Look = Callable[[Any], Any]


class NotReceivedError(RuntimeError):
    """NDI is not installed, or the sender was not found."""


@contextmanager
def receiving(sender: str, wait_s: float = 15.0) -> Iterator[Callable[[Look], Any]]:
    """Yield a function that waits 200 ms for a picture and returns what ``look(video)`` makes of it, or None.

    Raises NotReceivedError where NDI is missing or ``sender`` does not show within ``wait_s``.
    """
    try:
        import NDIlib
    except ImportError as error:
        raise NotReceivedError(str(error)) from error
    NDIlib.initialize()
    where = NDIlib.FindCreate()
    where.extra_ips = "127.0.0.1"
    finder = NDIlib.find_create_v2(where)
    deadline, source = time.monotonic() + wait_s, None
    while source is None and time.monotonic() < deadline:
        NDIlib.find_wait_for_sources(finder, 500)
        source = next((s for s in NDIlib.find_get_current_sources(finder) if f"({sender})" in s.ndi_name), None)
    if source is None:
        raise NotReceivedError(f"sender {sender} not found")
    receiver = NDIlib.recv_create_v3(NDIlib.RecvCreateV3())
    NDIlib.recv_connect(receiver, source)

    def capture(look: Look) -> Any:
        kind, video, _, _ = NDIlib.recv_capture_v2(receiver, 200, want_audio=False)
        if kind != NDIlib.FRAME_TYPE_VIDEO:
            return None
        seen = look(video)
        NDIlib.recv_free_video_v2(receiver, video)
        return seen

    try:
        yield capture
    finally:
        NDIlib.recv_destroy(receiver)
