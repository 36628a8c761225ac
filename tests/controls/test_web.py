"""The page in a real browser against a real server, and the guard at its door."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from functools import partial

import pytest
from conftest import free_port, running, wait_for
from known import REGISTRY, SHIPPED
from websockets.exceptions import InvalidStatus
from websockets.sync import client

from vjserver.controls.osc import decode
from vjserver.runtime.osc import message
from vjserver.runtime.store import pids_of
from vjserver.show.echo import same

CHROMIUM = shutil.which("chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


# a client that is behind does not wait for what it has not read
connect = partial(client.connect, close_timeout=0.1)
SHOW = """
outputs = [{{kind = "sharedmem", stream = "t{web}"}}]
[source]
kind = "click"
[video]
width = 320
height = 180
[osc]
port = {osc}
targets = []
[web]
port = {web}
[record]
folder = "films"
[[cues]]
id = "1"
name = "Doors"
preset = "deep-ocean"
[[cues]]
id = "2"
preset = "lava"
"""


@pytest.fixture(scope="module")
def ports():
    return free_port(), free_port(socket.SOCK_DGRAM)


@contextmanager
def serving(folder, web, osc, *more):
    """Run a server until the block ends, which it must survive; yield the file with what it says."""
    show, said = folder / "show.toml", folder / "said.txt"
    show.write_text(SHOW.format(web=web, osc=osc))
    command = [sys.executable, "-m", "vjserver", "run", str(show), *more]
    env = {**os.environ, "VJSERVER_DATA": str(folder / "data")}
    with said.open("w") as out, running(command, stdout=out, env=env) as process:
        wait_for(lambda: get(web, "/frame.jpg")[1][:2] == b"\xff\xd8", 60)
        yield said
        process.terminate()
        process.wait(3)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory, ports):
    with serving(tmp_path_factory.mktemp("web"), *ports, "--lan", "127.0.0.2") as said:
        Said.text = said.read_text
        yield ports[0]


class Said:
    """What the server printed."""

    text = staticmethod(lambda: "")


def get(port, path, host="127.0.0.1", **headers):
    request = urllib.request.Request(f"http://{host}:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0, b""


def test_the_page_and_its_parts_are_served(server):
    assert b"<title>vjserver</title>" in get(server, "/", Accept="text/html")[1]
    for name in ("panel.css", "panel.js"):
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
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(f"ws://127.0.0.1:{server}/ws", origin="http://evil.example"),
    ):
        pass
    assert caught.value.response.status_code == 403
    with connect(f"ws://127.0.0.1:{server}/ws", origin=f"http://localhost:{server}") as ws:
        assert "presets" in json.loads(ws.recv(timeout=5))["hello"]
        ws.send("not json")
        ws.send('{"address": 5}')
        ws.send('{"address": "/vj/nowhere", "args": [1]}')
        ws.send('["/vj/seed"]')
        ws.send('{"address": "/vj/negative", "args": ["a\\ud800\\u0000b"]}')
        ws.send('{"address": "/vj/\\ud800\\u0000", "args": [1]}')
        ws.send('{"address": "/vj/param/zoom", "args": [' + "9" * 400 + "]}")
        ws.send(json.dumps({"monitor": True}))
        heard = []
        hear(ws, lambda d: heard.extend(d.get("monitor", ())) or (heard and heard[-1][2] == "/vj/param/zoom"))
        assert [row[2:] for row in heard[-3:]] == [
            ["/vj/negative", ["a\\ud800\\x00b"]],
            ["/vj/\\ud800\\x00", [1]],
            ["/vj/param/zoom", ["9" * 200]],
        ]
    wait_for(lambda: asked(server, "/vj/negative?VALUE") == {"VALUE": ["a?b"]})


def _no_json(constant):
    pytest.fail(f"{constant} is not JSON: a browser reads no such text")


def hear(ws, what, seconds=5.0):
    """Return the first JSON text of the panel's socket for which ``what`` returns something true: that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        got = ws.recv(timeout=seconds)
        if isinstance(got, bytes):
            ws.send("drawn")
            continue
        found = what(json.loads(got, parse_constant=_no_json))
        if found:
            return found
    raise AssertionError("not heard")


