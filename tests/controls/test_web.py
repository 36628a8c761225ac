"""The page in a real browser against a real server, and the guard at its door."""

import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from conftest import free_port, wait_for

CHROMIUM = shutil.which("chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    import socket

    web, osc = free_port(), free_port(socket.SOCK_DGRAM)
    show = tmp_path_factory.mktemp("web") / "show.toml"
    show.write_text(
        f'outputs = [{{kind = "sharedmem", stream = "t{web}"}}]\n[source]\nkind = "click"\n'
        f"[video]\nwidth = 320\nheight = 180\n[osc]\nport = {osc}\ntargets = []\n[web]\nport = {web}\n"
    )
    with subprocess.Popen([sys.executable, "-m", "vjserver", "run", str(show)], stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: get(web, "/frame.jpg")[1][:2] == b"\xff\xd8", 60)
        yield web
        process.terminate()
        process.wait(3)
    assert process.returncode == 0


def get(port, path, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0, b""


def test_the_page_and_its_parts_are_served(server):
    assert b"<title>vjserver</title>" in get(server, "/")[1]
    for name in ("page.css", "page.js"):
        assert get(server, f"/static/{name}")[0] == 200
    assert b'"bpm"' in get(server, "/status.json")[1]


@pytest.mark.parametrize("path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static/none.js", "/etc/passwd"])
def test_nothing_else_is_served(server, path):
    assert get(server, path)[0] == 404


def test_strangers_are_refused(server):
    assert get(server, "/", Host="evil.example")[0] == 403
    assert get(server, "/status.json", Origin="http://evil.example")[0] == 403
    assert get(server, "/status.json", Origin=f"http://127.0.0.1:{server}")[0] == 200


def test_a_strangers_websocket_is_refused(server):
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with (
        pytest.raises(InvalidStatus) as caught,
        connect(f"ws://127.0.0.1:{server}/ws", origin="http://evil.example"),
    ):
        pass
    assert caught.value.response.status_code == 403
    with connect(f"ws://127.0.0.1:{server}/ws", origin=f"http://localhost:{server}") as ws:
        assert "presets" in ws.recv(timeout=5)
        ws.send("not json")
        ws.send('{"address": 5}')
        ws.send('{"address": "/vj/nowhere", "args": [1]}')
        ws.send('["/vj/seed"]')
        assert ws.recv(timeout=5)


def test_a_browser_sees_pictures_beats_and_sends_prompts(server):
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (make test installs it on Debian and Ubuntu)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        # the page forbids eval, which the test driver uses to wait
        page = browser.new_page(viewport={"width": 1280, "height": 800}, bypass_csp=True)
        errors = []
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto(f"http://127.0.0.1:{server}/")
        page.wait_for_function("Number(document.getElementById('picture').dataset.frames) > 20", timeout=20_000)
        page.wait_for_function("Math.abs(Number(document.getElementById('bpm').textContent) - 120) < 3", timeout=20_000)
        lit = """() => {
            const p = document.getElementById('picture');
            const d = p.getContext('2d').getImageData(0, 0, p.width, p.height).data;
            return d.reduce((sum, v, i) => sum + (i % 4 < 3 ? v : 0), 0) / (d.length * 0.75);
        }"""
        assert page.evaluate(lit) > 4
        page.fill("#prompt", "golden mandala")
        page.press("#prompt", "Enter")
        page.click("#blackout")
        page.wait_for_function("document.getElementById('blackout').getAttribute('aria-pressed') === 'true'")
        wait_for(lambda: page.evaluate(lit) < 1, 5)
        assert b"golden mandala" in get(server, "/status.json")[1]
        page.click("#blackout")
        page.click("#presets button:nth-child(2)")
        wait_for(lambda: b"Outrun" in get(server, "/status.json")[1], 5)
        assert page.locator("#presets button").count() >= 12
        assert errors == []
        browser.close()
