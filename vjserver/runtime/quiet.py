"""Quiet: what C libraries write to the terminal by themselves stays away from it."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send standard error nowhere while the block runs: ALSA and JACK write pages about what nobody asked for."""
    if sys.platform != "linux":
        yield
        return
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
