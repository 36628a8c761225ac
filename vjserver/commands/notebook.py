"""The command ``vjserver notebook``: words that were missing in the language that somebody learns."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from vjserver.app.film_order import sides_of
from vjserver.app.noting import Noting
from vjserver.app.show import decoded, load_show, own_show
from vjserver.commands import deleting
from vjserver.commands.options import drawing, generator, microphone, pages
from vjserver.documents import decks
from vjserver.keeping.cards import Board, Card
from vjserver.keeping.notebook import GRADES, Notebook
from vjserver.keeping.recordings import unpacked
from vjserver.keeping.wishes import drawer, wanted_of
from vjserver.keeping.words import Word
from vjserver.recognisers.lexicon import WordLexicon
from vjserver.runtime.installed import installed
from vjserver.runtime.priority import raise_priority
from vjserver.show.state import Look
from vjserver.types.audio import Float32
from vjserver.types.errors import ConfigError, KeepingError, VJError, sentence_of

LARGEST = 16 << 20
SIZE = (512, 512)
STYLE = "clear picture of one thing, plain background"
KEYS = dict(zip("1234", GRADES, strict=True))


def arguments(notebook: argparse.ArgumentParser) -> None:
    """Declare what ``vjserver notebook`` takes."""
    verbs = notebook.add_subparsers(required=True, metavar="ACTION", dest="verb")
    read = verbs.add_parser("read", help="note the words of your own language in a text of the one that you learn")
    read.add_argument("file", type=Path)
    hear = verbs.add_parser("hear", help="note them in a recording in which you talk")
    hear.add_argument("file", type=Path)
    record = verbs.add_parser("record", help="talk into a microphone (Enter ends it); the words are noted after")
    microphone(record)
    for verb in (read, hear, record):
        verb.add_argument("--learn", required=True, metavar="L", help="the language that you learn: es, fr, de ...")
        verb.add_argument("--own", required=True, metavar="L", help="your own: en ...")
    for verb in (hear, record):
        verb.add_argument("--keep-sound", action="store_true", help="keep the sound of sentences with such a word")
    finish = verbs.add_parser("finish", help="listen to recordings, and draw pictures, that wait")
    finish.add_argument("--beside", action="store_true", help=argparse.SUPPRESS)  # a page asks for it
    draw = verbs.add_parser("draw", help="have words drawn (default: all that have no picture)")
    draw.add_argument("word", nargs="*")
    generator(draw)
    for verb in (record, finish, draw):
        drawing(verb)
    page = verbs.add_parser("open", help="the pages of the notebook and the journal, for you alone")
    pages(page)
    listing = verbs.add_parser("list", help="list the words, those most often missed first")
    listing.add_argument("--json", action="store_true", help="one JSON line a word")
    gloss = verbs.add_parser("gloss", help="say what a word means")
    gloss.add_argument("word")
    gloss.add_argument("meaning")
    verbs.add_parser("review", help="be asked for the words that are due")
    export = verbs.add_parser("export", help="write the words as CSV, or as a package for Anki")
    export.add_argument("kind", choices=("csv", "anki"))
    export.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.csv|.apkg")
    export.add_argument("--beside", action="store_true", help=argparse.SUPPRESS)
    for verb in (listing, export):
        verb.add_argument("--learn", default="", metavar="L", help="only words missed in this language")
        verb.add_argument("--own", default="", metavar="L", help="only words of this language")
    delete = verbs.add_parser("delete", help="delete a word and its sentences; nothing of it is left")
    deleting.arguments(delete, "word", "vjserver notebook list")


def run(args: argparse.Namespace) -> int:
    """Run one of ``vjserver notebook``'s actions."""
    if getattr(args, "beside", False):
        raise_priority(-10)  # a show may run beside it
    notebook = Notebook()
    try:
        return _ACTIONS[args.verb](notebook, args)
    finally:
        notebook.close()


def _say(why: str) -> None:
    print(why, file=sys.stderr)


def _told(words: list[Word]) -> None:
    for word in words:
        print(f"{word.word}: {word.gloss or '?'}   ({word.seen[-1].sentence})", flush=True)


def _read(notebook: Notebook, args: argparse.Namespace) -> int:
    path: Path = args.file
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} is too large: {LARGEST >> 20} MiB at most")
        text = decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    words = Noting(notebook, args.learn, args.own, _say)(text)
    _told(words)
    print(f"{len(words)} words noted")
    return 0


def _hear(notebook: Notebook, args: argparse.Namespace) -> int:
    """Note the words of a recording."""
    from vjserver.app.speech import sound_of

    noting = Noting(notebook, args.learn, args.own, _say)
    words, sentences = noted(noting, sentences_of(noting, sound_of(args.file)), args.keep_sound)
    _told(words)
    print(f"{len(words)} words noted in: {' '.join(sentences)}")
    return 0


def sentences_of(noting: Noting, sound: Float32) -> list[tuple[str, Float32]]:
    """Return what was understood in a recording, and its sound. Raises VJError."""
    from vjserver.app.speech import mixed_down

    return list(mixed_down(sound, noting.learn, noting.own, noting.lexicon))


def noted(noting: Noting, understood: list[tuple[str, Float32]], keep: bool) -> tuple[list[Word], list[str]]:
    """Note the words of what was understood; return them, and the sentences."""
    words = [word for text, piece in understood for word in noting(text, piece if keep else None, said=True)]
    return words, [text for text, _ in understood]