def test_panels_stay_in_step_and_are_told_what_others_play(server, ports):
    url = f"ws://127.0.0.1:{server}/ws"
    with connect(url, origin=f"http://127.0.0.1:{server}") as a, connect(url) as b:
        assert "/vj/param/zoom" in hear(a, lambda d: d.get("values"))
        hear(b, lambda d: d.get("values"))
        a.send(json.dumps({"address": "/vj/param/zoom", "args": [0.625]}))
        assert hear(b, lambda d: d.get("values", {}).get("/vj/param/zoom")) == 0.625
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(message("/vj/param/bloom", 0.125), ("127.0.0.1", ports[1]))
        for ws in (a, b):
            assert hear(ws, lambda d: d.get("values", {}).get("/vj/param/bloom")) == 0.125
        b.send(json.dumps({"monitor": True}))
        past = [row[1:] for row in hear(b, lambda d: d.get("monitor"))]  # the latest before it was asked for
        assert past[-2:] == [["panel", "/vj/param/zoom", [0.625]], ["osc", "/vj/param/bloom", [0.125]]]
        time.sleep(0.6)  # faults are told twice a second at most
        a.send(json.dumps({"address": "/vj/param/zoom", "args": ["wrong"]}))
        rows, notes = [], []

        def both(data):
            rows.extend(data.get("monitor", ()))
            notes.extend(n for n in data.get("live", {}).get("notes", ()) if "'wrong'" in n[3])
            return rows and notes

        hear(b, both)
        assert [row[1:] for row in rows] == [["panel", "/vj/param/zoom", ["wrong"]]]
        assert "takes a number" in notes[-1][3]


def test_no_text_ends_a_panel(tmp_path):
    rng = random.Random(7)
    strange = [
        *(None, True, -1, 0.5, 1e308, 10**18, -(10**30), [], [[]], {"a": 1}),
        *("", "?", "a", "\ud800", "\0", "x" * 9000),
    ]
    texts = [
        "NaN",
        "Infinity",
        "-Infinity",
        "9" * 5000,
        "",
        "null",
        '"vj"',
        '{"monitor": 3}',
        "[" * 5000,
        '{"a":' * 900,
    ]
    targets = [a for a in REGISTRY if a not in ("/vj/output/add", "/vj/record")]
    addresses = [*targets, *strange, "/vj/param/*", "/vj/prompt/[1-8]/text", "/vj/{seed,param/*", "/vj/" + "*" * 200]
    port = free_port()
    with serving(tmp_path, port, free_port(socket.SOCK_DGRAM)) as said, connect(f"ws://127.0.0.1:{port}/ws") as ws:
        ws.send(json.dumps({"monitor": True}))
        for _ in range(3000):
            given = [rng.choice(strange) for _ in range(rng.randrange(4))]
            args = given if rng.random() < 0.9 else rng.choice(strange)
            text = json.dumps({"address": rng.choice(addresses), "args": args})
            if rng.random() < 0.3:
                text = text.replace("0.5", rng.choice(texts[:4]), 1)
            ws.send(rng.choice(texts) if rng.random() < 0.05 else text)
        for address, args in (("/vj/quantise", ["none"]), ("/vj/quantise/clear", []), ("/vj/take/stop", [])):
            ws.send(json.dumps({"address": address, "args": args}))  # what still waits shall not come after the end

        def ended():
            """Say it until it stays: what was sent before may still do something a moment later."""
            ws.send(json.dumps({"address": "/vj/negative", "args": ["the end"]}))
            hear(ws, lambda d: "the end" in str(d.get("monitor")), 30)
            return value(port, "/vj/negative") == "the end"

        wait_for(ended, 30)
    assert "process" not in said.read_text()  # none fell


