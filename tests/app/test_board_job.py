"""Boards from end to end: what is typed or said in a browser becomes a picture, a card, another picture, a sheet."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import soundfile
from conftest import free_port, need_speech, running, wait_for

from vjserver.keeping.boards import Boards
from vjserver.runtime.osc import message

CHROMIUM = shutil.which("chromium")


class Stage:
    """A show at a click track, whose boards are empty. ``more`` stands in its file."""

    def __init__(self, home, more=""):
        self.home, self.hand, self.web = home, free_port(socket.SOCK_DGRAM), free_port()
        self.show = home / "show.toml"
        self.show.write_text(
            f'preset = "Lava"\noutputs = []\n[source]\nkind = "click"\nbpm = 120\n[video]\nwidth = 320\nheight = 180\n'
            f"[osc]\nport = {self.hand}\ntargets = []\n[web]\nport = {self.web}\nannounce = false\n[midi]\non = false\n"
            f"{more}"
        )
        self.env = {**os.environ, "VJSERVER_DATA": str(home / "data"), "PULSE_SERVER": "none"}
        self.line = [sys.executable, "-m", "vjserver", "run", str(self.show)]

    def ask(self, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web}/{path}", data, timeout=10) as answer:
            return json.loads(answer.read())

    def status(self):
        try:
            return self.ask("status.json")
        except OSError:
            return {}

    def send(self, address, *args):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hand:
            hand.sendto(message(address, *args), ("127.0.0.1", self.hand))

    def cards(self):
        boards = self.ask("board/boards")["boards"]
        return self.ask(f"board/of/{boards[0]['id']}/cards")["cards"] if boards else []


@pytest.fixture
def stage(tmp_path):
    one = Stage(tmp_path)
    with running(one.line, env=one.env, stdout=subprocess.DEVNULL) as one.process:
        wait_for(lambda: one.status().get("bpm", 0) > 0, 120)
        yield one


def children(stage):
    return {one.pid for one in psutil.Process(stage.process.pid).children()}


def made(stage, seed):
    return [one for one in stage.cards()[0]["versions"] if one["making"] == "made" and one["seed"] == seed]


def test_what_is_typed_is_a_card_and_is_made_again_beside_the_show(stage):
    before = children(stage)
    stage.send("/vj/prompt/1/text", "a red sea under a full moon")
    (card,) = wait_for(lambda: [one for one in stage.cards() if one["version"]], 60)
    assert (card["text"], card["heard"]) == ("a red sea under a full moon", "typed")
    version = card["versions"][0]
    assert (version["prompt"], version["generator"], version["making"]) == (card["text"], "pattern", "made")
    stage.send("/vj/board/star")
    wait_for(lambda: stage.cards()[0]["star"])
    # the studio is killed in the middle: what is wanted is made by the next
    stage.ask(f"board/card/{card['id']}/render", {"seed": 77})
    (studio,) = wait_for(lambda: children(stage) - before, 60)
    os.kill(studio, signal.SIGKILL)
    (again,) = wait_for(lambda: made(stage, 77), 120)
    assert stage.cards()[0]["version"] == again["id"]
    assert children(stage) - before != {studio}
    status = stage.status()
    assert status["fps"]["generated"] > 0
    assert "board" not in status["troubles"]
    # what shall not be kept is not
    stage.send("/vj/board/keep", 0)
    stage.send("/vj/prompt/1/text", "nobody shall know")
    stage.send("/vj/board/new", "second set")
    wait_for(lambda: stage.ask("board/boards")["boards"][0]["name"] == "second set")
    stage.send("/vj/board/keep", 1)
    stage.send("/vj/prompt/1/text", "a blue whale")
    wait_for(lambda: [one["text"] for one in stage.cards()] == ["a blue whale"])
    # a card that is deleted is gone from the disk
    stage.ask("board/cards/delete", {"cards": [card["id"]]})
    kept = b"".join(path.read_bytes() for path in (stage.home / "data/boards").rglob("*") if path.is_file())
    assert b"full moon" not in kept
    assert b"nobody shall" not in kept
    assert b"blue whale" in kept


@pytest.fixture
def hall(tmp_path, filled_store):
    """A show that listens to its page, in a hall where a browser has a microphone that says one sentence again."""
    need_speech()
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (make test installs it on Debian and Ubuntu)")
    one = Stage(tmp_path, '[speech]\non = true\nlanguage = "en"\n[generators.diffusion]\nmodel = "sd-turbo"\n')
    (tmp_path / "data").mkdir()
    (tmp_path / "data/models").symlink_to(filled_store / "models")
    said = tmp_path / "said.wav"
    text = "A blue ocean under a full moon"
    subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(said)], check=True)
    sound, rate = soundfile.read(said, dtype="float32")
    soundfile.write(said, np.pad(sound, (rate // 2, 2 * rate)), rate, subtype="PCM_16")
    with running(one.line, env=one.env, stdout=subprocess.DEVNULL) as one.process:
        wait_for(lambda: one.status().get("speech", {}).get("ready"), 180)
        yield one


def test_from_a_microphone_in_the_browser_to_a_sheet_of_the_storyboard(hall, tmp_path):
    from playwright.sync_api import sync_playwright

    url = f"http://127.0.0.1:{hall.web}"
    line = [
        "--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={tmp_path}/said.wav",
    ]  # fmt: skip
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=line)
        phone = chromium.new_page(bypass_csp=True)
        phone.goto(f"{url}/speak")
        talk = phone.locator("#talk")
        for _ in range(8):  # the microphone says it again and again: from where it stands, whole or not
            talk.dispatch_event("pointerdown", {"pointerId": 1})
            phone.wait_for_timeout(5500)
            talk.dispatch_event("pointerup", {"pointerId": 1})
            if caught(phone):
                break
        said = f"{phone.inner_text('#words')!r}, {phone.inner_text('#note')!r}, {hall.status()['troubles']}"
        assert caught(phone), f"on the page: {said}"
        (card,) = wait_for(lambda: [one for one in hall.cards() if is_ours(one["text"]) and one["version"]][:1], 120)
        assert (card["heard"], card["who"][:6]) == ("said", "guest ")
        # the same phrase by a diffusion model, on the page of boards
        board = chromium.new_page(bypass_csp=True, viewport={"width": 1280, "height": 800})
        board.set_default_timeout(120_000)
        board.goto(f"{url}/board")
        board.click(f".card[data-card='{card['id']}']")
        board.wait_for_selector("#detail img.large")
        board.select_option("#detail select", "diffusion")
        board.click("text=another picture")
        done = wait_for(lambda: ended(hall, card["id"])[1:], 300)
        assert [(v["making"], v["generator"], v["why"]) for v in done] == [("made", "diffusion", "")]
        board.wait_for_selector("#detail .strip button >> nth=1")
        with board.expect_download(timeout=120_000) as loaded:
            board.select_option("#export", "pdf?per-page=4")
        sheet = tmp_path / "sheet.pdf"
        loaded.value.save_as(sheet)
        chromium.close()
    if shutil.which("pdftotext") is not None:
        found = subprocess.run(["pdftotext", str(sheet), "-"], capture_output=True, text=True, check=True).stdout
        assert card["text"] in " ".join(found.split())
    assert sheet.read_bytes()[:5] == b"%PDF-"


def is_ours(text):
    """Tell whether a text is of the sentence: a busy machine may hand on a part of it."""
    return "ocean" in text.lower() or "moon" in text.lower()


def caught(phone, seconds=20.0):
    """Tell whether the gallery shows a picture of what was said, by then."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if any(is_ours(text) for text in phone.locator("#gallery figcaption").all_inner_texts()):
            return True
        phone.wait_for_timeout(250)
    return False


