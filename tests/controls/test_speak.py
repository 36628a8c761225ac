"""The page to speak: what comes by POST, what is told to whom; in Chromium with a microphone, and without one."""

import asyncio
import io
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import uvicorn
from conftest import free_port, wait_for
from starlette.applications import Starlette
from starlette.testclient import TestClient

from vjserver.controls.web.access import Guard
from vjserver.controls.web.authority import authority, context_for, leaf_for
from vjserver.controls.web.speak import Gallery, SpeakPage, memo_sound, name_of
from vjserver.types.errors import OutputError, VJError
from vjserver.types.events import Speech, TalkerSound

pytest.importorskip("soxr", reason="soxr is not installed: pip install 'vjserver[speech]'")
CHROMIUM = shutil.which("chromium")
ME, OTHER = "a" * 24, "b" * 24


class Show:
    """Stands for control."""

    def __init__(self):
        self.rows, self.off, self.sound, self.waiting = [], "", [], set()

    def recent(self):
        return self.rows

    def waits(self, number):
        return number in self.waiting

    def why_off(self):
        return self.off

    def privacy(self):
        return "it stays here"

    def say(self, count, talker, text, kind="final"):
        self.rows.append((count, Speech(0, kind, count, text, text.lower(), "en", 0.9, 0, talker)))

    @property
    def heard(self):
        return {
            name: np.frombuffer(b"".join(e.samples for e in self.sound if e.talker == name), np.int16)
            for name in {e.talker for e in self.sound}
        }


@pytest.fixture
def show():
    return Show()


@pytest.fixture
def page(show):
    return SpeakPage(
        show, Gallery(), show.sound.append, lambda: 10**12, "https://h:1/speak?guest=t", "http://h/trust", b"PEM"
    )


@pytest.fixture
def web(page):
    return TestClient(Starlette(routes=page.routes()))


def tone(seconds, rate):
    t = np.arange(round(seconds * rate)) / rate
    return np.sin(2 * np.pi * 440.0 * t).astype(np.float32) * 0.5


def pcm(sound):
    return (sound * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000, 96000])
def test_sound_of_any_rate_arrives_at_16_khz(web, show, rate):
    sound = tone(1.0, rate)
    quarter = rate // 4
    for i in range(4):
        answer = web.post(
            f"/speak/sound?talker={ME}&rate={rate}&ends={int(i == 3)}",
            content=pcm(sound[i * quarter : (i + 1) * quarter]),
        )
        assert answer.status_code == 200
    heard = show.heard[name_of(ME)]
    assert abs(len(heard) - 16000) < 40
    assert np.argmax(np.abs(np.fft.rfft(heard[4000:12000]))) * 2 == 440
    assert [event.ends for event in show.sound] == [False] * (len(show.sound) - 1) + [True]
    assert all(len(event.samples) <= 8000 for event in show.sound)


def test_each_is_told_his_own_words_and_nobody_else_s(web, show):
    show.say(1, name_of(ME), "A red cat")
    show.say(2, name_of(OTHER), "A blue dog")
    show.say(3, "", "The stage")
    mine = web.get(f"/speak/news?talker={ME}&since=0").json()
    assert [row["text"] for row in mine["rows"]] == ["A red cat"]
    assert mine["privacy"] == "it stays here"
    assert web.get(f"/speak/news?talker={ME}&since=1").json()["rows"] == []
    assert web.get(f"/speak/news?talker={'c' * 24}").json()["rows"] == []
    show.waiting.add(1)
    assert web.get(f"/speak/news?talker={ME}").json()["rows"][0]["waits"] is True


