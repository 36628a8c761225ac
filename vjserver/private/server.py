"""The server of private pages: on this machine's loopback alone, and only for who has the address that it printed."""

import asyncio
import contextlib
import hmac
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import IO

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from vjserver.controls.web.access import Guard
from vjserver.runtime import log
from vjserver.types.errors import OutputError

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
LOOK_S, AGAIN_S = 1.0, 20.0
KEY = "private pages open with the address that vjserver printed"


Look = Callable[[], Awaitable[object]]


class Locked:
    """Lets in who has the key: first in the address, then in a cookie. Other users of this machine have none."""

    def __init__(self, app: ASGIApp, key: str, port: int) -> None:
        self._app, self._key, self._cookie = app, key, f"vjserver_private_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on."""
        if scope["type"] != "http":  # there is no socket among the routes
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        if self._is_key(asked.query_params.get("key", "")):
            answer = RedirectResponse(f"/{scope['path'].lstrip('/')}", 303)
            answer.set_cookie(self._cookie, self._key, httponly=True, samesite="strict")
            await answer(scope, receive, send)
        elif self._is_key(self._told(asked.headers)):
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse(KEY, 403)(scope, receive, send)

    def _told(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return found.value if found is not None else ""

    def _is_key(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._key.encode())


class Beside:
    """A process of ours that does what waits, beside the pages and beside a show; one at a time, while there is any.

    ``waits`` tells whether there is anything to do. What ended badly is tried again when ``kick`` is called.
    """

    def __init__(self, command: Sequence[str], waits: Callable[[], bool]) -> None:
        self._command = [sys.executable, "-m", "vjserver", *command, "--beside"]
        self._waits, self._failed, self._kicked, self._again_s = waits, False, False, 0.0
        self._process: asyncio.subprocess.Process | None = None
        self._said: IO[bytes] | None = None
        self.why = ""

    def kick(self) -> None:
        """Something new waits."""
        self._failed, self._kicked = False, True

    async def look(self) -> None:
        """Begin, if something waits and nobody does it; called now and then."""
        if self._process is not None:
            if self._process.returncode is None:
                return
            self._failed = self._process.returncode != 0 and not self._kicked
            self.why = self._last_words() if self._failed else ""
            self._process = None
            self._again_s = time.monotonic() + AGAIN_S  # what waits still is another process's
        if not self._kicked and time.monotonic() < self._again_s:
            return
        self._kicked = False
        if not self._failed and await asyncio.to_thread(self._waits):
            none = asyncio.subprocess.DEVNULL
            self._said = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=none, stdout=none, stderr=self._said
            )

    def _last_words(self) -> str:
        assert self._said is not None
        self._said.seek(0)
        lines = self._said.read()[-4000:].decode("utf-8", "replace").strip().splitlines()
        self._said.close()
        return lines[-1].removeprefix("vjserver: ") if lines else "it ended without a word"

    async def end(self) -> None:
        """End the process, if it runs; what it was at waits for the next one."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            await self._process.wait()


def serve(
    routes: Sequence[BaseRoute],
    key: str,
    port: int,
    looks: Sequence[Look],
    helpers: Sequence[Beside],
    tell: Callable[[], None],
) -> None:
    """Serve until Ctrl-C; ``tell`` is called when the port is open, ``looks`` are awaited every second.

    Raises OutputError where the port is taken.
    """

    async def looking() -> None:
        while True:
            for look in (*looks, *(one.look for one in helpers)):
                try:
                    await look()
                except Exception as error:  # noqa: BLE001 - a full disk, a file that is locked: the next look may do
                    log.write_fault("pages", "what waits could not be looked for", error)
            await asyncio.sleep(LOOK_S)

    @contextlib.asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(looking())
        try:
            yield
        finally:
            task.cancel()
            for one in helpers:
                await one.end()

    try:
        listener = socket.create_server((HOST, port))  # before its address is told
    except (OSError, OverflowError) as error:
        raise OutputError(f"port {port} cannot be used ({error}): --port N takes another one") from None
    app = Guard(Locked(Starlette(routes=list(routes), lifespan=life), key, port), NAMES)
    tell()
    with listener:
        uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listener])
