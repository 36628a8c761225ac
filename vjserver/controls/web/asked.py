"""What pages with routes of their own share: their headers, and how what is asked is read."""

from typing import Any

from starlette.requests import Request

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Permissions-Policy": "microphone=(self)",
}


async def body_of(request: Request, most: int) -> bytes | None:
    """Return what a request brings, None where that is too much."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > most:
            return None
    return bytes(data)


def whole_of(request: Request, name: str) -> int:
    """Return a whole number that is asked with, 0 where there is none."""
    text: Any = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0
