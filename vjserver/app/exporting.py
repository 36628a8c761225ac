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

PREFIX = "vjserver-export-"
EXPORT_S = 1200.0
"""So long may an export take."""


async def made(command: list[str], name: str) -> tuple[Path, Callable[[], None]]:
    """Have one of our commands write a file, in a process of its own; return where it is, and what removes it."""
    folder = _folder()
    try:
        await _ran([sys.executable, "-m", "vjserver", *command, "-o", str(folder / name), "--beside"])
    except BaseException:
        remove(folder)
        raise
    return folder / name, partial(remove, folder)


async def exported(board: str, kind: str, options: list[str]) -> tuple[Path, Callable[[], None]]:
    """Have a board exported; return the file, and what removes it."""
    name = {"pdf": "board.pdf", "film": "board.mp4"}.get(kind, "board.zip")
    return await made(["board", "export", board, kind, "--zip", *options], name)


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
            raise OutputError(f"it took longer than {EXPORT_S:g} s: the command does it without the page") from None
        raise
    if process.returncode:
        why = told.decode("utf-8", "replace").strip().splitlines()
        raise OutputError((why[-1] if why else "it failed").removeprefix("vjserver: "))
    return printed.decode("utf-8", "replace")
