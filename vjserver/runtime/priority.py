"""Priority: asks the system to let the ear (and the deliverer) go first; a refusal is fine."""

import contextlib
import sys

import psutil


def raise_priority(steps: int) -> None:
    """Raise this process's priority by up to ``steps`` (Unix nice levels; one class up on Windows)."""
    process = psutil.Process()
    with contextlib.suppress(psutil.Error, OSError):
        if sys.platform == "win32":
            process.nice(psutil.ABOVE_NORMAL_PRIORITY_CLASS if steps > 0 else psutil.BELOW_NORMAL_PRIORITY_CLASS)
        else:
            process.nice(process.nice() - steps)
