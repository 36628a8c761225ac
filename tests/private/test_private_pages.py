"""The private pages, for real: locked, in a browser with a microphone, beside a show that learns nothing of them."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from http.cookies import SimpleCookie

import numpy as np
import pytest
import soundfile
from conftest import free_port, need_speech, running, wait_for

from vjserver.keeping.dreams import Dreams
from vjserver.keeping.notebook import Notebook
from vjserver.keeping.recordings import RATE_HZ
from vjserver.runtime.osc import message

CHROMIUM = shutil.which("chromium")
NAME = "0123456789abcdef"


def said_by(*command, **options):
    """Run a command; return what it says."""
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


class Alone:
    """The pages of one person, in a process of its own; asks as the browser does that has the key."""

    def __init__(self, home):
        self.home, self.port = home, free_port()
        self.env = {**os.environ, "VJSERVER_DATA": str(home / "data")}
        self.line = [sys.executable, "-m", "vjserver", "dream", "open", "--port", str(self.port)]
        self.cookie = ""

    def begin(self, told):
        self.key = re.search(r"key=(\S+)", told)[1]
        request = urllib.request.Request(f"{self.url}/dreams?key={self.key}")
        with urllib.request.build_opener(Still).open(request, timeout=20) as answer:
            found = SimpleCookie(answer.headers["Set-Cookie"])
        self.cookie = "; ".join(f"{name}={one.value}" for name, one in found.items())
        return self

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path, body=None, **headers):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = {"Cookie": self.cookie, **{name.replace("_", "-"): value for name, value in headers.items()}}
        request = urllib.request.Request(f"{self.url}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                data = answer.read()
                return json.loads(data) if answer.headers["Content-Type"] == "application/json" else data
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


class Still(urllib.request.HTTPRedirectHandler):
    """Follows nowhere."""

    def http_error_303(self, _request, answer, *_rest):
        return answer


@pytest.fixture
def alone(tmp_path):
    one = Alone(tmp_path)
    with running(one.line, env=one.env, stdout=subprocess.PIPE, text=True) as one.process:
        yield one.begin(one.process.stdout.readline())


def test_only_who_has_the_key_comes_in(alone):
    assert b"<title>vjserver: dreams" in alone.ask("/dreams")
    for path in ("/dreams", "/dreams/list", "/words/list", "/files/common.js", "/"):
        assert alone.ask(path, Cookie="")[0] == 403
        assert alone.ask(path, Cookie=f"vjserver_private_{alone.port}=wrong")[0] == 403
        assert alone.ask(f"{path}?key=wrong", Cookie="")[0] == 403
    assert alone.ask("/dreams/list", Host="evil.example")[0] == 403
    assert alone.ask("/dreams/write", {"text": "x"}, Origin="http://evil.example")[0] == 403
    assert alone.ask("/dreams/list")["dreams"] == []
    for name in ("..%2Fdreams.sqlite", "dreams.sqlite", "private.css", "0123456789abcdef.jpg"):
        assert alone.ask(f"/dreams/media/{name}")[0] == 404
    assert alone.ask("/files/..%2Fdreams.py")[0] == 404
    with socket.socket() as other:  # nobody listens at another address of this machine
        other.settimeout(2)
        assert other.connect_ex((socket.gethostbyname(socket.gethostname()), alone.port)) != 0 or (
            socket.gethostbyname(socket.gethostname()).startswith("127.")
        )


def test_what_is_sent_in_pieces_is_taken_once_and_outlives_its_page_and_its_server(alone):
    piece = (np.sin(np.arange(RATE_HZ) * 0.1) * 8000).astype("<i2").tobytes()

    def send(number, ends=0, name=NAME, rate=16000, body=piece):
        return alone.ask(f"/dreams/sound?name={name}&rate={rate}&piece={number}&ends={ends}", body)

    assert send(0) == {"seconds": 1.0}
    assert send(0) == {}, "its answer was lost: it comes again"
    assert send(2)[0] == 400
    assert send(1) == {"seconds": 2.0}
    for odd in ({"rate": 1}, {"body": b"x"}, {"name": "../x"}, {"number": 7, "name": "f" * 16}):
        assert send(**{"number": 2, **odd})[0] == 400
    made = send(2, ends=1)
    assert (made["hearing"], made["sound_s"], made["text"]) == ("wanted", 3.0, "")
    assert send(0, name="a" * 16) == {"seconds": 1.0}
    alone.process.kill()
    alone.process.wait()
    again = Alone(alone.home)
    with running(again.line, env=again.env, stdout=subprocess.PIPE, text=True) as process:
        again.begin(process.stdout.readline())
        dreams = wait_for(lambda: len(found := again.ask("/dreams/list")["dreams"]) == 2 and found, 20)
        assert sorted(one["sound_s"] for one in dreams) == [1.0, 3.0]
        number = dreams[0]["id"]
        # a tone is no speech: it says so, and the recording stays
        wait_for(lambda: again.ask(f"/dreams/of/{number}")["hearing"] == "failed", 90)
        one = again.ask(f"/dreams/of/{number}")
        assert again.ask(f"/dreams/media/{one['sound']}")[:4] == b"fLaC"
        assert again.ask(f"/dreams/of/{number}/delete", {}) == {}
        assert again.ask(f"/dreams/media/{one['sound']}")[0] == 404


def test_what_is_written_down_meanwhile_is_not_lost_and_bad_orders_are_told(alone):
    first = {"text": "A whale of glass.", "tags": ["Sea", "a/b"], "mood": "calm", "day": "2026-11-20"}
    made = alone.ask("/dreams/write", first)
    assert (made["title"], made["tags"], made["day"]) == ("A whale of glass", ["a/b", "sea"], "2026-11-20")
    other = alone.ask("/dreams/write", {"id": made["id"], "before": made["text"], "text": "A whale of glass. It sang."})
    late = alone.ask("/dreams/write", {"id": made["id"], "before": made["text"], "text": "A whale!"})
    assert late["text"] == "A whale!\n\nIt sang.", "what came since it looked stays behind it"
    assert alone.ask("/dreams/write", {"id": made["id"], "before": other["text"] + "x", "text": "y"})[0] == 400
    for order in (
        {"text": ""}, {"text": "x", "lucidity": 9}, {"text": "x", "day": "2026-99-01"}, {"text": "x", "id": "no"},
        {"text": "x", "tags": [str(i) for i in range(10_000)]}, {"nothing": 1}, [],
    ):  # fmt: skip
        code, told = alone.ask("/dreams/write", order)
        assert (code, "error" in told) == (400, True)
    assert alone.ask("/dreams/list?day=2026-11")["dreams"][0]["id"] == made["id"]
    assert alone.ask("/dreams/list?day=2026-12")["dreams"] == []
    assert alone.ask("/dreams/list?tag=a%2Fb&search=sang")["dreams"] == []
    late = alone.ask("/dreams/write", {**first, "id": made["id"], "before": late["text"], "text": "It sang."})
    assert alone.ask("/dreams/list?tag=a%2Fb&search=sang")["dreams"][0]["id"] == made["id"]
    assert alone.ask("/dreams/about")["days"] == {"2026-11-20": 1}
    assert alone.ask(f"/dreams/of/{made['id']}/draw", {"generator": "nobody"})[0] == 400
    assert alone.ask("/dreams/delete-everything", {"everything": False})[0] == 400
    assert alone.ask("/dreams/delete-everything", {"everything": True}) == {}
    left = b"".join(path.read_bytes() for path in (alone.home / "data").rglob("*") if path.is_file())
    assert b"whale" not in left


def test_words_are_noted_explained_reviewed_and_drawn_on_the_page(alone):
    order = {"learn": "es", "own": "en", "text": "Ayer compré un umbrella porque llovía mucho."}
    (word,) = alone.ask("/words/read", order)["words"]
    assert (word["lemma"], word["count"]) == ("umbrella", 1)
    assert alone.ask("/words/read", {**order, "own": "xx"})[0] == 400
    assert alone.ask("/words/due")["words"] == [], "without a meaning nobody asks for it"
    assert alone.ask("/words/gloss", {"word": word["id"], "gloss": "paraguas"})["gloss"] == "paraguas"
    assert [one["lemma"] for one in alone.ask("/words/due")["words"]] == ["umbrella"]
    graded = alone.ask("/words/review", {"word": word["id"], "grade": "good"})
    assert graded["due_s"] > time.time() + 60
    assert alone.ask("/words/review", {"word": word["id"], "grade": "perfect"})[0] == 400
    assert alone.ask("/words/draw", {"words": [word["id"]]}) == {}
    picture = wait_for(lambda: alone.ask("/words/list")["words"][0]["picture"], 120)
    assert alone.ask(f"/words/media/{picture}")[:2] == b"\xff\xd8"
    assert alone.ask("/words/export/csv")[:3] == b"\xef\xbb\xbf"
    assert alone.ask("/words/export/anki?learn=es")[:2] == b"PK"
    assert alone.ask("/words/delete", {"words": [word["id"]]}) == {}
    assert alone.ask(f"/words/media/{picture}")[0] == 404


def test_from_a_microphone_in_the_browser_to_a_dream_with_pictures_on_paper(alone):
    """The founding documents' second page; and the notebook's review, by its buttons."""
    need_speech()
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (make test installs it on Debian and Ubuntu)")
    from playwright.sync_api import sync_playwright

    said = alone.home / "said.wav"
    text = "A white horse was sleeping on the stairs. The house was full of water."
    subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(said)], check=True)
    sound, rate = soundfile.read(said, dtype="float32")
    soundfile.write(said, np.pad(sound * 0.1, (rate // 2, 60 * rate)), rate, subtype="PCM_16")
    line = [
        "--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={said}%noloop",
    ]  # fmt: skip
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=line)
        page = chromium.new_page(viewport={"width": 1200, "height": 800})
        faults = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{alone.url}/dreams?key={alone.key}")
        page.click("#record")
        page.wait_for_timeout(9000)
        assert "stop" in page.inner_text("#record")
        page.click("#record")
        typed = page.locator("textarea[aria-label='what was dreamt']")
        wait_for(lambda: page.wait_for_timeout(500) or (typed.count() and "horse" in typed.input_value().lower()), 120)
        assert page.inner_text("#record") == "record a dream"
        page.fill("label:has-text('mood') input", "calm")
        page.fill("label:has-text('tags') input", "water, horse")
        page.click("section button:text-is('keep')")
        page.wait_for_selector("#note:has-text('kept')")
        page.click("section button:text-is('draw')")
        wait_for(lambda: page.wait_for_timeout(500) or page.locator("figure img").count() >= 1, 180)
        wait_for(lambda: page.wait_for_timeout(300) or page.locator("figure .none").count() == 0, 180)
        with page.expect_download(timeout=180_000) as paper:
            page.click("section button:text-is('PDF')")
        paper.value.save_as(alone.home / "dream.pdf")
        alone.ask("/words/read", {"learn": "es", "own": "en", "text": "Ayer compré un umbrella porque llovía."})
        page.goto(f"{alone.url}/words")
        page.locator("input[aria-label='what umbrella means']").fill("paraguas")
        page.keyboard.press("Enter")
        page.wait_for_selector("#review:has-text('review 1')")
        page.click("#review")
        assert page.locator(".grades button:enabled").count() == 0, "first it is answered in the head"
        page.click("dialog button:text-is('show')")
        assert page.inner_text("dialog .gloss") == "paraguas"
        page.click("dialog button:text-is('good')")
        page.wait_for_selector("#review:has-text('nothing is due')")
        chromium.close()
    assert faults == []
    found = subprocess.run(
        ["pdftotext", "-layout", alone.home / "dream.pdf", "-"], capture_output=True, text=True, check=True
    )
    assert "horse" in found.stdout
    assert "calm" in found.stdout
    images = subprocess.run(
        ["pdfimages", "-list", alone.home / "dream.pdf"], capture_output=True, text=True, check=True
    )
    assert "jpeg" in images.stdout
    dreams = Dreams(alone.home / "data/dreams")
    (dream,) = dreams.dreams()
    # a recording goes once it is written down
    assert (dream.sound, dream.mood, dream.tags) == ("", "calm", ("horse", "water")), (
        "a recording goes once it is written"
    )
    dreams.close()
    notebook = Notebook(alone.home / "data/notebook")
    assert notebook.words()[0].due_s > time.time()
    notebook.close()


# -- beside a show -------------------------------------------------------------------------------------------------


def test_a_show_beside_it_learns_nothing_and_no_connection_leaves_this_machine(tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed (make test installs it on Debian and Ubuntu)")
    hand, web, out = free_port(socket.SOCK_DGRAM), free_port(), free_port(socket.SOCK_DGRAM)
    show = tmp_path / "show.toml"
    show.write_text(
        f'preset = "Lava"\noutputs = []\n[source]\nkind = "click"\n[video]\nwidth = 320\nheight = 180\n[osc]\n'
        f'port = {hand}\ntargets = [{{host = "127.0.0.1", port = {out}}}]\n'
        f"[web]\nport = {web}\nannounce = false\n[midi]\non = false\n"
    )
    env = {**os.environ, "VJSERVER_DATA": str(tmp_path / "data"), "PULSE_SERVER": "none"}
    vj = [sys.executable, "-m", "vjserver"]
    heard, over = bytearray(), threading.Event()

    def listen():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
            ear.bind(("127.0.0.1", out))
            ear.settimeout(0.2)
            while not over.is_set():
                try:
                    heard.extend(ear.recv(65536))
                except TimeoutError:
                    continue

    def get(path, accept="application/json"):
        request = urllib.request.Request(f"http://127.0.0.1:{web}/{path}", headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read()

    def status():
        try:
            return json.loads(get("status.json"))
        except OSError:
            return {}

    ear = threading.Thread(target=listen)
    ear.start()
    try:
        with running([*vj, "run", str(show)], env=env, stdout=subprocess.DEVNULL):
            wait_for(lambda: status().get("bpm", 0) > 0, 120)
            log = tmp_path / "calls.txt"
            traced = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg,bind", "-o", str(log)]
            text = "A zebrafinch melted into the stairs. Then the zebrafinch sang."
            told = said_by(*traced, *vj, "dream", "write", text, "--tag", "zebrafinch", env=env)
            calls = log.read_text()
            drawn = said_by(*traced, *vj, "dream", "draw", told.split()[0], "--count", "1", env=env)
            calls += log.read_text()
            assert "1 drawn" in drawn
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(message("/vj/param/zoom", 0.4), ("127.0.0.1", hand))
            pages = b"".join(map(get, ("status.json", "vj", "board/boards", "speak/gallery")))
            wait_for(lambda: len(heard) > 1000, 30)
    finally:
        over.set()
        ear.join()
    foreign = [
        row for row in calls.splitlines()
        if re.search(r"sa_family=AF_INET6?", row) and not re.search(r'"127\.|"::1"|"0\.0\.0\.0"', row)
    ]  # fmt: skip
    assert foreign == []
    assert b"zebrafinch" not in bytes(heard)
    assert b"zebrafinch" not in pages
    with_it = {
        path.relative_to(tmp_path / "data").parts[0]
        for path in (tmp_path / "data").rglob("*")
        if path.is_file() and b"zebrafinch" in path.read_bytes()
    }
    assert with_it == {"dreams"}
