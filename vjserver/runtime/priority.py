"""Priority: asks the system to let the ear and the deliverer go first, and who computes much to hold little memory.

A refusal is fine.
"""

import contextlib
import os
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


def be_punctual() -> None:
    """Have this thread, but none that it starts, woken before all ordinary ones: for one that mostly sleeps.

    Linux' round-robin scheduling, where the user may have it (``ulimit -r``, the group ``audio`` on many systems), and
    Windows' time-critical threads.
    """
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "win32":
            import ctypes

            kernel = ctypes.windll.kernel32
            kernel.SetThreadPriority(kernel.GetCurrentThread(), 15)  # THREAD_PRIORITY_TIME_CRITICAL
        elif sys.platform == "linux":
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h of glibc


def give_memory_back() -> None:
    """Have freed memory given back to the system at once, and no heap a thread (glibc only): a decoder's peaks stay."""
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((M_ARENA_MAX, 1), (M_TRIM_THRESHOLD, 1 << 17), (M_MMAP_THRESHOLD, 1 << 17)):
            mallopt(option, value)
