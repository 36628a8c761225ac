"""Who may use the panel: requests go in; those of our own page, on this machine or with the token, go on.

Host and Origin are checked on every request, WebSockets too: a page from elsewhere that a browser also shows (DNS
rebinding, a link) is refused. From another machine the token is needed, which ``vjserver run --lan`` prints: first in
the address, then in a cookie. OSCQuery's programs cannot give one: a machine that is named as one that may play over
OSC may ask for the addresses without it.
"""

import hmac
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_network
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from vjserver.controls.osc import is_within

COOKIE = "vjserver_token"


class Guard:
    """Refuses what does not come from this server's own page, and other machines without ``token``.

    Machines of ``players`` (addresses or networks) may use OSCQuery without it.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], token: str = "", players: Sequence[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._origins = frozenset(f"http://{host}" for host in hosts)
        self._token = token
        self._players = [ip_network(text, strict=False) for text in players]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        headers = asked.headers
        origin = headers.get("origin")
        if headers.get("host", "") not in self._hosts or (origin is not None and origin not in self._origins):
            await _refuse(scope, receive, send, "this page is not for you")
        elif self._is_near(scope) or self._knows(headers) or (_is_query(asked) and self._plays(scope)):
            await self._app(scope, receive, send)
        elif self._same(parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]):
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
            else:
                answer = RedirectResponse(scope["path"], 303)
                answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict", max_age=7 * 86400)
                await answer(scope, receive, send)
        else:
            await _refuse(scope, receive, send, "a token is needed: use the address that vjserver printed")

    def _is_near(self, scope: Scope) -> bool:
        """Tell whether a request comes from this machine: by the loopback interface, or from the address it asks."""
        server, client = ((scope.get(end) or ("",))[0] for end in ("server", "client"))
        return not self._token or server in ("127.0.0.1", client)

    def _plays(self, scope: Scope) -> bool:
        """Tell whether a request comes from a machine that may play over OSC anyhow."""
        client = (scope.get("client") or ("",))[0]
        return is_within(client, self._players)

    def _knows(self, headers: Headers) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and self._same(cookie.value)

    def _same(self, given: str) -> bool:
        return bool(self._token) and hmac.compare_digest(given.encode(), self._token.encode())


def wants_page(asked: HTTPConnection) -> bool:
    """Tell whether a request for ``/`` is for the panel's page, not for OSCQuery's tree."""
    return "text/html" in asked.headers.get("accept", "") and asked.url.query != "HOST_INFO"


def _is_query(asked: HTTPConnection) -> bool:
    """Tell whether OSCQuery is asked for, not the panel."""
    path: str = asked.scope["path"]
    at_root = path == "/" and (asked.scope["type"] == "websocket" or not wants_page(asked))
    return at_root or path == "/vj" or path.startswith("/vj/")


async def _refuse(scope: Scope, receive: Receive, send: Send, why: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 4403})
    else:
        await PlainTextResponse(why, 403)(scope, receive, send)