def test_from_another_machine_a_token_is_needed(server):
    said = Said.text()
    token = re.search(rf"http://127\.0\.0\.2:{server}/\?token=(\S+)", said)[1]
    assert len(token) >= 16
    assert said.count("█") + said.count("▀") + said.count("▄") > 100  # its QR code
    for path in ("/", "/vj", "/static/panel.js", "/status.json", "/?token=wrong", f"/?token={token[:-1]}"):
        assert get(server, path, "127.0.0.2")[0] == 403
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with opener.open(f"http://127.0.0.2:{server}/status.json?token={token}", timeout=5) as answer:
        assert answer.url.endswith("/status.json")  # the token is in a cookie now, not in the address
        assert b'"bpm"' in answer.read()
    with pytest.raises(InvalidStatus) as caught, connect(f"ws://127.0.0.2:{server}/ws"):
        pass
    assert caught.value.response.status_code == 403
    with (
        pytest.raises(InvalidStatus),
        connect(f"ws://127.0.0.2:{server}/ws?token={token}", origin="http://evil.example"),
    ):
        pass
    with connect(f"ws://127.0.0.2:{server}/ws?token={token}") as ws:
        assert "hello" in ws.recv(timeout=5)


# -- OSCQuery ------------------------------------------------------------------------------------------------


def asked(port, path):
    status, body = get(port, path)
    return json.loads(body) if status == 200 else status


def test_oscquery_tells_the_host_and_the_tree(server, ports):
    info = asked(server, "/?HOST_INFO")
    assert (info["OSC_PORT"], info["OSC_TRANSPORT"]) == (ports[1], "UDP")
    assert {"LISTEN", "VALUE", "RANGE", "CLIPMODE"} <= set(info["EXTENSIONS"])
    root = asked(server, "/")
    assert root["FULL_PATH"] == "/"
    found = []

    def walk(row):
        if "TYPE" in row:
            found.append(row["FULL_PATH"])
        for inner in row.get("CONTENTS", {}).values():
            walk(inner)

    walk(root)
    assert set(REGISTRY) - {"/vj/cue/{id}/go"} <= set(found)
    zoom = asked(server, "/vj/param/zoom")
    assert (zoom["ACCESS"], zoom["TYPE"], zoom["RANGE"], zoom["CLIPMODE"]) == (3, "f", [{"MIN": 0, "MAX": 1}], ["both"])
    assert asked(server, "/vj/quantise?RANGE") == {"RANGE": [{"VALS": ["none", "beat", "bar", "2bar", "4bar"]}]}
    assert asked(server, "/vj/master/panic?CRITICAL") == {"CRITICAL": True}
    assert asked(server, "/vj/tempo/tap")["TYPE"] == "I"
    old, new = asked(server, "/vj/param/guidance"), asked(server, "/vj/param/diffusion/guidance")
    assert "alias" in old["TAGS"]
    assert "alias" not in new["TAGS"]
    assert old["VALUE"] == new["VALUE"]
    assert asked(server, "/vj/bpm")["ACCESS"] == 1
    assert (asked(server, "/vj/nowhere"), asked(server, "/vj/seed?COLOUR")) == (404, 400)
    assert get(server, "/vj/seed/next?VALUE")[0] == 204


