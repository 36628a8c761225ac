"""The command ``vjserver dream``: a journal that no show opens and no network sees."""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from vjserver.app.film_order import sides_of
from vjserver.app.show import load_show, own_show
from vjserver.commands import deleting
from vjserver.commands.options import drawing, generator, microphone, pages
from vjserver.documents import journal
from vjserver.keeping.dreams import Dream, Dreams
from vjserver.keeping.recordings import unpacked
from vjserver.keeping.wishes import drawer
from vjserver.private.telling import signs_of, telling_of, title_of, titled
from vjserver.runtime.installed import installed
from vjserver.runtime.priority import raise_priority
from vjserver.show.addresses import MAX_SEED
from vjserver.show.state import Look
from vjserver.types.errors import ConfigError, KeepingError, sentence_of


def arguments(dream: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver dream`` takes."""
    verbs = dream.add_subparsers(required=True, metavar="ACTION", dest="verb")
    write = verbs.add_parser("write", help="keep a dream: typed here, or from the standard input")
    write.add_argument("text", nargs="*")
    hear = verbs.add_parser("hear", help="keep a dream that was said into a recording (a whisper counts)")
    hear.add_argument("file", type=Path)
    record = verbs.add_parser("record", help="record a dream from a microphone (Enter ends it), then write it down")
    microphone(record)
    record.add_argument("--later", action="store_true", help="only record: vjserver dream finish writes it down")
    record.add_argument("--keep-sound", action="store_true", help="keep the recording when it is written down")
    for verb in (write, hear):
        verb.add_argument("--title", default="", help="default: the most telling sentence")
        verb.add_argument("--tag", action="append", default=[], metavar="TAG")
        verb.add_argument("--mood", default="")
        verb.add_argument("--lucidity", type=int, default=0, metavar="0..5", help="how much you knew that you dreamt")
    for verb in (write, hear, record):
        verb.add_argument("--when", default="", metavar="DAY", help="2026-11-27, or with a time (default: now)")
        verb.add_argument("--language", default="", metavar="L", help="such as en or es")
    finish = verbs.add_parser("finish", help="write down recordings, and draw pictures, that wait")
    listing = verbs.add_parser("list", help="list dreams, the newest first")
    show = verbs.add_parser("show", help="print a dream, and its most telling sentences")
    change = verbs.add_parser("change", help="change what a dream is called, its day, mood, tags or text")
    change.add_argument("--title", default="")
    change.add_argument("--tag", action="append", metavar="TAG", help="all its tags anew; an empty one takes them away")
    change.add_argument("--mood")
    change.add_argument("--lucidity", type=int, metavar="0..5")
    change.add_argument("--when", default="", metavar="DAY")
    change.add_argument("--language", metavar="L")
    change.add_argument("--text")
    verbs.add_parser("signs", help="words that return in three dreams or more")
    calendar = verbs.add_parser("calendar", help="how many dreams each day had")
    calendar.add_argument("year", nargs="?", default="")
    draw = verbs.add_parser("draw", help="have the most telling sentences of a dream drawn")
    draw.add_argument("--count", type=int, default=3, metavar="N", help="so many sentences (default 3)")
    draw.add_argument("--seed", type=int)
    paper = verbs.add_parser("pdf", help="write a dream, or all of them, as a PDF")
    paper.add_argument("dream", nargs="?", default="", metavar="NUMBER")
    paper.add_argument("--font-size", type=float, default=11.0, metavar="PT", help="default 11")
    export = verbs.add_parser("export", help="write all dreams into a folder, with pictures and sound")
    take = verbs.add_parser("import", help="take in a folder that export wrote")
    take.add_argument("folder", type=Path)
    mint = verbs.add_parser("mint", help="write one dream with its hash, the time and a licence")
    mint.add_argument("--licence", default="All rights reserved", help="default: all rights reserved")
    for verb in (show, change, draw, mint):
        verb.add_argument("dream", metavar="NUMBER", help="or its first four signs")
    for verb in (listing, paper):
        verb.add_argument("--search", default="", metavar="WORDS")
        verb.add_argument("--tag", default="")
    for verb, out in ((paper, "OUT.pdf"), (export, "FOLDER"), (mint, "FOLDER")):
        verb.add_argument("-o", "--output", type=Path, required=True, metavar=out)
    page = verbs.add_parser("open", help="the pages of the journal and the notebook, for you alone")
    pages(page)
    for verb in (draw, finish):
        drawing(verb)
    generator(draw)
    for verb in (finish, paper):
        verb.add_argument("--beside", action="store_true", help=argparse.SUPPRESS)  # a page asks for it
    delete = verbs.add_parser("delete", help="delete a dream; nothing of it is left")
    deleting.arguments(delete, "dream", "vjserver dream list")


def run(args: argparse.Namespace) -> int:
    """Run one of ``vjserver dream``'s actions."""
    if getattr(args, "beside", False):
        raise_priority(-10)  # a show may run beside it
    dreams = Dreams()
    try:
        return _ACTIONS[args.verb](dreams, args)
    finally:
        dreams.close()


def _time_of(text: str) -> float:
    if text in ("", "today", "yesterday"):
        return time.time() - 86400.0 * (text == "yesterday")
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M"):
        try:
            return datetime.strptime(text, form).timestamp()
        except (ValueError, OverflowError):
            continue
    raise ConfigError(f"--when is yesterday, or a day such as 2026-11-27, with a time or without: got {text[:40]!r}")


# -- what comes in ---------------------------------------------------------------------------------------------


def _write(dreams: Dreams, args: argparse.Namespace) -> int:
    text = " ".join(args.text) if args.text else sys.stdin.read()
    made = dreams.write(titled(_described(Dream(text=text), args)))
    print(f"{made.id}  {made.title}")
    return 0


def _described(dream: Dream, args: argparse.Namespace) -> Dream:
    """Return an entry with what a line says of it."""
    return replace(
        dream, t_s=_time_of(args.when), title=args.title, mood=args.mood, lucidity=args.lucidity,
        language=args.language, tags=tuple(args.tag),
    )  # fmt: skip


def _hear(dreams: Dreams, args: argparse.Namespace) -> int:
    """Write down what was said into a recording, and keep that; the recording itself is left alone."""
    from vjserver.app.speech import sound_of, written_down

    text, language = written_down(sound_of(args.file), args.language)
    made = dreams.write(titled(replace(_described(Dream(text=text), args), language=language)))
    print(f"{made.id}  {made.title}")
    return 0


def _record(dreams: Dreams, args: argparse.Namespace) -> int:
    """Record first; write it down after."""
    from vjserver.app.speech import taken_down

    t_s = _time_of(args.when)  # what makes no sense is told before anybody talks
    name = taken_down(dreams.recordings, args.device, args.seconds, {"language": args.language})
    made = dreams.record(*dreams.recordings.whole(name), t_s, args.language, args.keep_sound)
    dreams.recordings.drop(name)
    print(f"{made.id}  {made.title}", flush=True)
    if args.later:
        print("vjserver dream finish writes it down")
        return 0
    write_down(dreams, made)
    made = dreams.dream(made.id)
    print(f"{made.title}\n\n{made.text}" if not made.hearing else f"it is not written down: {made.why}")
    return 0


def write_down(dreams: Dreams, dream: Dream) -> None:
    """Write down a recording; one in which nothing can be understood stays. Raises KeepingError."""
    from vjserver.app.speech import written_down

    try:
        text, language = written_down(unpacked(dreams.media.read(dream.sound)), dream.language)
        if not text.strip():
            raise ConfigError("nobody was understood in it: listen to it, and type it")
        dreams.heard(dream.id, text, language, title_of(text, language))
    except KeepingError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it was, the next recording is written down
        dreams.not_heard(dream.id, sentence_of(error))


def _finish(dreams: Dreams, args: argparse.Namespace) -> int:
    """Write down recordings, and make pictures, that wait."""
    dreams.sweep()
    heard = drawn = failed = 0
    while (dream := dreams.unheard()) is not None:
        write_down(dreams, dream)
        try:
            now = dreams.dream(dream.id)
        except ConfigError:
            continue  # it was deleted meanwhile
        heard += not now.hearing
        failed += now.hearing == "failed"
        print(f"{now.id}  {now.title}" + (f": {now.why}" if now.why else ""), flush=True)
    if dreams.wanted()[1]:
        from vjserver.app.studio import Maker, make_next

        show = load_show(args.show or own_show())
        maker = Maker(installed(), show.generators, sides_of(args.size, (show.video.width, show.video.height)))
        try:
            while (card := make_next(dreams.pictures, maker)) is not None:
                last = card.versions[-1] if card.versions else None
                drawn += last is not None and last.making == "made"
                failed += last is not None and last.making == "failed"
                print(card.text + (f": {last.why}" if last is not None and last.why else ""), flush=True)
        finally:
            maker.close()
    print(f"{heard} written down, {drawn} drawn" + (f", {failed} could not be: see above" if failed else ""))
    return 1 if failed and not heard + drawn else 0


# -- what is there ---------------------------------------------------------------------------------------------


def _list(dreams: Dreams, args: argparse.Namespace) -> int:
    found = dreams.dreams(args.search, args.tag)
    for dream in found:
        day = datetime.fromtimestamp(dream.t_s).strftime("%Y-%m-%d %H:%M")
        tags = " ".join(f"#{tag}" for tag in dream.tags)
        print(f"{dream.id}  {day}  {dream.title}  {tags}".rstrip())
    if not found:
        print("no dream matches" if args.search or args.tag else "no dream yet: vjserver dream write")
    return 0


def _show(dreams: Dreams, args: argparse.Namespace) -> int:
    dream = dreams.dream(args.dream)
    print(f"{dream.title}\n{datetime.fromtimestamp(dream.t_s):%Y-%m-%d %H:%M}", end="")
    print(f", {dream.mood}" if dream.mood else "", end="")
    print(f", lucidity {dream.lucidity}" if dream.lucidity else "")
    print(" ".join(f"#{tag}" for tag in dream.tags))
    if dream.hearing:
        print(f"\nnot written down yet: {dream.why or 'vjserver dream finish'}")
    print(f"\n{dream.text}\n\nmost telling:")
    for told in telling_of(dream.text, dream.language):
        print(f"  {told}")
    return 0


def _change(dreams: Dreams, args: argparse.Namespace) -> int:
    """Change what is said of an entry: what is not named stays."""
    dream = dreams.dream(args.dream)
    given = {
        "title": args.title or None, "mood": args.mood, "lucidity": args.lucidity, "language": args.language,
        "t_s": _time_of(args.when) if args.when else None, "text": args.text,
        "tags": None if args.tag is None else tuple(tag for tag in args.tag if tag),
    }  # fmt: skip
    changed = {name: value for name, value in given.items() if value is not None}
    made = dreams.write(replace(dream, **changed), dream.text)
    print(f"{made.id}  {made.title}  {' '.join(f'#{tag}' for tag in made.tags)}".rstrip())
    return 0


def _signs(dreams: Dreams, _args: argparse.Namespace) -> int:
    signs = signs_of(dreams)
    for word, count in signs:
        print(f"{count:4d}  {word}")
    if not signs:
        print("nothing returns in three dreams yet")
    return 0


def _calendar(dreams: Dreams, args: argparse.Namespace) -> int:
    """Print how many dreams each month, and each day of it, has."""
    days = Counter(datetime.fromtimestamp(t_s).strftime("%Y-%m-%d") for t_s in dreams.times())
    months = sorted({day[:7] for day in days if day.startswith(args.year)})
    for month in months:
        of = {int(day[8:]): count for day, count in days.items() if day.startswith(month)}
        print(f"{month}  {sum(of.values()):3d}  " + "".join(".123456789"[min(9, of.get(d, 0))] for d in range(1, 32)))
    if not months:
        print("no dream yet")
    return 0


# -- what goes out ---------------------------------------------------------------------------------------------


def _draw(dreams: Dreams, args: argparse.Namespace) -> int:
    """Have the most telling sentences of a dream drawn."""
    dream = dreams.dream(args.dream)
    kind = drawer(args.generator, installed().infos)
    seed = random.randrange(MAX_SEED + 1) if args.seed is None else args.seed
    look = Look(generator=kind, model=args.model, seed=seed)
    dreams.draw(dream.id, telling_of(dream.text, dream.language, args.count), look)
    return _finish(dreams, args)


def _pdf(dreams: Dreams, args: argparse.Namespace) -> int:
    found = [dreams.dream(args.dream)] if args.dream else dreams.dreams(args.search, args.tag)
    title = found[0].title if args.dream else "Dreams"
    pages = journal.write_pdf(
        args.output, dreams, found, title, args.font_size, lambda why: print(why, file=sys.stderr)
    )
    print(f"{args.output}: {_count(len(found), 'dream')} on {_count(pages, 'page')}")
    return 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _export(dreams: Dreams, args: argparse.Namespace) -> int:
    print(f"{args.output}: {journal.export(dreams, args.output)} dreams")
    return 0


def _import(dreams: Dreams, args: argparse.Namespace) -> int:
    print(f"{journal.take_in(dreams, args.folder)} dreams are taken in")
    return 0


def _mint(dreams: Dreams, args: argparse.Namespace) -> int:
    print(f"{args.output}: {journal.mint(dreams, args.dream, args.output, args.licence)}")
    return 0


def _delete(dreams: Dreams, args: argparse.Namespace) -> int:
    def one(number: str) -> str:
        dream = dreams.dream(number)
        dreams.delete(dream.id)
        return f"{dream.title!r} is deleted: nothing of it is left"

    return deleting.run(args, "dream", len(dreams.times()), dreams.delete_all, one)


def _open(dreams: Dreams, args: argparse.Namespace) -> int:
    from vjserver.app.pages import open_pages

    dreams.close()
    return open_pages(args, "/dreams")


_ACTIONS: dict[str, Callable[[Dreams, argparse.Namespace], int]] = {
    "write": _write, "hear": _hear, "record": _record, "finish": _finish, "list": _list, "show": _show,
    "change": _change, "signs": _signs, "calendar": _calendar, "draw": _draw, "pdf": _pdf, "export": _export,
    "import": _import, "mint": _mint, "delete": _delete, "open": _open,
}  # fmt: skip
