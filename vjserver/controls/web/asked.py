"""What pages with routes of their own share: their headers, how what is asked is read, and how they answer."""

from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from vjserver.types.errors import ConfigError, VJError

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Permissions-Policy": "microphone=(self)",
}
KINDS = {
    ".css": "text/css", ".js": "text/javascript", ".jpg": "image/jpeg", ".png": "image/png", ".flac": "audio/flac",
}  # fmt: skip
MOST_BODY = 1 << 20
Handler = Callable[[Request], Awaitable[Response]]
_Order = TypeVar("_Order")


async def body_of(request: Request, most: int) -> bytes | None:
    """Return what a request brings, None where that is too much."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > most:
            return None
    return bytes(data)


async def body_within(request: Request, most: int) -> bytes:
    """Return what a request brings. Raises ConfigError where that is too much."""
    data = await body_of(request, most)
    if data is None:
        raise ConfigError(f"more than {most >> 20} MiB were sent")
    return data


async def order_of(request: Request, kind: type[_Order]) -> _Order:
    """Return what a page wants, of a struct's type. Raises ConfigError."""
    try:
        return msgspec.json.decode(await body_within(request, MOST_BODY), type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise ConfigError(f"what was asked cannot be read: {error}") from None


class _Sure(msgspec.Struct, forbid_unknown_fields=True):
    everything: bool


async def check_sure(request: Request) -> None:
    """Raise ConfigError unless who asks that everything be deleted says so in as many words."""
    if not (await order_of(request, _Sure)).everything:
        raise ConfigError('everything is deleted with {"everything": true} only')


def whole_of(request: Request, name: str) -> int:
    """Return a whole number that is asked with, 0 where there is none."""
    text: Any = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


def told(handler: Handler) -> Handler:
    """Answer errors as JSON: 400 for what makes no sense, 503 where the disk does not."""

    @wraps(handler)
    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except ConfigError as error:
            return JSONResponse({"error": str(error)}, 400, PAGE_HEADERS)
        except VJError as error:
            return JSONResponse({"error": str(error)}, 503, PAGE_HEADERS)

    return answered


def json_of(answer: Any) -> Response:
    """Return an answer."""
    return JSONResponse(answer, headers=PAGE_HEADERS)


def page_of(path: Path) -> Handler:
    """Return a handler that sends a page."""

    async def send(_request: Request) -> Response:
        return FileResponse(path, headers=PAGE_HEADERS)

    return send


def files_of(find: Callable[[str], Path | None]) -> Handler:
    """Return a handler that sends files by the route's ``name``; ``find`` tells where one is, None for none."""

    async def send(request: Request) -> Response:
        path = find(request.path_params["name"])
        if path is None or path.suffix not in KINDS:
            return JSONResponse({"error": "not found"}, 404, PAGE_HEADERS)
        return FileResponse(path, media_type=KINDS[path.suffix], headers=PAGE_HEADERS)

    return send


def within(folder: Path) -> Callable[[str], Path | None]:
    """Return what finds a file of a folder by its name, for :func:`files_of`."""

    def find(name: str) -> Path | None:
        path = folder / Path(name).name
        try:
            return path if path.is_file() else None
        except OSError:  # longer than a name may be
            return None

    return find
