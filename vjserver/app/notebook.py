"""The command ``vjserver notebook``: words that were missing in the language that somebody learns."""

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from vjserver.app.show import decoded
from vjserver.documents import decks
from vjserver.keeping.notebook import GRADES, Notebook, Word
from vjserver.recognisers.lexicon import Glosses, WordLexicon
from vjserver.speech.switches import switches_of
from vjserver.types.errors import ConfigError

LARGEST = 16 << 20
_SENTENCE = re.compile(r"[^.!?…\n]+[.!?…]*")
KEYS = dict(zip("1234", GRADES, strict=True))


def run(args: argparse.Namespace) -> int:
    """Run one of ``vjserver notebook``'s actions."""
    notebook = Notebook()
    try:
        return _ACTIONS[args.verb](notebook, args)
    finally:
        notebook.close()


def noted(notebook: Notebook, sentences: Iterable[str], learn: str, own: str, say: Callable[[str], None]) -> list[Word]:
    """Note the words of ``own`` in sentences of ``learn``; return them. Raises ConfigError for a pair without data."""
    lexicon, glosses = WordLexicon(learn, own), Glosses(own, learn)
    if not glosses.here:
        say(f"no dictionary {glosses.name} is installed: meanings stay empty until you write them "
            f"(Debian and Ubuntu: apt install dict-{glosses.name})")  # fmt: skip
    found = []
    for sentence in sentences:
        for switch in switches_of(sentence, learn, own, lexicon):
            lemma = " ".join(switch.lemmas)
            found.append(notebook.note(learn, own, lemma, switch.words, sentence, glosses.find(lemma)))
    return found


def _read(notebook: Notebook, args: argparse.Namespace) -> int:
    path: Path = args.file
    try:
        if path.stat().st_size > LARGEST:
            raise ConfigError(f"{path} is too large: {LARGEST >> 20} MiB at most")
        text = decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    sentences = [" ".join(found.split()) for found in _SENTENCE.findall(text) if found.strip()]
    words = noted(notebook, sentences, args.learn, args.own, lambda why: print(why, file=sys.stderr))
    for word in words:
        print(f"{word.word}: {word.gloss or '?'}   ({word.seen[-1].sentence})")
    print(f"{len(words)} words in {len(sentences)} sentences")
    return 0


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
        if _typed("Enter shows it: ") is None:
            break
        print(f"    {word.gloss}")
        grade = None
        while grade not in KEYS:
            grade = _typed("1 again, 2 hard, 3 good, 4 easy: ")
            if grade is None:
                return 0
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
    if args.everything:
        count = len(notebook.words())
        notebook.delete_all()
        print(f"{count} words are deleted: nothing of them is left")
    elif args.word:
        word = notebook.find(args.word)
        notebook.delete([word.id])
        print(f"{word.lemma} is deleted, with its sentences")
    else:
        raise ConfigError("which word? vjserver notebook list tells them; --everything deletes all")
    return 0


_ACTIONS: dict[str, Callable[[Notebook, argparse.Namespace], int]] = {
    "read": _read, "list": _list, "gloss": _gloss, "review": _review, "export": _export, "delete": _delete,
}  # fmt: skip
