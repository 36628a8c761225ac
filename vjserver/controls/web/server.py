"""The panel's server: pictures and values go out over one WebSocket, messages with OSC addresses come in.

One picture is in flight at a time: the browser asks for the next when it has drawn the last, so a slow browser sees
fewer pictures and never old ones. The same port answers OSCQuery.

To the panel go JSON texts: ``hello`` (addresses, presets, cues), ``values`` (what has changed), ``live`` (sound, beat,
health), ``monitor`` (messages, while it is asked for); and pictures: eight bytes of time, then JPEG. From it come
``{"address": ..., "args": [...], "at": ..., "tell": true}``, ``{"monitor": true}``, and ``drawn``. ``tell`` asks for
the value that there is then: a button is lit by what the server has taken. ``at`` is the server's own time in
milliseconds, ``t_ms`` of ``live`` and what has passed since: a message that lay about for half a second is answered
with ``late`` and not taken.
"""

import asyncio
import contextlib
import json
import math
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from vjserver.controls.osc import OscError, decode
from vjserver.controls.oscquery import answer
from vjserver.controls.web.access import wants_page
from vjserver.runtime.osc import message
from vjserver.runtime.ring import RingReader
from vjserver.show.addresses import MAX_TEXT
from vjserver.types.errors import ConfigError
from vjserver.types.events import Argument
from vjserver.types.frames import Frame, Pixels

STATIC = Path(__file__).parent / "static"
ASSETS = frozenset(path.name for path in STATIC.iterdir())
LIVE_S = 1 / 25
TURN_S = 0.005
FRAME_S = 1 / 120
TOO_LATE_MS = 500.0
MONITOR_ROWS = 60  # messages told at once; more are counted. As many of the past are told to who begins to listen
MAX_MESSAGE = 4 * MAX_TEXT
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
News = Sequence[tuple[str, Argument]]


class PanelBackend(Protocol):
    """What the panel needs of control; ``tree`` is what OSCQuery shows."""

    tree: dict[str, Any]

    def snapshot(self) -> dict[str, Any]:
        """Return sound, beat and health as JSON values, and the time, ``t_ms``."""

    def now_ms(self) -> float:
        """Return the time by the clock of ``t_ms``."""

    def hello(self) -> dict[str, Any]:
        """Return addresses, presets and cues as JSON values; another object when they have changed."""

    def read(self, address: str) -> Argument | None:
        """Return the present value of an address."""

    def receive(self, address: str, args: Sequence[object], origin: str = "", key: object = None) -> None:
        """Take a message."""

    def settle(self) -> None:
        """Let what was received take effect."""

    def join(self, key: object, tell: Callable[[News], None], wants: Callable[[str, Argument], bool]) -> None:
        """Have ``tell`` told every value that changes, and all of them first. Raises ConfigError where it is full."""

    def leave(self, key: object) -> None:
        """Be told no more."""

    def overheard(self, since: int) -> tuple[int, list[tuple[int, str, str, tuple[object, ...]]]]:
        """Return how many messages there were, and those of the newest that came after number ``since``."""

    def notes(self, since: int) -> list[tuple[int, str, str, str]]:
        """Return what was announced after number ``since``: number, kind (error, ok or message), what, why."""

    def thumbnail(self, number: int) -> bytes | None:
        """Return a small JPEG of preset ``number``, or None where there is none."""


class Preview:
    """The newest frame as JPEG, encoded once however many look."""

    def __init__(self, ring: RingReader, width: int = 640, quality: int = 80) -> None:
        self._ring, self._width, self._quality = ring, width, quality
        self._frame: Frame | None = None
        self._stamped = b""
        self._encoded = -1
        self.number = 0

    def look(self) -> int:
        """Take up a new frame if there is one; return the number of the newest."""
        frame = self._ring.get()
        if frame is not None:
            self._frame = frame
            self.number += 1
        return self.number

    @property
    def pixels(self) -> Pixels | None:
        """The newest frame's pixels, a copy; None before the first."""
        return self._frame.pixels.copy() if self._frame is not None else None

    async def stamped(self) -> bytes:
        """Return the newest frame as JPEG behind the time at which it was encoded (float64, ms since 1970).

        Before the first frame there is nothing.
        """
        if self._frame is not None and self._encoded != self.number:
            self._encoded = self.number
            self._stamped = await asyncio.to_thread(self._encode, self._frame)
        return self._stamped

    def small(self, width: int = 192, height: int = 108) -> bytes:
        """Return the newest frame as a thumbnail, JPEG; ``b""`` before the first."""
        if self._frame is None:
            return b""
        pixels = cv2.resize(self._frame.pixels, (width, height), interpolation=cv2.INTER_AREA)
        return cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGR))[1].tobytes()

    def _encode(self, frame: Frame) -> bytes:
        pixels, began_ms = frame.pixels, struct.pack("<d", time.time() * 1e3)
        if pixels.shape[1] > self._width:
            height = round(pixels.shape[0] * self._width / pixels.shape[1])
            pixels = cv2.resize(pixels, (self._width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGR)
        return began_ms + cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self._quality])[1].tobytes()