@pytest.mark.parametrize("talker", ["", "x" * 24, "a" * 8, "guest 1", "../../etc", "a" * 65])
def test_who_has_no_secret_is_told_so(web, talker):
    for path in (
        f"/speak/news?talker={talker}",
        f"/speak/sound?talker={talker}&rate=16000",
        f"/speak/memo?talker={talker}",
    ):
        answer = web.get(path) if "news" in path else web.post(path, content=b"")
        assert answer.status_code == 400
        assert "hexadecimal" in answer.json()["error"]


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("rate=16000", b"odd"),
        ("rate=12", b"1234"),
        ("rate=x", b"1234"),
        ("rate=1000000", b""),
        ("rate=16000", b"\0" * 300_000),
    ],
)
def test_a_piece_that_makes_no_sense_is_refused_in_a_sentence(web, show, query, body):
    answer = web.post(f"/speak/sound?talker={ME}&{query}", content=body)
    assert answer.status_code == 400
    assert "a piece is 16-bit samples" in answer.json()["error"]
    assert show.sound == []


def test_while_nobody_listens_that_is_said_and_what_was_begun_ends(web, show):
    web.post(f"/speak/sound?talker={ME}&rate=16000", content=pcm(tone(0.5, 16000)))
    show.off = "nobody listens yet: the VJ switches speech on"
    answer = web.post(f"/speak/sound?talker={ME}&rate=16000", content=pcm(tone(0.5, 16000)))
    assert (answer.status_code, answer.json()["error"]) == (409, show.off)
    assert show.sound[-1].ends
    assert web.get(f"/speak/news?talker={ME}").json()["off"] == show.off


def test_who_holds_for_ever_is_kept_for_28_seconds(web, show):
    for _ in range(70):
        web.post(f"/speak/sound?talker={ME}&rate=16000", content=pcm(tone(0.5, 16000)))
    web.post(f"/speak/sound?talker={ME}&rate=16000&ends=1", content=b"")
    assert len(show.heard[name_of(ME)]) == 28 * 16000
    assert show.sound[-1].ends
    web.post(f"/speak/sound?talker={ME}&rate=16000&ends=1", content=pcm(tone(0.5, 16000)))
    assert len(show.heard[name_of(ME)]) == 28 * 16000 + 8000  # the next one is heard whole


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_memo_of_each_kind_is_sound(kind):
    file = io.BytesIO()
    soundfile.write(file, tone(2.0, 44100), 44100, format=kind)
    sound = memo_sound(file.getvalue())
    assert abs(len(sound) - 32000) < 2500
    assert 0.3 < np.abs(sound[8000:24000]).max() < 0.6


