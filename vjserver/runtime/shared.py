"""Shared memory by name: made once, found by others, never left behind and never torn from a living owner.

Python's resource tracker would unlink a segment when *any* reader ends (before 3.13), so segments are attached
untracked; whoever creates one owns it and removes it.
"""

import contextlib
import os
import sys
import threading
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import Any

from vjserver.types.errors import VJError

_lock = threading.Lock()


def create(name: str, size: int) -> SharedMemory:
    """Create a segment of ``size`` bytes, zeroed. Raises FileExistsError if taken, VJError if there is no room."""
    segment = _untracked(name, create=True, size=size)
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


def attach(name: str) -> SharedMemory:
    """Open an existing segment. Raises FileNotFoundError."""
    return _untracked(name, create=False, size=0)


def remove(segment: SharedMemory) -> None:
    """Close and unlink; a segment already gone is fine."""
    close(segment)
    with contextlib.suppress(FileNotFoundError), _quiet_tracker():
        segment.unlink()


def remove_by_name(name: str) -> None:
    """Unlink a segment that a dead process left behind; one already gone is fine."""
    with contextlib.suppress(FileNotFoundError):
        remove(attach(name))


def close(segment: SharedMemory) -> None:
    """Close; views that are still held keep the memory alive until they go."""
    with contextlib.suppress(BufferError):
        segment.close()


def _untracked(name: str, create: bool, size: int) -> SharedMemory:
    if sys.version_info >= (3, 13):
        return SharedMemory(name, create=create, size=size, track=False)
    with _quiet_tracker():
        return SharedMemory(name, create=create, size=size)


@contextlib.contextmanager
def _quiet_tracker() -> Any:
    """Keep Python's resource tracker out of it (3.11 and 3.12 have no ``track=False``)."""
    with _lock:
        register, unregister = resource_tracker.register, resource_tracker.unregister
        resource_tracker.register = resource_tracker.unregister = lambda *_: None  # type: ignore[assignment]
        try:
            yield
        finally:
            resource_tracker.register, resource_tracker.unregister = register, unregister