def web_app(desk: PanelBackend, preview: Preview, info: Mapping[str, Any], more: Sequence[Route] = ()) -> Starlette:
    """Return the panel's application, which needs a :class:`Guard` before it; ``info`` is OSCQuery's HOST_INFO.

    ``more`` are routes of other pages.
    """

    async def index(request: Request) -> Response:
        if wants_page(request):
            return FileResponse(STATIC / "index.html", headers=SECURITY_HEADERS)
        return query(request)

    async def address(request: Request) -> Response:
        return query(request)

    def query(request: Request) -> Response:
        status, found = answer(request.url.path, request.url.query.split("=")[0], desk.read, dict(info), desk.tree)
        if found is None:
            return Response(status_code=status, headers=SECURITY_HEADERS)
        return JSONResponse(found, status, headers=SECURITY_HEADERS)

    async def asset(request: Request) -> Response:
        path = STATIC / request.path_params["name"]
        if path.name not in ASSETS:
            return PlainTextResponse("not found", 404)
        return FileResponse(path, headers=SECURITY_HEADERS)

    async def frame(_request: Request) -> Response:
        preview.look()
        return Response((await preview.stamped())[8:], media_type="image/jpeg", headers=SECURITY_HEADERS)

    async def thumbnail(request: Request) -> Response:
        found = desk.thumbnail(request.path_params["number"])
        if found is None:
            return PlainTextResponse("not found", 404)
        return Response(found, media_type="image/jpeg", headers=SECURITY_HEADERS | {"Cache-Control": "max-age=60"})

    async def status(_request: Request) -> Response:
        return JSONResponse(desk.snapshot(), headers=SECURITY_HEADERS)

    async def panel(ws: WebSocket) -> None:
        await ws.accept()
        one = _Panel(ws, desk, preview)
        await _together(one.send_live(), one.send_pictures(), one.receive())
        desk.leave(one)

    async def listener(ws: WebSocket) -> None:
        await ws.accept()
        try:
            one = _Listener(ws, desk)
        except ConfigError as error:
            await ws.close(4429, str(error)[:120])
            return
        await _together(one.send(), one.receive())
        desk.leave(one)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/static/{name}", asset),
            Route("/frame.jpg", frame),
            Route("/thumb/{number:int}.jpg", thumbnail),
            Route("/status.json", status),
            Route("/vj", address),
            Route("/vj/{path:path}", address),
            *more,
            WebSocketRoute("/ws", panel),
            WebSocketRoute("/", listener),
        ]
    )


async def _together(*loops: Any) -> None:
    """Run loops until one of them ends."""
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Turn:
    """Lets others have their turn while a browser sends thousands of messages: what came is read without a pause."""

    def __init__(self) -> None:
        self._began_s = 0.0

    async def end(self) -> None:
        """Give way once this turn has lasted for :data:`TURN_S`, for about as long."""
        now_s = time.monotonic()
        if now_s - self._began_s > 10 * TURN_S:  # others had theirs, since nothing came
            self._began_s = now_s
        elif now_s - self._began_s > TURN_S:
            await asyncio.sleep(TURN_S)
            self._began_s = time.monotonic()