def test_oscquery_listens_and_sends(server, ports):
    with connect(f"ws://127.0.0.1:{server}/") as ws:
        ws.send(json.dumps({"COMMAND": "LISTEN", "DATA": "/vj/param/warp"}))
        ws.send("nonsense")
        ws.send(b"nonsense")
        time.sleep(0.2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for i, name in ((1, "bloom"), (3, "warp")):
                sock.sendto(message(f"/vj/param/{name}", i / 8), ("127.0.0.1", ports[1]))
        told = [decode(ws.recv(timeout=5))[0]]
        while told[-1].args != (0.375,):
            told.append(decode(ws.recv(timeout=5))[0])
        assert {m.address for m in told} == {"/vj/param/warp"}
        ws.send(message("/vj/param/detail", 0.875))
        wait_for(lambda: asked(server, "/vj/param/detail?VALUE") == {"VALUE": [0.875]})
        ws.send(json.dumps({"COMMAND": "IGNORE", "DATA": "/vj/param/warp"}))


def test_every_parameter_round_trips_through_osc_oscquery_and_websocket(server, ports):
    """Set over OSC, read over OSCQuery, heard at the panel; then the other way."""
    skipped = {"/vj/tempo/source", "/vj/tempo/link", "/vj/take/record", "/vj/record"}  # they open doors
    addresses = [
        a for a, e in SHIPPED.entries.items() if e.kind == "parameter" and a not in skipped and not a.endswith("/raw")
    ]
    wrong = []
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
        connect(f"ws://127.0.0.1:{server}/ws", max_size=None) as ws,
        connect(f"ws://127.0.0.1:{server}/ws", max_size=None) as other,
    ):
        hear(ws, lambda d: d.get("values"))
        before = {a: asked(server, f"{a}?VALUE")["VALUE"][0] for a in addresses}
        for address in addresses:
            argument, entry = REGISTRY[address].arguments[0], REGISTRY[address]
            if argument.type == "text":
                value = (
                    entry.choices[-1]
                    if entry.choices
                    else {
                        "/vj/size": "640x360",
                        "/vj/preset/bank": "vjserver",
                        "/vj/sound/channels": "3+4",
                        "/vj/speech/language": "de",
                    }.get(address, "round trip")
                )
                value = {"/vj/generator": "pattern", "/vj/input": "", "/vj/model": ""}.get(address, value)
            else:
                value = {"bool": 1, "int": 7}.get(argument.type, argument.low + 0.375 * (argument.high - argument.low))
            sock.sendto(message(address, value), ("127.0.0.1", ports[1]))
            if before[address] != value:
                heard = hear(ws, lambda d, a=address: [d["values"][a]] if a in d.get("values", {}) else None)
                if not same(float(heard[0]) if argument.type == "bool" else heard[0], value):
                    wrong.append((address, value, heard))
            if not same(found := asked(server, f"{address}?VALUE")["VALUE"][0], value):
                wrong.append((address, value, found))
        other.send(json.dumps({"address": "/vj/quantise", "args": ["none"]}))
        back = [a for a in addresses if not a.startswith(("/vj/macro", "/vj/quantise"))]  # a macro moves others
        for address in back:

            def is_back(a=address):
                """Say it until it is so: the preset's own triggers may move a knob just after it was told."""
                other.send(json.dumps({"address": a, "args": [before[a]]}))
                time.sleep(0.02)
                return same(asked(server, f"{a}?VALUE")["VALUE"][0], before[a])

            wait_for(is_back, 5)
    assert wrong == []
    assert len(addresses) > 75


def test_oscquery_is_found_by_zeroconf(server, ports):
    from zeroconf import ServiceBrowser, ServiceListener, Zeroconf

    found = {}

    class Keeper(ServiceListener):
        def add_service(self, zc, kind, name):
            info = zc.get_service_info(kind, name)
            if info is not None:
                found[kind, info.port] = info.parsed_addresses()

        def update_service(self, zc, kind, name):
            pass

        remove_service = update_service

    zc = Zeroconf(interfaces=["127.0.0.1"])
    try:
        browsers = [ServiceBrowser(zc, kind, Keeper()) for kind in ("_oscjson._tcp.local.", "_osc._udp.local.")]
        wait_for(lambda: ("_oscjson._tcp.local.", server) in found and ("_osc._udp.local.", ports[1]) in found, 10)
        assert len(browsers) == 2
    finally:
        zc.close()
    assert found["_oscjson._tcp.local.", server] == ["127.0.0.2"]  # --lan's: on a network nobody finds us at 127.0.0.1
    status, info = get(server, "/?HOST_INFO", Host=f"vjserver-{server}.local:{server}")  # as who asks by the name does
    assert (status, json.loads(info)["NAME"]) == (200, "vjserver")


