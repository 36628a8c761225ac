"""Who may use the panel and OSCQuery: near and far, with a token and without, named as a player and not."""

import asyncio

import pytest
from starlette.responses import PlainTextResponse

from vjserver.controls.web.access import Guard

HOST = "192.168.1.5:9020"
NAMES = ("127.0.0.1", "localhost", "192.168.1.5", "stage.local")
GUARD = Guard(
    PlainTextResponse("in"),
    NAMES,
    ("vj.club", "tunnel.example:8443"),
    "secret",
    ("192.168.1.7", "10.0.0.0/8", "fd00::/8"),
)
PLAYER, STRANGER = "192.168.1.7", "192.168.1.8"


def status(path="/", client=STRANGER, kind="http", server="192.168.1.5", **headers):
    """Return the HTTP status, or for a WebSocket 403 where it is closed."""
    said = []
    path, _, query = path.partition("?")
    rows = [(name.encode(), text.encode()) for name, text in {"host": HOST, **headers}.items()]
    scope = {"type": kind, "path": path, "query_string": query.encode(), "headers": rows, "method": "GET",
             "client": (client, 50000) if client else None, "server": (server, 9020)}  # fmt: skip

    async def receive():
        return {"type": f"{kind}.connect"}

    async def send(row):
        said.append(row)

    asyncio.run(GUARD(scope, receive, send))
    return 403 if said[0].get("code") == 4403 else said[0].get("status", 101)


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, 403),
        ({"server": "127.0.0.1", "host": "127.0.0.1:9020"}, 200),
        ({"client": "192.168.1.5"}, 200),  # from this machine, by its address in the network
        ({"client": "192.168.1.5", "origin": "http://evil.example"}, 403),
        ({"path": "/?token=secret"}, 303),
        ({"path": "/?token=secre"}, 403),
        ({"cookie": "vjserver_token=secret"}, 200),
        ({"cookie": "vjserver_token=wrong"}, 403),
        ({"cookie": "vjserver_token=secret", "host": "evil.example"}, 403),
        ({"cookie": "vjserver_token=secret", "origin": "http://evil.example"}, 403),
        ({"cookie": "vjserver_token=secret", "origin": f"http://{HOST}"}, 200),
        # port 80 is left out by browsers; ssh -L gives another port; this machine's own names
        ({"server": "127.0.0.1", "host": "127.0.0.1"}, 200),
        ({"server": "127.0.0.1", "host": "localhost:8080", "origin": "http://localhost:8080"}, 200),
        ({"server": "127.0.0.1", "host": "localhost:9020", "origin": "http://localhost:3000"}, 403),
        ({"server": "127.0.0.1", "host": "127.0.0.1:9020", "origin": "http://localhost:9020"}, 200),
        ({"host": "stage.local:9020", "cookie": "vjserver_token=secret"}, 200),
        ({"host": "LOCALHOST:9020", "server": "127.0.0.1"}, 200),
        # a tunnel's or a proxy's name, where the show file names it; what a proxy passes on is not near
        ({"server": "127.0.0.1", "host": "tunnel.example:8443"}, 403),
        ({"server": "127.0.0.1", "host": "tunnel.example:8443", "cookie": "vjserver_token=secret"}, 200),
        ({"server": "127.0.0.1", "host": "tunnel.example", "cookie": "vjserver_token=secret"}, 403),
        ({"server": "127.0.0.1", "host": "vj.club:1234", "origin": "https://vj.club:1234"}, 403),
        (
            {
                "server": "127.0.0.1",
                "host": "vj.club:1234",
                "origin": "https://vj.club:1234",
                "cookie": "vjserver_token=secret",
            },
            200,
        ),
        ({"server": "127.0.0.1", "host": "127.0.0.1:9020", "origin": "https://vj.club"}, 403),
        (
            {
                "server": "127.0.0.1",
                "host": "127.0.0.1:9020",
                "origin": "https://vj.club",
                "cookie": "vjserver_token=secret",
            },
            200,
        ),
        ({"server": "127.0.0.1", "host": "127.0.0.1:9020", "x-forwarded-for": "203.0.113.9"}, 403),
        ({"server": "127.0.0.1", "host": "vj.club", "forwarded": "for=203.0.113.9"}, 403),
        ({"server": "127.0.0.1", "host": "vj.club", "x-real-ip": "::1", "cookie": "vjserver_token=secret"}, 200),
        ({"server": "127.0.0.1", "host": "vj.club.evil.example"}, 403),
        ({"server": "127.0.0.1", "host": "evil.example:9020@localhost"}, 403),
        ({"server": "127.0.0.1", "host": "localhost:9020", "origin": "null"}, 403),
        ({"server": "127.0.0.1", "host": "localhost:9020", "origin": "http://[::1"}, 403),
        ({"kind": "websocket", "path": "/ws"}, 403),
        # a machine that may play over OSC asks for the addresses, and for nothing else
        ({"client": PLAYER}, 200),
        ({"client": PLAYER, "path": "/?HOST_INFO"}, 200),
        ({"client": PLAYER, "path": "/vj/param/zoom?VALUE"}, 200),
        ({"client": PLAYER, "path": "/vj"}, 200),
        ({"client": "10.9.8.7", "path": "/vj"}, 200),
        ({"client": "fd00::1", "path": "/vj"}, 200),
        ({"client": STRANGER, "path": "/vj"}, 403),
        ({"client": "", "path": "/vj"}, 403),
        ({"client": PLAYER, "path": "/vj", "origin": "http://evil.example"}, 403),
        ({"client": PLAYER, "path": "/vj", "host": "evil.example"}, 403),
        ({"client": PLAYER, "accept": "text/html"}, 403),
        ({"client": PLAYER, "path": "/vjs"}, 403),
        ({"client": PLAYER, "path": "/status.json"}, 403),
        ({"client": PLAYER, "path": "/frame.jpg"}, 403),
        ({"client": PLAYER, "kind": "websocket", "path": "/ws"}, 403),
    ],
)
def test_who_is_let_in(asked, wanted):
    assert status(**asked) == wanted


def redirected(path):
    said = []
    path, _, query = path.partition("?")
    scope = {"type": "http", "path": path, "query_string": query.encode(), "method": "GET", "client": (STRANGER, 5),
             "headers": [(b"host", HOST.encode())], "server": ("192.168.1.5", 9020)}  # fmt: skip

    async def send(row):
        said.append(row)

    asyncio.run(GUARD(scope, None, send))
    return {name.decode(): value.decode() for name, value in said[0]["headers"]}


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/?token=secret", "/"),
        ("/?token=secret&view=phone", "/?view=phone"),
        ("//evil.example/?token=secret", "/evil.example/"),
        ("///evil.example?token=secret", "/evil.example"),
        ("/\\evil.example?token=secret", "/%5Cevil.example"),
    ],
)
def test_the_tokens_link_leads_to_our_own_page_and_nowhere_else(path, leads_to):
    headers = redirected(path)
    assert headers["location"] == leads_to
    cookie = headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie, "a link in a chat leads here: a strict cookie is not sent behind its redirect"


def test_a_player_may_listen_over_a_websocket():
    opened = []

    async def app(scope, receive, send):
        opened.append(scope["path"])

    guard = Guard(app, NAMES, (), "secret", (PLAYER,))
    scope = {"type": "websocket", "path": "/", "query_string": b"", "headers": [(b"host", HOST.encode())],
             "client": (PLAYER, 50000), "server": ("192.168.1.5", 9020)}  # fmt: skip
    asyncio.run(guard(scope, None, None))
    assert opened == ["/"]