class _Panel:
    """One browser at the WebSocket."""

    def __init__(self, ws: WebSocket, desk: PanelBackend, preview: Preview) -> None:
        self._ws, self._desk, self._preview = ws, desk, preview
        self._drawn = asyncio.Event()
        self._drawn.set()
        self._news: dict[str, Argument] = {}
        self._monitor = False
        self._overheard = 0
        self._noted = 0

    async def send_live(self) -> None:
        """Send what there is, then what has changed and what sounds, 25 times a second."""
        hello: dict[str, Any] = {}
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            try:
                self._desk.join(self, self._news.update, lambda _address, _value: True)
            except ConfigError as error:
                await self._ws.close(4429, str(error)[:120])
                return
            while True:
                if hello is not self._desk.hello():
                    hello = self._desk.hello()
                    await self._ws.send_json({"hello": hello})
                if self._news:
                    news = dict(self._news)
                    self._news.clear()
                    await self._ws.send_json({"values": news})
                live = self._desk.snapshot()
                live["notes"] = self._desk.notes(self._noted)
                self._noted = max([self._noted, *(row[0] for row in live["notes"])])
                await self._ws.send_json({"live": live})
                if self._monitor:
                    await self._send_monitor()
                await asyncio.sleep(LIVE_S)

    async def _send_monitor(self) -> None:
        count, rows = self._desk.overheard(self._overheard)
        if count > self._overheard:
            left_out = count - self._overheard - len(rows[-MONITOR_ROWS:])
            self._overheard = count
            await self._ws.send_json({"monitor": rows[-MONITOR_ROWS:], "left_out": left_out})

    async def send_pictures(self) -> None:
        """Send the newest picture whenever the last one is drawn."""
        shown = -1
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                await self._drawn.wait()
                while self._preview.look() == shown:
                    await asyncio.sleep(FRAME_S)
                shown = self._preview.number
                picture = await self._preview.stamped()
                if picture:
                    self._drawn.clear()
                    await self._ws.send_bytes(picture)

    async def receive(self) -> None:
        """Take messages; what makes no sense is left."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            turn = _Turn()
            while True:
                text = await self._ws.receive_text()
                await turn.end()
                if text == "drawn":
                    self._drawn.set()
                    continue
                try:
                    data = json.loads(text[:MAX_MESSAGE])
                    if "monitor" in data:
                        self._monitor = bool(data["monitor"])
                        self._overheard = max(0, self._desk.overheard(0)[0] - MONITOR_ROWS)
                        continue
                    address, args = str(data["address"]), list(data.get("args", []))
                    at_ms = float(data.get("at", math.inf))
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
                    continue
                if self._desk.now_ms() - at_ms > TOO_LATE_MS:
                    await self._tell_late(address)
                    continue
                self._desk.receive(address, args, "panel", self)
                self._desk.settle()
                value = self._desk.read(address) if data.get("tell") else None
                if value is not None:  # who sends a value is not told it as the others are
                    self._news[address] = value

    async def _tell_late(self, address: str) -> None:
        """Tell that a press was left out: who pressed has long done something else, or sees black where none is."""
        value = self._desk.read(address)
        if value is not None:
            await self._ws.send_json({"values": {address: value}})
        await self._ws.send_json({"late": address})


class _Listener:
    """One OSCQuery client at the WebSocket: it LISTENs to addresses and may send OSC packets."""

    def __init__(self, ws: WebSocket, desk: PanelBackend) -> None:
        self._ws, self._desk = ws, desk
        self._addresses: set[str] = set()
        self._news: asyncio.Queue[bytes] = asyncio.Queue(1024)
        desk.join(self, self._take, lambda address, _value: address in self._addresses)

    def _take(self, news: News) -> None:
        for address, value in news:
            with contextlib.suppress(asyncio.QueueFull):  # it does not read: it may ask anew
                self._news.put_nowait(message(address, value))

    async def send(self) -> None:
        """Send values as OSC packets, and tell when presets have changed."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            hello = self._desk.hello()
            while True:
                with contextlib.suppress(TimeoutError):
                    await self._ws.send_bytes(await asyncio.wait_for(self._news.get(), 0.5))
                if hello is not self._desk.hello():
                    hello = self._desk.hello()
                    await self._ws.send_json({"COMMAND": "PATH_CHANGED", "DATA": "/vj/preset"})

    async def receive(self) -> None:
        """Take commands and OSC packets."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            turn = _Turn()
            while True:
                got = await self._ws.receive()
                await turn.end()
                if got["type"] == "websocket.disconnect":
                    return
                if got.get("bytes"):
                    self._hear(got["bytes"])
                elif got.get("text"):
                    self._obey(got["text"])

    def _hear(self, packet: bytes) -> None:
        with contextlib.suppress(OscError):
            for one in decode(packet):
                self._desk.receive(one.address, one.args, "oscquery", self)
            self._desk.settle()

    def _obey(self, text: str) -> None:
        try:
            data = json.loads(text[:MAX_MESSAGE])
            command, address = str(data["COMMAND"]), str(data["DATA"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if command == "LISTEN" and len(self._addresses) < MAX_TEXT:
            self._addresses.add(address)
        elif command == "IGNORE":
            self._addresses.discard(address)
