"""The command ``vjserver dream``: a journal that no show opens and no network sees."""

import argparse
import hashlib
import importlib.util
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from vjserver.keeping.dreams import FORMAT, FORMAT_VERSION, Dream, Dreams
from vjserver.keeping.folders import write_folder
from vjserver.speech.salience import Zipf, ranked
from vjserver.types.errors import ConfigError

TELLING = 3
LINE = "pip install 'vjserver[notebook]'"
RARE_ZIPF = 5.3
"""What is more common than this is no sign."""


def run(args: argparse.Namespace) -> int:
    """Run one of ``vjserver dream``'s actions."""
    dreams = Dreams()
    try:
        return _ACTIONS[args.verb](dreams, args)
    finally:
        dreams.close()


def zipf_of(language: str) -> Zipf:
    """Return how common words of a language are; English where nothing is known of it. ConfigError without wordfreq."""
    try:
        import wordfreq
    except ImportError:
        raise ConfigError(f"the journal needs wordfreq: {LINE}") from None
    code = language if language in wordfreq.available_languages() else "en"
    return lambda word: float(wordfreq.zipf_frequency(word, code))


def _time_of(text: str) -> float:
    if not text:
        return time.time()
    for form in ("%Y-%m-%d", "%Y-%m-%d %H:%M"):
        try:
            return datetime.strptime(text, form).timestamp()
        except ValueError:
            continue
    raise ConfigError(f"--when is a day such as 2026-11-27, with a time or without: got {text[:40]!r}")


def _write(dreams: Dreams, args: argparse.Namespace) -> int:
    text = " ".join(args.text) if args.text else sys.stdin.read()
    return _keep(dreams, text, args.language, args)


def _hear(dreams: Dreams, args: argparse.Namespace) -> int:
    """Write down what was said into a recording, and keep that; the recording itself is left alone."""
    from vjserver.app.show import SpeechOptions
    from vjserver.app.speech import hear_file

    said: dict[int, str] = {}
    language = args.language
    for row in hear_file(args.file, SpeechOptions(wake=""), language or "auto"):
        if row["event"] in ("final", "revised"):
            said[row["number"]] = row["text"]
            language = language or row["language"]
    return _keep(dreams, " ".join(text for _, text in sorted(said.items()) if text), language, args)


def _keep(dreams: Dreams, text: str, language: str, args: argparse.Namespace) -> int:
    when = _time_of(args.when)
    title = args.title
    if not title and text.strip():
        telling = ranked(text, zipf_of(language))
        title = telling[0].text[:80].rstrip(" .") if telling else ""
    dream = dreams.write(
        Dream(t_s=when, title=title, text=text, mood=args.mood, lucidity=args.lucidity, language=language,
              tags=tuple(args.tag)),
    )  # fmt: skip
    print(f"{dream.id}  {dream.title}")
    return 0


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
    print(f"\n{dream.text}\n\nmost telling:")
    for told in ranked(dream.text, zipf_of(dream.language))[:TELLING]:
        print(f"  {told.text}")
    return 0


def _signs(dreams: Dreams, _args: argparse.Namespace) -> int:
    lemmas = importlib.util.find_spec("simplemma") is not None

    def sign(word: str, language: str) -> str:
        common = zipf_of(language)(word)
        if common >= RARE_ZIPF or common == 0.0:
            return ""
        if not lemmas:
            return word
        import simplemma

        return str(simplemma.lemmatize(word, language if language in ("de", "en", "es", "fr", "it") else "en")).lower()

    signs = dreams.signs(sign)
    for word, count in signs:
        print(f"{count:4d}  {word}")
    if not signs:
        print("nothing returns in three dreams yet")
    return 0


def _calendar(dreams: Dreams, args: argparse.Namespace) -> int:
    """Print how many dreams each month, and each day of it, has."""
    days = Counter(datetime.fromtimestamp(dream.t_s).strftime("%Y-%m-%d") for dream in dreams.dreams())
    months = sorted({day[:7] for day in days if day.startswith(args.year)})
    for month in months:
        of = {int(day[8:]): count for day, count in days.items() if day.startswith(month)}
        print(f"{month}  {sum(of.values()):3d}  " + "".join(".123456789"[min(9, of.get(d, 0))] for d in range(1, 32)))
    if not months:
        print("no dream yet")
    return 0


def _export(dreams: Dreams, args: argparse.Namespace) -> int:
    print(f"{args.output}: {dreams.export(args.output)} dreams")
    return 0


def _import(dreams: Dreams, args: argparse.Namespace) -> int:
    print(f"{dreams.take_in(args.folder)} dreams are taken in")
    return 0


def _mint(dreams: Dreams, args: argparse.Namespace) -> int:
    """Write one entry with its SHA-256, the time, and a licence: to prove later what was written when."""
    dream = dreams.dream(args.dream)
    whole = json.dumps(
        {"format": FORMAT, "version": FORMAT_VERSION, "dream": asdict(dream)}, ensure_ascii=False, indent=1
    ).encode()
    digest = hashlib.sha256(whole).hexdigest()
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    minted = {"sha256": digest, "file": "dream.json", "minted": now, "licence": args.licence}

    def fill(part: Path) -> None:
        (part / "dream.json").write_bytes(whole)
        (part / "mint.json").write_text(json.dumps(minted, indent=1) + "\n", encoding="utf-8")
        (part / "LICENCE.txt").write_text(f"{args.licence}\n", encoding="utf-8")

    write_folder(args.output, fill)
    print(f"{args.output}: {digest}")
    return 0


def _delete(dreams: Dreams, args: argparse.Namespace) -> int:
    if args.everything:
        count = len(dreams.dreams())
        dreams.delete_all()
        print(f"{count} dreams are deleted: nothing of them is left")
    elif args.dream:
        dreams.delete(args.dream)
        print("it is deleted: nothing of it is left")
    else:
        raise ConfigError("which dream? vjserver dream list tells them; --everything deletes all")
    return 0


_ACTIONS: dict[str, Callable[[Dreams, argparse.Namespace], int]] = {
    "write": _write, "hear": _hear, "list": _list, "show": _show, "signs": _signs, "calendar": _calendar,
    "export": _export, "import": _import, "mint": _mint, "delete": _delete,
}  # fmt: skip