# -- the panel in a browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (make test installs it on Debian and Ubuntu)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, server):
    # the panel forbids eval, which the test driver uses to wait
    made = browser.new_page(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    errors = []
    made.on("pageerror", lambda e: errors.append(str(e)))
    made.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    made.goto(f"http://127.0.0.1:{server}/")
    made.wait_for_function("Number(document.querySelector('.picture canvas').dataset.frames) > 5", timeout=20_000)
    yield made
    assert errors == []
    made.close()


LIT = """() => {
    const p = document.querySelector('.picture canvas');
    const d = p.getContext('2d').getImageData(0, 0, p.width, p.height).data;
    return d.reduce((sum, v, i) => sum + (i % 4 < 3 ? v : 0), 0) / (d.length * 0.75);
}"""


def value(server, address):
    return asked(server, f"{address}?VALUE")["VALUE"][0]


def test_a_browser_sees_pictures_and_beats_and_plays(page, server):
    page.wait_for_function(
        "Math.abs(Number(document.querySelector('.beat output').textContent) - 120) < 3", timeout=20_000
    )
    assert page.evaluate(LIT) > 4
    page.get_by_label("prompt 1", exact=True).fill("golden mandala")
    page.get_by_label("prompt 1", exact=True).press("Enter")
    page.get_by_label("BLACKOUT").click()
    wait_for(lambda: page.evaluate(LIT) < 1, 5)
    page.wait_for_selector("[aria-label=BLACKOUT][aria-pressed=true]")
    assert value(server, "/vj/prompt/1/text") == "golden mandala"
    page.keyboard.press("b")
    wait_for(lambda: page.evaluate(LIT) > 4, 5)
    page.get_by_label("preset 2: Outrun").click()
    page.wait_for_selector(".tile.playing >> text=Outrun")
    assert page.locator(".tile img").count() >= 16
    page.keyboard.press("3")
    page.wait_for_selector(".tile.playing >> text=Deep Ocean")
    page.get_by_label("morph over 2 bars of four").click()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".overlay .morph")
    page.get_by_label("no morph").click()


def test_faders_prompts_queue_snapshots_and_cues_play(page, server):
    page.get_by_label("FADE").fill("0.4")
    wait_for(lambda: value(server, "/vj/master/fade") == 0.4)
    page.get_by_label("FADE").fill("1")
    page.get_by_label("Motion").fill("0.9")
    wait_for(lambda: same(value(server, "/vj/param/speed"), 0.63))
    page.get_by_label("prompt for the queue").fill("a forest at night")
    page.get_by_label("prompt for the queue").press("Enter")
    page.get_by_label("next prompt of the queue").click()
    wait_for(lambda: value(server, "/vj/prompt/1/text") == "a forest at night")
    page.get_by_label("store into the snapshot that is pressed next").click()
    page.get_by_label("store snapshot 5").click()
    page.get_by_label("preset 1: Neon Tunnel").click()
    page.wait_for_selector(".tile.playing >> text=Neon Tunnel")
    page.get_by_label("recall snapshot 5").click()
    wait_for(lambda: value(server, "/vj/prompt/1/text") == "a forest at night")
    page.get_by_label("the next cue").or_(page.get_by_label("GO", exact=True)).click()
    page.wait_for_selector(".cues .called >> text=Doors")
    page.get_by_label("undo").or_(page.get_by_label("UNDO", exact=True)).click()
    wait_for(lambda: value(server, "/vj/prompt/1/text") == "a forest at night")


def test_panic_has_to_be_held(page, server):
    box = page.get_by_label("PANIC").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    time.sleep(0.3)
    page.mouse.up()
    time.sleep(0.8)
    assert value(server, "/vj/master/safe") is False
    page.mouse.down()
    wait_for(lambda: value(server, "/vj/master/safe") is True, 3)
    page.mouse.up()
    page.get_by_label("SAFE").click()
    wait_for(lambda: value(server, "/vj/master/safe") is False)