def test_a_memo_of_a_phone_is_sound_too(tmp_path):
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path = tmp_path / "memo.m4a"
    with av.open(str(path), "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(2.0, 48000)[None], format="fltp", layout="mono")
        frame.sample_rate = 48000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    assert abs(len(memo_sound(path.read_bytes())) - 32000) < 2500


@pytest.mark.parametrize("data", [b"", b"hello", b"RIFF" + b"\0" * 100, b"#EXTM3U\nfile:///etc/passwd\n", b"v=0\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
                                  b"ffconcat version 1.0\nfile /etc/passwd\n", b"\x00\x00\x00\x20ftypM4A " + b"x" * 200, b"OggS" + b"\1" * 300])  # fmt: skip
def test_what_is_no_memo_is_refused_at_once(data):
    began_s = time.monotonic()
    with pytest.raises(VJError):
        memo_sound(data)
    assert time.monotonic() - began_s < 5.0  # nothing waits for a network


def test_a_memo_is_handed_on_as_said_before_now(web, show):
    file = io.BytesIO()
    soundfile.write(file, tone(3.0, 16000), 16000, format="WAV")
    assert web.post(f"/speak/memo?talker={ME}", content=file.getvalue()).status_code == 200
    times = [event.t_ns for event in show.sound]
    assert times == sorted(times)
    assert times[-1] == 10**12
    assert times[0] == 10**12 - 3 * 10**9 + 10**9 // 4
    assert web.post(f"/speak/memo?talker={ME}", content=b"no sound").status_code == 415
    assert web.post(f"/speak/memo?talker={ME}", content=b"\0" * (9 << 20)).status_code == 413


def test_many_pages_are_too_many_and_looking_takes_no_place(web):
    for i in range(70):
        assert web.get(f"/speak/news?talker={i:024x}").status_code == 200
    codes = [web.post(f"/speak/sound?talker={i:024x}&rate=16000", content=b"").status_code for i in range(70)]
    assert codes == [200] * 64 + [503] * 6


def test_the_gallery_counts_on_and_finds_what_it_keeps():
    gallery = Gallery(7)
    gallery.add("a cat", b"jpeg")
    gallery.add("a fox", b"other")
    assert [(number, said) for number, said, _ in gallery.pictures] == [(8, "a cat"), (9, "a fox")]
    assert gallery.find(8) == b"jpeg"
    assert gallery.find(1) is None


def test_the_page_trusts_nothing_from_elsewhere_and_names_its_addresses(web):
    answer = web.get("/speak")
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert web.get("/speak/secure").json() == {"page": "https://h:1/speak?guest=t", "trust": "http://h/trust"}
    assert "guest=" not in web.get("/trust").text  # a page for everybody gives no token away
    assert web.get("/trust/vjserver.crt").content == b"PEM"
    assert web.get("/speak/../server.py").status_code == 404
    assert web.get("/speak/nothing.js").status_code == 404


def test_a_guest_may_speak_and_nothing_else(page):
    app = Guard(Starlette(routes=[*page.routes()]), ["192.0.2.7"], token="whole", guests="guests")

    def ask(path, cookie="", query=""):
        told = {}

        async def go():
            async def send(message):
                told.setdefault("status", message.get("status"))
                told.setdefault("headers", dict(message.get("headers", [])))

            headers = [(b"host", b"192.0.2.7:9020"), *([(b"cookie", cookie.encode())] if cookie else [])]
            scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode(), "headers": headers,
                     "server": ("192.0.2.7", 9020), "client": ("192.0.2.9", 5), "scheme": "http", "http_version": "1.1"}  # fmt: skip
            await app(scope, _nothing, send)

        asyncio.run(go())
        return told

    assert ask("/speak")["status"] == 403
    given = ask("/speak", query="guest=guests")
    assert given["status"] == 303
    assert b"vjserver_guest=guests" in given["headers"][b"set-cookie"]
    cookie = "vjserver_guest=guests"
    assert ask("/speak", cookie)["status"] == 200
    assert ask("/speak", "vjserver_guest=wrong")["status"] == 403
    assert ask("/trust")["status"] == 200
    for path in ("/", "/ws", "/status.json", "/vj", "/trusted", "/speaker", "/static/panel.js", "//speak/../"):
        assert ask(path, cookie)["status"] == 403, path
    assert ask("/", cookie, "guest=guests")["status"] == 403


async def _nothing():
    await asyncio.sleep(0)
    return {"type": "http.disconnect"}


def test_the_authority_is_made_once_for_the_user_alone_and_signs_for_a_year(tmp_path):
    pytest.importorskip("trustme", reason="trustme is not installed: pip install 'vjserver[speech]'")
    from cryptography import x509

    first = authority(tmp_path)
    path = tmp_path / "https" / "authority.pem"
    assert path.stat().st_mode & 0o077 == 0
    assert authority(tmp_path) == first
    path.write_bytes(b"damaged")
    assert authority(tmp_path) != first
    names = ["127.0.0.1", "localhost", "vj.local"]
    context_for(first, names)
    leaf = x509.load_pem_x509_certificate(leaf_for(first, names).cert_chain_pems[0].bytes())
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days < 398  # phones take none that lasts longer
    called = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in called} == set(names)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be kept in"):
        authority(tmp_path / "file")


# -- in a browser ------------------------------------------------------------------------------------------


