"""The page /words: talk or type in the language that you learn; words that were missing, their review, pictures."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from vjserver.controls.web.asked import PAGE_HEADERS, check_sure, files_of, json_of, order_of, page_of, told
from vjserver.keeping.notebook import Notebook
from vjserver.keeping.wishes import drawer
from vjserver.keeping.words import Word
from vjserver.private.dreams import FILES
from vjserver.private.recorder import Recorder
from vjserver.private.server import Beside
from vjserver.private.services import PageServices
from vjserver.recognisers.lexicon import WordLexicon, languages
from vjserver.types.errors import ConfigError

MOST_SHOWN, MOST_SENTENCES = 500, 5
EXPORTS = {"csv": "words.csv", "anki": "words.apkg"}
Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
Noted = Callable[[str, str, str], list[Word]]
"""Notes the words of a text: the language that is learnt, one's own, the text."""


class _Read(msgspec.Struct, forbid_unknown_fields=True):
    learn: str
    own: str
    text: str


class _Gloss(msgspec.Struct, forbid_unknown_fields=True):
    word: Number
    gloss: str


class _Grade(msgspec.Struct, forbid_unknown_fields=True):
    word: Number
    grade: str


class _Words(msgspec.Struct, forbid_unknown_fields=True):
    words: list[Number]
    generator: str = ""
    model: str = ""


class _Talk(msgspec.Struct, forbid_unknown_fields=True):
    talk: Number


class WordPage:
    """The routes of the page.

    ``note`` notes the words of a text; for the others see :class:`vjserver.private.dreams.DreamPage`.
    """

    def __init__(
        self,
        notebook: Notebook,
        note: Noted,
        services: PageServices,
        beside: Beside,
    ) -> None:
        self._notebook, self._note, self._services, self._beside = notebook, note, services, beside
        self.recorder = Recorder("/words", notebook.recordings, self._recorded, services.read, _check)

    def routes(self) -> list[Route]:
        """Return what is to be served."""
        rows: list[tuple[str, str, Any]] = [
            ("GET", "", page_of(FILES / "words.html")),
            ("GET", "/media/{name}", files_of(self._notebook.media.path)),
            ("GET", "/list", self._list),
            ("GET", "/due", self._due),
            ("GET", "/export/{kind}", self._exported),
            ("POST", "/read", self._read),
            ("POST", "/gloss", self._gloss),
            ("POST", "/review", self._review),
            ("POST", "/draw", self._draw),
            ("POST", "/delete", self._delete),
            ("POST", "/talk/again", self._again),
            ("POST", "/talk/drop", self._drop),
            ("POST", "/delete-everything", self._delete_everything),
        ]
        return [
            *self.recorder.routes(),
            *(Route(f"/words{path}", told(endpoint), methods=[method]) for method, path, endpoint in rows),
        ]

    async def _list(self, request: Request) -> Response:
        learn, own = (request.query_params.get(name, "")[:12] for name in ("learn", "own"))

        def rows() -> dict[str, Any]:
            words = self._notebook.words(learn, own)
            return {
                "words": [_row(word) for word in words[:MOST_SHOWN]], "total": len(words),
                "due": self._notebook.count_due(time.time()),
                "talks": [asdict(one) for one in self._notebook.talks()],
                "wanted": self._notebook.wanted(), "why": self._beside.why, "generators": self._services.generators(),
                "keep": self._services.keep, "languages": languages(),
            }  # fmt: skip

        return json_of(await asyncio.to_thread(rows))

    async def _due(self, _request: Request) -> Response:
        words = await asyncio.to_thread(self._notebook.due, time.time())
        return json_of({"words": [_row(word) for word in words]})

    async def _read(self, request: Request) -> Response:
        order = await order_of(request, _Read)
        words = await asyncio.to_thread(self._note, order.learn, order.own, order.text)
        return json_of({"words": [_row(word) for word in words]})

    def _recorded(self, flac: bytes, seconds: float, asked: Mapping[str, str]) -> dict[str, Any]:
        made = self._notebook.talk(asked.get("learn", ""), asked.get("own", ""), flac, seconds, self._services.keep)
        self._beside.kick()
        return asdict(made)

    async def _gloss(self, request: Request) -> Response:
        order = await order_of(request, _Gloss)
        return json_of(_row(await asyncio.to_thread(self._notebook.gloss, order.word, order.gloss)))

    async def _review(self, request: Request) -> Response:
        order = await order_of(request, _Grade)
        return json_of(_row(await asyncio.to_thread(self._notebook.review, order.word, order.grade, time.time())))

    async def _draw(self, request: Request) -> Response:
        order = await order_of(request, _Words)
        generator = drawer(order.generator, self._services.generators())
        await asyncio.to_thread(self._notebook.want, order.words, generator, order.model)
        self._beside.kick()
        return json_of({})

    async def _delete(self, request: Request) -> Response:
        await asyncio.to_thread(self._notebook.delete, (await order_of(request, _Words)).words)
        return json_of({})

    async def _again(self, request: Request) -> Response:
        await asyncio.to_thread(self._notebook.hear_again, (await order_of(request, _Talk)).talk)
        self._beside.kick()
        return json_of({})

    async def _drop(self, request: Request) -> Response:
        await asyncio.to_thread(self._notebook.drop_talk, (await order_of(request, _Talk)).talk)
        return json_of({})

    async def _delete_everything(self, request: Request) -> Response:
        await check_sure(request)
        await asyncio.to_thread(self._notebook.delete_all)
        return json_of({})

    async def _exported(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        if kind not in EXPORTS:
            raise ConfigError(f"words are exported as one of {', '.join(EXPORTS)}: got {kind[:20]!r}")
        pair = [f"--{name}={value[:12]}" for name in ("learn", "own") if (value := request.query_params.get(name, ""))]
        path, gone = await self._services.export(["notebook", "export", kind, *pair], EXPORTS[kind])
        headers = PAGE_HEADERS | {"Content-Disposition": f'attachment; filename="{EXPORTS[kind]}"'}
        return FileResponse(path, headers=headers, background=BackgroundTask(gone))


def _check(asked: Mapping[str, str]) -> None:
    """Raise ConfigError for a pair of languages of which nothing is known."""
    WordLexicon(asked.get("learn", ""), asked.get("own", ""))


def _row(word: Word) -> dict[str, Any]:
    """Return a word as the page knows it: with the sentences in which it was missed last."""
    return asdict(word) | {"seen": [asdict(one) for one in word.seen[-MOST_SENTENCES:][::-1]]}