def test_every_setting_can_be_found_and_messages_are_seen(page, server, ports):
    page.keyboard.press(",")
    page.get_by_label("search the settings").fill("kaleidoscope")
    page.get_by_label("param/symmetry").fill("0.5")
    wait_for(lambda: value(server, "/vj/param/symmetry") == 0.5)
    page.get_by_label("search the settings").fill("")
    wait_for(lambda: page.locator(".setting").count() > 120)
    page.keyboard.press("Escape")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(message("/vj/param/zoom", 0.5), ("127.0.0.1", ports[1]))  # before the drawer is open
        wait_for(lambda: value(server, "/vj/param/zoom") == 0.5)
        page.get_by_role("button", name="monitor").click()
        sock.sendto(message("/vj/nowhere", 0.5), ("127.0.0.1", ports[1]))
    page.wait_for_selector(".heard >> text=vj/param/zoom")
    page.wait_for_selector("footer .said.message >> text=unknown address")
    page.keyboard.press("Escape")


def test_every_control_has_a_name_and_the_desk_fits_one_screen(page):
    nameless = page.evaluate("""() => [...document.querySelectorAll('button, input, select')]
        .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim())).map((e) => e.outerHTML)""")
    assert nameless == []
    assert page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]") == [1280, 800]
    for label in ("BLACKOUT", "FREEZE", "PANIC: hold for a second"):
        for drawer in (",", "h"):
            page.keyboard.press(drawer)
            box = page.get_by_label(label, exact=True).bounding_box()
            hit = page.evaluate(
                "([x, y]) => document.elementFromPoint(x, y).closest('button')?.ariaLabel", [box["x"] + 9, box["y"] + 9]
            )
            assert hit == label
            page.keyboard.press("Escape")


# What of a master control cannot be hit, on a grid of 5 x 5 points of each.
MISSED = """() => [...document.querySelectorAll('.master [data-address]')].flatMap((control) => {
    const box = control.getBoundingClientRect();
    const at = (i, low, size) => low + (i + .5) * size / 5;
    return [...Array(25).keys()]
        .map((i) => [at(i % 5, box.left, box.width), at(Math.floor(i / 5), box.top, box.height)])
        .filter(([x, y]) => document.elementFromPoint(x, y)?.closest('.master [data-address]') !== control)
        .map(([x, y]) => [control.dataset.address, Math.round(x), Math.round(y)]);
})"""
# What of all controls lies under something else where it is scrolled to.
COVERED = """() => [...document.querySelectorAll('main button, main input, main select')].filter((control) => {
    control.scrollIntoView({ block: 'center' });
    const box = control.getBoundingClientRect(), whole = control.closest('label') ?? control;
    return !whole.contains(document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2));
}).map((control) => control.outerHTML.slice(0, 120))"""
SCROLLED = "() => { document.querySelector('main').scrollTo(0, 9999); window.scrollTo(0, 9999); }"


@pytest.mark.parametrize(
    ("width", "height"),
    [(1280, 800), (1180, 820), (1024, 768), (1112, 834), (768, 1024), (844, 390), (390, 844), (1280, 600)],
)
def test_on_every_screen_the_master_can_be_reached_and_nothing_overlaps(browser, server, width, height):
    one = browser.new_page(viewport={"width": width, "height": height}, bypass_csp=True)
    one.goto(f"http://127.0.0.1:{server}/")
    one.wait_for_selector(".tile")
    one.wait_for_selector(".cues")
    assert one.evaluate("document.documentElement.scrollWidth") <= width
    assert one.evaluate(MISSED) == []
    one.evaluate(SCROLLED)
    assert one.evaluate(MISSED) == []
    assert one.evaluate(COVERED) == []
    one.get_by_label("LISTEN", exact=True).click()
    one.wait_for_selector(".speech .microphone")
    assert one.evaluate(MISSED) == []
    assert one.evaluate(COVERED) == []
    one.get_by_label("LISTEN", exact=True).click()
    one.wait_for_selector(".speech .microphone", state="detached")
    one.close()


