"""The page of boards: what may be asked, and in Chromium with five thousand cards."""

import asyncio
import re
import shutil
import threading

import numpy as np
import pytest
import uvicorn
from conftest import free_port, wait_for
from starlette.applications import Starlette
from starlette.testclient import TestClient

from vjserver.controls.web.access import Guard
from vjserver.controls.web.boards import BoardPage
from vjserver.keeping.boards import Boards
from vjserver.keeping.cards import Card, Version
from vjserver.keeping.pictures import encoded
from vjserver.show.state import Look
from vjserver.types.errors import OutputError

CHROMIUM = shutil.which("chromium")
EXPECTED = re.compile("400|ERR_CONNECTION|ERR_EMPTY_RESPONSE")
MADE = Version(prompt="a sea", seed=7, generator="pattern", look=b"{}")


def picture(red=200):
    pixels = np.full((90, 160, 4), 255, np.uint8)
    pixels[..., 0], pixels[..., 1:3] = red, 40
    return encoded(pixels)


@pytest.fixture
def boards(tmp_path):
    made = Boards(tmp_path / "boards")
    yield made
    made.close()


@pytest.fixture
def page(boards, tmp_path):
    async def export(board, kind, options):
        if boards.board(board).name == "broken":
            raise OutputError("no card of this board has a picture")
        path = tmp_path / "export"
        path.write_bytes(f"{kind} {options}".encode())
        return path, path.unlink

    async def take_in(script, name):
        board = boards.make(name)
        boards.add(board.id, Card(text=script.decode()))
        return board.id

    look = Look(seed=3, negative="text")
    return BoardPage(lambda: boards, lambda: look, lambda: ["pattern", "diffusion"], export, take_in)


@pytest.fixture
def web(page):
    with TestClient(Starlette(routes=page.routes())) as client:
        yield client


@pytest.fixture
def board(boards):
    return boards.make("Tonight").id


def test_a_board_from_the_first_card_to_the_last(web, boards, board):
    made = web.post(f"/board/of/{board}/card", json={"text": "a red sea"}).json()
    assert (made["text"], made["versions"][0]["making"], made["versions"][0]["seed"]) == ("a red sea", "wanted", 3)
    assert "look" not in made["versions"][0]
    assert web.get(f"/board/of/{board}/head").json() == {"change": boards.change_of(board), "wanted": 1}
    edited = web.post(f"/board/card/{made['id']}", json={"text": "a blue sea", "notes": "slow", "star": True}).json()
    assert (edited["text"], edited["notes"], edited["star"]) == ("a blue sea", "slow", True)
    web.post(f"/board/of/{board}/edit", json={"style": "ink", "negative": "blur"})
    web.post(f"/board/of/{board}/cast", json={"name": "sea", "look": "a sea of glass"})
    again = web.post(f"/board/card/{made['id']}/render", json={"seed": 12, "generator": "diffusion"}).json()
    (wanted,) = again["versions"]
    assert (wanted["prompt"], wanted["seed"], wanted["generator"], wanted["negative"]) == (
        "a blue sea (a sea of glass), ink", 12, "diffusion", "blur",
    )  # fmt: skip
    boards.done(boards.next_wanted().id, picture(), "MIT")
    row = web.get(f"/board/of/{board}/cards").json()
    assert (row["total"], row["cards"][0]["versions"][0]["licence"]) == (1, "MIT")
    image = web.get(f"/board/media/{row['cards'][0]['versions'][0]['thumb']}")
    assert (image.headers["content-type"], image.content[:2]) == ("image/jpeg", b"\xff\xd8")
    same = web.post(f"/board/card/{made['id']}/render", json={"seed": "same"}).json()
    assert [one["seed"] for one in same["versions"]] == [12, 12]
    left = web.post(f"/board/card/{made['id']}/drop", json={"version": row["cards"][0]["version"]}).json()
    assert left["version"] == 0
    assert web.post("/board/cards/delete", json={"cards": [made["id"]]}).status_code == 200
    assert web.get(f"/board/of/{board}/cards").json()["cards"] == []
    assert web.post(f"/board/of/{board}/delete", json={}).status_code == 200
    assert web.get("/board/boards").json() == {"boards": [], "generators": ["pattern", "diffusion"]}


