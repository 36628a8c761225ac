"""The page's server: JPEG frames and state go out over one WebSocket, messages with OSC addresses come in.

One frame is in flight at a time: the browser asks for the next when it has drawn the last, so a slow browser sees
fewer frames and never old ones. Only pages from this server's own address may connect.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from vjserver.runtime.ring import RingReader
from vjserver.show.addresses import MAX_TEXT
from vjserver.types.frames import Frame

STATIC = Path(__file__).parent / "static"
SNAPSHOT_S = 1 / 25
FRAME_S = 1 / 120
MAX_MESSAGE = 4 * MAX_TEXT
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Desk(Protocol):
    """What the page needs of control."""

    def snapshot(self) -> dict[str, Any]:
        """Return the state as JSON values."""

    def receive(self, address: str, args: Sequence[object]) -> None:
        """Take a message."""


class Preview:
    """The newest frame as JPEG, encoded once however many look."""

    def __init__(self, ring: RingReader, width: int = 640, quality: int = 80) -> None:
        self._ring, self._width, self._quality = ring, width, quality
        self._frame: Frame | None = None
        self._jpeg = b""
        self._encoded = -1
        self.number = 0

    def look(self) -> int:
        """Take up a new frame if there is one; return the number of the newest."""
        frame = self._ring.get()
        if frame is not None:
            self._frame = frame
            self.number += 1
        return self.number

    async def jpeg(self) -> bytes:
        """Return the newest frame as JPEG, ``b""`` before the first."""
        if self._frame is not None and self._encoded != self.number:
            self._encoded = self.number
            self._jpeg = await asyncio.to_thread(self._encode, self._frame)
        return self._jpeg

    def _encode(self, frame: Frame) -> bytes:
        pixels = frame.pixels
        if pixels.shape[1] > self._width:
            height = round(pixels.shape[0] * self._width / pixels.shape[1])
            pixels = cv2.resize(pixels, (self._width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGR)
        return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self._quality])[1].tobytes()


class Guard:
    """Refuses requests that do not come from this server's own page: DNS rebinding, foreign origins."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._origins = frozenset(f"http://{host}" for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check Host and Origin, then pass on."""
        if scope["type"] in ("http", "websocket"):
            headers = HTTPConnection(scope).headers
            origin = headers.get("origin")
            if headers.get("host", "") not in self._hosts or (origin is not None and origin not in self._origins):
                if scope["type"] == "websocket":
                    await receive()
                    await send({"type": "websocket.close", "code": 4403})
                else:
                    await PlainTextResponse("this page is not for you", 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def web_app(desk: Desk, preview: Preview, preset_names: Sequence[str], hosts: Sequence[str]) -> ASGIApp:
    """Return the page's application; ``hosts`` are the ``host:port`` under which it may be asked."""

    async def index(_request: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers=SECURITY_HEADERS)

    async def asset(request: Request) -> Response:
        path = STATIC / request.path_params["name"]
        if path.name not in ASSETS:
            return PlainTextResponse("not found", 404)
        return FileResponse(path, headers=SECURITY_HEADERS)

    async def frame(_request: Request) -> Response:
        preview.look()
        return Response(await preview.jpeg(), media_type="image/jpeg", headers=SECURITY_HEADERS)

    async def status(_request: Request) -> Response:
        return JSONResponse(desk.snapshot(), headers=SECURITY_HEADERS)

    async def socket(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json({"presets": list(preset_names)})
        drawn = asyncio.Event()
        drawn.set()
        tasks = [
            asyncio.create_task(_send_state(ws, desk)),
            asyncio.create_task(_send_frames(ws, preview, drawn)),
            asyncio.create_task(_receive(ws, desk, drawn)),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/static/{name}", asset),
            Route("/frame.jpg", frame),
            Route("/status.json", status),
            WebSocketRoute("/ws", socket),
        ]
    )
    return Guard(app, hosts)


ASSETS = frozenset(path.name for path in STATIC.iterdir())


async def _send_state(ws: WebSocket, desk: Desk) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await ws.send_json(desk.snapshot())
            await asyncio.sleep(SNAPSHOT_S)


async def _send_frames(ws: WebSocket, preview: Preview, drawn: asyncio.Event) -> None:
    shown = -1
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await drawn.wait()
            while preview.look() == shown:
                await asyncio.sleep(FRAME_S)
            shown = preview.number
            jpeg = await preview.jpeg()
            if jpeg:
                drawn.clear()
                await ws.send_bytes(jpeg)


async def _receive(ws: WebSocket, desk: Desk, drawn: asyncio.Event) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            text = await ws.receive_text()
            if text == "drawn":
                drawn.set()
                continue
            try:
                data = json.loads(text[:MAX_MESSAGE])
                address, args = str(data["address"]), list(data.get("args", []))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
            desk.receive(address, args)