def ended(stage, number):
    """Return the pictures of a card that were made, or could not be."""
    card = next(one for one in stage.cards() if one["id"] == number)
    return [one for one in card["versions"] if one["making"] != "wanted"]


# -- from the shell ------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(shell_of):
    return shell_of("board")


def test_a_board_from_the_shell(shell, tmp_path):
    assert "no board yet" in shell("list")[1]
    assert shell("new", "Harbour", "--style", "woodcut")[0] == 0
    assert "2 cards" in shell("add", "Harbour", "a red sea", "a storm", "--seed", 4)[1]
    code, told = shell("render", "--size", "320x180")
    assert (code, told.splitlines()[-1]) == (0, "2 pictures made")
    shown = shell("show", "Harbour")[1]
    assert "a red sea  (1 picture)" in shown
    row = json.loads(shell("show", "Harbour", "--json")[1].splitlines()[1])
    assert (row["text"], row["versions"][0]["seed"], row["versions"][0]["prompt"]) == ("a storm", 4, "a storm, woodcut")
    for kind, name in (("pdf", "b.pdf"), ("storyboard", "s/storyboard.toml"), ("storyboarder", "sb"), ("pictures", "p"),
                       ("film", "f.mp4")):  # fmt: skip
        code, told = shell("export", "Harbour", kind, "-o", tmp_path / name, "--size", "320x180", "--seconds", 1)
        assert code == 0, told
        assert (tmp_path / name).exists()
    for kind in ("storyboard", "storyboarder", "pictures"):
        assert shell("export", "Harbour", kind, "-o", tmp_path / f"{kind}.zip", "--zip")[0] == 0
        shutil.unpack_archive(tmp_path / f"{kind}.zip", tmp_path / f"{kind}-zip")
        assert len(list((tmp_path / f"{kind}-zip/harbour").iterdir())) > 0
    assert "2 cards" in shell("import", tmp_path / "p")[1]
    assert shell("delete", "Harbour")[0] == 0
    assert re.search(r"1 boards? (is|are) deleted", shell("delete", "--everything")[1])
    assert "no board yet" in shell("list")[1]
    assert not list((tmp_path / "data/boards/media").iterdir())


