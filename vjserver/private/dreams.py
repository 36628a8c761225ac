"""The page /dreams: record first and have it written down after, or type; find, see what returns, have it drawn."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from vjserver.controls.web.asked import PAGE_HEADERS, check_sure, files_of, json_of, order_of, page_of, told, whole_of
from vjserver.keeping.cards import Card
from vjserver.keeping.dreams import ALWAYS, Dream, Dreams
from vjserver.keeping.wishes import drawer, wanted_of
from vjserver.private.recorder import Recorder
from vjserver.private.server import Beside
from vjserver.private.services import PageServices
from vjserver.private.telling import signs_of, telling_of, titled
from vjserver.show.addresses import MAX_SEED
from vjserver.show.state import Look
from vjserver.types.errors import ConfigError

FILES = Path(__file__).parent / "page"
MOST_SHOWN = 200
EXCERPT = 160
MOST_PICTURES = 9
Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class _Write(msgspec.Struct, forbid_unknown_fields=True):
    """``before`` is the text that the page knew: what was written down meanwhile goes behind what it sends."""

    text: str
    before: str = ""
    id: str = ""
    title: str = ""
    mood: str = ""
    lucidity: int = 0
    tags: list[str] = []
    language: str = ""
    day: str = ""


class _Draw(msgspec.Struct, forbid_unknown_fields=True):
    count: Annotated[int, msgspec.Meta(ge=1, le=MOST_PICTURES)] = 3
    generator: str = ""
    model: str = ""


class _Card(msgspec.Struct, forbid_unknown_fields=True):
    card: Number
    generator: str = ""
    model: str = ""


class DreamPage:
    """The routes of the page.

    ``beside`` writes down and draws: it is kicked when something new waits, and tells what was wrong.
    """

    def __init__(self, dreams: Dreams, services: PageServices, beside: Beside) -> None:
        self._dreams, self._services, self._beside = dreams, services, beside
        self.recorder = Recorder("/dreams", dreams.recordings, self._recorded, services.read)

    def routes(self) -> list[Route]:
        """Return what is to be served."""
        rows: list[tuple[str, str, Any]] = [
            ("GET", "", page_of(FILES / "dreams.html")),
            ("GET", "/media/{name}", self._media),
            ("GET", "/list", self._list),
            ("GET", "/about", self._about),
            ("GET", "/pdf", self._pdf),
            ("POST", "/write", self._write),
            ("POST", "/delete-everything", self._delete_everything),
            ("GET", "/of/{dream}", self._one),
            ("GET", "/of/{dream}/pdf", self._pdf),
            ("POST", "/of/{dream}/hear", self._hear_again),
            ("POST", "/of/{dream}/draw", self._draw),
            ("POST", "/of/{dream}/again", self._draw_again),
            ("POST", "/of/{dream}/drop", self._drop),
            ("POST", "/of/{dream}/delete", self._delete),
        ]
        return [
            *self.recorder.routes(),
            *(Route(f"/dreams{path}", told(endpoint), methods=[method]) for method, path, endpoint in rows),
        ]

    # -- what is there -------------------------------------------------------------------------------------

    async def _media(self, request: Request) -> Response:
        name = request.path_params["name"]
        media = self._dreams.media if name.endswith(".flac") else self._dreams.pictures.media
        return await files_of(media.path)(request)

    async def _list(self, request: Request) -> Response:
        asked = request.query_params
        begin, end = _span(asked.get("day", ""))

        def rows() -> dict[str, Any]:
            found = self._dreams.dreams(
                asked.get("search", "")[:200],
                asked.get("tag", ""),
                begin,
                end,
                MOST_SHOWN + 1,
                whole_of(request, "skip"),
            )
            drawn = self._dreams.drawn()
            rows = [_row(one) | {"thumb": self._thumb(one.id) if one.id in drawn else ""} for one in found[:MOST_SHOWN]]
            waiting, pictures = self._dreams.wanted()
            return {
                "dreams": rows, "more": len(found) > MOST_SHOWN, "waiting": waiting, "pictures": pictures,
                "why": self._beside.why, "generators": self._services.generators(), "keep": self._services.keep,
            }  # fmt: skip

        return json_of(await asyncio.to_thread(rows))

    def _thumb(self, number: str) -> str:
        return next((card.chosen.thumb for card in self._dreams.cards(number) if card.chosen is not None), "")

    async def _about(self, _request: Request) -> Response:
        """Tell what returns, which tags there are, and how many dreams each day had."""

        def about() -> dict[str, Any]:
            days = Counter(f"{datetime.fromtimestamp(t_s):%Y-%m-%d}" for t_s in self._dreams.times())
            return {"days": days, "tags": self._dreams.tags()[:60], "signs": signs_of(self._dreams)[:60]}

        return json_of(await asyncio.to_thread(about))

    async def _one(self, request: Request) -> Response:
        return json_of(await asyncio.to_thread(self._whole, request.path_params["dream"]))

    def _whole(self, number: str) -> dict[str, Any]:
        dream = self._dreams.dream(number)
        telling = telling_of(dream.text, dream.language) if dream.text else []
        return asdict(dream) | {
            "day": _day(dream),
            "telling": telling,
            "cards": list(map(_card, self._dreams.cards(dream.id))),
        }

    # -- what is changed -----------------------------------------------------------------------------------

    async def _write(self, request: Request) -> Response:
        order = await order_of(request, _Write)

        def write() -> dict[str, Any]:
            before = self._dreams.dream(order.id) if order.id else Dream()
            known = order.before if order.id else None
            values = {key: getattr(order, key) for key in ("title", "mood", "lucidity", "language")}
            t_s = _moved(before.t_s, order.day)
            made = titled(replace(before, **values, text=order.text, t_s=t_s, tags=tuple(order.tags)))
            return self._whole(self._dreams.write(made, known).id)

        return json_of(await asyncio.to_thread(write))

    def _recorded(self, flac: bytes, seconds: float, asked: Mapping[str, str]) -> dict[str, Any]:
        made = self._dreams.record(flac, seconds, 0.0, asked.get("language", ""), self._services.keep)
        self._beside.kick()
        return self._whole(made.id)

    async def _hear_again(self, request: Request) -> Response:
        made = await asyncio.to_thread(self._dreams.hear_again, request.path_params["dream"])
        self._beside.kick()
        return json_of(await asyncio.to_thread(self._whole, made.id))

    async def _delete(self, request: Request) -> Response:
        await asyncio.to_thread(self._dreams.delete, request.path_params["dream"])
        return json_of({})

    async def _delete_everything(self, request: Request) -> Response:
        await check_sure(request)
        await asyncio.to_thread(self._dreams.delete_all)
        return json_of({})

    async def _pdf(self, request: Request) -> Response:
        number = request.path_params.get("dream", "")
        name = (await asyncio.to_thread(self._dreams.dream, number)).id if number else ""
        path, gone = await self._services.export(["dream", "pdf", *([name] if name else [])], "dreams.pdf")
        headers = PAGE_HEADERS | {"Content-Disposition": f'attachment; filename="{name or "dreams"}.pdf"'}
        return FileResponse(path, headers=headers, background=BackgroundTask(gone))

    # -- pictures ------------------------------------------------------------------------------------------

    async def _draw(self, request: Request) -> Response:
        order, number = await order_of(request, _Draw), request.path_params["dream"]

        def draw() -> dict[str, Any]:
            dream = self._dreams.dream(number)
            if not dream.text:
                raise ConfigError("there is nothing to draw yet: it is not written down")
            sentences = telling_of(dream.text, dream.language, order.count)
            self._dreams.draw(dream.id, sentences, self._look(order.generator, order.model))
            return self._whole(dream.id)

        answer = await asyncio.to_thread(draw)
        self._beside.kick()
        return json_of(answer)

    async def _draw_again(self, request: Request) -> Response:
        order, number = await order_of(request, _Card), request.path_params["dream"]

        def again() -> dict[str, Any]:
            card, boards = self._card_of(number, order.card), self._dreams.pictures
            look = self._look(order.generator, order.model)
            boards.want(card.id, wanted_of(boards.board(card.board), card, look))
            return self._whole(number)

        answer = await asyncio.to_thread(again)
        self._beside.kick()
        return json_of(answer)

    async def _drop(self, request: Request) -> Response:
        order, number = await order_of(request, _Card), request.path_params["dream"]

        def drop() -> dict[str, Any]:
            self._dreams.pictures.delete([self._card_of(number, order.card).id])
            return self._whole(number)

        return json_of(await asyncio.to_thread(drop))

    def _card_of(self, number: str, card: int) -> Card:
        found = next((one for one in self._dreams.cards(number) if one.id == card), None)
        if found is None:
            raise ConfigError("this dream has no such picture: it may have been deleted")
        return found

    def _look(self, generator: str, model: str) -> Look:
        kind = drawer(generator, self._services.generators())
        return Look(generator=kind, model=model, seed=random.randrange(MAX_SEED + 1))


def _day(dream: Dream) -> str:
    return f"{datetime.fromtimestamp(dream.t_s):%Y-%m-%d}"


def _row(dream: Dream) -> dict[str, Any]:
    return asdict(dream) | {"day": _day(dream), "text": " ".join(dream.text[: 2 * EXCERPT].split())[:EXCERPT]}


def _card(card: Card) -> dict[str, Any]:
    stands, last = card.chosen, card.versions[-1] if card.versions else None
    return {
        "id": card.id, "sentence": card.text, "making": last.making if last else "", "why": last.why if last else "",
        "picture": stands.picture if stands else "", "generator": stands.generator if stands else "",
        "model": stands.model if stands else "", "licence": stands.licence if stands else "",
        "seed": stands.seed if stands else 0,
    }  # fmt: skip


def _span(day: str) -> tuple[float, float]:
    """Return the seconds of a day, or a month (2026-11); all time for an empty one. Raises ConfigError."""
    if not day:
        return -ALWAYS, ALWAYS
    try:
        begin = datetime.strptime(day, "%Y-%m-%d" if len(day) > 7 else "%Y-%m")
        end = begin + timedelta(days=1) if len(day) > 7 else (begin.replace(day=1) + timedelta(days=32)).replace(day=1)
        return begin.timestamp(), end.timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"a day is 2026-11-27, a month 2026-11: got {day[:20]!r}") from None


def _moved(t_s: float, day: str) -> float:
    """Return a time on another day, at the same hour. Raises ConfigError."""
    if not day:
        return t_s
    begin, _ = _span(day)
    if not t_s:
        today = datetime.now()
        return begin + today.hour * 3600.0 + today.minute * 60.0
    before = datetime.fromtimestamp(t_s)
    if f"{before:%Y-%m-%d}" == day:
        return t_s
    return begin + before.hour * 3600.0 + before.minute * 60.0
