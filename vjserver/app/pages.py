"""The private pages, wired: /dreams and /words, on this machine alone, with what writes down and draws beside them."""

import argparse
import contextlib
import secrets
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from vjserver.app.exporting import made
from vjserver.app.noting import Noting
from vjserver.app.speech import sound_of
from vjserver.controls.web import speak
from vjserver.controls.web.asked import files_of, within
from vjserver.keeping.dreams import Dreams
from vjserver.keeping.notebook import Notebook
from vjserver.keeping.words import Word
from vjserver.private.dreams import FILES, DreamPage
from vjserver.private.server import HOST, Beside, serve
from vjserver.private.services import PageServices
from vjserver.private.words import WordPage
from vjserver.runtime.installed import installed


def open_pages(args: argparse.Namespace, first: str) -> int:
    """Serve both pages until Ctrl-C; ``first`` is the one that is told. Raises VJError."""
    registry = installed()
    of_show = ["--show", str(args.show)] if args.show else []
    with contextlib.closing(Dreams()) as dreams, contextlib.closing(Notebook()) as notebook:
        dreams.sweep()
        dreaming = Beside(["dream", "finish", *of_show], lambda: any(dreams.wanted()))
        writing = Beside(["notebook", "finish", *of_show], lambda: any(notebook.wanted()))

        def generators() -> list[str]:
            return list(registry.infos)

        def note(learn: str, own: str, text: str) -> list[Word]:
            return Noting(notebook, learn, own, lambda _why: None)(text)

        services = PageServices(generators, sound_of, made, args.keep_sound)
        dream_page = DreamPage(dreams, services, dreaming)
        word_page = WordPage(notebook, note, services, writing)
        key = secrets.token_urlsafe(16)

        async def home(_request: Request) -> Response:
            return RedirectResponse(first)

        assets = Route("/files/{name}", files_of(_asset))
        routes = [Route("/", home), assets, *dream_page.routes(), *word_page.routes()]

        def tell() -> None:
            print(f"{first[1:]}: http://{HOST}:{args.port}{first}?key={key}   (for you alone; Ctrl-C ends)", flush=True)

        looks = (dream_page.recorder.take_over, word_page.recorder.take_over)
        serve(routes, key, args.port, looks, (dreaming, writing), tell)
    return 0


def _asset(name: str) -> Path | None:
    """Return where a file of the pages is; how a microphone is tapped, they have from the page /speak."""
    return within(speak.FILES if name == "worklet.js" else FILES)(name)
