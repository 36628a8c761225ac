"""Exports that a page asked for: a process of its own makes the file, since making it would hold up a show."""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from vjserver.runtime.files import remove
from vjserver.types.errors import OutputError

EXPORT_S = 1200.0
"""So long may an export take."""


async def exported(board: str, kind: str, options: list[str]) -> tuple[Path, Callable[[], None]]:
    """Have a board exported by a process of its own, at a low priority; return the file, and what removes it."""
    folder = Path(tempfile.mkdtemp(prefix="vjserver-board-"))
    output = folder / {"pdf": "board.pdf", "film": "board.mp4"}.get(kind, "board.zip")
    command = [sys.executable, "-m", "vjserver", "board", "export", board, kind, "-o", str(output), "--zip", *options]
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(EXPORT_S):
                _, told = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if process.returncode or not output.exists():
            why = told.decode("utf-8", "replace").strip().splitlines()
            raise OutputError((why[-1] if why else "the export failed").removeprefix("vjserver: "))
    except TimeoutError:
        remove(folder)
        raise OutputError(f"the export took longer than {EXPORT_S:g} s: vjserver board export does it beside") from None
    except BaseException:
        remove(folder)
        raise
    return output, partial(remove, folder)
