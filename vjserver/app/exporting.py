"""Exports that a page asked for: a process of its own makes the file, since making it would hold up a show."""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vjserver.runtime.files import remove, slug_of
from vjserver.types.errors import OutputError

PREFIX = "vjserver-board-"
EXPORT_S = 1200.0
"""So long may an export take."""


async def exported(board: str, kind: str, options: list[str]) -> tuple[Path, Callable[[], None]]:
    """Have a board exported by a process of its own, at a low priority; return the file, and what removes it."""
    folder = _folder()
    output = folder / {"pdf": "board.pdf", "film": "board.mp4"}.get(kind, "board.zip")
    command = [sys.executable, "-m", "vjserver", "board", "export", board, kind, "-o", str(output), "--zip", *options]
    try:
        await _ran([*command, "--beside"])
    except BaseException:
        remove(folder)
        raise
    return output, partial(remove, folder)


async def taken_in(script: bytes, name: str) -> str:
    """Have a script made a board by a process of its own; return the board's number."""
    folder = _folder()
    try:
        path = folder / f"{slug_of(name) or 'script'}.fountain"
        path.write_bytes(script)
        told = await _ran([sys.executable, "-m", "vjserver", "board", "import", str(path), "--beside"])
        return told.split()[0]
    finally:
        remove(folder)


def _folder() -> Path:
    """Return a new folder; those of processes that were killed go."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > 2 * EXPORT_S:
                remove(left)
    return Path(tempfile.mkdtemp(prefix=PREFIX))


async def _ran(command: list[str]) -> str:
    """Run one of our commands; return what it printed. Raises OutputError with what it said was wrong."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(EXPORT_S):
            printed, told = await process.communicate()
    except BaseException as error:
        process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            raise OutputError(f"it took longer than {EXPORT_S:g} s: vjserver board does it without the page") from None
        raise
    if process.returncode:
        why = told.decode("utf-8", "replace").strip().splitlines()
        raise OutputError((why[-1] if why else "it failed").removeprefix("vjserver: "))
    return printed.decode("utf-8", "replace")
