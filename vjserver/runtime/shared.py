"""Shared memory by name: made once, found by others, never left behind and never taken from a living owner.

Python's resource tracker would unlink a segment when *any* reader ends (before 3.13), so segments are not tracked;
whoever creates one owns it and removes it.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

from vjserver.types.errors import VJError

_lock = threading.Lock()


class Segment(SharedMemory):
    """A piece of shared memory, as bytes in ``data`` and as 64-bit ``words``.

    One word is read or written in one piece; ``struct.pack_into`` writes byte by byte (and zeros first), which a
    reader in another process can see.
    """

    def __init__(self, name: str, create: bool, size: int = 0) -> None:
        if sys.version_info >= (3, 13):
            super().__init__(name, create=create, size=size, track=False)
        else:
            with _untracked():
                super().__init__(name, create=create, size=size)
        assert self.buf is not None
        self.data: memoryview = self.buf
        self.words = self.data[: self.size // 8 * 8].cast("Q")

    def close(self) -> None:
        """Let go; may be called twice."""
        words = getattr(self, "words", None)  # missing if the segment could not be made
        if words is not None:
            words.release()
        with contextlib.suppress(BufferError):  # a copy is under way on another thread: the memory goes when it ends
            super().close()

    def unlink(self) -> None:
        """Remove the name; one that is gone already is fine."""
        with contextlib.suppress(FileNotFoundError), _untracked():
            super().unlink()


@contextlib.contextmanager
def _untracked() -> Iterator[None]:
    """Keep Python's resource tracker out of it (3.11 and 3.12 have no ``track=False``)."""
    with _lock:
        register, unregister = resource_tracker.register, resource_tracker.unregister
        resource_tracker.register = resource_tracker.unregister = lambda *_: None
        try:
            yield
        finally:
            resource_tracker.register, resource_tracker.unregister = register, unregister


def create(name: str, size: int) -> Segment:
    """Create a segment of ``size`` bytes, zeroed. Raises FileExistsError if taken, VJError if there is no room."""
    segment = Segment(name, create=True, size=size)
    fd = getattr(segment, "_fd", -1)
    if fd >= 0 and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size)  # a full /dev/shm must say so here, not kill the writer later
        except OSError as error:
            remove(segment)
            raise VJError(
                f"no room for {size / 2**20:.1f} MiB of shared memory ({error.strerror}); free some of /dev/shm"
            ) from None
    return segment


def attach(name: str) -> Segment:
    """Open an existing segment. Raises FileNotFoundError."""
    return Segment(name, create=False)


def remove(segment: Segment) -> None:
    """Close and unlink."""
    segment.close()
    segment.unlink()


def remove_by_name(name: str) -> None:
    """Unlink a segment that a dead process left behind; one already gone is fine."""
    with contextlib.suppress(FileNotFoundError):
        remove(attach(name))
