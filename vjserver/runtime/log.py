"""The log: what was announced, and every traceback, in one file of the user's that is turned over when it is long.

It is written by any process, a piece at a time, and never fails: a disk that is full or read-only costs the log, not
the show. What was quoted out of a message that somebody sent is left out.
"""

import contextlib
import os
import time
import traceback
from pathlib import Path

from platformdirs import user_log_path

from vjserver.runtime.files import move_over

LONGEST = 1 << 20
KEPT = 5
MOST_A_MINUTE = 300
"""Pieces that a process writes in a minute; what is more is left out, and counted."""
_counts: dict[int, int] = {}


def log_folder() -> Path:
    """Return the folder of the log, under ``$VJSERVER_DATA`` or the system's own; it may not be there yet."""
    own = os.environ.get("VJSERVER_DATA")
    return Path(own) / "log" if own else user_log_path("vjserver", appauthor=False)


def log_file() -> Path:
    """Return the file that is written now."""
    return log_folder() / "vjserver.log"


def write(who: str, text: str) -> bool:
    """Append a piece, of one line or many, with the time and who says it; tell whether it is on the disk."""
    minute = int(time.monotonic() // 60)
    written = _counts.get(minute, 0)
    if written >= MOST_A_MINUTE:
        _counts[minute] = written + 1
        return True
    if not written:
        left_out = sum(max(0, count - MOST_A_MINUTE) for count in _counts.values())
        _counts.clear()
        text = f"({left_out} more were left out in the minute before)\n{text}" if left_out else text
    _counts[minute] = written + 1
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    body = text.rstrip("\n").replace("\n", "\n    ")
    data = f"{stamp} {who}: {body}\n".encode("utf-8", "backslashreplace")
    try:
        log_folder().mkdir(parents=True, exist_ok=True)
        with log_file().open("ab", buffering=0) as file:  # one write at the end of the file: others' do not mix in
            file.write(data)
            is_long = file.tell() > LONGEST
        if is_long:
            turn_over()
    except OSError:
        return False
    return True


def write_fault(who: str, what: str, error: BaseException) -> bool:
    """Append an exception with its traceback."""
    return write(who, f"{what}\n{''.join(traceback.format_exception(error))}")


def turn_over() -> None:
    """Begin a new file if the present one is long; the last ones are kept as ``vjserver.log.1`` and so on."""
    path = log_file()
    with contextlib.suppress(OSError):
        if path.stat().st_size < LONGEST:
            return
        for number in range(KEPT - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                move_over(older, path.with_name(f"{path.name}.{number + 1}"))
        move_over(path, path.with_name(f"{path.name}.1"))