def test_cards_are_put_in_order_and_a_window_of_them_is_asked_for(web, boards, board):
    ids = [boards.add(board, Card(text=f"card {i}")).id for i in range(5)]
    assert web.post(f"/board/of/{board}/move", json={"cards": [ids[4], ids[0]], "before": ids[2]}).status_code == 200
    rows = web.get(f"/board/of/{board}/cards?offset=1&count=3").json()
    assert [card["text"] for card in rows["cards"]] == ["card 4", "card 0", "card 2"]
    assert web.get(f"/board/of/{board}/cards?search=card+3").json()["total"] == 1
    assert web.get(f"/board/of/{board}/cards?starred=1").json()["total"] == 0


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("of/BOARD/card", {"text": ""}, "1 to"),
        ("of/BOARD/card", {}, "missing required field"),
        ("of/BOARD/card", {"text": "x", "evil": 1}, "unknown field"),
        ("of/nobody/card", {"text": "x"}, "no board 'nobody'"),
        ("of/BOARD/move", {"cards": [99], "before": None}, "card 99 is not on this board any more"),
        ("of/BOARD/card", {"text": "x", "before": 99}, "card 99 is not on this board any more"),
        ("of/BOARD/card", {"text": "x", "before": 1 << 70}, "before"),
        (f"card/{1 << 70}", {"star": True}, "no card 0"),
        ("of/BOARD/edit", {"style": "x" * 9000}, "signs: got 9000"),
        ("card/99/render", {}, "no card 99"),
        ("card/1/render", {"seed": "none"}, "a number, same, or other"),
        ("card/1/render", {"seed": -4}, "a seed is in 0"),
        ("card/1/render", {"generator": "parrot"}, "unknown generator 'parrot'; there are: pattern, diffusion"),
        ("card/1", {"version": 44}, "has no picture 44"),
        ("delete-everything", {"everything": False}, "everything is deleted with"),
        ("of/BOARD/export/exe", None, "exported as one of pdf"),
    ],
)
def test_what_makes_no_sense_is_told_and_changes_nothing(web, boards, board, path, body, why):
    boards.add(board, Card(text="one"))
    before = boards.cards(board)
    url = f"/board/{path.replace('BOARD', board)}"
    answer = web.get(url) if body is None else web.post(url, json=body)
    assert answer.status_code == 400
    assert why in answer.json()["error"]
    assert boards.cards(board) == before
    assert len(boards.boards()) == 1


@pytest.mark.parametrize("body", [b"", b"[", b'"x"', b"[" * 50_000, b"\xff\xfe", b"x" * (1 << 20) + b"x"])
def test_bodies_that_are_none_are_told(web, board, body):
    assert web.post(f"/board/of/{board}/card", content=body).status_code == 400


@pytest.mark.parametrize("name", ["..%2Fboards.sqlite", "boards.sqlite", "%2Fetc%2Fpasswd", "0123456789abcdef.jpg"])
def test_no_name_leads_out_of_the_media(web, board, name):
    assert web.get(f"/board/media/{name}").status_code == 404
    assert web.get(f"/board/files/{name}").status_code == 404


def test_an_export_is_loaded_and_what_was_wrong_with_it_is_told(web, board, boards, tmp_path):
    answer = web.get(f"/board/of/{board}/export/pdf?per-page=9&font-size=8")
    assert answer.content == b"pdf ['--per-page=9', '--font-size=8']"
    assert 'filename="Tonight.pdf"' in answer.headers["content-disposition"]
    assert not (tmp_path / "export").exists()
    broken = boards.make("broken").id
    answer = web.get(f"/board/of/{broken}/export/film")
    assert (answer.status_code, answer.json()["error"]) == (503, "no card of this board has a picture")


def test_a_script_is_taken_in(web, boards):
    made = web.post("/board/import/fountain?name=harbour", content=b"Go.").json()
    assert (made["name"], made["cards"]) == ("harbour", 1)


def test_a_text_that_is_too_long_with_its_cast_leaves_no_card(web, board, boards):
    web.post(f"/board/of/{board}/cast", json={"name": "Mara", "look": "x" * 1500})
    answer = web.post(f"/board/of/{board}/card", json={"text": "Mara " + "y" * 600})
    assert (answer.status_code, boards.cards(board)) == (400, [])


def test_a_picture_of_the_cast_is_read_before_it_is_kept(web, board, boards):
    web.post(f"/board/of/{board}/cast", json={"name": "Mara", "look": "old"})
    assert web.post(f"/board/of/{board}/cast-picture?name=Mara", content=picture().data).status_code == 200
    assert boards.board(board).cast[0].picture
    assert web.post(f"/board/of/{board}/cast-picture?name=Bob", content=picture().data).status_code == 400
    assert "JPEG or a PNG" in web.post(f"/board/of/{board}/cast-picture?name=Mara", content=b"GIF89a").json()["error"]