def _record(notebook: Notebook, args: argparse.Namespace) -> int:
    """Talk into a microphone; the words are noted after."""
    from vjserver.app.speech import taken_down

    WordLexicon(args.learn, args.own)  # a pair without data is told before anybody talks
    pair = {"learn": args.learn, "own": args.own}
    name = taken_down(notebook.recordings, args.device, args.seconds, pair)
    notebook.talk(args.learn, args.own, *notebook.recordings.whole(name), args.keep_sound)
    notebook.recordings.drop(name)
    return _finish(notebook, args)


def _finish(notebook: Notebook, args: argparse.Namespace) -> int:
    """Listen to recordings, and make pictures, that wait."""
    notebook.sweep()
    count = failed = 0
    while (talk := notebook.unheard()) is not None:
        try:
            noting = Noting(notebook, talk.learn, talk.own, _say)
            understood = sentences_of(noting, unpacked(notebook.media.read(talk.sound)))
            if not understood:
                raise ConfigError("nobody was understood in it")
            if not notebook.waits(talk.id):
                continue  # it was deleted, or somebody else has listened to it
            words, sentences = noted(noting, understood, talk.keep)
            _told(words)
            notebook.heard(talk.id, " ".join(sentences), words)
            count += len(words)
        except KeepingError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the next recording is listened to
            notebook.not_heard(talk.id, sentence_of(error))
            failed += 1
            _say(str(error))
    drawn, undrawn = _drawn(notebook, args)
    failed += undrawn
    print(f"{count} words noted, {drawn} drawn" + (f", {failed} could not be: see above" if failed else ""))
    return 1 if failed and not count + drawn else 0


def _drawn(notebook: Notebook, args: argparse.Namespace) -> tuple[int, int]:
    """Make the pictures that words want; return how many were made, and how many could not be."""
    if not notebook.wanted()[1]:
        return 0, 0
    from vjserver.app.studio import Maker

    show = load_show(args.show or own_show())
    maker, drawn, failed = Maker(installed(), show.generators, sides_of(args.size, SIZE)), 0, 0
    try:
        while (word := notebook.undrawn()) is not None:
            look = Look(generator=word.generator, model=word.model, seed=word.id)
            try:
                notebook.drawn(word.id, maker.make(wanted_of(Board("", "", STYLE), Card(text=word.lemma), look))[0])
                drawn += 1
                print(f"{word.lemma}: drawn", flush=True)
            except KeepingError:
                raise
            except VJError as error:
                notebook.not_drawn(word.id, str(error))
                failed += 1
                _say(f"{word.lemma}: {error}")
    finally:
        maker.close()
    return drawn, failed


def _draw(notebook: Notebook, args: argparse.Namespace) -> int:
    """Have words drawn: those that are named, or all that have no picture."""
    kind = drawer(args.generator, installed().infos)
    words = [notebook.find(name) for name in args.word] or [one for one in notebook.words() if not one.picture]
    notebook.want([word.id for word in words], kind, args.model)
    return _finish(notebook, args)


def _list(notebook: Notebook, args: argparse.Namespace) -> int:
    words = notebook.words(args.learn, args.own)
    for word in words:
        if args.json:
            print(json.dumps(asdict(word), ensure_ascii=False))
        else:
            print(f"{word.count:4d}  {word.lemma} ({word.own}): {word.gloss or '?'} ({word.learn})")
    if not words and not args.json:
        print("no words yet: vjserver notebook read FILE --learn es --own en")
    return 0


def _gloss(notebook: Notebook, args: argparse.Namespace) -> int:
    word = notebook.gloss(notebook.find(args.word).id, args.meaning)
    print(f"{word.lemma}: {word.gloss}")
    return 0


def _review(notebook: Notebook, _args: argparse.Namespace) -> int:
    """Ask for each word that is due: shown, answered in the head, and graded."""
    words = notebook.due(time.time())
    print(f"{len(words)} words are due" if words else "nothing is due")
    for word in words:
        print(f"\n{word.word}   ({word.seen[-1].sentence if word.seen else ''})")
        if _typed("Enter shows it (q ends): ") in (None, "q"):
            break
        print(f"    {word.gloss}")
        grade = None
        while grade not in KEYS:
            typed = _typed("1 again, 2 hard, 3 good, 4 easy (q ends): ")
            if typed is None or typed == "q":
                return 0
            grade = next((key for key, name in KEYS.items() if typed in (key, name)), None)
        notebook.review(word.id, KEYS[grade], time.time())
    return 0


def _typed(ask: str) -> str | None:
    try:
        return input(ask).strip()
    except EOFError:
        return None


def _export(notebook: Notebook, args: argparse.Namespace) -> int:
    words = notebook.words(args.learn, args.own)
    if args.kind == "csv":
        decks.write_csv(args.output, words)
    else:
        decks.write_anki(args.output, words, notebook.media.path)
    print(f"{args.output}: {len(words)} words")
    return 0


def _delete(notebook: Notebook, args: argparse.Namespace) -> int:
    def one(lemma: str) -> str:
        word = notebook.find(lemma)
        notebook.delete([word.id])
        return f"{word.lemma} is deleted, with its sentences"

    return deleting.run(args, "word", len(notebook.words()), notebook.delete_all, one)


def _open(notebook: Notebook, args: argparse.Namespace) -> int:
    from vjserver.app.pages import open_pages

    notebook.close()
    return open_pages(args, "/words")


_ACTIONS: dict[str, Callable[[Notebook, argparse.Namespace], int]] = {
    "read": _read, "hear": _hear, "record": _record, "finish": _finish, "list": _list, "draw": _draw, "open": _open,
    "gloss": _gloss, "review": _review, "export": _export, "delete": _delete,
}  # fmt: skip
