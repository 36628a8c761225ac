"""Who may use the panel: requests go in; those of our own page, on this machine or with the token, go on.

Host and Origin are checked on every request, WebSockets too: a page from elsewhere that a browser also shows (DNS
rebinding, a link) is refused. A name of this machine is taken with any port (``ssh -L`` gives another one); a tunnel's
or a proxy's own name stands in ``[web] hosts``. From another machine the token is needed, which ``vjserver run --lan``
prints: first in the address, then in a cookie. OSCQuery's programs cannot give one: a machine that is named as one that
may play over OSC may ask for the addresses without it.
"""

import hmac
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_network
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from vjserver.controls.osc import is_within

COOKIE, GUEST = "vjserver_token", "vjserver_guest"
STRANGE = "this page is not for you: name the host by which you came in the show file, [web] hosts"
FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-real-ip"})


class Guard:
    """Refuses what does not come from this server's own page, and other machines without ``token``.

    ``names`` are this machine's own; ``hosts`` are a tunnel's or a proxy's, each with a port or for any port. Machines
    of ``players`` (addresses or networks) may use OSCQuery without the token. With ``guests``, a token of its own, the
    page /speak may be used and nothing else.
    """

    def __init__(
        self,
        app: ASGIApp,
        names: Sequence[str],
        hosts: Sequence[str] = (),
        token: str = "",
        players: Sequence[str] = (),
        guests: str = "",
    ) -> None:
        self._guests = guests
        self._app = app
        self._names = frozenset(name.lower() for name in names)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._token = token
        self._players = [ip_network(text, strict=False) for text in players]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, then pass on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        asked = HTTPConnection(scope)
        headers = asked.headers
        port = (scope.get("server") or ("", 0))[1]
        if not self._is_ours(headers.get("host", ""), headers.get("origin"), port):
            await _refuse(scope, receive, send, STRANGE)
        elif self._may(asked, scope):
            await self._app(scope, receive, send)
        elif _is_talk(scope) and _alike(self._guests, _query(scope).get("guest", "")):
            answer = RedirectResponse("/speak", 303)
            answer.set_cookie(GUEST, self._guests, httponly=True, samesite="lax", max_age=86400, path="/speak")
            await answer(scope, receive, send)
        elif self._same((query := _query(scope)).pop("token", "")):
            if scope["type"] == "websocket":
                await self._app(scope, receive, send)
            else:
                rest = f"?{urlencode(query)}" if query else ""
                answer = RedirectResponse(f"/{scope['path'].lstrip('/')}{rest}", 303)  # "//" would lead elsewhere
                # Lax: a link in a chat leads here too, and a strict cookie is not sent behind its redirect.
                answer.set_cookie(COOKIE, self._token, httponly=True, samesite="lax", max_age=7 * 86400)
                await answer(scope, receive, send)
        else:
            await _refuse(scope, receive, send, "a token is needed: use the address that vjserver printed")

    def _may(self, asked: HTTPConnection, scope: Scope) -> bool:
        """Tell whether a request is let in as it is: of this machine, by a cookie, or because it is for everybody."""
        if self._is_near(scope) or self._knows(asked.headers) or (_is_query(asked) and self._plays(scope)):
            return True
        path: str = scope["path"]
        return path == "/trust" or path.startswith("/trust/") or (_is_talk(scope) and self._is_guest(asked.headers))

    def _is_ours(self, host: str, origin: str | None, port: int | None) -> bool:
        """Tell whether a request was meant for us, and comes from our own page if it comes from a page.

        A page may have come by another of our names than the one that it asks, but then at our own ``port``.
        """
        host = host.lower()
        if not (self._is_named(host) or _bare(host) in self._names):
            return False
        if origin is None:
            return True
        try:
            scheme, place, *_ = urlsplit(origin.lower())
        except ValueError:
            return False
        own = _bare(place) in self._names and place in (f"{_bare(place)}:{port}", _bare(place) if port == 80 else "")
        return scheme in ("http", "https") and (place == host or own or self._is_named(place))

    def _is_named(self, host: str) -> bool:
        return host in self._hosts or _bare(host) in self._hosts

    def _is_near(self, scope: Scope) -> bool:
        """Tell whether a request comes from this machine: by the loopback interface, or from the address it asks.

        What a tunnel or a proxy passes on seems to come from this machine, and does not.
        """
        headers = Headers(scope=scope)
        places = [headers.get("host", ""), urlsplit(headers.get("origin", "")).netloc]
        foreign = any(place and _bare(place.lower()) not in self._names for place in places)
        if foreign or FORWARDED.intersection(headers.keys()):
            return False
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

    def _is_guest(self, headers: Headers) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(GUEST)
        except CookieError:
            return False
        return cookie is not None and _alike(self._guests, cookie.value)

    def _same(self, given: str) -> bool:
        return _alike(self._token, given)


def _alike(token: str, given: str) -> bool:
    """Tell whether a token was given; one that is empty never was."""
    return bool(token) and hmac.compare_digest(given.encode(), token.encode())


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1")))


def _is_talk(scope: Scope) -> bool:
    """Tell whether the page to speak is asked for."""
    path: str = scope["path"]
    return scope["type"] == "http" and (path == "/speak" or path.startswith("/speak/"))


def _bare(host: str) -> str:
    """Return a host without its port: ``[::1]:9020`` is ``[::1]``."""
    head, colon, port = host.rpartition(":")
    return head if colon and port.isdigit() and not head.endswith(":") else host


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
