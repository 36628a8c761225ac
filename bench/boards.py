"""Boards of thousands of cards: how long until the page is ready, and a PDF of all of them.

    python -m bench.boards [--cards 5000]

Beside each figure stands a bare one, measured in the same run: an empty page in the same browser, and the reading and
writing of the pictures alone.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from vjserver.controls.web.boards import BoardPage
from vjserver.keeping.boards import Boards
from vjserver.keeping.cards import Card, Version
from vjserver.keeping.pictures import encoded
from vjserver.show.state import Look

WORDS = ("cathedral", "coral", "violet", "sea", "moon", "storm", "harbour", "glass", "tower", "wolf", "rain", "gold")


def fill(boards: Boards, count: int) -> str:
    """Make a board with so many cards, each with a picture of its own; return its number."""
    board = boards.make(f"{count} cards").id
    rng = np.random.default_rng(1)
    for i in range(count):
        small = np.asarray(rng.integers(0, 255, (9, 16, 3)), np.uint8)
        pixels = np.asarray(cv2.resize(small, (640, 360), interpolation=cv2.INTER_CUBIC), np.uint8)
        text = f"{i}: a " + " ".join(rng.choice(WORDS, 8))
        card = boards.add(board, Card(text=text, notes="the camera goes slowly to the left", heard="said"))
        boards.put(card.id, Version(prompt=text, seed=i, generator="pattern"), encoded(pixels))
    return board


def page_s(boards: Boards, tries: int = 7) -> tuple[float, float]:
    """Return how long the page takes until its first cards are drawn, and an empty page: medians, s."""
    from playwright.sync_api import sync_playwright

    async def none(*_: object) -> tuple[Path, object]:
        raise AssertionError

    page = BoardPage(lambda: boards, Look, lambda: ["pattern"], none, none)  # type: ignore[arg-type]
    bare = Route("/bare", lambda _: HTMLResponse("<p id=bare>x</p>"))
    app = Starlette(routes=[*page.routes(), bare])
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    ready: list[float] = []
    empty: list[float] = []
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(tries):
            for path, mark, times in (("bare", "#bare", empty), ("board", ".card img", ready)):
                tab = chromium.new_page(bypass_csp=True)
                began = time.perf_counter()
                tab.goto(f"http://127.0.0.1:{port}/{path}", wait_until="commit")
                tab.wait_for_selector(mark)
                times.append(time.perf_counter() - began)
                tab.close()
        chromium.close()
    server.should_exit = True
    thread.join()
    return statistics.median(ready), statistics.median(empty)


def pdf_figures(board: str, env: dict[str, str], folder: Path, per_page: int) -> dict[str, float]:
    """Export a board as a PDF by the command; return seconds, megabytes of the file and of memory."""
    out = folder / f"{per_page}.pdf"
    line = [
        sys.executable,
        "-m",
        "vjserver",
        "board",
        "export",
        board,
        "pdf",
        "-o",
        str(out),
        "--per-page",
        str(per_page),
    ]
    began = time.perf_counter()
    process = subprocess.Popen(line, env=env, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return {
        "s": round(time.perf_counter() - began, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "file_mb": round(out.stat().st_size / 1e6, 1),
        "memory_mb": round(used.ru_maxrss / 1e3),
    }


def main() -> None:
    """Measure; print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cards", type=int, default=5000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        boards = Boards(folder / "boards")
        env = {**os.environ, "VJSERVER_DATA": str(folder)}
        began = time.perf_counter()
        board = fill(boards, args.cards)
        filled_s = time.perf_counter() - began
        began = time.perf_counter()
        for card in boards.cards(board):
            assert card.chosen is not None
            boards.media.read(card.chosen.picture)
        read_s = time.perf_counter() - began
        ready_s, empty_s = page_s(boards)
        began = time.perf_counter()
        for i in range(200):
            boards.move(board, [i + 1], 4000 % args.cards + 1)
        move_ms = (time.perf_counter() - began) * 5.0
        print(json.dumps({
            "cards": args.cards, "filled_s": round(filled_s, 1), "read_s": round(read_s, 2),
            "page_s": round(ready_s, 3), "empty_page_s": round(empty_s, 3), "move_ms": round(move_ms, 1),
            "pdf": {str(n): pdf_figures(board, env, folder, n) for n in (6, 9, 4)},
        }))  # fmt: skip
        boards.close()


if __name__ == "__main__":
    main()