@pytest.mark.parametrize(
    ("width", "height", "query", "phone"),
    [(390, 844, "", True), (844, 390, "", True), (1280, 800, "", False), (390, 844, "?view=desk", False),
     (1280, 800, "?view=phone", True)],
)  # fmt: skip
def test_a_phone_gets_its_page_by_itself(browser, server, width, height, query, phone):
    one = browser.new_page(viewport={"width": width, "height": height}, bypass_csp=True)
    one.goto(f"http://127.0.0.1:{server}/{query}")
    one.wait_for_selector(".tile")
    assert one.locator(".panel.phone").count() == phone
    one.close()


def test_after_a_click_the_keyboard_is_the_panels_again(page, server):
    page.get_by_label("BLACKOUT").click()
    wait_for(lambda: value(server, "/vj/master/blackout") is True)
    page.keyboard.press("Space")
    page.wait_for_selector(".cues .called")
    time.sleep(0.3)
    assert value(server, "/vj/master/blackout") is True, "the space bar is the next cue, and not BLACKOUT once more"
    assert page.locator(".overlay .level").text_content() == "blackout"
    for key, address, now in (("b", "blackout", False), ("f", "freeze", True), ("f", "freeze", False)):
        page.get_by_label("who keeps the beat").focus()
        page.keyboard.press(key)
        wait_for(lambda address=address, now=now: value(server, f"/vj/master/{address}") is now)
    page.get_by_label("who keeps the beat").select_option("tap")
    assert page.evaluate("document.activeElement === document.body")
    page.get_by_label("who keeps the beat").select_option("auto")
    page.get_by_label("BLACKOUT").focus()
    page.keyboard.press("Space")
    wait_for(lambda: value(server, "/vj/master/blackout") is True)  # by the keyboard alone it is pressed as ever
    page.keyboard.press("Space")
    wait_for(lambda: value(server, "/vj/master/blackout") is False)


def test_a_click_beside_fades_knob_moves_nothing_and_two_clicks_put_faders_back(page, server):
    fade = page.get_by_label("FADE").bounding_box()
    middle = fade["y"] + fade["height"] / 2
    page.mouse.click(fade["x"] + 2, middle)
    time.sleep(0.3)
    assert value(server, "/vj/master/fade") == 1.0
    page.mouse.move(fade["x"] + fade["width"] - 10, middle)
    page.mouse.down()
    page.mouse.move(fade["x"] + fade["width"] / 2 - 10, middle, steps=8)
    page.mouse.up()
    wait_for(lambda: 0.4 < value(server, "/vj/master/fade") < 0.6)
    page.mouse.dblclick(fade["x"] + fade["width"] / 2, middle)
    wait_for(lambda: value(server, "/vj/master/fade") == 1.0)
    page.get_by_label("preset 1: Neon Tunnel").click()
    page.wait_for_selector(".tile.playing >> text=Neon Tunnel")
    for label, address in (("weight of prompt 2", "/vj/prompt/2/weight"), ("Motion", "/vj/macro/1")):
        home = value(server, address)
        for place in ({"x": 5, "y": 8}, {"x": 20, "y": 20}):
            page.get_by_label(label).dblclick(position=place)
            wait_for(lambda address=address, home=home: value(server, address) == pytest.approx(home, abs=1e-6))
            time.sleep(0.1)
            assert value(server, address) == pytest.approx(home, abs=1e-6), "no late message of the first click"


def test_recording_is_seen(page, ports):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for on in (1, 0):
            sock.sendto(message("/vj/record", on), ("127.0.0.1", ports[1]))
            page.wait_for_selector(".rec", state="visible" if on else "detached")


