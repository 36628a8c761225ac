"""The page /board: cards of a board in a grid, to be put in order, starred, edited, made again and taken away.

What a page wants goes to the boards' file at once; other pages see it within a second, since each change of a board is
counted. Pictures are made by the studio, exports by a process of their own: no beat waits for either.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from vjserver.controls.web.asked import (
    MOST_BODY,
    PAGE_HEADERS,
    body_within,
    check_sure,
    files_of,
    json_of,
    order_of,
    page_of,
    told,
    whole_of,
    within,
)
from vjserver.keeping import pictures
from vjserver.keeping.boards import MOST_WINDOW, Boards
from vjserver.keeping.cards import Board, Card, Version
from vjserver.keeping.wishes import wanted_of
from vjserver.show.addresses import MAX_SEED
from vjserver.show.state import Look
from vjserver.types.errors import ConfigError

FILES = Path(__file__).parent / "board"
MOST_PICTURE = pictures.LARGEST_FILE
EXPORTS = {
    "pdf": ".pdf", "storyboard": ".zip", "storyboarder": ".zip", "pictures": ".zip", "film": ".mp4",
}  # fmt: skip
Answer = dict[str, Any]
Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class _Name(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class _Edit(msgspec.Struct, forbid_unknown_fields=True):
    name: str | None = None
    style: str | None = None
    negative: str | None = None


class _Cast(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    look: str


class _New(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    before: Number | None = None
    render: bool = True


class _Write(msgspec.Struct, forbid_unknown_fields=True):
    text: str | None = None
    notes: str | None = None
    star: bool | None = None
    version: Number | None = None


class _Again(msgspec.Struct, forbid_unknown_fields=True):
    """``seed``: a number, or ``same`` or ``other``; ``generator`` empty: the same."""

    seed: int | str = "other"
    generator: str = ""
    model: str = ""


class _Move(msgspec.Struct, forbid_unknown_fields=True):
    cards: list[Number]
    before: Number | None = None


class _Cards(msgspec.Struct, forbid_unknown_fields=True):
    cards: list[Number]


class _Version(msgspec.Struct, forbid_unknown_fields=True):
    version: Number


class BoardPage:
    """The routes of the page.

    ``boards`` returns the boards, opened; ``look`` that of the show, for cards that have none; ``generators`` are the
    kinds that may draw. ``export`` makes a file of a board (its number, the kind of file, options) in a folder of its
    own, which it removes with the returned function; ``take_in`` makes a board of a script, and returns its number.
    """

    def __init__(
        self,
        boards: Callable[[], Boards],
        look: Callable[[], Look],
        generators: Callable[[], list[str]],
        export: Callable[[str, str, list[str]], Awaitable[tuple[Path, Callable[[], None]]]],
        take_in: Callable[[bytes, str], Awaitable[str]],
    ) -> None:
        self._take_in = take_in
        self._boards, self._look, self._generators, self._export = boards, look, generators, export
        self._exporting = asyncio.Semaphore(1)

    def routes(self) -> list[Route]:
        """Return what is to be served."""
        rows: list[tuple[str, str, Any]] = [
            ("GET", "", page_of(FILES / "index.html")),
            ("GET", "/files/{name}", files_of(within(FILES))),
            ("GET", "/media/{name}", self._media),
            ("GET", "/boards", self._list),
            ("POST", "/new", self._new),
            ("POST", "/delete-everything", self._delete_everything),
            ("POST", "/import/fountain", self._fountain),
            ("GET", "/of/{board}", self._board),
            ("GET", "/of/{board}/head", self._head),
            ("GET", "/of/{board}/cards", self._cards),
            ("POST", "/of/{board}/edit", self._edit),
            ("POST", "/of/{board}/cast", self._cast),
            ("POST", "/of/{board}/cast-picture", self._cast_picture),
            ("POST", "/of/{board}/card", self._add),
            ("POST", "/of/{board}/move", self._move),
            ("POST", "/of/{board}/delete", self._delete),
            ("GET", "/of/{board}/export/{kind}", self._exported),
            ("POST", "/cards/delete", self._delete_cards),
            ("GET", "/card/{card:int}", self._card),
            ("POST", "/card/{card:int}", self._write),
            ("POST", "/card/{card:int}/render", self._again),
            ("POST", "/card/{card:int}/drop", self._drop),
        ]
        return [Route(f"/board{path}", told(endpoint), methods=[method]) for method, path, endpoint in rows]

    async def _media(self, request: Request) -> Response:
        return await files_of((await self._opened()).media.path)(request)

    # -- boards --------------------------------------------------------------------------------------------

    async def _list(self, _request: Request) -> Response:
        boards = await self._opened()
        found = await asyncio.to_thread(boards.boards)
        return json_of({"boards": [asdict(one) for one in found], "generators": self._generators()})

    async def _new(self, request: Request) -> Response:
        order, boards = await order_of(request, _Name), await self._opened()
        return json_of(asdict(await asyncio.to_thread(boards.make, order.name)))

    async def _board(self, request: Request) -> Response:
        return json_of(asdict(await asyncio.to_thread((await self._opened()).board, request.path_params["board"])))

    async def _head(self, request: Request) -> Response:
        boards = await self._opened()

        def head() -> Answer:
            return {"change": boards.change_of(request.path_params["board"]), "wanted": boards.wanted()}

        return json_of(await asyncio.to_thread(head))

    async def _edit(self, request: Request) -> Response:
        order, boards = await order_of(request, _Edit), await self._opened()
        board = request.path_params["board"]
        return json_of(asdict(await asyncio.to_thread(boards.edit, board, order.name, order.style, order.negative)))

    async def _cast(self, request: Request) -> Response:
        order, boards = await order_of(request, _Cast), await self._opened()
        return json_of(
            asdict(await asyncio.to_thread(boards.cast, request.path_params["board"], order.name, order.look))
        )

    async def _cast_picture(self, request: Request) -> Response:
        data, boards = await body_within(request, MOST_PICTURE), await self._opened()
        board, name = request.path_params["board"], request.query_params.get("name", "")

        def put() -> Board:
            member = next((one for one in boards.board(board).cast if one.name == name), None)
            if member is None:
                raise ConfigError(f"nobody in the cast is called {name[:40]!r}")
            return boards.cast(board, name, member.look, pictures.read(data).data, "jpg")

        return json_of(asdict(await asyncio.to_thread(put)))

    async def _delete(self, request: Request) -> Response:
        await asyncio.to_thread((await self._opened()).delete_board, request.path_params["board"])
        return json_of({})

    async def _delete_everything(self, request: Request) -> Response:
        await check_sure(request)
        await asyncio.to_thread((await self._opened()).delete_all)
        return json_of({})

    async def _fountain(self, request: Request) -> Response:
        data, boards = await body_within(request, MOST_BODY), await self._opened()
        async with self._exporting:
            board = await self._take_in(data, request.query_params.get("name", "")[:60])
        return json_of(asdict(await asyncio.to_thread(boards.board, board)))

    async def _exported(self, request: Request) -> Response:
        board, kind = request.path_params["board"], request.path_params["kind"]
        if kind not in EXPORTS:
            raise ConfigError(f"a board is exported as one of {', '.join(EXPORTS)}: got {kind[:20]!r}")
        found = await asyncio.to_thread((await self._opened()).board, board)
        options = [f"--{name}={value}" for name in ("per-page", "font-size") if (value := whole_of(request, name))]
        async with self._exporting:
            path, gone = await self._export(board, kind, options)
        name = "".join(c for c in found.name if c.isascii() and (c.isalnum() or c in " -_")).strip() or "board"
        headers = PAGE_HEADERS | {"Content-Disposition": f'attachment; filename="{name}{EXPORTS[kind]}"'}
        return FileResponse(path, headers=headers, background=BackgroundTask(gone))

    # -- cards ---------------------------------------------------------------------------------------------

    async def _cards(self, request: Request) -> Response:
        boards, board = await self._opened(), request.path_params["board"]
        count = whole_of(request, "count") or MOST_WINDOW
        search, starred = request.query_params.get("search", "")[:200], bool(whole_of(request, "starred"))

        def cards() -> Answer:
            change = boards.change_of(board)  # before the cards: what changes meanwhile is asked for again
            total, rows = boards.window(board, whole_of(request, "offset"), count, search, starred)
            return {"change": change, "total": total, "cards": [_row(card) for card in rows]}

        return json_of(await asyncio.to_thread(cards))

    async def _card(self, request: Request) -> Response:
        return json_of(_row(await asyncio.to_thread((await self._opened()).card, _card_of(request))))

    async def _add(self, request: Request) -> Response:
        order, boards, board = await order_of(request, _New), await self._opened(), request.path_params["board"]

        def add() -> Card:
            version = wanted_of(boards.board(board), Card(text=order.text), self._look())  # too long with its cast?
            card = boards.add(board, Card(text=order.text), order.before)
            return boards.want(card.id, version) if order.render else card

        return json_of(_row(await asyncio.to_thread(add)))

    async def _write(self, request: Request) -> Response:
        order, boards = await order_of(request, _Write), await self._opened()
        card = _card_of(request)
        values = (order.text, order.notes, order.star, order.version)
        return json_of(_row(await asyncio.to_thread(boards.write, card, *values)))

    async def _again(self, request: Request) -> Response:
        order, boards, number = await order_of(request, _Again), await self._opened(), _card_of(request)

        def again() -> Card:
            card = boards.card(number)
            before = card.chosen or next(iter(card.versions[::-1]), None)
            look = _look_of(before) if before is not None else self._look()
            if order.generator and order.generator not in self._generators():
                raise ConfigError(f"unknown generator {order.generator[:40]!r}; there are: "
                                  f"{', '.join(self._generators())}")  # fmt: skip
            if (order.generator and order.generator != look.generator) or order.model:
                look = replace(look, generator=order.generator or look.generator, model=order.model, input="")
            seed = {"same": look.seed, "other": random.randrange(MAX_SEED + 1)}.get(str(order.seed), order.seed)
            if not isinstance(seed, int):
                raise ConfigError(f"a seed is a number, same, or other: got {str(seed)[:20]!r}")
            return boards.want(number, wanted_of(boards.board(card.board), card, look, seed=seed))

        return json_of(_row(await asyncio.to_thread(again)))

    async def _drop(self, request: Request) -> Response:
        order, boards = await order_of(request, _Version), await self._opened()
        await asyncio.to_thread(boards.drop_version, order.version)
        return json_of(_row(await asyncio.to_thread(boards.card, _card_of(request))))

    async def _move(self, request: Request) -> Response:
        order, boards = await order_of(request, _Move), await self._opened()
        await asyncio.to_thread(boards.move, request.path_params["board"], order.cards, order.before)
        return json_of({})

    async def _delete_cards(self, request: Request) -> Response:
        order, boards = await order_of(request, _Cards), await self._opened()
        await asyncio.to_thread(boards.delete, order.cards)
        return json_of({})

    async def _opened(self) -> Boards:
        return await asyncio.to_thread(self._boards)


def _row(card: Card) -> Answer:
    """Return a card as a page knows it: without the whole looks of its versions."""
    row = asdict(card)
    for version in row["versions"]:
        del version["look"]
    return row


def _look_of(version: Version) -> Look:
    """Return the look in which a picture was made."""
    try:
        look = msgspec.json.decode(version.look, type=Look)
    except (msgspec.DecodeError, msgspec.ValidationError):
        look = Look()  # it is of another version of vjserver
    return replace(look, seed=version.seed, generator=version.generator, model=version.model)


def _card_of(request: Request) -> int:
    """Return a card's number; one that none can have is 0."""
    number: int = request.path_params["card"]
    return number if number < 1 << 62 else 0