def test_a_picture_that_cannot_be_made_is_told_and_the_card_stays(shell, tmp_path):
    shell("new", "Harbour")
    shell("add", "Harbour", "a red sea", "--generator", "parrot")
    shell("add", "Harbour", "a storm", "--generator", "diffusion", "--model", "nowhere")
    code, told = shell("render", "--size", "320x180")
    assert code == 1
    assert "'parrot' is not installed" in told
    assert "nowhere" in told
    shown = shell("show", "Harbour")[1]
    assert "a red sea  (failed: " in shown
    assert "a storm  (failed: " in shown


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (("export", "nobody", "pdf", "-o", "x.pdf"), "there is no board 'nobody'; there are: none"),
        (("import", "nowhere.fountain"), "nowhere.fountain cannot be read"),
        (("delete",), "which board?"),
        (("new", " "), "a board's name has 1 to"),
    ],
)
def test_a_line_that_makes_no_sense_is_told(shell, line, why):
    code, told = shell(*line)
    assert code == 1
    assert why in told


def test_a_reference_picture_is_what_a_diffusion_model_starts_from(models, stocked, tmp_path):
    """A card that names somebody of the cast has its picture beneath."""
    from vjserver.app.studio import Maker, make_next, reference_of
    from vjserver.keeping.cards import Card
    from vjserver.keeping.pictures import encoded
    from vjserver.keeping.wishes import wanted_of
    from vjserver.runtime.installed import installed
    from vjserver.show.state import Look

    boards = Boards(tmp_path / "boards")
    board = boards.make("x")
    red = np.zeros((64, 64, 4), np.uint8)
    red[..., 0] = red[..., 3] = 255
    boards.cast(board.id, "Mara", "an old woman", encoded(red).data, "jpg")
    maker = Maker(installed(), {"diffusion": {"model": "sd-turbo"}}, (64, 64))
    look = Look(generator="diffusion", model="sd-turbo")
    shown = {}
    for text in ("Mara at sea", "a harbour at sea"):
        card = boards.add(board.id, Card(text=text))
        assert (reference_of(boards, card) is not None) == text.startswith("Mara")
        boards.want(card.id, wanted_of(boards.board(board.id), card, look, seed=5))
        card = make_next(boards, maker)
        assert card.chosen is not None, card.versions
        shown[text] = boards.media.read(card.chosen.picture)
    assert len(set(shown.values())) == 2
    maker.close()
    boards.close()


def test_the_page_without_a_show(tmp_path):
    port = free_port()
    line = [sys.executable, "-m", "vjserver", "board", "open", "--port", str(port)]
    env = {**os.environ, "VJSERVER_DATA": str(tmp_path)}
    one = SimpleNamespace(web=port, ask=Stage.ask)
    with running(line, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert f"http://127.0.0.1:{port}/board" in process.stdout.readline()
        board = wait_for(lambda: _made(one), 30)
        Stage.ask(one, f"board/of/{board['id']}/card", {"text": "a red sea"})
        wait_for(lambda: Stage.ask(one, f"board/of/{board['id']}/cards")["cards"][0]["version"], 120)
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert process.returncode in (0, 130, -signal.SIGINT)


def _made(one):
    try:
        return Stage.ask(one, "board/new", {"name": "Evening"})
    except OSError:
        return None