def test_drums_can_be_read_while_they_sound(page):
    """WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    contrast = page.evaluate("""() => {
        const light = (colour) => {
            const pen = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d');
            pen.fillStyle = colour;
            pen.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...pen.getImageData(0, 0, 1, 1).data].map((v) => v / 255)
                .map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
            return .2126 * r + .7152 * g + .0722 * b;
        };
        return [0, .5, 1].map((hit) => {
            const drum = document.querySelector('.drums span');
            drum.style.setProperty('--hit', hit);
            const style = getComputedStyle(drum), ground = style.backgroundImage.match(/(color|rgb)\\([^)]*\\)/g);
            const [a, b] = [light(style.color), light(ground.at(-1))].sort();
            return (b + .05) / (a + .05);
        });
    }""")
    assert min(contrast) > 4.5


def test_a_press_that_lay_about_is_not_taken(server):
    with connect(f"ws://127.0.0.1:{server}/ws", max_size=None) as ws:
        now_ms = hear(ws, lambda data: data.get("live"))["t_ms"]
        ws.send(json.dumps({"address": "/vj/master/blackout", "args": [1], "at": now_ms - 1500.0}))
        assert hear(ws, lambda data: data.get("late")) == "/vj/master/blackout"
        assert value(server, "/vj/master/blackout") is False
        for args, stamp in (([1], {"at": now_ms}), ([0], {})):
            ws.send(json.dumps({"address": "/vj/master/blackout", "args": args, "tell": True, **stamp}))
            hear(ws, lambda data, on=bool(args[0]): data.get("values", {}).get("/vj/master/blackout") in (on, int(on)))


def test_a_server_that_hangs_is_seen_and_nothing_pressed_meanwhile_comes_later(browser, tmp_path):
    web, osc = free_port(), free_port(socket.SOCK_DGRAM)
    show = tmp_path / "show.toml"
    show.write_text(SHOW.format(web=web, osc=osc))
    command = [sys.executable, "-m", "vjserver", "run", str(show)]
    env = {**os.environ, "VJSERVER_DATA": str(tmp_path / "data")}
    one = browser.new_page(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    with running(command, stdout=subprocess.DEVNULL, env=env) as process:
        wait_for(lambda: get(web, "/frame.jpg")[1][:2] == b"\xff\xd8", 60)
        one.goto(f"http://127.0.0.1:{web}/")
        one.wait_for_selector(".link.live")
        control = pids_of(process.pid)["control"]
        os.kill(control, signal.SIGSTOP)
        try:
            one.wait_for_selector(".link.silent", timeout=5_000)
            assert one.evaluate(
                "getComputedStyle(document.querySelector('.doors .well'), '::before').backgroundColor"
            ) == ("rgb(74, 72, 88)")
            one.get_by_label("BLACKOUT").click()
            one.keyboard.press("f")
            assert one.locator("[aria-pressed=true].switch").count() == 0, "lit is what the server has taken"
            one.wait_for_selector("footer .said >> text=the server does not answer")
        finally:
            with suppress(ProcessLookupError):  # the supervisor may have been first
                os.kill(control, signal.SIGCONT)
        one.wait_for_selector(".link.live", timeout=30_000)
        for name in ("blackout", "freeze"):
            assert value(web, f"/vj/master/{name}") is False
        process.terminate()
        process.wait(5)
    one.close()


def test_a_lost_connection_is_told_and_taken_up_again(browser, tmp_path):
    web, osc = free_port(), free_port(socket.SOCK_DGRAM)
    show = tmp_path / "show.toml"
    show.write_text(SHOW.format(web=web, osc=osc))
    command = [sys.executable, "-m", "vjserver", "run", str(show)]
    env = {**os.environ, "VJSERVER_DATA": str(tmp_path / "data")}
    one = browser.new_page(bypass_csp=True)
    with running(command, stdout=subprocess.DEVNULL, env=env) as process:
        wait_for(lambda: get(web, "/frame.jpg")[1][:2] == b"\xff\xd8", 60)
        one.goto(f"http://127.0.0.1:{web}/")
        one.wait_for_selector(".link.live")
        process.terminate()
        process.wait(5)
        one.wait_for_selector(".link.lost")
    with running(command, stdout=subprocess.DEVNULL, env=env) as process:
        one.wait_for_selector(".link.live", timeout=60_000)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(message("/vj/master/fade", 0.25), ("127.0.0.1", osc))
        one.wait_for_function("document.querySelector('[aria-label=FADE]').value === '0.25'")
        process.terminate()
        process.wait(5)
    one.close()
