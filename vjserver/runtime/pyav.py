"""PyAV: how a file is opened for reading, whatever its titles are written in."""

import io
from pathlib import Path
from types import ModuleType
from typing import Any


def opened(av: ModuleType, source: Path | io.BytesIO, kind: str | None = None) -> Any:
    """Return the container of a file, of format ``kind`` where that is known. Raises what PyAV raises.

    Titles that are no UTF-8 (old mp3 files, cameras) keep nobody out: PyAV raises UnicodeDecodeError for them before
    version 19 unless it is told to leave them out, and from 19 on knows no such option.
    """
    tolerant = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "ignore"}
    return av.open(source if isinstance(source, io.BytesIO) else str(source), "r", format=kind, **tolerant)