class Serving:
    """The page on a port of this machine."""

    def __init__(self, page):
        self.port = free_port()
        config = uvicorn.Config(
            Starlette(routes=page.routes()), port=self.port, log_level="critical", lifespan="off", log_config=None
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        wait_for(lambda: self.server.started)

    def stop(self):
        self.server.should_exit = self.server.force_exit = True
        self.thread.join()


@pytest.fixture
def served(page):
    one = Serving(page)
    yield one
    one.stop()


@pytest.fixture
def browser(tmp_path):
    """Return a page of a browser whose microphone plays a file: half a second of silence, then a tone."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (make test installs it on Debian and Ubuntu)")
    from playwright.sync_api import sync_playwright

    soundfile.write(tmp_path / "microphone.wav", tone(30.0, 48000), 48000)
    line = ["--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={tmp_path / 'microphone.wav'}"]  # fmt: skip
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=line)
        yield chromium
        chromium.close()


def test_who_holds_the_button_is_heard_and_sees_his_words(browser, served, show):
    made = browser.new_page(bypass_csp=True)  # the page forbids eval, which the test driver uses to wait
    made.goto(f"http://127.0.0.1:{served.port}/speak")
    box = made.locator("#talk").bounding_box()
    made.mouse.move(box["x"] + 20, box["y"] + 20)
    made.mouse.down()
    made.wait_for_selector("#microphone.open")
    wait_for(lambda: len(show.sound) > 3 and made.wait_for_timeout(50) is None)
    name = show.sound[0].talker
    show.rows.append((1, Speech(0, "partial", 1, "a small wooden", "", "en", 0.5, 0, name, "a small")))
    made.wait_for_function("document.querySelector('#words').textContent === 'a small wooden'")
    assert made.locator("#words .late").text_content() == " wooden"
    made.mouse.up()
    made.wait_for_selector("#microphone.closed")
    show.say(2, name, "A small wooden boat.")
    made.wait_for_function("document.querySelector('#words').textContent === 'A small wooden boat.'")
    assert "on the wall with the next bar" in made.locator("#note").text_content()
    wait_for(lambda: show.sound[-1].ends and made.wait_for_timeout(50) is None)
    heard = show.heard[name]
    assert np.argmax(np.abs(np.fft.rfft(heard[-8000:]))) * 2 == pytest.approx(440, abs=4)  # the true rate was told


def test_a_page_that_is_hidden_in_mid_talk_lets_go(browser, served, show):
    made = browser.new_page(bypass_csp=True)  # the page forbids eval, which the test driver uses to wait
    made.goto(f"http://127.0.0.1:{served.port}/speak")
    made.locator("#talk").dispatch_event("pointerdown")
    made.wait_for_selector("#microphone.open")
    made.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true}); document.dispatchEvent(new Event('visibilitychange'))"
    )
    made.wait_for_selector("#microphone.closed")
    assert made.locator("#talk").text_content() == "hold to talk"
    assert "hidden" in made.locator("#note").text_content()
    wait_for(lambda: show.sound and show.sound[-1].ends and made.wait_for_timeout(50) is None)


def test_a_microphone_that_is_refused_is_told_and_nothing_stays_held(browser, served, show):
    made = browser.new_page(bypass_csp=True)  # the page forbids eval, which the test driver uses to wait
    made.add_init_script(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'))"
    )
    made.goto(f"http://127.0.0.1:{served.port}/speak")
    made.locator("#talk").dispatch_event("pointerdown")
    made.wait_for_function("document.querySelector('#note').textContent.includes('the microphone was refused')")
    assert made.locator("#talk").text_content() == "hold to talk"
    assert made.locator("#microphone").text_content() == "microphone closed"


IN_A_ROOM = """
import json, sys
from playwright.sync_api import sync_playwright
http, https, home, out = sys.argv[1:]
with sync_playwright() as play:
    line = ["--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    chromium = play.chromium.launch_persistent_context(home, executable_path=out.split("|")[0], args=line, env={"HOME": home})
    told = {}
    page = chromium.new_page()
    page.goto(http)
    page.wait_for_selector("#memo:not([hidden]) #secure a")
    told["http"] = {"talk": page.locator("#talk").is_visible(), "file": page.locator("#file").is_visible(), "why": page.locator("#memo").inner_text(),
                    "links": [a.get_attribute("href") for a in page.locator("#secure a").all()]}
    page.goto(https)
    page.locator("#talk").dispatch_event("pointerdown")
    page.wait_for_selector("#microphone.open")
    page.wait_for_timeout(1500)
    page.locator("#talk").dispatch_event("pointerup")
    page.wait_for_selector("#microphone.closed")
    page.wait_for_timeout(500)
    told["https"] = page.locator("#note").inner_text()
    print(json.dumps(told))
    chromium.close()
"""
ROOM = """
import asyncio, json, subprocess, sys
from pathlib import Path
import uvicorn
from starlette.applications import Starlette
sys.path.insert(0, sys.argv[1])
from test_speak import IN_A_ROOM, Show, CHROMIUM
from vjserver.controls.web.authority import authority, context_for
from vjserver.controls.web.speak import Gallery, SpeakPage
home = Path(sys.argv[2])
own = authority(home)
(home / "ca.pem").write_bytes(own.certificate)
nss = home / ".pki/nssdb"
nss.mkdir(parents=True)
subprocess.run(["certutil", "-d", f"sql:{nss}", "-N", "--empty-password"], check=True)
subprocess.run(["certutil", "-d", f"sql:{nss}", "-A", "-t", "C,,", "-n", "vjserver", "-i", str(home / "ca.pem")], check=True)
show = Show()
host = "10.99.0.1"
page = SpeakPage(show, Gallery(), show.sound.append, lambda: 1, f"https://{host}:9021/speak", f"http://{host}:9020/trust", own.certificate)
app = Starlette(routes=page.routes())
servers = []
for port, secure in ((9020, None), (9021, context_for(own, [host]))):
    config = uvicorn.Config(app, host=host, port=port, log_level="critical", lifespan="off", log_config=None)
    if secure is not None:
        config.load()
        config.ssl = secure
    servers.append(uvicorn.Server(config))
async def main():
    tasks = [asyncio.create_task(server.serve()) for server in servers]
    line = [sys.executable, "-c", IN_A_ROOM, f"http://{host}:9020/speak", f"https://{host}:9021/speak", str(home), CHROMIUM]
    done = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, timeout=90)
    for server in servers:
        server.should_exit = server.force_exit = True
    await asyncio.gather(*tasks)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    print(json.dumps({**json.loads(done.stdout.splitlines()[-1]), "events": len(show.sound), "ends": bool(show.sound) and show.sound[-1].ends}))
asyncio.run(main())
"""


def test_a_phone_by_http_is_told_why_and_offered_a_memo_and_by_https_it_talks(tmp_path):
    """On an address that is not this machine's own, in a network of its own, with our authority trusted."""
    import json

    if CHROMIUM is None or shutil.which("ip") is None or shutil.which("certutil") is None:
        pytest.skip(
            "chromium, iproute2 or libnss3-tools is not installed (make test installs them on Debian and Ubuntu)"
        )
    room = f"vjroom{os.getpid()}"
    if os.geteuid() != 0 or subprocess.run(["ip", "netns", "add", room], capture_output=True).returncode:
        pytest.skip("a network of its own needs root")
    try:
        for line in (["link", "set", "lo", "up"], ["addr", "add", "10.99.0.1/24", "dev", "lo"]):
            if subprocess.run(["ip", "-n", room, *line], capture_output=True).returncode:
                pytest.skip("this system gives a network of its own no address")
        here = str(Path(__file__).parent)
        paths = os.pathsep.join([here, str(Path(__file__).parents[1])])
        done = subprocess.run(
            ["ip", "netns", "exec", room, sys.executable, "-c", ROOM, here, str(tmp_path)], capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONPATH": paths},
        )  # fmt: skip
    finally:
        subprocess.run(["ip", "netns", "del", room], capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["http"]["talk"] is False
    assert told["http"]["file"] is True
    assert "browsers give no microphone" in told["http"]["why"]
    assert told["http"]["links"] == ["http://10.99.0.1:9020/trust", "https://10.99.0.1:9021/speak"]
    assert told["events"] > 2
    assert told["ends"] is True


def test_events_are_of_the_type_that_the_pipe_takes(show, web):
    web.post(f"/speak/sound?talker={ME}&rate=16000", content=pcm(tone(0.3, 16000)))
    assert all(isinstance(event, TalkerSound) for event in show.sound)
