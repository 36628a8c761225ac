"""The command ``vjserver board``: boards without a show."""

import argparse
import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from vjserver.app.exporting import exported, taken_in
from vjserver.app.film_order import sides_of
from vjserver.app.show import Show, load_show, own_show
from vjserver.commands import deleting
from vjserver.commands.options import drawing, generator, seconds
from vjserver.documents import archive, fountain, pdf
from vjserver.keeping.boards import Boards
from vjserver.keeping.cards import Board, Card
from vjserver.keeping.wishes import wanted_of
from vjserver.runtime.files import slug_of
from vjserver.runtime.installed import installed
from vjserver.runtime.priority import raise_priority
from vjserver.show.addresses import FALLBACK_GENERATOR
from vjserver.show.state import Look
from vjserver.types.errors import ConfigError, OutputError

Say = Callable[[str], None]


def arguments(board: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver board`` takes."""
    verbs = board.add_subparsers(required=True, metavar="ACTION", dest="verb")
    verbs.add_parser("list", help="list all boards")
    show = verbs.add_parser("show", help="print the cards of a board")
    show.add_argument("board")
    show.add_argument("--json", action="store_true", help="one JSON line a card")
    new = verbs.add_parser("new", help="make a board")
    new.add_argument("name")
    new.add_argument("--style", default="", help="stands behind every text: 'woodcut, deep shadows'")
    add = verbs.add_parser("add", help="add cards, whose pictures the studio makes")
    add.add_argument("board")
    add.add_argument("text", nargs="+")
    generator(add)
    add.add_argument("--seed", type=int, default=1)
    render = verbs.add_parser("render", help="make every picture that cards want")
    drawing(render)
    export = verbs.add_parser("export", help="write a board as a PDF, a film, a storyboard, a folder")
    export.add_argument("board")
    export.add_argument("kind", choices=("pdf", "film", "storyboard", "storyboarder", "pictures"))
    export.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="a file, or a new folder")
    export.add_argument("--per-page", type=int, default=6, metavar="N", help="pdf: 1, 2, 4, 6 or 9 cards a page")
    export.add_argument("--font-size", type=float, default=10.0, metavar="PT", help="pdf: default 10")
    export.add_argument(
        "--seconds", type=seconds, default=4.0, metavar="N", help="film: seconds for each card (default 4)"
    )
    export.add_argument("--size", metavar="WxH", help="film: default 1280x720")
    export.add_argument("--no-captions", action="store_true", help="film: captions in the .srt file only")
    export.add_argument("--zip", action="store_true", help="a folder as one .zip file")
    take = verbs.add_parser("import", help="take in a script (.fountain), or a folder that export pictures wrote")
    take.add_argument("path", type=Path)
    for verb in (export, take):
        verb.add_argument("--beside", action="store_true", help=argparse.SUPPRESS)  # a show asks for it
    delete = verbs.add_parser("delete", help="delete a board: cards, pictures, sounds; nothing of it is left")
    deleting.arguments(delete, "board", "vjserver board list")
    page = verbs.add_parser("open", help="the page of boards, without a show")
    page.add_argument("--port", type=int, default=9022)
    page.add_argument("--show", type=Path, metavar="SHOW.toml", help="take the generators of this show")


def run(args: argparse.Namespace) -> int:
    """Run one of ``vjserver board``'s actions."""
    if getattr(args, "beside", False):
        raise_priority(-10)  # a show runs beside it
    boards = Boards()
    try:
        boards.sweep()
        return _ACTIONS[args.verb](boards, args)
    finally:
        boards.close()


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _list(boards: Boards, _args: argparse.Namespace) -> int:
    rows = boards.boards()
    for one in rows:
        print(f"{one.id}  {one.cards:5d} cards  {one.name}")
    if not rows:
        print("no board yet: say or type something in a show, or make one: vjserver board new NAME")
    return 0


def _show(boards: Boards, args: argparse.Namespace) -> int:
    board = boards.find(args.board)
    for number, card in enumerate(boards.cards(board.id), 1):
        if args.json:
            row = asdict(card)
            for version in row["versions"]:
                del version["look"]
            print(json.dumps({"number": number} | row, ensure_ascii=False))
        else:
            last = card.versions[-1] if card.versions else None
            about = (
                ("1 picture" if len(card.versions) == 1 else f"{len(card.versions)} pictures")
                if last is None or last.making == "made"
                else last.making
            )
            why = f": {last.why}" if last is not None and last.why else ""
            print(f"{number:4d} {'*' if card.star else ' '} {card.text}  ({about}{why})")
    return 0


def _new(boards: Boards, args: argparse.Namespace) -> int:
    board = boards.make(args.name, args.style)
    print(f"{board.id}  {board.name}")
    return 0


def _add(boards: Boards, args: argparse.Namespace) -> int:
    board = boards.find(args.board)
    look = Look(generator=args.generator or FALLBACK_GENERATOR, model=args.model, seed=args.seed)
    for text in args.text:
        card = boards.add(board.id, Card(text=text))
        boards.want(card.id, wanted_of(board, card, look))
    print(f"{board.name}: {len(args.text)} cards; vjserver board render makes their pictures")
    return 0


def _render(boards: Boards, args: argparse.Namespace) -> int:
    """Make every picture that is wanted."""
    from vjserver.app.studio import Maker, make_next

    show = _show_of(args)
    size = sides_of(args.size, (show.video.width, show.video.height))
    maker = Maker(installed(), show.generators, size)
    failed = made = 0
    try:
        while True:
            card = make_next(boards, maker)
            if card is None:
                break
            last = card.versions[-1] if card.versions else None
            if last is not None and last.making == "failed":
                failed += 1
                print(f"{card.text}: {last.why}", file=sys.stderr)
            else:
                made += 1
                print(f"{card.text}")
    finally:
        maker.close()
    print(f"{made} pictures made" + (f", {failed} could not be made" if failed else ""))
    return 1 if failed and not made else 0


def _show_of(args: argparse.Namespace) -> Show:
    return load_show(args.show or own_show())


def export(boards: Boards, board: Board, kind: str, output: Path, args: argparse.Namespace, say: Say) -> str:
    """Write a board as a file of a kind; return a sentence. Raises VJError."""
    cards = boards.cards(board.id)
    if not cards:
        raise ConfigError(f"the board {board.name!r} has no cards")
    if kind == "pdf":
        cells = [
            pdf.Cell(f"{i}{'  ★' if card.star else ''}", card.text, card.notes, partial(_picture, boards, card))
            for i, card in enumerate(cards, 1)
        ]
        pages = pdf.write_cards(output, board.name, cells, args.per_page, args.font_size, say)
        return f"{output}: {len(cards)} cards on {pages} pages"
    if kind == "film":
        from vjserver.films.board import make_film

        length = make_film(board, cards, boards.media.path, output, sides_of(args.size, (1280, 720)),
                           seconds=args.seconds, burnt=not args.no_captions, say=say)  # fmt: skip
        return f"{output}: {len(cards)} cards, {length:.1f} s; captions: {output.with_suffix('.srt').name}"
    if kind == "storyboard":
        from vjserver.films.board import write_storyboard

        write_storyboard(board, cards, boards.media.path, installed(), output, args.seconds)
    elif kind == "storyboarder":
        archive.export_storyboarder(boards, board, output, slug_of(board.name) or "board")
    else:
        archive.export_pictures(boards, board, output)
    return f"{output}: {len(cards)} cards"


def _picture(boards: Boards, card: Card) -> bytes:
    return boards.media.read(card.chosen.picture) if card.chosen is not None else b""


def _export(boards: Boards, args: argparse.Namespace) -> int:
    board, output = boards.find(args.board), args.output
    if args.zip:
        print(_export_zip(boards, board, args))
    else:
        print(export(boards, board, args.kind, output, args, _say))
    return 0


def _export_zip(boards: Boards, board: Board, args: argparse.Namespace) -> str:
    """Write what is a folder as an archive, for a page that loads one file."""
    if args.kind in ("pdf", "film"):
        return export(boards, board, args.kind, args.output, args, _say)
    with tempfile.TemporaryDirectory(prefix=".board-", dir=args.output.parent) as place:
        name = slug_of(board.name) or "board"
        folder = Path(place) / name
        target = folder
        if args.kind == "storyboard":
            folder.mkdir()
            target = folder / "storyboard.toml"
        told = export(boards, board, args.kind, target, args, _say)
        made = shutil.make_archive(str(Path(place) / "made"), "zip", place, name)
        shutil.move(made, args.output)
        return told


def _import(boards: Boards, args: argparse.Namespace) -> int:
    path: Path = args.path
    if path.is_dir():
        board = archive.import_pictures(boards, path)
    else:
        try:
            if path.stat().st_size > fountain.LARGEST:
                raise ConfigError(f"{path} is too large for a script")
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigError(f"{path} is not UTF-8 text: save it as UTF-8") from None
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
        board = fountain.board_of_script(boards, text, path.stem)
    print(f"{board.id}  {board.cards} cards  {board.name}")
    return 0


def _delete(boards: Boards, args: argparse.Namespace) -> int:
    def one(name: str) -> str:
        board = boards.find(name)
        boards.delete_board(board.id)
        return f"{board.name} is deleted: {board.cards} cards, their pictures and sounds"

    return deleting.run(args, "board", len(boards.boards()), boards.delete_all, one)


def _open(boards: Boards, args: argparse.Namespace) -> int:
    """Serve the page without a show, and make what cards want."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import RedirectResponse
    from starlette.routing import Route

    from vjserver.app.studio import Maker, work
    from vjserver.controls.web.access import Guard
    from vjserver.controls.web.boards import BoardPage

    show, registry = _show_of(args), installed()
    page = BoardPage(lambda: boards, Look, lambda: list(registry.infos), exported, taken_in)
    home = Route("/", lambda _request: RedirectResponse("/board"))
    app = Guard(Starlette(routes=[home, *page.routes()]), ("127.0.0.1", "localhost"))
    ended = threading.Event()
    maker = Maker(registry, show.generators, (show.video.width, show.video.height))
    studio = threading.Thread(target=work, args=(boards, maker, ended.is_set), name="studio")
    studio.start()
    print(f"boards: http://127.0.0.1:{args.port}/board   (Ctrl-C ends)", flush=True)
    config = uvicorn.Config(app, "127.0.0.1", args.port, log_level="critical", lifespan="off")
    server = uvicorn.Server(config)
    try:
        server.run()
    except SystemExit:
        raise OutputError(f"port {args.port} cannot be used: --port N takes another one") from None
    finally:
        ended.set()
        studio.join()
        maker.close()
    return 0


_ACTIONS: dict[str, Callable[[Boards, argparse.Namespace], int]] = {
    "list": _list, "show": _show, "new": _new, "add": _add, "render": _render, "export": _export, "import": _import,
    "delete": _delete, "open": _open,
}  # fmt: skip