def test_guests_and_pages_from_elsewhere_see_no_board(page):
    app = Guard(Starlette(routes=page.routes()), ("127.0.0.1", "wall"), token="secret", guests="guest")
    far = TestClient(app, base_url="http://wall", client=("10.0.0.9", 5))
    assert far.get("/board").status_code == 403
    assert far.get("/board?guest=guest").status_code == 403
    far.cookies.set("vjserver_guest", "guest")
    assert far.get("/board/boards").status_code == 403
    near = TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 5))
    assert near.get("/board").status_code == 200
    stranger = near.post("/board/new", json={"name": "x"}, headers={"Origin": "http://elsewhere.example"})
    assert stranger.status_code == 403


# -- in a browser --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (make test installs it on Debian and Ubuntu)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def served(page):
    """The page on a port of its own."""
    port = free_port()
    app = Guard(Starlette(routes=page.routes()), ("127.0.0.1",))
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    wait_for(lambda: server.started)
    yield f"http://127.0.0.1:{port}/board"
    server.should_exit = True
    thread.join()


@pytest.fixture
def tab(browser):
    made = browser.new_page(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    faults = []
    made.on("pageerror", lambda error: faults.append(str(error)))
    made.on(
        "console",
        lambda row: faults.append(row.text) if row.type == "error" and not EXPECTED.search(row.text) else None,
    )
    yield made
    made.close()
    assert faults == []


def texts(tab):
    """Return the cards that are drawn, in the order in which they stand."""
    return tab.evaluate(
        """() => [...document.querySelectorAll(".card")].sort((a, b) => a.place - b.place)
               .map((card) => card.querySelector("p").textContent)"""
    )


def test_of_five_thousand_cards_few_are_in_the_page(tab, served, boards, board):
    card = boards.put(boards.add(board, Card(text="card 0")).id, MADE, picture())
    with boards._db.change() as db:  # as many pictures as cards would take a minute to write
        for i in range(1, 5000):
            db.execute(
                "INSERT INTO card (id, board, place, text, heard, t_s, version, change) "
                "VALUES (?, ?, ?, ?, 'said', 0, ?, 1)",
                (10_000 + i, board, i + 1, f"card {i}", 10_000 + i),
            )
            db.execute(
                "INSERT INTO version (id, card, making, prompt, seed, generator, picture, thumb, t_s) "
                "VALUES (?, ?, 'made', 'p', 1, 'pattern', ?, ?, 0)",
                (10_000 + i, 10_000 + i, card.chosen.picture, card.chosen.thumb),
            )
    tab.goto(served)
    tab.wait_for_selector(".card")
    assert tab.inner_text("#count") == "5000 cards"
    assert texts(tab)[0] == "card 0"
    for share in (0.3, 0.99, 0.5, 1.0):
        tab.evaluate(
            f"document.getElementById('scroll').scrollTop = {share} * document.getElementById('grid').offsetHeight"
        )
        wanted = round(share * 5000)
        tab.wait_for_function(
            f"""() => [...document.querySelectorAll(".card")].some((card) => Math.abs(card.place - {wanted}) < 40)"""
        )
        assert tab.locator(".card").count() <= 300
    assert texts(tab)[-1] == "card 4999"
    tab.fill("#search", "card 4321")
    tab.wait_for_function("document.getElementById('count').textContent === '1 card'")
    assert texts(tab) == ["card 4321"]


def test_a_card_is_dragged_starred_edited_chosen_and_deleted(tab, served, boards, board):
    made = [boards.add(board, Card(text=f"card {i}", heard="said", said="<b>said</b>")) for i in range(6)]
    ids = [boards.put(card.id, MADE, picture(i)).id for i, card in enumerate(made)]
    tab.goto(served)
    tab.wait_for_selector(".card >> nth=5")
    tab.drag_and_drop(f".card[data-card='{ids[4]}']", f".card[data-card='{ids[1]}']")
    wait_for(lambda: [card.text[-1] for card in boards.cards(board)] == list("041235"))
    tab.wait_for_function(
        """() => [...document.querySelectorAll(".card")].sort((a, b) => a.place - b.place)[1]
               .textContent.includes("card 4")"""
    )
    tab.click(f".card[data-card='{ids[2]}'] .star")
    wait_for(lambda: boards.card(ids[2]).star)
    tab.click(f".card[data-card='{ids[3]}']")
    tab.wait_for_selector("#detail img.large")
    assert tab.locator("#detail b").count() == 0  # what was said is text, whatever it looks like
    assert "<b>said</b>" in tab.inner_text("#detail")
    tab.fill("#detail textarea >> nth=0", "a whale")
    tab.fill("#detail textarea >> nth=1", "pan left")
    tab.click("text=another picture")
    wait_for(lambda: boards.wanted() == 1)
    assert (boards.card(ids[3]).text, boards.card(ids[3]).notes) == ("a whale", "pan left")
    version = boards.next_wanted()
    assert version.prompt == "a whale"
    assert version.seed != MADE.seed
    boards.done(version.id, picture(0), "")
    tab.wait_for_selector("#detail .strip button >> nth=1")
    tab.click("text=side by side")
    assert tab.locator("#compare .sides img").count() == 2
    tab.click("#compare button")
    tab.click("#detail .strip button >> nth=0")
    wait_for(lambda: boards.card(ids[3]).chosen.seed == MADE.seed)
    tab.on("dialog", lambda dialog: dialog.accept())
    tab.click("text=delete card")
    wait_for(lambda: len(boards.cards(board)) == 5)
    tab.wait_for_selector(f".card[data-card='{ids[3]}']", state="detached")
    tab.click(f".card[data-card='{ids[0]}']")
    tab.keyboard.press("Alt+ArrowRight")
    wait_for(lambda: [card.id for card in boards.cards(board)][1] == ids[0])


def test_what_a_filter_hides_is_not_deleted(tab, served, boards, board):
    ids = [boards.add(board, Card(text=text)).id for text in ("whale", "wolf")]
    tab.goto(served)
    tab.click(f".card[data-card='{ids[0]}']")
    tab.fill("#search", "wolf")
    tab.wait_for_function("document.getElementById('count').textContent === '1 card'")
    tab.on("dialog", lambda dialog: dialog.accept())
    tab.focus("#scroll")
    tab.keyboard.press("Delete")
    tab.wait_for_timeout(500)
    assert [card.text for card in boards.cards(board)] == ["whale", "wolf"]


def test_a_press_of_any_length_behind_typing_counts(tab, served, boards, board):
    card = boards.add(board, Card(text="whale")).id
    tab.goto(served)
    tab.click(f".card[data-card='{card}']")
    tab.fill("#detail textarea >> nth=0", "a whale in the sky")
    tab.click("text=make the picture", delay=400)
    wait_for(lambda: boards.wanted() == 1)
    assert boards.next_wanted().prompt == "a whale in the sky"


def test_two_pages_see_each_other(browser, tab, served, boards, board):
    other = browser.new_page(bypass_csp=True)
    try:
        for one in (tab, other):
            one.goto(served)
            one.wait_for_selector(".empty")
        tab.fill("#text", "a red sea")
        tab.press("#text", "Enter")
        other.wait_for_selector(".card:has-text('a red sea')")
        assert boards.wanted() == 1
        boards.fail(boards.next_wanted().id, "the model is not here")
        other.wait_for_selector(".making.failed")
        other.click(".card")
        other.wait_for_selector("#detail >> text=the model is not here")
    finally:
        other.close()


def test_style_cast_and_an_export(tab, served, boards, board):
    boards.add(board, Card(text="Mara"))
    tab.goto(served)
    tab.wait_for_selector(".card")
    tab.click("#style-open")
    tab.fill("#style label:has-text('stands behind') input", "woodcut")
    tab.press("#style label:has-text('stands behind') input", "Tab")
    tab.fill("#style form input >> nth=0", "Mara")
    tab.fill("#style form input >> nth=1", "an old woman")
    tab.click("#style form button")
    wait_for(lambda: boards.board(board).cast and boards.board(board).style == "woodcut")
    tab.click("#style button:text('close')")
    with tab.expect_download() as loaded:
        tab.select_option("#export", "pdf?per-page=4")
    assert loaded.value.suggested_filename == "Tonight.pdf"


def test_a_server_that_falls_silent_is_told(tab, page, boards, board):
    port = free_port()
    app = Guard(Starlette(routes=page.routes()), ("127.0.0.1",))
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    wait_for(lambda: server.started)
    tab.goto(f"http://127.0.0.1:{port}/board")
    tab.wait_for_selector(".empty")
    server.should_exit = server.force_exit = True
    thread.join()
    tab.wait_for_selector("#note.bad:has-text('does not answer')")
